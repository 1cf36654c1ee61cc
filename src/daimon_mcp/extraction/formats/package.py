"""Office files are zip archives of XML: parts are inflated with a count of what comes out, whatever the archive says.

Nothing but the parts that are asked for is inflated; archives inside stay closed.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator

from daimon_mcp.extraction.sink import Unreadable

MAX_ENTRIES = 10_000
MAX_INFLATED = 128 * 1024 * 1024
"""Octets that may come out of one file, all parts together."""

MAX_RATIO = 200
"""Octets out for one octet in, of a part; only asked once a part is RATIO_FROM long."""

RATIO_FROM = 4 * 1024 * 1024

_CHUNK = 1024 * 1024
_ENTRY = b"PK\x01\x02"
_COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


class Package:
    """The parts of a file. Raises Unreadable when it is no archive, is locked, or claims too much."""

    def __init__(self, content: bytes) -> None:
        if content.startswith(_COMPOUND_FILE):
            # A locked document is kept in a container of the older kind; so is a document of the older kind.
            raise Unreadable("encrypted" if _ENCRYPTED_PACKAGE in content else "unsupported")
        # As many signatures as entries at least: known before a list of them is made.
        if content.count(_ENTRY) > MAX_ENTRIES:
            raise Unreadable("too_large")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Unreadable("damaged") from error
        self._parts = {info.filename.lstrip("/"): info for info in self._archive.infolist()}
        self._inflated = 0

    def names(self) -> list[str]:
        """The names of all parts."""
        return list(self._parts)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a part in pieces. Raises Unreadable: damaged, encrypted or too_large."""
        info = self._parts.get(name)
        if info is None or info.compress_type not in _METHODS:
            raise Unreadable("damaged")
        if info.flag_bits & 1:
            raise Unreadable("encrypted")
        self._check(info.file_size, info)
        size = 0
        try:
            with self._archive.open(info) as part:
                while chunk := part.read(_CHUNK):
                    size += len(chunk)
                    self._inflated += len(chunk)
                    self._check(size, info)
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
            raise Unreadable("damaged") from error

    def _check(self, size: int, info: zipfile.ZipInfo) -> None:
        packed = max(info.compress_size, 1)
        if self._inflated > MAX_INFLATED or size > MAX_INFLATED or (size > RATIO_FROM and size > MAX_RATIO * packed):
            raise Unreadable("too_large")
