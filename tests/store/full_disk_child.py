"""A server whose files may not grow any more for a while: `python -m tests.store.full_disk_child DATA_DIR`.

A limit on file sizes stands for a full disk: both make writes fail, in the database's log and in files of large mails.
Prints what came of each mail as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
from pathlib import Path

from tests.support.daimon import running

from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.domain.refusals import Refused

Outcomes = dict[str, list[str]]


async def main(folder: Path) -> Outcomes:
    outcomes: Outcomes = {"taken": [], "refused": [], "sends": []}
    chance = random.Random(7)
    async with running(folder) as daimon, daimon.agent() as agent:
        inbox = await agent.do("create_inbox", username="reader")
        receiving = daimon.operations.receiving
        envelope = Envelope(mail_from="ann@example.com", rcpt_to=(inbox["address"],))
        peer = Peer(address="127.0.0.1", helo="mx.example.com", cid="c1")

        async def mail(name: str, size: int) -> bool:
            body = chance.randbytes(size // 2).hex()
            lines = "\r\n".join(body[at : at + 72] for at in range(0, len(body), 72))
            content = f"From: ann@example.com\r\nSubject: {name}\r\n\r\n{lines}\r\n".encode()
            try:
                await receiving.receive(envelope, peer, content)
            except Refused as refused:
                outcomes["refused"].append(f"{name} {refused.code} {refused.retry_after}")
                return False
            outcomes["taken"].append(name)
            return True

        async def send() -> None:
            answer = await agent.call(
                "send_email", to=inbox["address"], subject="to myself", body="x" * 400_000, client_id="once"
            )
            outcomes["sends"].append(answer.error if answer.is_error else "done")

        assert await mail("before", 1000)
        await daimon.upgrade()
        sizes = [entry.stat().st_size for entry in os.scandir(folder)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) + 300_000, resource.RLIM_INFINITY))
        assert not await mail("large", 5_000_000)
        number = 0
        while await mail(f"full {number}", 60_000):
            number += 1
        await send()
        page = await agent.do("list_messages", label="inbox", limit=100)
        assert len(page["messages"]) == len(outcomes["taken"])  # reading goes on
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert await mail("large again", 5_000_000)
        assert await mail("after", 60_000)
        await send()
        await send()
    return outcomes


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
