"""What a bounce says: which mail, which recipients, what became of them, and why in plain words of our own.

Read from delivery status notifications (RFC 3464) and feedback reports (RFC 5965), and from the text of mail servers
that write neither: qmail's format (QSBMF), Exim, sendmail, Exchange, and those that look like them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from daimon_mcp.mail.address_headers import read_addresses
from daimon_mcp.mail.arf import read_feedback
from daimon_mcp.mail.dsn import Failure, original_id, read_dsn
from daimon_mcp.mail.headers import Header, decode_header, first, message_ids, parse_parameters, raw_text, scan_headers
from daimon_mcp.mail.sanitize import clean_line, clean_text
from daimon_mcp.mail.structure import analyse
from daimon_mcp.mail.xtext import decode

_LATE = re.compile(r"\b(?:warning|delay(?:ed)?|deferred|not yet|still)\b", re.IGNORECASE)

MAX_TEXT = 20_000
MAX_TEXT_RECIPIENTS = 100

_ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
_ACTION_OF_CLASS = {"2": "delivered", "4": "delayed", "5": "failed"}

# RFC 3463 §3 and the registry it began, by subject and detail; a subject alone speaks for details unknown to us.
_REASONS = {
    "1": "something is wrong with the address",
    "1.1": "the address does not exist",
    "1.2": "the domain of the address does not exist",
    "1.3": "the address is not written correctly",
    "1.4": "the address stands for more than one mailbox",
    "1.6": "the mailbox has moved and nobody knows where to",
    "1.7": "the sender's address was not accepted",
    "1.8": "the sender's domain was not accepted",
    "1.10": "the domain takes no mail",
    "2": "the mailbox takes no mail at present",
    "2.1": "the mailbox is disabled",
    "2.2": "the mailbox is full",
    "2.3": "the message is larger than the mailbox takes",
    "2.4": "the mailing list could not be expanded",
    "3": "the receiving mail system has a problem",
    "3.1": "the receiving mail system is full",
    "3.2": "the receiving mail system takes no mail at present",
    "3.4": "the message is too large",
    "4": "the mail could not be routed to its server",
    "4.1": "the server could not be reached",
    "4.2": "the connection broke off",
    "4.3": "the domain could not be looked up",
    "4.4": "no server for the domain could be found",
    "4.5": "the receiving mail system is too busy",
    "4.6": "the mail went in circles",
    "4.7": "the time for delivering it ran out",
    "5": "the mail servers did not understand each other",
    "5.3": "it had too many recipients",
    "6": "the receiving mail system cannot handle this kind of content",
    "6.7": "the receiving mail system cannot handle addresses beyond ASCII",
    "7": "refused as spam or by policy",
    "7.2": "the sender may not write to this mailing list",
    "7.8": "the sending server did not prove who it is",
    "7.10": "the receiving mail system demands encryption",
    "7.13": "the mailbox is disabled",
    "7.17": "the address belongs to somebody else now",
    "7.20": "the sender could not be authenticated",
    "7.21": "the sender could not be authenticated",
    "7.22": "the sender could not be authenticated",
    "7.23": "the sender could not be authenticated",
    "7.24": "the sender could not be authenticated",
    "7.25": "the sending server has no proper name in the DNS",
    "7.26": "the sender could not be authenticated",
    "7.27": "the sender's domain takes no mail",
    "7.28": "too much mail was sent at once",
}
_NO_REASON = "the receiving mail system gave no reason"
_OF_ACTION = {
    "delivered": "it was delivered",
    "relayed": "it was handed to a mail system that sends no reports",
    "expanded": "it was sent on to the members of a list",
    "complained": "the recipient marked it as unwanted",
}

# What servers write when their code says little: (subject.detail, words), the first that is found decides.
_WORDS = tuple(
    (detail, re.compile("|".join(words), re.IGNORECASE))
    for detail, *words in (
        ("2.2", r"mail ?box (?:is )?(?:too )?full", r"over .{0,20}quota", r"overquota",
         r"(?:disk|mail) quota", r"quota (?:is )?exceeded",
         r"exceed\w{0,3} .{0,30}quota", r"(?:storage|space) (?:limit|quota)",
         r"(?:insufficient|not enough) (?:disk|mail ?box|storage|system)? ?(?:space|storage)"),
        ("3.4", r"(?:message|mail|size) (?:is )?(?:too (?:large|big)|exceeds)", r"size limit",
         r"exceed\w{0,3} .{0,30}size"),
        ("1.2", r"(?:host|domain)(?: or domain)?(?: name)? (?:was |is |could )?not (?:be )?found", r"no such domain",
         r"domain .{0,60}(?:does not exist|doesn't exist|couldn't be found)", r"unrouteable (?:mail )?domain",
         r"nxdomain", r"couldn't find any host named"),
        ("2.1", r"(?:account|mail ?box|user|address) .{0,40}"
                r"(?:disabled|suspended|inactive|deactivated|closed|discontinued)"),
        ("1.1", r"(?:user|recipient|mail ?box|address|account|alias) .{0,60}"
                r"(?:unknown|not (?:found|exist|listed|known|recognized|a known)|couldn't be found|doesn't exist"
                r"|no longer)",
         r"(?:user|recipient|account) unknown", r"address not found",
         r"(?:unknown|no such|invalid|non-?existent|bad) (?:e-?mail )?"
         r"(?:user|recipient|receiver|mail ?box|address|account|local|person|destination)",
         r"doesn't have an? .{0,60}account", r"no mail ?box here", r"does not like recipient", r"unrouteable address",
         r"recip(?:ient )?not ?found"),
        ("7.28", r"rate ?limit", r"too many (?:message|mail|connection)", r"too fast"),
        ("3.2", r"gr[ea]y-?list", r"try (?:again )?(?:later|in \d)", r"temporarily (?:deferred|unavailable|rejected)"),
        ("7.1", r"\bspam", r"black ?list", r"block ?list", r"blocked", r"\bdns[bw]l", r"\brbl\b", r"reputation",
         r"policy", r"\bspf\b", r"\bdkim\b", r"\bdmarc\b", r"unsolicited", r"relay(?:ing)? (?:access )?(?:denied|not)"),
        ("1.1", r"address rejected", r"\b550\b.{0,60}mail ?box unavailable"),
        ("7.1", r"access denied", r"not permitted"),
        ("4.6", r"mail loop", r"too many hops", r"hop count"),
        ("4.1", r"timed? ?out", r"connection (?:was )?refused", r"could ?n[o']t (?:be )?connect", r"no route",
         r"unreachable", r"not (?:be )?reached", r"establish an smtp connection"),
        ("4.7", r"too long", r"retry time", r"expired", r"time limit"),
    )
)  # fmt: skip
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
_REPLY_CODE = re.compile(r"(?<![\w.])([45])[0-5]\d(?=[ \t:#'\"),;-])")

_MAILER = re.compile(r"(?:mailer-?daemon|mail-?daemon|postmaster|microsoftexchange[0-9a-f]{32})(?:[-+_.@]|\Z)", re.I)
# How the text of a bounce begins, at the maker's choice of words.
_OPENING = re.compile(
    r"this is the (?:qmail-send program|mta program|mail system at host|postfix program)"
    r"|message was created automatically by (?:the )?mail"
    r"|message (?:that )?you (?:have )?sent .{0,80}?(?:could|has|was|can)(?: ?not|n't|n’t)"
    r"|(?:could|can|was|were|has|have)(?: ?not|n't|n’t)(?: yet)? (?:be(?:en)? |able to )?(?:successfully )?deliver"
    r"|(?:unable|failed|impossible|not able|not possible) to (?:successfully )?deliver"
    r"|delivery (?:to the following|of (?:your|the|this) (?:e-?mail|mail|message)|(?:has been|is) delayed"
    r"|has failed|failed|status notification|attempts? (?:to|has|have) )"
    r"|did(?:n't|n’t| not) reach the following recipient"
    r"|the following (?:recipient|address|user|destination)\S{0,6} .{0,40}?(?:fail|had|not |undeliver|error)"
    r"|error delivering (?:your|the) |encountered delivery problems"
    r"|undeliver(?:able|ed)|mail delivery (?:failed|error|system)"
    r"|(?:address|recipient|domain) not found|message (?:blocked|rejected|not delivered|bounced)",
    re.IGNORECASE,
)
_DELAYED = re.compile(
    r"(?:has|have) not (?:yet )?been delivered|will (?:continue|keep|be retried|try)|still (?:be )?(?:trying|in the)"
    r"|transient non-fatal|(?:not|n't) need to resend|delivery (?:has been |is )?delayed|delivery incomplete"
    r"|warning message only|temporary problem delivering",
    re.IGNORECASE,
)
_GIVEN_UP = re.compile(
    r"permanent|giv(?:en|ing) up|has failed|have failed|failed:|could not be delivered", re.IGNORECASE
)
# From here on the text is the mail that came back.
_RETURNED = re.compile(
    r"[ \t]{0,4}[-_*=+]{2,} ?.{0,12}(?:below this line|this is a copy|(?:original|returned|bounced|undelivered) message"
    r"|message (?:header|body|copy|text)|unsent message|(?:the )?(?:header|body)|start of|forwarded|content of)"
    r"|(?:original )?message headers?(?: follow.{0,20})?:?[ \t]*\Z"
    r"|(?:return-path|received|message-id|mime-version|x-[\w-]{1,40}|dkim-signature):",
    re.IGNORECASE,
)
_ADDRESS = r"[^\s<>()\[\]:;,\"'@|]{1,64}@[\w.-]{1,253}\w|[^\s<>()\[\]:;,\"'@|]{1,64}@\[[\w.:]{1,60}\]"
_RECIPIENT = re.compile(rf"[ \t*•-]{{0,8}}(?:<({_ADDRESS})>|({_ADDRESS}))(?:\Z|[:;,]|\.\.\.| on | \(|[ \t]*\Z)")
_NAMED_RECIPIENT = re.compile(rf"[ \t*•-]{{0,8}}[^<>()@:]{{1,80}}?[(<](?:mailto:)?({_ADDRESS})[)>][ \t]*\Z")
_IN_PROSE = re.compile(
    rf"(?:(?:deliver(?:ed|y)?|sent|message|mail|recipient|user) (?:to|for):?|(?:address|recipient|user|receiver|for):)"
    rf" ?['\"<]{{0,2}}({_ADDRESS})",
    re.IGNORECASE,
)
_RETURNED_ID = re.compile(r"^[> \t]{0,8}Message-ID:[ \t]{0,8}(<[^<>\s]{1,998}>)", re.IGNORECASE | re.MULTILINE)
_LINE = 600


@dataclass(frozen=True, slots=True)
class BouncedRecipient:
    """What became of the mail for one recipient.

    `status` is the enhanced code ("5.1.1"; RFC 3463): the reported one, or the more exact one the server's words had;
    "" for a complaint. `action` is failed, delayed, delivered, relayed, expanded or complained. `diagnostic` is what
    the server said, a stranger's clean words; `reason` is ours. `permanent` says that sending it again is pointless: a
    failure of class 5, or a complaint. `original_recipient` is the address that the mail was sent to, where a report
    says that it became another one on the way (RFC 3464 §2.3.1); "" where it is the same or not said.
    """

    recipient: str
    status: str
    action: str
    diagnostic: str
    reason: str
    permanent: bool
    original_recipient: str = ""


@dataclass(frozen=True, slots=True)
class Bounce:
    """A bounce or complaint: the Message-ID of the mail it is about if it says so, and its recipients if it names any.

    At most dsn.MAX_RECIPIENTS recipients from a report, MAX_TEXT_RECIPIENTS from a text. `complaint` is the type of
    a feedback report, such as `abuse`; "" for a bounce.
    """

    original_message_id: str | None
    failures: tuple[BouncedRecipient, ...]
    complaint: str = ""


def is_mailer(headers: Mapping[str, str], sender: str) -> bool:
    """Whether a mail system wrote it: null return path, a mailer's address, or a header only such have.

    `headers` by lower-case name, `sender` the address of From.
    """
    null_path = headers.get("return-path", "").replace(" ", "") == "<>"
    # Some write no address at all: `From: MAILER-DAEMON <>`.
    name = "" if "@" in sender else headers.get("from", "").strip('"< ').partition(" ")[0].rstrip('"<>')
    return null_path or "x-failed-recipients" in headers or is_mailer_address(sender) or is_mailer_address(name)


def is_mailer_address(email: str) -> bool:
    """Whether it is an address that mail systems write from."""
    return bool(_MAILER.match(email))


def is_late_notice(subject: str) -> bool:
    """Whether a subject says that mail is late, and not that it is lost. Evidence only of what mail systems write."""
    return bool(_LATE.search(subject[:300]))


def is_bounce_text(text: str) -> bool:
    """Whether a text begins as bounces do. Evidence only together with `is_mailer`: people quote bounces too."""
    return _opening(text) is not None


def _opening(text: str) -> int | None:
    """Where a text begins as bounces do; their lines may break anywhere in the words."""
    match = _OPENING.search(text[:3000].replace("\n", " "))
    return match.start() if match else None


def read_bounce(content: bytes, text: str) -> Bounce | None:
    """What a bounce or complaint says, or None when `content` is neither; `text` is its body. Never raises.

    A report counts when the mail itself is one or comes from a mail system, not when somebody passes one on.
    """
    fields = scan_headers(content, 0)[0]
    is_report = parse_parameters(first(fields, "content-type") or b"")[0] == "multipart/report"
    mailer = is_mailer(_texts(fields), next((a.email for a in read_addresses(first(fields, "from"))), ""))
    if not is_report and not mailer:
        return None
    report = read_dsn(content)
    if report is not None and report.failures:
        return Bounce(report.original_message_id, tuple(map(_of_failure, report.failures)))
    if is_report and (complaint := _read_complaint(content)) is not None:
        return complaint
    if mailer:
        return _read_text(content, fields, clean_text(text[:MAX_TEXT]))
    return Bounce(report.original_message_id, ()) if report is not None else None


def _texts(fields: Sequence[Header]) -> dict[str, str]:
    """The fields that `is_mailer` looks at."""
    names = ("return-path", "x-failed-recipients", "from")
    return {name: raw_text(raw) for name in names if (raw := first(fields, name)) is not None}


def _of_failure(failure: Failure) -> BouncedRecipient:
    action = failure.action if failure.action in _ACTIONS else _ACTION_OF_CLASS.get(failure.status[:1], "failed")
    read = _recipient(failure.recipient, failure.status, action, failure.diagnostic)
    original = clean_line(decode(failure.orcpt.partition(";")[2]) or "").strip("<>")[:320]
    return read if original.lower() == failure.recipient.lower() else replace(read, original_recipient=original)


def _recipient(recipient: str, status: str, action: str, diagnostic: str) -> BouncedRecipient:
    status = _exact_status(status, action, diagnostic)
    return BouncedRecipient(
        recipient=recipient,
        status=status,
        action=action,
        diagnostic=diagnostic,
        reason=_reason(status, action, diagnostic),
        permanent=action == "failed" and status.startswith("5"),
    )


def _exact_status(status: str, action: str, diagnostic: str) -> str:
    """The reported code unless it says no more than its class while the server's own words have a better one."""
    if status and not status.endswith(".0.0"):
        return status
    for match in _ENHANCED.finditer(diagnostic):
        if not match[1].endswith(".0.0") and (not status or match[1][0] == status[0]):
            return match[1]
    if status:
        return status
    if action not in {"failed", "delayed"}:
        return "2.0.0"
    enhanced = _ENHANCED.search(diagnostic)
    if enhanced:
        return enhanced[1]
    code = _REPLY_CODE.search(diagnostic)
    return f"{code[1] if code else '4' if action == 'delayed' else '5'}.{_said(diagnostic) or '0.0'}"


