"""The worker that reads attachments: in order, each once, and whatever the reader does, mail goes on."""

from __future__ import annotations

import email.policy
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import ROBO, arrive, until

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.extraction.service import Extracted, Extraction
from daimon_mcp.operations.attachments import MOST_TRIES, UPLOAD_LIFETIME
from daimon_mcp.store import compiled as sql
from daimon_mcp.workers.attachment_texts import AttachmentTexts

SECTIONS: dict[str, Any] = {"attachments": {"read_text": False}}  # the tests start the worker themselves


class Reader:
    """A reader under the tests' hand: what it was given, and what it answers."""

    def __init__(self) -> None:
        self.given: list[tuple[bytes, str, str]] = []
        self.answers: dict[str, Extracted | Exception] = {}
        self.hold = ""
        self.holding = anyio.Event()
        self.closed = False

    async def extract(self, content: bytes, content_type: str, filename: str) -> Extracted:
        self.given.append((content, content_type, filename))
        if filename == self.hold:
            self.holding.set()
            await anyio.sleep_forever()
        answer = self.answers.get(filename) or Extracted("ok", content.decode("utf-8", "replace"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.closed = True

    @property
    def names(self) -> list[str]:
        return [filename for _, _, filename in self.given]


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data", SECTIONS) as made, made.agent() as agent:
        await agent.do("create_inbox", username="robo")
        await agent.do("create_inbox", username="other")
        yield made


@pytest.fixture
async def agent(daimon: Daimon) -> AsyncGenerator[Agent]:
    async with daimon.agent() as made:
        yield made


@asynccontextmanager
async def reading(daimon: Daimon, reader: Any) -> AsyncGenerator[anyio.abc.TaskGroup]:
    """The worker with a reader."""
    operations = daimon.operations
    worker = AttachmentTexts(attachments=operations.attachments, extraction=reader, bus=operations.core.bus)
    async with anyio.create_task_group() as tasks:
        await tasks.start(worker.run)
        try:
            yield tasks
        finally:
            tasks.cancel_scope.cancel()


def letter(*files: tuple[str, str, bytes], to: str = ROBO) -> bytes:
    made = EmailMessage(policy=email.policy.SMTP)
    made["From"], made["To"], made["Subject"] = "Ann <ann@example.com>", to, "Files"
    made.set_content("See the files.")
    for name, kind, content in files:
        main, _, sub = kind.partition("/")
        made.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return made.as_bytes()


async def states(daimon: Daimon) -> list[tuple[str, str | None, str | None, int]]:
    """Name, status, text and tries of every attachment."""
    rows = await daimon.operations.core.database.fetch(
        "SELECT filename, text_status, text, text_tries FROM attachments ORDER BY no"
    )
    return [tuple(row) for row in rows]  # pyright: ignore[reportReturnType]


def none_waits(daimon: Daimon) -> Callable[[], Awaitable[bool | None]]:
    async def look() -> bool | None:
        return True if all(status != "pending" for _, status, _, _ in await states(daimon)) else None

    return look


async def test_what_comes_and_what_was_left_is_read_oldest_first(daimon: Daimon) -> None:
    await arrive(daimon, content=letter(("a.txt", "text/plain", b"A"), ("p.png", "image/png", b"P")))
    await arrive(daimon, content=letter(("b.txt", "text/plain", b"B")))
    reader = Reader()
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
        await arrive(daimon, content=letter(("c.txt", "text/plain", b"C")))
        await until(daimon, none_waits(daimon))
    assert reader.names == ["a.txt", "b.txt", "c.txt"]
    assert reader.given[0] == (b"A", "text/plain", "a.txt")
    assert await states(daimon) == [
        ("a.txt", "ok", "A", 1), ("p.png", None, None, 0), ("b.txt", "ok", "B", 1), ("c.txt", "ok", "C", 1),
    ]  # fmt: skip
    assert reader.closed


async def test_the_same_content_is_read_once(daimon: Daimon) -> None:
    reader = Reader()
    async with reading(daimon, reader):
        await arrive(daimon, ROBO, "other@agents.localhost", content=letter(("a.txt", "text/plain", b"same")))
        await arrive(daimon, content=letter(("z.txt", "text/plain", b"same"), ("a.csv", "text/csv", b"same")))
        await until(daimon, none_waits(daimon))
    assert reader.names == ["a.txt", "a.csv"]  # the same octets as another kind of file are another matter
    assert [text for _, _, text, _ in await states(daimon)] == ["same"] * 4


async def test_an_agent_that_asks_early_gets_the_text_when_it_is_there(daimon: Daimon, agent: Agent) -> None:
    [message] = await arrive(daimon, content=letter(("a.txt", "text/plain", b"Soon")))
    [file] = (await agent.do("get_message", message_id=message))["attachments"]
    assert file["text_status"] == "pending"
    async with reading(daimon, Reader()):
        assert (await agent.do("get_attachment", attachment_id=file["id"]))["extracted_text"] == "Soon"


async def test_a_change_is_told_and_kept(daimon: Daimon, agent: Agent) -> None:
    [message] = await arrive(daimon, content=letter(("a.txt", "text/plain", b"walrus")))
    before = await agent.do("changes", inbox=ROBO)
    async with reading(daimon, Reader()):
        await until(daimon, none_waits(daimon))
    after = await agent.do("changes", inbox=ROBO, since=before["cursor"])
    assert [(each["message_id"], each["what"]) for each in after["changes"]] == [(message, ["text"])]
    [found] = (await agent.do("search_messages", inbox=ROBO, query="walrus"))["messages"]
    assert found["id"] == message


@pytest.mark.parametrize("status", ["empty", "damaged", "encrypted", "timed_out", "out_of_memory", "too_large"])
async def test_a_file_without_text_is_said_to_have_none(daimon: Daimon, agent: Agent, status: str) -> None:
    [message] = await arrive(daimon, content=letter(("a.pdf", "application/pdf", b"x")))
    reader = Reader()
    reader.answers["a.pdf"] = Extracted(status, facts={"pages": 2})
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
    [file] = (await agent.do("get_message", message_id=message))["attachments"]
    answer = await agent.call("get_attachment", attachment_id=file["id"])
    assert (answer.result["text_status"], answer.result["extracted_text"]) == (status, None)
    assert status in answer.text
    assert len(reader.given) == 1


async def test_a_file_whose_reader_died_with_us_twice_is_given_up(daimon: Daimon) -> None:
    await arrive(daimon, content=letter(("bad.pdf", "application/pdf", b"x"), ("good.txt", "text/plain", b"G")))
    # A process that is killed leaves the count as it was when it tried.
    database = daimon.operations.core.database
    [(number,)] = await database.fetch("SELECT no FROM attachments WHERE filename = 'bad.pdf'")
    for _ in range(MOST_TRIES):
        await database.write(lambda tx: tx.run(sql.attachment_try, attachment_no=number))
    reader = Reader()
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
    assert reader.names == ["good.txt"]
    assert [status for _, status, _, _ in await states(daimon)] == ["damaged", "ok"]


async def test_stopping_in_the_middle_counts_nothing_against_the_file(daimon: Daimon) -> None:
    await arrive(daimon, content=letter(("a.txt", "text/plain", b"A")))
    for _ in range(MOST_TRIES + 2):
        reader = Reader()
        reader.hold = "a.txt"
        async with reading(daimon, reader):
            await reader.holding.wait()
            assert await states(daimon) == [("a.txt", "pending", None, 1)]
        assert await states(daimon) == [("a.txt", "pending", None, 0)]
    async with reading(daimon, Reader()):
        await until(daimon, none_waits(daimon))
    assert await states(daimon) == [("a.txt", "ok", "A", 1)]


async def test_mail_goes_on_while_a_file_is_read(daimon: Daimon, agent: Agent) -> None:
    reader = Reader()
    reader.hold = "slow.pdf"
    async with reading(daimon, reader):
        await arrive(daimon, content=letter(("slow.pdf", "application/pdf", b"x")))
        await reader.holding.wait()
        for number in range(5):
            await arrive(daimon, subject=f"n{number}")
        assert (await agent.do("list_messages", inbox=ROBO))["total"] == 6


async def test_no_process_to_read_in_is_tried_again_later_and_then_said(
    daimon: Daimon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daimon_mcp.workers.attachment_texts._AFTER_TROUBLE", 0.0)
    await arrive(daimon, content=letter(("a.txt", "text/plain", b"A"), ("b.txt", "text/plain", b"B")))
    reader = Reader()
    reader.answers["a.txt"] = Extracted("failed")
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
    assert reader.names == ["a.txt"] * MOST_TRIES + ["b.txt"]
    assert [status for _, status, _, _ in await states(daimon)] == ["failed", "ok"]


async def test_a_reader_that_breaks_ends_nothing(
    daimon: Daimon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("daimon_mcp.workers.attachment_texts._AFTER_TROUBLE", 0.0)
    await arrive(daimon, content=letter(("a.txt", "text/plain", b"A"), ("b.txt", "text/plain", b"B")))
    reader = Reader()
    reader.answers["a.txt"] = RuntimeError("a bug")
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
    assert [status for _, status, _, _ in await states(daimon)] == ["damaged", "ok"]
    assert "stumbled" in caplog.text
    assert "a.txt" not in caplog.text


async def test_a_deleted_message_is_read_without_being_found(daimon: Daimon, agent: Agent) -> None:
    [message] = await arrive(daimon, content=letter(("a.txt", "text/plain", b"walrus")))
    await agent.do("delete_message", message_id=message, permanent=True)
    async with reading(daimon, Reader()):
        await until(daimon, none_waits(daimon))
    assert not (await agent.do("search_messages", inbox=ROBO, query="walrus"))["messages"]


async def test_old_uploads_are_forgotten_even_where_nothing_is_read(tmp_path: Path) -> None:
    clock = MovableClock()
    async with running(tmp_path / "data", SECTIONS, clock=clock) as daimon, daimon.agent() as agent:
        database, folder = daimon.operations.core.database, daimon.operations.core.policy.files_folder
        folder.mkdir()
        (folder / "a.txt").write_bytes(b"A")
        await agent.do("upload_attachment", path="a.txt")
        clock.move(UPLOAD_LIFETIME / SECOND + 1)
        await agent.do("upload_attachment", path="a.txt")
        async with reading(daimon, None):
            assert not daimon.operations.attachments.is_reading
            with anyio.fail_after(5):
                while await database.fetch("SELECT count(*) FROM uploads") != [(1,)]:
                    pass


async def test_with_the_real_reader(daimon: Daimon) -> None:
    page = b"<html><body><h1>Bill</h1><script>no</script><p>Pay 40 EUR"
    await arrive(daimon, content=letter(("a.html", "text/html", page), ("b.pdf", "application/pdf", b"no pdf")))
    extraction = Extraction()
    async with reading(daimon, extraction):
        await until(daimon, none_waits(daimon))
    assert [(status, text) for _, status, text, _ in await states(daimon)] == [
        ("ok", "Bill\n\nPay 40 EUR"),
        ("damaged", None),
    ]
    assert not extraction.pids
