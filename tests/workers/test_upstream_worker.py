"""Fetching mail from a mailbox elsewhere: what is taken, once each, whatever the server does."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.support.imap_peer import ImapPeer

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.upstream import FetchedMail, Place, rule
from daimon_mcp.workers import upstream
from daimon_mcp.workers.imap_wire import MAX_LINE, Server
from daimon_mcp.workers.upstream import Mailbox, Pauses, UpstreamWorker
from daimon_mcp.workers.upstream_check import check_upstream

ME = "me@example.com"
NAME = f"{ME} INBOX"
NOW = 1_795_251_600 * SECOND
MAX_BYTES = 300_000
RULE = rule(address=ME, domain="agents.test", domains=("agents.test",))


class StillClock:
    """Does not move."""

    def now(self) -> int:
        """Epoch µs."""
        return NOW

    def seconds_until(self, due: int) -> float:
        """As the clock is now."""
        return max(0.0, (due - NOW) / SECOND)


@dataclass
class Memory:
    """The core as the worker sees it, without a disk; it outlives workers as a disk does."""

    inboxes: set[str] = field(default_factory=lambda: {"support@agents.test", "sales@agents.test"})
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    taken: list[FetchedMail] = field(default_factory=list[FetchedMail])
    pending: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    refusals: list[Refused] = field(default_factory=list[Refused])
    notes: list[str | None] = field(default_factory=list[str | None])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def _changed(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Return when it is so."""
        async with asyncio.timeout(10):
            while not true():
                await self.changed.wait()

    def note(self, text: str | None) -> None:
        """What the operator is told."""
        self.notes.append(text)
        self._changed()

    @property
    def contents(self) -> list[bytes]:
        """Of all that was taken, in order."""
        return [mail.content for mail in self.taken]

    @property
    def last_uid(self) -> int:
        """As stored."""
        return self.places[NAME].last_uid if NAME in self.places else -1

    async def place(self, name: str) -> Place | None:
        """As stored."""
        return self.places.get(name)

    async def begin(self, name: str, place: Place) -> None:
        """Store it."""
        self.places[name] = place
        self._changed()

    async def who(self, candidates: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        """Those that are here, of the first that has any."""
        for tier in candidates:
            if here := tuple(address for address in tier if address in self.inboxes):
                return here
        return ()

    async def receive_fetched(self, mail: FetchedMail) -> bool:
        """Keep it unless its bytes are known."""
        if self.refusals:
            raise self.refusals.pop(0)
        await self.skip(mail.name, mail.uidvalidity, mail.uid)
        if mail.tidy:
            self.pending.add((mail.uidvalidity, mail.uid))
        if mail.content in self.contents:
            return False
        self.taken.append(mail)
        self._changed()
        return True

    async def skip(self, name: str, uidvalidity: int, uid: int) -> None:
        """Move the place on."""
        place = self.places[name]
        assert place.uidvalidity == uidvalidity
        assert place.last_uid <= uid
        self.places[name] = replace(place, last_uid=uid)
        self._changed()

    async def untidied(self, name: str, uidvalidity: int) -> list[int]:
        """In order."""
        return sorted(uid for validity, uid in self.pending if validity == uidvalidity)

    async def tidied(self, name: str, uidvalidity: int, uids: Sequence[int]) -> None:
        """Forget them."""
        self.pending -= {(uidvalidity, uid) for uid in uids}
        self._changed()


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def peer() -> AsyncGenerator[ImapPeer]:
    async with ImapPeer() as made:
        yield made


def mailbox(peer: ImapPeer, **options: Any) -> Mailbox:
    """The peer's folder, read with little patience."""
    server: dict[str, Any] = {"host": "127.0.0.1", "port": peer.port, "security": "none", "tls": None, "timeout": 5.0}
    server |= options.pop("server", {})
    given: dict[str, Any] = {"server": Server(**server), "username": "me", "password": "secret", "poll_seconds": 0.01}
    return Mailbox(**{**given, **options})


@asynccontextmanager
async def working(peer: ImapPeer, memory: Memory, **options: Any) -> AsyncGenerator[UpstreamWorker]:
    """A worker that fetches, until the end of the block; then it is cancelled in the middle of whatever it does."""
    worker = UpstreamWorker(
        fetching=memory,
        mailbox=mailbox(peer, **options),
        rule=RULE,
        clock=StillClock(),
        max_message_bytes=MAX_BYTES,
        note=memory.note,
        pauses=Pauses(first=0.001, login=0.001, longest=0.002),
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(worker.run)
        yield worker
        tasks.cancel_scope.cancel()


def to(tag: str, subject: str = "hi", body: str = "words") -> bytes:
    """A message as a server has it that notes whom it was for."""
    return (
        f"Delivered-To: me+{tag}@example.com\r\nReceived: by mx.example.com; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        f"Return-Path: <ann@sender.example>\r\nFrom: ann@sender.example\r\nSubject: {subject}\r\n\r\n{body}\r\n"
    ).encode()


def personal(subject: str = "dinner") -> bytes:
    """A message to the plain address."""
    return f"Delivered-To: {ME}\r\nTo: {ME}\r\nSubject: {subject}\r\n\r\nat eight\r\n".encode()


# -- what is taken ---------------------------------------------------------------------------------------------------


async def test_new_mail_for_an_inbox_is_taken_and_the_rest_left_alone_unread(peer: ImapPeer, memory: Memory) -> None:
    peer.put(to("support", "old"))
    async with working(peer, memory) as worker:
        await peer.heard("IDLE")
        peer.put(personal())
        peer.put(to("support", "new"))
        peer.put(to("nobody"))
        await memory.until(lambda: memory.last_uid == 4)
    [mail] = memory.taken
    assert mail.content == to("support", "new")
    assert (mail.uidvalidity, mail.uid, mail.recipients) == (100, 3, ("support@agents.test",))
    assert (mail.mail_from, mail.host, mail.tidy) == ("ann@sender.example", "127.0.0.1", False)
    assert (worker.counts.taken, worker.counts.left_alone) == (1, 2)
    bodies = [line for line in peer.commands if "BODY.PEEK[]" in line]
    assert bodies == ["UID FETCH 3 (UID BODY.PEEK[])"]  # nobody else's mail was even looked into
    assert not any(line.startswith(("SELECT", "UID STORE", "UID MOVE")) for line in peer.commands)


async def test_the_backlog_is_taken_when_it_is_wanted(peer: ImapPeer, memory: Memory) -> None:
    wanted = [to("support", str(number)) for number in range(upstream.HEADERS_AT_ONCE + 5)]
    for content in wanted:
        peer.put(content)
    async with working(peer, memory, backlog=True):
        await memory.until(lambda: len(memory.taken) == len(wanted))
    assert memory.contents == wanted


async def test_without_uidnext_the_end_of_the_mailbox_is_looked_for(peer: ImapPeer, memory: Memory) -> None:
    peer.tells_uidnext = False
    peer.put(to("support", "old"))
    async with working(peer, memory):
        await peer.heard("IDLE")
        peer.put(to("support", "new"))
        await memory.until(lambda: len(memory.taken) == 1)
    assert memory.contents == [to("support", "new")]


async def test_mail_to_the_default_inbox_and_by_to_and_cc(peer: ImapPeer, memory: Memory) -> None:
    peer.put(b"To: Me <me+support@example.com>\r\nCc: me+sales@example.com, me+nobody@example.com\r\n\r\nboth\r\n")
    async with working(peer, memory, backlog=True):
        await memory.until(lambda: len(memory.taken) == 1)
    assert memory.taken[0].recipients == ("support@agents.test", "sales@agents.test")


async def test_where_there_is_no_idle_it_is_asked_again_and_again(memory: Memory) -> None:
    async with ImapPeer(capabilities="") as peer, working(peer, memory):
        await peer.heard("NOOP", times=3)
        peer.put(to("support"))
        await memory.until(lambda: len(memory.taken) == 1)
        assert peer.logins == ['"me" "secret"']


async def test_an_idle_that_is_refused_is_not_asked_for_again(peer: ImapPeer, memory: Memory) -> None:
    peer.say("IDLE", "NO not today", times=None)
    async with working(peer, memory):
        await peer.heard("NOOP", times=4)
        assert peer.commands.count("IDLE") == 1


async def test_idle_is_begun_anew_before_its_time_is_over(peer: ImapPeer, memory: Memory) -> None:
    async with working(peer, memory, idle_seconds=0.01):
        await peer.heard("IDLE", times=3)
        assert peer.connections == 1
        assert peer.commands.count("DONE") >= 2


async def test_mail_told_of_in_the_packet_that_begins_idle_is_not_slept_through(peer: ImapPeer, memory: Memory) -> None:
    peer.idle_starts_with = ["* 1 EXISTS", "* OK still here"]
    async with working(peer, memory):
        await peer.heard("DONE")


# -- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "command"), [("seen", "UID STORE"), ("delete", "UID EXPUNGE"), ("move:Agents", "UID MOVE")]
)
async def test_killed_between_the_commit_and_the_change_it_is_taken_once_and_changed(
    peer: ImapPeer, memory: Memory, after: str, command: str
) -> None:
    peer.folders["Agents"] = []
    peer.put(to("support"))
    peer.put(personal())
    peer.hold(command)
    async with working(peer, memory, backlog=True, after=after):
        await peer.heard(command)
    assert len(memory.taken) == 1
    assert memory.pending == {(100, 1)}
    async with working(peer, memory, backlog=True, after=after) as worker:
        await memory.until(lambda: not memory.pending)
        await peer.heard("IDLE")
        assert worker.counts.taken == 0
    assert len(memory.taken) == 1
    mine = peer.messages[-1]
    assert (mine.content, mine.flags) == (personal(), set[str]())  # what is for nobody here is never touched
    if after == "seen":
        assert peer.messages[0].flags == {"\\Seen"}
    else:
        assert len(peer.messages) == 1
        assert peer.folders["Agents"] == ([to("support")] if after.startswith("move") else [])


@pytest.mark.parametrize(
    ("after", "cut"), [("delete", "UID EXPUNGE"), ("move:Agents", "UID MOVE"), ("seen", "UID STORE")]
)
async def test_a_change_whose_answer_is_lost_is_made_again_to_no_effect(
    peer: ImapPeer, memory: Memory, after: str, cut: str
) -> None:
    peer.folders["Agents"] = []
    peer.put(to("support"))
    peer.cut(cut)
    async with working(peer, memory, backlog=True, after=after):
        await peer.heard(cut, times=2)
        await memory.until(lambda: not memory.pending)
    assert len(memory.taken) == 1
    assert len(peer.folders["Agents"]) == int(after.startswith("move"))


async def test_a_restart_goes_on_where_the_last_run_was(peer: ImapPeer, memory: Memory) -> None:
    for number in range(3):
        async with working(peer, memory):
            await peer.heard("IDLE", times=number + 1)
            peer.put(to("support", f"on {number}"))
            await memory.until(lambda number=number: len(memory.taken) == 2 * number + 1)
        peer.put(to("support", f"off {number}"))
    async with working(peer, memory):
        await memory.until(lambda: len(memory.taken) == 6)
    assert memory.contents == [to("support", f"{when} {number}") for number in range(3) for when in ("on", "off")]


async def test_new_numbers_bring_nothing_twice_and_nothing_of_before(peer: ImapPeer, memory: Memory) -> None:
    late = "21-Nov-2027 10:00:00 +0000"
    peer.put(to("support", "before us"), date="20-Nov-2020 10:00:00 +0000")
    async with working(peer, memory):
        await peer.heard("IDLE")
        peer.put(to("support", "one"), date=late)
        await memory.until(lambda: len(memory.taken) == 1)
    peer.renumber()
    peer.put(to("support", "two"), date=late)
    async with working(peer, memory) as worker:
        await memory.until(lambda: len(memory.taken) == 2)
        assert worker.counts.known == 1
    assert memory.contents == [to("support", "one"), to("support", "two")]
    assert memory.places[NAME] == Place(101, 3, NOW, 3)


async def test_new_mail_is_new_whatever_its_date(peer: ImapPeer, memory: Memory) -> None:
    old = "20-Nov-2020 10:00:00 +0000"
    async with working(peer, memory):
        await peer.heard("IDLE")
        peer.put(to("support", "moved here"), date=old)
        await memory.until(lambda: len(memory.taken) == 1)
    peer.renumber()
    async with working(peer, memory):
        await memory.until(lambda: memory.places[NAME].uidvalidity == 101)
        await peer.heard("IDLE", times=2)
        peer.put(to("support", "moved here too"), date=old)
        await memory.until(lambda: len(memory.taken) == 2)


@pytest.mark.parametrize("after", [0, 10, 60, 200])
async def test_a_connection_that_breaks_inside_a_message_loses_and_doubles_nothing(
    peer: ImapPeer, memory: Memory, after: int
) -> None:
    wanted = [to("support", str(number)) for number in range(3)]
    for content in wanted:
        peer.put(content)
    peer.cut("UID FETCH", match="2 (UID BODY.PEEK[])", after=after)
    peer.cut("UID FETCH", match="HEADER", after=after)
    async with working(peer, memory, backlog=True):
        await memory.until(lambda: len(memory.taken) == 3)
        assert peer.connections == 3
    assert memory.contents == wanted


async def test_a_store_that_is_full_is_tried_again_later(peer: ImapPeer, memory: Memory) -> None:
    memory.refusals.append(Refused(RefusalCode.STORE_UNAVAILABLE))
    peer.put(to("support"))
    async with working(peer, memory, backlog=True):
        await memory.until(lambda: len(memory.taken) == 1)
    assert peer.connections == 2


async def test_mail_that_is_refused_here_is_left_there(peer: ImapPeer, memory: Memory) -> None:
    memory.refusals.append(Refused(RefusalCode.RECIPIENT_REFUSED, reason="MAIL_LOOP"))
    peer.put(to("support", "loop"))
    peer.put(to("support", "fine"))
    async with working(peer, memory, backlog=True, after="delete"):
        await memory.until(lambda: len(memory.taken) == 1 and not memory.pending)
    assert memory.contents == [to("support", "fine")]
    assert [kept.content for kept in peer.messages] == [to("support", "loop")]


# -- changes there ---------------------------------------------------------------------------------------------------


async def test_a_missing_folder_is_made_and_moving_is_copying_where_there_is_no_move(memory: Memory) -> None:
    async with ImapPeer(capabilities="IDLE UIDPLUS") as peer:
        peer.put(to("support"))
        async with working(peer, memory, backlog=True, after="move:Büro & Co"):
            await memory.until(lambda: bool(memory.taken) and not memory.pending)
        assert peer.folders == {"B&APw-ro &- Co": [to("support")]}
        assert peer.messages == []


async def test_without_uidplus_mail_is_only_marked_deleted(memory: Memory) -> None:
    async with ImapPeer(capabilities="IDLE") as peer:
        peer.put(to("support"))
        async with working(peer, memory, backlog=True, after="delete"):
            await memory.until(lambda: bool(memory.taken) and not memory.pending)
        assert [kept.flags for kept in peer.messages] == [{"\\Deleted"}]


async def test_a_change_that_is_refused_is_told_and_mail_goes_on_coming(peer: ImapPeer, memory: Memory) -> None:
    peer.say("UID STORE", "NO [CANNOT] this is an archive", times=None)
    peer.put(to("support", "one"))
    async with working(peer, memory, backlog=True, after="seen"):
        await peer.heard("IDLE")
        peer.put(to("support", "two"))
        await memory.until(lambda: len(memory.taken) == 2)
    assert memory.pending == {(100, 1), (100, 2)}
    assert [note for note in memory.notes if note and "this is an archive" in note]


# -- servers that misbehave --------------------------------------------------------------------------------------------


async def test_mail_that_is_too_large_is_left_there_and_told(peer: ImapPeer, memory: Memory) -> None:
    large = to("support", "large", "x" * MAX_BYTES)
    peer.put(large)
    peer.put(large, size=1000)  # the server lies, or does not know
    peer.put(large + b"x" * MAX_LINE, size=1000)
    peer.put(to("support"))
    async with working(peer, memory, backlog=True, after="delete") as worker:
        await memory.until(lambda: len(memory.taken) == 1 and not memory.pending and bool(memory.notes))
        assert worker.counts.too_large == 3
    assert memory.contents == [to("support")]
    assert len(peer.messages) == 3
    assert "larger than [smtp] max_message_bytes" in (memory.notes[-1] or "")


async def test_a_literal_of_no_end_costs_no_memory(peer: ImapPeer, memory: Memory) -> None:
    peer.put(to("support"))
    peer.send("UID FETCH", b"* 1 FETCH (UID 1 BODY[HEADER]<0> {99999999999999}\r\n", match="HEADER")
    peer.send("UID FETCH", b"* 1 FETCH (UID 1 BODY[HEADER]<0> {9223372036854775808}\r\n", match="HEADER")
    peer.send("NOOP", b"* OK " + b"x" * 200_000 + b"\r\n")
    async with working(peer, memory, backlog=True):
        await memory.until(lambda: len(memory.taken) == 1)
    assert peer.connections == 4


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"* 1 FETCH (UID\r\n",
        b"* 1 FETCH " + b"(" * 20_000 + b"\r\n",
        b'* 1 FETCH (UID "x" RFC822.SIZE "y" INTERNALDATE 5)\r\n* 1 FETCH ()\r\n* 1 FETCH 7\r\n',
        b"* BYE shutting down\r\n",
        b"+ go on\r\n",
        b"\r\n",
        b"\xff\xfe\r\n",
    ],
)
async def test_after_nonsense_it_is_tried_again(peer: ImapPeer, memory: Memory, nonsense: bytes) -> None:
    peer.put(to("support"))
    peer.send("UID FETCH", nonsense, match="RFC822.SIZE")
    async with working(peer, memory, backlog=True):
        await memory.until(lambda: len(memory.taken) == 1)
    assert peer.connections == 2


