"""Lists of words of many languages, found in lower-case text in one pass for each word that can be there at all."""

from __future__ import annotations

from collections.abc import Mapping
from operator import add

_FREE_FROM = "\u0590"
"""From Hebrew on, scripts glue prefixes and endings to words or write no spaces: no boundary is asked for."""
_ARABIC = ("\u0600", "\u08ff")
"""Arabic script is the exception: its words are short and separate, so lists write their prefixes and endings."""


class WordList:
    """Words to find. A word stands between non-letters unless a `*` opens that end: `*kode` also ends `smskode`.

    Languages are keys for the reader of a list alone: all are looked for at once, because mail mixes them.
    """

    __slots__ = ("_by_start",)

    def __init__(self, languages: Mapping[str, str]) -> None:
        """Each value holds words parted by commas, in lower case; white space around a word is not part of it."""
        # By the first two characters: of a thousand words a text has the beginnings of a few only.
        self._by_start: dict[str, list[tuple[str, bool, bool]]] = {}
        seen: set[str] = set()
        for words in languages.values():
            for raw in words.split(","):
                entry = " ".join(raw.split())
                word = entry.strip("*").strip()
                if not word or entry in seen:
                    continue
                seen.add(entry)
                free = word[0] >= _FREE_FROM and not _ARABIC[0] <= word[0] <= _ARABIC[1]
                left = free or entry.startswith("*")
                right = free or entry.endswith("*")
                self._by_start.setdefault(word[:2], []).append((word, left, right))

    def _possible(self, text: str) -> list[tuple[str, bool, bool]]:
        pairs = set(map(add, text, text[1:])).union(text)
        return [entry for start in self._by_start.keys() & pairs for entry in self._by_start[start]]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """All places `(start, end)` of words in lower-case text, by start; words may overlap."""
        found: list[tuple[int, int]] = []
        for word, left, right in self._possible(text):
            at = text.find(word)
            while at >= 0:
                end = at + len(word)
                if (left or not text[max(0, at - 1) : at].isalpha()) and (right or not text[end : end + 1].isalpha()):
                    found.append((at, end))
                at = text.find(word, end)
        found.sort()
        return found

    def found_in(self, text: str) -> bool:
        """Whether any word is in lower-case text."""
        for word, left, right in self._possible(text):
            at = text.find(word)
            while at >= 0:
                end = at + len(word)
                if (left or not text[max(0, at - 1) : at].isalpha()) and (right or not text[end : end + 1].isalpha()):
                    return True
                at = text.find(word, end)
        return False


def lower_in_place(text: str) -> str:
    """Lower case of the same length, so that places found in it are places of the text (some capitals grow: İ)."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)
