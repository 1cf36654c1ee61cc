"""Header blocks: From, Sent, To, Subject in some language, one below the other, above the mail they came with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from daimon_mcp.mail.replies.rows import COLONS, Row
from daimon_mcp.mail.replies.words import LABELS, has_date

_LABEL = re.compile(
    rf"[*_|>\"' ]{{0,4}}([^\W\d][^{COLONS}@<>\d]{{0,28}}?)[*_ ]{{0,4}}[{COLONS}][*_ ]{{0,4}}(.{{0,600}})"
)
_INLINE = re.compile(rf"(?:(?<=[\s>*])|(?<=[\d.])(?=[A-Z]))([^\W\d]{{2,12}}(?: [^\W\d]{{1,8}})?)[* ]{{0,3}}[{COLONS}]")
_UNSEPARATED = re.compile("(发件人|发送日期|发送时间|收件人|主题|抄送|寄件者|收件者|日期|主旨) ")
_RULER = re.compile(r"[-_=*—–~#\s]{3,}\Z")
_MAX_ROWS = 16


class HeaderBlock(NamedTuple):
    """Rows `[start:end)`, the fields of it (`from`, `date`, `to`, `subject`, …), and whether it is sure to be one."""

    start: int
    end: int
    fields: dict[str, str]
    certain: bool


def label_of(text: str) -> tuple[str, str, bool] | None:
    """Role or label, value, and whether the label is a known one, of `Label: value`."""
    match = _LABEL.match(text)
    if match is None:
        return None
    label = match[1].strip(" *_").casefold()
    role = LABELS.get(label)
    return (role or label, match[2].strip(" *_"), role is not None)


def find_header_block(rows: Sequence[Row], at: int, *, divided: bool = False) -> HeaderBlock | None:
    """The header block that starts in row `at`; `divided` says that a divider or a ruler stands above it."""
    if (inline := _inline_block(rows, at)) is not None:
        return inline
    first = label_of(rows[at].text)
    if first is None:
        return None
    divided = divided or (at > 0 and is_ruler(rows[at - 1].text))
    fields: dict[str, str] = {}
    known, unknown, addresses, folded, index = 0, 0, 0, 0, at
    while index < min(len(rows), at + _MAX_ROWS):
        row = rows[index]
        label = label_of(row.text)
        if index > at and (row.quoted != rows[at].quoted or (row.gap and (label is None or not label[2]))):
            break
        if label is None:
            folded += 1
            if folded > 2 or not _goes_on(rows, index):
                break
        else:
            folded = 0
            known += label[2] and label[0] not in fields
            unknown += not label[2]
            addresses += "@" in label[1]
            fields.setdefault(label[0], label[1])
        index += 1
    dated = any(has_date(value) for role, value in fields.items() if role != "subject")
    if not _is_block(fields, known, unknown, addresses, dated, divided=divided, first_known=first[2]):
        return None
    return HeaderBlock(at, index, fields, certain=known >= 3 and addresses > 0 and dated)


def _goes_on(rows: Sequence[Row], index: int) -> bool:
    """Whether a line without a label is a folded value: a known label, or a list's end, comes soon below it."""
    below = rows[index + 1 : index + 3]
    return any(not row.gap and (label := label_of(row.text)) is not None and label[2] for row in below)


def _is_block(
    fields: dict[str, str], known: int, unknown: int, addresses: int, dated: bool, *, divided: bool, first_known: bool
) -> bool:
    evidence = addresses > 0 or dated
    if first_known and known >= 3:
        return evidence or divided or known >= 4
    if first_known and known == 2:
        if "date" in fields and has_date(fields["date"]) and (addresses > 0 or divided):
            return True
        if "from" in fields and "@" in fields["from"] and ("date" in fields or "subject" in fields or divided):
            return True
    if divided and known == 1 and unknown == 0 and "@" in fields.get("from", ""):
        return True
    bracketed = sum("<" in value and "@" in value for value in fields.values())
    return len(fields) >= 3 and dated and addresses > 0 and (bracketed >= 2 or divided)


def _inline_block(rows: Sequence[Row], at: int) -> HeaderBlock | None:
    """`From: … Date: … To: …` on one line, which HTML and some clients make of it."""
    text = rows[at].text
    first = label_of(text)
    if first is not None and first[2] and first[0] in ("from", "date"):
        fields: dict[str, str] = {}
        matches = [match for match in _INLINE.finditer(f" {text}") if match[1].strip().casefold() in LABELS]
        for match, following in zip_longest(matches, matches[1:]):
            end = following.start() if following else len(text) + 1
            fields.setdefault(LABELS[match[1].strip().casefold()], f" {text}"[match.end() : end].strip(" *"))
        if len(fields) >= 2 and ("@" in text or "subject" in fields) and has_date(fields.get("date", "")):
            return HeaderBlock(at, at + 1, fields, certain=True)
    if "@" in text and text[0] in "发寄":
        labels = {match[1] for match in _UNSEPARATED.finditer(f"{text} ")}
        if len(labels) >= 2 and has_date(text):
            return HeaderBlock(at, at + 1, {"from": text[3:].split()[0]}, certain=True)
    return None


def is_ruler(text: str) -> bool:
    """Whether it is a line of dashes, underscores or the like."""
    return text[0] in "-_=*—–~#" and _RULER.match(text) is not None
