"""The answer of the reply rules."""

from __future__ import annotations

from dataclasses import dataclass

from daimon_mcp.mail.replies.forwards import Forwarded


@dataclass(frozen=True, slots=True)
class Reply:
    """A mail taken apart; `body`, `quoted` and `signature` together hold every word of it.

    `rule` names what decided: `none` (nothing to cut), `attribution` ("On … wrote:"), `header_block` (From/Sent/To),
    `original_divider` ("-----Original Message-----", "reply above this line"), `markup` (a mail program's own mark in
    HTML), `quote_tail` (quoted lines at the end), `signature` (only a signature was cut), or why nothing was cut:
    `kept_inline` (answers between quoted lines), `kept_forward`, `kept_bounce`.
    `confidence` is 0 to 1: how sure the rule is that `body` is what the sender wrote.
    """

    body: str
    quoted: str
    signature: str
    forwarded: Forwarded | None
    rule: str
    confidence: float
