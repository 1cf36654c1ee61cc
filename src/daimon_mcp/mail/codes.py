"""One-time codes in a mail: every stretch that could be one is scored by how it stands and by the words around it.

All text is what a person sees (html_view.py); raw HTML is never searched, its colours look like codes. The score is a
sum of the weights in `WEIGHTS`; from `ACCEPT` on a stretch is a code.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from daimon_mcp.mail.bound_codes import bound_header, bound_line
from daimon_mcp.mail.code_candidates import BLANK, CANDIDATE, CodeText, code_text, without_struck
from daimon_mcp.mail.code_words import backup_words, code_words, expiry_words, other_number_words, pin_words
from daimon_mcp.mail.durations import durations
from daimon_mcp.mail.html_view import Line, Span
from daimon_mcp.mail.url_facts import registrable_domain

WEIGHTS = {
    # How it stands.
    "alone on its line": 3.0,
    "six digits, G-123456 or split digits": 1.0,
    "seven or eight digits": 0.5,
    "nine or ten digits": -1.0,
    "letters only": -0.5,
    "eleven letters and digits or more": -0.5,
    "letters that read like a word": -3.0,
    "a word and a number: SAVE20, iPhone15": -2.0,
    "letters of both cases": -1.0,
    "font of 20 px and more": 2.0,
    "letter-spacing": 2.0,
    "markup calls it a code": 2.0,
    "heading or monospace": 1.0,
    "bold": 1.0,
    "in a quote": -1.0,
    "in a signature": -3.0,
    # The words around it.
    "code word before, same sentence": 3.0,
    "code word before, another sentence": 1.5,
    "code word directly before": 1.5,
    "code word right after": 2.5,
    "is your code": 1.0,
    "code word before, and “is” before it": 1.0,
    "code word above, alone": 3.0,
    "code word above": 1.5,
    "code word below, alone": 1.5,
    "code word in the subject, alone": 1.5,
    "no code word anywhere": -4.0,
    "mail says how long it is valid": 0.5,
    "in the subject": 0.5,
    "seen twice": 1.0,
    "bound to a site": 2.0,
    "bound to the sender's site": 6.0,
    # What it is instead.
    "another number's word before": -4.0,
    "another number's word near, a code word farther": -1.0,
    "letters in it, and a discount near by": -4.0,
    "money or a unit": -4.0,
    "year": -4.0,
    "date": -3.0,
}
"""What counts how much. Emphasis (font, spacing, markup, heading, bold) counts 3 at most together."""

ACCEPT = 3.5
MOST_CODES = 5
_MOST_EMPHASIS = 3.0
_BELOW_BEST = 3.5
"""A code this much weaker than the best is a number that stood near by."""

_BEFORE = 70
_AFTER = 40
_LINES_ABOVE = 3


@dataclass(frozen=True, slots=True)
class Code:
    """A code as an input field takes it.

    `value` is as printed, with two exceptions: spaces inside split digits are gone (`123 456` is `123456`) and digits
    of other scripts are ASCII. Hyphens and prefixes stay (`G-123456`, `ABC-123`). `kind` is `otp`, `pin` or `backup`.
    `bound_domain` is the site it may be given to, where the mail says so. `expires_in` are seconds, None if not said.
    """

    value: str
    kind: str
    score: float
    bound_domain: str | None
    expires_in: int | None


_SENTENCE_END = re.compile(r"[.!?]\s+(?!\d)|[。！？।]")
_IS_BEFORE = re.compile(
    r"(?:\b(?:is|are|ist|lautet|est|es|é|è|är|er|on|jest|to|je|este|olan|adalah|ialah|là)|[:：=]|это|هو|هي)\s{0,3}$"
)
_SALE = re.compile(
    r"\d\s?%|%\s?\d|\b(?:discount|coupon|voucher|promo|promotion|sale|off your|gift card|save|checkout|rabatt|gutschein"
    r"|remise|soldes|descuento|cupón|desconto|cupom|sconto|korting|rabat|zniżk|sleva|скидк|знижк|indirim"
    r"|diskon|giảm giá)|クーポン|割引|优惠|優惠|折扣|할인|쿠폰|خصم|تخفیف|छूट|ส่วนลด"
)
_CONNECTED = re.compile(r"[^.!?。！？।§]{0,14}|[^.!?。！？।§]{0,30}[:：=]\s{0,3}[\"'“«\[(*]{0,3}")
_WORD_NUMBER = re.compile(r"[A-Za-z]{3,9}\d{1,3}|[A-Za-z]{1,3}[a-z]{2,8}\d{1,4}|\d{1,3}[A-Za-z]{3,7}")
_MONEY_BEFORE = re.compile(
    r"(?:[$€£¥₹₩₽₺₴₫]|\b(?:usd|eur|gbp|inr|rs|aed|sar|jpy|cny|rmb|chf|cad|aud|brl|r\$|kr|zł|tl|lei))\.?\s?$"
)
_UNIT_AFTER = re.compile(
    r"\s?(?:[%‰°€$£¥₹₩₽₺₴₫]|(?:usd|eur|euro|euros|gbp|inr|dollars?|rupees|jpy|chf|kr|zł|tl|km|kms|kg|gb|mb|kb|tb|ms|px|pt|mi"
    r"|miles|am|pm|uhr|h|hrs|hours?|minutes?|mins?|days?|weeks?|months?|years?|users?|people|items?|points?|credits?|views?"
    r"|visitors?|followers?|customers?|members?|downloads?|steps|calories|kcal|times|tokens|requests|emails?|messages?|orders?"
    r"|coins?|miles|reviews?|sq|street|st|road|rd|ave|avenue|blvd|drive|lane|way|square|suite|stk|stück|punkte|pontos|puntos)\b"
    r"|年|月|日|時|时|分|秒|円|元|块|원|명|개|년|月份|人|件|点|個|个|次|名)"
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_IS_YOUR = re.compile(
    r"\s*(?:[\"'”»\])*]{0,2})\s*(?:is|are|as|to|ist|als|est|es|é|è|är|er|on|jest|je|som|como|comme|come|jako|olarak"
    r"|как|is jou|is uw|هو|هي|است|—|-|–|:)\s",
)
_VOWELS = frozenset("AEIOUYaeiouy")
_CONSONANTS_IN_A_ROW = re.compile(r"[^AEIOUYaeiouy]{4}")


class _Words:
    """Where the code words and the words of other numbers are: the longer one wins where one is inside the other."""

    def __init__(self, text: str) -> None:
        code = code_words().spans(text)
        other = other_number_words().spans(text) if code else []
        self.code = _outside(code, other)
        self.other = _outside(other, code)
        self.code_starts = [start for start, _ in self.code]
        self.code_ends = sorted(end for _, end in self.code)
        self.other_ends = sorted(end for _, end in self.other)
        self.other_starts = [start for start, _ in self.other]

    def code_between(self, start: int, end: int) -> bool:
        return self.next_code(start) < end

    def next_code(self, place: int) -> int:
        """Where the next code word begins, a place out of reach when there is none."""
        at = bisect_left(self.code_starts, place)
        return self.code_starts[at] if at < len(self.code_starts) else sys.maxsize

    def other_between(self, start: int, end: int) -> bool:
        at = bisect_left(self.other_starts, start)
        return at < len(self.other_starts) and self.other_starts[at] < end


def _outside(spans: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those spans that are in no longer one of the others."""
    starts = [start for start, _ in others]
    kept: list[tuple[int, int]] = []
    for start, end in spans:
        at = bisect_right(starts, start)
        # Words are at most a few dozen characters: whatever covers this one begins among the last few before it.
        if not any(s <= start and e >= end and e - s > end - start for s, e in others[max(0, at - 8) : at]):
            kept.append((start, end))
    return kept


