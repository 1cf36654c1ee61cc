"""Waits report progress and end when they are cancelled; a send that is cancelled is done or not, never half."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.faces.mcp.kit import ERAS, FREE_SENDS, HANDSHAKES, Wire, arrive, key, over_http, over_sse, wired
from tests.support.daimon import Agent, Daimon, running

PATIENCE = 10


def watchers(daimon: Daimon) -> int:
    """How many subscribers the bell has, beside those that listen as long as the server runs."""
    heard: list[Any] = list(daimon.operations.core.bus._subscribers.values())  # pyright: ignore[reportPrivateUsage]
    areas = list(vars(daimon.operations).values())
    return sum(1 for each in heard if getattr(each, "__self__", None) not in areas)


async def until(condition: Callable[[], bool]) -> None:
    """Let everything else run until `condition` holds."""
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("era", ERAS)
async def test_a_wait_reports_progress_and_ends_with_the_mail(daimon: Daimon, era: str) -> None:
    daimon.operations.waiting.progress_seconds = 0.01
    reported: list[tuple[float, float | None]] = []
    twice = anyio.Event()

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reported.append((progress, total))
        if len(reported) == 2:
            twice.set()

    async with daimon.agent(era) as agent, anyio.create_task_group() as tasks:
        inbox = await agent.do("create_inbox")

        async def wait() -> None:
            result = await agent.client.call_tool("wait_for_message", {"timeout_seconds": 60}, progress_callback=report)
            assert result.structured_content
            assert result.structured_content["result"]["message"]["subject"] == "At last"

        tasks.start_soon(wait)
        with anyio.fail_after(PATIENCE):
            await twice.wait()
        await arrive(daimon, inbox["address"], subject="At last")
    assert all(total == 60 for _, total in reported)
    assert reported == sorted(reported)
    assert watchers(daimon) == 0


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", [over_http, over_sse])
async def test_progress_over_sockets(serving: Daimon, transport: Any, era: str) -> None:
    serving.operations.waiting.progress_seconds = 0.01
    reported = anyio.Event()

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reported.set()

    async with transport(serving.url, await key(serving), era) as agent, anyio.create_task_group() as tasks:
        inbox = await agent.do("create_inbox")

        async def wait() -> None:
            answer = await agent.client.call_tool("wait_for_message", {"timeout_seconds": 60}, progress_callback=report)
            assert not answer.is_error

        tasks.start_soon(wait)
        with anyio.fail_after(PATIENCE):
            await reported.wait()
        await arrive(serving, inbox["address"])


@pytest.mark.parametrize("era", ERAS)
async def test_without_a_callback_nothing_is_reported(daimon: Daimon, era: str) -> None:
    daimon.operations.waiting.progress_seconds = 0.01
    async with daimon.agent(era) as agent:
        await agent.do("create_inbox")
        assert (await agent.do("wait_for_message", timeout_seconds=0))["timed_out"] is True


# -- cancelled waits -------------------------------------------------------------------------------------------------


async def cancelled_wait(daimon: Daimon, agent: Agent, tool: str) -> None:
    """Cancel a wait once the server waits, as the client's user does."""
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            await agent.call(tool, timeout_seconds=300)

        tasks.start_soon(wait)
        await until(lambda: watchers(daimon) == 1)
        tasks.cancel_scope.cancel()
    await until(lambda: watchers(daimon) == 0)


