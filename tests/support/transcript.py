r"""Conversations kept as text, played against a server.

A line each, blank lines between them as you like:

    # a comment
    % stores: 1             a fact about this conversation, for the test that plays it
    C: MAIL FROM:<>         sent with CRLF; client lines that follow each other go out in one write
    C| half a line          sent without a line end
    C: [1200 octets]        a message of that size, and the line that ends it; as the wire log writes it
    C: <end>                the client has no more to say
    S: 250-mx.example *     what must come; `*` is any text
    S: ...                  the other lines of that reply, whatever they are
    S: <end>                the server hangs up

In what the client sends, `\r`, `\n`, `\t`, `\\` and `\x00` are what they are in Python, and in the wire log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.support.gate import PATIENCE

END = "<end>"
_MESSAGE = re.compile(r"\[(\d+) octets\]")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_SHORT = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass
class Transcript:
    """One conversation; `steps` are (line number, side, text)."""

    name: str
    facts: dict[str, str] = field(default_factory=dict[str, str])
    steps: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])


def read(path: Path) -> Transcript:
    """The conversation in a file; raises ValueError for a line that is none of the above."""
    transcript = Transcript(path.stem)
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        side, text = line[:2], line[3:]
        if not line or line.startswith("#"):
            continue
        if line.startswith("% "):
            key, _, value = line[2:].partition(": ")
            transcript.facts[key] = value
        elif side in {"C:", "C|", "S:"} and line[2:3] in {" ", ""}:
            transcript.steps.append((number, side, text))
        else:
            raise ValueError(f"{path.name}:{number}: what is {line!r}?")
    return transcript


def unescape(text: str) -> bytes:
    """What the client sends for `text`."""

    def character(found: re.Match[bytes]) -> bytes:
        return bytes.fromhex(found[1].decode()) if found[1] else _SHORT[found[2]]

    return _ESCAPE.sub(character, text.encode())


def message(size: int) -> bytes:
    """`size` octets of content in CRLF lines."""
    line = b"x" * 70 + b"\r\n"
    whole, rest = divmod(size, len(line))
    if rest == 1:  # no line is that short
        whole, rest = whole - 1, rest + len(line)
    return line * whole + (b"x" * (rest - 2) + b"\r\n" if rest else b"")


async def play(transcript: Transcript, host: str, port: int) -> None:
    """Talk to the server; AssertionError at the first line that is not as written."""
    async with await anyio.connect_tcp(host, port) as stream:
        replies = BufferedByteReceiveStream(stream)
        for side, group in _groups(transcript):
            if side == "C":
                await _send(stream, group)
            else:
                for number, expected in group:
                    await _expect(replies, f"{transcript.name}:{number}", expected)


def _groups(transcript: Transcript) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Lines of one side that follow each other; the client's with their line ends, escapes still in."""
    last, group = "", list[tuple[int, str]]()
    for number, side, text in transcript.steps:
        if side[0] != last and group:
            yield last, group
            group = []
        last = side[0]
        group.append((number, text if side != "C:" or text == END or _MESSAGE.fullmatch(text) else text + r"\r\n"))
    if group:
        yield last, group


async def _send(stream: anyio.abc.SocketStream, group: list[tuple[int, str]]) -> None:
    data = b""
    for _, text in group:
        if found := _MESSAGE.fullmatch(text):
            data += message(int(found[1])) + b".\r\n"
        elif text != END:
            data += unescape(text)
    if data:
        await stream.send(data)
    if group[-1][1] == END:
        await stream.send_eof()


async def _expect(replies: BufferedByteReceiveStream, where: str, expected: str) -> None:
    while True:
        try:
            with anyio.fail_after(PATIENCE):
                line = (await replies.receive_until(b"\r\n", 65_536)).decode()
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            line = END
        except TimeoutError:
            raise AssertionError(f"{where}: nothing came, but {expected!r} should have") from None
        if expected == "...":
            if line[3:4] == "-":
                continue
            assert line[3:4] == " ", f"{where}: {line!r} does not end a reply"
            return
        pattern = re.sub(r"[\[?]", lambda found: f"[{found[0]}]", expected)  # only * is special
        assert fnmatchcase(line, pattern), f"{where}: {line!r} came, and not {expected!r}"
        return