def _last_before(ends: list[int], place: int, limit: int) -> int:
    """The greatest end at or before `place` and not before `limit`; -1 when there is none."""
    at = bisect_right(ends, place)
    return ends[at - 1] if at and ends[at - 1] >= limit else -1


def _reads_like_a_word(value: str) -> bool:
    vowels = sum(char in _VOWELS for char in value)
    return 0.2 <= vowels / len(value) <= 0.7 and _CONSONANTS_IN_A_ROW.search(value) is None


def _emphasis(spans: tuple[Span, ...], start: int, end: int) -> float:
    best = 0.0
    for span in spans:
        if span.start < end and span.end > start:
            best = max(
                best,
                WEIGHTS["font of 20 px and more"] * (span.size >= 20)
                + WEIGHTS["letter-spacing"] * span.spaced
                + WEIGHTS["heading or monospace"] * (span.heading or span.monospace)
                + WEIGHTS["bold"] * span.bold
                + WEIGHTS["markup calls it a code"] * span.marked,
            )
    return min(best, _MOST_EMPHASIS)


def _form_score(form: str, value: str, *, alone: bool) -> float:
    score = 0.0
    digits = form == "digits" or (form == "split" and value.isdecimal())
    if form in ("prefixed", "split") or (digits and len(value) == 6) or (form == "dashed" and len(value) == 7):
        score += WEIGHTS["six digits, G-123456 or split digits"]
    elif digits and len(value) in (7, 8):
        score += WEIGHTS["seven or eight digits"]
    elif digits and len(value) > 8:
        score += WEIGHTS["nine or ten digits"]
    if form in ("letters", "cased"):
        score += WEIGHTS["letters only"]
        if form == "letters" and _reads_like_a_word(value):
            score += WEIGHTS["letters that read like a word"]
    if form in ("mixed", "cased"):
        if _WORD_NUMBER.fullmatch(value):
            score += WEIGHTS["a word and a number: SAVE20, iPhone15"]
        if len(value) > 10:
            score += WEIGHTS["eleven letters and digits or more"]
        if not alone and value != value.upper() and value != value.lower():
            score += WEIGHTS["letters of both cases"]
    return score


