"""In whose name an account may send: which addresses are its own, and what of a submitted mail must be (RFC 6409 §6.1).

The decisions, one by one:

- Only addresses count. A display name may say anything, as on every mail server.
- Upper and lower case are the same, in the local part too: inboxes are made in lower case. Local parts outside ASCII
  are compared exactly (after Unicode NFC), because other letters can fold into ASCII ones.
- `agent+tag@…` belongs to whoever has `agent@…`, since its replies arrive there. An inbox whose own name holds a plus
  sign is found first, by its whole address.
- A domain is the same as U-label and as A-label (RFC 5890 §2.3.2.1).
- A local part in quotes is the same as without them (RFC 5321 §4.1.2): `"agent"@…` is `agent@…`.
- Every address in From must be owned, and those in Sender, and the reverse-path: readers show one or another.
- The null reverse-path `<>` is for notifications (RFC 5321 §4.5.5), which may be submitted too: a read receipt has to
  (RFC 8098 §3). It is let pass for a `multipart/report` with an owned From, and refused for all other mail, whose
  bounces would be lost and whose sender would be unknown to the next server.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import idna

from daimon_mcp.domain.inboxes import split_subaddress

MAX_LOCAL = 320  # octets a local part could have that anybody owns, quotes and escapes included; RFC 5321 says 64
MAX_DOMAIN = 255  # RFC 5321 §4.5.3.1.2

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NotOwned:
    """Where a submitted mail names an address that is not the account's, and the address.

    `address` is a stranger's text: "" when there is none, which is refused for the reverse-path of ordinary mail and
    for a From without a mailbox that nothing can be put into.
    """

    field: Literal["mail_from", "from", "sender"]
    address: str


def owns(owned: Collection[str], address: str) -> bool:
    """Whether `address` (local@domain, as given) is one of `owned`, or a sub-address of one. Never raises.

    `owned` are an account's inboxes in lower case, their domain in either form; best a set.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain or len(local) > MAX_LOCAL or len(domain) > MAX_DOMAIN:
        return False
    local = unquoted(address).rpartition("@")[0]
    local = local.lower() if local.isascii() else unicodedata.normalize("NFC", local)
    base = split_subaddress(local)[0]
    forms = _domain_forms(domain)
    return any(f"{name}@{form}" in owned for name in (local, base) if name for form in forms)


def unquoted(address: str) -> str:
    """`address` with its local part out of quotes: the mailbox is the same (RFC 5321 §4.1.2)."""
    local, at, domain = address.rpartition("@")
    if len(local) > 2 and local[0] == local[-1] == '"':
        local = _ESCAPED.sub(r"\1", local[1:-1])
    return f"{local}{at}{domain}"


def sender_not_owned(
    owned: Collection[str], *, mail_from: str, from_: Sequence[str], sender: Sequence[str] = (), report: bool = False
) -> NotOwned | None:
    """What forbids an account to submit a mail, or None when every address it is sent in the name of is its own.

    `mail_from` is the reverse-path ("" for `<>`), `from_` and `sender` the mailboxes of those headers. Without any
    From, which is added from the reverse-path, that one decides. `report` says whether the mail is a
    `multipart/report`; the reverse-path of a report may be null, if it has a From.
    """
    if mail_from == "" and not report:
        return NotOwned("mail_from", "")
    if mail_from and not owns(owned, mail_from):
        return NotOwned("mail_from", mail_from)
    for address in from_:
        if not owns(owned, address):
            return NotOwned("from", address)
    for address in sender:
        if not owns(owned, address):
            return NotOwned("sender", address)
    if not mail_from and not from_:
        return NotOwned("from", "")
    return None


def _domain_forms(domain: str) -> tuple[str, ...]:
    """`domain` in lower case; an internationalised one as A-labels and as U-labels."""
    if domain.isascii() and "xn--" not in domain.lower():
        return (domain.lower(),)
    try:
        ascii_form = idna.encode(domain, uts46=True).decode("ascii")
        return (ascii_form, idna.decode(ascii_form))
    except (idna.IDNAError, UnicodeError):
        return (domain.lower(),)
