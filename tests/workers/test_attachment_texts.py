"""The worker that reads attachments: in fair order, each once, and whatever the reader does, mail goes on."""

from __future__ import annotations

import email.policy
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import ROBO, arrive, until

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.extraction.service import Extracted, Extraction
from daimon_mcp.operations.extracting import MOST_TEXT, MOST_TRIES
from daimon_mcp.operations.uploading import UPLOAD_LIFETIME
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.compiled import Statement
from daimon_mcp.store.consistency import findings
from daimon_mcp.store.messages import MOST_READ
from daimon_mcp.workers.attachment_texts import AttachmentTexts

OTHER = "other@agents.localhost"
SECTIONS: dict[str, Any] = {"attachments": {"read_text": False}}  # the tests start the worker themselves


class Reader:
    """A reader under the tests' hand: what it was given, and what it answers."""

    def __init__(self) -> None:
        self.given: list[tuple[bytes, str, str]] = []
        self.answers: dict[str, Extracted | Exception] = {}
        self.hold = ""
        self.holding = anyio.Event()
        self.go_on = anyio.Event()
        self.closed = False

    async def extract(self, content: bytes, content_type: str, filename: str) -> Extracted:
        self.given.append((content, content_type, filename))
        if filename == self.hold:
            self.holding.set()
            await self.go_on.wait()
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
    worker = AttachmentTexts(
        extracting=operations.extracting, uploading=operations.uploading, extraction=reader, bus=operations.core.bus
    )
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
            assert not daimon.operations.extracting.is_reading
            with anyio.fail_after(5):
                while await database.fetch("SELECT count(*) FROM uploads") != [(1,)]:
                    pass


async def test_of_many_files_some_are_read_and_all_are_there(daimon: Daimon, agent: Agent) -> None:
    files = [(f"f{number}.txt", "text/plain", f"walrus{number}".encode()) for number in range(MOST_READ + 5)]
    [message] = await arrive(daimon, content=letter(*files))
    assert [status for _, status, _, _ in await states(daimon)] == ["pending"] * MOST_READ + ["skipped"] * 5
    reader = Reader()
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
    assert len(reader.given) == MOST_READ
    assert [status for _, status, _, _ in await states(daimon)] == ["ok"] * MOST_READ + ["skipped"] * 5
    database = daimon.operations.core.database
    # In one write, so that the message went through the index once.
    assert await database.fetch("SELECT message_id, what FROM changes WHERE what = 'text'") == [(message, "text")]
    for query, hits in ((f"walrus{MOST_READ - 1}", 1), (f"walrus{MOST_READ}", 0), (f"filename:f{MOST_READ}", 1)):
        assert len((await agent.do("search_messages", inbox=ROBO, query=query))["messages"]) == hits
    last = (await agent.do("get_message", message_id=message))["attachments"][-1]
    answer = await agent.call("get_attachment", attachment_id=last["id"])
    assert (answer.result["text_status"], answer.result["extracted_text"]) == ("skipped", None)
    assert "skipped" in answer.text


async def test_more_than_may_be_read_left_by_an_earlier_version_is_skipped(daimon: Daimon) -> None:
    files = [(f"f{number}.txt", "text/plain", b"%d" % number) for number in range(MOST_READ + 2)]
    await arrive(daimon, content=letter(*files))
    every = Statement("UPDATE attachments SET text_status = 'pending'", "")
    await daimon.operations.core.database.write(lambda tx: tx.run(every))
    async with reading(daimon, Reader()):
        await until(daimon, none_waits(daimon))
    assert [status for _, status, _, _ in await states(daimon)] == ["ok"] * MOST_READ + ["skipped"] * 2


async def test_all_texts_of_a_message_together_are_bounded(daimon: Daimon, agent: Agent) -> None:
    reader = Reader()
    files = [(f"f{number}.txt", "text/plain", b"%d" % number) for number in range(12)]
    for name, _, content in files:
        reader.answers[name] = Extracted("ok", "begin " + content.decode() * 200_000)
    reader.answers["f0.txt"] = Extracted("ok", "short")
    [message] = await arrive(daimon, content=letter(*files))
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
    lengths = [len(text or "") for _, _, text, _ in await states(daimon)]
    assert lengths[0] == 5
    assert min(lengths[1:]) > MOST_TEXT // 20
    assert sum(lengths) <= MOST_TEXT
    handles = [each["id"] for each in (await agent.do("get_message", message_id=message))["attachments"]]
    cut = [(await agent.do("get_attachment", attachment_id=each))["incomplete"] for each in handles[:2]]
    assert cut == [False, True]
    assert not await findings(daimon.operations.core.database, deep=True)
    await agent.do("delete_message", message_id=message, permanent=True)
    assert not await findings(daimon.operations.core.database, deep=True)


