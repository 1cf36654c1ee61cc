"""The message after 354, without I/O: up to CRLF.CRLF, doubled dots undone (RFC 5321 §4.5.2), checked, bounded.

Only CRLF.CRLF ends it, and a bare CR or LF anywhere refuses it: what another server may take for an end or a line is
never passed on (SMTP smuggling). Small content stays in memory; larger content goes to a file piece by piece. Whatever
is wrong, it is read to its end, so that the next command is where we look for it.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.domain.envelopes import ReceivedContent
from daimon_mcp.faces.smtp import replies
from daimon_mcp.faces.smtp.dialogue import HangUp, Need, Steps, ask, wire_log
from daimon_mcp.faces.smtp.service import IN_MEMORY, ROOM, Service
from daimon_mcp.faces.smtp.spool import SpoolFile

log = logging.getLogger(__name__)

_END: Final = b"\r\n.\r\n"
_BEGINNINGS: Final = tuple(_END[:length] for length in range(len(_END) - 1, 0, -1))


class Content:
    """One message on its way in. `release` must be called whatever comes of it."""

    def __init__(self, buffer: bytearray, service: Service) -> None:
        self._buffer = buffer
        self._service = service
        self._limit = service.limits.max_message_bytes
        self._started = service.clock.now()
        self._passed = 0  # octets taken out of the buffer, as they came
        self._size = -2  # octets of content: the CRLF of the DATA line, which is put before it, does not count
        self._held = 0
        self._no_room = False
        self._bare = False
        self._no_disk = False
        self._file: SpoolFile | None = None

    def due(self, heard: int) -> int:
        """When (epoch µs) patience ends with a peer that was last heard at `heard`."""
        limits = self._service.limits
        patience = int(limits.command_seconds * SECOND)
        received = self._passed + len(self._buffer)
        return patience + min(
            max(heard, self._started), self._started + received * SECOND // limits.data_bytes_per_second
        )

    def read(self) -> Steps[ReceivedContent | str]:
        """The content, or the reply that says why it was not kept.

        Raises HangUp when more than twice of what is allowed comes without an end.
        """
        buffer = self._buffer
        buffer[:0] = b"\r\n"  # the end of the DATA line: a dot right behind it ends an empty message
        looked_at = 0
        while (end := buffer.find(_END, looked_at)) < 0:
            self._bound(len(buffer))
            if not self._dropping and not self._hold(len(buffer)):
                self._no_room = True
            if self._dropping or (len(buffer) > IN_MEMORY and len(buffer) - _kept_back(buffer) > IN_MEMORY):
                yield from self._pass_on(len(buffer) - _kept_back(buffer))
                looked_at = 0
                if _END in buffer:
                    continue  # came while a piece was written
            else:
                looked_at = max(0, len(buffer) - len(_END) + 1)
            yield Need.BYTES
        self._bound(end)
        raw = self._take(end + 2)
        del buffer[: len(_END) - 2]
        dotted = self._check(raw)
        if not self._dropping and not self._hold(len(raw)):
            self._no_room = True
        if wire_log.isEnabledFor(logging.DEBUG):
            wire_log.debug("C: [%d octets]", self._size)
        return (yield from self._result(raw, dotted=dotted))

    def taken(self) -> None:
        """The file, if there is one, is not ours any more."""
        self._file = None

    def release(self) -> None:
        """Forget the content; a file that was not taken is removed."""
        self._hold(0)
        if self._file is not None:
            self._file.discard()
            self._file = None

    @property
    def _dropping(self) -> bool:
        return self._no_room or self._bare or self._no_disk or self._size > self._limit

    def _bound(self, unread: int) -> None:
        if self._passed + unread > 2 * self._limit + ROOM:
            raise HangUp(replies.CONTENT_WITHOUT_END)

    def _take(self, octets: int) -> bytes:
        with memoryview(self._buffer) as view:
            raw = bytes(view[:octets])
        del self._buffer[:octets]
        self._passed += octets
        return raw

    def _check(self, raw: bytes) -> bool:
        """Count `raw`, and look for a bare CR or LF; whether it has doubled dots. It is not cut within `CRLF.`."""
        dots = raw.count(b"\r\n.")
        self._size += len(raw) - dots
        self._bare = self._bare or _has_bare(raw)
        return dots > 0

    def _pass_on(self, octets: int) -> Steps[None]:
        """Move the first `octets` of the buffer to the file, or nowhere if they are not to be kept."""
        first = self._passed == 0
        raw = self._take(octets)
        dotted = self._check(raw)
        if self._dropping:
            self.release()
            return
        if self._file is None:
            self._file = self._service.spool.begin()
        try:
            yield from ask(partial(self._file.write, _plain(raw, dotted=dotted, first=first)))
        except OSError as error:
            self._disk_failed(error)
        self._hold(len(self._buffer))

    def _result(self, raw: bytes, *, dotted: bool) -> Steps[ReceivedContent | str]:
        """What `read` returns; `raw` is the last of the content."""
        if self._no_room:
            log.info("mail put off: too much at once")
            return replies.TOO_MUCH_AT_ONCE
        if self._size > self._limit:
            return replies.TOO_LARGE.format(limit=self._limit)
        if self._bare:
            return replies.BARE_CR_OR_LF
        if self._no_disk:
            return replies.NO_DISK
        if self._file is None and len(raw) <= IN_MEMORY:
            return _plain(raw, dotted=dotted, first=True)
        first = self._file is None
        self._file = self._file or self._service.spool.begin()
        try:
            content = yield from ask(partial(self._file.finish, _plain(raw, dotted=dotted, first=first)))
        except OSError as error:
            self._disk_failed(error)
            return replies.NO_DISK
        self._hold(0)
        return content

    def _disk_failed(self, error: OSError) -> None:
        log.error("cannot write content to the spool: %s", error)
        self._no_disk = True
        self.release()

    def _hold(self, octets: int) -> bool:
        """Have `octets` of content counted as held by us; whether all connections together may hold that much."""
        more = octets - self._held
        self._held = octets
        return self._service.budget.hold(more)


def _has_bare(raw: bytes) -> bool:
    """Whether there is a CR or LF that is not a half of CRLF.

    CR, LF and CRLF each end one line for `splitlines`, so there are as many lines as CRs and as LFs when all are CRLF.
    The quickest of the ways to look: large mail is mostly this.
    """
    ends = raw.count(b"\n")
    if raw.count(b"\r") != ends:
        return True
    return len(raw.splitlines()) != ends + (bool(raw) and not raw.endswith((b"\r", b"\n")))


def _plain(raw: bytes, *, dotted: bool, first: bool) -> bytes:
    """`raw` without the doubling of its dots, if it is `dotted`, and without the CRLF put before the `first` of it."""
    plain = raw.replace(b"\r\n.", b"\r\n") if dotted else raw
    return plain[2:] if first else plain


def _kept_back(buffer: bytearray) -> int:
    """How many octets at the end of `buffer` may be the beginning of the end; no CRLF and no dot is cut in two so."""
    return next((len(beginning) for beginning in _BEGINNINGS if buffer.endswith(beginning)), 0)
