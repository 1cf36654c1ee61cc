"""What the operator is asked, as it is answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Shape, Tier, Time


class UpgradeLink(Shape):
    """A link by which the operator approves a higher tier."""

    url: str
    target_tier: Tier
    approval_id: str
    expires_at: Time
    operator_action_url: str
    operator_action_label: str
    agent_script: str


class AskedOperator(Shape):
    """A question that waits for the operator."""

    approval_id: str
    status: Literal["pending"]
    url: str
    magic_link: str
    expires_at: Time
    operator_action_url: str
    operator_action_label: str
    agent_script: str


class Approval(Shape):
    """What became of a question."""

    id: str
    kind: Literal["upgrade", "request", "send"]
    status: Literal["pending", "approved", "rejected", "expired", "closed"]
    target_tier: Tier | None
    message_id: str | None
    comment: str | None
    created_at: Time
    expires_at: Time
    decided_at: Time | None
