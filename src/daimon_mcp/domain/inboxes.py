"""Inboxes: which local parts are allowed, made-up names, sub-addresses."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

from daimon_mcp.domain.oversight import AfterUntrusted, Mode
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused

USERNAME = re.compile(r"^[a-z0-9](?:[a-z0-9._-]{1,30})[a-z0-9]\Z")
# fmt: off
RESERVED = frozenset(
    [
    "postmaster", "abuse", "mailer-daemon", "hostmaster", "root", "no-reply", "noreply", "webmaster", "admin",
    "administrator", "security", "support-abuse", "usenet", "news", "uucp", "ftp", "www", "mail", "operator",
    "daemon", "nobody", "bounce", "bounces", "double-bounce", "listserv", "majordomo",
]
)
# Role addresses that must reach the operator whatever happens (RFC 2142, RFC 5321 §4.5.1).
ROLE_LOCAL_PARTS = frozenset({"postmaster", "abuse"})

_ADJECTIVES = [
    "amber", "bold", "brisk", "calm", "clear", "cosy", "deft", "eager", "early", "fair", "fleet", "fresh",
    "gentle", "glad", "keen", "kind", "lively", "lucky", "mellow", "merry", "nimble", "noble", "patient",
    "plucky", "prompt", "proud", "quick", "quiet", "ready", "sage", "silver", "steady", "sunny", "swift",
    "tidy", "trusty", "vivid", "warm", "wise", "witty",
]
_NOUNS = [
    "badger", "beaver", "bison", "crane", "curlew", "dove", "eagle", "egret", "falcon", "finch", "fox", "gecko",
    "gull", "hare", "heron", "ibis", "jay", "kite", "lark", "lynx", "magpie", "marten", "mole", "newt", "otter",
    "owl", "panda", "pigeon", "plover", "puffin", "quail", "raven", "robin", "seal", "sparrow", "stoat",
    "stork", "swan", "tern", "thrush", "toad", "vole", "weasel", "wren",
]


# fmt: on


@dataclass(frozen=True, slots=True)
class Inbox:
    """An address an agent owns.

    `oversight`, `after_untrusted` and `paused` are what the operator lets it do by itself.
    """

    no: int
    id: str
    account_no: int
    address: str
    display_name: str
    status: str
    metadata: dict[str, Any]
    message_count: int
    unread_count: int
    thread_count: int
    last_received_at: int | None
    created_at: int
    deleted_at: int | None = None
    oversight: Mode = Mode.AUTONOMOUS
    after_untrusted: AfterUntrusted = AfterUntrusted.ALLOW
    paused: bool = False


def check_username(username: str) -> None:
    """Raise INVALID_REQUEST unless `username` may be the local part of a new inbox."""
    if not USERNAME.match(username):
        problem = (
            "must be 3 to 32 lower-case letters, digits, '-', '.' or '_', and start and end with a letter or digit"
        )
    elif ".." in username:
        problem = "must not hold two dots in a row"
    elif username in RESERVED:
        problem = "is reserved for the mail system"
    else:
        return
    raise Refused(RefusalCode.INVALID_REQUEST, fields=[FieldProblem("username", problem, "support-bot")])


def made_up_username() -> str:
    """A readable name such as `swift-heron-4821`."""
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(9000) + 1000}"


def alternatives(username: str) -> list[str]:
    """Names close to one that is taken, best first; all are valid usernames."""
    stem = username[:26].rstrip("-._")
    numbers = [2, 3, 4, *(secrets.randbelow(900) + 100 for _ in range(6))]
    return [f"{stem}-{number}" for number in numbers]


def split_subaddress(local_part: str) -> tuple[str, str | None]:
    """`agent+ticket-7` → (`agent`, `ticket-7`) (RFC 5233)."""
    base, plus, tag = local_part.partition("+")
    return (base, tag) if plus else (local_part, None)
