"""What another mail server's reply means: one of a few cases, each with words of ours in `prompts/delivery/<case>.md`.

Three things speak: the words of the reply, its enhanced status (RFC 3463, RFC 5248) and its code (RFC 5321 §4.2.1).
Servers use one status for many things (5.7.1 most of all), so words that leave no doubt come first, then the status,
then words that say little, then the code. Words are compared with what large providers and common servers write; a
server can write anything, so the worst a reply can do is to be taken for another case of this list.
"""

from __future__ import annotations

import re
from enum import StrEnum

MOST_WORDS = 1000  # characters of a reply that are looked at

_NAMES = re.compile(r"<?[^\s<>@]{1,200}@[^\s<>@]{1,260}>?|https?://\S{1,500}")  # what they hold is not what is said


class Meaning(StrEnum):
    """The cases; each is the name of a text in `prompts/delivery`."""

    ACCEPTED = "accepted"
    NO_SUCH_USER = "no_such_user"
    USER_DISABLED = "user_disabled"
    USER_MOVED = "user_moved"
    MAILBOX_FULL = "mailbox_full"
    BAD_ADDRESS = "bad_address"
    NO_SUCH_DOMAIN = "no_such_domain"
    NO_MAIL_DOMAIN = "no_mail_domain"
    DNS_FAILED = "dns_failed"
    CANNOT_CONNECT = "cannot_connect"
    CONNECTION_LOST = "connection_lost"
    SYSTEM_TROUBLE = "system_trouble"
    GREYLISTED = "greylisted"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_RECIPIENTS = "too_many_recipients"
    TOO_LARGE = "too_large"
    BLOCKLISTED = "blocklisted"
    CONTENT_REFUSED = "content_refused"
    POLICY = "policy"
    MEMBERS_ONLY = "members_only"
    SENDER_REFUSED = "sender_refused"
    SENDER_NOT_AUTHENTICATED = "sender_not_authenticated"
    NO_REVERSE_DNS = "no_reverse_dns"
    TLS_REQUIRED = "tls_required"
    TLS_FAILED = "tls_failed"
    RELAY_LOGIN = "relay_login"
    RELAY_DENIED = "relay_denied"
    MAIL_LOOP = "mail_loop"
    UNSUPPORTED = "unsupported"
    PROTOCOL = "protocol"
    INTERNAL = "internal"
    DEFERRED = "deferred"
    REFUSED = "refused"


def _words(*lines: tuple[Meaning, tuple[str, ...]]) -> tuple[tuple[Meaning, re.Pattern[str]], ...]:
    return tuple((meaning, re.compile("|".join(patterns), re.IGNORECASE)) for meaning, patterns in lines)


_WHO = r"(?:user|recipient|mail ?box|address|account|alias|addressee|customer)"
_SENDER = r"(?:sender|mail from|from address|envelope from|return path)"

