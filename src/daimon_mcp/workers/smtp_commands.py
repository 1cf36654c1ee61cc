"""What we say to a server: MAIL and RCPT with what it offers, and content, as they go over the wire."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Container
from typing import Final

from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import Handover

LARGE: Final = 262_144  # octets; from here on content is looked through in a thread
NOT_ASCII: Final = "the server does not take addresses outside ASCII"

_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"(?=@)')
_SPLITS_A_COMMAND = re.compile(r'[\x00-\x20\x7f<>"]')
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+")


class NotOffered(Exception):
    """The server has not what the message needs; `code` and `enhanced` are those a server would refuse it with."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.enhanced = enhanced


def mail_command(handover: Handover, offers: Container[str]) -> str:
    """MAIL, with the parameters of the extensions (keywords in upper case) that are offered. Raises NotOffered."""
    utf8 = handover.smtputf8 or not handover.mail_from.isascii()
    if utf8 and "SMTPUTF8" not in offers:
        raise NotOffered(553, "5.6.7", NOT_ASCII)
    eight_bit = not handover.content.isascii()
    if eight_bit and "8BITMIME" not in offers:
        raise NotOffered(554, "5.6.3", "the server does not take 8-bit content")
    words = [f"MAIL FROM:<{handover.mail_from}>"]
    if "SIZE" in offers:
        words.append(f"SIZE={len(handover.content)}")
    if eight_bit:
        words.append("BODY=8BITMIME")
    if "DSN" in offers:
        words += _given("RET", handover.ret) + _given("ENVID", handover.envid)
    if "SMTPUTF8" in offers and (utf8 or not all(one.address.isascii() for one in handover.recipients)):
        words.append("SMTPUTF8")
    return " ".join(words)


def rcpt_command(recipient: Recipient, offers: Container[str], *, utf8: bool) -> str:
    """RCPT; `utf8` is whether MAIL said SMTPUTF8, which an ORCPT outside ASCII needs (RFC 6533 §3)."""
    words = [f"RCPT TO:<{recipient.address}>"]
    if "DSN" in offers:
        words += _given("NOTIFY", recipient.notify)
        if recipient.orcpt is not None and (utf8 or recipient.orcpt.isascii()):
            words += _given("ORCPT", recipient.orcpt)
    return " ".join(words)


def is_safe(address: str) -> bool:
    """Whether `address` stays one argument of one command: no control characters, no spaces or `<>` outside quotes."""
    if _PLAIN.fullmatch(address):
        return True
    local = _QUOTED.match(address)
    rest = address[local.end() :] if local else address
    return bool(address) and not _SPLITS_A_COMMAND.search(rest) and address.isprintable()


async def wire_form(content: bytes) -> bytes:
    """`content`, CRLF lines, as it goes over the wire (RFC 5321 §4.5.2): dots doubled, and the line that ends it.

    Raises ValueError if it holds a CR or LF alone, which must never be sent.
    """
    return await asyncio.to_thread(_wire_form, content) if len(content) > LARGE else _wire_form(content)


def _wire_form(content: bytes) -> bytes:
    if not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r"):
        raise ValueError("the content holds a CR or LF alone")
    end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
    return b"".join((b"." if content.startswith(b".") else b"", content.replace(b"\r\n.", b"\r\n.."), end))


def _given(keyword: str, value: str | None) -> list[str]:
    """A parameter as a list of one; nothing where there is no value, or one that could be more than one parameter."""
    if not value or _SPLITS_A_COMMAND.search(value) or not value.isprintable():
        return []
    return [f"{keyword}={value}"]
