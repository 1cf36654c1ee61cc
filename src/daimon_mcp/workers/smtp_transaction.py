"""One message over one session: envelope, content, and what came of it for each recipient, told honestly.

Until the final dot is written nothing was handed over, and the attempt is DEFERRED or REFUSED; from then on, no answer
means UNKNOWN, never a success and never a plain failure. A server that does not let us in never bounces mail.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import Attempt, Handover, Outcome
from daimon_mcp.logs import WIRE
from daimon_mcp.workers.smtp_client import Client
from daimon_mcp.workers.smtp_reply import Answerer, Lost, Reply, clean

wire_log = logging.getLogger(WIRE)

CHUNK: Final = 65_536
LARGE: Final = 1_048_576  # octets; from here on content is looked through in a thread
_LET_US_IN: Final = frozenset({530, 534, 535, 538})  # to MAIL: log in, or use TLS, first (RFC 4954 §6, RFC 3207 §4)

_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"(?=@)')
_SPLITS_A_COMMAND = re.compile(r'[\x00-\x20\x7f<>"]')
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+")


class Ended(Exception):
    """The try is over; `attempt` is what came of it for all recipients that have no result of their own."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt.text)
        self.attempt = attempt


class SessionFailed(Ended):
    """The session broke down before any content was written: another host may be tried.

    `heard` is whether the server had answered MAIL, so that the connection was alive when the message came.
    """

    def __init__(self, attempt: Attempt, heard: bool) -> None:
        super().__init__(attempt)
        self.heard = heard


class ShutOut(Ended):
    """The server takes no mail from us as we are: it wants a login, or TLS."""


@dataclass(slots=True)
class Transaction:
    """A message to hand over, and `results` as far as there are any. May be run on one client after the other.

    `content` is as `wire_form` makes it. `before_content` is called before its first octet is written, `before_end`
    before its last ones are. Times are seconds for each answer, and for that to the final dot.
    """

    handover: Handover
    content: bytes
    timeout: float
    answer_timeout: float
    before_content: Callable[[], None]
    before_end: Callable[[], None]
    results: dict[str, Attempt] = field(default_factory=dict[str, Attempt])

    def check(self, answers: Answerer) -> None:
        """Refuse what cannot be sent to anybody. Raises Ended."""
        sender = self.handover.mail_from
        if sender and not is_safe(sender):
            raise Ended(answers.refused(553, "5.1.7", "the sender is not an address that can be sent"))
        for recipient in self.handover.recipients:
            if not is_safe(recipient.address):
                self.results[recipient.address] = answers.refused(553, "5.1.3", "not an address that can be sent")

    def left(self) -> list[Recipient]:
        """The recipients without a result, each once."""
        return list({one.address: one for one in self.handover.recipients if one.address not in self.results}.values())

    async def run(self, client: Client) -> None:
        """Hand the message over for those who are `left`. Raises Ended, SessionFailed; else all have results."""
        try:
            run = _Run(self, client)
            await run.envelope()
            if run.accepted:
                end = await run.content()
                self.results.update(dict.fromkeys(run.accepted, await run.finish(end)))
        except Ended:
            raise
        except BaseException:  # in the middle of something
            client.abort()
            raise


