"""A server whose power goes: `python -m tests.durability.power_child ROOT RECORD SEED MODE`.

Takes in mail in `ROOT/data` as fast as it can, says on stdout what it acknowledged (a line of JSON each), and kills
itself at a random moment: before a sync, or some time after an acknowledgement.

MODE is `as-shipped`, or breaks what makes it safe, for the harness to notice: `synchronous-off` and
`synchronous-normal` change SQLite's setting, `files-unsynced` lets the syncs of files of large mails count for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
from tests.durability.disk import CannotHook, Disk
from tests.support.daimon import settings_for

from daimon_mcp import app
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.store import database

LARGE = 1_200_000
MIXED = (300, 300, 3000, 100_000, 600_000, LARGE)
"""Sizes: small, some so that the log is checkpointed now and then, and too large for the database."""
CLIENTS = 8


def power_off() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def mail(chance: random.Random, name: str, sizes: Sequence[int]) -> bytes:
    """One message."""
    size = chance.choice(sizes)

    body = chance.randbytes(size // 2 if size < LARGE else size).hex()
    lines = "\r\n".join(body[at : at + 76] for at in range(0, len(body), 76))
    return f"From: ann@example.com\r\nSubject: {name}\r\nMessage-ID: <{name}@example.com>\r\n\r\n{lines}\r\n".encode()


def acknowledge(**facts: object) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


async def main(root: Path, record: Path, seed: int, mode: str) -> None:
    chance = random.Random(seed)
    at_sync = chance.randint(5, 120) if seed % 2 else 0
    after_acks = 0 if seed % 2 else chance.randint(10, 80)

    def before_sync(number: int) -> None:
        if number == at_sync:
            power_off()

    disk = Disk(record, ignore="blobs" if mode == "files-unsynced" else None, before_sync=before_sync)
    sizes = MIXED
    if mode.startswith("synchronous-"):
        sizes = MIXED[:3]  # too few bytes for a checkpoint, which would sync them after all
        wanted = f"synchronous={mode.removeprefix('synchronous-')}"
        database._WRITER_PRAGMAS = tuple(  # pyright: ignore[reportPrivateUsage]
            wanted if pragma.startswith("synchronous=") else pragma
            for pragma in database._WRITER_PRAGMAS  # pyright: ignore[reportPrivateUsage]
        )
    acknowledged = 0
    async with app.opened(settings_for(root / "data"), environ={}) as operations:
        actor = await operations.accounts.local_actor()
        inbox = (await operations.inboxes.create_inbox(actor, CreateInbox(username="reader"))).result
        acknowledge(inbox=inbox["id"])
        envelope = Envelope("ann@example.com", (inbox["address"],))

        async def client(number: int) -> None:
            nonlocal acknowledged
            count = 0
            while True:
                count += 1
                name = f"m{number}-{count}"
                content = mail(chance, name, sizes)
                await operations.receiving.receive(envelope, Peer("127.0.0.1", "mx.example.com"), content)
                acknowledge(name=name, sha256=hashlib.sha256(content).hexdigest(), syncs=disk.syncs)
                acknowledged += 1
                if acknowledged == after_acks:
                    threading.Thread(target=late, daemon=True).start()

        def late() -> None:
            time.sleep(chance.random() * 0.01)
            power_off()

        async with anyio.create_task_group() as clients:
            for number in range(CLIENTS):
                clients.start_soon(client, number)


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
    except CannotHook as error:
        sys.exit(f"the power-loss test cannot see SQLite's syncs: {error}")
