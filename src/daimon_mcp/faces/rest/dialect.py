"""How REST names an operation: its method and path."""

from __future__ import annotations

from collections.abc import Iterable

from daimon_mcp.faces.rest.route import AnyRoute


class RestDialect:
    """The `Dialect` of programs: `POST /v1/inboxes/{inbox}/send`. Of several routes the first counts."""

    def __init__(self, routes: Iterable[AnyRoute]) -> None:
        self._calls: dict[str, str] = {}
        for route in routes:
            self._calls.setdefault(route.operation, f"{route.method} {route.path}")

    def call(self, operation: str) -> str:
        """Method and path."""
        return self._calls.get(operation, operation)

    def offers(self, operation: str) -> bool:
        """Whether there is such a route."""
        return operation in self._calls
