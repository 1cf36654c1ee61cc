"""Completions: what begins like what was typed, of what the caller may see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, PromptReference, ResourceTemplateReference
from tests.faces.mcp.kit import ERAS, arrive, key, over_http, stranger
from tests.support.daimon import Agent, Daimon, running

from daimon_mcp.faces.mcp.server import Session, session

ROOMY: dict[str, Any] = {"limits": {"free": {"inboxes_per_hour": 9000}}}


async def completed(agent: Agent, ref: str, argument: str, typed: str) -> tuple[list[str], bool | None]:
    """The values for a prompt's argument, or with a URI template for its variable; and whether there are more."""
    reference = ResourceTemplateReference(uri=ref) if "://" in ref else PromptReference(name=ref)
    answer = await agent.client.complete(reference, {"name": argument, "value": typed})
    return answer.completion.values, answer.completion.has_more


@pytest.mark.parametrize("era", ERAS)
async def test_inboxes_by_address_and_by_id(daimon: Daimon, era: str) -> None:
    async with daimon.agent(era) as agent:
        sales = await agent.do("create_inbox", username="sales")
        support = await agent.do("create_inbox", username="support")
        gone = await agent.do("create_inbox", username="gone")
        await agent.do("delete_inbox", inbox=gone["id"])
        for ref, argument in (
            ("inbox://{id}", "id"), ("triage_inbox", "inbox"), ("wait_for_signup_code", "inbox"),
        ):  # fmt: skip
            for typed, expected in (
                ("", [support["address"], sales["address"]]),
                ("s", [support["address"], sales["address"]]),
                ("SA", [sales["address"]]),
                ("support@", [support["address"]]),
                (sales["id"], [sales["id"]]),
                ("inb_", [support["id"], sales["id"]]),
                ("gone", []),
                ("%", []),
                ("s%", []),
                ("_ales", []),
                ("é\u0000'\"", []),
                ("x" * 5000, []),
            ):
                assert await completed(agent, ref, argument, typed) == (expected, False), (ref, typed)


@pytest.mark.parametrize("era", ERAS)
async def test_threads_and_messages_of_late(daimon: Daimon, era: str) -> None:
    async with daimon.agent(era) as agent:
        for username in ("one", "two"):
            await agent.do("create_inbox", username=username)
        for subject, username in (("First", "one"), ("Second", "two"), ("Third", "one")):
            await arrive(daimon, f"{username}@agents.localhost", subject=subject)
        rows = [
            each
            for username in ("one", "two")
            for each in (await agent.do("list_messages", inbox=f"{username}@agents.localhost"))["messages"]
        ]
        by_subject = {each["subject"]: each for each in rows}
        for ref, argument in (("thread://{id}", "id"), ("answer_thread", "thread_id")):
            values, more = await completed(agent, ref, argument, "")
            assert set(values) == {each["thread_id"] for each in rows}
            assert more is False
            wanted = by_subject["Second"]["thread_id"]
            assert await completed(agent, ref, argument, wanted) == ([wanted], False)
            assert await completed(agent, ref, argument, "thr_zzz") == ([], False)
        values, _ = await completed(agent, "message://{id}", "id", "msg_")
        assert set(values) == {each["id"] for each in rows}
        # What strangers wrote is never suggested.
        assert not [each for each in values if "Second" in each]


@pytest.mark.parametrize("era", ERAS)
async def test_no_more_than_a_hundred(tmp_path: Path, era: str) -> None:
    async with running(tmp_path / "data", ROOMY) as daimon, daimon.agent(era) as agent:
        for n in range(101):
            await agent.do("create_inbox", username=f"bot-{n:03}")
        values, more = await completed(agent, "triage_inbox", "inbox", "bot-")
        assert values == [f"bot-{n:03}@agents.localhost" for n in range(100, 0, -1)]
        assert more is True
        values, more = await completed(agent, "triage_inbox", "inbox", "bot-00")
        assert len(values) == 10
        assert more is False


@pytest.mark.parametrize("era", ERAS)
async def test_only_what_the_caller_may_see(serving: Daimon, era: str) -> None:
    their_key, address = await stranger(serving)
    await arrive(serving, address)
    async with over_http(serving.url, await key(serving), era) as agent:
        own = await agent.do("create_inbox", username="own")
        await agent.do("create_inbox", username="other")
        await arrive(serving, "other@agents.localhost")
        assert (await completed(agent, "triage_inbox", "inbox", "str"))[0] == []
        (mine,) = (await completed(agent, "thread://{id}", "id", ""))[0]
    async with over_http(serving.url, own["api_key"], era) as narrow:
        assert (await completed(narrow, "triage_inbox", "inbox", ""))[0] == [own["address"]]
        assert (await completed(narrow, "thread://{id}", "id", ""))[0] == []
        assert (await completed(narrow, "message://{id}", "id", ""))[0] == []
    async with over_http(serving.url, their_key, era) as theirs:
        assert (await completed(theirs, "triage_inbox", "inbox", ""))[0] == [address]
        assert mine not in (await completed(theirs, "thread://{id}", "id", ""))[0]
    actor = await serving.actor()
    token = session.set(Session(type(actor)(actor.account_no, actor.account_id, permissions=frozenset())))
    try:
        async with serving.agent(era) as blind:
            for ref, argument in (("inbox://{id}", "id"), ("thread://{id}", "id"), ("message://{id}", "id")):
                assert await completed(blind, ref, argument, "") == ([], False)
    finally:
        session.reset(token)


@pytest.mark.parametrize("era", ERAS)
async def test_the_users_own_words_are_not_completed(daimon: Daimon, era: str) -> None:
    async with daimon.agent(era) as agent:
        await agent.do("create_inbox", username="mine")
        for name, argument in (
            ("wait_for_signup_code", "service"), ("answer_thread", "intent"), ("ask_operator", "question"),
        ):  # fmt: skip
            assert await completed(agent, name, argument, "m") == ([], False)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("ref", "argument", "words"),
    [
        ("none", "inbox", "Unknown prompt: 'none'"),
        ("triage_inbox", "service", "Unknown argument: 'service'"),
        ("draft://{id}", "id", "Unknown resource template"),
        ("inbox://{id}", "inbox", "Unknown argument: 'inbox'"),
    ],
)
async def test_what_does_not_exist_is_a_protocol_error(
    daimon: Daimon, era: str, ref: str, argument: str, words: str
) -> None:
    async with daimon.agent(era) as agent:
        with pytest.raises(MCPError) as raised:
            await completed(agent, ref, argument, "")
        assert (raised.value.error.code, raised.value.error.message) == (INVALID_PARAMS, words)
    async with daimon.agent(era, profile="core") as agent:
        with pytest.raises(MCPError):
            await completed(agent, "ask_operator", "question", "")
