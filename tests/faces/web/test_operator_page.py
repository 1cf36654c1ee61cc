"""The operator's page by request: what it shows, what it refuses, what a decision does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import logging
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx2
import pytest

from daimon_mcp.domain.clock import DAY, HOUR, MINUTE, SECOND
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.web.forms import MAX_BODY
from daimon_mcp.faces.web.pages import Pages
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.store.compiled import Statement
from daimon_mcp.texts import Texts

if TYPE_CHECKING:
    from tests.faces.web.conftest import Office

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def client(office: Office) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(office.app), base_url="http://mail.example") as client:
        yield client


def hidden(page: str, name: str) -> str:
    """The value of one of the form's hidden fields."""
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)">', page)
    assert found, f"the page has no hidden field {name}"
    return html.unescape(found[1])


def words_of(page: str) -> str:
    """What a person reads, without tags, with single spaces."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


async def filled(client: httpx2.AsyncClient, path: str, passcode: str, **more: str) -> dict[str, str]:
    """The fields of the form at `path`, filled in to approve."""
    page = (await client.get(path)).text
    fields = {name: hidden(page, name) for name in ("token", "form_token")}
    return {**fields, "passcode": passcode, "comment": "", "decision": "approve", **more}


async def snapshot(office: Office) -> dict[str, Any]:
    """Everything that deciding would touch."""
    database = office.operations.core.database
    return {
        table: await database.fetch(f"SELECT * FROM {table} ORDER BY 1")
        for table in ("accounts", "approvals", "events", "deliveries")
    }


# -- looking ----------------------------------------------------------------------------------------------------------


async def test_a_person_sees_who_asks_what_for_and_what_changes(office: Office, client: httpx2.AsyncClient) -> None:
    url = await office.upgrade_link(reason="to complete the customer notification")
    office.clock.ahead = 3 * HOUR + 5 * MINUTE
    answer = await client.get(office.path_of(url))
    assert answer.status_code == 200
    words = words_of(answer.text)
    assert "Let this agent send email?" in words
    assert f"{office.address} Account {office.actor.account_id} Asked 3 hours ago" in words
    assert "to complete the customer notification The agent’s own words. This server has not checked them." in words
    assert "Now free If approved starter" in words
    assert (
        "Emails per month none 100 Emails per day none 100 Mail programs (SMTP) no yes Custom domains none 1" in words
    )
    assert "This link expires in 7 days" in words
    assert re.search(
        r'<time datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ">\d{4}-\d\d-\d\d \d\d:\d\d UTC</time>', answer.text
    )


async def test_an_account_that_sends_already_is_shown_higher_limits(office: Office, client: httpx2.AsyncClient) -> None:
    await office.operations.upgrades.set_tier(office.actor.account_id, Tier.PRO)
    words = words_of((await client.get(office.path_of(await office.upgrade_link()))).text)
    assert "Let this agent send more email?" in words
    assert "The agent gave no reason." in words
    assert "Emails per month 10,000 no limit Emails per day 1,000 100,000 Mail programs (SMTP) yes yes" in words


async def test_a_link_that_would_change_nothing_any_more_says_so(office: Office, client: httpx2.AsyncClient) -> None:
    path = office.path_of(await office.upgrade_link())
    await office.operations.upgrades.set_tier(office.actor.account_id, Tier.PRO)
    page = (await client.get(path)).text
    assert "This agent already has what it asks for" in words_of(page)
    assert "It asks for starter, and its account is on pro meanwhile." in words_of(page)
    assert "<table>" not in page
    done = await client.post("/upgrade", data=await filled(client, path, office.passcode))
    assert "This agent is on pro now." in words_of(done.text)
    assert await office.tier() == "pro"


async def test_other_inboxes_are_counted(office: Office, client: httpx2.AsyncClient) -> None:
    path = office.path_of(await office.upgrade_link())
    for name, said in (("brisk-otter", "and one more inbox"), ("calm-dove", "and 2 more inboxes")):
        await office.operations.inboxes.create_inbox(office.actor, CreateInbox(username=name))
        assert f"{name}@agents.localhost {said} Account" in words_of((await client.get(path)).text)


async def test_mail_that_waits_is_told_before_and_after(office: Office, client: httpx2.AsyncClient) -> None:
    path = office.path_of(await office.upgrade_link(reason="reports"))
    await office.park("one")
    assert "One email is waiting. It leaves by itself once you approve." in words_of((await client.get(path)).text)
    await office.park("two")
    assert "2 emails are waiting." in words_of((await client.get(path)).text)
    done = await client.post("/upgrade", data=await filled(client, path, office.passcode))
    assert "The 2 emails that were waiting leave now" in words_of(done.text)


async def test_a_declined_upgrade_does_not_say_that_waiting_mail_leaves(
    office: Office, client: httpx2.AsyncClient
) -> None:
    await office.park("one")
    path = office.path_of(await office.upgrade_link(reason="reports"))
    done = await client.post("/upgrade", data=await filled(client, path, office.passcode, decision="decline"))
    assert "waiting" not in words_of(done.text)


async def test_a_question_is_shown_with_its_facts(office: Office, client: httpx2.AsyncClient) -> None:
    context = {"order": "A-17", "items": [{"sku": "X", "qty": 2}], "paid": True, "note": "first\nsecond"}
    url = await office.request_link("May I refund order A-17?", context=context, action_label="Refund A-17")
    assert office.path_of(url).startswith("/approve?")
    words = words_of((await client.get(office.path_of(url))).text)
    assert "This agent asks for your decision" in words
    assert "What it asks May I refund order A-17? It calls this Refund A-17 Details it gave" in words
    assert 'order A-17 items [{"sku": "X", "qty": 2}] paid true note first second' in words
    assert "Approving changes nothing on this server" in words


async def test_an_account_without_an_inbox_is_named_by_its_id(new_office: Office) -> None:
    url = await new_office.upgrade_link()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(new_office.app), base_url="http://m") as client:
        words = words_of((await client.get(new_office.path_of(url))).text)
    assert f"Account {new_office.actor.account_id} It has no inbox yet." in words


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("tail", ["", "&decision=approve&passcode=x"])
async def test_looking_changes_nothing(office: Office, client: httpx2.AsyncClient, method: str, tail: str) -> None:
    path = office.path_of(await office.upgrade_link())
    before = await snapshot(office)
    for _ in range(3):
        assert (await client.request(method, path + tail)).status_code == 200
    assert await snapshot(office) == before


async def test_an_agents_words_are_text_whatever_they_are(office: Office, client: httpx2.AsyncClient) -> None:
    attack = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>{{7*7}}{tier}`x`"
    url = await office.request_link(attack, context={attack: attack, "nested": [attack]}, action_label=attack[:60])
    page = (await client.get(office.path_of(url))).text
    assert "<script" not in page
    assert "<img" not in page
    assert words_of(page).count(attack.replace("<", "<")) >= 2
    assert "{{7*7}}{tier}`x`" in words_of(page)


async def test_what_nobody_would_see_is_taken_out_of_an_agents_words(
    office: Office, client: httpx2.AsyncClient
) -> None:
    context = {"pay\u202eee": "a\u200bb\u2066c\u0000d\U000e0041e\x1bf"}
    page = (await client.get(office.path_of(await office.request_link("x", context=context)))).text
    assert "payee abcdef" in words_of(page)
    assert not re.search("[\u200b\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\x00\x1b]", page)


# -- deciding ---------------------------------------------------------------------------------------------------------


async def test_approving_raises_the_tier_and_tells_the_agent_the_comment(
    office: Office, client: httpx2.AsyncClient
) -> None:
    url = await office.upgrade_link(tier="pro")
    comment = "Fine,\nbut <b>not</b> at night."
    fields = await filled(client, office.path_of(url), office.passcode, comment=comment)
    answer = await client.post("/upgrade", data=fields)
    assert answer.status_code == 200
    assert "Approved This agent is on pro now." in words_of(answer.text)
    assert "Your note to the agent Fine, but <b>not</b> at night." in words_of(answer.text)
    assert await office.tier() == "pro"
    assert await office.told(url) == ("approved", "Fine, but <b>not</b> at night.")
    events = await office.operations.core.database.fetch("SELECT type FROM events")
    assert [type_ for (type_,) in events if type_ == "account.upgraded"] == ["account.upgraded"]


async def test_declining_changes_no_tier_and_tells_the_agent_why(office: Office, client: httpx2.AsyncClient) -> None:
    url = await office.upgrade_link()
    fields = await filled(client, office.path_of(url), office.passcode, decision="decline", comment="Too early")
    answer = await client.post("/upgrade", data=fields)
    assert answer.status_code == 200
    assert "Declined This agent stays on free." in words_of(answer.text)
    assert await office.tier() == "free"
    assert await office.told(url) == ("rejected", "Too early")


@pytest.mark.parametrize(
    ("decision", "said", "status"),
    [
        ("approve", "Approved The agent may go ahead with what it asked.", "approved"),
        ("decline", "Declined The agent is told not to go ahead with what it asked.", "rejected"),
    ],
)
async def test_a_question_is_answered(
    office: Office, client: httpx2.AsyncClient, decision: str, said: str, status: str
) -> None:
    url = await office.request_link("May I?")
    fields = await filled(client, office.path_of(url), office.passcode, decision=decision)
    assert said in words_of((await client.post("/approve", data=fields)).text)
    assert await office.told(url) == (status, "")
    assert await office.tier() == "free"


async def test_a_comment_is_cut_at_a_thousand_characters_and_fits_the_form(
    office: Office, client: httpx2.AsyncClient
) -> None:
    url = await office.request_link("May I?")
    fields = await filled(client, office.path_of(url), office.passcode, comment="語" * 1000 + "more")
    assert (await client.post("/approve", data=fields)).status_code == 200
    assert await office.told(url) == ("approved", "語" * 1000)


async def test_of_two_decisions_at_once_one_counts(office: Office, client: httpx2.AsyncClient) -> None:
    url = await office.upgrade_link()
    fields = await filled(client, office.path_of(url), office.passcode)
    both = [client.post("/upgrade", data={**fields, "decision": decision}) for decision in ("approve", "decline")]
    answers = await asyncio.gather(*both)
    assert sorted(answer.status_code for answer in answers) == [200, 410]
    approved = answers[0].status_code == 200
    assert await office.tier() == ("starter" if approved else "free")


# -- the passcode -----------------------------------------------------------------------------------------------------


async def test_a_wrong_passcode_gets_the_same_page_with_the_tries_left(
    office: Office, client: httpx2.AsyncClient
) -> None:
    url = await office.upgrade_link(reason="to answer customers")
    fields = await filled(client, office.path_of(url), "not-the-passcode", comment="Look & <see>")
    before = await snapshot(office)
    for left in (4, 3):
        answer = await client.post("/upgrade", data=fields)
        assert answer.status_code == 403
        assert f"tries left: {left}" in words_of(answer.text)
        assert "to answer customers" in words_of(answer.text)
        assert "Look &amp; &lt;see&gt;</textarea>" in answer.text
        assert "not-the-passcode" not in answer.text
        assert 'aria-invalid="true"' in answer.text
        assert hidden(answer.text, "token") == fields["token"]
    assert await snapshot(office) == before
    fields["passcode"] = f" {office.passcode}\n"  # as people copy it
    assert (await client.post("/upgrade", data=fields)).status_code == 200


async def test_too_many_wrong_passcodes_lock_that_address_alone_for_a_while(office: Office) -> None:
    url = await office.upgrade_link()
    statuses: list[int] = []
    transport = httpx2.ASGITransport(office.app, client=("192.0.2.1", 5000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://mail.example") as guesser:
        fields = await filled(guesser, office.path_of(url), "wrong")
        for _ in range(5):
            statuses.append((await guesser.post("/upgrade", data=fields)).status_code)
        locked = await guesser.post("/upgrade", data={**fields, "passcode": office.passcode})
        assert statuses == [403] * 5
        assert locked.status_code == 429
        assert 0 < int(locked.headers["Retry-After"]) <= 15 * 60
        assert "Locked for 15 minutes" in words_of(locked.text)
        assert fields["token"] not in locked.text
        assert await office.tier() == "free"
        office.clock.ahead = 15 * MINUTE + SECOND
        assert (await guesser.post("/upgrade", data={**fields, "passcode": "wrong"})).status_code == 403
    transport = httpx2.ASGITransport(office.app, client=("192.0.2.2", 5000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://mail.example") as operator:
        assert (await operator.post("/upgrade", data={**fields, "passcode": office.passcode})).status_code == 200


async def test_without_a_passcode_nobody_can_decide(new_office: Office) -> None:
    url = await new_office.upgrade_link()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(new_office.app), base_url="http://m") as client:
        for passcode in ("", "anything"):
            answer = await client.post("/upgrade", data=await filled(client, new_office.path_of(url), passcode))
            assert answer.status_code == 403
            assert "No passcode is set yet." in words_of(answer.text)
    assert await new_office.tier() == "free"


# -- links that do not work -------------------------------------------------------------------------------------------


async def test_a_used_link_says_what_was_decided(office: Office, client: httpx2.AsyncClient) -> None:
    for decision, state in (("approve", "approved"), ("decline", "declined")):
        path = office.path_of(await office.request_link("May I?"))
        fields = await filled(client, path, office.passcode, decision=decision)
        await client.post("/approve", data=fields)
        for answer in (await client.get(path), await client.post("/approve", data=fields)):
            assert answer.status_code == 410
            assert f"This request is decided already This link was used: the request is {state}." in words_of(
                answer.text
            )


async def test_an_expired_link_says_so(office: Office, client: httpx2.AsyncClient) -> None:
    path = office.path_of(await office.upgrade_link())
    fields = await filled(client, path, office.passcode)
    office.clock.ahead = 7 * DAY
    for answer in (await client.get(path), await client.post("/upgrade", data=fields)):
        assert answer.status_code == 410
        assert "This link has expired" in words_of(answer.text)
        assert "ask the agent for a new link" in words_of(answer.text)
    assert await office.tier() == "free"


async def test_a_link_settled_by_another_says_so(office: Office, client: httpx2.AsyncClient) -> None:
    other = office.path_of(await office.upgrade_link(reason="another"))
    stale = await filled(client, other, office.passcode)
    await client.post(
        "/upgrade", data=await filled(client, office.path_of(await office.upgrade_link()), office.passcode)
    )
    for answer in (await client.get(other), await client.post("/upgrade", data=stale)):
        assert answer.status_code == 410
        assert "This request is settled already" in words_of(answer.text)


@pytest.mark.parametrize(
    "query",
    ["", "?", "?token=", "?token=abc", "?token=%00%FF", "?token=a.b.c", "?token=" + "x" * 9000, "?other=1"],
)
async def test_a_forged_link_is_not_found(client: httpx2.AsyncClient, query: str) -> None:
    for path in ("/upgrade", "/approve"):
        answer = await client.get(path + query)
        assert answer.status_code == 404
        assert "This link does not work" in words_of(answer.text)


async def test_no_part_of_a_token_can_be_changed(office: Office, client: httpx2.AsyncClient) -> None:
    token = office.token_of(await office.upgrade_link())
    header, claims, signature = token.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    swapped = "A" if signature[0] != "A" else "B"
    for forged in (
        f"{unsigned}.{claims}.",
        f"{header}.{claims}.{swapped}{signature[1:]}",
        f"{header}.{claims[:-4]}.{signature}",
        token[:-5],
    ):
        assert (await client.get("/upgrade", params={"token": forged})).status_code == 404


# -- forms that are not ours ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://mail.example"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},  # what browsers send under no-referrer
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://MAIL.example"},
    ],
)
async def test_the_pages_own_form_is_taken(office: Office, client: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    url = await office.upgrade_link()
    fields = await filled(client, office.path_of(url), office.passcode)
    assert (await client.post("/upgrade", data=fields, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "http://mail.example:8080"},
        {"Origin": "http://mail.example.evil.example"},
        {"Origin": "http://[::1"},
        {"Origin": "mail.example"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://mail.example"},
    ],
)
async def test_a_form_from_elsewhere_is_refused(
    office: Office, client: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    url = await office.upgrade_link()
    fields = await filled(client, office.path_of(url), office.passcode)
    before = await snapshot(office)
    answer = await client.post("/upgrade", data=fields, headers=headers)
    assert answer.status_code == 403
    assert "This form was not accepted" in words_of(answer.text)
    assert await snapshot(office) == before


async def test_a_form_that_is_not_ours_is_refused_before_the_passcode_is_tried(
    office: Office, client: httpx2.AsyncClient
) -> None:
    url = await office.upgrade_link()
    fields = await filled(client, office.path_of(url), office.passcode)
    before = await snapshot(office)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b"x" * 1024

    body = urlencode(fields)
    wrong_form = {**fields, "form_token": "0" * 32}
    refused = [
        (await client.post("/upgrade", json=fields), 415),
        (await client.post("/upgrade", content=body, headers={"Content-Type": "multipart/form-data"}), 415),
        (await client.post("/upgrade", content=body), 415),
        (await client.post("/upgrade", content=body + "&x=" + "y" * MAX_BODY, headers=FORM), 413),
        (await client.post("/upgrade", content=chunks(), headers=FORM), 413),
        (await client.post("/upgrade", content=b"", headers=FORM), 400),
        (await client.post("/upgrade", content="&".join(f"f{n}=1" for n in range(30)), headers=FORM), 400),
        (await client.post("/upgrade", content=body + "&decision=decline", headers=FORM), 400),
        (await client.post("/upgrade", data={**fields, "decision": "APPROVE"}), 400),
        (await client.post("/upgrade", data={**fields, "decision": ""}), 400),
        (await client.post("/upgrade", data=wrong_form), 404),
        (await client.post("/upgrade", data={**fields, "form_token": "é"}), 404),
        (await client.post("/upgrade", data={k: v for k, v in fields.items() if k != "form_token"}), 404),
        (await client.post("/upgrade", data={k: v for k, v in fields.items() if k != "token"}), 404),
    ]
    assert [answer.status_code for answer, _ in refused] == [status for _, status in refused]
    assert await snapshot(office) == before
    accepted = await client.post(
        "/upgrade", content=body, headers={"Content-Type": FORM["Content-Type"] + "; charset=utf-8"}
    )
    assert accepted.status_code == 200, "none of these was a try at the passcode"


async def test_a_form_token_is_of_one_request(office: Office, client: httpx2.AsyncClient) -> None:
    one = await filled(client, office.path_of(await office.request_link("one")), office.passcode)
    two = await filled(client, office.path_of(await office.request_link("two")), office.passcode)
    assert (await client.post("/approve", data={**one, "form_token": two["form_token"]})).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_there_are_no_other_methods(client: httpx2.AsyncClient, method: str) -> None:
    assert (await client.request(method, "/upgrade")).status_code == 405


# -- what leaves with a page ------------------------------------------------------------------------------------------


async def every_kind_of_page(office: Office, client: httpx2.AsyncClient) -> dict[str, httpx2.Response]:
    """A page of each kind, by name."""
    path = office.path_of(await office.upgrade_link())
    fields = await filled(client, path, office.passcode)
    return {
        "ask": await client.get(path),
        "wrong": await client.post("/upgrade", data={**fields, "passcode": "wrong"}),
        "foreign": await client.post("/upgrade", data=fields, headers={"Origin": "http://evil.example"}),
        "large": await client.post("/upgrade", content="x" * (MAX_BODY + 1), headers=FORM),
        "done": await client.post("/upgrade", data=fields),
        "used": await client.get(path),
        "forged": await client.get("/upgrade?token=x"),
    }


async def test_every_page_forbids_caching_framing_referrers_and_everything_from_elsewhere(
    office: Office, client: httpx2.AsyncClient
) -> None:
    pages = await every_kind_of_page(office, client)
    assert [page.status_code for page in pages.values()] == [200, 403, 403, 413, 200, 410, 404]
    for page in pages.values():
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["X-Frame-Options"] == "DENY"
        [style] = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert page.headers["Content-Security-Policy"] == (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'"
        )
        assert not re.search(r"<script|\son\w+=|\sstyle=|javascript:", page.text)
        assert re.match(r'<!doctype html>\n<html lang="en">', page.text)


async def test_the_token_stands_in_the_hidden_field_alone(
    office: Office, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pages = await every_kind_of_page(office, client)
    token = hidden(pages["ask"].text, "token")
    for name, page in pages.items():
        assert page.text.count(token) == (1 if name in ("ask", "wrong") else 0), name
        assert not any(token in value for value in page.headers.values()), name
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("daimon_mcp"))
    assert token not in logged
    assert office.passcode not in logged


async def test_a_fault_of_ours_is_a_page_with_an_id_and_the_log_has_the_rest(
    office: Office, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    path = office.path_of(await office.upgrade_link())
    del office.operations.core.policy  # whatever needs it now fails in a way nobody foresaw
    answer = await client.get(path)
    assert answer.status_code == 500
    [record] = [record for record in caplog.records if record.name.startswith("daimon_mcp")]
    [cid] = re.findall(r"logged as (\w{10})\.", words_of(answer.text))
    assert cid in record.getMessage()
    assert record.exc_info is not None
    assert office.token_of(path) not in caplog.text


async def test_a_disk_that_cannot_be_written_is_told_with_the_time_to_wait(
    office: Office, client: httpx2.AsyncClient
) -> None:
    path = office.path_of(await office.upgrade_link())
    fields = await filled(client, path, office.passcode)
    read_only = Statement("PRAGMA query_only=1", "")
    await office.operations.core.database.write(lambda tx: tx.run(read_only))
    answer = await client.post("/upgrade", data=fields)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "The server cannot answer now" in words_of(answer.text)
    assert await office.tier() == "free"


async def test_a_browser_that_leaves_in_the_middle_of_the_form_changes_nothing(
    office: Office, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    path = office.path_of(await office.upgrade_link())
    body = urlencode(await filled(client, path, office.passcode)).encode()
    before = await snapshot(office)
    said = iter([{"type": "http.request", "body": body[:-5], "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(said)

    async def send(_: Any) -> None: ...

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/upgrade", "raw_path": b"/upgrade",
        "query_string": b"", "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("m", 80),
        "headers": [(b"host", b"m"), (b"content-type", FORM["Content-Type"].encode())],
    }  # fmt: skip
    await office.app(scope, receive, send)
    assert await snapshot(office) == before
    assert not caplog.records


async def test_the_words_can_be_an_operators_own(office: Office, client: httpx2.AsyncClient, tmp_path: Path) -> None:
    theirs = tmp_path / "prompts"
    (theirs / "operator").mkdir(parents=True)
    (theirs / "operator" / "page.md").write_text("# lang\nde\n")
    (theirs / "operator" / "page.ask.md").write_text("# approve\nGenehmigen\n")
    office.operations.texts = Texts(theirs)
    transport = httpx2.ASGITransport(office.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://m") as german:
        page = (await german.get(office.path_of(await office.upgrade_link()))).text
    assert '<html lang="de">' in page
    assert ">Genehmigen</button>" in page
    assert ">Decline</button>" in page


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (-SECOND, "a moment"),
        (0, "a moment"),
        (MINUTE - 1, "a moment"),
        (MINUTE, "1 minute"),
        (MINUTE + 29 * SECOND, "1 minute"),
        (MINUTE + 30 * SECOND, "2 minutes"),
        (HOUR, "1 hour"),
        (23 * HOUR, "23 hours"),
        (DAY, "1 day"),
        (7 * DAY - SECOND, "7 days"),
    ],
)
def test_lengths_of_time_are_told_in_their_largest_unit(length: int, words: str) -> None:
    assert Pages(Texts()).duration(length) == words


def test_the_template_engine_is_not_loaded_before_the_first_request() -> None:
    check = "import sys, daimon_mcp.faces.web.upgrade; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
