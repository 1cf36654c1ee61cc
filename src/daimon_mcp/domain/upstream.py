"""Mail fetched from a mailbox elsewhere: whose it is here, and how far fetching has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from daimon_mcp.domain.inboxes import split_subaddress


@dataclass(frozen=True, slots=True)
class Place:
    """How far a mailbox has been read: everything up to `last_uid` is dealt with, while `uidvalidity` is the same.

    `since` is the first connection's time (epoch µs), or 0 when older mail is wanted too. Should the mailbox number its
    mail anew, what came before then is still not wanted: `old_uid` is the last message it had at that moment. Later
    ones are new whatever their date, which a clock that is wrong or a move between folders may have made old.
    """

    uidvalidity: int
    last_uid: int
    since: int
    old_uid: int = 0

    def is_wanted(self, uid: int, internal_date: int) -> bool:
        """Whether a message is to be looked at; a date of 0 is not known."""
        return uid > self.old_uid or not internal_date or internal_date >= self.since


@dataclass(frozen=True, slots=True)
class DeliveryFields:
    """What the header of a delivered message says about who it was for, all of it a stranger's word.

    `blocks` are the addresses of the trace fields (Delivered-To and its kin) from the top, grouped by the Received
    fields between them; `named` those of To, Cc and Bcc. `return_path` is the reverse-path: "" when null or not told.
    """

    blocks: tuple[tuple[str, ...], ...]
    named: tuple[str, ...]
    return_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRule:
    """Which address here an address of the mailbox elsewhere stands for.

    `address` is the mailbox's own. A tag stands for its own name at `domain`, and a name of the domain `catch_all` for
    the same at `catch_all_here`, unless `tags` maps it to another address. `default_inbox` gets what nothing else
    does: mail to `address` without a tag, or with one that is nobody's. All in lower case.
    """

    address: str
    domain: str
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    catch_all: str | None = None
    catch_all_here: str = ""
    default_inbox: str | None = None

    def here(self, address: str) -> str | None:
        """The address here for one `local@domain` of the mailbox, or None; a second tag stays a tag (RFC 5233).

        The plain address is not looked at: see `candidates`.
        """
        local, at, domain = address.strip().lower().rpartition("@")
        own, _, own_domain = self.address.rpartition("@")
        if not at or not local or f"{local}@{domain}" == self.address:
            return None
        if domain == own_domain and local.startswith(f"{own}+"):
            name, ours = local[len(own) + 1 :], self.domain
        elif domain == self.catch_all:
            name, ours = local, self.catch_all_here
        else:
            return None
        base, rest = split_subaddress(name)
        if not base:
            return None
        mapped_local, _, mapped_domain = self.tags.get(base, f"{base}@{ours}").rpartition("@")
        return f"{mapped_local}@{mapped_domain}" if rest is None else f"{mapped_local}+{rest}@{mapped_domain}"

    def candidates(self, fields: DeliveryFields) -> list[tuple[str, ...]]:
        """Addresses here that a message may be for, best evidence first: the first tuple with an inbox in it counts.

        The fields a server writes when it delivers stand above everything that was written before, so the topmost
        block that names an address of ours is the envelope: it is not mixed with what To and Cc say, or each of two
        copies would reach both inboxes. Trace fields further down may be a stranger's or an earlier server's, and
        rank below it in their order; To, Cc and Bcc come last of those, and then the inbox of the plain address.
        Forging any of them gains nothing: whoever can write to this mailbox can write to every tag of it.
        """
        tiers = [tuple(dict.fromkeys(filter(None, map(self.here, block)))) for block in (*fields.blocks, fields.named)]
        if self.default_inbox is not None:
            tiers.append((self.default_inbox,))
        return [tier for tier in tiers if tier]


def rule(
    *,
    address: str,
    domain: str,
    domains: Sequence[str],
    tags: Sequence[str] = (),
    catch_all: str | None = None,
    default_inbox: str | None = None,
) -> UpstreamRule:
    """The rule as it is configured: `tags` as `tag=inbox`, an inbox as its address or its local part at `domain`.

    A `catch_all` domain that is one of our own `domains` keeps its name: its addresses are those of inboxes already.
    """

    def full(name: str) -> str:
        return name if "@" in name else f"{name}@{domain}"

    pairs = (tag.partition("=") for tag in tags)
    return UpstreamRule(
        address=address.lower(),
        domain=domain,
        tags={tag: full(inbox) for tag, _, inbox in pairs},
        catch_all=catch_all,
        catch_all_here=catch_all if catch_all is not None and catch_all in domains else domain,
        default_inbox=None if default_inbox is None else full(default_inbox),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedMail:
    """One message as it was read: where it stands in the mailbox `name` at `host`, and who it is for here.

    `content` are its exact bytes. With `tidy`, something is still to be done to it there once it is safe here.
    """

    name: str
    host: str
    uidvalidity: int
    uid: int
    recipients: tuple[str, ...]
    mail_from: str
    content: bytes
    tidy: bool
