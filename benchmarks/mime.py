"""Reading mail that is real or malformed: what is understood, how fast, and that nothing crashes.

`python -m benchmarks.mime FOLDER [--misses]`, where FOLDER/mime/index.json lists messages and what they say.
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import gc
import html
import json
import random
import re
import statistics
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any, cast

from benchmarks.corpora import folder_argument
from benchmarks.mails import prose
from daimon_mcp.mail.parse import parse

_TAGS = re.compile(r"<!--.*?-->|<(style|script|title)\b.*?</\1>|<[^<>]*>", re.DOTALL | re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_CHARSETS = (b"utf-8", b"us-ascii", b"iso-2022-jp", b"utf-16", b"utf-7", b"gb2312", b"x-unknown", b"hz", b"base64")
_STUDY = {  # of the whole material this half was drawn from: (field's best, prototype) for each figure
    "crashes": ("0/680", "0/680"),
    "subject": ("141/150", "143/150"),
    "text": ("114/134", "114/134"),
    "html": ("45/46", "44/46"),
    "attachments": ("153/178", "151/178"),
    "U+FFFD": ("4/680", "4/680"),
}


Sample = tuple[str, bytes, dict[str, Any]]
"""A file's name, its octets, and what it says."""


@dataclass(frozen=True)
class Read:
    """What a reader made of a message."""

    subject: str
    text: str
    html: str
    files: list[str]
    all_text: str


def ours(content: bytes) -> Read:
    message = parse(content)
    files = [attachment.filename for attachment in message.attachments]
    return Read(
        message.subject, message.plain or message.text, message.html or "", files, message.subject + message.text
    )


def modern(content: bytes) -> Read:
    """The standard library as its documentation shows it."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    text = plain.get_content() if plain else ""
    subject = str(message["subject"] or "")
    files = [part.get_filename() or "" for part in message.iter_attachments()]
    return Read(subject, text, rich.get_content() if rich else "", files, subject + text)


def compat(content: bytes) -> Read:
    """The standard library's older interface as most code uses it."""
    message = email.message_from_bytes(content)
    text, rich, files = "", "", list[str]()
    for part in cast("Iterator[Message]", message.walk()):
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        if part.get_filename() or part.get_content_disposition() == "attachment" or not kind.startswith("text/"):
            files.append(part.get_filename() or "")
            continue
        octets = cast(bytes, part.get_payload(decode=True))
        decoded = octets.decode(part.get_content_charset() or "utf-8", "replace")
        if kind == "text/plain" and not text:
            text = decoded
        elif kind == "text/html" and not rich:
            rich = decoded
    subject = str(make_header(decode_header(message["subject"] or "")))
    return Read(subject, text, rich, files, subject + text)


def _same(text: str) -> str:
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()


def _words(source: str) -> str:
    return _SPACES.sub("", html.unescape(_TAGS.sub(" ", source)))


@dataclass
class Score:
    """Counts of one reader."""

    right: dict[str, int] = field(default_factory=dict[str, int])
    asked: dict[str, int] = field(default_factory=dict[str, int])
    misses: list[tuple[str, str, Any, Any]] = field(default_factory=list[tuple[str, str, Any, Any]])
    micros: list[float] = field(default_factory=list[float])

    def note(self, what: str, file: str, expected: Any, found: Any) -> None:
        good = expected == found
        self.right[what] = self.right.get(what, 0) + good
        self.asked[what] = self.asked.get(what, 0) + 1
        if not good:
            self.misses.append((what, file, expected, found))

    def share(self, what: str, *, wrong: bool = False) -> str:
        right, asked = self.right.get(what, 0), self.asked.get(what, 0)
        return f"{asked - right if wrong else right}/{asked}"


def _judge(score: Score, file: str, expected: dict[str, Any], read: Read) -> None:
    if expected.get("subject") is not None:
        score.note("subject", file, _same(expected["subject"]), _same(read.subject))
    if expected.get("text") is not None:
        score.note("text", file, _same(expected["text"]), _same(read.text))
    if expected.get("html") is not None:
        score.note("html", file, _same(expected["html"]), _same(read.html))
    elif expected.get("html_text") is not None:
        score.note("html", file, _SPACES.sub("", expected["html_text"]), _words(read.html))
    if expected.get("n_att") is not None:
        score.note("attachments", file, expected["n_att"], len(read.files))
    if expected.get("att"):
        names = [name.replace("\\", "/").rpartition("/")[2].strip() for name in expected["att"]]
        score.note("file names", file, sorted(names), sorted(name for name in read.files if name in names))


def measure(messages: list[Sample], reader: Callable[[bytes], Read]) -> Score:
    """One reader over all messages."""
    score = Score()
    for file, content, expected in messages:
        try:
            read = reader(content)
        except Exception as error:  # noqa: BLE001 - what is counted
            score.note("crashes", file, "", type(error).__name__)
            read = Read("", "", "", [], "")
        else:
            score.note("crashes", file, "", "")
        score.note("U+FFFD", file, False, "\ufffd" in read.all_text)
        _judge(score, file, expected, read)
    for _, content, _ in messages:
        rounds: list[int] = []
        for _ in range(3):
            started = time.perf_counter_ns()
            with contextlib.suppress(Exception):  # counted above
                reader(content)
            rounds.append(time.perf_counter_ns() - started)
        score.micros.append(min(rounds) / 1000)
    return score


