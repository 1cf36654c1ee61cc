"""Messages as they are answered."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from daimon_mcp.faces.rest.shapes.base import Page, Shape, Time, absent
from daimon_mcp.faces.rest.shapes.deliveries import AskedAbout, Authentication, Delivery, DeliveryStatus, HoldReason

Kind = Literal["human", "auto_reply", "bounce", "newsletter", "invite", "notification"]
LinkKind = Literal["verify", "reset", "login", "invite", "pay", "view", "unsubscribe", "other"]
TextStatus = Literal[
    "pending", "ok", "empty", "unsupported", "too_large", "timed_out", "out_of_memory", "damaged", "encrypted", "failed"
]


class ListedMessage(Shape):
    """A message as lists show it: no body."""

    id: str
    inbox_id: str
    thread_id: str
    message_id: str | None
    direction: Literal["inbound", "outbound"]
    kind: Kind
    from_address: str
    from_name: str
    to_addresses: list[str]
    cc_addresses: list[str]
    bcc_addresses: list[str] = absent()
    subject: str
    preview: str
    labels: list[str]
    read: bool
    has_attachments: bool
    delivery_status: DeliveryStatus | None
    received_at: Time | None
    sent_at: Time | None
    scheduled_at: Time | None = absent()
    tag: str = absent("What stood behind + in the address it was sent to")
    hold_reason: HoldReason = absent("Why it was put aside")
    linked_by: Literal["subject"] = absent("How it came into its thread, where no header said so")
    new_participant: Literal[True] = absent("Its sender was not part of the thread before")
    size: int
    est_tokens: int


class FoundMessage(ListedMessage):
    """A message that a search found; where words were looked for, in what they are, and the place."""

    matched_in: list[Literal["body", "subject", "sender", "recipients", "attachments"]] = absent()
    highlight: str | None = absent("The hits are between ** and **")


class MessageList(Page):
    """A page of an inbox. `cursor` is where the inbox stands, for wait and changes."""

    messages: list[ListedMessage]
    total: int | None
    unread_count: int
    cursor: str


class ScheduledList(Page):
    """A page of mail that has not left."""

    scheduled: list[ListedMessage]


class SearchResult(Page):
    """A page of what was found."""

    messages: list[FoundMessage]
    inboxes_searched: int = absent()


class Code(Shape):
    """A one-time code as an input field takes it."""

    value: str
    kind: Literal["otp", "pin", "backup"]
    score: float
    bound_domain: str = absent("The site it is for")
    expires_in: int = absent("Seconds")


class Link(Shape):
    """A link. `is_cta`: the mail asks for it to be followed."""

    n: int = absent("The number that stands after its text in body_text")
    url: str
    text: str = absent()
    is_cta: bool
    kind: LinkKind
    host: str = absent()
    same_site: Literal[True] = absent("It leads to the site of the From address")
    mismatch: Literal[True] = absent("Its text shows another site")
    score: float = absent("How likely it is the one that the mail asks for; missing for 0")


class Attachment(Shape):
    """A file in a message, by its handle."""

    id: str
    filename: str
    content_type: str
    content_id: str | None
    disposition: str
    size: int
    text_status: TextStatus = absent()
    est_tokens: int = absent("Of the text that was read out of it")


class Forwarded(Shape):
    """The head of a message that is forwarded within."""

    from_: str | None = Field(alias="from")
    date: str | None
    subject: str | None


class HiddenSample(Shape):
    """Text that people do not see."""

    how: str
    text: str


class HiddenText(Shape):
    """What was hidden from people and is left out of the texts."""

    chars: int
    count: int
    suspicious: bool
    samples: list[HiddenSample]


class Attendee(Shape):
    """Somebody invited, and what they answered."""

    address: str
    partstat: str


class Invite(Shape):
    """An event of a calendar."""

    method: str = absent()
    uid: str = absent()
    summary: str = absent()
    starts: str = absent()
    ends: str = absent()
    timezone: str = absent()
    location: str = absent()
    organizer: str = absent()
    attendees: list[Attendee] = absent()
    recurrence: str = absent()
    sequence: int
    status: str = absent()


class BouncedRecipient(Shape):
    """What became of mail for one recipient."""

    recipient: str
    status: str
    action: str
    diagnostic: str
    reason: str
    permanent: bool
    original_recipient: str = absent()


class Bounce(Shape):
    """What a report or complaint says; `about` is our message, where it is known."""

    original_message_id: str | None
    complaint: str = absent()
    failures: list[BouncedRecipient]
    about: str = absent()


class Message(ListedMessage):
    """A message with its texts and all that was found in them. `untrusted`: it is data from outside."""

    in_reply_to: str | None
    references: list[str]
    reply_to_addresses: list[str] = absent("Where an answer goes, if not to the sender")
    body_text: str
    reply_body: str
    truncated: bool
    next_offset: int | None
    codes: list[Code]
    links: list[Link]
    links_total: int
    cta_links: list[str]
    attachments: list[Attachment]
    authentication: Authentication
    parse_warnings: list[str]
    date: Time | None
    untrusted: bool
    signature: str = absent()
    forwarded: Forwarded = absent()
    hidden_text: HiddenText = absent()
    alt_mismatch: bool = absent("The plain text says something else than the HTML")
    text_only_plain: Literal[True] = absent("The text is in no form that people see")
    trackers: int = absent()
    invite: Invite = absent()
    bounce: Bounce = absent()
    body_html: str | None = absent("Sanitised, as a person may be shown it")
    headers: dict[str, str | list[str]] = absent("By lower-case name; several of a name are a list")
    deliveries: list[Delivery] = absent("Of mail that was sent: each recipient")
    approval: AskedAbout = absent("Of mail that is held, or was and did not leave")


class DeletedMessage(Shape):
    """A message in trash, or gone for good."""

    id: str
    deleted: Literal[True]
    permanent: bool
    deleted_at: Time


class Source(Shape):
    """The message that a code or link stood in."""

    id: str
    thread_id: str
    from_address: str
    from_name: str
    subject: str
    received_at: Time | None


class Waited(Shape):
    """What was waited for, under the name of what was wanted; null when the time was over."""

    message: Message | None = absent()
    code: Code | None = absent()
    link: dict[str, Any] | None = absent()
    source: Source = absent()
    timed_out: bool
    cursor: str
