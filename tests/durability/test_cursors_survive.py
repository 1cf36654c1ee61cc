"""kill -9 of the owner while agents wait and while they read what changed: a cursor they hold loses nothing."""

from __future__ import annotations

import random
from typing import Any

import anyio
from tests.durability.conftest import Make
from tests.durability.kit import Agent, kill_often


async def test_who_waited_when_the_owner_was_killed_gets_the_mail(make_folder: Make) -> None:
    folder = make_folder()
    found: dict[int, str] = {}
    async with folder.agent() as agent, folder.agent() as sender:
        inbox = (await agent.until_done("create_inbox", username="reader", client_id="reader"))["id"]
        await folder.unlimited()
        cursor = (await agent.do("list_messages", inbox=inbox))["cursor"]

        async def waiter(n: int) -> None:
            result = await agent.until_done(
                "wait_for_message",
                inbox=inbox,
                after=cursor,
                subject=f"letter {n}",
                timeout_seconds=60,
                mark_read=False,
            )
            found[n] = result["message"]["subject"]

        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon(waiter, n)
            await agent.do("list_inboxes")  # answered after they were handed over
            await folder.kill_owner()
            for n in range(8):
                await sender.until_done(
                    "send_email",
                    inbox=inbox,
                    to="reader@agents.localhost",
                    subject=f"letter {n}",
                    body="x",
                    client_id=f"{n}",
                )
                if n == 3:
                    await folder.kill_owner()
    assert found == {n: f"letter {n}" for n in range(8)}


async def test_who_follows_changes_through_kills_is_told_everything(make_folder: Make) -> None:
    folder = make_folder()
    acknowledged: list[tuple[str, str]] = []
    told: list[tuple[str, str]] = []
    done = False

    async with folder.agent() as reader, folder.agent() as writer:
        inbox = (await reader.until_done("create_inbox", username="reader", client_id="reader"))["id"]
        await folder.unlimited()
        cursor = (await reader.do("changes", inbox=inbox))["cursor"]

        async def write(agent: Agent) -> None:
            count = 0
            while not done:
                count += 1
                sent = await agent.until_done(
                    "send_email", inbox=inbox, to="postmaster@agents.localhost", subject=f"{count}", body="x",
                    client_id=f"{count}",
                )  # fmt: skip
                acknowledged.append((sent["id"], "new"))
                await agent.until_done("update_message", message_id=sent["id"], add_labels=["kept"])
                acknowledged.append((sent["id"], "labels"))

        async def read(agent: Agent) -> None:
            nonlocal cursor
            while True:
                last = done and written.is_set()
                page: dict[str, Any] = await agent.until_done("changes", since=cursor, limit=3)
                told.extend((each["message_id"], what) for each in page["changes"] for what in each["what"])
                cursor = page["cursor"]
                if last and not page["changes"]:
                    return

        written = anyio.Event()

        async def write_all() -> None:
            await write(writer)
            written.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write_all)
            tasks.start_soon(read, reader)
            await kill_often(folder, 3, random.Random(3), lambda: min(len(acknowledged), len(told)))
            done = True
    assert set(acknowledged) <= set(told)
    assert len(acknowledged) == len(set(acknowledged))
    # What was answered is told again only by who asks again from an older place.
    assert len(told) == len(set(told))
    order = [each for each in told if each[1] == "new"]
    assert order == [each for each in acknowledged if each[1] == "new"]
