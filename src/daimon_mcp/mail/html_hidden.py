"""The report of words that are in the markup and that nobody sees."""

from __future__ import annotations

import re
from typing import Final

from daimon_mcp.mail.html_view import HiddenText
from daimon_mcp.mail.sanitize import clean_line

MAX_ENTRIES: Final = 50
MAX_TEXT: Final = 300

_TAG: Final = re.compile(r"<[^<>]{0,2000}>")
_WORDS: Final = re.compile(r"[^\W\d_]{2,30}")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]+")
_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_BITS: Final = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad]{8,}")
_PROSE: Final = 12  # words from which a comment is more than a note of a template's author


class HiddenReport:
    """Takes pieces in document order; neighbours that are hidden in the same way become one entry."""

    def __init__(self) -> None:
        self.characters = 0
        self._entries: list[HiddenText] = []
        self._pieces: list[str] = []
        self._how = ""
        self._length = 0
        self._seen = 0

    def add(self, text: str, how: str) -> None:
        """A piece of hidden text."""
        if how != self._how:
            self.close()
            self._how = how
        text = clean_line(text) if not text.isspace() else ""
        if text:
            self.characters += len(text)
            if self._length <= MAX_TEXT:
                self._pieces.append(text[: MAX_TEXT + 1])
                self._length += len(text) + 1

    def visible(self, characters: int) -> None:
        """So many characters were seen: what is hidden after them is another entry."""
        self._seen += characters
        if self._pieces:
            self.close()

    def close(self) -> None:
        """Ends the entry that is open."""
        text = " ".join(self._pieces)[:MAX_TEXT]
        self._pieces.clear()
        self._length = 0
        self._how, how = "", self._how
        if text and len(self._entries) < MAX_ENTRIES:
            first = not self._seen and not self._entries
            self._entries.append(HiddenText(text, how, preheader=first and how not in {"unicode", "element"}))

    def comment(self, text: str) -> None:
        """A comment; reported when there is prose in it, conditional ones for Outlook among them."""
        if len(text) < 40:
            return
        text = _TAG.sub(" ", text[:20_000]).partition("<")[0] if "<" in text else text
        if len(_WORDS.findall(text[:1000])) >= _PROSE and "{" not in text:
            self.close()
            entries = len(self._entries)
            self.add(text, "comment")
            self.close()
            if len(self._entries) > entries:
                last = self._entries[-1]
                self._entries[-1] = HiddenText(last.text, last.how)

    def unicode(self, text: str) -> None:
        """Looks in visible text for letters written in characters that are not shown (tags, selectors, joiners)."""
        for run in _TAGS.findall(text):
            said = "".join(chr(ord(each) - 0xE0000) for each in run)
            if len(said) > 6 or " " in said:  # flags of regions are at most six
                self.add(said, "unicode")
                self.close()
        for pattern in (_SELECTORS, _BITS):
            for run in pattern.findall(text):
                if len(set(run)) > 1:
                    self.characters += len(run)
                    self.close()
                    if len(self._entries) < MAX_ENTRIES:
                        self._entries.append(HiddenText(f"{len(run)} invisible characters", "unicode"))

    def unknown(self, what: str) -> None:
        """An entry, before all others, about what may be hidden and could not be found out."""
        self.close()
        self._entries.insert(0, HiddenText(what, "display"))
        del self._entries[MAX_ENTRIES:]

    def entries(self) -> tuple[HiddenText, ...]:
        """All entries."""
        self.close()
        return tuple(self._entries)