async def test_what_a_server_says_besides_does_not_disturb(peer: ImapPeer, memory: Memory) -> None:
    peer.put(to("support"))
    noise = (
        b"* OK [ALERT] buy more {5}\r\n* 9 EXPUNGE\r\n* FLAGS (x)\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* LIST () NIL x\r\n"
    )
    for match in ("RFC822.SIZE", "HEADER", "BODY.PEEK[]"):
        peer.send("UID FETCH", noise, match=match)
    async with working(peer, memory, backlog=True):
        await memory.until(lambda: len(memory.taken) == 1)
    assert memory.contents == [to("support")]
    assert peer.connections == 1


async def test_a_message_the_server_will_not_show_is_left_after_some_tries(peer: ImapPeer, memory: Memory) -> None:
    peer.put(to("support", "broken"))
    peer.put(to("support", "fine"))
    peer.say("UID FETCH", "NO [SERVERBUG] internal error", match="1 (UID BODY.PEEK[])", times=None)
    async with working(peer, memory, backlog=True) as worker:
        await memory.until(lambda: len(memory.taken) == 1 and bool(memory.notes))
        assert worker.counts.unreadable == 1
    assert sum(line == "UID FETCH 1 (UID BODY.PEEK[])" for line in peer.commands) == upstream.REFUSALS
    assert "does not show message UID 1" in (memory.notes[-1] or "")


