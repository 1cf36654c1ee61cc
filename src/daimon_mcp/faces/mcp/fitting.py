"""Asking an operation until its answer is no longer than the operator allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from daimon_mcp.faces.mcp import bounds
from daimon_mcp.operations.core import Outcome
from daimon_mcp.operations.guidance import Dialect, Guide
from daimon_mcp.operations.requests import Request

R = TypeVar("R", bound=Request)


async def fitted(
    run: Callable[[R], Awaitable[Outcome]], request: R, *, reads: bool, guide: Guide, dialect: Dialect, most: int
) -> tuple[Outcome, dict[str, Any]]:
    """Run an operation; its outcome and envelope, of at most `most` bytes.

    An answer that is too long is asked for again with fewer rows or less text, if the operation only `reads`; at last
    it is cut. Raises what `run` raises.
    """
    while True:
        outcome = await run(request)
        envelope = guide.outcome(outcome, dialect)
        measured = bounds.size(envelope)
        if measured <= most:
            return outcome, envelope
        # Only what changes nothing can be asked twice.
        fewer = bounds.narrowed(request, outcome.result, measured, most) if reads else None
        if fewer is None:
            return outcome, bounds.clipped(envelope, most)
        request = fewer  # pyright: ignore[reportAssignmentType]  a copy of the same model
