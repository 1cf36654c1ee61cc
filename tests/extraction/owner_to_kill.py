"""An owner of a child that reads attachments: `owner_to_kill.py idle|busy` prints the child's process id and waits."""

from __future__ import annotations

import asyncio
import sys

from daimon_mcp.extraction.service import Extraction


async def main(busy: bool) -> None:
    """Start the child; leave it idle, or with a job of many seconds."""
    extraction = Extraction(seconds=60)
    await extraction.extract(b"hello", "text/plain", "")
    (pid,) = extraction.pids
    if busy:
        job = asyncio.ensure_future(extraction.extract(b"{\\rtf1 " + b"{\\b" * 8_000_000, "text/rtf", ""))
        while not extraction.working:  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0)
        assert not job.done()
    print(pid, flush=True)  # noqa: T201 - which is what the test reads
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] == "busy"))