async def test_a_message_that_ends_every_connection_does_not_stop_the_others(peer: ImapPeer, memory: Memory) -> None:
    peer.put(to("support", "poison"))
    peer.put(to("support", "fine"))
    peer.cut("UID FETCH", match="1 (UID BODY.PEEK[])", after=30, times=None)
    async with working(peer, memory, backlog=True) as worker:
        await memory.until(lambda: len(memory.taken) == 1)
        assert worker.counts.unreadable == 1
    assert peer.connections == upstream.BREAKS + 1


async def test_mail_that_somebody_deletes_meanwhile_is_passed_over(peer: ImapPeer, memory: Memory) -> None:
    peer.put(to("support", "gone"))
    peer.put(to("support", "here"))
    gate = peer.hold("UID FETCH", match="1 (UID BODY.PEEK[])")
    async with working(peer, memory, backlog=True) as worker:
        await gate.reached()
        del peer.messages[0]
        gate.open()
        await memory.until(lambda: len(memory.taken) == 1)
        assert worker.counts.unreadable == 0
    assert memory.last_uid == 2


async def test_a_server_that_says_nothing_is_left_in_time(peer: ImapPeer, memory: Memory) -> None:
    for command in ("CAPABILITY", "EXAMINE", "UID FETCH"):
        peer.hold(command)
    peer.put(to("support"))
    async with working(peer, memory, backlog=True, server={"timeout": 0.1}):
        await memory.until(lambda: len(memory.taken) == 1)
    assert peer.connections == 4


