"""Where a format's reader writes to, and how it says that it cannot read."""

from __future__ import annotations

import re
import time

from daimon_mcp.mail.sanitize import clean_text

_BATCH = 16_384
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*){2,}")


class Full(Exception):
    """There is as much text as wanted, or no time for more: stop reading."""


class Unreadable(Exception):
    """The file cannot be read; `status` says why, in the words of service.Extracted."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class Sink:
    """Collects clean text, at most `max_text` characters, until `deadline` (time.monotonic).

    `facts` may be added to by the reader. `truncated` says that there was more text.
    """

    def __init__(self, max_text: int, deadline: float) -> None:
        self.facts: dict[str, int | str] = {}
        self.truncated = False
        self._parts: list[str] = []
        self._room = max_text
        self._deadline = deadline
        self._raw: list[str] = []  # written, and not yet cleaned and counted: that is quicker in large pieces
        self._raw_size = 0

    @property
    def room(self) -> int:
        """Characters that still fit, about."""
        return max(0, self._room - self._raw_size)

    @property
    def is_full(self) -> bool:
        """Whether there is as much text as wanted."""
        return self._room == 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing but white space was written."""
        return not self.text()

    def aside(self) -> Sink:
        """Another one with the same limits, for text that may be left out."""
        return Sink(self.room, self._deadline)

    def add(self, text: str) -> None:
        """Write text. Raises Full once no more is wanted."""
        self._raw.append(text)
        self._raw_size += len(text)
        if self._raw_size > _BATCH:
            self._settle()
            self.check()
            if self._room == 0:
                raise Full

    def line(self, text: str = "") -> None:
        """Write a line. Raises Full once no more is wanted."""
        self.add(text + "\n")

    def check(self) -> None:
        """Raises Full when the time is up: for loops that write nothing."""
        if time.monotonic() > self._deadline:
            raise Full

    def text(self) -> str:
        """All that was written; runs of blank lines are one."""
        self._settle()
        return _BLANK_LINES.sub("\n\n", "".join(self._parts)).strip("\n \t")

    def _settle(self) -> None:
        raw = "".join(self._raw)
        self._raw.clear()
        self._raw_size = 0
        # What is invisible goes, so some more is looked at than fits; a file of invisible characters is not all read.
        clipped = raw[: 2 * self._room + 100]
        cleaned = clean_text(clipped)
        if len(cleaned) > self._room or len(clipped) < len(raw):
            self.truncated = self.truncated or bool(cleaned[self._room :].strip()) or len(clipped) < len(raw)
            cleaned = cleaned[: self._room]
            self._room = 0
        self._room -= len(cleaned) if self._room else 0
        self._parts.append(cleaned)