def _said(diagnostic: str) -> str | None:
    """Subject and detail that the words of a server come to."""
    return next((detail for detail, words in _WORDS if words.search(diagnostic)), None)


def _reason(status: str, action: str, diagnostic: str) -> str:
    if action in _OF_ACTION:
        return _OF_ACTION[action]
    _, _, detail = status.partition(".")
    # Codes that servers use for many things: what is said beside them is more exact.
    if detail.endswith(".0") or detail in {"4.1", "4.4"} or status.startswith("4.7."):
        detail = _said(diagnostic) or detail
    return _REASONS.get(detail) or _REASONS.get(detail.partition(".")[0]) or _NO_REASON


def _read_complaint(content: bytes) -> Bounce | None:
    """A feedback report (RFC 5965) that is a complaint; others (not-spam, auth-failure) are none."""
    feedback = read_feedback(content)
    if feedback is None or not feedback.is_complaint:
        return None
    return Bounce(
        feedback.original_message_id,
        tuple(
            BouncedRecipient(recipient, "", "complained", "", _OF_ACTION["complained"], permanent=True)
            for recipient in feedback.recipients
        ),
        feedback.feedback_type,
    )


def _read_text(content: bytes, fields: Sequence[Header], text: str) -> Bounce | None:
    """A bounce that is words alone. `text` is clean."""
    named = decode_header(first(fields, "x-failed-recipients") or b"")
    opening = _opening(text)
    if not named and opening is None:
        return None
    notice = _notice(text, opening or 0)
    said = _recipients(notice)
    for address in named.split(",")[:MAX_TEXT_RECIPIENTS] if named else ():
        if "@" in address:
            said.setdefault(address.strip(" <>")[:320].casefold(), (address.strip(" <>")[:320], []))
    if not said:
        return None if not named and not _has_code(notice) else Bounce(_returned_id(content, fields, text), ())
    whole = "\n".join(notice)
    action = "delayed" if _DELAYED.search(whole) and not _GIVEN_UP.search(whole) else "failed"
    failures: list[BouncedRecipient] = []
    for key, (address, lines) in said.items():
        diagnostic = clean_line(" ".join(lines))[:1000]
        if not _ENHANCED.search(diagnostic) and not _REPLY_CODE.search(diagnostic):
            more = [line for line in notice if key in line.casefold() and _has_code([line])]
            more = more[:3] or ([] if _said(diagnostic) or len(said) > 1 else [line for line in notice if line.strip()])
            diagnostic = clean_line(" ".join([*lines, *more]))[:1000]
        failures.append(_recipient(address, "", action, diagnostic))
    return Bounce(_returned_id(content, fields, text), tuple(failures))


