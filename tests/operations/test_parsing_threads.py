"""Parsing has threads of its own: it neither waits for other work on threads nor holds it up."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from daimon_mcp.operations.reading import on_parser, parsed

_MAIL = b"Subject: long\r\n\r\n" + b"word " * 10_000


def test_parsing_does_not_wait_for_other_work_on_threads() -> None:
    async def read_while_the_default_pool_is_busy() -> str:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        release = threading.Event()
        busy = loop.run_in_executor(None, release.wait)
        try:
            async with asyncio.timeout(10):
                return (await parsed(_MAIL)).subject
        finally:
            release.set()
            await busy

    assert asyncio.run(read_while_the_default_pool_is_busy()) == "long"


def test_slow_parses_hold_nothing_else_up() -> None:
    async def work_while_parsers_are_busy() -> tuple[str, bool]:
        release = threading.Event()
        running = threading.Semaphore(0)

        def slow() -> None:
            running.release()
            release.wait()

        parses = [asyncio.create_task(on_parser(slow, len(_MAIL))) for _ in range(50)]
        try:
            async with asyncio.timeout(10):
                for _ in range(2):
                    await asyncio.to_thread(running.acquire)
                word = await asyncio.to_thread(str.upper, "done")
                more = running.acquire(blocking=False)
        finally:
            release.set()
            await asyncio.gather(*parses)
        return word, more

    assert asyncio.run(work_while_parsers_are_busy()) == ("DONE", False)


def test_only_short_mail_is_read_on_the_loop() -> None:
    async def threads() -> list[bool]:
        here = threading.get_ident()
        return [await on_parser(threading.get_ident, octets) == here for octets in (0, 2048, 2049)]

    assert asyncio.run(threads()) == [True, True, False]
