"""No answer is longer than the operator allows, and what was left out can be had."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.faces.mcp.kit import ERAS, FREE_SENDS, arrive
from tests.faces.mcp.test_strangers_words import split
from tests.support.daimon import Agent, Answer, Daimon, running

from daimon_mcp.domain.tiers import Tier
from daimon_mcp.operations.core import Policy
from daimon_mcp.operations.inboxes import CreateInbox

BYTES_PER_TOKEN = 4
DEFAULT = Policy().max_result_tokens * BYTES_PER_TOKEN
TINY = 500  # the least that the settings take
LINE = "All work and no play makes a dull mail, number {}.\n"


def check_size(answer: Answer, most: int = DEFAULT) -> None:
    assert len(orjson.dumps(answer.envelope)) <= most
    assert len(answer.text.encode()) <= most


@pytest.fixture(params=[None, TINY], ids=["default", "tiny"])
async def bounded(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[tuple[Agent, Daimon, int]]:
    """An agent, its server, and the bytes an answer may have."""
    sections: dict[str, Any] = (
        {**FREE_SENDS, "mcp": {"max_result_tokens": request.param}} if request.param else FREE_SENDS
    )
    async with running(tmp_path / "data", sections) as daimon, daimon.agent() as agent:
        yield agent, daimon, (request.param or DEFAULT // BYTES_PER_TOKEN) * BYTES_PER_TOKEN


async def pages(agent: Agent, tool: str, name: str, most: int, **arguments: Any) -> tuple[list[Any], int]:
    """All rows of a list, page after page, and how many pages it took; every page in bounds."""
    found: list[Any] = []
    count = 0
    cursor: dict[str, Any] = {}
    while True:
        answer = await agent.call(tool, **arguments, **cursor)
        check_size(answer, most)
        result = answer.result
        assert bool(result["next_cursor"]) is result["has_more"]
        found += result.get("thread", result)[name]
        count += 1
        if result["next_cursor"] is None:
            return found, count
        # A host that shows a model the text alone must not hide where the list goes on.
        assert result["next_cursor"] in answer.text
        cursor = {"cursor": result["next_cursor"]}


async def test_lists_of_messages(bounded: tuple[Agent, Daimon, int]) -> None:
    agent, daimon, most = bounded
    inbox = await agent.do("create_inbox")
    for number in range(100):
        await arrive(daimon, inbox["address"], subject=f"{number:03} " + "subject " * 100, body="word " * 100)
    expected = [f"{number:03}" for number in reversed(range(100))]
    for tool, arguments in (("list_messages", {}), ("search_messages", {"query": "subject"})):
        rows, count = await pages(agent, tool, "messages", most, limit=100, **arguments)
        assert [row["subject"][:3] for row in rows] == expected
        assert count > 1
    rows, _ = await pages(agent, "list_messages", "messages", most, limit=100, sort="asc")
    assert [row["subject"][:3] for row in rows] == expected[::-1]


async def test_lists_of_inboxes(bounded: tuple[Agent, Daimon, int]) -> None:
    agent, daimon, most = bounded
    await daimon.upgrade(Tier.PRO)
    actor = await daimon.actor()
    for number in range(30):
        request = CreateInbox(username=f"box-{number:03}", metadata={"note": "x" * 4000})
        await daimon.operations.inboxes.create_inbox(actor, request)
    rows, count = await pages(agent, "list_inboxes", "inboxes", most, limit=100)
    assert [row["address"][:7] for row in rows] == [f"box-{number:03}" for number in reversed(range(30))]
    assert count > 1


async def test_lists_of_drafts(bounded: tuple[Agent, Daimon, int]) -> None:
    agent, _, most = bounded
    await agent.do("create_inbox")
    people = [f"somebody-with-a-long-name-{number}@example.com" for number in range(50)]
    for number in range(30):
        await agent.do("create_draft", subject=f"{number:03}", to=people, body="word " * 5000)
    rows, count = await pages(agent, "list_drafts", "drafts", most, limit=100)
    assert [row["subject"] for row in rows] == [f"{number:03}" for number in reversed(range(30))]
    assert count > 1


async def test_a_long_thread(bounded: tuple[Agent, Daimon, int]) -> None:
    agent, daimon, most = bounded
    inbox = await agent.do("create_inbox")
    for number in range(30):
        headers = {"References": "<root@example.com>"}
        await arrive(daimon, inbox["address"], subject="Re: Plan", body=f"{number:03} " + "word " * 2000, **headers)
    thread = (await agent.do("list_messages", limit=1))["messages"][0]["thread_id"]
    rows, count = await pages(agent, "get_thread", "messages", most, thread_id=thread, limit=50, max_tokens=25_000)
    assert [row["reply_body"][:3] for row in rows] == [f"{number:03}" for number in range(30)]
    assert all(row["truncated"] == (len(row["reply_body"]) < 10_000) for row in rows)
    assert count >= 1


async def test_a_message_of_200_kb(daimon: Daimon) -> None:
    body = "".join(LINE.format(number) for number in range(4000))
    assert len(body) > 200_000
    async with daimon.agent() as agent:
        inbox = await agent.do("create_inbox")
        await arrive(daimon, inbox["address"], body=body)
        found = (await agent.do("list_messages"))["messages"][0]
        read = ""
        offset: int | None = 0
        while offset is not None:
            answer = await agent.call("get_message", message_id=found["id"], offset=offset)
            # Some lines of ours stand around the text.
            assert len(answer.text.encode()) <= 4000 * BYTES_PER_TOKEN + 1000
            check_size(answer)
            read += answer.result["body_text"]
            # The text alone says it all: the words themselves, and how to go on.
            assert answer.result["body_text"].strip() in answer.text
            offset = answer.result["next_offset"]
            assert answer.result["truncated"] or offset is None
            assert (f"get_message with offset {offset}" in answer.text) is (offset is not None)
    assert read.replace("\r\n", "\n").strip() == body.strip()


@pytest.mark.parametrize("in_reply", [False, True])
@pytest.mark.parametrize("quoted", [0, 4000])
async def test_an_answer_with_many_new_words_can_be_read_whole(daimon: Daimon, in_reply: bool, quoted: int) -> None:
    """Offsets count in the whole text, so a text that is cut shows the whole text from its start."""
    words = "".join(LINE.format(number) for number in range(700))
    quote = (
        "\nOn Monday Ann wrote:\n" + "".join(f"> {LINE.format(number)}" for number in range(quoted)) if quoted else ""
    )
    async with daimon.agent() as agent:
        inbox = await agent.do("create_inbox")
        headers = {"In_Reply_To": "<x@example.com>"} if in_reply else {}
        await arrive(daimon, inbox["address"], body=words + quote, **headers)
        found = (await agent.do("list_messages"))["messages"][0]
        shown: list[str] = []
        offset: int | None = 0
        while offset is not None:
            answer = await agent.call("get_message", message_id=found["id"], offset=offset)
            (inside,) = split(answer.text)[1]
            shown.append(inside.partition("\n\n")[2].removesuffix("\n"))
            offset = answer.result["next_offset"]
    # A page may end within a line.
    assert words.strip() in "".join(shown)


async def test_short_new_words_above_a_long_quote_are_shown_alone(daimon: Daimon) -> None:
    quote = "\nOn Monday Ann wrote:\n" + "".join(f"> {LINE.format(number)}" for number in range(4000))
    async with daimon.agent() as agent:
        inbox = await agent.do("create_inbox")
        await arrive(daimon, inbox["address"], body="Yes, please.\n" + quote, In_Reply_To="<x@example.com>")
        found = (await agent.do("list_messages"))["messages"][0]
        answer = await agent.call("get_message", message_id=found["id"])
        assert "Yes, please." in answer.text
        assert len(answer.text) < 1000


@pytest.mark.parametrize("max_tokens", [100, 4000, 25_000])
async def test_everything_of_a_large_message(bounded: tuple[Agent, Daimon, int], max_tokens: int) -> None:
    agent, daimon, most = bounded
    inbox = await agent.do("create_inbox")
    links = " ".join(f"https://example.com/{number}/{'x' * 500}" for number in range(60))
    crowd = ", ".join(f"somebody-{number}@example.com" for number in range(1500))
    extra = {f"X_Extra_{number}": "y" * 900 for number in range(150)}
    await arrive(daimon, inbox["address"], body=links + "z " * 100_000, Cc=crowd, **extra)
    found = (await agent.do("list_messages"))["messages"][0]
    answer = await agent.call(
        "get_message", message_id=found["id"], include=["body_html", "headers"], max_tokens=max_tokens
    )
    check_size(answer, most)
    assert answer.result["truncated"] is True
    assert answer.result["truncated_fields"]
    assert answer.result["id"] == found["id"]
    waited = await agent.call("wait_for_message", timeout_seconds=0, mark_read=False, after=None)
    check_size(waited, most)


@pytest.mark.parametrize("era", ERAS)
async def test_a_draft_of_a_megabyte(tmp_path: Path, era: str) -> None:
    async with running(tmp_path / "data") as daimon, daimon.agent(era) as agent:
        await agent.do("create_inbox")
        made = await agent.call("create_draft", subject="Long", body="word " * 200_000)
        check_size(made)
        # What its caller has just written is not written back.
        assert len(made.text) < 1000
        read = await agent.call("get_draft", draft_id=made.result["id"])
        check_size(read)
        assert "body_text" in read.result["truncated_fields"]
        assert "truncated_fields" in read.text


async def test_what_fits_is_left_as_it_is(daimon: Daimon) -> None:
    async with daimon.agent() as agent:
        inbox = await agent.do("create_inbox")
        await arrive(daimon, inbox["address"])
        message = (await agent.do("wait_for_message", timeout_seconds=5))["message"]
        assert "truncated_fields" not in message
        assert (await agent.do("get_message", message_id=message["id"]))["truncated"] is False


async def test_the_story_of_mail_to_many(bounded: tuple[Agent, Daimon, int]) -> None:
    agent, daimon, most = bounded
    await daimon.upgrade(Tier.PRO)
    inbox = await agent.do("create_inbox")
    people = [f"somebody-with-a-long-name-{number}@agents.localhost" for number in range(50)]
    for person in people:
        await agent.do("create_inbox", username=person.partition("@")[0])
    sent = await agent.do("send_email", inbox=inbox["id"], to=people, subject="s", body="b")
    answer = await agent.call("explain_delivery", message_id=sent["id"])
    check_size(answer, most)
    shown = len(answer.result["deliveries"])
    assert (shown == 50) or "deliveries" in answer.result["truncated_fields"]
    assert ("truncated_fields" in answer.text) is (shown < 50)
