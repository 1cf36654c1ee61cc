"""Text, source code, JSON, XML, Markdown: as it is, in whatever charset it is."""

from __future__ import annotations

import codecs
import re

from daimon_mcp.extraction.sink import Sink, Unreadable
from daimon_mcp.mail.charsets import decode_text, decode_unlabelled, find_codec

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# An XML declaration, or the meta element of HTML.
_DECLARED = re.compile(
    rb"<(?:\?xml|meta)[^>]{1,200}?(?:encoding|charset)\s{0,5}=\s{0,5}[\"']?([A-Za-z0-9_.:-]{2,40})", re.I
)
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_GUESS_FROM = 256  # octets; guessers are wrong on less
_SAMPLE = 16_384
# What mail is written in where it is not in UTF-8; of the rest, some pass for these and are hardly in use.
_CANDIDATES = [
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "iso8859_2",
    "koi8_r", "koi8_u", "cp932", "euc_jp", "gb18030", "big5", "cp949",
]  # fmt: skip


def decode(content: bytes, charset: str | None) -> str:
    """The text of a file, by its byte order mark, its label, what it declares itself, or its octets. Never raises."""
    for mark, codec in _BOMS:
        if content.startswith(mark):
            return content.decode(codec, "replace").removeprefix("\ufeff")
    label = charset
    if not label:
        declared = _DECLARED.search(content[:2048])
        label = declared[1].decode("ascii") if declared else None
    if label and find_codec(label):
        return decode_text(content, label)[0]
    head = content[:_SAMPLE]
    zeros = head.count(0)
    if zeros * 5 > len(head) * 2:  # every other octet of Latin text in UTF-16
        order = "utf-16-le" if head[1::2].count(0) >= head[::2].count(0) else "utf-16-be"
        return content.decode(order, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return decode_text(content, _guess(content))[0] if len(content) >= _GUESS_FROM else decode_unlabelled(content)


def _guess(content: bytes) -> str | None:
    """A charset for text that is not UTF-8: judged by the lines that are not ASCII."""
    from charset_normalizer import from_bytes

    lines: list[bytes] = []
    size = 0
    for line in content[: 40 * _SAMPLE].splitlines(keepends=True):
        if not line.isascii():
            lines.append(line[:_SAMPLE])
            size += len(lines[-1])
            if size >= _SAMPLE:
                break
    best = from_bytes(b"".join(lines)[:_SAMPLE], cp_isolation=_CANDIDATES, enable_fallback=False).best()
    return best.encoding if best else None


def reject_binary(text: str) -> None:
    """Raises Unreadable("damaged") for what is called text and is none."""
    head = text[:8192]
    if len(_CONTROLS.findall(head)) > 5 + len(head) // 20:
        raise Unreadable("damaged")


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write the whole text."""
    text = decode(content, charset)
    reject_binary(text)
    sink.add(text)
