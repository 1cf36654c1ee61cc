"""What a tool is here: a translation from arguments to one operation, and no rule of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from mcp_types import Tool as WireTool
from mcp_types import ToolAnnotations

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.faces.mcp.schema import Schema, input_schema
from daimon_mcp.operations import Operations
from daimon_mcp.operations.core import Outcome, Progress
from daimon_mcp.operations.requests import Request

R = TypeVar("R", bound=Request)


class Nothing(Request):
    """For tools without arguments."""


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One call of a tool: who, what, and where progress goes."""

    operations: Operations
    actor: Actor
    request: R
    progress: Progress | None


@dataclass(frozen=True)
class ToolSpec(Generic[R]):
    """A tool as clients see it and as it runs.

    `reads` tools change nothing and are repeatable; `destroys` ones cannot be taken back; `outside` ones reach beyond
    this server; `repeats` ones may be called again with the same arguments without a further effect. `secret` ones
    show what lets others act, so that a session that only reads does not have them.
    """

    name: str
    title: str
    description: str
    request: type[R]
    output: Schema
    run: Callable[[Call[R]], Awaitable[Outcome]]
    core: bool = False
    reads: bool = False
    destroys: bool = False
    outside: bool = False
    repeats: bool = False
    secret: bool = False
    nullable: bool = False
    shows_link: bool = False

    @cached_property
    def wire(self) -> WireTool:
        """The tool as `tools/list` shows it."""
        return WireTool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=input_schema(self.request, nullable=self.nullable),
            output_schema=self.output,
            annotations=ToolAnnotations(
                read_only_hint=self.reads,
                destructive_hint=self.destroys,
                idempotent_hint=self.reads or self.repeats,
                open_world_hint=self.outside,
            ),
        )


AnyTool = ToolSpec[Any]
