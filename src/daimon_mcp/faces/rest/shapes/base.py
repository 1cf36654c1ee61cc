"""What every shape is made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Time = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"),
    Field(json_schema_extra={"format": "date-time"}),
]
"""ISO 8601 in UTC."""
Tier = Literal["free", "starter", "pro", "enterprise"]


class Shape(BaseModel):
    """Base of results: names that are not here do not occur, and types are as they are said."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def absent(description: str | None = None) -> Any:  # what pydantic's own Field returns
    """For a name that may be missing, and is not null when it is there."""
    return Field(default_factory=lambda: None, description=description)


class Page(Shape):
    """Base of lists."""

    has_more: bool
    next_cursor: str | None


class Usage(Shape):
    """What sends are left; null is no limit."""

    sends_today: int
    daily_send_limit: int | None
    sends_this_month: int
    monthly_send_limit: int | None
    resets_at: Time


class ForOperator(Shape):
    """What there is beside a result when the operator is needed."""

    operator_action_url: str = absent()
    operator_action_label: str = absent()
    agent_script: str = absent("A sentence to hand to the operator as it is")
