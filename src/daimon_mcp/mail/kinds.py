"""What kind of mail this is, from its headers alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_ROBOT = re.compile(r"(?:no[-_.]?reply|do[-_.]?not[-_.]?reply|notifications?|alerts?|mailer)\b", re.IGNORECASE)
_DAEMON = re.compile(r"(?:mailer-daemon|postmaster)\b", re.IGNORECASE)


def _submitted(headers: Mapping[str, str]) -> str:
    """The keyword of Auto-Submitted, "" when there is none; comments and parameters may follow it (RFC 3834 §5)."""
    return (headers.get("auto-submitted", "").lower().replace(";", " ").replace("(", " (").split() or [""])[0]


def is_automatic(headers: Mapping[str, str]) -> bool:
    """Whether a program sent it, so that nothing automatic should answer (RFC 3834 §2). Names in lower case."""
    submitted = _submitted(headers)
    return (
        submitted not in {"", "no"}
        or headers.get("precedence", "").strip().lower() in {"bulk", "junk", "list"}
        or "list-id" in headers
        or "list-unsubscribe" in headers
        or headers.get("return-path", "").replace(" ", "") == "<>"
    )


def kind_of(
    headers: Mapping[str, str], *, sender: str, content_type: str, report_type: str, calendar_methods: Sequence[str]
) -> str:
    """bounce, auto_reply, invite, newsletter, notification or human; a discussion list counts as human.

    `headers` by lower-case name, `sender` the address of From, `report_type` and `calendar_methods` in lower case.
    """
    submitted = _submitted(headers)
    null_path = headers.get("return-path", "").replace(" ", "") == "<>"
    if content_type == "multipart/report" and report_type in {"delivery-status", ""}:
        return "bounce"
    if null_path and _DAEMON.match(sender):
        return "bounce"
    if submitted == "auto-replied" or "x-autoreply" in headers or "x-autorespond" in headers:
        return "auto_reply"
    if headers.get("precedence", "").strip().lower() == "auto_reply":
        return "auto_reply"
    if any(method in {"request", "cancel"} for method in calendar_methods):
        return "invite"
    discussion = "list-post" in headers
    bulk = headers.get("precedence", "").strip().lower() in {"bulk", "junk", "list"}
    if not discussion and (bulk or "list-unsubscribe" in headers or "list-id" in headers):
        return "newsletter"
    if submitted not in {"", "no"} or _ROBOT.match(sender) or _DAEMON.match(sender):
        return "notification"
    return "human"
