"""A refusal as an SMTP reply with reasons: which limit it is, when it ends, and the link by which an operator lifts it.

All of it is in our words: the texts of `prompts/refusals` and `prompts/smtp/refusal.md`, our own facts, our own link.
"""

from __future__ import annotations

from typing import Any, Final

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.faces.smtp import replies
from daimon_mcp.operations.guidance import Guide

MAX_REPLY: Final = 510  # octets of a reply line without its CRLF (RFC 5321 §4.5.3.1.5)


class _NoCalls:
    """A mail program cannot call anything."""

    def call(self, operation: str) -> str:
        return operation

    def offers(self, operation: str) -> bool:
        return False


_DIALECT: Final = _NoCalls()


async def explained(guide: Guide, refused: Refused, actor: Actor, cid: str) -> str:
    """The reply to a refusal of `actor`: one line, or several of one reply where one would be too long.

    A transient one ends in `cid`. Makes an upgrade link where an operator can lift it.
    """
    line = replies.refusal(refused, cid)
    if refused.fields:
        return reply_lines(line, [f"{each.field}: {each.problem}" for each in refused.fields])
    if refused.target_tier is None and refused.current_usage is None:
        return line
    envelope: dict[str, Any] = await guide.refusal(refused, _DIALECT, actor=actor)
    parts = [str(envelope["message"])]
    if refused.current_usage is not None and (reset_at := refused.current_usage.get("reset_at")) is not None:
        parts.append(guide.words("smtp", "refusal", "reset", {"reset_at": reset_at}))
    if "upgrade_context" in envelope:
        url = envelope["upgrade_context"]["operator_action_url"]
        parts.append(guide.words("smtp", "refusal", "upgrade", {"url": url}))
    if line.startswith("4"):
        parts.append(f"id {cid}")
    return reply_lines(line, parts)


def reply_lines(line: str, parts: list[str]) -> str:
    """The code and status of `line` with `parts` as its text: one line of them all, or one for each. ASCII only."""
    code, status, _ = line.split(" ", 2)
    plain = [" ".join(part.split()).encode("ascii", "replace").decode() for part in parts]
    whole = f"{code} {status} {' '.join(plain)}"
    if len(whole) <= MAX_REPLY:
        return whole
    lines = [f"{code}-{status} {part}"[:MAX_REPLY] for part in plain]
    lines[-1] = f"{code} {lines[-1][4:]}"
    return "\r\n".join(lines)
