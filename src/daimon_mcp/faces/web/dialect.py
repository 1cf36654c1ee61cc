"""How the operator's pages name an operation to a person, who calls nothing but can ask the agent to."""

from __future__ import annotations

_REQUESTS = {
    "create_upgrade_link": "ask the agent for a new link",
    "notify_operator": "ask the agent for a new link",
    "get_account": "ask the agent how its account stands",
}


class PageDialect:
    """The `Dialect` of people: what to ask the agent for."""

    def call(self, operation: str) -> str:
        """The request that makes an agent call `operation`."""
        return _REQUESTS.get(operation, "ask the agent")

    def offers(self, operation: str) -> bool:
        """Whether it is something a person would ask an agent for."""
        return operation in _REQUESTS