# Words that leave no doubt, whatever code stands beside them; the first that is found decides.
_CLEAR = _words(
    (Meaning.INTERNAL, (
        r"\Ainternal error, id ",
    )),
    (Meaning.GREYLISTED, (
        r"\bgr[ea]y-?list", r"\bpostgrey\b", r"first time we have seen", r"sender-recipient pair"
    )),
    (Meaning.TLS_REQUIRED, (
        r"must issue a? ?starttls", r"(?:starttls|tls|encryption) (?:is )?(?:required|mandatory)",
        r"requires? (?:tls|starttls|encryption)", r"without (?:tls|encryption)",
        r"not (?:sent )?over (?:a )?(?:tls|encrypted)"
    )),
    (Meaning.TLS_FAILED, (
        r"certificate", r"handshake", r"\bmta-sts\b", r"\bdane\b", r"\btlsa\b",
        r"(?:starttls|tls|ssl)\b.{0,40}(?:fail|error|not (?:offered|available|supported))"
    )),
    (Meaning.RELAY_LOGIN, (
        r"cannot log in", r"authentication (?:is )?(?:required|failed|unsuccessful|failure|credentials invalid)",
        r"username and password not accepted", r"not authenticated\b(?!.{0,40}\b(?:spf|dkim|dmarc))",
        r"log ?in (?:first|required)", r"bad credentials"
    )),
    (Meaning.RELAY_DENIED, (
        r"relay(?:ing)?(?: access)? (?:is )?(?:denied|prohibited|forbidden|not (?:permitted|allowed))",
        r"(?:unable|not allowed|not permitted) to relay", r"(?:do|does|will) not relay", r"not an? (?:open )?relay"
    )),
    (Meaning.NO_REVERSE_DNS, (
        r"\bptr\b", r"reverse[- ](?:dns|hostname|lookup)", r"\brdns\b", r"\bfcrdns\b",
        r"cannot find your (?:reverse )?hostname"
    )),
    (Meaning.SENDER_NOT_AUTHENTICATED, (
        r"\bdmarc\b", r"\bspf\b", r"\bdkim\b", r"unauthenticated (?:e-?mail|sender)", r"sender is unauthenticated",
        r"required authentication level"
    )),
    (Meaning.RATE_LIMITED, (
        r"rate[- ]?limit", r"throttl", r"unusual rate", r"too (?:quickly|fast)\b", r"at a rate that",
        r"unexpected volume", r"\bts[s]?0[1-4]\b", r"\brp-00[1-3]\b",
        r"too many (?:messages|mails?|e-?mails|connections|sessions|simultaneous|concurrent)",
        r"(?:hourly|daily|sending|message) (?:rate )?limit (?:is |was )?(?:exceeded|reached)",
        r"exceeded .{0,40}(?:messages|recipients|limit) per"
    )),
    (Meaning.BLOCKLISTED, (
        r"spamhaus", r"spamcop", r"barracuda(?:central)?", r"\bsorbs\b", r"proofpoint.{0,60}block", r"\brbl\b",
        r"\bdns[bw]l\b", r"(?:black|block|deny) ?list", r"\bs31[45]0\b", r"banned sending", r"reputation",
        r"blocked .{0,60}\b(?:ip|address|network|host)\b",
        r"\b(?:ip|host|network|server)\b.{0,60}\b(?:is |been |was )?(?:blocked|banned)"
    )),
    (Meaning.NO_MAIL_DOMAIN, (
        r"null ?mx", r"(?:domain|host) (?:does not|doesn't|never) accepts? (?:e-?)?mail", r"takes no mail"
    )),
    (Meaning.MAILBOX_FULL, (
        r"mail ?box (?:is )?(?:too )?full", r"over ?quota", r"over (?:its |the |their )?.{0,20}quota",
        r"(?:disk |mail |storage )?quota (?:is |has been )?exceeded", r"exceed\w{0,3} .{0,30}quota",
        r"out of storage", r"(?:mail ?box|user|account|recipient).{0,30}(?:storage|space)", r"inbox is full"
    )),
    (Meaning.TOO_LARGE, (
        r"(?:message|mail|size) (?:is )?(?:too (?:large|big)|exceeds)", r"(?:message|mail) size", r"size limit",
        r"exceed\w{0,3} .{0,30}size"
    )),
    (Meaning.TOO_MANY_RECIPIENTS, (
        r"too many recipients", r"recipients? limit"
    )),
    (Meaning.MAIL_LOOP, (
        r"mail loop", r"too many hops", r"hop count", r"loops? back", r"routing loop"
    )),
    (Meaning.USER_DISABLED, (
        rf"{_WHO}\b.{{0,40}}\b(?:disabled|suspended|inactive|deactivated|closed|discontinued)",
    )),
    (Meaning.MEMBERS_ONLY, (
        r"(?:only|restricted to) .{0,30}(?:members|subscribers|senders)",
        r"senders? .{0,30}not (?:allowed|authorized|permitted) (?:to (?:send|post)|for)",
        r"not (?:allowed|authorized|permitted) to (?:send|post) .{0,30}(?:list|group)", r"notauthenticatedforgroup",
        r"restrictedmember"
    )),
    (Meaning.SENDER_REFUSED, (
        rf"{_SENDER}\b.{{0,60}}\b(?:rejected|refused|denied|invalid|blocked|verif\w+ fail|does not resolve|not found)",
        r"domain of sender"
    )),
    (Meaning.NO_SUCH_USER, (
        rf"{_WHO}\b.{{0,60}}\b(?:unknown|does(?: not|n't|n’t) exist|couldn't be found|no longer|is invalid)",
        rf"{_WHO}\b.{{0,60}}\bnot (?:found|exist|listed|known|recognized|valid|a known)",
        rf"(?:unknown|no such|invalid|non-?existent|bad) (?:e-?mail )?(?:local )?(?:{_WHO}|person|receiver)",
        r"that you tried to reach does not exist", r"does(?: not|n't|n’t) have an? .{0,60}account",
        r"no mail ?box here", r"recip(?:ient)?not ?found", r"unrouteable address", r"undeliverable address",
        r"not a valid (?:mailbox|recipient|user)"
    )),
    (Meaning.NO_SUCH_DOMAIN, (
        r"nxdomain", r"no such domain",
        r"(?:host|domain)(?: or domain)?(?: name)? (?:was |is |could )?not (?:be )?found",
        r"unrouteable (?:mail )?domain", r"domain .{0,60}(?:does not exist|doesn't exist|couldn't be found)",
        r"no mail ?server"
    )),
    (Meaning.DNS_FAILED, (
        r"\bdns\b.{0,40}(?:fail|error|time|temporar)", r"servfail", r"name resolution", r"name service",
        r"could ?n(?:o|')t (?:be )?(?:resolved?|look(?:ed)? up)", r"nodename nor servname"
    )),
    (Meaning.CONTENT_REFUSED, (
        r"\bspam(?:my)?\b", r"unsolicited", r"virus", r"malware", r"phish", r"malicious", r"suspicious",
        r"security issue", r"prohibited (?:attachment|file)",
        r"attachment .{0,40}(?:blocked|not (?:allowed|permitted))",
        r"content .{0,40}(?:rejected|refused|blocked|denied|not (?:allowed|acceptable))",
        r"(?:rejected|refused) .{0,30}content"
    )),
    (Meaning.POLICY, (
        r"policy (?:reasons?|violation)", r"local policy"
    )),
    (Meaning.UNSUPPORTED, (
        r"smtputf8", r"outside ascii", r"8-?bit content", r"internationali[sz]ed"
    )),
)  # fmt: skip