@pytest.mark.parametrize("tool", ["wait_for_message", "wait_for_upgrade"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_cancelled_wait_leaves_nobody_listening(daimon: Daimon, era: str, tool: str) -> None:
    async with daimon.agent(era) as agent:
        await agent.do("create_inbox")
        await cancelled_wait(daimon, agent, tool)
        assert (await agent.do("get_account"))["tier"] == "free"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", [over_http, over_sse])
async def test_a_wait_cancelled_over_sockets_leaves_nobody_listening(serving: Daimon, transport: Any, era: str) -> None:
    before = watchers(serving)
    serving.operations.core.bus.subscribe(lambda _: None)
    async with transport(serving.url, await key(serving), era) as agent:
        await agent.do("create_inbox")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent.call, "wait_for_message")
            await until(lambda: watchers(serving) == before + 2)
            tasks.cancel_scope.cancel()
        await until(lambda: watchers(serving) == before + 1)


@pytest.mark.parametrize("version", [HANDSHAKES[0], HANDSHAKES[-1]])
async def test_the_notification_itself_ends_a_wait(daimon: Daimon, version: str) -> None:
    async with wired(daimon.app.mcp_server("full"), version) as wire:
        await wire.tool("create_inbox", {})
        params = {"name": "wait_for_message", "arguments": {"timeout_seconds": 300}}
        await wire.say({"id": "w", "method": "tools/call", "params": params})
        await until(lambda: watchers(daimon) == 1)
        await wire.say({"method": "notifications/cancelled", "params": {"requestId": "w"}})
        await until(lambda: watchers(daimon) == 0)
        # The next answer is the next question's: a cancelled one is not answered.
        assert (await wire.tool("get_account", {}))["result"]["isError"] is False


async def test_a_session_that_ends_takes_its_waits_with_it(daimon: Daimon) -> None:
    async with wired(daimon.app.mcp_server("full"), HANDSHAKES[-1]) as wire:
        await wire.tool("create_inbox", {})
        params = {"name": "wait_for_message", "arguments": {"timeout_seconds": 300}}
        await wire.say({"id": "w", "method": "tools/call", "params": params})
        await until(lambda: watchers(daimon) == 1)
    assert watchers(daimon) == 0


# -- cancelled sends -------------------------------------------------------------------------------------------------

COMMITTED = 60
STEPS = (*range(0, COMMITTED, 3), *range(COMMITTED, COMMITTED + 12))
"""When a send is cancelled: after so many turns of the event loop, or, from COMMITTED on, so many after its commit."""


async def moment(daimon: Daimon, step: int) -> None:
    """Wait for a step; to be called before what it is about has begun."""
    if step >= COMMITTED:
        rung = anyio.Event()
        forget = daimon.operations.core.bus.subscribe(lambda _: rung.set())
        with anyio.fail_after(PATIENCE):
            await rung.wait()
        forget()
    for _ in range(step % COMMITTED):
        await anyio.lowlevel.checkpoint()


async def subjects(daimon: Daimon, agent: Agent, inbox: str) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = await agent.do("list_messages", inbox=inbox, limit=100, **more)
        found += [each["subject"] for each in page["messages"]]
        if (cursor := page["next_cursor"]) is None:
            return sorted(found)


async def check_done_or_not(daimon: Daimon, agent: Agent, mine: str, theirs: str) -> int:
    """Every send is there or not, on both sides, and is counted if it is. How many there are."""
    await agent.do("create_draft", inbox=mine)  # writes are done in order: what was begun before is done by now
    done = await subjects(daimon, agent, theirs)
    assert done == await subjects(daimon, agent, mine)
    assert len(done) == len(set(done))
    assert (await agent.do("get_account"))["sends_this_month"] == len(done)
    return len(done)


async def check_each_once(daimon: Daimon, agent: Agent, mine: str, theirs: str) -> None:
    """Every send, sent again with its client_id, is there once, and counted once."""
    for step in STEPS:
        await agent.do("send_email", **send(step, mine, theirs))
    assert await check_done_or_not(daimon, agent, mine, theirs) == len(STEPS)
    assert await subjects(daimon, agent, theirs) == sorted(f"Step {step}" for step in STEPS)


def send(step: int, mine: str, theirs: str) -> dict[str, Any]:
    return {"inbox": mine, "to": theirs, "subject": f"Step {step}", "body": "x" * 9000, "client_id": f"step-{step}"}


async def two_inboxes(agent: Agent) -> tuple[str, str]:
    return (await agent.do("create_inbox"))["address"], (await agent.do("create_inbox"))["address"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_send_cancelled_anywhere_is_done_or_not(tmp_path: Path, era: str) -> None:
    async with running(tmp_path / "data", FREE_SENDS) as daimon, daimon.agent(era) as agent:
        mine, theirs = await two_inboxes(agent)
        for step in STEPS:
            async with anyio.create_task_group() as tasks:

                async def call(step: int = step) -> None:
                    await agent.call("send_email", **send(step, mine, theirs))

                tasks.start_soon(call)
                await moment(daimon, step)
                tasks.cancel_scope.cancel()
        # Some were cancelled before they were sent and some after, or this would test nothing.
        assert 0 < await check_done_or_not(daimon, agent, mine, theirs) < len(STEPS)
        await check_each_once(daimon, agent, mine, theirs)


async def test_a_send_cancelled_by_notification_is_done_or_not(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "data", FREE_SENDS) as daimon,
        daimon.agent() as agent,
        wired(daimon.app.mcp_server("full"), HANDSHAKES[-1]) as wire,
    ):
        mine, theirs = await two_inboxes(agent)
        for step in STEPS:
            params = {"name": "send_email", "arguments": send(step, mine, theirs)}
            await wire.say({"id": f"s{step}", "method": "tools/call", "params": params})
            await moment(daimon, step)
            await wire.say({"method": "notifications/cancelled", "params": {"requestId": f"s{step}"}})
            await drained(wire, f"s{step}")
        assert 0 < await check_done_or_not(daimon, agent, mine, theirs) < len(STEPS)
        await check_each_once(daimon, agent, mine, theirs)


async def drained(wire: Wire, ident: str) -> None:
    """Wait until the server has dealt with all that was said, and skip the answer to `ident` if there is one."""
    await wire.say({"id": f"after-{ident}", "method": "ping"})
    while (message := await wire.receive()).get("id") != f"after-{ident}":
        assert message["id"] == ident


@pytest.mark.parametrize("era", ERAS)
async def test_a_send_cancelled_over_http_is_done_or_not(tmp_path: Path, era: str) -> None:
    async with (
        running(tmp_path / "data", FREE_SENDS, listeners=True) as daimon,
        over_http(daimon.url, await key(daimon), era) as agent,
    ):
        mine, theirs = await two_inboxes(agent)
        for step in STEPS:
            async with anyio.create_task_group() as tasks:

                async def call(step: int = step) -> None:
                    await agent.call("send_email", **send(step, mine, theirs))

                tasks.start_soon(call)
                await moment(daimon, step)
                tasks.cancel_scope.cancel()
        # A request may still be on its way when its client has gone, so only the end is certain.
        await check_each_once(daimon, agent, mine, theirs)