def _has_code(lines: Sequence[str]) -> bool:
    return any(_ENHANCED.search(line) or _REPLY_CODE.search(line) for line in lines)


def _notice(text: str, start: int) -> list[str]:
    """The lines of the notice, from the one that opens it to where the returned mail begins."""
    lines: list[str] = []
    for line in text[text.rfind("\n", 0, start) + 1 :].split("\n"):
        clipped = line[:_LINE]
        if lines and _RETURNED.match(clipped):
            break
        lines.append(clipped)
    return lines


def _recipients(notice: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """The recipients a notice names, by their address in one case: the address, and what is said under it."""
    found: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] | None = None
    for line in notice:
        match = _RECIPIENT.match(line) or _NAMED_RECIPIENT.match(line)
        address = (match[1] or (match[2] if match.re is _RECIPIENT else "")) if match else ""
        if match and address and not _MAILER.match(address):
            if address.casefold() not in found and len(found) >= MAX_TEXT_RECIPIENTS:
                break
            lines = found.setdefault(address.casefold(), (address[:320], []))[1]
            lines.append(line[match.end() :])
        elif not line.strip():
            # What is said may follow after a blank line: while nothing has been said, go on.
            lines = lines if lines is not None and not any(part.strip() for part in lines) else None
        elif lines is not None and len(lines) < 20:
            lines.append(line)
    if not found:
        for match in _IN_PROSE.finditer(clean_line(" ".join(notice))[:MAX_TEXT]):
            if not _MAILER.match(match[1]) and len(found) < MAX_TEXT_RECIPIENTS:
                found.setdefault(match[1].casefold(), (match[1][:320], []))
    return found


def _returned_id(content: bytes, fields: Sequence[Header], text: str) -> str | None:
    """The Message-ID of the mail that came back: in the text, attached, or referred to."""
    if match := _RETURNED_ID.search(text):
        return next(iter(message_ids(match[1].encode("utf-8", "replace"))), None)
    return original_id(content, analyse(content))
