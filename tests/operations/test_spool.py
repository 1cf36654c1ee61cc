"""Between the acknowledgement and the inbox: each mail is filed once, in order, whatever becomes of the process."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import OTHER, PEER, ROBO, becomes, clock_at, delivered_to, eml, read_mail
from tests.support.submission import submit

from daimon_mcp.domain.envelopes import ContentFile, Envelope, Recipient
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.mail.dsn import read_dsn
from daimon_mcp.operations.intake import MOST_DEATHS
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import incoming
from daimon_mcp.store.compiled import Statement
from daimon_mcp.workers import intake as worker

Start = Callable[..., AbstractAsyncContextManager[Daimon]]
LARGE = 2_000_000


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a daimon on this test's folder; without workers nothing is filed."""

    def made(*, workers: bool = True) -> AbstractAsyncContextManager[Daimon]:
        clock = clock_at("2026-11-10T12:00:00Z")
        return running(tmp_path / "data", {"smtp": {"max_message_bytes": 10_000_000}}, workers=workers, clock=clock)

    return made


@pytest.fixture
async def before(start: Start) -> AsyncGenerator[Daimon]:
    """A daimon with two inboxes, in which nothing is filed."""
    async with start(workers=False) as made, made.agent() as agent:
        await made.upgrade()
        await agent.do("create_inbox", username="robo")
        await agent.do("create_inbox", username="other")
        yield made


