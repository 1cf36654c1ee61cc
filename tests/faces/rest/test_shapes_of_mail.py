"""Whatever comes in, it is shown in the form that is promised: real mail, and mail made to be odd."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from tests.faces.mcp.kit import receive
from tests.faces.rest.kit import SENDS, Program, new_account, program
from tests.support.contracts import ROOT
from tests.support.daimon import Daimon, running

CORPUS = {path.stem: path.read_bytes() for path in sorted((ROOT / "tests" / "corpus").glob("*.eml"))}
BOUNCE = b"""From: MAILER-DAEMON@far.example
To: robo@agents.localhost
Subject: Undelivered Mail Returned to Sender
Message-ID: <bounce@far.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

It could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; far.example

Final-Recipient: rfc822; gone@far.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 Nobody

--b
Content-Type: message/rfc822

From: robo@agents.localhost
To: gone@far.example
Subject: First
Message-ID: <first@agents.localhost>

Words.
--b--
"""
ACTION = b"""From: Shop <shop@shop.example>
To: robo+orders@agents.localhost
Reply-To: help@shop.example
Subject: Confirm your address
Message-ID: <action@shop.example>
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8

<p>Hello</p><p><a href="https://shop.example/verify?t=1">Confirm your address</a></p>
<p style="display:none">%s</p><p>Your code is <b>482913</b>, it expires in 10 minutes.</p>
<img src="https://track.example/o.gif" width="1" height="1">
""" % (b"hidden words that nobody sees " * 20)


@pytest.fixture(scope="module")
async def daimon(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Daimon]:
    async with running(tmp_path_factory.mktemp("shapes"), SENDS, listeners=True) as made:
        yield made


@pytest.fixture(scope="module")
async def agent(daimon: Daimon) -> AsyncGenerator[Program]:
    key, _ = await new_account(daimon, "robo")
    async with program(daimon, key) as made:
        yield made


BOX = "/v1/inboxes/robo@agents.localhost"


async def shown(daimon: Daimon, agent: Program, content: bytes) -> dict[str, object]:
    """The newest message, after this one came, with every route that shows it asked."""
    since = (await agent.get(f"{BOX}/changes"))["cursor"]
    await receive(daimon, "robo@agents.localhost", content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    came = await agent.get(f"{BOX}/wait", after=since, timeout_seconds=10)
    message = came["message"]
    path = f"{BOX}/messages/{message['id']}"
    await agent.get(f"{path}/delivery")
    await agent.get(f"{BOX}/threads/{message['thread_id']}")
    await agent.get(f"{BOX}/messages", thread_id=message["thread_id"])
    for want in ("code", "link"):
        await agent.get(f"{BOX}/wait", after=since, timeout_seconds=0, want=want)
    return await agent.get(path)


@pytest.mark.parametrize("mail", CORPUS.values(), ids=CORPUS)
async def test_real_mail(daimon: Daimon, agent: Program, mail: bytes) -> None:
    await shown(daimon, agent, mail)


async def test_a_report(daimon: Daimon, agent: Program) -> None:
    report = await shown(daimon, agent, BOUNCE)
    assert report["kind"] == "bounce"
    assert report["bounce"]


async def test_a_mail_with_a_code_a_link_and_hidden_words(daimon: Daimon, agent: Program) -> None:
    mail = await shown(daimon, agent, ACTION)
    assert mail["codes"]
    assert mail["cta_links"] == ["https://shop.example/verify?t=1"]
    assert mail["hidden_text"]
    assert mail["reply_to_addresses"] == ["help@shop.example"]
    assert "script" not in str(mail["body_html"])


async def test_mail_from_a_blocked_sender(daimon: Daimon, agent: Program) -> None:
    await agent.post(f"{BOX}/lists", list="block", entries=["spam.example"])
    await receive(
        daimon, "robo@agents.localhost", b"From: a@spam.example\r\nSubject: Buy\r\n\r\nWords.\r\n", "a@spam.example"
    )
    [held] = (await agent.get(f"{BOX}/messages", label="blocked"))["messages"]
    assert held["hold_reason"] == "on_block_list"
    path = f"{BOX}/messages/{held['id']}"
    assert (await agent.get(f"{path}/delivery"))["what_to_do"]
    released = await agent.patch(path, move_to="inbox")
    assert "hold_reason" not in released


async def test_searches_mark_where_the_words_are(daimon: Daimon, agent: Program) -> None:
    await receive(daimon, "robo@agents.localhost", b"From: a@far.example\r\nSubject: Wombat\r\n\r\nWords.\r\n")
    [found] = (await agent.get("/v1/search", query="wombat"))["messages"]
    assert (found["matched_in"], found["highlight"]) == (["subject"], "**Wombat**")
    await agent.get("/v1/search", query="wombat OR code", sort="relevance", inbox="robo@agents.localhost")
    await agent.get("/v1/search", query="is:unread")
