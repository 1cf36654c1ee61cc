"""The text in attachments: read one after another once mail is here, and kept with it."""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Protocol

import anyio

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import Change, MessageChanged
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.extraction.kinds import supported
from daimon_mcp.mail.parse import AttachmentContent, extract_attachments
from daimon_mcp.operations import handles
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.handles import Held
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes, messages
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import AttachmentText

log = logging.getLogger(__name__)

PENDING = "pending"
"""The `text_status` of a file that nobody has read yet."""
MOST_TRIES = 3
WAIT_SECONDS = 5.0
TURN_SECONDS = 10.0  # after so long no further file of a message is begun: its others wait behind other inboxes
MOST_TEXT = 1_000_000  # characters kept of all files of a message together

_CHARSET = re.compile(r"[A-Za-z0-9_.:+-]{1,40}")
_KNOWN_TEXTS = 256
_Kind = tuple[str, str, str | None]  # SHA-256 of the content, format, charset: what makes two texts the same


class ReadOut(Protocol):
    """What came of reading a file's text; see `extraction.service.Extracted`."""

    @property
    def status(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def facts(self) -> dict[str, int | str]: ...


class Reader(Protocol):
    """Reads the text out of files; see `extraction.service.Extraction`."""

    async def extract(self, content: bytes, content_type: str, filename: str) -> ReadOut: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row of `attachments_readable`."""

    no: int
    id: str
    part: str
    filename: str
    content_type: str
    sha256: str
    status: str
    tries: int
    text_length: int | None


class NotRead(Exception):
    """A file could not be read now, by no fault of its own: it is worth trying again."""


class Extracting:
    """Has what waits read, in turns, and lets callers wait for one file."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: OrderedDict[_Kind, int] = OrderedDict()
        self._wanted: dict[str, int] = {}  # handles whose text somebody waits for, and how many do
        self._turn = 0  # of which inbox a message was read last
        self.is_reading = False
        """Whether somebody reads what is pending, so that it is worth waiting for."""

    async def read_soon(self, actor: Actor, held: Held) -> Held:
        """The same file, after its text was read if that happens within some seconds."""
        rung = anyio.Event()

        def heard(change: Change) -> None:
            if isinstance(change, MessageChanged) and change.message_id == held.message_id:
                rung.set()

        unsubscribe = self._core.bus.subscribe(heard)
        self._wanted[held.id] = self._wanted.get(held.id, 0) + 1
        try:
            with anyio.move_on_after(WAIT_SECONDS):
                while held.text_status == PENDING:
                    rung = anyio.Event()
                    held = await handles.find(self._core, actor, held.id)
                    if held.text_status == PENDING:
                        await rung.wait()
        finally:
            unsubscribe()
            self._wanted[held.id] -= 1
            if not self._wanted[held.id]:
                del self._wanted[held.id]
        return held

    @property
    def awaited_texts(self) -> tuple[str, ...]:
        """Handles of the files whose text somebody waits for."""
        return tuple(self._wanted)

    async def pending(self) -> bool:
        """Whether the text of a file waits to be read."""
        return await self._core.database.one(sql.attachments_next, from_seq=0) is not None

    async def read_next(self, reader: Reader) -> bool:
        """Read the files of the message whose turn it is, and keep their texts; False when none waits.

        What somebody waits for goes first, alone. Then the inboxes take turns, the oldest message of each, for about
        `TURN_SECONDS`. Files are counted before they are tried, so that one which takes its reader down is given up;
        after a try they are read one by one. Raises NotRead when it is worth trying again later. Safe to cancel and
        to kill: a text is kept whole, once, or the file still waits.
        """
        database = self._core.database
        for handle in self.awaited_texts:
            row = await database.one(sql.attachment_by_id, id=handle)
            if row is not None and row[11] == PENDING:
                await self._read_message(reader, row[2], handle)
                return True
        row = await database.one(sql.attachments_next, from_seq=messages.last_seq(self._turn))
        row = row or await database.one(sql.attachments_next, from_seq=0)
        if row is None:
            return False
        self._turn = row[0] >> messages.SEQ_BITS
        await self._read_message(reader, row[0], None)
        return True

    async def _read_message(self, reader: Reader, seq: int, only: str | None) -> None:
        """Read what waits of one message, or of it the file with the handle `only`, and keep it in one write."""
        readable = [_Waiting(*row) for row in await self._core.database.all(sql.attachments_readable, seq=seq)]
        done = [
            AttachmentText(each.no, None, "skipped", {})
            for each in readable[messages.MOST_READ :]
            if each.status == PENDING
        ]
        waiting = [each for each in readable[: messages.MOST_READ] if each.status == PENDING]
        room = MOST_TEXT - sum(each.text_length or 0 for each in readable)
        if only is not None:
            batch = [each for each in waiting if each.id == only]
        elif waiting and waiting[0].tries:
            batch = waiting[:1]
        else:
            batch = list(takewhile(lambda each: not each.tries, waiting))
        if batch and batch[0].tries >= MOST_TRIES:
            done.append(AttachmentText(batch[0].no, None, "damaged", {}))
            batch = []
        if not batch:
            await self._keep(seq, done, [])
            return
        counted = [each.no for each in batch]
        with anyio.CancelScope(shield=True):  # so that it is known below whether they were counted
            await self._core.database.write(lambda tx: [tx.run(sql.attachment_try, attachment_no=no) for no in counted])
        tried: list[int] = []
        try:
            await self._read_files(reader, seq, batch, room // len(waiting), done, tried, may_stop=only is None)
        except (anyio.get_cancelled_exc_class(), Refused):
            # The server stops, or its disk is gone: that says nothing against the file.
            tried = tried[:-1]
            raise
        except Exception:
            tried = tried or counted[:1]  # what breaks before the first file must not be tried for ever
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._keep(seq, done, [no for no in counted if no not in tried])

    async def _read_files(
        self,
        reader: Reader,
        seq: int,
        batch: Sequence[_Waiting],
        share: int,
        done: list[AttachmentText],
        tried: list[int],
        *,
        may_stop: bool,
    ) -> None:
        """Read files of one message into `done`, at most `share` characters of each.

        `tried` gets their numbers as they are handed to the reader. Raises NotRead.
        """
        contents = await self._contents(seq, [each.part for each in batch])
        until = anyio.current_time() + TURN_SECONDS
        texts: dict[_Kind, AttachmentText] = {}
        for place, each in enumerate(batch):
            if place and may_stop and (self._wanted or anyio.current_time() >= until):
                return
            content = contents.pop(each.part, None)
            if content is None:
                log.error("an attachment's bytes are lost, number %d", each.no)
                done.append(AttachmentText(each.no, None, "damaged", {}))
                continue
            charset = content.charset if content.charset and _CHARSET.fullmatch(content.charset) else None
            kind = (each.sha256, supported(each.content_type, each.filename) or "", charset)
            text = texts.get(kind) or await self._same(kind)
            if text is None:
                tried.append(each.no)
                said = f"{each.content_type}; charset={charset}" if charset else each.content_type
                read = await reader.extract(content.octets, said, each.filename)
                if read.status == "failed" and each.tries + 1 < MOST_TRIES:
                    raise NotRead
                facts = {**read.facts, **({"truncated": 1} if read.truncated else {})}
                text = AttachmentText(each.no, read.text if read.status == "ok" else None, read.status, facts)
            is_whole = len(text.text or "") <= share
            if text.text is not None and not is_whole:
                text = replace(text, text=text.text[:share], facts={**text.facts, "truncated": 1})
            texts[kind] = text
            done.append(replace(text, no=each.no))
            if text.status != "failed" and is_whole:
                self._known[kind] = each.no
                if len(self._known) > _KNOWN_TEXTS:
                    self._known.popitem(last=False)

    async def _contents(self, seq: int, parts: Sequence[str]) -> dict[str, AttachmentContent]:
        """Parts of a message, as far as they are there."""
        row = await self._core.database.one(sql.message_by_seq, seq=seq)
        assert row is not None
        try:
            raw = await self._core.blobs.get(self._core.database, messages.message_of(row).blob_hash)
        except LookupError:
            return {}
        return await handles.on_opener(partial(extract_attachments, raw, parts), len(raw))

    async def _same(self, kind: _Kind) -> AttachmentText | None:
        """What was read out of the same content a while ago, if it was."""
        known = self._known.get(kind)
        row = await self._core.database.one(sql.attachment_text, attachment_no=known) if known is not None else None
        if known is None or row is None or row[1] in (None, PENDING) or row[3] != kind[0]:
            return None
        return AttachmentText(known, row[0], row[1], json.loads(row[2] or "{}"))

    async def _keep(self, seq: int, texts: Sequence[AttachmentText], untried: Sequence[int]) -> None:
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            for no in untried:
                tx.run(sql.attachment_untry, attachment_no=no)
            if not texts:
                return
            message = messages.in_tx(tx, seq)
            if messages.set_attachment_texts(tx, message, texts, at=now):
                inbox = inboxes.one_in(tx, message.inbox_no)
                tx.announce(MessageChanged(inbox.account_no, inbox.no, message.inbox_id, message.id, message.thread_id))

        if texts or untried:
            await self._core.database.write(run)