def _other_number(text: CodeText, words: _Words, match: re.Match[str], *, alone: bool, announced: bool) -> float:
    """What speaks for an order number, a phone, a card, a voucher, money, a year."""
    start, end = match.span()
    line, form = text.line_at(start), match.lastgroup
    line_start, line_end = text.bounds(line)
    score = 0.0
    other = _last_before(words.other_ends, start, max(line_start + 1, start - 40))
    code = _last_before(words.code_ends, start, max(line_start + 1, start - _BEFORE))
    if other > code:
        near = code < 0 or start - other <= 12
        score += WEIGHTS["another number's word before" if near else "another number's word near, a code word farther"]
    elif code < 0 and not alone:
        reach = min(line_end, end + 30)
        at = bisect_left(words.other_starts, end)
        after = words.other_starts[at] if at < len(words.other_starts) else reach
        if after < reach and not words.code_between(end, after):
            score += WEIGHTS["another number's word before"]
    elif code < 0 and alone:
        before = line - 1
        while before >= 0 and not text.lines[before].text.strip():
            before -= 1
        if before >= 0:
            above_start, above_end = text.bounds(before)
            labelled = above_end - above_start <= 60 and words.other_between(above_start, above_end)
            if labelled and not words.code_between(above_start, above_end):
                score += WEIGHTS["another number's word before"]
    if _MONEY_BEFORE.search(text.lower, max(line_start, start - 8), start) or (
        _UNIT_AFTER.match(text.lower, end, min(line_end, end + 14))
    ):
        score += WEIGHTS["money or a unit"]
    value = text.seen[start:end]
    if form in ("mixed", "cased", "letters", "dashed") and _SALE.search(text.lower, max(0, start - 150), end + 100):
        score += WEIGHTS["letters in it, and a discount near by"]
    if _YEAR.fullmatch(value) and not announced:
        score += WEIGHTS["year"]
    if _DATE.fullmatch(value):
        score += WEIGHTS["date"]
    return score