# Words that say little, looked at when the status says no more.
_VAGUE = _words(
    (Meaning.NO_SUCH_USER, (
        r"address rejected", r"mail ?box (?:is )?unavailable", r"not (?:our|a) (?:customer|local)"
    )),
    (Meaning.POLICY, (
        r"polic(?:y|ies)", r"access denied", r"not (?:permitted|allowed)", r"administrative(?:ly)? prohibit",
        r"\bblocked\b", r"rejected by", r"\[?(?:cs|hm|pr)\d\d\]?"
    )),
    (Meaning.CANNOT_CONNECT, (
        r"cannot connect", r"could ?n(?:o|')t connect", r"connection (?:was )?refused", r"timed? ?out", r"no route",
        r"unreachable", r"took too long", r"no answer"
    )),
    (Meaning.CONNECTION_LOST, (
        r"connection (?:was |is )?(?:lost|closed|reset|broken|dropped|aborted)", r"lost (?:the )?connection",
        r"disconnect"
    )),
    (Meaning.SYSTEM_TROUBLE, (
        r"(?:server|system|service|host) .{0,30}(?:busy|unavailable|overload|shutting|error|trouble)",
        r"try again", r"temporar", r"insufficient"
    )),
)  # fmt: skip

# By the subject and detail of an enhanced status; a subject alone speaks for details that are not here.
_STATUS = {
    "1.1": Meaning.NO_SUCH_USER,
    "1.2": Meaning.NO_SUCH_DOMAIN,
    "1.3": Meaning.BAD_ADDRESS,
    "1.4": Meaning.BAD_ADDRESS,
    "1.6": Meaning.USER_MOVED,
    "1.7": Meaning.SENDER_REFUSED,
    "1.8": Meaning.SENDER_REFUSED,
    "1.10": Meaning.NO_MAIL_DOMAIN,  # RFC 7505 §4.2
    "2.1": Meaning.USER_DISABLED,
    "2.2": Meaning.MAILBOX_FULL,
    "2.3": Meaning.TOO_LARGE,
    "2.4": Meaning.NO_SUCH_USER,
    "3": Meaning.SYSTEM_TROUBLE,
    "3.4": Meaning.TOO_LARGE,
    "4.1": Meaning.CANNOT_CONNECT,
    "4.2": Meaning.CONNECTION_LOST,
    "4.3": Meaning.DNS_FAILED,
    "4.4": Meaning.NO_SUCH_DOMAIN,
    "4.5": Meaning.SYSTEM_TROUBLE,
    "4.6": Meaning.MAIL_LOOP,
    "5.3": Meaning.TOO_MANY_RECIPIENTS,
    "5": Meaning.PROTOCOL,
    "6": Meaning.CONTENT_REFUSED,
    "6.3": Meaning.UNSUPPORTED,
    "6.7": Meaning.UNSUPPORTED,
    "7.2": Meaning.MEMBERS_ONLY,
    "7.8": Meaning.RELAY_LOGIN,
    "7.9": Meaning.RELAY_LOGIN,
    "7.10": Meaning.TLS_REQUIRED,
    "7.11": Meaning.TLS_REQUIRED,
    "7.13": Meaning.USER_DISABLED,
    "7.17": Meaning.USER_MOVED,
    "7.20": Meaning.SENDER_NOT_AUTHENTICATED,
    "7.21": Meaning.SENDER_NOT_AUTHENTICATED,
    "7.22": Meaning.SENDER_NOT_AUTHENTICATED,
    "7.23": Meaning.SENDER_NOT_AUTHENTICATED,
    "7.24": Meaning.SENDER_NOT_AUTHENTICATED,
    "7.25": Meaning.NO_REVERSE_DNS,
    "7.26": Meaning.SENDER_NOT_AUTHENTICATED,
    "7.27": Meaning.SENDER_NOT_AUTHENTICATED,  # Gmail's for SPF; in the registry a sender that takes no mail
    "7.28": Meaning.RATE_LIMITED,
    "7.29": Meaning.TLS_REQUIRED,  # Gmail
    "7.30": Meaning.SENDER_NOT_AUTHENTICATED,  # Gmail's for DKIM
    "7.509": Meaning.SENDER_NOT_AUTHENTICATED,  # from here on Exchange Online
    "7.515": Meaning.SENDER_NOT_AUTHENTICATED,
    "7.124": Meaning.MEMBERS_ONLY,
    "7.133": Meaning.MEMBERS_ONLY,
    "7.500": Meaning.SYSTEM_TROUBLE,
    "7.64": Meaning.RELAY_DENIED,
    **{f"7.{detail}": Meaning.BLOCKLISTED for detail in (511, *range(606, 650))},
}
# What these say depends on whether it is for now or for good: (4yz, 5yz).
_BY_CLASS = {
    "1.1": (Meaning.DEFERRED, Meaning.NO_SUCH_USER),  # the server could not find out yet
    "2.1": (Meaning.RATE_LIMITED, Meaning.USER_DISABLED),  # Gmail's for a mailbox that gets too much at once
    "4.4": (Meaning.DNS_FAILED, Meaning.NO_SUCH_DOMAIN),
}
_CODES = {
    421: Meaning.SYSTEM_TROUBLE,
    451: Meaning.SYSTEM_TROUBLE,
    452: Meaning.SYSTEM_TROUBLE,
    500: Meaning.PROTOCOL,
    501: Meaning.PROTOCOL,
    502: Meaning.PROTOCOL,
    503: Meaning.PROTOCOL,
    504: Meaning.PROTOCOL,
    521: Meaning.NO_MAIL_DOMAIN,
    530: Meaning.RELAY_LOGIN,
    534: Meaning.RELAY_LOGIN,
    535: Meaning.RELAY_LOGIN,
    538: Meaning.RELAY_LOGIN,
    551: Meaning.USER_MOVED,
    552: Meaning.MAILBOX_FULL,
    555: Meaning.PROTOCOL,
    556: Meaning.NO_MAIL_DOMAIN,
}
_NO_ANSWER = "4.4.3"  # RFC 3463: directory server failure; said without a reply, the words are of what was looked up
_NOT_IN_DIRECTORY = "5.4.1"  # Exchange Online's for an address it does not know; in the registry no answer from a host
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})\Z")


