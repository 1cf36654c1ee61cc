"""Files by link: `/files/{token}` gives one out, `/uploads/{token}` takes one in. No login: the link is the right.

What strangers sent is never shown by a browser as a page of this server: it is always saved, in a sandbox, with its
type kept only where no script can run in it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast
from urllib.parse import quote

import anyio
import orjson
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from daimon_mcp import logs
from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.faces.web.bodies import PATIENCE, Pace, TooSlow, bounded
from daimon_mcp.operations import Operations
from daimon_mcp.operations.guidance import Dialect
from daimon_mcp.operations.handles import OCTETS
from daimon_mcp.operations.uploading import spooling

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Files on their way at the same time, in each direction."""
DOWNLOADS_OF_ACCOUNT = 8
UPLOADS_OF_ACCOUNT = 4

_CHUNK = 64 * 1024
_IN_MEMORY = 256 * 1024
_FORM_ROOM = 64 * 1024  # what the wrapping of a form may add to its file
_STATUS = {
    (RefusalCode.LINK_NOT_VALID, "FILE_UNKNOWN"): 404,
    (RefusalCode.LINK_NOT_VALID, "FILE_EXPIRED"): 410,
    (RefusalCode.LINK_NOT_VALID, "FILE_USED"): 410,
    (RefusalCode.INVALID_REQUEST, None): 422,
    (RefusalCode.MESSAGE_TOO_LARGE, "FILE"): 413,
    (RefusalCode.RATE_LIMIT_EXCEEDED, "FILES_ON_THEIR_WAY"): 503,
    (RefusalCode.STORE_UNAVAILABLE, None): 503,
}
_SAFE = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,80}")
_ACTIVE = re.compile(r"text/(?:html|xml|javascript)|.*(?:\+xml|/xml|/xhtml.*|javascript|ecmascript|/x-shockwave-flash)")
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


def routes(operations: Operations, dialect: Dialect) -> list[Route]:
    """The two routes; the token is in the path, and stands in no log. Refusals speak `dialect`."""
    return [
        Route("/files/{token}", _Downloads(operations, dialect, DOWNLOADS_OF_ACCOUNT), methods=["GET"]),
        Route("/uploads/{token}", _Uploads(operations, dialect, UPLOADS_OF_ACCOUNT), methods=["PUT", "POST"]),
    ]


