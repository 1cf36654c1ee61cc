"""Attributions: the line or lines above what is quoted that say who wrote it, and when.

In any language: one to five lines that end with a colon, with a date and an address; or such lines right above quoted
ones. Verbs ("wrote") are needed only where the date or the address is missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from daimon_mcp.mail.replies.rows import COLONS, Row
from daimon_mcp.mail.replies.words import OPENER, SENT, TIME, WROTE, has_date, has_day

_WINDOW = 5
_MAX_LENGTH = 400
_MAX_WORDS = 30
_BRACKETS = "<([【（〈"
_CLOSING = ">)]】）〉"
_WORD_END = re.compile(r"[\s<>()\[\]\"',;:，、【】（）]")
_SENTENCE_END = re.compile(r"(?:[!?…。！？]|[^\W\d]{4}\.)[\"')]?\Z")
_DASHES = "-–—_ "
# "… the end.On Mon, Jun 1, 2026 at 9:00 AM Bob <bob@example.org> wrote:": the line break above it was lost.
_GLUED = re.compile(r"(?:(?<=[\w.!?)])-{2,5} ?|(?<=[a-zà-ÿ.!?)])(?=[A-Z]))(?:On|Am|Le|El|Il|Op|Em) [^@]{0,20}\d")


# The same on one line with prose above it or quoted words below it, as text made of HTML has it.
_INSIDE = re.compile(
    r"(?:(?<=[\s.!?)])|\A)(?-i:On|Am|Le|El|Il|Op|Em|Den) (?=[^@<>]{0,40}\d)[^@<>]{4,90}<[^<>@ ]{1,80}@[^<> ]{1,120}"
    rf"(?:<[^<> ]{{1,120}}>)?> ?(?:{WROTE.pattern}) ?:",
    re.IGNORECASE,
)


class Attribution(NamedTuple):
    """Rows `[start:end)`. `certain` says that date, address and form all agree; `quotes` that what follows is quoted.

    `split` is the offset in the clean text of row `start` where it begins, 0 unless it shares the line with prose.
    """

    start: int
    end: int
    certain: bool
    quotes: bool
    split: int = 0


class _Signs(NamedTuple):
    date: bool
    time: bool
    address: bool
    bracketed: bool
    wrote: bool
    sent: bool
    opener: bool
    early: bool


def find_attribution(rows: Sequence[Row], at: int) -> Attribution | None:
    """The attribution that ends in row `at`, which is not quoted."""
    text = rows[at].text
    quotes = at + 1 < len(rows) and (rows[at + 1].quoted > rows[at].quoted or rows[at + 1].text[0] == "|")
    if "@" in text and (inside := _INSIDE.search(text)) and (inside.start() or inside.end() < len(text)):
        return Attribution(at, at + 1, certain=inside.end() == len(text), quotes=quotes, split=inside.start())
    if text[-1] in COLONS:
        return _glued(rows, at, quotes) or _with_colon(rows, at, quotes)
    if text[:2].strip(_DASHES) == text[-2:].strip(_DASHES) == "" and len(text) <= _MAX_LENGTH:
        bare = text.strip(_DASHES)
        signs = _signs_of(bare)
        if signs.wrote and (signs.date or signs.address or quotes or bare[-1] not in ".!?"):
            return Attribution(at, at + 1, signs.date and signs.address, quotes)
        return None
    if text[-1] not in ".!?。" and ("@" in text or (at and not rows[at].gap and "@" in rows[at - 1].text)):
        return _without_colon(rows, at, quotes)
    return None


def _with_colon(rows: Sequence[Row], at: int, quotes: bool) -> Attribution | None:
    joined, chosen, certain = "", None, False
    for start in range(at, max(-1, at - _WINDOW), -1):
        row = rows[start]
        if start < at and not _continues(rows, start):
            break
        joined = f"{row.text} {joined}".strip()
        if len(joined) > _MAX_LENGTH:
            break
        signs = _signs_of(joined)
        if signs.address and signs.date and _is_complete(signs, joined, quotes):
            return Attribution(_widen(rows, start), at + 1, certain=True, quotes=quotes)
        if signs.wrote or signs.sent:
            named = signs.address or (signs.date and signs.wrote and (quotes or signs.early or signs.time))
            opened = signs.wrote and quotes and signs.opener
            said = signs.wrote and quotes and len(joined.split()) <= 12
            if (named or opened or said) and (chosen is None or (signs.opener and signs.date)):
                chosen, certain = start, signs.date and signs.wrote and quotes
        elif quotes and chosen is None and signs.early and has_day(joined) and _ends_in_quote(rows, at + 1):
            chosen = start
    if chosen is not None:
        return Attribution(_widen(rows, chosen), at + 1, certain, quotes)
    if quotes and _stands_alone(rows, at) and _ends_in_quote(rows, at + 1):
        return Attribution(at, at + 1, certain=False, quotes=True)
    return None


def _is_complete(signs: _Signs, joined: str, quotes: bool) -> bool:
    """Whether a text with a date and an address is an attribution and no sentence that happens to have both."""
    if quotes or signs.wrote or (signs.sent and signs.opener):
        return True
    return signs.bracketed and (signs.time or signs.early) and len(joined.split()) <= _MAX_WORDS


def _without_colon(rows: Sequence[Row], at: int, quotes: bool) -> Attribution | None:
    """A date, an address and little else right above what is quoted, or as a paragraph of its own."""
    if not quotes and not (at + 1 < len(rows) and rows[at + 1].gap):
        return None
    joined = ""
    for start in range(at, max(-1, at - 3), -1):
        if start < at and not _continues(rows, start):
            return None
        joined = f"{rows[start].text} {joined}".strip()
        if len(joined) > 200 or len(joined.split()) > 16:
            return None
        signs = _signs_of(joined)
        if signs.date and signs.bracketed and signs.early and (start == at or has_day(rows[start].text)):
            if quotes:
                return Attribution(start, at + 1, certain=True, quotes=True)
            if (start == 0 or rows[start].gap) and signs.time and has_day(joined):
                return Attribution(start, at + 1, certain=False, quotes=False)
    return None


def _glued(rows: Sequence[Row], at: int, quotes: bool) -> Attribution | None:
    for start in range(at, max(-1, at - 3), -1):
        if start < at and not _continues(rows, start):
            return None
        text = rows[start].text
        found = _GLUED.search(text, max(0, len(text) - _MAX_LENGTH))
        if found and found.start():
            joined = " ".join([text[found.start() :], *(row.text for row in rows[start + 1 : at + 1])])
            signs = _signs_of(joined)
            if signs.date and signs.wrote and (signs.address or quotes):
                return Attribution(start, at + 1, certain=signs.address, quotes=quotes, split=found.start())
    return None


def _continues(rows: Sequence[Row], start: int) -> bool:
    """Whether row `start` can be part of what the row below it goes on with."""
    row, below = rows[start], rows[start + 1]
    if row.quoted != below.quoted or (below.gap and below.text[0] not in "<>"):
        return False
    if row.text[-1] in COLONS:
        return False
    return below.text[0].isdigit() or below.text[0].islower() or not _SENTENCE_END.search(row.text)


def _widen(rows: Sequence[Row], start: int) -> int:
    """The start, one row up where the name before a leading address or the first words were wrapped."""
    text = rows[start].text
    if start and not rows[start].gap and _continues(rows, start - 1) and not _SENTENCE_END.search(rows[start - 1].text):
        above = rows[start - 1]
        wrapped = len(above.text) + len(text.split(" ", 1)[0]) >= 56 and not OPENER.match(text)
        opens = OPENER.match(above.text) is not None and has_date(above.text)
        opens = opens or (WROTE.search(above.text) is not None and not WROTE.search(text))
        if (
            text[0] in _BRACKETS
            or (opens and not OPENER.match(text))
            or (wrapped and above.gap and not text[0].isdigit())
        ):
            return start - 1
    return start


def _stands_alone(rows: Sequence[Row], at: int) -> bool:
    row = rows[at]
    return (at == 0 or row.gap) and len(row.text) <= 120 and len(row.text.split()) <= 12


def _ends_in_quote(rows: Sequence[Row], start: int) -> bool:
    """Whether at least two rows from `start` on are quoted, and all of the first fifty to the end."""
    part = rows[start : start + 50]
    return len(part) > 1 and all(row.quoted for row in part)


def _signs_of(text: str) -> _Signs:
    text = text.rstrip(COLONS + _DASHES)
    address = "@" in text and any(len(word) > 2 and "@" in word[1:-1] for word in _WORD_END.split(text))
    bare = " ".join(word for word in text.split() if "@" not in word) if address else text
    dated = has_date(bare)
    opener = text.lstrip(_DASHES)
    return _Signs(
        date=dated,
        time=TIME.search(bare) is not None,
        address=address,
        bracketed=address and _is_bracketed(text),
        wrote=WROTE.search(bare) is not None,
        sent=SENT.search(bare) is not None,
        opener=OPENER.match(opener) is not None,
        early=any(character.isdigit() for word in opener.split()[:3] for character in word) and dated,
    )


def _is_bracketed(text: str) -> bool:
    at = text.find("@")
    for _ in range(4):
        if at < 0:
            return False
        before, after = text[max(0, at - 100) : at], text[at : at + 100]
        left = max(before.rfind(bracket) for bracket in _BRACKETS)
        right = min((where for bracket in _CLOSING if (where := after.find(bracket)) >= 0), default=-1)
        if (left >= 0 and " " not in before[left + 1 :].strip()) or (right > 0 and " " not in after[:right].strip()):
            return True
        at = text.find("@", at + 1)
    return False