def _score(text: CodeText, words: _Words, match: re.Match[str], subject_words: bool) -> float | None:
    """The score of one candidate in the body, None when its form needs a place it does not have."""
    start, end = match.span()
    line = text.line_at(start)
    line_start, line_end = text.bounds(line)
    alone = not any(char.isalnum() or char == BLANK for char in text.open[line_start:start] + text.open[end:line_end])
    form = match.lastgroup or ""
    if form == "letters" and not alone:
        return None
    value = match.group()
    score = _form_score(form, value.replace(" ", ""), alone=alone)
    if alone:
        score += WEIGHTS["alone on its line"]
    shown = text.lines[line]
    score += _emphasis(shown.spans, start - line_start, end - line_start)
    if shown.quoted or shown.zone == "quote":
        score += WEIGHTS["in a quote"]
    elif shown.zone == "signature":
        score += WEIGHTS["in a signature"]

    before = _last_before(words.code_ends, start, max(line_start + 1, start - _BEFORE))
    above = announced = False
    if before >= 0:
        gap = text.lower[before:start]
        broken = _SENTENCE_END.search(gap) is not None
        score += WEIGHTS["code word before, another sentence" if broken else "code word before, same sentence"]
        if not broken and _CONNECTED.fullmatch(gap):
            score += WEIGHTS["code word directly before"]
            announced = gap.rstrip().endswith((":", "："))
        elif not broken and _IS_BEFORE.search(gap):
            score += WEIGHTS["code word before, and “is” before it"]
    after = words.next_code(end)
    if after < min(line_end, end + _AFTER) and not _SENTENCE_END.search(text.lower, end, after):
        score += WEIGHTS["code word right after"]
        if _IS_YOUR.match(text.lower, end, line_end):
            score += WEIGHTS["is your code"]
    if before < 0:
        index, seen_lines = line - 1, 0
        while index >= 0 and seen_lines < _LINES_ABOVE and line - index <= 12:
            if text.lines[index].text.strip():
                seen_lines += 1
                if words.code_between(*text.bounds(index)):
                    above = True
                    break
            index -= 1
        if above:
            score += WEIGHTS["code word above, alone" if alone else "code word above"]
            announced = alone
        elif alone:
            index = line + 1
            while index < len(text.lines) and index - line <= 3 and not text.lines[index].text.strip():
                index += 1
            if index < len(text.lines) and words.code_between(*text.bounds(index)):
                score += WEIGHTS["code word below, alone"]
            elif subject_words:
                score += WEIGHTS["code word in the subject, alone"]
    if form == "letters" and not (above or subject_words):
        return None
    return score + _other_number(text, words, match, alone=alone, announced=announced)


def _kind(text: CodeText, place: int) -> str:
    line = text.line_at(place)
    near_start = text.bounds(max(0, line - 12))[0]
    if backup_words().found_in(text.lower[near_start:place]):
        return "backup"
    start = text.bounds(max(0, line - 2))[0]
    around = text.lower[max(start, place - 2 * _BEFORE) : place + _AFTER]
    words = code_words().spans(around)
    pins = pin_words().spans(around)
    nearest = max((end for _, end in words if end <= place - start), default=-1)
    return "pin" if pins and (len(pins) >= len(words) or any(end == nearest for _, end in pins)) else "otp"


def _expiry(text: CodeText) -> list[tuple[int, bool, int]]:
    """`(line, an expiry word is there, seconds)` of every stretch of time in the mail."""
    found: list[tuple[int, bool, int]] = []
    for index in range(min(len(text.lines), 150)):
        start, end = text.bounds(index)
        line = text.lower[start : min(end, start + 1_000)]
        if len(line) >= 3 and (times := durations(line)):
            said = expiry_words().found_in(line)
            found.extend((index, said, seconds) for _, seconds in times[:4])
    return found