class _Run:
    """One transaction on one client. Where the server takes a pipeline (RFC 2920), all of the envelope is written at
    once, DATA included, and `_ask` only reads the answers, in the same order."""

    def __init__(self, transaction: Transaction, client: Client) -> None:
        self.accepted: list[str] = []
        self._transaction = transaction
        self._client = client
        self._answers = client.answers
        self._pipelining = "PIPELINING" in client.extensions
        self._heard = False

    async def envelope(self) -> None:
        """MAIL, RCPT and DATA, up to the server's 354; those it took are in `accepted`."""
        mail = self._mail()
        recipients = self._takeable()
        if not recipients:
            return
        utf8 = mail.endswith(" SMTPUTF8")
        lines = [mail, *(self._rcpt(recipient, utf8) for recipient in recipients), "DATA"]
        client = self._client
        client.messages += 1
        try:
            if client.needs_reset:
                await self._reset()
            if self._pipelining:
                client.say(lines)
            refusal = self._refusal(await self._ask(mail))
            if refusal is not None:
                if self._pipelining:
                    await self._skip(len(recipients))
                raise refusal
            client.needs_reset = True  # until the end of the content
            for recipient, line in zip(recipients, lines[1:-1], strict=True):
                await self._name(recipient.address, line)
            if self.accepted or self._pipelining:
                await self._data()
        except Lost as error:
            client.abort()
            text = f"lost the connection before the message was handed over: {error}"
            raise SessionFailed(self._answers.deferred(text, "4.4.2"), self._heard) from None

    async def content(self) -> bytes:
        """Write all of the content but its end, which is returned: with it, in one piece, goes the final dot."""
        transaction, wire = self._transaction, self._client.wire
        transaction.before_content()
        wire_log.debug("C: [%d octets]", len(transaction.content))
        content, start = transaction.content, 0
        try:
            while len(content) - start > CHUNK:
                wire.send(content[start : start + CHUNK])
                await wire.drained(transaction.timeout)
                start += CHUNK
        except Lost as error:
            raise self._cut_short(error) from None
        return content[start:]

    async def finish(self, end: bytes) -> Attempt:
        """Write the end of the content and hear what has become of it."""
        transaction, client = self._transaction, self._client
        transaction.before_end()
        try:
            client.wire.send(end)
        except Lost as error:  # not one octet of the end was written
            raise self._cut_short(error) from None
        try:
            reply = await client.wire.reply(transaction.answer_timeout)
        except Lost as error:
            client.abort()
            text = clean(f"no answer after the end of the message: {error}")
            return Attempt(Outcome.UNKNOWN, None, None, text, self._answers.remote, self._answers.tls)
        attempt = self._answers.answered(reply, Outcome.UNKNOWN)
        client.needs_reset = False
        if reply.code == 421 or attempt.outcome is Outcome.UNKNOWN:
            client.abort()
        return attempt

    def _mail(self) -> str:
        """The MAIL command. Raises Ended where the server has not what the message needs."""
        handover, offers = self._transaction.handover, self._client.extensions
        utf8 = handover.smtputf8 or not handover.mail_from.isascii()
        if utf8 and "SMTPUTF8" not in offers:
            raise Ended(self._answers.refused(553, "5.6.7", "the server does not take addresses outside ASCII"))
        eight_bit = not handover.content.isascii()
        if eight_bit and "8BITMIME" not in offers:
            raise Ended(self._answers.refused(554, "5.6.3", "the server does not take 8-bit content"))
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

    def _takeable(self) -> list[Recipient]:
        """Those of the recipients left whom this server can be told. The others have their results."""
        left = self._transaction.left()
        if "SMTPUTF8" not in self._client.extensions:
            refusal = self._answers.refused(553, "5.6.7", "the server does not take addresses outside ASCII")
            for recipient in left:
                if not recipient.address.isascii():
                    self._transaction.results[recipient.address] = refusal
            left = [recipient for recipient in left if recipient.address.isascii()]
        return left

    def _rcpt(self, recipient: Recipient, utf8: bool) -> str:
        words = [f"RCPT TO:<{recipient.address}>"]
        if "DSN" in self._client.extensions:
            words += _given("NOTIFY", recipient.notify)
            if recipient.orcpt is not None and (utf8 or recipient.orcpt.isascii()):
                words += _given("ORCPT", recipient.orcpt)
        return " ".join(words)

    async def _ask(self, line: str) -> Reply:
        if not self._pipelining:
            self._client.say([line])
        return await self._client.wire.reply(self._transaction.timeout)

    async def _reset(self) -> None:
        reply = await self._client.ask("RSET")
        if reply.code != 250:
            raise Lost(f"the server answered RSET with {reply.code}")
        self._client.needs_reset = False

    def _refusal(self, reply: Reply) -> Ended | None:
        """What an answer to MAIL means for the message, if it is a no."""
        self._end_of_session(reply)
        self._heard = True
        if reply.code in _LET_US_IN:
            return ShutOut(self._answers.put_off(reply))
        return None if reply.code // 100 == 2 else Ended(self._answers.answered(reply, Outcome.DEFERRED))

    async def _skip(self, recipients: int) -> None:
        """Hear out the answers to a pipeline whose MAIL was refused."""
        try:
            for _ in range(recipients):
                await self._ask("")
            if (await self._ask("")).code == 354:  # it would take a message from nobody
                self._client.abort()
        except Lost:
            self._client.abort()

    async def _name(self, address: str, line: str) -> None:
        reply = await self._ask(line)
        self._end_of_session(reply)
        if reply.code // 100 == 2:
            self.accepted.append(address)
        else:
            self._transaction.results[address] = self._answers.answered(reply, Outcome.DEFERRED)

    async def _data(self) -> None:
        """The answer to DATA, which must be 354; without recipients there is nothing to say after it."""
        reply = await self._ask("DATA")
        if not self.accepted:
            if reply.code == 354:  # RFC 2920 §3.1: the server waits for content, and gets none
                try:
                    self._client.wire.send(b".\r\n")
                    await self._client.wire.reply(self._transaction.timeout)
                    self._client.needs_reset = False
                except Lost:
                    self._client.abort()
            elif reply.code == 421:
                self._client.abort()
            return
        if reply.code == 354:
            return
        self._end_of_session(reply)
        attempt = self._answers.answered(reply, Outcome.DEFERRED)
        if attempt.outcome is Outcome.ACCEPTED:  # which makes no sense, and nothing was accepted
            self._client.abort()
            attempt = self._answers.deferred(f"unexpected reply {reply.code} to DATA")
        raise Ended(attempt)

    def _end_of_session(self, reply: Reply) -> None:
        """421 is a goodbye wherever it comes; a code that answers no command means that we are out of step."""
        if reply.code == 421:
            self._client.abort()
            raise SessionFailed(self._answers.put_off(reply), self._heard)
        if reply.code // 100 == 3:
            raise Lost(f"unexpected reply {reply.code}")

    def _cut_short(self, error: Lost) -> Ended:
        """The server did not wait for the end of the content: what it said, if anything, before it was lost."""
        reply = self._client.wire.early_reply()
        self._client.abort()
        if reply is not None and reply.code >= 400:
            return Ended(self._answers.answered(reply, Outcome.DEFERRED))
        text = f"lost the connection before the message was handed over: {error}"
        return Ended(self._answers.deferred(text, "4.4.2"))


