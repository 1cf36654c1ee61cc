"""REST as HTTP: paths and methods that are none, bodies, pages, raw messages, waits, mistakes of ours."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.faces.mcp.kit import arrive
from tests.faces.rest.kit import SENDS, Program, new_account, program
from tests.support.daimon import Daimon, running

from daimon_mcp.operations.sending import SendEmail
from daimon_mcp.store.compiled import Statement

MIB = 1024 * 1024


@dataclass
class Office:
    """A server, a program with an account key, and an inbox."""

    daimon: Daimon
    agent: Program
    key: str
    address: str

    @property
    def box(self) -> str:
        return f"/v1/inboxes/{self.address}"

    async def refused(self, method: str, path: str, **more: Any) -> dict[str, str]:
        """What is wrong with each field of a request."""
        answer = await self.agent.ask(method, path, **more)
        assert answer.error == (422, "INVALID_REQUEST")
        return {each["field"]: each["problem"] for each in answer.envelope["fields"]}


@pytest.fixture
async def office(tmp_path: Path) -> AsyncGenerator[Office]:
    async with running(tmp_path / "data", SENDS, listeners=True) as daimon:
        key, inbox = await new_account(daimon, "robo")
        async with program(daimon, key) as agent:
            yield Office(daimon, agent, key, inbox["address"])


async def test_a_path_that_is_none_names_those_near_it(office: Office) -> None:
    answer = await office.agent.ask("GET", "/v1/inbox")
    assert answer.error == (404, "ROUTE_NOT_FOUND")
    assert "/v1/inboxes" in answer.envelope["suggestions"]
    for path in ("/v1", "/v1/", "/v1//inboxes", "/v1/inboxes/", "/v1/" + "x" * 3000, "/v1/inboxes//messages"):
        assert (await office.agent.ask("GET", path)).error == (404, "ROUTE_NOT_FOUND")


async def test_a_wrong_path_is_never_repeated(office: Office) -> None:
    answer = await office.agent.ask("GET", "/v1/%3Cscript%3Einboxes")
    assert b"script" not in answer.content


async def test_another_method_is_told_which_there_are(office: Office) -> None:
    for method in ("PUT", "POST", "OPTIONS", "TRACE"):
        answer = await office.agent.ask(method, office.box)
        assert answer.error == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH"


async def test_head_is_get_without_the_body(office: Office) -> None:
    answer = await office.agent.ask("HEAD", "/v1/inboxes")
    got = await office.agent.ask("GET", "/v1/inboxes")
    assert (answer.status, answer.content) == (200, b"")
    assert answer.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    ("body", "kind", "field"),
    [
        (b"{", "application/json", "body"),
        (b"[]", "application/json", "body"),
        (b'"text"', "application/json", "body"),
        (b'{"username": "\\ud800"}', "application/json", "body"),
        (b"[" * 5000, "application/json", "body"),
        (b"username=x", "application/x-www-form-urlencoded", "Content-Type"),
        (b"{}", "text/plain", "Content-Type"),
    ],
)
async def test_a_body_that_is_no_json_object(office: Office, body: bytes, kind: str, field: str) -> None:
    assert field in await office.refused("POST", "/v1/inboxes", content=body, headers={"Content-Type": kind})


async def test_json_with_a_charset_or_without_a_type_is_json(office: Office) -> None:
    for number, kind in enumerate(("application/json; charset=utf-8", "APPLICATION/JSON", "")):
        body = json.dumps({"username": f"number-{number}"}).encode()
        answer = await office.agent.ask("POST", "/v1/inboxes", content=body, headers={"Content-Type": kind})
        assert answer.result["address"].startswith(f"number-{number}@")


async def test_a_body_that_is_too_long_is_refused_by_what_it_says_and_by_what_it_is(office: Office) -> None:
    body = b'{"body": "' + b"x" * 17 * MIB + b'"}'

    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(body), MIB):
            yield body[start : start + MIB]

    for content in (body, pieces()):
        headers = {"Content-Type": "application/json"}
        answer = await office.agent.ask("POST", f"{office.box}/send", content=content, headers=headers)
        assert answer.error == (413, "MESSAGE_TOO_LARGE")


async def test_what_belongs_into_the_body_is_not_in_the_query(office: Office) -> None:
    assert "query" in await office.refused("POST", "/v1/inboxes?username=x", json={})


async def test_wrong_values_of_a_query_are_named(office: Office) -> None:
    path = f"{office.box}/messages"
    wrong = await office.refused("GET", path, params={"limit": "many", "unread": "maybe", "before": "soon"})
    assert set(wrong) == {"limit", "unread", "before"}
    assert "limit" in await office.refused("GET", path, params={"limit": "0"})
    assert "limit" in await office.refused("GET", f"{path}?limit=1&limit=2")
    assert "query" in await office.refused("GET", f"{path}?nobody=1&nobody=2")
    assert "query" in await office.refused("GET", path + "?" + "&".join(f"a{n}=1" for n in range(101)))
    assert "direction" in await office.refused("GET", path, params={"direction": "sideways"})
    assert "cursor" in await office.refused("GET", path, params={"cursor": "x"})


async def test_a_key_for_retries_is_the_client_id(office: Office) -> None:
    mail = {"to": office.address, "subject": "Hello", "body": "Words."}
    first = await office.agent.ask("POST", f"{office.box}/send", json=mail, headers={"Idempotency-Key": "one"})
    again = await office.agent.ask("POST", f"{office.box}/send", json={**mail, "client_id": "one"})
    assert first.result["id"] == again.result["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = await office.agent.ask("POST", f"{office.box}/send", json={**mail, "client_id": "one", "body": "Others."})
    assert other.error == (409, "IDEMPOTENCY_CONFLICT")
    actor = await office.daimon.operations.credentials.authenticate(office.key)
    by_tool = SendEmail.model_validate({**mail, "inbox": office.address, "client_id": "one"})
    assert (await office.daimon.operations.sending.send_email(actor, by_tool)).result["id"] == first.result["id"]
    both = {"json": {**mail, "client_id": "two"}, "headers": {"Idempotency-Key": "one"}}
    assert "client_id" in await office.refused("POST", f"{office.box}/send", **both)


async def test_mail_to_other_servers_without_a_way_out(office: Office) -> None:
    mail = {"to": "ann@far.example", "subject": "Hello", "body": "Words."}
    refused = await office.agent.ask("POST", f"{office.box}/send", json=mail)
    assert refused.error == (409, "RELAY_NOT_CONFIGURED")
    assert refused.envelope["unreachable_recipients"] == ["ann@far.example"]


async def test_names_of_the_documents_are_taken_for_ours(office: Office) -> None:
    made = await office.agent.post("/v1/inboxes", address="named@agents.localhost")
    assert made["address"] == "named@agents.localhost"
    assert (await office.agent.post("/v1/inboxes", address="other"))["address"] == "other@agents.localhost"
    sent = await office.agent.post(f"{office.box}/send", to=office.address, subject="A", text="Words.", html="<p>W</p>")
    shown = await office.agent.get(f"{office.box}/messages/{sent['id']}")
    assert (shown["body_text"].strip(), shown["body_html"]) == ("W", "<p>W</p>")
    old = f"/v1/inboxes/{made['id'].replace('inb_', 'inbox_')}/threads"
    assert (await office.agent.get(old))["threads"] == []
    thread = sent["thread_id"].replace("thr_", "thread_")
    assert (await office.agent.get(f"{office.box}/threads/{thread}"))["thread"]["id"] == sent["thread_id"]
    assert (await office.agent.get("/v1/threads", inbox=made["id"]))["threads"] == []
    encoded = made["address"].replace("@", "%40")
    assert (await office.agent.get(f"/v1/inboxes/{encoded}"))["id"] == made["id"]


async def test_lists_go_by_cursor_and_by_offset(office: Office) -> None:
    for number in range(7):
        await arrive(office.daimon, office.address, subject=f"Number {number}")
    path = f"{office.box}/messages"
    newest = [f"Number {number}" for number in reversed(range(7))]

    async def page(path: str, **params: Any) -> list[str]:
        return [each["subject"] for each in (await office.agent.get(path, **params)).get("messages", [])]

    for offset in range(9):
        assert await page(path, limit=3, offset=offset) == newest[offset : offset + 3]
    assert await page(path, limit=3, offset=2, sort="asc") == newest[::-1][2:5]
    last = await office.agent.get(path, limit=3, offset=10_000)
    assert (last["messages"], last["has_more"], last["next_cursor"], last["total"]) == ([], False, None, 7)
    first = await office.agent.get(path, limit=3)
    assert (first["total"], first["has_more"]) == (7, True)
    assert await page(path, limit=3, cursor=first["next_cursor"]) == newest[3:6]
    assert await page("/v1/search", query="number", limit=2, offset=3) == newest[3:5]
    threads = await office.agent.get(f"{office.box}/threads", limit=2, offset=6)
    assert [each["subject"] for each in threads["threads"]] == ["Number 0"]
    for wrong in ("-1", "10001", "x"):
        assert "offset" in await office.refused("GET", path, params={"offset": wrong})
    assert "offset" in await office.refused("GET", path, params={"offset": "1", "cursor": first["next_cursor"]})
    assert "offset" in await office.refused("GET", office.box, params={"offset": "1"})


async def test_a_thread_list_of_the_account_in_every_order(office: Office) -> None:
    other = (await office.agent.post("/v1/inboxes", username="other"))["address"]
    for number, address in enumerate((office.address, other, office.address)):
        await arrive(office.daimon, address, subject=f"Über {number}")
    answered = (await office.agent.get(f"{office.box}/messages"))["messages"][-1]
    await office.agent.post(f"{office.box}/messages/{answered['id']}/reply", body="Words.", to=other)

    async def subjects(**params: Any) -> list[str]:
        return [each["subject"] for each in (await office.agent.get("/v1/threads", **params))["threads"]]

    mine = {"inbox_id": office.address}
    assert sorted(await subjects()) == ["Re: Über 0", "Über 0", "Über 1", "Über 2"]
    assert await subjects(**mine) == ["Über 0", "Über 2"]
    assert await subjects(**mine, sort="updated_at", order="asc") == ["Über 2", "Über 0"]
    assert await subjects(**mine, sort="created_at") == ["Über 2", "Über 0"]
    assert await subjects(**mine, sort="created_at", order="asc") == ["Über 0", "Über 2"]
    assert await subjects(search="ÜBER 1") == ["Über 1"]
    assert await subjects(search="nothing") == []
    paged: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        more: dict[str, str] = {"cursor": cursor} if cursor else {}
        page = await office.agent.get("/v1/threads", order="asc", limit=1, search="über", **more)
        paged += [each["subject"] for each in page["threads"]]
        cursor = page["next_cursor"]
    assert paged == (await subjects(order="asc"))
    created = await office.agent.get("/v1/threads", sort="created_at", limit=1)
    params = {"cursor": created["next_cursor"], "order": "asc"}
    assert "cursor" in await office.refused("GET", "/v1/threads", params=params)


async def test_a_long_message_is_given_whole_unless_it_is_asked_for_in_pieces(office: Office) -> None:
    words = " ".join(f"word{number}" for number in range(20_000))
    await arrive(office.daimon, office.address, subject="Long", body=words)
    [listed] = (await office.agent.get(f"{office.box}/messages"))["messages"]
    path = f"{office.box}/messages/{listed['id']}"
    whole = await office.agent.get(path)
    assert whole["body_text"].split() == words.split()
    assert whole["truncated"] is False
    piece = await office.agent.get(path, max_tokens=100)
    assert piece["truncated"] is True
    assert (await office.agent.get(path, max_tokens=100, offset=piece["next_offset"]))["body_text"].startswith("word")
    assert set(whole) - set(await office.agent.get(f"{path}?include=")) == {"body_html", "headers"}
    assert set(whole) - set(await office.agent.get(f"{path}?include=headers")) == {"body_html"}


async def test_reading_marks_nothing_read(office: Office) -> None:
    await arrive(office.daimon, office.address)
    [listed] = (await office.agent.get(f"{office.box}/messages"))["messages"]
    path = f"{office.box}/messages/{listed['id']}"
    await office.agent.get(path)
    await office.agent.get(f"{office.box}/wait", timeout_seconds=0)
    await office.agent.get(f"{office.box}/threads/{listed['thread_id']}")
    await office.agent.ask("GET", f"{path}/raw")
    assert (await office.agent.get(office.box))["unread_count"] == 1
    assert "mark_read" in await office.refused("GET", path, params={"mark_read": "true"})


async def test_a_raw_message_by_parts_and_conditions(office: Office) -> None:
    await arrive(office.daimon, office.address, subject="Raw", body="Words. " * 20_000)
    [listed] = (await office.agent.get(f"{office.box}/messages"))["messages"]
    path = f"{office.box}/messages/{listed['id']}/raw"
    whole = await office.agent.ask("GET", path)
    assert b"Subject: Raw\r\n" in whole.content
    assert whole.headers["content-type"] == "message/rfc822"
    assert whole.headers["content-security-policy"] == "default-src 'none'; sandbox"
    tag = whole.headers["etag"]
    assert tag == f'"{hashlib.sha256(whole.content).hexdigest()}"'
    same = await office.agent.ask("GET", path, headers={"If-None-Match": tag})
    assert (same.status, same.content) == (304, b"")
    part = await office.agent.ask("GET", path, headers={"Range": "bytes=10-19"})
    assert (part.status, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    beyond = await office.agent.ask("GET", path, headers={"Range": f"bytes={len(whole.content)}-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(whole.content)}")
    head = await office.agent.ask("HEAD", path)
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", str(len(whole.content)))


def listeners(daimon: Daimon) -> int:
    """How many hear the bell."""
    return len(daimon.operations.core.bus._subscribers)  # pyright: ignore[reportPrivateUsage]


async def until(daimon: Daimon, count: int) -> None:
    """Let everything else run until so many hear the bell."""
    with anyio.fail_after(10):
        while listeners(daimon) != count:
            await anyio.lowlevel.checkpoint()


async def test_a_wait_ends_when_mail_comes(office: Office) -> None:
    found: list[dict[str, Any]] = []
    before = listeners(office.daimon)
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            found.append(await office.agent.get(f"{office.box}/wait", timeout_seconds=30, **{"from": "ann"}))

        tasks.start_soon(wait)
        await until(office.daimon, before + 1)
        await arrive(office.daimon, office.address, sender="bob@example.com")
        await arrive(office.daimon, office.address, sender="ann@example.com")
    assert found[0]["message"]["from_address"] == "ann@example.com"


async def test_a_wait_ends_when_nobody_waits_any_more(office: Office) -> None:
    before = listeners(office.daimon)
    host, port = office.daimon.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    fields = f"Host: {host}\r\nAuthorization: Bearer {office.key}\r\n\r\n"
    writer.write(f"GET {office.box}/wait?timeout_seconds=300 HTTP/1.1\r\n{fields}".encode())
    await until(office.daimon, before + 1)
    writer.close()
    await writer.wait_closed()
    await until(office.daimon, before)


async def test_a_mistake_of_ours_has_an_id_and_no_details(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("daimon_mcp.operations.inboxes.sql.inboxes_count", Statement("SELECT nonsense", ""))
    answer = await office.agent.ask("GET", "/v1/inboxes")
    assert answer.error == (500, "INTERNAL")
    assert "nonsense" not in json.dumps(answer.envelope)
    [record] = [each for each in caplog.records if each.exc_info]
    assert re.findall(r"id (\w+)", record.getMessage())[0] in answer.envelope["message"]


async def test_steps_name_routes_that_there_are(office: Office) -> None:
    envelope = (await office.agent.ask("GET", "/v1/inboxes")).envelope
    assert envelope["next_steps"] == ["Call GET /v1/inboxes/{inbox}/messages with an inbox to see its mail."]


def test_who_does_not_ask_rest_does_not_load_it() -> None:
    code = "import sys, daimon_mcp.faces.http; print([each for each in sys.modules if 'faces.rest' in each])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
