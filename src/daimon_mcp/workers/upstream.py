"""Fetches mail from a mailbox elsewhere, and leaves alone there what is for nobody here.

Headers are read first; a body only when an inbox here is meant. How far the mailbox has been read is stored together
with the mail that was found (`Fetching`), so that a message is taken once, whenever this process ends. What is then to
be done to it there (marked, deleted, moved) is remembered until it is done.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import anyio
import anyio.abc

from daimon_mcp.domain.clock import SECOND, Clock
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.upstream import DeliveryFields, FetchedMail, Place, UpstreamRule
from daimon_mcp.logs import new_cid
from daimon_mcp.mail.delivered import delivery_fields
from daimon_mcp.workers.imap import Imap, Listed, Selected, connected
from daimon_mcp.workers.imap_wire import CommandFailed, ConnectionLost, ImapError, LoginFailed, Server, TooLarge
from daimon_mcp.workers.oauth import NoToken, access_token

log = logging.getLogger(__name__)

HEADERS_AT_ONCE = 50
CHANGES_AT_ONCE = 200
REFUSALS = 3
"""How often a server may refuse to show a message before it is left where it is."""
BREAKS = 10
"""How often a connection may break over one message before that is left where it is."""

QUICK = 0.5
"""Seconds between two looks in a row, should a server speak of new mail with every command."""


class Fetching(Protocol):
    """What the core does for us. Every method has committed when it returns, and raises Refused."""

    async def place(self, name: str) -> Place | None:
        """How far a mailbox has been read; None when it never was."""
        ...

    async def begin(self, name: str, place: Place) -> None:
        """Read on from there: the first time, and when a mailbox has numbered its mail anew."""
        ...

    async def who(self, candidates: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        """The addresses of the first of `candidates` that has any with an inbox; only those with one."""
        ...

    async def receive_fetched(self, mail: FetchedMail) -> bool:
        """Take a message in and set the place to it, in one transaction; False when it had been taken before."""
        ...

    async def skip(self, name: str, uidvalidity: int, uid: int) -> None:
        """Set the place to a message that is not taken."""
        ...

    async def untidied(self, name: str, uidvalidity: int) -> list[int]:
        """The UIDs of mail taken with `tidy` for which `tidied` has not been called."""
        ...

    async def tidied(self, name: str, uidvalidity: int, uids: Sequence[int]) -> None:
        """What was to be done to these has been done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """The mailbox elsewhere, how to get in, and what becomes of its mail: `keep`, `seen`, `delete` or `move:FOLDER`."""

    server: Server
    username: str
    password: str | None = None
    oauth_command: str | None = None
    folder: str = "INBOX"
    backlog: bool = False
    after: str = "keep"
    poll_seconds: float = 60.0
    idle_seconds: float = 540.0  # well below the 29 minutes of RFC 2177, to find out about dead connections


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Seconds between tries after a failure, doubled each time: from `first`, or from `login` where the server does not
    let us in, to `longest`."""

    first: float = 5.0
    login: float = 300.0
    longest: float = 1800.0


@dataclass(slots=True)
class Counts:
    """What became of the messages seen since the start."""

    taken: int = 0
    known: int = 0
    left_alone: int = 0
    too_large: int = 0
    unreadable: int = 0


class UpstreamWorker:
    """One task for one mailbox.

    `note` is told what the operator should know, as one sentence without secrets, and None when all is well again.
    """

    def __init__(
        self,
        *,
        fetching: Fetching,
        mailbox: Mailbox,
        rule: UpstreamRule,
        clock: Clock,
        max_message_bytes: int,
        note: Callable[[str | None], None],
        pauses: Pauses = Pauses(),
    ) -> None:
        self._fetching = fetching
        self._mailbox = mailbox
        self._rule = rule
        self._clock = clock
        self._max_bytes = max_message_bytes
        self._note = note
        self._pauses = pauses
        self._name = f"{rule.address} {mailbox.folder}"
        self._uidvalidity = 0
        self._pause = 0.0
        self._trouble: Counter[int] = Counter()
        self._told: str | None = None
        self._left = ""  # what is wrong although mail is fetched
        self.counts = Counts()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled, whatever the server does."""
        task_status.started()
        while True:
            new_cid()
            await asyncio.sleep(self._next_pause(await self._try_session()))

    async def _try_session(self) -> float:
        """A session until it fails; the least number of seconds to wait before the next."""
        try:
            await self._session()
        except (LoginFailed, NoToken) as error:
            self._tell(f"{error}. Check username and password or oauth_command in [upstream].")
            return self._pauses.login
        except Refused as refused:
            log.warning("mail cannot be fetched now: %s", refused.code)
            return max(self._pauses.first, float(refused.retry_after or 0))
        except ConnectionLost as error:
            log.warning("%s: %s", self._where, error)
            if self._pause >= self._pauses.first * 4:  # now and then every connection breaks
                self._tell(str(error))
        except ImapError as error:
            self._tell(str(error))
        except Exception:
            log.exception("fetching mail stumbled and goes on")
        return self._pauses.first

    def _next_pause(self, least: float) -> float:
        self._pause = min(max(least, self._pause * 2), max(least, self._pauses.longest))
        return self._pause * random.uniform(0.75, 1.0)  # noqa: S311  so that not all come back at once

    @property
    def _where(self) -> str:
        return f"the mailbox {self._rule.address} at {self._mailbox.server.host}"

    def _tell(self, problem: str | None) -> None:
        if problem == self._told:
            return
        self._told = problem
        if problem is None:
            log.info("%s is read", self._where)
            self._note(None)
        else:
            log.error("%s: %s", self._where, problem)
            self._note(f"mail of {self._where} is not fetched as it should be: {problem}")

    async def _session(self) -> None:
        async with connected(self._mailbox.server) as imap:
            await log_in(imap, self._mailbox)
            selected = await imap.select(self._mailbox.folder, read_only=self._mailbox.after == "keep")
            if selected.read_only and self._mailbox.after != "keep":
                self._left = 'the folder can only be read, and [upstream] after is not "keep"'
            place = await self._begin(imap, selected)
            while True:
                place = await self._catch_up(imap, place)
                await self._tidy(imap)
                self._pause = 0.0
                self._tell(self._left or None)
                await self._wait(imap)

    async def _begin(self, imap: Imap, selected: Selected) -> Place:
        """Where to read on. The first time that is the end of the mailbox, unless its backlog is wanted."""
        place = await self._fetching.place(self._name)
        self._uidvalidity = selected.uidvalidity
        if place is not None and place.uidvalidity == selected.uidvalidity:
            return place
        self._trouble.clear()
        if place is not None:
            log.warning("%s has numbered its mail anew; what is known is not taken again", self._where)
            place = Place(selected.uidvalidity, 0, place.since, await _last_uid(imap, selected))
        elif self._mailbox.backlog:
            place = Place(selected.uidvalidity, 0, 0)
        else:
            last = await _last_uid(imap, selected)
            place = Place(selected.uidvalidity, last, self._clock.now() // SECOND * SECOND)
        await self._fetching.begin(self._name, place)
        return place

    async def _wait(self, imap: Imap) -> None:
        if imap.news:  # since the list was asked for
            await asyncio.sleep(QUICK)
        elif "IDLE" in imap.capabilities:
            try:
                await imap.idle(self._mailbox.idle_seconds)
            except CommandFailed as error:
                log.info("%s: %s; looking every %s seconds", self._where, error, self._mailbox.poll_seconds)
                imap.capabilities -= {"IDLE"}
        else:
            await asyncio.sleep(self._mailbox.poll_seconds)

    async def _catch_up(self, imap: Imap, place: Place) -> Place:
        """Everything after `place`; the new one."""
        await imap.noop()
        imap.news = False
        listed = await imap.listed_after(place.last_uid)
        before = (self.counts.taken, self.counts.left_alone)
        for start in range(0, len(listed), HEADERS_AT_ONCE):
            await self._batch(imap, place, listed[start : start + HEADERS_AT_ONCE])
        if listed:
            taken, left = self.counts.taken - before[0], self.counts.left_alone - before[1]
            log.info("%s: %d messages taken, %d for no inbox here left alone", self._where, taken, left)
            place = replace(place, last_uid=listed[-1].uid)
        return place

    async def _batch(self, imap: Imap, place: Place, batch: Sequence[Listed]) -> None:
        wanted = [each for each in batch if place.is_wanted(each.uid, each.internal_date)]
        headers = await imap.headers([each.uid for each in wanted]) if wanted else {}
        fields = await asyncio.to_thread(lambda: {uid: delivery_fields(header) for uid, header in headers.items()})
        last_taken = 0
        for each in wanted:
            found = fields.get(each.uid)
            if found is None:
                continue  # somebody has deleted it
            recipients = await self._fetching.who(self._rule.candidates(found))
            if not recipients:
                self.counts.left_alone += 1
            elif await self._take(imap, each, recipients, found):
                last_taken = each.uid
        if last_taken < batch[-1].uid:
            await self._fetching.skip(self._name, self._uidvalidity, batch[-1].uid)

    async def _take(self, imap: Imap, each: Listed, recipients: tuple[str, ...], fields: DeliveryFields) -> bool:
        """Whether the place has been set to this message, by taking it in."""
        content = await self._content(imap, each)
        if content is None:
            return False
        mail = FetchedMail(
            name=self._name,
            host=self._mailbox.server.host,
            uidvalidity=self._uidvalidity,
            uid=each.uid,
            recipients=recipients,
            mail_from=fields.return_path,
            content=content,
            tidy=self._mailbox.after != "keep",
        )
        try:
            new = await self._fetching.receive_fetched(mail)
        except Refused as refused:
            if refused.code is RefusalCode.STORE_UNAVAILABLE:
                raise
            log.warning("%s: message UID %d is left there: %s", self._where, each.uid, refused.code)
            self.counts.left_alone += 1
            return False
        if new:
            self.counts.taken += 1
        else:
            self.counts.known += 1
        return True

    async def _content(self, imap: Imap, each: Listed) -> bytes | None:
        """The message; None when it is to be left where it is. What may be better next time ends the session."""
        uid = each.uid
        if each.size > self._max_bytes:
            await self._leave_large(uid)
            return None
        if self._trouble[uid] >= BREAKS:
            await self._leave_unreadable(uid)
            return None
        try:
            content = await imap.content(uid, self._max_bytes)
        except TooLarge:
            await self._leave_large(uid)
            raise ConnectionLost(f"message UID {uid} is larger than the server said") from None
        except CommandFailed as error:
            self._trouble[uid] += BREAKS // REFUSALS + 1
            raise ConnectionLost(f"message UID {uid}: {error}") from None
        except ImapError:
            self._trouble[uid] += 1
            raise
        if not content and each.size:
            if any(left.uid == uid for left in await imap.listed_after(uid - 1)):
                await self._leave_unreadable(uid)
            return None
        del self._trouble[uid]
        if content is not None and len(content) > self._max_bytes:
            await self._leave_large(uid)
            return None
        return content

    async def _leave_large(self, uid: int) -> None:
        self.counts.too_large += 1
        await self._leave(uid, f"message UID {uid} is larger than [smtp] max_message_bytes and was left there")

    async def _leave_unreadable(self, uid: int) -> None:
        self.counts.unreadable += 1
        await self._leave(uid, f"the server does not show message UID {uid}, which was left there")

    async def _leave(self, uid: int, why: str) -> None:
        del self._trouble[uid]
        self._left = why
        log.error("%s: %s", self._where, why)
        await self._fetching.skip(self._name, self._uidvalidity, uid)

    async def _tidy(self, imap: Imap) -> None:
        """Do to mail that is safe here what was asked for; what has been done before is done again, to no effect."""
        if self._mailbox.after == "keep":
            return
        uids = await self._fetching.untidied(self._name, self._uidvalidity)
        for start in range(0, len(uids), CHANGES_AT_ONCE):
            some = uids[start : start + CHANGES_AT_ONCE]
            try:
                await _change(imap, self._mailbox.after, some)
            except CommandFailed as error:
                self._left = f"mail is fetched, but the server refuses what [upstream] after asks for: {error.text}"
                return
            await self._fetching.tidied(self._name, self._uidvalidity, some)


async def _last_uid(imap: Imap, selected: Selected) -> int:
    """That no message of the folder has a greater one than."""
    if selected.uidnext is not None:
        return selected.uidnext - 1
    return max((each.uid for each in await imap.listed_after(0)), default=0)


async def log_in(imap: Imap, mailbox: Mailbox) -> None:
    """By a fresh token where a command gives them, else by the password. Raises ImapError, NoToken."""
    if mailbox.oauth_command is not None:
        await imap.log_in(mailbox.username, token=await access_token(mailbox.oauth_command))
    else:
        await imap.log_in(mailbox.username, password=mailbox.password)


async def _change(imap: Imap, after: str, uids: Sequence[int]) -> None:
    choice, _, folder = after.partition(":")
    if choice == "seen":
        await imap.mark_seen(uids)
    elif choice == "delete":
        await imap.delete(uids)
    else:
        await imap.move(uids, folder)
