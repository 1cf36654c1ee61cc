"""What the operator lets an inbox do by itself, and why a mail waits for the operator's decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from daimon_mcp.domain.clock import HOUR, MINUTE
from daimon_mcp.domain.refusals import RefusalCode, Refused

UNTRUSTED_FOR: Final = 24 * HOUR
"""How long after reading what a stranger wrote an actor counts as one that may have been talked into something."""
NOTED_EVERY: Final = 10 * MINUTE
"""How often at most it is put on record that an actor has read such mail."""


HELD: Final = "held"
"""The state of a queue row whose message waits for the operator's decision."""


class Mode(StrEnum):
    """How an inbox is overseen."""

    READ_ONLY = "read_only"  # nothing is sent
    GATED_SEND = "gated_send"  # every mail waits for the operator
    GATED_NEW = "gated_new"  # mail to somebody never written to nor heard from does
    MONITORED = "monitored"  # sent, and the operator's inbox gets a copy
    AUTONOMOUS = "autonomous"  # sent


class AfterUntrusted(StrEnum):
    """What becomes of mail to new recipients from an actor that has read outside mail lately."""

    ALLOW = "allow"
    HOLD = "hold"


class Why(StrEnum):
    """Why a mail is held. Names of bullets in the texts about held mail."""

    EVERY_SEND = "every_send"
    NEW_RECIPIENTS = "new_recipients"
    AFTER_UNTRUSTED = "after_untrusted"
    SECRETS = "secrets"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the guard found in a mail: of which kind, and where. Never what it says.

    `place` is `subject`, `body_text`, `body_html` or `attachment`, with the file's number from 1 in `number` for that.
    """

    kind: str
    place: str
    number: int = 0

    @property
    def view(self) -> dict[str, str | int]:
        """As it is shown and kept."""
        return {"kind": self.kind, "place": self.place, **({"attachment": self.number} if self.number else {})}


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one inbox now."""

    mode: Mode
    after_untrusted: AfterUntrusted
    paused: bool

    def check_may_send(self) -> None:
        """Raise FORBIDDEN (INBOX_PAUSED or OVERSIGHT_READ_ONLY) where nothing may be sent at all."""
        if self.paused:
            raise Refused(RefusalCode.FORBIDDEN, reason="INBOX_PAUSED")
        if self.mode is Mode.READ_ONLY:
            raise Refused(RefusalCode.FORBIDDEN, reason="OVERSIGHT_READ_ONLY")

    @property
    def asks_who_is_new(self) -> bool:
        """Whether it matters to whom mail goes."""
        return self.mode is Mode.GATED_NEW or self.after_untrusted is AfterUntrusted.HOLD


_MILDEST_FIRST: Final = (Mode.AUTONOMOUS, Mode.MONITORED, Mode.GATED_NEW, Mode.GATED_SEND, Mode.READ_ONLY)


def of_a_further_inbox(others: Sequence[Rules]) -> Rules:
    """What holds for an inbox that an agent makes beside others: the mildest that it has already, of each rule.

    Making one never lets an agent do what it could not do before.
    """
    if not others:
        return Rules(Mode.AUTONOMOUS, AfterUntrusted.ALLOW, paused=False)
    allows = any(each.after_untrusted is AfterUntrusted.ALLOW for each in others)
    return Rules(
        min((each.mode for each in others), key=_MILDEST_FIRST.index),
        AfterUntrusted.ALLOW if allows else AfterUntrusted.HOLD,
        all(each.paused for each in others),
    )


def why_held(
    rules: Rules,
    *,
    strangers: Sequence[str],
    untrusted_at: int | None,
    findings: Sequence[Finding],
    now: int,
) -> tuple[Why, ...]:
    """Why a mail has to wait; () for one that may leave.

    `strangers` are its recipients that the inbox has neither written to nor heard from; `untrusted_at` is when its
    sender last read outside mail; `findings` what the guard holds it for.
    """
    reasons: list[Why] = []
    if rules.mode is Mode.GATED_SEND:
        reasons.append(Why.EVERY_SEND)
    if rules.mode is Mode.GATED_NEW and strangers:
        reasons.append(Why.NEW_RECIPIENTS)
    recently = untrusted_at is not None and untrusted_at > now - UNTRUSTED_FOR
    if rules.after_untrusted is AfterUntrusted.HOLD and strangers and recently:
        reasons.append(Why.AFTER_UNTRUSTED)
    if findings:
        reasons.append(Why.SECRETS)
    return tuple(reasons)
