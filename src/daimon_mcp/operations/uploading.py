"""Files handed over for sending: put to a link, or taken from the files folder. No bytes pass through a model."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import DAY, HOUR, SECOND, iso
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.refusals import Fact, FieldProblem, RefusalCode, Refused
from daimon_mcp.mail.filenames import safe_filename
from daimon_mcp.operations import access, handles
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.file_links import LINK_LIFETIME, FileLinks, owner_of
from daimon_mcp.operations.folder import Folder
from daimon_mcp.operations.handles import OCTETS, Held
from daimon_mcp.operations.requests import Id, Request, refuse
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.blobs import PreparedBlob
from daimon_mcp.store.database import Row, Transaction, is_unavailable

UPLOAD_LIFETIME = 7 * DAY  # longer than a client_id is remembered: a repeated send finds its files again
MOST_UPLOADS = 200  # of one account at a time, beside those of its inboxes
MOST_UPLOADS_OF_INBOX = 100
SWEEP_EVERY = HOUR // SECOND

_UPLOAD_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,100}")


class UploadAttachment(Request):
    filename: Annotated[str | None, Field(min_length=1, max_length=255, description="Its name in the mail")] = None
    content_type: Annotated[str | None, Field(pattern=r"^[\w.+-]+/[\w.+-]+$", max_length=100)] = None
    inbox: Annotated[Id | None, Field(description="id or address, to keep it to that inbox")] = None
    path: Annotated[
        str | None,
        Field(min_length=1, max_length=1000, description="Take a file of the server's files folder, instead of a URL"),
    ] = None


@dataclass(frozen=True, slots=True)
class Expected:
    """A file that is awaited at an upload link."""

    no: int
    held: Held
    content_type: str | None


class Uploading:
    """The verb about files to send, and what stands behind their links."""

    def __init__(self, core: Core, links: FileLinks, folder: Folder) -> None:
        self._core = core
        self._links = links
        self._folder = folder

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
        result = {
            "id": public_id,
            "filename": filename,
            "content_type": request.content_type,
            "upload_url": self._links.upload(token, expires_at),
            "method": "PUT",
            "max_bytes": self._core.policy.max_message_bytes,
            "expires_at": iso(expires_at),
        }
        return Outcome(key="upload_attachment.awaited", result=result, facts={"attachment": public_id})

    async def _take(self, actor: Actor, request: UploadAttachment, path: str, inbox_no: int | None) -> Outcome:
        name, content = await self._folder.take(actor, path)
        kind = request.content_type or handles.guessed(request.filename or name)
        filename = safe_filename(request.filename or name, part="file", content_type=kind)
        blob = await self._core.blobs.prepare(content)
        expires_at = self._core.clock.now() + UPLOAD_LIFETIME
        public_id = await self._insert(actor, inbox_no, filename, kind, expires_at, blob=blob)
        return _received(public_id, filename, kind, blob, expires_at)

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
        await owner_of(self._core, held)
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
            note(tx, actor, "upload_attachment", public_id, now=now)

        await self._core.database.write(run)
        return public_id


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
