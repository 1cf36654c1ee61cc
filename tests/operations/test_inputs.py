"""What callers send: every accepted form, and refusals that say how to do it right without repeating what was given."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import OTHER, ROBO, arrive, becomes, clock_at, read_mail
from tests.support.sink import Sink

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.mcp.tools import ALL
from daimon_mcp.operations.requests import read

WORDS: dict[str, Any] = {"subject": "Hello", "body": "Hi"}
ANN, BOB = "ann@example.com", "bob@example.org"
SECRET = "zqxjkv"  # in what is given, and never in what is answered


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Agent]:
    """One agent for all that is only looked at and refused."""
    relay = {"relay": {"host": "127.0.0.1", "port": 9, "security": "none"}}
    folder = tmp_path_factory.mktemp("inputs") / "data"
    async with running(folder, relay, clock=clock_at("2026-11-10T12:00:00Z")) as daimon, daimon.agent() as made:
        await daimon.upgrade()
        await made.do("create_inbox", username="robo")
        yield made


async def fields(agent: Agent, tool: str, **arguments: Any) -> dict[str, str]:
    """What was wrong with each field of a call that must be refused; what was given is not in the answer."""
    answer = await agent.call(tool, **arguments)
    assert answer.error == "INVALID_REQUEST"
    assert SECRET not in json.dumps(answer.envelope)
    assert SECRET not in answer.text
    found = {each["field"]: each["problem"] for each in answer.envelope["fields"]}
    for field in found:
        assert field in answer.envelope["message"]
    return found


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        (ANN, [ANN]),
        (f" {ANN} ", [ANN]),
        (f"{ANN}, {BOB}", [ANN, BOB]),
        (f"Ann <{ANN}>, Bob B <{BOB}>", [ANN, BOB]),
        (f'"Ann, the first" <{ANN}>,{BOB},', [ANN, BOB]),
        ([ANN, BOB], [ANN, BOB]),
        ([f"Ann <{ANN}>, {BOB}", "cy@example.net"], [ANN, BOB, "cy@example.net"]),
        ({"email": ANN}, [ANN]),
        ({"email": ANN, "name": "Ann"}, [ANN]),
        ({"email": ANN, "name": None}, [ANN]),
        ([{"email": ANN, "name": "Ann"}, BOB], [ANN, BOB]),
        ([ANN, ANN.upper(), f"Ann <{ANN}>"], [ANN]),
        ("josé@exämple.org", ["josé@xn--exmple-cua.org"]),
    ],
)
async def test_every_form_of_recipients(shared: Agent, people: Any, expected: list[str]) -> None:
    for field in ("to", "cc", "bcc"):
        others: dict[str, Any] = {} if field == "to" else {"to": []}
        verdict = await shared.do("send_email", inbox=ROBO, **WORDS, **others, **{field: people}, dry_run=True)
        assert verdict["recipients"] == expected


@pytest.mark.parametrize(
    "people",
    [
        SECRET,
        f"{SECRET}@",
        f"@{SECRET}.com",
        f"{SECRET} x@y.com",
        f"a@{SECRET}..com",
        f"a@-{SECRET}.com",
        f"<{SECRET}",
        f"Ann <{SECRET}>",
        f'"{SECRET} <a@b.com>',
        f"{SECRET}@x.org\r\nBcc: {SECRET}@y.org",
        f"{SECRET}@x.org\n",
        f"{SECRET}\0@x.org",
        f"{SECRET}\u2028@x.org",
        f"{SECRET}\u200b@x.org",
        f"{SECRET} <a@b.com>\x1b[31m",
        {"email": SECRET},
        {"email": f"{ANN}, {BOB}"},
        {"email": ANN, "name": f"{SECRET}\r\nBcc: x@y.org"},
        {"email": ANN, SECRET: "x"},
        {"name": SECRET},
        {"address": SECRET},
        {"email": 7},
        [ANN, SECRET],
        [ANN, {"email": ANN, "name": f"{SECRET}\0"}],
        [[SECRET]],
        [7],
        7,
        True,
        f"{SECRET}@{'x' * 250}.org",
        SECRET * 100_000,
    ],
    ids=lambda each: repr(each)[:40],
)
async def test_recipients_that_are_none_are_named_and_not_repeated(shared: Agent, people: Any) -> None:
    for field in ("to", "cc", "bcc", "reply_to"):
        arguments: dict[str, Any] = {"to": ANN, **WORDS, field: people}
        found = await fields(shared, "send_email", inbox=ROBO, **arguments)
        assert all(name == field or name.startswith(f"{field}.") for name in found)


async def test_nothing_given_says_what_is_missing(agent: Agent) -> None:
    assert set(await fields(agent, "send_email", inbox=ROBO)) == {"to", "subject", "body"}
    nobody: list[Any] = ["", [], " , "]
    for empty in nobody:
        assert set(await fields(agent, "send_email", inbox=ROBO, to=empty, **WORDS)) == {"to"}
    assert (await agent.do("send_email", inbox=ROBO, to=ANN, subject="", body=""))["status"] == "queued"
    several = await fields(agent, "send_email", to=ANN, **WORDS)
    assert set(several) == {"inbox"}


async def test_fifty_recipients_and_not_one_more(agent: Agent) -> None:
    many = [f"user{n}@example.com" for n in range(51)]
    over = await fields(agent, "send_email", inbox=ROBO, to=many[:20], cc=many[20:40], bcc=many[40:], **WORDS)
    assert "50" in over["to"]
    done = await agent.do("send_email", inbox=ROBO, to=many[:20], cc=many[20:40], bcc=many[40:50], **WORDS)
    assert len(done["recipients"]) == 50


async def test_ten_megabytes_and_not_more(agent: Agent) -> None:
    for arguments in (
        {"body": "x" * 10_500_000},
        {"body": "x", "body_html": "x" * 10_500_000},
        {"body": "é" * 4_000_000},
        {"body": "x", "attachments": [{"filename": "a", "content": base64.b64encode(b"x" * 8_000_000).decode()}]},
    ):
        answer = await agent.call("send_email", inbox=ROBO, to=ANN, subject="Big", **arguments)
        assert answer.error == "MESSAGE_TOO_LARGE"
        assert "10485760" in answer.envelope["message"]
    assert (await agent.do("list_messages", inbox=ROBO))["messages"] == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2026-11-21T09:00:00", "2026-11-21T09:00:00Z"),
        ("2026-11-21 09:00", "2026-11-21T09:00:00Z"),
        ("2026-11-21", "2026-11-21T00:00:00Z"),
        ("tomorrow", "2026-11-21T09:00:00Z"),
        ("", "2026-11-21T09:00:00Z"),
        (f"{SECRET}Z", "2026-11-21T09:00:00Z"),
        ("2026-13-21T09:00:00Z", "2026-11-21T09:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "ISO 8601"),
        ("9999-12-31T23:59:59-14:00", "ISO 8601"),
        ("1969-12-31T23:59:59Z", "1970"),
        ("9999-12-31T23:59:59Z", "1970"),
        (1_795_000_000, "ISO 8601"),
        (True, "whole number"),
    ],
)
async def test_a_time_that_cannot_be_read_shows_one_that_can(shared: Agent, value: Any, words: str) -> None:
    for tool, field, arguments in (
        ("send_email", "send_at", {"to": ANN, **WORDS}),
        ("create_draft", "send_at", {"to": ANN, **WORDS}),
        ("list_messages", "before", {}),
        ("list_messages", "after", {}),
    ):
        found = await fields(shared, tool, inbox=ROBO, **arguments, **{field: value})
        assert words in found[field]


@pytest.mark.parametrize(
    "value", ["2026-11-21T10:00:00+01:00", "2026-11-21T09:00:00z", "2026-11-21T04:00:00-0500", "2026-11-21T09:00:00.9Z"]
)
async def test_a_time_with_any_offset_is_kept_in_utc(shared: Agent, value: str) -> None:
    sent = await shared.do("send_email", inbox=ROBO, to=ANN, **WORDS, send_at=value, allow_duplicate=True)
    assert sent["scheduled_at"] == "2026-11-21T09:00:00Z"


async def test_names_that_are_no_arguments_are_refused_with_the_nearest_one(agent: Agent) -> None:
    found = await fields(agent, "send_email", inbox=ROBO, too=ANN, subjekt=SECRET, body="x")
    assert "did you mean to?" in found["too"]
    assert "did you mean subject?" in found["subjekt"]
    found = await fields(agent, "send_email", inbox=ROBO, to=ANN, **WORDS, **{f"{SECRET} evil\n\x1b[31m": 1})
    assert list(found) == ["arguments"]
    found = await fields(agent, "get_message", message_id="msg_x", max_token=5)
    assert "did you mean max_tokens?" in found["max_token"]


async def test_only_a_name_that_is_spelt_alike_is_suggested(agent: Agent) -> None:
    found = await fields(agent, "send_email", inbox=ROBO, to=ANN, **WORDS, body_text="x", sendat="x")
    assert found["body_text"].startswith("is not an argument here; known are subject, body, ")
    assert found["sendat"] == "is not an argument here (did you mean send_at?)"
    said = (await agent.call("send_email", inbox=ROBO, to=ANN, **WORDS, sendat="x")).envelope["message"]
    assert said == "Not done: sendat: is not an argument here (did you mean send_at?)."


@pytest.mark.parametrize(
    ("tool", "arguments", "field", "example"),
    [
        ("get_message", {}, "message_id", '"msg_…"'),
        ("search_messages", {}, "query", '"from:ann invoice"'),
        ("create_inbox", {"metadata": "x"}, "metadata", '{"purpose": "support"}'),
        ("notify_operator", {"issue": "x", "context": "x"}, "context", '{"order": "A-17"}'),
        ("send_email", {"send_at": "tomorrow"}, "send_at", '"2030-01-31T09:00:00Z"'),
    ],
)
async def test_what_is_wrong_is_shown_right(
    shared: Agent, tool: str, arguments: dict[str, Any], field: str, example: str
) -> None:
    problem = (await shared.call(tool, **arguments)).envelope["fields"][0]
    assert (problem["field"], problem["example"]) == (field, example)


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        ("send_email", {"to": ANN, "subject": 7, "body": "x"}, "subject"),
        ("send_email", {"to": ANN, "subject": "x", "body": ["x"]}, "body"),
        ("send_email", {"to": ANN, **WORDS, "dry_run": "yes"}, "dry_run"),
        ("send_email", {"to": ANN, **WORDS, "labels": "a"}, "labels"),
        ("send_email", {"to": ANN, **WORDS, "labels": [""]}, "labels.0"),
        ("send_email", {"to": ANN, **WORDS, "labels": ["ok", "un\nread"]}, "labels.1"),
        ("send_email", {"to": ANN, **WORDS, "labels": ["Inbox"]}, "labels.0"),
        ("send_email", {"to": ANN, **WORDS, "labels": [str(n) for n in range(21)]}, "labels"),
        ("send_email", {"to": ANN, **WORDS, "client_id": ""}, "client_id"),
        ("send_email", {"to": ANN, **WORDS, "client_id": "x" * 201}, "client_id"),
        ("send_email", {"to": ANN, **WORDS, "reason": "x" * 301}, "reason"),
        ("send_email", {"to": ANN, "subject": "x" * 901, "body": "x"}, "subject"),
        ("send_email", {"to": ANN, **WORDS, "headers": {"X-A": 7}}, "headers.X-A"),
        ("send_email", {"to": ANN, **WORDS, "headers": [1]}, "headers"),
        ("send_email", {"to": ANN, **WORDS, "attachments": [{"filename": "a"}]}, "attachments.0.content"),
        (
            "send_email",
            {"to": ANN, **WORDS, "attachments": [{"filename": "", "content": ""}]},
            "attachments.0.filename",
        ),
        (
            "send_email",
            {"to": ANN, **WORDS, "attachments": [{"filename": "a", "content": "%"}]},
            "attachments.0.content",
        ),
        ("send_email", {"to": ANN, **WORDS, "in_reply_to": f"<{SECRET}> <x>"}, "in_reply_to"),
        ("send_email", {"to": ANN, **WORDS, "references": [f"<{SECRET}>\r\nBcc: x"]}, "references"),
        ("send_email", {"to": ANN, **WORDS, "body_markdown": "x"}, "body_markdown"),
        ("create_draft", {"attachments": [{"filename": "a", "content": "%"}]}, "attachments.0.content"),
        ("create_draft", {"in_reply_to": f"{SECRET}\r\nBcc: x"}, "in_reply_to"),
        ("create_draft", {"to": SECRET}, "to"),
        ("list_messages", {"limit": 0}, "limit"),
        ("list_messages", {"limit": 101}, "limit"),
        ("list_messages", {"limit": 1.5}, "limit"),
        ("list_messages", {"limit": "5"}, "limit"),
        ("list_messages", {"limit": True}, "limit"),
        ("list_messages", {"sort": SECRET}, "sort"),
        ("list_messages", {"direction": SECRET}, "direction"),
        ("wait_for_message", {"timeout_seconds": 301}, "timeout_seconds"),
        ("wait_for_message", {"timeout_seconds": -1}, "timeout_seconds"),
        ("get_message", {}, "message_id"),
        ("get_message", {"message_id": ""}, "message_id"),
        ("get_message", {"message_id": "msg_x", "include": [SECRET]}, "include.0"),
        ("get_message", {"message_id": "msg_x", "offset": -1}, "offset"),
        ("search_messages", {"query": ""}, "query"),
        ("create_inbox", {"username": "Ab"}, "username"),
        ("create_inbox", {"username": f"{SECRET}!"}, "username"),
        ("create_inbox", {"domain": f"{SECRET}.org"}, "domain"),
        ("create_inbox", {"display_name": f"{SECRET}\r\nBcc: x@y.org"}, "display_name"),
        ("create_inbox", {"metadata": {"n": 10**30}}, "metadata"),
        ("create_inbox", {"metadata": {"n": "x" * 5000}}, "metadata"),
        ("create_upgrade_link", {"target_tier": SECRET}, "target_tier"),
        ("notify_operator", {"issue": "\u200b\n"}, "issue"),
        ("notify_operator", {"issue": "x", "context": {"n": 10**30}}, "context"),
    ],
    ids=lambda each: str(each)[:40],
)
async def test_each_wrong_value_is_named(shared: Agent, tool: str, arguments: dict[str, Any], field: str) -> None:
    takes_inbox = tool in ("send_email", "create_draft", "list_messages", "wait_for_message", "search_messages")
    found = await fields(shared, tool, **({"inbox": ROBO} if takes_inbox else {}), **arguments)
    assert field in found


INJECTIONS = [
    "a\r\nBcc: evil@example.com",
    "a\nX-Evil: 1",
    "a\rb",
    "a\0b",
    "a\x0bb",
    "a\x1b[31mb",
    "a\u2028b",
    "a\x85b",
]


@pytest.mark.parametrize("text", INJECTIONS, ids=repr)
async def test_no_text_ends_the_header_it_stands_in(daimon: Daimon, agent: Agent, sink: Sink, text: str) -> None:
    for arguments in (
        {"subject": text, "body": "x"},
        {**WORDS, "headers": {"X-A": text}},
        {**WORDS, "headers": {text: "x"}},
        {**WORDS, "in_reply_to": text},
        {**WORDS, "references": [text]},
        {**WORDS, "reply_to": f"{text}@example.com"},
        {**WORDS, "labels": [text]},
    ):
        answer = await agent.call("send_email", inbox=ROBO, to=ANN, **arguments, allow_duplicate=True)
        if "in_reply_to" in arguments or "references" in arguments:
            if not answer.is_error:  # a character that no line ends with: it is left out of the header
                await becomes(daimon, agent, answer.result["id"], "sent")
            continue
        assert answer.error == "INVALID_REQUEST"
    file = {"filename": text, "content": "aGk=", "content_type": "text/plain"}
    sent = await agent.call("send_email", inbox=ROBO, to=ANN, **WORDS, attachments=[file])
    if not sent.is_error:
        await becomes(daimon, agent, sent.result["id"], "sent")
    bodies = await agent.do("send_email", inbox=ROBO, to=ANN, subject="s", body=text, body_html=f"<p>{text}</p>")
    await becomes(daimon, agent, bodies["id"], "sent")
    for stored in sink.messages:
        mail = read_mail(stored.content)
        assert mail["Bcc"] is None
        assert mail["X-Evil"] is None
        assert stored.recipients == [ANN]
        assert b"\0" not in stored.content
        assert all(line.endswith(b"\r") for line in stored.content.split(b"\n")[:-1])


async def test_a_strangers_subject_does_not_end_a_header_of_an_answer(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    subject = "=?utf-8?q?Hi=0D=0ABcc:_evil@example.com?="
    [letter] = await arrive(daimon, ROBO, subject=subject, sender="=?utf-8?q?A=0D=0ABcc:_x@y.org?= <ann@example.com>")
    for tool, arguments in (
        ("reply_to_message", {"message_id": letter, "body": "x"}),
        ("forward_message", {"message_id": letter, "to": ANN}),
    ):
        sent = await agent.do(tool, **arguments)
        await becomes(daimon, agent, sent["id"], "sent")
        assert read_mail(sink.messages[-1].content)["Bcc"] is None
        assert sink.messages[-1].recipients == [ANN]


@pytest.mark.parametrize("name", ["send_email", "create_draft", "create_inbox", "notify_operator", "search_messages"])
async def test_half_a_surrogate_pair_is_refused_wherever_it_stands(daimon: Daimon, name: str) -> None:
    """Below the protocol, whose JSON may not carry them: any face may hand one on."""
    spec = next(tool for tool in ALL if tool.name == name)
    bad = "x\ud800y"
    good: dict[str, dict[str, Any]] = {
        "send_email": {"inbox": ROBO, "to": ANN, **WORDS},
        "create_draft": {"inbox": ROBO, **WORDS},
        "create_inbox": {"username": "fresh"},
        "notify_operator": {"issue": "x"},
        "search_messages": {"inbox": ROBO, "query": "x"},
    }
    values: dict[str, Any] = {
        "to": [bad, f"{bad}@x.org", {"email": ANN, "name": bad}],
        "headers": [{"X-A": bad}, {bad: "x"}],
        "labels": [[bad]],
        "references": [[bad]],
        "metadata": [{"a": bad}, {bad: 1}],
        "context": [{"a": bad}],
        "attachments": [[{"filename": bad, "content": "aGk="}]],
    }
    for field in spec.request.model_fields:
        for value in values.get(field, [bad]):
            arguments = {**good[name], field: value}
            with pytest.raises(Refused) as refused:
                read(spec.request, arguments)
            assert refused.value.code is RefusalCode.INVALID_REQUEST
            json.dumps(await daimon.refusal(refused.value), ensure_ascii=False).encode()  # it can be written


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_no_arguments_at_all_make_reading_them_fail(tool: Any) -> None:
    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(st.sampled_from([*tool.request.model_fields, "x"]), _json, max_size=4))
    def check(arguments: dict[str, Any]) -> None:
        try:
            read(tool.request, arguments)
        except Refused as refused:
            code, named = refused.code, refused.fields
        else:
            return
        assert code is RefusalCode.INVALID_REQUEST
        assert named

    check()


async def test_nonsense_in_ids_finds_nothing(agent: Agent) -> None:
    for id_ in ("x", "msg_", "msg_' OR 1=1 --", "%", "../../etc", "💣" * 50, "x" * 320, "inb_\0", "@", "a@", "@b"):
        for tool, field in (("get_message", "message_id"), ("get_thread", "thread_id"), ("get_inbox", "inbox")):
            answer = await agent.call(tool, **{field: id_})
            assert answer.error.endswith("_NOT_FOUND"), (tool, id_)


async def test_older_names_of_fields_and_ids_are_taken(agent: Agent) -> None:
    inbox = (await agent.do("get_inbox", inbox=ROBO))["id"].replace("inb_", "inbox_")
    sent = await agent.do("send_email", inbox=inbox, to=OTHER, subject="s", text="Words", html="<p>Words</p>")
    thread = await agent.do("get_thread", thread_id=sent["thread_id"].replace("thr_", "thread_"))
    assert thread["thread"]["message_count"] == 1
    draft = await agent.do("create_draft", inbox=inbox, to=OTHER, subject="s", body_text="Words")
    assert draft["body_text"] == "Words"


async def test_markdown_makes_both_parts_and_no_raw_html(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to=ANN, subject="s", body_markdown="**Hi** <script>x</script>")
    await becomes(daimon, agent, sent["id"], "sent")
    mail = read_mail(sink.messages[0].content)
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "<strong>Hi</strong>" in str(html.get_content())
    assert "<script>" not in str(html.get_content())
    assert "**Hi**" in str(text.get_content())


async def test_labels_are_found_as_they_were_given(agent: Agent) -> None:
    await agent.do("send_email", inbox=ROBO, to=OTHER, **WORDS, labels=["Invoice ", "invoice", "Q4"])
    for label in ("invoice", "INVOICE", "q4"):
        found = (await agent.do("list_messages", inbox=ROBO, label=label))["messages"]
        assert [each["labels"] for each in found] == [["sent", "invoice", "q4"]]


async def test_search_looks_for_every_word_in_what_people_see(daimon: Daimon, agent: Agent) -> None:
    await arrive(daimon, ROBO, subject="=?utf-8?q?=C3=84rger?= with Invoice", body="Forty two")
    for query in ("invoice", "FORTY", "Ärger", "ann example.com two", "robo@agents"):
        assert len((await agent.do("search_messages", inbox=ROBO, query=query))["messages"]) == 1, query
    for query in ("email", "name", "invoice missing"):
        assert (await agent.do("search_messages", inbox=ROBO, query=query))["messages"] == [], query
    for query in ("%", "_", '":"'):
        assert set(await fields(agent, "search_messages", inbox=ROBO, query=query)) == {"query"}


async def test_an_actor_of_no_inbox_is_told_so(daimon: Daimon) -> None:
    assert isinstance(await daimon.actor(), Actor)
    async with daimon.agent() as agent:
        assert (await agent.call("send_email", to=ANN, **WORDS)).error == "INBOX_NOT_FOUND"