class _Body(Response):
    """A body of bytes that goes out in pieces, so that one which nobody takes is not all in the socket's buffer.

    Taken too slowly it ends in the middle, and the connection with it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pace = Pace()
        body = memoryview(self.body)
        with pace.limit():
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, max(1, len(body)), _CHUNK):
            piece = bytes(body[start : start + _CHUNK])
            pace.more(len(piece))
            more = start + _CHUNK < len(body)
            with pace.limit() as limit:
                await send({"type": "http.response.body", "body": piece, "more_body": more})
            if limit.cancelled_caught:
                log.info("a file was taken too slowly")
                return


class _Door(ABC):
    """Answers a request, whatever happens. `of_account` files of one account may be on their way at a time."""

    def __init__(self, operations: Operations, dialect: Dialect, of_account: int) -> None:
        self._operations = operations
        self._dialect = dialect
        self._of_account = of_account
        self._under_way = 0
        self._by_account: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if self._under_way >= AT_ONCE:
            await (await self._refused(_busy()))(scope, receive, send)
            return
        self._under_way += 1
        try:
            with ExitStack() as slot:  # of the account, until the answer is out
                response = Response(status_code=408, headers={**_SAFE, "Connection": "close"})
                with anyio.move_on_after(PATIENCE):
                    response = await self._answer(request, slot)
                with anyio.move_on_after(PATIENCE):
                    await response(scope, receive, send)
        finally:
            self._under_way -= 1

    def _enter(self, slot: ExitStack, account_no: int | None) -> None:
        """Take one of the account's places. Raises RATE_LIMIT_EXCEEDED."""
        assert account_no is not None
        if self._by_account[account_no] >= self._of_account:
            raise _busy()
        self._by_account[account_no] += 1
        slot.callback(self._leave, account_no)

    def _leave(self, account_no: int) -> None:
        self._by_account[account_no] -= 1
        if not self._by_account[account_no]:
            del self._by_account[account_no]

    async def _answer(self, request: Request, slot: ExitStack) -> Response:
        try:
            return await self._done(request, request.path_params["token"], slot)
        except Refused as refused:
            return await self._refused(refused)
        except TooSlow:
            return Response(status_code=408, headers={**_SAFE, "Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception:
            cid = logs.cid.get() or logs.new_cid()
            log.exception("a file could not be handed over, id %s", cid)
            return await self._refused(Refused(RefusalCode.INTERNAL, facts={"id": cid}))

    @abstractmethod
    async def _done(self, request: Request, token: str, slot: ExitStack) -> Response: ...

    async def _refused(self, refused: Refused) -> Response:
        envelope = await self._operations.guide.refusal(refused, self._dialect, actor=None)
        headers = {**_SAFE, **({"Retry-After": str(refused.retry_after)} if refused.retry_after else {})}
        status = _STATUS.get((refused.code, refused.reason), 500)
        return Response(orjson.dumps(envelope), status, headers, media_type="application/json")


class _Downloads(_Door):
    async def _done(self, request: Request, token: str, slot: ExitStack) -> Response:
        held = await self._operations.attachments.fetch(token)
        tag = f'"{held.sha256}"'
        headers = {
            **_SAFE,
            "Accept-Ranges": "bytes",
            "Content-Disposition": disposition(held.filename),
            "Content-Type": shown_type(held.content_type),
            "ETag": tag,
        }
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if request.method == "HEAD":
            return Response(headers={**headers, "Content-Length": str(held.size)})
        self._enter(slot, held.account_no)
        content = await self._operations.attachments.content(held)
        return part(request, tag, content, headers)


def part(request: Request, tag: str, content: bytes, headers: dict[str, str]) -> Response:
    """All of `content`, or the one range that was asked for (RFC 9110 §14): several ranges get the whole."""
    asked = request.headers.get("range")
    if asked is None or request.headers.get("if-range", tag) != tag:
        return _Body(content, headers=headers)
    wanted = _RANGE.fullmatch(asked.strip())
    if wanted is None or (wanted[1] and wanted[2] and int(wanted[2]) < int(wanted[1])):
        return _Body(content, headers=headers)
    size = len(content)
    if wanted[3] is not None:
        start, end = max(0, size - int(wanted[3])), size
    else:
        start, end = int(wanted[1]), min(size, int(wanted[2]) + 1 if wanted[2] else size)
    if start >= end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    return _Body(content[start:end], 206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"})


def disposition(filename: str) -> str:
    """`Content-Disposition` with a name any client can read (RFC 6266 §4.3, RFC 8187)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{extended}'


def shown_type(content_type: str) -> str:
    """The type that a file is given out as: its own, unless it could run as a page."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind if _TYPE.fullmatch(kind) and not _ACTIVE.fullmatch(kind) else OCTETS


class _Uploads(_Door):
    def __init__(self, operations: Operations, dialect: Dialect, of_account: int) -> None:
        super().__init__(operations, dialect, of_account)
        self._busy: set[int] = set()
        self._keeping = anyio.Semaphore(1)  # one file at a time is whole in memory

    async def _done(self, request: Request, token: str, slot: ExitStack) -> Response:
        expected = await self._operations.uploading.awaited(token)
        if expected.no in self._busy:  # a second one would be thrown away when it is here
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FILE_USED")
        self._enter(slot, expected.held.account_no)
        self._busy.add(expected.no)
        try:
            folder = str(await self._operations.uploading.scratch())
            with spooling(), _spool(folder) as file:
                kind = await self._taken(request, cast("IO[bytes]", file), folder)
                async with self._keeping:
                    content = await asyncio.to_thread(_whole, cast("IO[bytes]", file))
                    outcome = await self._operations.uploading.received(expected, content, kind)
        finally:
            self._busy.discard(expected.no)
        envelope = self._operations.guide.outcome(outcome, self._dialect)
        return Response(orjson.dumps(envelope), 201, _SAFE, media_type="application/json")

    async def _taken(self, request: Request, file: IO[bytes], folder: str) -> str | None:
        """Write the file that a request carries, plain or as the one file of a form; its type, if it was said."""
        most = self._operations.core.policy.max_message_bytes
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        announced = request.headers.get("content-length", "")
        is_form = kind == "multipart/form-data"
        if announced.isdecimal() and int(announced) > most + (_FORM_ROOM if is_form else 0):
            raise _too_large(most)
        if not is_form:
            async for chunk in bounded(request, most, _too_large):
                await _write(file, chunk)
            # What curl says of anything, unless it is told.
            return kind if _TYPE.fullmatch(kind) and kind != "application/x-www-form-urlencoded" else None
        parser = _Form(folder, request.headers, bounded(request, most + _FORM_ROOM, _too_large))
        try:
            form = await parser.parse()
        except BaseException as error:
            for each in getattr(parser, "_files_to_close_on_error", ()):  # the parser does it for its own errors alone
                each.close()
            if isinstance(error, MultiPartException):
                raise _not_one_file() from None
            raise
        try:
            files = [each for _, each in form.multi_items() if isinstance(each, UploadFile)]
            if len(files) != 1:
                raise _not_one_file()
            size = 0
            while chunk := await files[0].read(_IN_MEMORY):
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                await _write(file, chunk)
            said = (files[0].content_type or "").partition(";")[0].strip().lower()
            return said if _TYPE.fullmatch(said) and said != OCTETS else None
        finally:
            await form.close()


class _Form(MultiPartParser):
    """A form with one file at most, which is written into `folder` when it is large."""

    def __init__(self, folder: str, headers: Headers, stream: AsyncGenerator[bytes]) -> None:
        super().__init__(headers, stream, max_files=1, max_fields=10, max_part_size=16 * 1024)
        self._folder = folder

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:  # with a file in the folder for temporary files, which may be small, or in memory
            upload.file.close()
            spool = _spool(self._folder)
            self._files_to_close_on_error.append(spool)
            upload.file = cast("Any", spool)


def _spool(folder: str) -> SpooledTemporaryFile[bytes]:
    return SpooledTemporaryFile[bytes](max_size=_IN_MEMORY, dir=folder)


def _busy() -> Refused:
    return Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="FILES_ON_THEIR_WAY", retry_after=5)


def _too_large(most: int) -> Refused:
    return Refused(RefusalCode.MESSAGE_TOO_LARGE, reason="FILE", facts={"limit": most})


def _not_one_file() -> Refused:
    return invalid("body", "must be the file itself, or a form (multipart/form-data) with exactly one file")


async def _write(file: IO[bytes], chunk: bytes) -> None:
    rolled: Any = getattr(file, "_rolled", True)
    if rolled or file.tell() + len(chunk) > _IN_MEMORY:
        await asyncio.to_thread(file.write, chunk)
    else:
        file.write(chunk)


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
