"""kill -9 of the owner while it reads attachments: each text is there in the end, once, and no process is left."""

from __future__ import annotations

import base64
from pathlib import Path

import anyio
from tests.durability.conftest import Make
from tests.durability.kit import PATIENCE, Agent, Folder, alive, eventually

from daimon_mcp.store.consistency import findings

WORD = "walrus"
# Opens so many groups that reading takes the child a while: long enough to be in the middle of it.
SLOW = b"{\\rtf1 " + WORD.encode() + b" " + b"{\\b " * 1_500_000


def children() -> set[int]:
    """Every process that reads attachments."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"daimon_mcp.extraction.child" in line and alive(int(entry.name)):
                found.add(int(entry.name))
    return found


def children_of(folder: Folder) -> set[int]:
    """Those of this folder's owners, dead or alive: a child is told its parent's process id."""
    owners = {str(pid).encode() for pid in [*folder.killed, folder.owner_pid() or 0]}
    found: set[int] = set()
    for pid in children():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if owners & set(words):
            found.add(pid)
    return found


async def mail_with(agent: Agent, inbox: str, subject: str, name: str, content: bytes) -> None:
    file = {"filename": name, "content": base64.b64encode(content).decode()}
    await agent.until_done(
        "send_email", inbox=inbox, to=inbox, subject=subject, body="See.", attachments=[file], client_id=subject
    )


async def all_found(agent: Agent, inbox: str, count: int) -> None:
    """Return once so many messages are found by a word that stands in their files."""
    shown = 0
    with anyio.fail_after(PATIENCE):
        while shown < count:
            page = await agent.do("search_messages", inbox=inbox, query=WORD, limit=50)
            shown = len(page["messages"])


async def test_what_was_being_read_is_read_after_the_kill(make_folder: Make) -> None:
    folder = make_folder()
    async with folder.agent() as agent:
        inbox = (await agent.until_done("create_inbox", username="robo", client_id="robo"))["address"]
        await folder.unlimited()
        await mail_with(agent, inbox, "slow", "slow.rtf", SLOW)
        await eventually(lambda: bool(children_of(folder)))
        await folder.kill_owner()
        await mail_with(agent, inbox, "quick", "quick.txt", b"a quick walrus")
        await all_found(agent, inbox, 4)  # two mails, each sent and received
    await folder.end_owner()
    await eventually(lambda: not children_of(folder))
    async with folder.opened() as daimon:
        database = daimon.operations.core.database
        assert not await findings(database, deep=True)
        rows = await database.fetch("SELECT filename, text_status, text, text_tries FROM attachments")
        # Two copies of each, of which one was read; the kill came in the middle of a try.
        assert sorted((name, tries) for name, _, _, tries in rows) == [
            ("quick.txt", 0), ("quick.txt", 1), ("slow.rtf", 0), ("slow.rtf", 2),
        ]  # fmt: skip
        assert {status for _, status, _, _ in rows} == {"ok"}
        assert all(WORD in text for _, _, text, _ in rows)
        told = await database.fetch("SELECT message_id, count(*) FROM changes WHERE what = 'text' GROUP BY message_id")
        assert sorted(count for _, count in told) == [1] * 4


async def test_kills_at_any_moment_lose_no_text(make_folder: Make) -> None:
    """One kill for each round of mail: a file that is being read at two kills is taken for their cause."""
    folder, rounds = make_folder(), 3
    async with folder.agent() as agent:
        inbox = (await agent.until_done("create_inbox", username="robo", client_id="robo"))["address"]
        await folder.unlimited()
        for number in range(rounds):
            for part in range(3):
                text = f"{WORD} {number} {part}".encode()
                await mail_with(agent, inbox, f"m{number}-{part}", f"f{number}-{part}.txt", text)
            await eventually(lambda: bool(children_of(folder)))
            await folder.kill_owner()
            await all_found(agent, inbox, 6 * (number + 1))
    await folder.end_owner()
    await eventually(lambda: not children_of(folder))
    async with folder.opened() as daimon:
        database = daimon.operations.core.database
        assert not await findings(database, deep=True)
        statuses = await database.fetch("SELECT text_status, count(*) FROM attachments GROUP BY 1")
        assert statuses == [("ok", 6 * rounds)]
        assert await database.fetch("SELECT count(*) FROM changes WHERE what = 'text'") == [(6 * rounds,)]