@pytest.mark.parametrize("step", ["CAPABILITY", "AUTHENTICATE", "EXAMINE", "UID FETCH", "IDLE", "NOOP"])
async def test_it_stops_at_once_wherever_it_is(peer: ImapPeer, memory: Memory, step: str) -> None:
    gate = peer.hold(step)
    async with asyncio.timeout(5), working(peer, memory, server={"timeout": 60.0}):
        await gate.reached()


async def test_a_connection_that_is_dropped_is_made_again(peer: ImapPeer, memory: Memory) -> None:
    async with working(peer, memory):
        await peer.heard("IDLE")
        peer.disconnect()
        await peer.heard("IDLE", times=2)
        peer.put(to("support"))
        await memory.until(lambda: len(memory.taken) == 1)


# -- getting in --------------------------------------------------------------------------------------------------------


async def test_a_refused_login_is_told_without_the_password_and_forgotten_when_it_works(
    peer: ImapPeer, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    peer.password = "other"
    async with working(peer, memory):
        await memory.until(lambda: bool(memory.notes))
        peer.password = "secret"
        await memory.until(lambda: memory.notes[-1] is None)
    assert "Invalid credentials" in (memory.notes[0] or "")
    assert "secret" not in (memory.notes[0] or "")
    assert "secret" not in caplog.text
    assert "AHNlY3JldA" not in caplog.text  # nor its base64


@pytest.mark.parametrize(
    ("capabilities", "logins"),
    [
        ("AUTH=PLAIN SASL-IR LOGINDISABLED", [b"\0me\0secret"]),
        ("AUTH=PLAIN", [b"\0me\0secret"]),
        ("", ['"me" "secret"']),
    ],
)
async def test_ways_to_log_in(memory: Memory, capabilities: str, logins: list[bytes | str]) -> None:
    async with ImapPeer(capabilities=capabilities) as peer, working(peer, memory):
        await peer.heard("EXAMINE")
        assert peer.logins == logins


@pytest.mark.parametrize(
    ("capabilities", "sent"),
    [
        ("AUTH=XOAUTH2 SASL-IR", b"user=me\x01auth=Bearer fresh\x01\x01"),
        ("AUTH=XOAUTH2", b"user=me\x01auth=Bearer fresh\x01\x01"),
        ("AUTH=XOAUTH2 AUTH=OAUTHBEARER", b"n,a=me,\x01auth=Bearer fresh\x01\x01"),
    ],
)
async def test_a_token_is_asked_for_before_each_login(
    memory: Memory, tmp_path: Path, capabilities: str, sent: bytes
) -> None:
    script = tmp_path / "token.py"
    script.write_text("print('fresh')\nprint('x' * 100_000)\n")
    command = f"{sys.executable} {script}"
    async with (
        ImapPeer(capabilities=capabilities, password="fresh") as peer,
        working(peer, memory, password=None, oauth_command=command),
    ):
        await peer.heard("EXAMINE")
        assert peer.logins == [sent]


@pytest.mark.parametrize(("mechanism", "last"), [("XOAUTH2", b"\r\n"), ("OAUTHBEARER", b"AQ==\r\n")])
async def test_a_token_that_is_refused_ends_in_the_servers_no(mechanism: str, last: bytes) -> None:
    command = f"{sys.executable} -c \"print('stale')\""
    async with ImapPeer(capabilities=f"SASL-IR AUTH={mechanism}") as peer:
        found = await check_upstream(mailbox(peer, password=None, oauth_command=command))
        assert not found.ok
        assert "Invalid credentials" in found.what
        assert peer.logins[-1] == last


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit(3)", "ended with status 3"),
        ("", "prints no token"),
        ("print('two words')", "prints no token"),
        ("print('x' * 100000)", "prints more than a token"),
        (None, "cannot be run: No such file"),
        ("'", "cannot be run: check its quotes"),
    ],
)
async def test_a_command_that_gives_no_token_is_told(
    peer: ImapPeer, tmp_path: Path, code: str | None, says: str
) -> None:
    script = tmp_path / "token.py"
    script.write_text(code or "")
    command = f"{sys.executable} {script}" if code != "'" else "it's"
    found = await check_upstream(
        mailbox(peer, password=None, oauth_command=command if code is not None else str(tmp_path / "missing"))
    )
    assert not found.ok
    assert says in found.what
    assert "x" * 100 not in found.what


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_over_tls(memory: Memory, security: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    given: dict[str, Any] = {security: server_tls, "capabilities": "IDLE STARTTLS"}
    async with ImapPeer(**given) as peer:
        peer.put(to("support"))
        async with working(peer, memory, backlog=True, server={"security": security, "tls": client_tls}):
            await memory.until(lambda: len(memory.taken) == 1)
        assert peer.commands[: 2 if security == "starttls" else 0] in ([], ["CAPABILITY", "STARTTLS"])


async def test_what_is_put_in_before_tls_and_a_missing_starttls_keep_the_password_home(
    client_tls: ssl.SSLContext, server_tls: ssl.SSLContext
) -> None:
    starttls: dict[str, Any] = {"security": "starttls", "tls": client_tls}
    async with ImapPeer(capabilities="AUTH=PLAIN") as peer:
        found = await check_upstream(mailbox(peer, server=starttls))
        assert "offers no STARTTLS" in found.what
        assert peer.logins == []
    async with ImapPeer(greeting="* PREAUTH welcome", starttls=server_tls) as peer:
        found = await check_upstream(mailbox(peer, server=starttls))
        assert "logged in before" in found.what
    async with ImapPeer(capabilities="STARTTLS AUTH=PLAIN") as peer:
        peer.say("STARTTLS", "OK go\r\n* CAPABILITY IMAP4rev1 AUTH=EVIL")
        found = await check_upstream(mailbox(peer, server=starttls))
        assert "in the clear after STARTTLS" in found.what
        assert peer.logins == []


# -- doctor ------------------------------------------------------------------------------------------------------------


async def test_the_check_says_that_all_is_well_and_changes_nothing(peer: ImapPeer) -> None:
    found = await check_upstream(mailbox(peer))
    assert found.ok
    assert found.what == f"upstream mailbox me at 127.0.0.1:{peer.port} lets us in and tells of new mail"
    assert [line.split()[0] for line in peer.commands] == [
        "CAPABILITY",
        "AUTHENTICATE",
        "CAPABILITY",
        "EXAMINE",
        "LOGOUT",
    ]


async def test_the_check_says_what_to_do(peer: ImapPeer, server_tls: ssl.SSLContext) -> None:
    peer.say("EXAMINE", "NO [NONEXISTENT] no such mailbox")
    found = await check_upstream(mailbox(peer, folder="Agents"))
    assert (found.ok, "mailbox" in found.advice) == (False, True)
    peer.say("AUTHENTICATE", "NO [UNAVAILABLE] back soon")
    assert "network" in (await check_upstream(mailbox(peer))).advice
    peer.say("AUTHENTICATE", "NO [AUTHENTICATIONFAILED] no")
    assert "app password" in (await check_upstream(mailbox(peer))).advice
    async with ImapPeer(tls=server_tls) as secured:
        untrusted: dict[str, Any] = {"security": "tls", "tls": ssl.create_default_context()}
        found = await check_upstream(mailbox(secured, server=untrusted))
        assert "not trusted" in found.what
        assert "ca_file" in found.advice
    port = secured.port
    found = await check_upstream(mailbox(peer, server={"port": port}))
    assert "cannot connect" in found.what
