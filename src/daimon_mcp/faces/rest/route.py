"""What a route is here: a translation from a request to one operation, and no rule of its own."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import UnionType
from typing import Any, Generic, Literal, TypeVar

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.operations import Operations
from daimon_mcp.operations.core import Outcome
from daimon_mcp.operations.joining import Visitor
from daimon_mcp.operations.messages import Raw
from daimon_mcp.operations.requests import Request

R = TypeVar("R", bound=Request)
Result = dict[str, Any]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_PLACE = re.compile(r"\{(\w+)\}")


class Nothing(Request):
    """For routes that take nothing but their path."""


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One request: who, what, and the places in its path that are not fields of what."""

    operations: Operations
    actor: Actor
    request: R
    within: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Visit(Generic[R]):
    """A request without a key."""

    operations: Operations
    visitor: Visitor
    request: R


@dataclass(frozen=True, kw_only=True, eq=False)
class RestRoute(Generic[R]):
    """A route as programs see it and as it runs.

    `operation` is its name in words and in the API's description. Places in `path` are fields of `request`; those in
    `within` are not, and only say where the thing must be: for `inbox` the answering sees to that, for others `run`
    does. `fixed` fields have a value of ours, and `hidden` ones their default. `lists` names the list in the result,
    which `limit`/`offset` pages then, beside the cursor. `headers` are fields of the request that may be said in a
    header too. `refuses` are the refusals that callers should expect beyond those of every route. `shape` has the last
    word on the result. `without_key` answers whoever has no key. `waits` ones may take minutes, and end when nobody
    waits for their answer any more. A `run` that comes to `Raw` is answered with those bytes, and not in JSON.
    """

    method: Method
    path: str
    operation: str
    tag: str
    summary: str
    request: type[R]
    run: Callable[[Call[R]], Awaitable[Outcome] | Awaitable[Raw]]
    result: type[Any] | UnionType
    within: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    lists: str = ""
    refuses: tuple[RefusalCode, ...] = ()
    shape: Callable[[Result], Result] | None = None
    without_key: Callable[[Visit[R]], Awaitable[Outcome]] | None = None
    waits: bool = False
    description: str = ""

    @cached_property
    def places(self) -> tuple[str, ...]:
        """The names in the path that are fields of the request."""
        return tuple(name for name in _PLACE.findall(self.path) if name not in self.within)

    @property
    def has_body(self) -> bool:
        """Whether its fields come as JSON, and not in the query."""
        return self.method in ("POST", "PUT", "PATCH")

    @cached_property
    def taken(self) -> frozenset[str]:
        """The fields of the request that neither the query nor the body may hold."""
        return frozenset((*self.places, *self.hidden, *self.fixed))

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields of the request that the query or the body may hold, by their own names."""
        return tuple(name for name in self.request.model_fields if name not in self.taken)


AnyRoute = RestRoute[Any]