def mutations(content: bytes, seed: str) -> Iterator[bytes]:
    """Seven kinds of damage, the same for the same seed."""
    chance = random.Random(seed)
    size = len(content) or 1
    yield content[: chance.randrange(size)]
    flipped = bytearray(content)
    for _ in range(max(1, len(flipped) // 200)):
        if flipped:
            flipped[chance.randrange(len(flipped))] = chance.randrange(256)
    yield bytes(flipped)
    yield re.sub(rb"(?m)^--(.{4,70}?)(?=\r?$)", lambda m: chance.choice([b"-", b"--", b"--x", b""]) + m[1], content)
    yield (
        re.sub(rb"[:;=?\"\r]", lambda m: chance.choice([m[0], m[0], m[0], b"", b"\x00", b"\xff"]), content[:4000])
        + (content[4000:])
    )
    yield re.sub(rb"(?i)(charset\*?=\"?|=\?)[\w.:-]{2,30}", lambda m: m[1] + chance.choice(_CHARSETS), content)
    nul = chance.randrange(size)
    yield content[:nul] + b"\x00" * 8 + content[nul:]
    yield re.sub(rb"(?i)(transfer-encoding:[ \t]*)[\w-]+", lambda m: m[1] + b"base64", content)


def _row(name: str, *cells: str) -> None:
    print(f"  {name:<22}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _shares(messages: list[Sample]) -> Score:
    scores = [measure(messages, reader) for reader in (ours, modern, compat)]
    print(f"\nMIME: {len(messages)} messages; the study's figures are of the whole material")
    _row("", "ours", "std default", "std compat32", "field's best", "prototype")
    for what in ("crashes", "subject", "text", "html", "attachments", "file names", "U+FFFD"):
        wrong = what in {"crashes", "U+FFFD"}
        _row(what, *(each.share(what, wrong=wrong) for each in scores), *_STUDY.get(what, ("-", "-")))
    for name, share in (("p50 µs", 0.5), ("p99 µs", 0.99)):
        _row(name, *(f"{_percentile(each.micros, share):,.0f}" for each in scores))
    return scores[0]


def _mutated(messages: list[Sample]) -> None:
    crashes: list[str] = []
    slowest, where, count = 0.0, "", 0
    for file, content, _ in messages:
        for number, damaged in enumerate(mutations(content, file)):
            count += 1
            started = time.perf_counter()
            try:
                parse(damaged)
            except Exception as error:  # noqa: BLE001 - what is counted
                crashes.append(f"{file} #{number}: {type(error).__name__}")
            took = time.perf_counter() - started
            if took > slowest:
                slowest, where = took, f"{file} #{number}, {len(damaged):,} bytes"
    print(f"\nMutated: {count} messages, aim 0 crashes")
    _row("crashes", str(len(crashes)))
    _row("slowest", f"{slowest * 1e3:.1f} ms", f"   ({where})")
    for crash in crashes[:20]:
        print(f"    {crash}")


def typical(number: int = 1) -> bytes:
    """Text, HTML and a small picture, as a shop sends them: 20 kB."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = "Ann Example <ann@example.com>"
    message["To"] = "Agent <bench@agents.localhost>"
    message["Subject"] = "Ihre Bestellung wurde verschickt – Größe geändert"
    message["Date"] = "Mon, 02 Nov 2026 09:30:00 +0100"
    message["Message-ID"] = f"<{number}@example.com>"
    text = prose(4000, number)
    message.set_content(text + "\nGrüße", cte="quoted-printable")
    rows = "".join(f"<tr><td style='padding:0 0 16px;color:#333'>{line}</td></tr>\n" for line in text.split("\n"))
    link = "<a href='https://example.com/1'>See</a>"
    message.add_alternative(f"<html><body><table>{rows}</table>{link}</body></html>", "html")
    message.add_attachment(random.Random(1).randbytes(5500), "image", "png", filename="Größe.png")
    return bytes(message)


def _typical_time() -> None:
    content = typical()
    parse(content)
    times: list[float] = []
    gc.collect()
    for _ in range(200):
        started = time.thread_time()
        parse(content)
        times.append((time.thread_time() - started) * 1e3)
    print(f"\nOne message of {len(content):,} bytes: text, HTML, file. CPU of parse() alone; aim with commit 10 ms")
    _row("p50 / p99 ms", f"{statistics.median(times):.2f}", f"{_percentile(times, 0.99):.2f}")


def main(folder: Path, *, misses: bool = False) -> None:
    """Print all figures; with `misses` also what was expected and found where they differ."""
    listed = json.loads((folder / "mime" / "index.json").read_text(encoding="utf-8"))
    messages: list[Sample] = [
        (each["file"], (folder / "mime" / each["file"]).read_bytes(), each["expected"] or {}) for each in listed
    ]
    parse(b"\r\n" + b"\xcf\xf0\xe8 " * 100)  # imports what is imported on first use
    score = _shares(messages)
    if misses:
        for what, file, expected, found in score.misses:
            print(f"\n  {what}: {file}\n    expected {str(expected)[:600]!r}\n    found    {str(found)[:600]!r}")
    _mutated(messages)
    _typical_time()


if __name__ == "__main__":
    main(folder_argument(), misses="--misses" in sys.argv)
