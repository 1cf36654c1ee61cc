"""One message over one session: envelope, content, and what came of it for each recipient, told honestly.

Until the final dot is written nothing was handed over, and the attempt is DEFERRED or REFUSED; from then on, no answer
means UNKNOWN, never a success and never a plain failure. A server that does not let us in never bounces mail.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import Attempt, Handover, Outcome
from daimon_mcp.logs import WIRE
from daimon_mcp.workers.smtp_client import Client
from daimon_mcp.workers.smtp_commands import NOT_ASCII, NotOffered, is_safe, mail_command, rcpt_command
from daimon_mcp.workers.smtp_reply import Answerer, Lost, Reply, clean

log = logging.getLogger(__name__)
wire_log = logging.getLogger(WIRE)

CHUNK: Final = 65_536
_LET_US_IN: Final = frozenset({530, 534, 535, 538})  # to MAIL: log in, or use TLS, first (RFC 4954 §6, RFC 3207 §4)


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


OnContent = Callable[[], Awaitable[None] | None]
"""Called before the content is written. Without the end of what it returns, the end of the content is not sent."""


@dataclass(slots=True)
class Transaction:
    """A message to hand over, and `results` as far as there are any. May be run on one client after the other.

    `content` is as `wire_form` makes it. `before_content` is called before its first octet is written, and what it
    returns has come to its end before the last ones are; `before_end` is called right before those. Times are seconds
    for each answer, and for that to the final dot.
    """

    handover: Handover
    content: bytes
    timeout: float
    answer_timeout: float
    before_content: OnContent
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
                attempt = await run.content()
                for address in run.accepted:
                    told = address in run.told and attempt.outcome is Outcome.ACCEPTED
                    self.results[address] = replace(attempt, dsn=True) if told else attempt
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
        self.told: set[str] = set()  # those of them whose wishes for reports (RFC 3461) went along
        self._transaction = transaction
        self._client = client
        self._answers = client.answers
        self._pipelining = "PIPELINING" in client.extensions
        self._heard = False

    async def envelope(self) -> None:
        """MAIL, RCPT and DATA, up to the server's 354; those it took are in `accepted`."""
        offers = self._client.extensions
        try:
            mail = mail_command(self._transaction.handover, offers)
        except NotOffered as lack:
            raise Ended(self._answers.refused(lack.code, lack.enhanced, str(lack))) from None
        recipients = self._takeable()
        if not recipients:
            return
        utf8 = mail.endswith(" SMTPUTF8")
        lines = [mail, *(rcpt_command(recipient, offers, utf8=utf8) for recipient in recipients), "DATA"]
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

    async def content(self) -> Attempt:
        """Write the content, and hear what has become of it."""
        ready = self._transaction.before_content()
        try:
            end = await self._write()
        except Ended:
            await self._get_ready(ready)  # so that it does not come after the result
            raise
        await self._get_ready(ready)
        return await self._finish(end)

    async def _get_ready(self, ready: Awaitable[None] | None) -> None:
        try:
            if ready is not None:
                await ready
        except Exception:
            log.exception("a message was not sent to its end, because that could not be put on record")
            self._client.abort()
            raise Ended(self._answers.deferred("internal error")) from None

    async def _write(self) -> bytes:
        """All of the content but its end, which is returned: with it, in one piece, goes the final dot."""
        transaction, wire = self._transaction, self._client.wire
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

    async def _finish(self, end: bytes) -> Attempt:
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

    def _takeable(self) -> list[Recipient]:
        """Those of the recipients left whom this server can be told. The others have their results."""
        left = self._transaction.left()
        if "SMTPUTF8" not in self._client.extensions:
            refusal = self._answers.refused(553, "5.6.7", NOT_ASCII)
            for recipient in left:
                if not recipient.address.isascii():
                    self._transaction.results[recipient.address] = refusal
            left = [recipient for recipient in left if recipient.address.isascii()]
        return left

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
            if line != f"RCPT TO:<{address}>":
                self.told.add(address)
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
