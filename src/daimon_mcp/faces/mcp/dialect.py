"""How MCP names an operation: by its tool."""

from __future__ import annotations

from collections.abc import Collection


class ToolDialect:
    """`send_email`, if this session has it."""

    def __init__(self, offered: Collection[str]) -> None:
        self._offered = frozenset(offered)

    def call(self, operation: str) -> str:
        return operation

    def offers(self, operation: str) -> bool:
        return operation in self._offered
