"""How the web names an operation: to a person, who calls nothing but can ask the agent to, and to a program."""

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


_REQUESTS_HTTP = {"ingest_message": "POST /inbound"}


class HttpDialect:
    """The `Dialect` of programs that send requests with a key: method and path."""

    def call(self, operation: str) -> str:
        """The request that does `operation`."""
        return _REQUESTS_HTTP.get(operation, operation)

    def offers(self, operation: str) -> bool:
        """Whether there is such a request."""
        return operation in _REQUESTS_HTTP
