"""Attachments by handle: what they are, the text in them, and where to fetch them.

No bytes pass through a model. They travel by links (`file_links`), or through a folder on this machine (`folder`).
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.domain.refusals import Fact, RefusalCode, Refused
from daimon_mcp.mail.filenames import safe_filename
from daimon_mcp.operations import access, handles
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.exposure import read_outside_mail
from daimon_mcp.operations.extracting import PENDING, Extracting
from daimon_mcp.operations.file_links import FileLinks, owner_of
from daimon_mcp.operations.folder import Folder
from daimon_mcp.operations.handles import Held
from daimon_mcp.operations.messages import CHARS_PER_TOKEN, clip
from daimon_mcp.operations.requests import Id, Request

RECENT_OCTETS = 32 * 1024 * 1024


class GetAttachment(Request):
    attachment_id: Annotated[Id, Field(description="att_ id")]
    max_tokens: Annotated[int, Field(ge=100, le=25_000, description="Of its text")] = 3000
    offset: Annotated[int, Field(ge=0, description="Characters of its text to skip")] = 0
    save: Annotated[bool, Field(description="Write it to the files folder of the server's machine")] = False


class Attachments:
    """The verb about files that are here, and what stands behind download links."""

    def __init__(self, core: Core, links: FileLinks, folder: Folder, extracting: Extracting) -> None:
        self._core = core
        self._links = links
        self._folder = folder
        self._extracting = extracting
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._loading = asyncio.Lock()  # one file is taken out of its mail at a time

    async def get_attachment(
        self, actor: Actor, request: GetAttachment, *, of_message: str | None = None, of_thread: str | None = None
    ) -> Outcome:
        """A file's facts, a window of its text, a link to fetch it; with `save`, where it was written.

        With `of_message` or `of_thread`, a file of anything else does not exist. Raises ATTACHMENT_NOT_FOUND,
        THREAD_NOT_FOUND, INVALID_REQUEST, and STORE_UNAVAILABLE for what cannot be saved.
        """
        actor.require("message_read")
        if request.save and actor.read_only:
            raise Refused(RefusalCode.FORBIDDEN, reason="READ_ONLY", facts={"permission": "save"})
        core = self._core
        held = await handles.find(core, actor, request.attachment_id)
        if of_message is not None and held.message_id != canonical_id(of_message):
            raise handles.missing()
        if of_thread is not None and not await self._is_in(actor, held, of_thread):
            raise handles.missing()
        if held.text_status == PENDING and self._extracting.is_reading:
            held = await self._extracting.read_soon(actor, held)
        if held.message_id is not None:
            await read_outside_mail(core, actor)
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
            result |= self._links.download(held)
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
        kind = "awaited" if held.blob_hash is None else status if status in ("ok", PENDING, "none") else "unread"
        if kind == PENDING and not self._extracting.is_reading:  # as the operator wants it
            kind = "none"
        return Outcome(key=f"get_attachment.{kind}", result=result, facts=facts)

    async def _is_in(self, actor: Actor, held: Held, thread_id: str) -> bool:
        """Whether a file is of a message of this thread. Raises THREAD_NOT_FOUND."""
        thread = await access.thread(self._core, actor, thread_id)
        if held.message_id is None:
            return False
        return (await access.message(self._core, actor, held.message_id)).thread_seq == thread.seq

    async def _save(self, actor: Actor, held: Held) -> Path:
        content = await self.content(held)
        name = safe_filename(held.filename, part="file", content_type=held.content_type)
        return await self._folder.save(actor, name, content)

    async def fetch(self, token: str) -> Held:
        """The file that a download link names. Raises LINK_NOT_VALID (reason `FILE_UNKNOWN` or `FILE_EXPIRED`)."""
        held = await handles.lookup(self._core, self._links.file_of(token))
        if held is None or held.blob_hash is None:
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_UNKNOWN")
        return replace(held, account_no=await owner_of(self._core, held))

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