def meaning_of(code: int | None, enhanced: str | None, text: str) -> Meaning:
    """The case a reply is. Without a `code` there was no reply, and `text` says why."""
    if code is not None and code // 100 == 2:
        return Meaning.ACCEPTED
    if code is None and enhanced == _NO_ANSWER:
        return Meaning.DNS_FAILED
    said = _NAMES.sub(" ", text[:MOST_WORDS])
    status = _ENHANCED.match(enhanced or "")
    final = code // 100 == 5 if code is not None else status is not None and status[1] == "5"
    if code is not None and final and enhanced == _NOT_IN_DIRECTORY and "address rejected" in said.lower():
        return Meaning.NO_SUCH_USER
    if (clear := _found(_CLEAR, said)) is not None and (clear is not Meaning.GREYLISTED or not final):
        return clear
    if status is not None and (known := _of_status(status[2], status[3], final=final)) is not None:
        return known
    vague = _found(_VAGUE, said)
    # "Recipient address rejected" is said of policy too, and then the status knows better.
    if vague is not None and not (vague is Meaning.NO_SUCH_USER and status is not None and status[2] == "7"):
        return vague
    if status is not None and (subject := _STATUS.get(status[2])) is not None:
        return subject
    if status is not None and status[2] == "7":
        return Meaning.POLICY
    if code in _CODES:
        return _CODES[code]
    if code is None and status is None:
        return Meaning.CANNOT_CONNECT
    return Meaning.REFUSED if final else Meaning.DEFERRED


def _found(lines: tuple[tuple[Meaning, re.Pattern[str]], ...], text: str) -> Meaning | None:
    return next((meaning for meaning, words in lines if words.search(text)), None)


def _of_status(subject: str, detail: str, *, final: bool) -> Meaning | None:
    key = f"{subject}.{detail}"
    if key in _BY_CLASS:
        return _BY_CLASS[key][final]
    return _STATUS.get(key)