def _expires_in(times: list[tuple[int, bool, int]], line: int) -> int | None:
    usable = [
        (not said, abs(index - line), seconds)
        for index, said, seconds in times
        if said or (abs(index - line) <= 4 and seconds < 86_400)
    ]
    return min(usable)[2] if usable else None


def _bound_score(domain: str | None, from_domain: str) -> float:
    if domain is None:
        return 0.0
    same = not from_domain or registrable_domain(domain) == registrable_domain(from_domain)
    return WEIGHTS["bound to the sender's site" if same else "bound to a site"]


def _plain(value: str) -> str:
    return value.replace("-", "").lower()


def find_codes(
    subject: str, lines: Sequence[Line], *, from_domain: str = "", header_code: str | None = None
) -> tuple[Code, ...]:
    """The one-time codes of a mail, best first, at most `MOST_CODES`; none for a mail without one. Never raises.

    The first 20,000 characters are read, and the last line for a code bound to a site: `@example.com #123456`
    (draft-wells-origin-bound-one-time-codes); `header_code` is the value of a header field that says the same. A
    `bound_domain` is what the mail claims; it counts more when it is the site of `from_domain`, the domain of From.
    Struck-through text is not read.
    """
    lines = without_struck(lines)
    text = code_text(lines)
    subject_text = code_text([Line(subject[:500])])
    words, subject_words = _Words(text.lower), _Words(subject_text.lower)
    known = bool(words.code or subject_words.code)
    best: dict[str, tuple[float, CodeText, int, int]] = {}
    counts: dict[str, int] = {}
    for source, source_words in ((subject_text, subject_words), (text, words)):
        for match in CANDIDATE.finditer(source.open):
            score = _score(source, source_words, match, subject_words=bool(subject_words.code) and source is text)
            if score is None:
                continue
            value = match.group().replace(" ", "")
            if source is subject_text:
                # A subject is one line: what stands alone on it says nothing.
                score += WEIGHTS["in the subject"] - (
                    WEIGHTS["alone on its line"] if match.group() == subject.strip() else 0
                )
            counts[value] = counts.get(value, 0) + 1
            if value not in best or score > best[value][0]:
                best[value] = (score, source, match.start(), len(best))
    bound = [pair for pair in (bound_header(header_code), bound_line(lines)) if pair is not None]
    if not best and not bound:
        return ()

    times = _expiry(text)
    short = any(seconds <= 86_400 for _, _, seconds in times)
    in_subject = {match.group().replace(" ", "") for match in CANDIDATE.finditer(subject_text.open)}
    ranked: list[tuple[float, int, Code]] = []
    for value, (score, source, place, order) in best.items():
        score += WEIGHTS["seen twice"] * (counts[value] > 1)
        score += WEIGHTS["in the subject"] * (value in in_subject and source is text)
        score += WEIGHTS["mail says how long it is valid"] * short
        score += WEIGHTS["no code word anywhere"] * (not known)
        domain = next((domain for code, domain in bound if _plain(code) == _plain(value)), None)
        score += _bound_score(domain, from_domain)
        if score < ACCEPT:
            continue
        line = source.line_at(place) if source is text else 0
        ranked.append((score, order, Code(value, _kind(source, place), score, domain, _expires_in(times, line))))
    found = {_plain(code.value) for _, _, code in ranked}
    for order, (value, domain) in enumerate(bound):
        if _plain(value) not in found:
            found.add(_plain(value))
            score = ACCEPT + _bound_score(domain, from_domain)
            ranked.append((score, order - 2, Code(value, "otp", score, domain, _expires_in(times, len(text.lines)))))
    ranked.sort(key=lambda entry: (-entry[0], entry[1]))
    kept = [code for score, _, code in ranked if score >= ranked[0][0] - _BELOW_BEST or code.bound_domain]
    return tuple(kept[:MOST_CODES])