async def wire_form(content: bytes) -> bytes:
    """`content`, CRLF lines, as it goes over the wire (RFC 5321 §4.5.2): dots doubled, and the line that ends it.

    Raises ValueError if it holds a CR or LF alone, which must never be sent.
    """
    return await asyncio.to_thread(_wire_form, content) if len(content) > LARGE else _wire_form(content)


def _wire_form(content: bytes) -> bytes:
    rest = content.replace(b"\r\n", b"")
    if b"\n" in rest or b"\r" in rest:
        raise ValueError("the content holds a CR or LF alone")
    end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
    stuffed = content.replace(b"\r\n.", b"\r\n..") if b"\r\n." in content else content
    return b"".join((b"." if stuffed.startswith(b".") else b"", stuffed, end))


def is_safe(address: str) -> bool:
    """Whether `address` stays one argument of one command: no control characters, no spaces or `<>` outside quotes."""
    if _PLAIN.fullmatch(address):
        return True
    local = _QUOTED.match(address)
    rest = address[local.end() :] if local else address
    return bool(address) and not _SPLITS_A_COMMAND.search(rest) and address.isprintable()


def _given(keyword: str, value: str | None) -> list[str]:
    """A parameter as a list of one; nothing where there is no value, or one that could be more than one parameter."""
    if not value or _SPLITS_A_COMMAND.search(value) or not value.isprintable():
        return []
    return [f"{keyword}={value}"]
