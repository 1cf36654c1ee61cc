"""Text as search sees it: scripts without spaces between words, folding, and the window that shows a hit.

Words are found whole. Where a script has no spaces, every character counts as a word and a longer text as a phrase of
them, so that any part of such a text is found.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Thai, Lao, Tibetan, Myanmar, Hangul, Khmer, Tai, kana, Han and what extends them. Hangul has spaces, but its words
# carry their endings with them.
_RANGES = (
    "\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3040-\u318f"
    "\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uaa60-\uaa7f\uac00-\ud7ff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{_RANGES}]")
_PIECE = re.compile(rf"[{_RANGES}]|[^\W_{_RANGES}]+")
_WORD = rf"[^\W_{_RANGES}]"
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")

# Letters that have no decomposition, as people write them who do not have them.
_SPELT = {
    **dict(zip("øØłŁđĐðÐħĦı", "oOlLdDdDhHi", strict=True)),
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE",
}  # fmt: skip
_SPELLABLE = re.compile(f"[{''.join(_SPELT)}]")
_TWICE = (("ss", "(?:ss|ß)"), ("ae", "(?:ae|æ)"), ("oe", "(?:oe|œ)"))  # in a pattern for folded text

MARK = "**"
WINDOW = 160
_BEFORE = 50
_MOST_HITS = 200
_MOST_WANTED = 16  # phrases that are marked: each is looked for at every place of every text
_MOST_FOLDED = 50_000


def indexed(text: str) -> str:
    """A text as it is indexed and asked for: compatible forms made one, characters of unspaced scripts apart.

    A message is taken out of the index by the very words it was put in with: a change here needs a rebuild.
    """
    if text.isascii():
        return text
    text = _spelt(unicodedata.normalize("NFKC", text))
    return _UNSPACED.sub(r" \g<0> ", text) if _UNSPACED.search(text) else text


def _spelt(text: str) -> str:
    return _SPELLABLE.sub(lambda letter: _SPELT[letter[0]], text) if _SPELLABLE.search(text) else text


class _Fold(dict[int, str]):
    """Each character without case and diacritics, one for one, so that places stay where they are."""

    def __missing__(self, code: int) -> str:
        if len(self) > _MOST_FOLDED:
            self.clear()
        character = chr(code)
        one = unicodedata.normalize("NFKC", character)
        base = unicodedata.normalize("NFD", one if len(one) == 1 else character)
        if not all("\u0300" <= mark <= "\u036f" for mark in base[1:]):  # other marks make another letter
            base = character
        first = _SPELT.get(base[0], "")
        lower = (first if len(first) == 1 else base[0]).lower()
        self[code] = lower if len(lower) == 1 else base[0]
        return self[code]


_FOLD = _Fold()


def folded(text: str) -> str:
    """The text without case and diacritics, of the same length."""
    return text.lower() if text.isascii() else text.translate(_FOLD)


def pieces(text: str) -> list[str]:
    """The words a text is found by, folded; empty when there is nothing to look for in it."""
    return _PIECE.findall(folded(_spelt(unicodedata.normalize("NFKC", text))))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A word or phrase to be marked; with `prefix`, its last word may go on."""

    phrase: str
    prefix: bool = False


class Marker:
    """Finds wanted phrases in texts of one message after the other."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        patterns = [pattern for each in wanted[:_MOST_WANTED] if (pattern := _pattern(each))]
        # The longest first, so that a phrase is marked as one.
        patterns.sort(key=lambda pattern: -len(pattern[1]))
        groups = [
            look_behind + "(?:" + "|".join(pattern for before, pattern in patterns if before == look_behind) + ")"
            for look_behind in dict.fromkeys(before for before, _ in patterns)
        ]
        self._pattern = re.compile("|".join(groups)) if groups else None

    def hits(self, text: str) -> bool:
        """Whether one of the phrases stands in `text`."""
        return self._pattern is not None and self._pattern.search(folded(text)) is not None

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where the phrases stand in `text`, the first 200 of them."""
        if self._pattern is None:
            return []
        found: list[tuple[int, int]] = []
        for match in self._pattern.finditer(folded(text)):
            found.append(match.span())
            if len(found) == _MOST_HITS:
                break
        return found

    def window(self, text: str) -> str | None:
        """About 160 characters around the most telling hit, hits between `**`; None without one.

        Stars and what cannot be seen are taken out of the text, and white space is one space, so that every `**` is
        ours and the window is one line.
        """
        text = " ".join(_UNSEEN.sub("", text).replace("*", " ").split())
        places = self.places(text)
        if not places:
            return None
        start = max(0, _densest(text, places) - _BEFORE)
        if start:
            start = _next_word(text, start, places[0][0] if places[0][0] >= start else start + _BEFORE)
        end = min(len(text), start + WINDOW)
        if end < len(text):
            cut = text.rfind(" ", start + WINDOW // 2, end)
            end = cut if cut > 0 else end
        out, at = ["…" if start else ""], start
        for begin, stop in places:
            if begin < at or stop > end:
                continue
            out += (text[at:begin], MARK, text[begin:stop], MARK)
            at = stop
        out += (text[at:end], "…" if end < len(text) else "")
        return "".join(out)


def _next_word(text: str, start: int, latest: int) -> int:
    space = text.find(" ", start, latest)
    return space + 1 if space >= 0 else start


def _densest(text: str, places: Sequence[tuple[int, int]]) -> int:
    """Where the window begins that holds the most different hits; the first of equals."""
    best, most = places[0][0], 0
    for number, (begin, _) in enumerate(places):
        inside: set[str] = set()
        for start, stop in places[number : number + 20]:
            if stop > begin + WINDOW - _BEFORE:
                break
            inside.add(folded(text[start:stop]))
        if len(inside) > most:
            best, most = begin, len(inside)
    return best


def _either(word: str) -> str:
    """A folded word as a pattern that also finds it where two letters of it are one."""
    pattern = re.escape(word)
    for letters, both in _TWICE:
        pattern = pattern.replace(letters, both)
    return pattern


def _pattern(wanted: Wanted) -> tuple[str, str] | None:
    """What must stand before the phrase, and the phrase."""
    words = pieces(wanted.phrase)
    if not words:
        return None
    out = [_either(words[0])]
    for left, right in itertools.pairwise(words):
        apart = "*" if _UNSPACED.match(left) or _UNSPACED.match(right) else "+"
        out += (rf"[\W_]{apart}", _either(right))
    before = "" if _UNSPACED.match(words[0]) else rf"(?<!{_WORD})"
    after = "" if _UNSPACED.match(words[-1]) else rf"{_WORD}*" if wanted.prefix else rf"(?!{_WORD})"
    return before, "".join(out) + after
