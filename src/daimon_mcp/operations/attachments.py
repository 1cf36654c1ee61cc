"""Attachments by handle: what they are, the text in them, where to fetch them, and files handed over for sending.

No bytes pass through a model. They travel by links that anybody may use who holds them (a short while, one file), or
through a folder on this machine.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import anyio
from pydantic import Field

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.changes import Change, MessageChanged
from daimon_mcp.domain.clock import DAY, HOUR, MINUTE, SECOND, iso
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.refusals import Fact, FieldProblem, RefusalCode, Refused, invalid
from daimon_mcp.extraction.kinds import supported
from daimon_mcp.mail.filenames import safe_filename
from daimon_mcp.mail.parse import AttachmentContent, extract_attachments
from daimon_mcp.operations import access, handles
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.operations.handles import OCTETS, Held
from daimon_mcp.operations.messages import CHARS_PER_TOKEN, clip
from daimon_mcp.operations.requests import Id, Request, refuse
from daimon_mcp.store import accounts, inboxes, messages
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.blobs import PreparedBlob
from daimon_mcp.store.database import Row, Transaction, is_unavailable
from daimon_mcp.store.files_folder import FilesFolder, FolderFull, NoSuchFile, TooLarge
from daimon_mcp.store.messages import AttachmentText

log = logging.getLogger(__name__)

LINK_LIFETIME = 15 * MINUTE
UPLOAD_LIFETIME = 7 * DAY  # longer than a client_id is remembered: a repeated send finds its files again
MOST_UPLOADS = 200  # of one account at a time, beside those of its inboxes
MOST_UPLOADS_OF_INBOX = 100
MOST_TRIES = 3
WAIT_SECONDS = 5.0
TURN_SECONDS = 10.0  # after so long no further file of a message is begun: its others wait behind other inboxes
MOST_TEXT = 1_000_000  # characters kept of all files of a message together
RECENT_OCTETS = 32 * 1024 * 1024

_TOKEN = re.compile(r"(att_[0-9a-z]{26})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
_UPLOAD_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")
_CHARSET = re.compile(r"[A-Za-z0-9_.:+-]{1,40}")
_KNOWN_TEXTS = 256
_PENDING = "pending"
_T = TypeVar("_T")
_Kind = tuple[str, str, str | None]  # SHA-256 of the content, format, charset: what makes two texts the same


class GetAttachment(Request):
    attachment_id: Annotated[Id, Field(description="att_ id")]
    max_tokens: Annotated[int, Field(ge=100, le=25_000, description="Of its text")] = 3000
    offset: Annotated[int, Field(ge=0, description="Characters of its text to skip")] = 0
    save: Annotated[bool, Field(description="Write it to the files folder of the server's machine")] = False


class UploadAttachment(Request):
    filename: Annotated[str | None, Field(min_length=1, max_length=255, description="Its name in the mail")] = None
    content_type: Annotated[str | None, Field(pattern=r"^[\w.+-]+/[\w.+-]+$", max_length=100)] = None
    inbox: Annotated[Id | None, Field(description="id or address, to keep it to that inbox")] = None
    path: Annotated[
        str | None,
        Field(min_length=1, max_length=1000, description="Take a file of the server's files folder, instead of a URL"),
    ] = None


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


@dataclass(frozen=True, slots=True)
class Expected:
    """A file that is awaited at an upload link."""

    no: int
    held: Held
    content_type: str | None


class Attachments:
    """The verbs about files, and what stands behind their links."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._key = credentials.derive("downloads")
        self._folder = FilesFolder(core.policy.files_folder, core.policy.files_bytes)
        self._linked_until = 0
        self._known: OrderedDict[_Kind, int] = OrderedDict()
        self._wanted: dict[str, int] = {}  # handles whose text somebody waits for, and how many do
        self._turn = 0  # of which inbox a message was read last
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._loading = asyncio.Lock()  # one file is taken out of its mail at a time
        self.is_reading = False
        """Whether somebody reads what is pending, so that it is worth waiting for."""

    # -- verbs ---------------------------------------------------------------------------------------------------------

    async def get_attachment(self, actor: Actor, request: GetAttachment) -> Outcome:
        """A file's facts, a window of its text, a link to fetch it; with `save`, where it was written.

        Raises ATTACHMENT_NOT_FOUND, INVALID_REQUEST and STORE_UNAVAILABLE for what cannot be saved.
        """
        actor.require("message_read")
        if request.save and actor.read_only:
            raise Refused(RefusalCode.FORBIDDEN, reason="READ_ONLY", facts={"permission": "save"})
        core = self._core
        held = await handles.find(core, actor, request.attachment_id)
        if held.text_status == _PENDING and self.is_reading:
            held = await self._read_soon(actor, held)
        text, next_offset = clip(held.text or "", request.offset, request.max_tokens)
        found: dict[str, Any] = json.loads(held.facts_json) if held.facts_json else {}
        status = held.text_status or "none"
        result: dict[str, Any] = {
            "id": held.id,
            "message_id": held.message_id,
            "filename": held.filename,
            "content_type": held.content_type,
            "size": held.size,
            "sha256": held.sha256 or None,
            "disposition": held.disposition,
            "text_status": status,
            "extracted_text": text if status == "ok" else None,
            "est_tokens": -(-len(held.text or "") // CHARS_PER_TOKEN),
            "truncated": next_offset is not None,
            "next_offset": next_offset,
            "incomplete": bool(found.pop("truncated", False)),
            "facts": found,
            "untrusted": held.message_id is not None,
        }
        if held.blob_hash is not None:
            result |= self._link(held)
            if request.save:
                result["path"] = str(await self._save(actor, held))
        facts: dict[str, Fact] = {
            "attachment": held.id,
            "status": status,
            "next_offset": next_offset,
            "url": "yes" if "download_url" in result else None,
            "saved": "yes" if "path" in result else None,
            "awaited": "yes" if held.blob_hash is None else None,
            "incomplete": "yes" if result["incomplete"] else None,
        }
        kind = "awaited" if held.blob_hash is None else status if status in ("ok", _PENDING, "none") else "unread"
        if kind == _PENDING and not self.is_reading:  # as the operator wants it
            kind = "none"
        return Outcome(key=f"get_attachment.{kind}", result=result, facts=facts)

    async def upload_attachment(self, actor: Actor, request: UploadAttachment) -> Outcome:
        """A handle for a file, and the link it is to be put to; or the file itself, taken from the files folder.

        Raises INVALID_REQUEST, INBOX_NOT_FOUND, RATE_LIMIT_EXCEEDED (too many files wait), MESSAGE_TOO_LARGE.
        """
        if not any(actor.holds(each) for each in ("message_send", "message_reply", "draft_write")):
            actor.require("message_send")
        inbox_no = actor.inbox_no
        if request.inbox is not None:
            inbox_no = (await access.inbox(self._core, actor, request.inbox)).no
        if request.path is not None:
            return await self._take(actor, request, request.path, inbox_no)
        if request.filename is None:
            raise refuse([FieldProblem("filename", "is required", '"report.pdf"')])
        if not self._core.has_http:
            problem = "is required: this server listens on no HTTP port to which the file could be sent"
            raise refuse([FieldProblem("path", problem, '"report.pdf"')])
        token = secrets.token_urlsafe(24)
        filename = safe_filename(request.filename, part="file", content_type=request.content_type or OCTETS)
        expires_at = self._core.clock.now() + LINK_LIFETIME
        public_id = await self._insert(actor, inbox_no, filename, request.content_type or "", expires_at, token=token)
        self._linked_until = max(self._linked_until, expires_at)
        result = {
            "id": public_id,
            "filename": filename,
            "content_type": request.content_type,
            "upload_url": f"{self._core.public_url}/uploads/{token}",
            "method": "PUT",
            "max_bytes": self._core.policy.max_message_bytes,
            "expires_at": iso(expires_at),
        }
        return Outcome(key="upload_attachment.awaited", result=result, facts={"attachment": public_id})

    # -- links ---------------------------------------------------------------------------------------------------------

    def link_open(self) -> bool:
        """Whether somebody may still use a link that this process gave out."""
        return self._linked_until > self._core.clock.now()

    def _link(self, held: Held) -> dict[str, Any]:
        """A download link, where there is somebody to answer it."""
        if not self._core.has_http:
            return {}
        expires = (self._core.clock.now() + LINK_LIFETIME) // SECOND
        self._linked_until = max(self._linked_until, expires * SECOND)
        return {
            "download_url": f"{self._core.public_url}/files/{held.id}.{expires}.{self._signature(held.id, expires)}",
            "expires_at": iso(expires * SECOND),
        }

    def _signature(self, public_id: str, expires: int) -> str:
        mac = hmac.new(self._key, f"{public_id}|{expires}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).decode().rstrip("=")

    async def fetch(self, token: str) -> Held:
        """The file that a download link names. Raises LINK_NOT_VALID (reason `FILE_UNKNOWN` or `FILE_EXPIRED`)."""
        parts = _TOKEN.fullmatch(token)
        if parts is None or not hmac.compare_digest(parts[3], self._signature(parts[1], int(parts[2]))):
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
        if int(parts[2]) * SECOND <= self._core.clock.now():
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_EXPIRED")
        held = await handles.lookup(self._core, parts[1])
        if held is None or held.blob_hash is None:
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
        return replace(held, account_no=await self._owner(held))

    async def _owner(self, held: Held) -> int:
        """The number of the account whose file it is. Raises LINK_NOT_VALID when that may not have it any more."""
        account_no = held.account_no
        if held.inbox_no is not None:
            inbox = await inboxes.by_no(self._core.database, held.inbox_no)
            if inbox is None or inbox.deleted_at is not None:
                raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
            account_no = inbox.account_no
        assert account_no is not None
        account = await accounts.account_by_no(self._core.database, account_no)
        if account.status is not AccountStatus.ACTIVE:
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
        return account_no

    async def content(self, held: Held) -> bytes:
        """The bytes of a file; those of the last ones are kept for a while. Raises LookupError when they are lost."""
        if (content := self._recently(held.sha256)) is not None:
            return content
        async with self._loading:
            if (content := self._recently(held.sha256)) is not None:
                return content
            content = await handles.content_of(self._core, held)
            if held.sha256 and len(content) <= RECENT_OCTETS:
                self._recent[held.sha256] = content
                total = sum(map(len, self._recent.values()))
                while total > RECENT_OCTETS:
                    total -= len(self._recent.popitem(last=False)[1])
            return content

    def _recently(self, sha256: str) -> bytes | None:
        content = self._recent.get(sha256)
        if content is not None:
            self._recent.move_to_end(sha256)
        return content

    async def awaited(self, token: str) -> Expected:
        """What is to be put to an upload link.

        Raises LINK_NOT_VALID (reason `FILE_UNKNOWN`, `FILE_EXPIRED` or `FILE_USED`).
        """
        row: Row | None = None
        if _UPLOAD_TOKEN.fullmatch(token):
            row = await self._core.database.one(sql.upload_by_token, token_sha256=_token_hash(token))
        if row is None:
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
        held = handles.of_upload(row)
        if held.blob_hash is not None:
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_USED")
        if (held.expires_at or 0) <= self._core.clock.now():
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_EXPIRED")
        await self._owner(held)
        return Expected(row[0], held, row[5] or None)

    async def received(self, expected: Expected, content: bytes, content_type: str | None) -> Outcome:
        """Keep what was put to an upload link. Raises LINK_NOT_VALID (reason `FILE_USED`) when somebody was first."""
        held = expected.held
        blob = await self._core.blobs.prepare(content)
        kind = expected.content_type or content_type or handles.guessed(held.filename)
        now = self._core.clock.now()
        expires_at = now + UPLOAD_LIFETIME

        def run(tx: Transaction) -> None:
            self._core.blobs.put(tx, blob, now)
            filled = tx.one(
                sql.upload_fill,
                upload_no=expected.no,
                new_blob_hash=blob.hash,
                new_size=blob.size,
                new_content_type=kind,
                new_expires_at=expires_at,
            )
            if filled is None:
                raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_USED")

        await self._core.database.write(run)
        return _received(held.id, held.filename, kind, blob, expires_at)

    async def scratch(self) -> Path:
        """A folder for files that are coming in. Raises STORE_UNAVAILABLE."""
        with spooling():
            return await asyncio.to_thread(self._core.blobs.scratch)

    async def sweep(self) -> None:
        """Forget uploads whose time is over."""
        now = self._core.clock.now()
        if await self._core.database.one(sql.upload_expired_one, now=now) is not None:
            await self._core.database.write(lambda tx: tx.run(sql.uploads_expired, now=now))

    async def _insert(
        self,
        actor: Actor,
        inbox_no: int | None,
        filename: str,
        content_type: str,
        expires_at: int,
        *,
        token: str | None = None,
        blob: PreparedBlob | None = None,
    ) -> str:
        now = self._core.clock.now()
        public_id = new_id("att", now)

        most = MOST_UPLOADS if inbox_no is None else MOST_UPLOADS_OF_INBOX

        def run(tx: Transaction) -> None:
            held = tx.one(sql.uploads_count, account_no=actor.account_no, inbox_no=inbox_no or 0, now=now)
            assert held is not None
            count, first_end = held
            if count >= most:
                facts: dict[str, Fact] = {"limit": most}
                seconds = -(-(first_end - now) // SECOND)
                raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="UPLOADS_WAIT", facts=facts, retry_after=seconds)
            if blob is not None:
                self._core.blobs.put(tx, blob, now)
            tx.run(
                sql.upload_insert,
                id=public_id,
                account_no=actor.account_no,
                inbox_no=inbox_no,
                filename=filename,
                content_type=content_type,
                size=blob.size if blob else None,
                blob_hash=blob.hash if blob else None,
                token_sha256=_token_hash(token) if token else None,
                created_at=now,
                expires_at=expires_at,
            )

        await self._core.database.write(run)
        return public_id

    # -- the files folder -------------------------------------------------------------------------------------------

    async def _parts(self, actor: Actor) -> Sequence[str]:
        """Where in the folder an actor is at home: what one saved, another cannot take.

        This machine's own account has the folder itself, beside those of the others.
        """
        row = await self._core.database.one(sql.meta_get, key=accounts.LOCAL_ACCOUNT)
        if actor.inbox_no is not None:
            inbox = await inboxes.by_no(self._core.database, actor.inbox_no)
            assert inbox is not None
            return (actor.account_id, inbox.id)
        return () if row is not None and int(row[0]) == actor.account_no else (actor.account_id,)

    async def _save(self, actor: Actor, held: Held) -> Path:
        parts = await self._parts(actor)
        content = await self.content(held)
        name = safe_filename(held.filename, part="file", content_type=held.content_type)
        try:
            others = "acc_" if not parts else None
            return await self._on_disk("save", partial(self._folder.save, parts, name, content, without=others))
        except FolderFull:
            raise invalid("save", "is not possible: the files folder is full") from None

    async def _take(self, actor: Actor, request: UploadAttachment, path: str, inbox_no: int | None) -> Outcome:
        most = self._core.policy.max_message_bytes
        parts = await self._parts(actor)
        others = "acc_" if not parts else None
        try:
            name, content = await self._on_disk("path", partial(self._folder.load, parts, path, most, without=others))
        except NoSuchFile:
            raise invalid("path", "is not a file of the files folder", '"report.pdf"') from None
        except TooLarge:
            raise Refused(RefusalCode.MESSAGE_TOO_LARGE, reason="FILE", facts={"limit": most}) from None
        kind = request.content_type or handles.guessed(request.filename or name)
        filename = safe_filename(request.filename or name, part="file", content_type=kind)
        blob = await self._core.blobs.prepare(content)
        expires_at = self._core.clock.now() + UPLOAD_LIFETIME
        public_id = await self._insert(actor, inbox_no, filename, kind, expires_at, blob=blob)
        return _received(public_id, filename, kind, blob, expires_at)

    @staticmethod
    async def _on_disk(field: str, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            log.warning("the files folder: %s", error.strerror)
            if is_unavailable(error):
                raise Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=30) from error
            raise invalid(field, "is not possible: the files folder cannot be used") from None

    # -- texts ------------------------------------------------------------------------------------------------------

    async def _read_soon(self, actor: Actor, held: Held) -> Held:
        """The same file, after its text was read if that happens within some seconds."""
        rung = anyio.Event()

        def heard(change: Change) -> None:
            if isinstance(change, MessageChanged) and change.message_id == held.message_id:
                rung.set()

        unsubscribe = self._core.bus.subscribe(heard)
        self._wanted[held.id] = self._wanted.get(held.id, 0) + 1
        try:
            with anyio.move_on_after(WAIT_SECONDS):
                while held.text_status == _PENDING:
                    rung = anyio.Event()
                    held = await handles.find(self._core, actor, held.id)
                    if held.text_status == _PENDING:
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
            if row is not None and row[11] == _PENDING:
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
            if each.status == _PENDING
        ]
        waiting = [each for each in readable[: messages.MOST_READ] if each.status == _PENDING]
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
        if known is None or row is None or row[1] in (None, _PENDING) or row[3] != kind[0]:
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


SWEEP_EVERY = HOUR // SECOND


@contextmanager
def spooling() -> Generator[None]:
    """Files are written inside: a disk that is full or gone is STORE_UNAVAILABLE, and no error of ours."""
    try:
        yield
    except OSError as error:
        if is_unavailable(error):
            raise Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=30) from error
        raise


def _received(public_id: str, filename: str, kind: str, blob: PreparedBlob, expires_at: int) -> Outcome:
    result = {
        "id": public_id,
        "filename": filename,
        "content_type": kind,
        "size": blob.size,
        "sha256": blob.hash,
        "expires_at": iso(expires_at),
    }
    return Outcome(key="upload_attachment.received", result=result, facts={"attachment": public_id})


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
