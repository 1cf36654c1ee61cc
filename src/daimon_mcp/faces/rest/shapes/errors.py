"""Refusals as they are answered, whatever the route."""

from __future__ import annotations

from pydantic import Field

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.shapes.base import Shape, absent


class WrongField(Shape):
    """What was wrong with a field of the request, and a value that would pass."""

    field: str
    problem: str
    example: str = absent()


class UpgradeContext(Shape):
    """The link by which the operator can lift a refusal, and how to ask for that."""

    operator_action_url: str
    operator_action_label: str
    agent_script: str


class Parked(Shape):
    """What is kept in spite of a refusal, and leaves once it is lifted."""

    id: str | None
    status: str
    draft_id: str


class Refusal(Shape):
    """A request that was understood and is not done."""

    error: RefusalCode = Field(strict=False)
    code: str = absent("Narrower than error, such as DAILY_SEND_QUOTA")
    message: str
    fields: list[WrongField] = absent()
    suggestions: list[str] = absent()
    upgrade_context: UpgradeContext = absent()
    retry_after: int = absent("Seconds")
    current_usage: dict[str, int | str | None] = absent()
    parked: Parked = absent()
    message_id: str | None = absent("What a draft became that was sent already")
    inboxes: list[str] = absent("Inboxes on a domain that is in use")
    unreachable_recipients: list[str] = absent("Recipients on other servers, while no mail leaves this one")
    refused_recipients: list[str] = absent("Recipients that a list or an earlier bounce stands against")
    next_steps: list[str]
