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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
from daimon_mcp.mail.parse import extract_attachment
from daimon_mcp.operations import access, handles
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.operations.handles import OCTETS, Held
from daimon_mcp.operations.messages import CHARS_PER_TOKEN, clip
from daimon_mcp.operations.reading import on_parser
from daimon_mcp.operations.requests import Id, Request, refuse
from daimon_mcp.store import accounts, inboxes, messages
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.blobs import PreparedBlob
from daimon_mcp.store.database import Row, Transaction, is_unavailable
from daimon_mcp.store.files_folder import FilesFolder, FolderFull, NoSuchFile, TooLarge

log = logging.getLogger(__name__)

LINK_LIFETIME = 15 * MINUTE
UPLOAD_LIFETIME = 7 * DAY  # longer than a client_id is remembered: a repeated send finds its files again
MOST_UPLOADS = 200  # of one account at a time
MOST_TRIES = 3
WAIT_SECONDS = 5.0

_TOKEN = re.compile(r"(att_[0-9a-z]{26})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
_UPLOAD_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")
_KNOWN_TEXTS = 256
_PENDING = "pending"
_T = TypeVar("_T")


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
        self._known: OrderedDict[tuple[str, str], int] = OrderedDict()
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
        if held is None or held.blob_hash is None or not await self._is_there(held):
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
        return held

    async def _is_there(self, held: Held) -> bool:
        """Whether whose file it is may still have it."""
        account_no = held.account_no
        if held.inbox_no is not None:
            inbox = await inboxes.by_no(self._core.database, held.inbox_no)
            if inbox is None or inbox.deleted_at is not None:
                return False
            account_no = inbox.account_no
        assert account_no is not None
        account = await accounts.account_by_no(self._core.database, account_no)
        return account.status is AccountStatus.ACTIVE

    async def content(self, held: Held) -> bytes:
        """The bytes of a file. Raises LookupError when they are lost."""
        return await handles.content_of(self._core, held)

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
        if not await self._is_there(held):
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
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

    def scratch(self) -> Path:
        """A folder for files that are coming in. Blocks."""
        return self._core.blobs.scratch()

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

        def run(tx: Transaction) -> None:
            if tx.scalar(sql.uploads_count, account_no=actor.account_no, now=now) >= MOST_UPLOADS:
                facts: dict[str, Fact] = {"limit": MOST_UPLOADS}
                raise Refused(
                    RefusalCode.RATE_LIMIT_EXCEEDED,
                    reason="UPLOADS_WAIT",
                    facts=facts,
                    retry_after=LINK_LIFETIME // SECOND,
                )
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
            return await self._on_disk("save", partial(self._folder.save, parts, name, content))
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
        try:
            with anyio.move_on_after(WAIT_SECONDS):
                while held.text_status == _PENDING:
                    rung = anyio.Event()
                    held = await handles.find(self._core, actor, held.id)
                    if held.text_status == _PENDING:
                        await rung.wait()
        finally:
            unsubscribe()
        return held

    async def pending(self) -> bool:
        """Whether the text of a file waits to be read."""
        return await self._core.database.one(sql.attachments_pending, limit=1) is not None

    async def read_next(self, reader: Reader) -> bool:
        """Read the text of the file that has waited longest, and keep it; False when none waits.

        Counted before it is tried, so that a file which takes its reader down is given up. Raises NotRead when it is
        worth trying again later. Safe to cancel and to kill: the text is kept whole, once, or the file still waits.
        """
        row = await self._core.database.one(sql.attachments_pending, limit=1)
        if row is None:
            return False
        no, seq, part, filename, content_type, sha256, tries, blob_hash = row
        if tries >= MOST_TRIES:
            await self._keep(no, seq, None, "damaged", {})
            return True
        kind = supported(content_type, filename) or ""
        if await self._same(no, seq, (sha256, kind)):
            return True
        with anyio.CancelScope(shield=True):  # so that it is known below whether it was counted
            tries = await self._core.database.write(lambda tx: tx.scalar(sql.attachment_try, attachment_no=no))
        try:
            try:
                raw = await self._core.blobs.get(self._core.database, blob_hash)
                content = await on_parser(partial(extract_attachment, raw, part), len(raw))
                del raw
            except LookupError:
                log.error("an attachment's bytes are lost, number %d", no)
                await self._keep(no, seq, None, "damaged", {})
                return True
            done = await reader.extract(content, content_type, filename)
        except (anyio.get_cancelled_exc_class(), Refused):
            # The server stops, or its disk is gone: that says nothing against the file.
            with anyio.CancelScope(shield=True):
                await self._core.database.write(lambda tx: tx.run(sql.attachment_untry, attachment_no=no))
            raise
        if done.status == "failed" and tries < MOST_TRIES:
            raise NotRead
        facts = {**done.facts, **({"truncated": 1} if done.truncated else {})}
        await self._keep(no, seq, done.text if done.status == "ok" else None, done.status, facts)
        if done.status != "failed":
            self._known[sha256, kind] = no
            if len(self._known) > _KNOWN_TEXTS:
                self._known.popitem(last=False)
        return True

    async def _same(self, no: int, seq: int, content: tuple[str, str]) -> bool:
        """Take over what was read out of the same content a while ago, if it was."""
        known = self._known.get(content)
        row = await self._core.database.one(sql.attachment_text, attachment_no=known) if known is not None else None
        if row is None or row[1] in (None, _PENDING) or row[3] != content[0]:
            return False
        await self._keep(no, seq, row[0], row[1], json.loads(row[2] or "{}"))
        return True

    async def _keep(self, no: int, seq: int, text: str | None, status: str, facts: dict[str, Any]) -> None:
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            message = messages.in_tx(tx, seq)
            if messages.set_attachment_text(tx, message, no, text=text, status=status, facts=facts, at=now):
                inbox = inboxes.one_in(tx, message.inbox_no)
                tx.announce(MessageChanged(inbox.account_no, inbox.no, message.inbox_id, message.id, message.thread_id))

        await self._core.database.write(run)


SWEEP_EVERY = HOUR // SECOND


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