async def accept(daimon: Daimon, subject: str, *recipients: str, size: int = 0, file: bool = False) -> str:
    """Acknowledge a letter as a listener does; what was quoted to the peer."""
    content: bytes | ContentFile = eml(subject=subject, body="x" * 70 + "\r\n" + ("y" * 68 + "\r\n") * (size // 70))
    if file:
        path = daimon.operations.spool.folder() / f"{subject}.eml"
        path.write_bytes(content)
        content = ContentFile(path, len(content))
    envelope = Envelope("ann@example.com", recipients or (ROBO,))
    return await daimon.operations.receiving.accept(envelope, replace(PEER, cid=subject), content)


async def subjects(agent: Agent, inbox: str = ROBO) -> list[str]:
    return [each["subject"] for each in await delivered_to(agent, inbox)]


async def numbers(daimon: Daimon) -> list[int]:
    return [row[0] for row in await daimon.operations.core.database.fetch("SELECT no FROM incoming ORDER BY no")]


async def filed(daimon: Daimon) -> None:
    """Return once nothing waits to be filed."""
    await daimon.operations.spool.settled(5)
    assert daimon.operations.spool.waiting() == []


async def no_turn() -> None:
    """Nobody comes before."""


async def test_what_a_process_left_is_filed_once_and_in_order_by_the_next(start: Start) -> None:
    async with start(workers=False) as first, first.agent() as agent:
        await agent.do("create_inbox", username="robo")
        expected = [f"mail {number}" for number in range(12)]
        for subject in expected:
            await accept(first, subject)
        assert await subjects(agent) == []
    for _ in range(2):
        async with start() as daimon, daimon.agent() as agent:
            await filed(daimon)
            assert await subjects(agent) == expected
            assert await daimon.operations.spool.listed() == []


async def test_new_mail_is_filed_in_the_order_it_came(start: Start) -> None:
    async with start() as daimon, daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        expected = [f"mail {number}" for number in range(30)]
        for number, subject in enumerate(expected):
            await accept(daimon, subject, size=LARGE if number % 7 == 0 else 0)  # which takes longer to read
        await filed(daimon)
        assert await subjects(agent) == expected


async def test_nobody_waits_for_ever_for_what_is_not_filed(before: Daimon) -> None:
    await before.operations.spool.settled()  # there is nothing to wait for
    await accept(before, "waits")
    await before.operations.spool.settled(0.01)  # it is not filed, and nobody waits for ever
    assert len(before.operations.spool.waiting()) == 1


async def test_what_is_told_late_keeps_its_place(before: Daimon) -> None:
    spool, receiving = before.operations.spool, before.operations.receiving
    first = await receiving.spooled(Envelope("", (ROBO,)), PEER, eml(), origin=incoming.MX, put=incoming.insert)
    await accept(before, "second")
    spool.leave_to_worker(first, 100)
    spool.leave_to_worker(first, 100)
    assert [no for no, _ in spool.waiting()] == sorted(await numbers(before))
    assert len(spool.waiting()) == 2


# -- files -------------------------------------------------------------------------------------------------------------


async def test_a_large_mail_lies_in_a_file_until_it_is_filed(start: Start) -> None:
    async with start(workers=False) as first, first.agent() as agent:
        await agent.do("create_inbox", username="robo")
        await accept(first, "large", size=LARGE, file=True)
        folder = first.operations.spool.folder()
        (folder / "half-written.eml").write_bytes(b"From: nobody")
        assert {path.name for path in folder.iterdir()} == {"large.eml", "half-written.eml"}
    async with start() as daimon, daimon.agent() as agent:
        await filed(daimon)
        assert await subjects(agent) == ["large"]
        [message] = await delivered_to(agent, ROBO)
        assert (await agent.do("get_message", message_id=message["id"]))["size"] > LARGE
        assert list(folder.iterdir()) == []


# -- mail that cannot be filed -----------------------------------------------------------------------------------------


async def test_mail_that_fails_each_time_is_put_aside_and_others_go_on(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "AFTER_TROUBLE", 0.0)
    async with start(workers=False) as first, first.agent() as agent:
        await agent.do("create_inbox", username="robo")
        await accept(first, "before")
        await accept(first, "poison", file=True)
        await accept(first, "after")
        poison = first.operations.spool.folder() / "poison.eml"
        content = poison.read_bytes()
        poison.unlink()
    async with start() as daimon, daimon.agent() as agent:
        await filed(daimon)
        assert await subjects(agent) == ["before", "after"]
        [aside] = await daimon.operations.spool.listed()
        assert (aside["id"], aside["put_aside"], aside["to"], aside["from"]) == (
            "poison", True, [ROBO], "ann@example.com",
        )  # fmt: skip
        assert "mail poison cannot be filed and is put aside" in caplog.text
        await filed(daimon)
    async with start() as daimon, daimon.agent() as agent:  # it is not tried again by itself, and nothing waits for it
        await accept(daimon, "later")
        await filed(daimon)
        assert await subjects(agent) == ["before", "after", "later"]
        poison.write_bytes(content)
        assert await daimon.operations.spool.refile("no such id") == 0
        assert await daimon.operations.spool.refile("poison") == 1
        await filed(daimon)
        assert await subjects(agent) == ["before", "after", "later", "poison"]
        assert await daimon.operations.spool.refile() == 0
        await filed(daimon)
        assert not poison.exists()


async def test_mail_that_ended_the_process_each_time_is_not_read_again(start: Start) -> None:
    async with start(workers=False) as first, first.agent() as agent:
        await agent.do("create_inbox", username="robo")
        await accept(first, "deadly")
        [number] = await numbers(first)
        for _ in range(MOST_DEATHS):
            await first.operations.core.database.write(lambda tx: tx.run(sql.incoming_try, no=number))
        await accept(first, "well")
    async with start() as daimon, daimon.agent() as agent:
        await filed(daimon)
        assert await subjects(agent) == ["well"]
        [aside] = await daimon.operations.spool.listed()
        assert (aside["id"], aside["put_aside"]) == ("deadly", True)


async def test_a_disk_that_fails_is_not_the_mails_fault(before: Daimon) -> None:
    database = before.operations.core.database
    letter = eml(subject="patient", body="\r\n".join(random.Random(7).randbytes(35).hex() for _ in range(3000)))
    await before.operations.receiving.accept(Envelope("ann@example.com", (ROBO,)), PEER, letter)
    [number] = await numbers(before)
    [(pages,)] = await database.fetch("PRAGMA page_count")
    await database.write(lambda tx: tx.all(Statement(f"PRAGMA max_page_count = {pages}", "")))  # a disk that is full
    for _ in range(5):
        with pytest.raises(Refused) as refused:
            await before.operations.intake.file(number, no_turn)
        assert refused.value.code is RefusalCode.STORE_UNAVAILABLE
    await database.write(lambda tx: tx.all(Statement(f"PRAGMA max_page_count = {pages * 100}", "")))
    [waiting] = await before.operations.spool.listed()
    assert (waiting["tries"], waiting["put_aside"]) == (0, False)
    await before.operations.intake.file(number, no_turn)
    async with before.agent() as agent:
        assert await subjects(agent) == ["patient"]


async def test_more_than_may_wait_is_put_off(before: Daimon) -> None:
    core = before.operations.core
    core.policy = replace(core.policy, most_spooled=2500)
    for number in range(2):
        await accept(before, f"mail {number}", size=700)
    with pytest.raises(Refused) as refused:
        await accept(before, "one too many", size=700)
    assert (refused.value.code, refused.value.reason) == (RefusalCode.STORE_UNAVAILABLE, "SPOOL_FULL")
    taken = await numbers(before)
    with pytest.raises(Refused, match="STORE_UNAVAILABLE"):
        await submit(before, OTHER, content=eml(sender=ROBO, body="x" * 900))
    for number in taken:
        await before.operations.intake.file(number, no_turn)
    await accept(before, "room again", size=700)


async def test_filing_twice_is_filing_once(before: Daimon) -> None:
    await accept(before, "once", ROBO, OTHER)
    [number] = await numbers(before)
    for _ in range(2):
        await before.operations.intake.file(number, no_turn)
    async with before.agent() as agent:
        assert (await subjects(agent), await subjects(agent, OTHER)) == (["once"], ["once"])


# -- mail of mail programs ---------------------------------------------------------------------------------------------


async def test_mail_handed_in_is_in_sent_and_with_its_recipients(before: Daimon) -> None:
    content = eml(sender=ROBO, to=OTHER, subject="Handed in")
    id_ = await submit(before, OTHER, "postmaster@agents.localhost", content=content)
    [number] = await numbers(before)
    await before.operations.intake.file(number, no_turn)
    async with before.agent() as agent:
        message = await agent.do("get_message", message_id=id_, include=["headers"])
        assert (message["delivery_status"], message["direction"]) == ("delivered", "outbound")
        assert message["to_addresses"] == [OTHER]
        assert message["bcc_addresses"] == ["postmaster@agents.localhost"]
        [copy] = await delivered_to(agent, OTHER)
        seen = await agent.do("get_message", message_id=copy["id"], include=["headers"])
        assert "postmaster" not in str(seen)
        assert (await agent.do("get_account"))["sends_today"] == 2
        core = before.operations.core
        [(digest,)] = await core.database.fetch("SELECT blob_hash FROM messages WHERE id = ?", [id_])
        assert read_mail(await core.blobs.get(core.database, digest))["Bcc"] is None


async def test_the_same_mail_again_is_the_same_message(before: Daimon) -> None:
    content = eml(sender=ROBO, to=OTHER)
    first = await submit(before, OTHER, content=content)
    assert await submit(before, OTHER, content=content) == first
    [number] = await numbers(before)
    await before.operations.intake.file(number, no_turn)
    assert await submit(before, OTHER, content=content) == first
    assert await numbers(before) == []
    async with before.agent() as agent:
        assert len(await subjects(agent, OTHER)) == 1
        assert (await agent.do("get_account"))["sends_today"] == 1


async def test_an_inbox_that_is_gone_when_it_is_filed_is_reported(before: Daimon) -> None:
    id_ = await submit(before, OTHER, ROBO)
    async with before.agent() as agent:
        await agent.do("delete_inbox", inbox=OTHER)
        [number] = await numbers(before)
        await before.operations.intake.file(number, no_turn)
        message = await becomes(before, agent, id_, "bounced")
        states = {each["recipient"]: each["status"] for each in message["deliveries"]}
        assert states == {OTHER: "bounced", ROBO: "delivered"}
        found: dict[str, dict[str, Any]] = {each["kind"]: each for each in await delivered_to(agent, ROBO)}
        assert found["bounce"]["thread_id"] == message["thread_id"]
        core = before.operations.core
        rows = await core.database.fetch("SELECT blob_hash FROM messages WHERE id = ?", [found["bounce"]["id"]])
        report = read_dsn(await core.blobs.get(core.database, rows[0][0]))
        assert report is not None
        assert [(each.recipient, each.status) for each in report.failures] == [(OTHER, "5.1.1")]


async def told(daimon: Daimon) -> list[tuple[str, list[tuple[str, str, str]], str | None]]:
    """The reports in robo's inbox: subject, what each says of whom (with ORCPT), and the envelope id."""
    core = daimon.operations.core
    found: list[tuple[str, list[tuple[str, str, str]], str | None]] = []
    async with daimon.agent() as agent:
        listed = await delivered_to(agent, ROBO)
    for each in listed:
        rows = await core.database.fetch("SELECT blob_hash FROM messages WHERE id = ?", [each["id"]])
        report = read_dsn(await core.blobs.get(core.database, rows[0][0]))
        assert report is not None
        said = [(failure.recipient, failure.action, failure.orcpt) for failure in report.failures]
        found.append((each["subject"], said, report.envelope_id))
    return found


async def test_who_asked_is_told_that_it_is_in_a_mailbox_here(before: Daimon) -> None:
    asked = Recipient(OTHER, "SUCCESS,FAILURE", f"rfc822;{OTHER}")
    id_ = await submit(before, asked, Recipient("other+x@agents.localhost"), envid="ticket-7")
    [number] = await numbers(before)
    await before.operations.intake.file(number, no_turn)
    assert await told(before) == [
        ("Delivery successful", [(OTHER, "delivered", f"rfc822;{OTHER}")], "ticket-7"),
    ]
    async with before.agent() as agent:
        [report] = await delivered_to(agent, ROBO)
        assert report["thread_id"] == (await agent.do("get_message", message_id=id_))["thread_id"]


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS", "FAILURE"])
async def test_reports_on_recipients_here_go_by_notify(before: Daimon, notify: str) -> None:
    await submit(before, Recipient(OTHER, notify))
    async with before.agent() as agent:
        await agent.do("delete_inbox", inbox=OTHER)
    [number] = await numbers(before)
    await before.operations.intake.file(number, no_turn)
    expected = [("Delivery failed", [(OTHER, "failed", "")], None)] if notify == "FAILURE" else []
    assert await told(before) == expected


async def test_the_null_sender_is_told_nothing(before: Daimon) -> None:
    content = (
        f"From: {ROBO}\r\nTo: {OTHER}\r\nSubject: Seen\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b--\r\n"
    )
    await submit(before, Recipient(OTHER, "SUCCESS"), mail_from="", content=content.encode())
    [number] = await numbers(before)
    await before.operations.intake.file(number, no_turn)
    assert await told(before) == []
    async with before.agent() as agent:
        assert await subjects(agent, OTHER) == ["Seen"]
