"""The new words of a reply: the quote of what it answers is cut off where that is safe."""

from __future__ import annotations

import re

_MAX_LINES = 20_000
_CLIP = 600

# A line of dashes around the words clients put above the mail they quote.
_ORIGINAL = re.compile(
    r"[-_ ]{2,40}(?:original message|original-nachricht|ursprüngliche nachricht|message d'origine|mensaje original"
    r"|mensagem original|messaggio originale|oorspronkelijk bericht|ursprungligt meddelande|opprinnelig melding"
    r"|original meddelelse|исходное сообщение|原始邮件|元のメッセージ)[-_ ]{2,40}\Z",
    re.IGNORECASE,
)
_WROTE = re.compile(r"On\b.{6,500}\bwrote:\Z", re.IGNORECASE)
_LABEL = re.compile(r"\*{0,2}([A-Z][A-Za-z-]{1,12}):\*{0,2} .{0,500}\Z")
_LABELS = frozenset({"from", "sent", "date", "to", "cc", "subject"})


def reply_body(text: str) -> str:
    """`text`, the plain text of a reply, without its trailing quote; all of it when nothing would be left.

    Cut at: a line such as `-----Original Message-----`; `On … wrote:` over at most four lines; any line that ends with
    a colon right above quoted lines which run to the end; an Outlook block of From/Sent/To/Subject. Answers written
    between quoted lines are kept whole.
    """
    lines = text.split("\n")
    cut = _find_cut(lines[:_MAX_LINES], only_quotes_from=_quoted_tail(lines))
    if cut is None:
        return text
    return "\n".join(lines[:cut]).rstrip() or text


def _quoted_tail(lines: list[str]) -> int:
    """The first line of the quoted and blank lines at the end."""
    start = len(lines)
    while start and (lines[start - 1].startswith(">") or not lines[start - 1].strip()):
        start -= 1
    return start


def _find_cut(lines: list[str], *, only_quotes_from: int) -> int | None:
    for index, whole in enumerate(lines):
        line = whole[:_CLIP].strip()
        if not line:
            continue
        if line[0] in "-_ " and _ORIGINAL.match(line):
            return index
        if line.endswith((":", "：")):
            following = next((at for at in range(index + 1, min(index + 4, len(lines))) if lines[at].strip()), None)
            above_quote = following is not None and lines[following].startswith(">")
            start = _attribution_start(lines, index)
            if above_quote and index + 1 >= only_quotes_from:
                return index if start is None else start
            if not above_quote and start is not None and not any(later.startswith(">") for later in lines[index:]):
                return start
        if line.lower().lstrip("*").startswith("from:") and _is_header_block(lines, index):
            above = lines[index - 1].strip() if index else ""
            return index - 1 if len(above) >= 10 and not above.strip("_-") else index
    return None


def _attribution_start(lines: list[str], end: int) -> int | None:
    """Where the `On … wrote:` that ends in line `end` starts, at most four lines up."""
    joined = ""
    for start in range(end, max(-1, end - 4), -1):
        part = lines[start][:_CLIP].strip()
        if not part or part.startswith(">"):
            return None
        joined = f"{part} {joined}".strip()
        if part.startswith(("On ", "on ")) and _WROTE.match(joined):
            return start
    return None


def _is_header_block(lines: list[str], start: int) -> bool:
    """At least three lines in a row such as `Sent: …`, From and one more of the known labels among them."""
    labels: set[str] = set()
    for whole in lines[start : start + 8]:
        match = _LABEL.match(whole[:_CLIP].strip())
        if match is None:
            break
        labels.add(match[1].lower())
    return len(labels & _LABELS) >= 3
