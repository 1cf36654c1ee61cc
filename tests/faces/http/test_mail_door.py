"""`POST /inbound`: raw mail from programs, taken once, for inboxes of the key's account; over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from tests.faces.mcp.kit import bearer, key, stranger
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import OTHER, ROBO, delivered_to, eml, until

from daimon_mcp.domain.refusals import Refused
from daimon_mcp.operations.arrivals import IN_MEMORY
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.keys import CreateKey
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import messages

LIMIT = 1_000_000
SECTIONS: dict[str, Any] = {"smtp": {"max_message_bytes": LIMIT, "messages_per_minute": 40, "trusted_networks": []}}
DAY = 86_400


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data", SECTIONS, listeners=True, clock=MovableClock()) as made:
        yield made


@pytest.fixture
async def agent(daimon: Daimon) -> AsyncGenerator[Agent]:
    async with daimon.agent() as made:
        await made.do("create_inbox", username="robo")
        await made.do("create_inbox", username="other")
        yield made


@pytest.fixture
async def http(daimon: Daimon, agent: Agent) -> AsyncGenerator[httpx2.AsyncClient]:
    headers = {**bearer(await key(daimon)), "Content-Type": "message/rfc822"}
    async with httpx2.AsyncClient(base_url=daimon.url, headers=headers, timeout=20) as made:
        yield made


async def taken(http: httpx2.AsyncClient, content: Any, path: str = "/inbound", **headers: str) -> dict[str, Any]:
    """The result of a post that must be taken."""
    answer = await http.post(path, content=content, headers=headers)
    assert answer.status_code == 202, answer.text
    envelope = answer.json()
    assert set(envelope) == {"result", "next_steps"}
    assert envelope["next_steps"]
    return envelope["result"]


async def refused(
    http: httpx2.AsyncClient, status: int, content: Any, path: str = "/inbound", **headers: str
) -> dict[str, Any]:
    """The envelope of a refusal."""
    answer = await http.post(path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    envelope = answer.json()
    assert envelope["message"]
    assert envelope["next_steps"]
    return envelope


async def received(daimon: Daimon, agent: Agent, inbox: str, count: int) -> list[dict[str, Any]]:
    async def look() -> list[dict[str, Any]] | None:
        found = await delivered_to(agent, inbox)
        return found if len(found) >= count else None

    found = await until(daimon, look)
    assert len(found) == count
    return found


async def raw(daimon: Daimon, message_id: str) -> bytes:
    core = daimon.operations.core
    found = await messages.by_id(core.database, message_id)
    assert found is not None
    return await core.blobs.get(core.database, found.blob_hash)


async def test_mail_is_taken_and_arrives_as_it_was_sent(daimon: Daimon, agent: Agent, http: httpx2.AsyncClient) -> None:
    forged = b"Authentication-Results: agents.localhost; dmarc=pass\r\n"
    letter = eml(subject="By HTTP", sender="Ann <ann@example.com>")
    result = await taken(
        http, forged + letter, f"/inbound?from=ann@example.com&to={ROBO}&to=other%2Bx@agents.localhost"
    )
    assert [each["address"] for each in result["recipients"]] == [ROBO, "other+x@agents.localhost"]
    assert (result["status"], result["size"]) == ("accepted", len(forged + letter))
    for inbox in (ROBO, OTHER):
        [listed] = await received(daimon, agent, inbox, 1)
        shown = await agent.do("get_message", message_id=listed["id"], include=["headers"])
        assert (shown["subject"], shown["from_address"]) == ("By HTTP", "ann@example.com")
        assert shown["authentication"] == {}
        assert "authentication-results" not in shown["headers"]
        assert f" with HTTP id {result['id']}" in shown["headers"]["received"]
        assert shown["headers"]["return-path"] == "<ann@example.com>"
        assert (await raw(daimon, listed["id"])).endswith(letter)
    assert listed["tag"] == "x"
    assert result["recipients"][1]["inbox_id"] == listed["inbox_id"]


async def test_the_envelope_may_be_in_header_fields(daimon: Daimon, agent: Agent, http: httpx2.AsyncClient) -> None:
    fields = {"X-Envelope-From": "<>", "X-Envelope-To": f"{ROBO}, {OTHER.upper()}"}
    result = await taken(http, eml(), **fields)
    assert [each["address"] for each in result["recipients"]] == [ROBO, OTHER]
    [listed] = await received(daimon, agent, OTHER, 1)
    assert (await raw(daimon, listed["id"])).startswith(b"Return-Path: <>\r\n")


@pytest.mark.parametrize(
    ("header", "inboxes"),
    [
        (f"Delivered-To: {ROBO}\nTo: {OTHER}\n", [ROBO]),
        (f"X-Original-To: {OTHER}\nReceived: x\nDelivered-To: {ROBO}\nTo: {ROBO}\n", [OTHER]),
        (f"Delivered-To: someone@else.example\nTo: Ann <a@b.example>, Me <{ROBO}>\nCc: {OTHER}\n", [ROBO, OTHER]),
    ],
)
async def test_without_recipients_they_are_found_in_the_header(
    http: httpx2.AsyncClient, header: str, inboxes: list[str]
) -> None:
    result = await taken(http, f"{header}Subject: x\n\nhello\n".encode())
    assert [each["address"] for each in result["recipients"]] == inboxes


async def test_line_ends_of_any_kind_become_those_of_mail(
    daimon: Daimon, agent: Agent, http: httpx2.AsyncClient
) -> None:
    lines = [b"Subject: lines", b"From: a@b.example", b"", *(b"%d. line" % number for number in range(60_000)), b""]
    proper = b"\r\n".join(lines)
    assert len(proper) > 2 * IN_MEMORY
    await taken(http, b"\n".join(lines), f"/inbound?to={ROBO}")

    async def pieces() -> AsyncIterator[bytes]:
        """With every CRLF cut in two somewhere."""
        mixed = b"\r\n".join(lines[:30_000]) + b"\r" + b"\n".join(lines[30_000:])
        for start in range(0, len(mixed), 4_999):
            yield mixed[start : start + 4_999]

    await taken(http, pieces(), f"/inbound?to={OTHER}")
    for inbox in (ROBO, OTHER):
        [listed] = await received(daimon, agent, inbox, 1)
        assert (await raw(daimon, listed["id"])).endswith(proper)


async def spooled(daimon: Daimon) -> list[str]:
    """The files of the spool."""
    folder = await asyncio.to_thread(daimon.operations.spool.folder)
    return await asyncio.to_thread(lambda: [path.name for path in folder.iterdir()])


async def test_what_came_before_is_answered_as_it_was_and_taken_once(
    daimon: Daimon, agent: Agent, http: httpx2.AsyncClient
) -> None:
    assert daimon.clock is not None
    letter = eml(subject="Once", body="x" * (IN_MEMORY + 1))
    path = f"/inbound?to={ROBO}&to={OTHER}"
    first = await http.post(path, content=letter, headers={"Idempotency-Key": "one"})
    assert "idempotent-replayed" not in first.headers
    turned = f"/inbound?to={OTHER}&to={ROBO.upper()}"
    for again, headers in ((path, {"Idempotency-Key": "one"}), (turned, {}), (path, {"Idempotency-Key": "two"})):
        answer = await http.post(again, content=letter.replace(b"\r\n", b"\n"), headers=headers)
        assert (answer.status_code, answer.content) == (202, first.content)
        assert answer.headers["idempotent-replayed"] == "true"
    for inbox in (ROBO, OTHER):
        await received(daimon, agent, inbox, 1)
    conflict = await refused(http, 409, eml(), path, **{"Idempotency-Key": "one"})
    assert (conflict["error"], conflict["code"]) == ("IDEMPOTENCY_CONFLICT", "INGESTED")
    assert first.json()["result"]["id"] in conflict["message"]
    assert await taken(http, letter, f"/inbound?to={ROBO}")  # for others than before
    await received(daimon, agent, ROBO, 2)
    daimon.later(DAY)
    assert (await taken(http, letter, path))["id"] != first.json()["result"]["id"]
    await received(daimon, agent, OTHER, 2)
    assert await spooled(daimon) == []
    rows = await daimon.operations.core.database.fetch("SELECT count(*) FROM ingested", [])
    assert rows[0][0] == 1  # what is too old to be asked for is gone


async def test_at_the_same_time_it_is_taken_once_too(daimon: Daimon, agent: Agent, http: httpx2.AsyncClient) -> None:
    letter = eml()
    answers = await asyncio.gather(
        *(http.post(f"/inbound?to={ROBO}", content=letter, headers={"Idempotency-Key": "k"}) for _ in range(6))
    )
    assert {answer.content for answer in answers} == {answers[0].content}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    await received(daimon, agent, ROBO, 1)


async def test_only_inboxes_of_the_key_can_be_written_to(
    daimon: Daimon, agent: Agent, http: httpx2.AsyncClient
) -> None:
    _, address = await stranger(daimon)
    nobody, postmaster = "nobody@agents.localhost", "postmaster@agents.localhost"
    for recipients in ([address], [ROBO, nobody], ["ann@example.com"], [postmaster]):
        path = "/inbound?" + "&".join(f"to={each}" for each in recipients)
        envelope = await refused(http, 404, eml(), path)
        assert (envelope["error"], envelope["code"]) == ("INBOX_NOT_FOUND", "INGEST")
        assert envelope["refused_recipients"] == recipients[-1:]
        assert "POST /inbound" in " ".join(envelope["next_steps"])
    await refused(http, 422, f"To: {address}\n\nx".encode())
    inbox = await daimon.operations.inboxes.create_inbox(await daimon.actor(), CreateInbox(username="mine"))
    narrow = bearer(inbox.result["api_key"])
    await taken(http, eml(), "/inbound?to=mine@agents.localhost", **narrow)
    await refused(http, 404, eml(), f"/inbound?to={ROBO}", **narrow)
    assert await delivered_to(agent, ROBO) == []


async def test_one_key_of_the_operator_hands_in_for_every_account_and_does_nothing_else(
    daimon: Daimon, agent: Agent, http: httpx2.AsyncClient
) -> None:
    account_key, address = await stranger(daimon)
    _, made = await daimon.operations.keys.create_ingest_key(name="worker")
    wide = bearer(made.result["api_key"])
    for number in range(2):  # the same again is taken once
        result = await taken(http, b"Subject: All\r\n\r\nx\r\n", f"/inbound?to={ROBO}&to={address}", **wide)
        assert [each["address"] for each in result["recipients"]] == [ROBO, address], number
    await received(daimon, agent, ROBO, 1)
    assert (await refused(http, 404, eml(), "/inbound?to=nobody@agents.localhost", **wide))["error"]
    await refused(http, 404, eml(), f"/inbound?to={address}")  # no other key may, however much it may do
    assert (await refused(http, 404, eml(), f"/inbound?to={ROBO}", **bearer(account_key)))["error"] == "INBOX_NOT_FOUND"
    actor = await daimon.operations.credentials.authenticate(made.result["api_key"])
    for verb in (daimon.operations.accounts.get_account, daimon.operations.accounts.get_smtp_credentials):
        with pytest.raises(Refused, match="FORBIDDEN"):
            await verb(actor)
    with pytest.raises(Refused, match="FORBIDDEN"):
        await daimon.operations.keys.create_key(actor, CreateKey(name=""))


async def test_a_key_needs_the_permission(daimon: Daimon, http: httpx2.AsyncClient) -> None:
    actor = await daimon.actor()
    core = daimon.operations.core
    tier = (await daimon.operations.accounts.get_account(actor)).result["tier"]

    def make(permissions: frozenset[str]) -> Any:
        return core.database.write(
            lambda tx: daimon.operations.credentials.issue_key(
                tx, account_no=actor.account_no, tier=tier, permissions=permissions
            )
        )

    _, reader = await make(frozenset({"message_read"}))
    envelope = await refused(http, 403, eml(), f"/inbound?to={ROBO}", **bearer(reader))
    assert "message_ingest" in envelope["message"]
    _, worker = await make(frozenset({"message_ingest"}))
    await taken(http, eml(), f"/inbound?to={ROBO}", **bearer(worker))
    for headers in ({"Authorization": "Bearer dm_free_no"}, {"Authorization": ""}):
        answer = await http.post(f"/inbound?to={ROBO}", content=eml(), headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("path", "headers", "content", "field"),
    [
        (f"?to={ROBO}", {"Content-Type": "multipart/form-data; boundary=x"}, eml(), "Content-Type"),
        (f"?to={ROBO}", {"Content-Type": "application/json"}, b"{}", "Content-Type"),
        (f"?to={ROBO}", {}, b"", "body"),
        (f"?to={ROBO}", {}, b'{"subject": "x"}', "body"),
        (f"?to={ROBO}&tag=x", {}, eml(), "query"),
        (f"?to={ROBO}&from=a@b.c&from=d@e.f", {}, eml(), "from"),
        (f"?to={ROBO}&from=ann", {}, eml(), "from"),
        ("?to=robo", {}, eml(), "to"),
        ("?to=a@b%0d%0ac", {}, eml(), "to"),
        ("?" + "&".join(f"to=a{number}@agents.localhost" for number in range(51)), {}, eml(), "to"),
        ("", {}, eml(to="ann@example.com"), "to"),
        (f"?to={ROBO}", {"Idempotency-Key": "x" * 256}, eml(), "Idempotency-Key"),
    ],
)
async def test_what_is_wrong_is_named(
    agent: Agent, http: httpx2.AsyncClient, path: str, headers: dict[str, str], content: bytes, field: str
) -> None:
    envelope = await refused(http, 422, content, f"/inbound{path}", **headers)
    assert envelope["error"] == "INVALID_REQUEST"
    assert [each["field"] for each in envelope["fields"]] == [field]
    assert await delivered_to(agent, ROBO) == []


async def test_too_large_is_said_before_and_while_it_comes(
    daimon: Daimon, agent: Agent, http: httpx2.AsyncClient
) -> None:
    head = b"Subject: x\n\n"

    async def endless() -> AsyncIterator[bytes]:
        yield head
        for _ in range(2 * LIMIT // 50_000):
            yield b"x" * 50_000

    for content in (head + bytes(LIMIT), endless(), head + b"\n" * (LIMIT - 100)):
        envelope = await refused(http, 413, content, f"/inbound?to={ROBO}")
        assert (envelope["error"], envelope["code"]) == ("MESSAGE_TOO_LARGE", "RAW")
        assert "1,000,000" in envelope["message"] or "1000000" in envelope["message"]
    assert await spooled(daimon) == []
    assert await delivered_to(agent, ROBO) == []


async def test_mail_in_a_loop_is_refused(daimon: Daimon, http: httpx2.AsyncClient) -> None:
    looping = b"Received: from a by agents.localhost with HTTP id 0a1b2c3d4e; then\n" * 6 + eml(body="x" * IN_MEMORY)
    envelope = await refused(http, 422, looping, f"/inbound?to={ROBO}")
    assert (envelope["error"], envelope["code"]) == ("RECIPIENT_REFUSED", "MAIL_LOOP")
    assert await spooled(daimon) == []


async def test_so_many_a_minute_and_account(daimon: Daimon, http: httpx2.AsyncClient) -> None:
    theirs, address = await stranger(daimon)
    for _ in range(40):
        await taken(http, eml(), f"/inbound?to={ROBO}")
    answer = await http.post(f"/inbound?to={ROBO}", content=eml())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert answer.json()["code"] == "MESSAGES"
    await taken(http, eml(), f"/inbound?to={address}", **bearer(theirs))
    daimon.later(60)
    await taken(http, eml(), f"/inbound?to={ROBO}")


async def test_what_was_answered_outlives_the_process(tmp_path: Path) -> None:
    letter = eml(subject="Durable")
    async with running(tmp_path / "data", SECTIONS) as daimon:
        async with daimon.agent() as agent:
            await agent.do("create_inbox", username="robo")
        own = await key(daimon)
        bound = daimon.app.listening.bind_http(strict=True)  # HTTP alone: nobody files
        assert bound is not None
        answers: list[httpx2.Response] = []
        async with anyio.create_task_group() as tasks:
            await tasks.start(daimon.app.listening.run_http, bound, daimon.app.mcp_server())
            async with httpx2.AsyncClient(base_url=daimon.url, headers=bearer(own)) as http:
                answers.append(await http.post(f"/inbound?to={ROBO}", content=letter))
            tasks.cancel_scope.cancel()
        [first] = answers
        assert first.status_code == 202
        assert len(await daimon.operations.core.database.all(sql.incoming_due, after=0, limit=9)) == 1
    async with running(tmp_path / "data", SECTIONS, listeners=True) as daimon, daimon.agent() as agent:
        [listed] = await received(daimon, agent, ROBO, 1)
        assert listed["subject"] == "Durable"
        async with httpx2.AsyncClient(base_url=daimon.url, headers=bearer(own)) as http:
            again = await http.post(f"/inbound?to={ROBO}", content=letter)
        assert again.content == first.content
        await received(daimon, agent, ROBO, 1)
