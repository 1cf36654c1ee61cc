"""What all sessions of one port share: who we are, what is taken, the memory and the folder for content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from daimon_mcp.domain.clock import Clock
from daimon_mcp.faces.smtp.spool import Spool

ROOM: Final = (
    65_536  # octets held before reading stops; also how far content may pass twice its limit before we hang up
)
IN_MEMORY: Final = 262_144  # octets of content that are kept in memory; larger content goes to a file as it comes in


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener takes.

    Messages in octets as RFC 1870 counts them; `max_connections_per_address` counts an IPv6 /64 as one address.
    A command must be complete within `command_seconds`, content within that plus one second for every
    `data_bytes_per_second`, never silent for `command_seconds`; a session ends after `session_seconds`, and after
    `max_errors` replies of 5xx. When the listener ends, content under way has `close_seconds` to be answered, and so
    has any last reply to leave. The greeting waits for `greeting_seconds`, so that who talks before it is found out.
    All connections together hold at most `max_buffered_bytes` of content in memory that is arriving or not yet
    answered; more is put off with 452. One message always fits, even if that is more.
    """

    max_connections: int = 100
    max_connections_per_address: int = 20
    max_recipients: int = 50
    max_message_bytes: int = 10_485_760
    max_buffered_bytes: int = 134_217_728
    session_seconds: float = 1800.0
    command_seconds: float = 300.0
    data_bytes_per_second: int = 500
    max_errors: int = 50
    close_seconds: float = 5.0
    greeting_seconds: float = 0.0


class Budget:
    """Octets of content that all sessions together hold in memory."""

    def __init__(self, limits: Limits) -> None:
        largest = min(limits.max_message_bytes, IN_MEMORY) + ROOM
        self._most = max(limits.max_buffered_bytes, largest)
        self._held = 0

    def hold(self, octets: int) -> bool:
        """Count `octets` more (fewer, if negative) as held; whether all there is now is not too much."""
        self._held += octets
        return self._held <= self._most

    def has_room(self) -> bool:
        """Whether more content can be begun: there is room for what one read brings in."""
        return self._held + ROOM <= self._most


@dataclass(frozen=True, slots=True)
class Service:
    """One port as its sessions see it; `offers_tls` says whether STARTTLS can be had."""

    hostname: str
    limits: Limits
    clock: Clock
    spool: Spool
    budget: Budget
    offers_tls: bool = False
