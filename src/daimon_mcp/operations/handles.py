"""What an `att_` handle names: a part of a message, or a file that was uploaded. Never bytes, until somebody asks.

A handle of another account, or of another inbox than the key's, answers exactly like one that nobody has.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import mimetypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, model_validator

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.ids import canonical_id, looks_like_id
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused
from daimon_mcp.mail.body import OutgoingAttachment
from daimon_mcp.mail.filenames import safe_filename
from daimon_mcp.mail.parse import extract_attachment
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.requests import Id, Request, refuse
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Row

OCTETS = "application/octet-stream"

_T = TypeVar("_T")
_INLINE_BYTES = 2048
_OPENERS = 2  # threads


class Attachment(Request):
    """A file to attach: by its handle, or with its bytes; a plain string is a handle."""

    attachment_id: Id | None = None
    filename: Annotated[str | None, Field(min_length=1, max_length=255)] = None
    content: Annotated[str | None, Field(description="base64")] = None
    content_type: Annotated[str | None, Field(pattern=r"^[\w.+-]+/[\w.+-]+$")] = None

    @model_validator(mode="before")
    @classmethod
    def _handle(cls, value: object) -> object:
        return {"attachment_id": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        has_bytes = self.content is not None
        if has_bytes if self.attachment_id is not None else not has_bytes and self.filename is None:
            raise ValueError("must have attachment_id, or filename and content")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A file that is here. `part` is its section of the raw message in the blob; None when the blob is the file.

    An upload that was not received yet has no `blob_hash`. `text`, `text_status` and `facts_json` are what was read
    out of a part of a message.
    """

    id: str
    filename: str
    content_type: str
    size: int
    sha256: str
    blob_hash: str | None
    part: str | None = None
    content_id: str | None = None
    disposition: str = "attachment"
    message_id: str | None = None
    text: str | None = None
    text_status: str | None = None
    facts_json: str | None = None
    expires_at: int | None = None
    account_no: int | None = None
    inbox_no: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file to attach: its bytes, or where they are."""

    filename: str
    content_type: str
    content: bytes | None = None
    held: Held | None = None

    @property
    def size(self) -> int:
        """Octets, before any encoding."""
        return len(self.content) if self.content is not None else self.held.size if self.held else 0


def missing(*problems: FieldProblem) -> Refused:
    """ATTACHMENT_NOT_FOUND, naming the field that spoke of it."""
    return Refused(RefusalCode.ATTACHMENT_NOT_FOUND, fields=problems)


async def find(core: Core, actor: Actor, reference: str) -> Held:
    """What the handle names. Raises ATTACHMENT_NOT_FOUND."""
    found = await lookup(core, reference)
    if found is None:
        raise missing()
    if found.message_id is None:
        if not await _may_use(core, actor, found):
            raise missing()
        return found
    try:
        await access.message(core, actor, found.message_id)
    except Refused:
        raise missing() from None
    return found


async def _may_use(core: Core, actor: Actor, upload: Held) -> bool:
    if upload.account_no != actor.account_no or (actor.inbox_no is not None and upload.inbox_no != actor.inbox_no):
        return False
    if upload.expires_at is None or upload.expires_at > core.clock.now():
        return True
    return await core.database.one(sql.upload_in_draft, id=upload.id) is not None


async def lookup(core: Core, reference: str) -> Held | None:
    """What the handle names, whoever may see it."""
    public_id = canonical_id(reference)
    if not looks_like_id(public_id, "att"):
        return None
    row = await core.database.one(sql.attachment_by_id, id=public_id)
    if row is not None:
        return _of_message(row)
    row = await core.database.one(sql.upload_by_id, id=public_id)
    return None if row is None else of_upload(row)


def _of_message(row: Row) -> Held:
    (_, public_id, _, part, filename, content_type, content_id, disposition, size, sha256) = row[:10]
    text, text_status, facts_json, message_id, blob_hash, inbox_no, _ = row[10:]
    return Held(
        id=public_id,
        filename=filename,
        content_type=content_type,
        size=size,
        sha256=sha256,
        blob_hash=blob_hash,
        part=part,
        content_id=content_id,
        disposition=disposition,
        message_id=message_id,
        text=text,
        text_status=text_status,
        facts_json=facts_json,
        inbox_no=inbox_no,
    )


def of_upload(row: Row) -> Held:
    """A row of `upload_by_id` or `upload_by_token`."""
    _, public_id, account_no, inbox_no, filename, content_type, size, blob_hash, expires_at = row
    return Held(
        id=public_id,
        filename=filename,
        content_type=content_type or OCTETS,
        size=size or 0,
        sha256=blob_hash or "",
        blob_hash=blob_hash,
        expires_at=expires_at,
        account_no=account_no,
        inbox_no=inbox_no,
    )


async def content_of(core: Core, held: Held) -> bytes:
    """The bytes of a file. Raises LookupError when they are lost."""
    if held.blob_hash is None:
        raise LookupError(held.id)
    raw = await core.blobs.get(core.database, held.blob_hash)
    if held.part is None:
        return raw
    return await on_opener(partial(extract_attachment, raw, held.part), len(raw))


@cache
def _openers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_OPENERS, thread_name_prefix="opener")


async def on_opener(work: Callable[[], _T], octets: int) -> _T:
    """What `work` returns or raises; it takes files out of `octets` of mail and touches nothing shared.

    Short mail is read at once. All else has threads of its own: who fetches files holds up no mail that comes in.
    """
    if octets <= _INLINE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_openers(), work)


async def named(core: Core, actor: Actor, given: Sequence[Attachment] | None) -> tuple[File, ...]:
    """The files that a request attaches, of any inbox the actor has; those it has by handle are not read yet.

    Raises INVALID_REQUEST for what is neither bytes nor a handle, ATTACHMENT_NOT_FOUND naming the field.
    """
    ready: list[File] = []
    actor = replace(actor, here=None)
    for index, each in enumerate(given or ()):
        place = f"attachments.{index}"
        if each.attachment_id is not None:
            ready.append(await _held(core, actor, each, each.attachment_id, f"{place}.attachment_id"))
        elif each.filename is None:
            raise refuse([FieldProblem(f"{place}.filename", "is required", '"a.txt"')])
        elif each.content is None:
            raise refuse([FieldProblem(f"{place}.content", "is required", '"aGVsbG8="')])
        else:
            content = _decoded(each.content, f"{place}.content")
            kind = each.content_type or guessed(each.filename)
            ready.append(File(filename=each.filename, content_type=kind, content=content))
    return tuple(ready)


async def _held(core: Core, actor: Actor, given: Attachment, handle: str, place: str) -> File:
    if not looks_like_id(handle, "att"):
        raise refuse([FieldProblem(place, "is not the handle of an attachment", '"att_…"')])
    try:
        held = await find(core, actor, handle)
    except Refused:
        raise missing(FieldProblem(place, "names no attachment that this key may see")) from None
    if held.blob_hash is None:
        raise refuse([FieldProblem(place, "was not uploaded yet: put the file to its upload_url first")])
    kind = given.content_type or held.content_type
    name = safe_filename(given.filename, part="file", content_type=kind) if given.filename else held.filename
    return File(filename=name, content_type=kind, held=held)


def guessed(filename: str) -> str:
    """The type that a file's name speaks for."""
    return mimetypes.guess_type(filename)[0] or OCTETS