async def test_inboxes_take_turns(daimon: Daimon) -> None:
    for number in range(3):
        await arrive(daimon, content=letter((f"r{number}.txt", "text/plain", b"r%d" % number)))
    await arrive(daimon, OTHER, content=letter(("o.txt", "text/plain", b"o"), to=OTHER))
    reader = Reader()
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
    assert reader.names == ["r0.txt", "o.txt", "r1.txt", "r2.txt"]


async def test_a_message_that_takes_long_waits_behind_other_inboxes(
    daimon: Daimon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daimon_mcp.operations.extracting.TURN_SECONDS", 0.0)
    await arrive(daimon, content=letter(*((f"r{number}.txt", "text/plain", b"r%d" % number) for number in range(3))))
    await arrive(daimon, OTHER, content=letter(("o.txt", "text/plain", b"o"), to=OTHER))
    reader = Reader()
    async with reading(daimon, reader):
        await until(daimon, none_waits(daimon))
    assert reader.names == ["r0.txt", "o.txt", "r1.txt", "r2.txt"]
    assert [tries for _, _, _, tries in await states(daimon)] == [1] * 4


async def test_what_somebody_waits_for_is_read_first(daimon: Daimon, agent: Agent) -> None:
    files = [(f"r{number}.txt", "text/plain", b"r%d" % number) for number in range(4)]
    await arrive(daimon, content=letter(*files[:3]))
    await arrive(daimon, content=letter(files[3]))
    [message] = await arrive(daimon, content=letter(("a.txt", "text/plain", b"a"), ("b.txt", "text/plain", b"b")))
    handle = (await agent.do("get_message", message_id=message))["attachments"][1]["id"]
    reader = Reader()
    reader.hold = "r0.txt"
    answers: list[str] = []
    async with reading(daimon, reader), anyio.create_task_group() as tasks:
        await reader.holding.wait()

        async def ask() -> None:
            answers.append((await agent.do("get_attachment", attachment_id=handle))["extracted_text"])

        tasks.start_soon(ask)
        with anyio.fail_after(5):
            while not daimon.operations.extracting.awaited_texts:
                await anyio.lowlevel.checkpoint()
        reader.go_on.set()
        await until(daimon, none_waits(daimon))
    assert answers == ["b"]
    assert reader.names == ["r0.txt", "b.txt", "r1.txt", "r2.txt", "r3.txt", "a.txt"]


async def test_files_that_were_tried_before_are_read_one_by_one(daimon: Daimon) -> None:
    await arrive(daimon, content=letter(*((f"r{number}.txt", "text/plain", b"r%d" % number) for number in range(3))))
    database = daimon.operations.core.database
    # A process that is killed in the middle of a message leaves all its files counted.
    once = Statement("UPDATE attachments SET text_tries = 1", "")
    await database.write(lambda tx: tx.run(once))
    reader = Reader()
    reader.hold = "r1.txt"
    async with reading(daimon, reader):
        await reader.holding.wait()
        assert [(status, tries) for _, status, _, tries in await states(daimon)] == [
            ("ok", 2), ("pending", 2), ("pending", 1),
        ]  # fmt: skip


def labelled(charset: str, content: bytes) -> bytes:
    made = letter(("a.txt", "text/plain", content))
    assert b"Content-Type: text/plain\r\n" in made
    return made.replace(b"Content-Type: text/plain\r\n", f"Content-Type: text/plain; charset={charset}\r\n".encode())


@pytest.mark.parametrize(
    ("charset", "text"), [("koi8-r", "Привет"), ("shift_jis", "こんにちは"), ('"x;y=\\"', "plain"), ("", "plain")]
)
async def test_the_charset_that_the_sender_names_counts(daimon: Daimon, charset: str, text: str) -> None:
    content = text.encode(charset if charset.replace("_", "-").replace("-", "").isalnum() else "ascii")
    await arrive(daimon, content=labelled(charset, content))
    async with reading(daimon, Extraction()):
        await until(daimon, none_waits(daimon))
    assert [(status, found) for _, status, found, _ in await states(daimon)] == [("ok", text)]


async def test_the_same_octets_in_another_charset_are_another_text(daimon: Daimon) -> None:
    for charset in ("koi8-r", "windows-1251"):
        await arrive(daimon, content=labelled(charset, "Привет".encode("koi8-r")))
    async with reading(daimon, Extraction()):
        await until(daimon, none_waits(daimon))
    assert [text for _, _, text, _ in await states(daimon)] == [
        "Привет", "Привет".encode("koi8-r").decode("windows-1251"),
    ]  # fmt: skip


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
