"""What a commit altered. Announced inside the write, rung after the commit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageAdded:
    """A message came to stand in a mailbox, or was let out of quarantine.

    `sender` is `name <address>`, `related_thread_id` the thread that this one was split from. Who waits for mail
    decides by these facts whether to look at the store at all.
    """

    account_no: int
    inbox_no: int
    inbox_id: str
    message_id: str
    thread_id: str
    mailbox: str
    seq: int
    direction: str
    kind: str
    sender: str
    subject: str
    related_thread_id: str | None


@dataclass(frozen=True, slots=True)
class MessageChanged:
    """Flags, labels, mailbox or delivery status of a message changed."""

    account_no: int
    inbox_no: int
    inbox_id: str
    message_id: str
    thread_id: str


@dataclass(frozen=True, slots=True)
class ThreadMerged:
    """Two threads turned out to be one conversation: `thread_id` is part of `into_id` now, and leads there."""

    inbox_no: int
    thread_id: str
    into_id: str


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """Something may be due sooner than the relay worker thinks.

    With `retry`, somebody wants it tried now, even where nobody got through shortly before.
    """

    retry: bool = False


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """Tier, status or an approval of an account changed."""

    account_no: int
    account_id: str


@dataclass(frozen=True, slots=True)
class InboxChanged:
    """An inbox was made, changed or deleted."""

    account_no: int
    inbox_no: int
    inbox_id: str


@dataclass(frozen=True, slots=True)
class KeyChanged:
    """A key was revoked: whoever caches it must look again."""

    key_id: str


@dataclass(frozen=True, slots=True)
class SpoolChanged:
    """Mail of `size` octets was acknowledged and waits to be filed; `no` is its number in the spool."""

    no: int
    size: int


@dataclass(frozen=True, slots=True)
class CredentialsChanged:
    """The account's passwords for mail programs were rotated, or its sending stopped: open sessions end."""

    account_no: int
    account_id: str


@dataclass(frozen=True, slots=True)
class DomainsChanged:
    """A domain was verified or removed, or got new keys; `taken` says whether its mail is taken from now on, None where
    that stays as it was."""

    name: str
    taken: bool | None = None


@dataclass(frozen=True, slots=True)
class EventRecorded:
    """An event of an account was put down, `seq` in the log; `hooks` are the webhooks that are to be told."""

    account_no: int
    inbox_no: int | None
    seq: int
    hooks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HookChanged:
    """Something of a webhook may be due that no event tells of: it was made active, or is to be sent events again."""

    webhook_no: int


Change = (
    MessageAdded
    | MessageChanged
    | ThreadMerged
    | QueueChanged
    | AccountChanged
    | InboxChanged
    | KeyChanged
    | SpoolChanged
    | CredentialsChanged
    | DomainsChanged
    | EventRecorded
    | HookChanged
)
