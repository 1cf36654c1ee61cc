"""The outbound guard: looks for credentials, private keys and card numbers in mail before it leaves.

The rules are in `mail/secrets.py`. They run on a thread, and are imported when the first mail is sent. What is found is
told by kind and place, never repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

from daimon_mcp.domain.oversight import Finding
from daimon_mcp.mail.parse import extract_attachment
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.reading import unpacked
from daimon_mcp.store.messages import Content

MOST_CHARACTERS: Final = 200_000  # of each place that are looked at
MOST_FILES: Final = 10
MOST_FILE_BYTES: Final = 256 * 1024  # larger files are not looked into
MOST_FOUND: Final = 20  # findings that are told
_TEXT_ENDINGS: Final = (
    ".txt", ".csv", ".tsv", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".env", ".pem", ".key", ".log",
    ".md", ".xml", ".html", ".htm", ".py", ".js", ".ts", ".sh", ".sql", ".properties", ".ics", ".vcf", ".eml",
)  # fmt: skip
_TEXT_TYPES: Final = ("application/json", "application/xml", "application/x-pem-file", "message/rfc822")


@cache
def _guard() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="guard")


async def inspect_mail(core: Core, content: Content, raw: bytes) -> tuple[Finding, ...]:
    """What is found in a mail that is about to be sent; `raw` are its bytes. () when the guard is off."""
    if core.policy.guard == "off":
        return ()
    return await asyncio.get_running_loop().run_in_executor(_guard(), _inspect, content, raw)


def _inspect(content: Content, raw: bytes) -> tuple[Finding, ...]:
    from daimon_mcp.mail.secrets import kinds_in

    found: dict[Finding, None] = {}
    for place, number, text in _texts(content, raw):
        for kind in kinds_in(text[:MOST_CHARACTERS]):
            found[Finding(kind, place, number)] = None
    in_text = {each.kind for each in found if each.place == "body_text"}
    # The HTML says what the text says, again: told once.
    return tuple(each for each in found if each.place != "body_html" or each.kind not in in_text)[:MOST_FOUND]


def _texts(content: Content, raw: bytes) -> Iterator[tuple[str, int, str]]:
    """What can be read of a mail at little cost: the place, the file's number for an attachment, the text."""
    yield "subject", 0, content.subject
    yield "body_text", 0, content.text
    markup = unpacked(content.html)
    if markup:
        yield "body_html", 0, markup
    for number, part in _readable(content):
        yield "attachment", number, extract_attachment(raw, part).decode("utf-8", "replace")


def _readable(content: Content) -> Sequence[tuple[int, str]]:
    """Attachments that are small and plain text, with their numbers from 1."""
    return [
        (number, each.part)
        for number, each in enumerate(content.attachments, start=1)
        if each.size <= MOST_FILE_BYTES
        and (
            each.content_type.startswith("text/")
            or each.content_type in _TEXT_TYPES
            or each.filename.lower().endswith(_TEXT_ENDINGS)
        )
    ][:MOST_FILES]
