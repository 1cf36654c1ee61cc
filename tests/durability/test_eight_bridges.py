"""Eight clients, each with its own `daimon-mcp`, on one data folder whose owner is killed again and again."""

from __future__ import annotations

import random
from collections import Counter

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from tests.durability.conftest import Make
from tests.durability.kit import Agent, Folder, eventually

from daimon_mcp.store.consistency import findings

BRIDGES = 8


class Work:
    """What eight clients had acknowledged."""

    def __init__(self) -> None:
        self.sent: dict[str, str] = {}
        """With a client_id: subject and id."""
        self.drafted: dict[str, str] = {}
        """Without one: subject and id."""
        self.uncertain: set[str] = set()
        """Drafts of which the client was told that nobody knows."""
        self.read = 0
        self.inboxes = 0
        self.done = False

    @property
    def progress(self) -> int:
        return len(self.sent) + len(self.drafted) + self.read

    async def keep_working(self, folder: Folder, number: int, ready: anyio.Event) -> None:
        """Send, draft and read until it is enough; no call may fail in any other way than an honest one."""
        async with folder.agent() as agent:
            own = await agent.until_done("create_inbox", username=f"agent{number}", client_id=f"inbox{number}")
            self.inboxes += 1
            await ready.wait()
            count = 0
            while not self.done:
                count += 1
                name = f"w{number}-{count}"
                if count % 3 == 0:
                    await self._draft(agent, own["id"], name)
                elif count % 3 == 1:
                    result = await agent.until_done(
                        "send_email", inbox=own["id"], to=own["address"], subject=name, body="Hello", client_id=name
                    )
                    assert self.sent.setdefault(name, result["id"]) == result["id"]
                else:
                    page = await agent.until_done("list_messages", inbox=own["id"], limit=5)
                    assert page["messages"]  # each has sent to itself
                    self.read += 1

    async def _draft(self, agent: Agent, inbox: str, name: str) -> None:
        try:
            result = await agent.do("create_draft", inbox=inbox, to="ann@example.com", subject=name, body="Hello")
        except MCPError as error:
            assert "outcome is unknown" in str(error)  # noqa: PT017 - every other error ends the test just so
            self.uncertain.add(name)
        else:
            self.drafted[name] = result["id"]


async def work_and_kill(make_folder: Make, kills: int) -> None:
    folder = make_folder(owner__idle_minutes=0)
    chance = random.Random(kills)
    work = Work()
    ready = anyio.Event()
    holders: list[int] = []
    async with anyio.create_task_group() as tasks:
        for number in range(BRIDGES):
            tasks.start_soon(work.keep_working, folder, number, ready)
        await eventually(lambda: work.inboxes == BRIDGES)
        await folder.unlimited()
        ready.set()
        for _ in range(kills):
            before = work.progress
            await eventually(lambda before=before: work.progress >= before + BRIDGES)
            await anyio.sleep(chance.random() * 0.2)
            holders.append(folder.lock_holders())
            await folder.kill_owner()
            await folder.owner()
            before = work.progress
            await eventually(lambda before=before: work.progress > before)
            holders.append(folder.lock_holders())
        work.done = True

    assert holders == [1] * 2 * kills

    # With the clients gone, and nothing to do, so is the owner.
    await eventually(lambda: not folder.processes())
    async with folder.opened() as daimon:
        database = daimon.operations.core.database
        assert not await findings(database, deep=True)
        outbound = await database.fetch("SELECT subject, id FROM messages WHERE direction = 'outbound'")
        inbound = await database.fetch("SELECT subject FROM messages WHERE direction = 'inbound'")
        drafts = await database.fetch("SELECT json_extract(content_json, '$.subject'), id FROM drafts")
    assert len(outbound) == len(work.sent)
    assert dict(outbound) == work.sent
    assert Counter(subject for (subject,) in inbound) == Counter(list(work.sent))
    made = Counter(name for name, _ in drafts)
    assert set(made.values()) == {1}
    assert work.drafted.items() <= dict(drafts).items()
    assert made.keys() - work.drafted.keys() <= work.uncertain


async def test_eight_bridges_and_an_owner_killed_under_them(make_folder: Make) -> None:
    await work_and_kill(make_folder, 4)


@pytest.mark.long
async def test_eight_bridges_and_an_owner_killed_under_them_many_times(make_folder: Make) -> None:
    await work_and_kill(make_folder, 60)


async def test_a_wait_in_one_client_is_woken_by_mail_of_another(make_folder: Make) -> None:
    folder = make_folder()
    async with folder.agent() as reader, folder.agent() as writer:
        inbox = await reader.do("create_inbox", username="reader")
        await folder.unlimited()
        arrived: list[str] = []

        async def wait() -> None:
            found = await reader.do("wait_for_message", inbox=inbox["id"], timeout_seconds=60)
            arrived.append(found["message"]["subject"])

        with anyio.fail_after(30):  # and not when its time is over, when it would have looked again
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await reader.do("list_inboxes")  # behind the wait in the same session: it has begun
                await writer.do("send_email", to=inbox["address"], subject="here", body="Hello")
        assert arrived == ["here"]
