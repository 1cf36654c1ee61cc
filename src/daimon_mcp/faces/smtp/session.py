"""An SMTP server session without I/O (RFC 5321): the commands, and the transaction they build.

A kind of listener is a subclass: it says in tables which commands and parameters there are, and in `check_sender`,
`check_recipient` and `accept` what its core thinks of a mail.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, cast

from daimon_mcp import logs
from daimon_mcp.domain.clock import SECOND
from daimon_mcp.domain.envelopes import Envelope, Peer, ReceivedContent, Recipient
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.faces.smtp import parameters, replies
from daimon_mcp.faces.smtp.addresses import after_keyword, read_path
from daimon_mcp.faces.smtp.content import Content
from daimon_mcp.faces.smtp.dialogue import MAX_UNSENT, Dialogue, HangUp, Need, Rejected, Steps
from daimon_mcp.faces.smtp.service import Service
from daimon_mcp.faces.smtp.transaction import Transaction

MAX_LINE: Final = 2048  # octets of a command with its CRLF; RFC 5321 §4.5.3.1.4 asks for 512, SMTPUTF8 for more

# A browser can be made to talk to this port; its request must not be read on for commands.
_HTTP: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_VISIBLE: Final = re.compile(r"[!-~]{1,255}")
_MAIL_SYNTAX: Final = replies.SYNTAX.format(syntax="MAIL FROM:<address> [parameters]")
_RCPT_SYNTAX: Final = replies.SYNTAX.format(syntax="RCPT TO:<address>")


class Session(Dialogue):
    """One peer and its transactions. Each command of `commands` is the method `do_` and its name in lower case.

    While a transaction is under way, `cid` is that of the session with the transaction's number (`c0ffee1234.2`): the
    id of the message in its reply, in Received and in log lines, where the session's own finds all it has handed over.

    A method gets the argument as text ("" for none), answers or raises Rejected, and returns steps where it needs
    something from outside.
    """

    greeting: ClassVar[str] = "ESMTP"
    commands: ClassVar[frozenset[str]] = frozenset(
        ("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "HELP", "VRFY", "EXPN", "STARTTLS", "QUIT")
    )
    hidden: ClassVar[frozenset[str]] = frozenset({"EXPN", "STARTTLS"})  # of these, what HELP does not list
    ends_group: ClassVar[frozenset[str]] = frozenset({"EHLO", "HELO", "LHLO", "DATA", "STARTTLS"})  # RFC 2920 §3.1
    mail_parameters: ClassVar[parameters.Table] = parameters.MAIL
    rcpt_parameters: ClassVar[parameters.Table] = parameters.RCPT
    longest_line: ClassVar[int] = MAX_LINE
    hello_first: ClassVar[str] = replies.HELLO_FIRST

    def __init__(self, service: Service, *, address: str, cid: str) -> None:
        super().__init__(cid=cid, max_line=self.longest_line)
        self.service = service
        self.limits = service.limits
        self.address = address
        self.tls = False
        self.helo = ""
        self.esmtp = False
        self.transaction: Transaction | None = None
        self._session_cid = cid
        self._transactions = 0
        self.dismissed: str | None = None  # its last reply, once it was dismissed
        self._content: Content | None = None
        self._errors = 0
        self._waiting_since = service.clock.now()

    def dismiss(self, reply: str) -> None:
        """End it with `reply` as soon as it waits for its peer, even within content. Its connection must `wake`."""
        self.dismissed = reply

    # What a kind of listener decides. Each raises Refused (the core's reasons) or Rejected (a reply line).

    def extensions(self) -> list[str]:
        """What EHLO lists, one keyword with its parameters a line."""
        offered = ["PIPELINING", f"SIZE {self.limits.max_message_bytes}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if "RET" in self.mail_parameters:
            offered.append("DSN")
        if self.service.offers_tls and not self.tls:
            offered.append("STARTTLS")
        return offered

    def check_mail(self) -> None:
        """Whether MAIL may be given now."""

    def check_sender(self, address: str) -> Steps[None]:
        """Whether `address` ("" for the null sender) may send here."""
        yield from ()

    @abstractmethod
    def check_recipient(self, address: str) -> Steps[None]:
        """Whether mail for `address` is taken here."""

    @abstractmethod
    def accept(self, envelope: Envelope, peer: Peer, content: ReceivedContent) -> Steps[str]:
        """Hand the message over; its id when it is durable."""

    def accepted(self, taken: str) -> str:
        """The reply to a message that was taken, `taken` being its id."""
        return replies.accepted(self.cid)

    # What the connection asks.

    @property
    def in_content(self) -> bool:
        """Whether a message is under way, or not answered yet."""
        return self._content is not None

    def due(self, heard: int) -> int:
        """When (epoch µs) patience ends with a peer that was last heard at `heard`."""
        if self._content is not None:
            return self._content.due(heard)
        return self._waiting_since + int(self.limits.command_seconds * SECOND)

    def waiting(self) -> None:
        self._waiting_since = self.service.clock.now()

    def over(self) -> None:
        """There is nothing to release."""

    # The dialogue.

    def answer(self, reply: str) -> None:
        if reply.startswith("5"):
            self._errors += 1
        super().answer(reply)

    def refuse(self, refused: Refused) -> str:
        """The reply line of a refusal."""
        return replies.refusal(refused, self.cid)

    def _converse(self) -> Steps[None]:
        self.answer(f"220 {self.service.hostname} {self.greeting}")
        while True:
            try:
                line = self._line_at_hand()
                if line is None:
                    line = yield from self.line()
                if (steps := self._command(line)) is not None:
                    yield from steps
            except Rejected as rejected:
                self.answer(rejected.reply)
            except Refused as refused:
                self.answer(self.refuse(refused))
            except HangUp:
                raise
            except Exception as error:
                if self._content is not None:  # where the next command starts is not known any more
                    raise
                self.answer(self.internal_error(error))
            if self._errors >= self.limits.max_errors:
                raise HangUp(replies.TOO_MANY_ERRORS)
            if len(self._out) > MAX_UNSENT:
                yield Need.FLUSH

    def _command(self, line: bytes) -> Steps[None] | None:
        name, _, rest = line.partition(b" ")
        verb = name.upper().decode("ascii", "replace")
        if verb not in self.commands:
            if verb in _HTTP:
                raise HangUp(replies.NOT_SMTP)
            raise Rejected(replies.UNKNOWN_COMMAND)
        if verb in self.ends_group and self._buffer:
            raise HangUp(replies.OUT_OF_STEP)
        try:
            argument = rest.decode("utf-8").strip(" ")
        except UnicodeDecodeError:
            raise Rejected(replies.NOT_UTF8) from None
        if _CONTROL.search(argument):
            raise Rejected(replies.CONTROL_CHARACTERS)
        method = cast("Callable[[str], Steps[None] | None]", getattr(self, f"do_{verb.lower()}"))
        return method(argument)

    def do_ehlo(self, argument: str) -> None:
        """Greet and list extensions; ends a transaction that was under way."""
        self.greet_extended("EHLO", argument)

    def do_helo(self, argument: str) -> None:
        """Greet a client without extensions; ends a transaction that was under way."""
        self._hello("HELO", argument, esmtp=False)
        self.answer(f"250 {self.service.hostname}")

    def greet_extended(self, verb: str, argument: str) -> None:
        """EHLO by whatever name."""
        self._hello(verb, argument, esmtp=True)
        self.answer("\r\n".join(f"250-{line}" for line in [self.service.hostname, *self.extensions()]) + "\r\n250 HELP")

    def _hello(self, verb: str, argument: str, *, esmtp: bool) -> None:
        """Note who says hello: one visible word, no more is asked (RFC 5321 §4.1.4)."""
        if not _VISIBLE.fullmatch(argument):
            raise Rejected(replies.SYNTAX.format(syntax=f"{verb} hostname"))
        self._end_transaction()
        self.helo = argument
        self.esmtp = esmtp

    def do_mail(self, argument: str) -> Steps[None]:
        """Start a transaction."""
        self._needs_hello()
        if self.transaction is not None:
            raise Rejected(replies.MAIL_TWICE)
        self.check_mail()
        path = after_keyword("FROM:", argument)
        if path is None:
            raise Rejected(_MAIL_SYNTAX)
        parsed = read_path(path)
        if parsed is None or (parsed[0] and "@" not in parsed[0]):
            raise Rejected(replies.BAD_SENDER)
        address, words = parsed
        found = parameters.read_parameters(words, self.mail_parameters if self.esmtp else {}, _MAIL_SYNTAX)
        if int(found.get("SIZE", 0)) > self.limits.max_message_bytes:
            raise Rejected(replies.TOO_LARGE.format(limit=self.limits.max_message_bytes))
        if "SMTPUTF8" not in found and not address.isascii():
            raise Rejected(replies.NEEDS_SMTPUTF8)
        yield from self.check_sender(address)
        self._transactions += 1
        self.transaction = Transaction(address, tuple(words), found)
        self._speak_of(f"{self._session_cid}.{self._transactions}")
        self.answer(replies.SENDER_OK)

    def _end_transaction(self) -> None:
        """Forget the transaction, if there is one."""
        if self.transaction is not None:
            self.transaction = None
            self._speak_of(self._session_cid)

    def _speak_of(self, cid: str) -> None:
        """What replies and log lines are about from here on."""
        self.cid = cid
        logs.cid.set(cid)

    def do_rcpt(self, argument: str) -> Steps[None]:
        """Name one recipient; the core is asked once, however often it is named."""
        self._needs_hello()
        transaction = self.transaction
        if transaction is None:
            raise Rejected(replies.MAIL_FIRST)
        path = after_keyword("TO:", argument)
        if path is None:
            raise Rejected(_RCPT_SYNTAX)
        try:
            recipient = self._recipient(path, smtputf8=transaction.smtputf8)
            if recipient.address not in transaction.recipients:
                if len(transaction.recipients) >= self.limits.max_recipients:
                    return self.answer(replies.TOO_MANY_RECIPIENTS)
                yield from self.check_recipient(recipient.address)
                transaction.recipients[recipient.address] = recipient
        except Exception:
            transaction.refused_some = True
            raise
        transaction.welcomed += 1
        self.answer(replies.RECIPIENT_OK)

    def _recipient(self, path: str, *, smtputf8: bool) -> Recipient:
        parsed = read_path(path)
        if parsed is None or not (address := parsed[0]) or ("@" not in address and address.lower() != "postmaster"):
            raise Rejected(replies.BAD_RECIPIENT)
        found = parameters.read_parameters(parsed[1], self.rcpt_parameters if self.esmtp else {}, _RCPT_SYNTAX)
        if not smtputf8 and not address.isascii():
            raise Rejected(replies.NEEDS_SMTPUTF8)
        notify = found.get("NOTIFY")
        return Recipient(address, notify=notify.upper() if notify else None, orcpt=found.get("ORCPT"))

    def do_data(self, argument: str) -> Steps[None]:
        """Take the message; the transaction is over with the reply, whatever it is."""
        if argument:
            raise Rejected(replies.SYNTAX.format(syntax="DATA"))
        self._needs_hello()
        transaction = self.transaction
        if transaction is None:
            raise Rejected(replies.MAIL_FIRST)
        if not transaction.recipients:
            raise Rejected(replies.NO_RECIPIENTS if transaction.refused_some else replies.RECIPIENT_FIRST)
        if not self.service.budget.has_room():
            raise Rejected(replies.TOO_MUCH_AT_ONCE)
        self.answer(replies.START_CONTENT)
        self._content = content = Content(self._buffer, self.service)
        try:
            reply = yield from self._take(transaction, content)
        finally:
            content.release()
        self._content = None  # not after an exception: there is no next command then
        for _ in range(self.replies_to_content(transaction)):
            self.answer(reply)
        self._end_transaction()

    def replies_to_content(self, transaction: Transaction) -> int:
        """How often the reply to a message is said."""
        return 1

    def _take(self, transaction: Transaction, content: Content) -> Steps[str]:
        """Read the message and hand it over; the reply."""
        received = yield from content.read()
        if isinstance(received, str):
            return received
        try:
            taken = yield from self.accept(transaction.envelope(), self.peer(transaction), received)
        except Refused as refused:
            return self.refuse(refused)
        except Rejected as rejected:
            return rejected.reply
        except HangUp:
            content.taken()  # cut off in the middle: whether the core has it is not known, so it stays on disk
            raise
        except Exception as error:  # noqa: BLE001  answered with an id, logged with a traceback
            return self.internal_error(error)
        content.taken()
        return self.accepted(taken)

    def peer(self, transaction: Transaction) -> Peer:
        """Who hands us the message of `transaction`."""
        return Peer(
            address=self.address,
            helo=self.helo,
            tls=self.tls,
            esmtp=self.esmtp,
            smtputf8=transaction.smtputf8,
            cid=self.cid,
            options=transaction.options,
        )

    def do_rset(self, argument: str) -> None:
        """Forget the transaction."""
        if argument:
            raise Rejected(replies.SYNTAX.format(syntax="RSET"))
        self._end_transaction()
        self.answer(replies.OK)

    def do_noop(self, argument: str) -> None:
        """Do nothing."""
        self.answer(replies.OK)

    def do_help(self, argument: str) -> None:
        """List the commands."""
        listed = sorted(self.commands - self.hidden, key=_ORDER.find)
        self.answer(replies.HELP.format(commands=" ".join(listed)))

    def do_vrfy(self, argument: str) -> None:
        """Tell nobody who lives here (RFC 5321 §7.3)."""
        if not argument:
            raise Rejected(replies.SYNTAX.format(syntax="VRFY address"))
        self.answer(replies.CANNOT_VERIFY)

    def do_expn(self, argument: str) -> None:
        """Not implemented: there are no lists."""
        raise Rejected(replies.NOT_IMPLEMENTED)

    def do_starttls(self, argument: str) -> Steps[None]:
        """RFC 3207; bytes behind it were refused before, so nothing sent in clear is read as if it came over TLS."""
        if argument:
            raise Rejected(replies.SYNTAX.format(syntax="STARTTLS"))
        if not self.service.offers_tls:
            raise Rejected(replies.NOT_IMPLEMENTED)
        if self.tls:
            raise Rejected(replies.TLS_ALREADY)
        self.answer(replies.START_TLS)
        yield Need.TLS
        self.started_tls()

    def started_tls(self) -> None:
        """The connection is secure from here on: nothing that was said before counts (RFC 3207 §4.2)."""
        self.tls = True
        self.helo = ""
        self.esmtp = False
        self._end_transaction()

    def do_quit(self, argument: str) -> None:
        """Say goodbye."""
        if argument:
            raise Rejected(replies.SYNTAX.format(syntax="QUIT"))
        raise HangUp(replies.BYE)

    def _needs_hello(self) -> None:
        if not self.helo:
            raise Rejected(self.hello_first)


_ORDER: Final = "LHLO EHLO HELO AUTH MAIL RCPT DATA RSET NOOP HELP VRFY QUIT"
