"""Reply, reply to all, forward: recipients, headers, subject, quote, attachments, and one thread at both ends."""

from __future__ import annotations

import base64
from email.message import EmailMessage
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import OTHER, ROBO, arrive, becomes, delivered_to, read_mail
from tests.support.sink import Sink


async def left(
    daimon: Daimon, agent: Agent, sink: Sink, tool: str, **arguments: Any
) -> tuple[dict[str, Any], EmailMessage]:
    """Call a tool that sends; its result, and the mail as the relay got it."""
    result = await agent.do(tool, **arguments)
    await becomes(daimon, agent, result["id"], "sent")
    return result, read_mail(sink.messages[-1].content)


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


async def test_a_reply_stands_under_its_original(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    [letter] = await arrive(
        daimon,
        ROBO,
        subject="Re: AW: Order",
        body="First line\r\n> older\r\nLast line",
        message_id="<two@example.com>",
        headers={"References": "<one@example.com>", "In-Reply-To": "<one@example.com>"},
    )
    result, mail = await left(daimon, agent, sink, "reply_to_message", message_id=letter, body="Thank you")
    assert (mail["To"], mail["Cc"]) == ("Ann <ann@example.com>", None)
    assert mail["Subject"] == "Re: Order"
    assert mail["In-Reply-To"] == "<two@example.com>"
    assert mail["References"].split() == ["<one@example.com>", "<two@example.com>"]
    assert text_of(mail) == (
        "Thank you\n\nOn 2026-11-21 09:00 UTC, Ann <ann@example.com> wrote:\n> First line\n>> older\n> Last line\n"
    )
    original = await agent.do("get_message", message_id=letter)
    assert result["thread_id"] == original["thread_id"]
    thread = (await agent.do("get_thread", thread_id=result["thread_id"]))["thread"]
    assert thread["message_count"] == 2
    assert [each["direction"] for each in thread["messages"]] == ["inbound", "outbound"]
    assert thread["messages"][1]["reply_body"].strip() == "Thank you"


async def test_the_quote_and_the_subject_can_be_chosen(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    [letter] = await arrive(daimon, ROBO)
    _, mail = await left(
        daimon, agent, sink, "reply_to_message",
        message_id=letter, body="Short", quote=False, subject="Other", to="bob@example.org", body_html="<p>Short</p>",
    )  # fmt: skip
    assert (mail["To"], mail["Subject"], text_of(mail)) == ("bob@example.org", "Other", "Short\n")
    assert mail["In-Reply-To"] is not None


async def test_an_html_reply_quotes_the_text_and_never_the_strangers_markup(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    [letter] = await arrive(daimon, ROBO, body="1 < 2 <script>alert(1)</script>")
    _, mail = await left(daimon, agent, sink, "reply_to_message", message_id=letter, body="Yes", body_html="<b>Yes</b>")
    html = mail.get_body(("html",))
    assert html is not None
    markup = str(html.get_content())
    assert markup.startswith("<b>Yes</b>")
    assert "&lt;script&gt;" in markup
    assert "<script>" not in markup


@pytest.mark.parametrize(
    ("fields", "to", "cc"),
    [
        ({"to": ROBO}, {"ann@example.com"}, set[str]()),
        (
            {"to": f"{ROBO}, Bob <bob@example.org>", "headers": {"Cc": "cy@example.net, ann@example.com"}},
            {"ann@example.com", "bob@example.org"},
            {"cy@example.net"},
        ),
        (
            {"to": "robo+sales@agents.localhost, ROBO@AGENTS.localhost, bob@example.org"},
            {"ann@example.com", "bob@example.org"},
            set[str](),
        ),
        ({"to": "list@example.org", "headers": {"Cc": ROBO}}, {"ann@example.com", "list@example.org"}, set[str]()),
        (
            {"to": ROBO, "headers": {"Reply-To": "desk@example.com, robo@agents.localhost"}},
            {"desk@example.com"},
            set[str](),
        ),
    ],
)
async def test_a_reply_to_all_goes_to_everyone_but_oneself(
    daimon: Daimon, agent: Agent, sink: Sink, fields: dict[str, Any], to: set[str], cc: set[str]
) -> None:
    [letter] = await arrive(daimon, ROBO, **fields)
    _, mail = await left(daimon, agent, sink, "reply_to_message", message_id=letter, body="All", reply_all=True)

    def emails(name: str) -> set[str]:
        header = mail[name]
        return {each.addr_spec for each in header.addresses} if header is not None else set()

    assert (emails("To"), emails("Cc")) == (to, cc)


async def test_reply_to_is_honoured(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    [letter] = await arrive(daimon, ROBO, headers={"Reply-To": "Desk <desk@example.com>"})
    _, mail = await left(daimon, agent, sink, "reply_to_message", message_id=letter, body="x")
    assert mail["To"] == "Desk <desk@example.com>"


async def test_answering_ones_own_mail_goes_on_to_whom_it_went(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await agent.do(
        "send_email", inbox=ROBO, to="Ann <ann@example.com>", cc="cy@example.net", subject="Plan", body="One"
    )
    result, mail = await left(daimon, agent, sink, "reply_to_message", message_id=sent["id"], body="And two")
    assert (mail["To"], mail["Cc"], mail["Subject"]) == ("Ann <ann@example.com>", None, "Re: Plan")
    assert mail["In-Reply-To"] == sent["message_id"]
    assert result["thread_id"] == sent["thread_id"]
    _, to_all = await left(daimon, agent, sink, "reply_to_message", message_id=sent["id"], body="Three", reply_all=True)
    assert (to_all["To"], to_all["Cc"]) == ("Ann <ann@example.com>", "cy@example.net")


async def test_an_original_without_a_message_id_can_be_answered(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    [letter] = await arrive(daimon, ROBO, message_id=None)
    original = await agent.do("get_message", message_id=letter)
    result, mail = await left(daimon, agent, sink, "reply_to_message", message_id=letter, body="x")
    assert result["thread_id"] == original["thread_id"]
    assert mail["To"] == "Ann <ann@example.com>"
    if original["message_id"] is None:
        assert (mail["In-Reply-To"], mail["References"]) == (None, None)


@pytest.mark.parametrize(
    "sender", ["", "undisclosed", "Ann <>", '"x" <a b@example.com>', "<@>", "a@b@c d", "=?utf-8?q?a=0Ab?= <x@y z>"]
)
async def test_a_sender_that_is_no_address_is_said_to_be_none(daimon: Daimon, agent: Agent, sender: str) -> None:
    [letter] = await arrive(daimon, ROBO, sender=sender)
    answer = await agent.call("reply_to_message", message_id=letter, body="x")
    if answer.is_error:
        assert answer.error in ("INVALID_REQUEST", "RECIPIENT_REFUSED")
        named = await agent.do("reply_to_message", message_id=letter, body="x", to="ann@example.com")
        assert named["status"] == "queued"


async def test_a_forward_carries_the_words_and_the_files(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    content = (
        "From: Ann <ann@example.com>\r\nTo: robo@agents.localhost\r\nSubject: Fwd: Files\r\n"
        "Date: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <f@example.com>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nSee the file\r\n"
        "--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="plan.pdf"\r\n\r\n'
        + base64.b64encode(b"%PDF-1.4 plan").decode()
        + "\r\n--b--\r\n"
    ).encode()
    [letter] = await arrive(daimon, ROBO, content=content)
    result, mail = await left(
        daimon, agent, sink, "forward_message", message_id=letter, to="bob@example.org", body="For you"
    )
    assert (mail["To"], mail["Subject"]) == ("bob@example.org", "Fwd: Files")
    assert mail["In-Reply-To"] is None
    text = text_of(mail)
    assert text.startswith("For you\n\n---------- Forwarded message ----------\nFrom: Ann <ann@example.com>\n")
    assert "See the file" in text
    [file] = mail.iter_attachments()
    assert (file.get_filename(), file.get_content()) == ("plan.pdf", b"%PDF-1.4 plan")
    assert result["recipients"] == ["bob@example.org"]
    _, bare = await left(
        daimon, agent, sink, "forward_message", message_id=letter, to="bob@example.org", include_attachments=False
    )
    assert list(bare.iter_attachments()) == []
    assert text_of(bare).startswith("---------- Forwarded message")
    draft = await agent.do("create_draft", forward_of=letter, to="cy@example.net")
    assert (draft["kind"], draft["subject"]) == ("forward", "Fwd: Files")
    _, drafted = await left(daimon, agent, sink, "send_draft", draft_id=draft["id"])
    assert [each.get_filename() for each in drafted.iter_attachments()] == ["plan.pdf"]


async def test_a_conversation_is_one_thread_at_both_ends(agent: Agent) -> None:
    first = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Lunch?", body="At noon?")
    for n in range(3):
        inbox = OTHER if n % 2 == 0 else ROBO
        newest = (await delivered_to(agent, inbox))[-1]
        await agent.do("reply_to_message", message_id=newest["id"], body=f"Answer {n}")
    for inbox in (ROBO, OTHER):
        found = (await agent.do("list_messages", inbox=inbox))["messages"]
        assert len({each["thread_id"] for each in found}) == 1
        thread = (await agent.do("get_thread", thread_id=found[0]["thread_id"]))["thread"]
        assert thread["message_count"] == 4
        assert thread["subject"] == "Lunch?"
        assert thread["unread_count"] == 2
        assert set(thread["participants"]) == {ROBO, OTHER}
    assert (await agent.do("get_inbox", inbox=ROBO))["thread_count"] == 1
    assert first["thread_id"] == (await agent.do("list_messages", inbox=ROBO))["messages"][0]["thread_id"]


async def test_a_late_parent_joins_its_children(daimon: Daimon, agent: Agent) -> None:
    [late] = await arrive(
        daimon, ROBO, message_id="<3@x>", headers={"In-Reply-To": "<2@x>", "References": "<1@x> <2@x>"}
    )
    [middle] = await arrive(daimon, ROBO, message_id="<2@x>", headers={"In-Reply-To": "<1@x>"})
    [first] = await arrive(daimon, ROBO, message_id="<1@x>")
    [stranger] = await arrive(daimon, ROBO, message_id="<9@x>", subject="Hello")
    threads = [(await agent.do("get_message", message_id=each))["thread_id"] for each in (late, middle, first)]
    assert len(set(threads)) == 1
    assert (await agent.do("get_message", message_id=stranger))["thread_id"] not in threads
    assert (await agent.do("get_thread", thread_id=threads[0]))["thread"]["message_count"] == 3
    assert (await agent.do("get_inbox", inbox=ROBO))["thread_count"] == 2


async def test_a_stranger_cannot_reach_into_another_inboxs_thread(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to="ann@example.com", subject="Secret", body="x")
    [foreign] = await arrive(daimon, OTHER, subject="Re: Secret", headers={"In-Reply-To": sent["message_id"]})
    assert (await agent.do("get_message", message_id=foreign))["thread_id"] != sent["thread_id"]
    [answer] = await arrive(daimon, ROBO, subject="Re: Secret", headers={"In-Reply-To": sent["message_id"]})
    assert (await agent.do("get_message", message_id=answer))["thread_id"] == sent["thread_id"]


async def test_a_send_joins_a_thread_by_its_id_by_ours_or_by_a_message_id(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    [letter] = await arrive(daimon, ROBO, message_id="<q@example.com>", headers={"References": "<p@example.com>"})
    original = await agent.do("get_message", message_id=letter)
    for n, how in enumerate(
        ({"thread_id": original["thread_id"]}, {"in_reply_to": letter}, {"in_reply_to": "<q@example.com>"})
    ):
        result, mail = await left(
            daimon, agent, sink, "send_email", inbox=ROBO, to="ann@example.com", subject="S", body=f"{n}", **how
        )
        assert result["thread_id"] == original["thread_id"]
        assert mail["References"].split()[:2] == ["<p@example.com>", "<q@example.com>"]
    result, mail = await left(
        daimon, agent, sink, "send_email", inbox=ROBO, to="ann@example.com", subject="S", body="x",
        in_reply_to="gone@example.com", references=["<r@example.com>"],
    )  # fmt: skip
    assert result["thread_id"] != original["thread_id"]
    assert (mail["In-Reply-To"], mail["References"]) == ("<gone@example.com>", "<r@example.com>")
