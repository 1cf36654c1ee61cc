"""From bytes to what the store keeps of a message; the costly part runs on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TypeVar

from daimon_mcp.extraction.kinds import supported
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.parse import RULES_VERSION, ParsedMessage, parse
from daimon_mcp.mail.threading import comparable
from daimon_mcp.operations.core import Core
from daimon_mcp.store.messages import Content, NewAttachment, Person

_T = TypeVar("_T")

_INLINE_BYTES = 2048  # reading this much takes no longer than handing it to a thread, whatever it holds
_PARSERS = 2  # threads: strangers choose how long a parse takes, and must not choose how long all else waits


def person(address: Address | None) -> Person:
    """An address as it is stored and shown."""
    return {"email": address.email, "name": address.name} if address else {"email": "", "name": ""}


@cache
def _parsers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_PARSERS, thread_name_prefix="parser")


async def on_parser(work: Callable[[], _T], octets: int) -> _T:
    """What `work` returns or raises; it reads `octets` of a stranger's mail and touches nothing shared.

    Short mail is read at once. All else goes to the threads of parsing alone, so that slow mail holds up no other
    work on threads. When cancelled the thread still finishes, and its result is dropped.
    """
    if octets <= _INLINE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_parsers(), work)


async def parsed(content: bytes) -> ParsedMessage:
    """`mail.parse`, off the event loop unless it is short."""
    return await on_parser(partial(parse, content), len(content))


async def understand(core: Core, content: bytes) -> tuple[Content, ParsedMessage]:
    """Parse a message and prepare its blob, so that the transaction only inserts rows."""
    message = await parsed(content)
    blob = await core.blobs.prepare(content)
    return (
        Content(
            blob=blob,
            message_id=message.message_id,
            in_reply_to=message.in_reply_to[0] if message.in_reply_to else None,
            references=message.references,
            from_=person(message.from_),
            to=[person(each) for each in message.to],
            cc=[person(each) for each in message.cc],
            reply_to=[person(each) for each in message.reply_to],
            subject=message.subject,
            base_subject=comparable(message.subject),
            preview=message.preview,
            text=message.text,
            reply_text=message.reply_body,
            html=await _packed(message.html),
            links=message.links,
            warnings=message.warnings,
            header_length=message.header_length,
            envelope=message.envelope,
            structure=message.structure,
            attachments=[
                NewAttachment(
                    each.part,
                    each.filename,
                    each.content_type,
                    each.content_id,
                    each.disposition or "attachment",
                    each.size,
                    each.offset,
                    each.length,
                    each.sha256,
                    supported(each.content_type, each.filename) is not None,
                )
                for each in message.attachments
            ],
            est_tokens=message.est_tokens,
            kind=message.kind,
            date=message.date,
            reading=message.reading,
            rules_version=RULES_VERSION,
        ),
        message,
    )


async def _packed(html: str | None) -> bytes | None:
    if html is None:
        return None
    import zstandard

    raw = html.encode("utf-8", "replace")
    compressor = zstandard.ZstdCompressor(level=3)
    return compressor.compress(raw) if len(raw) <= _INLINE_BYTES else await asyncio.to_thread(compressor.compress, raw)


async def safe_html(html: bytes | None) -> str | None:
    """The HTML of a message as a person may be shown it: what is hidden taken out, then sanitised."""
    markup = unpacked(html)
    if not markup:
        return None
    from daimon_mcp.mail.html_clean import clean_html

    return await on_parser(partial(clean_html, markup), len(markup))


def unpacked(html: bytes | None) -> str | None:
    """The HTML of a message as it was stored."""
    if html is None:
        return None
    import zstandard

    return zstandard.ZstdDecompressor().decompress(html, max_output_size=64 << 20).decode("utf-8", "replace")