def _decoded(text: str, place: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise refuse([FieldProblem(place, "must be base64", '"aGVsbG8="')]) from None


async def loaded(core: Core, files: Sequence[File]) -> tuple[OutgoingAttachment, ...]:
    """The files with their bytes. Raises MESSAGE_TOO_LARGE before any is read."""
    size, limit = sum(each.size for each in files), core.policy.max_message_bytes
    if size > limit:
        raise Refused(RefusalCode.MESSAGE_TOO_LARGE, facts={"size": size, "limit": limit})
    ready: list[OutgoingAttachment] = []
    for each in files:
        content = each.content if each.held is None else await content_of(core, each.held)
        ready.append(
            OutgoingAttachment(
                each.filename, each.content_type, content or b"", each.held.content_id if each.held else None
            )
        )
    return tuple(ready)


def hashed(given: Sequence[Attachment], files: Sequence[File]) -> list[dict[str, Any]]:
    """What makes two requests attach the same: a handle stands for its content."""
    return [
        {"filename": file.filename, "content_type": file.content_type, "sha256": file.held.sha256}
        if file.held
        else {"filename": each.filename, "content": each.content, "content_type": each.content_type or OCTETS}
        for each, file in zip(given, files, strict=True)
    ]


def kept(given: Sequence[Attachment], files: Sequence[File]) -> list[dict[str, Any]]:
    """How a draft keeps its files: a handle stays one."""
    return [
        {"attachment_id": file.held.id, "filename": file.filename, "content_type": file.content_type}
        if file.held
        else {"filename": each.filename, "content": each.content, "content_type": file.content_type}
        for each, file in zip(given, files, strict=True)
    ]
