"""Ways to hand a message to the next hop: what the relay worker sees of them, and the simplest, a smart host.

Straight to the hosts of a domain: `direct.py`.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal, Protocol

from daimon_mcp.domain.queue import Attempt, Handover
from daimon_mcp.workers.delivery import ANSWER_SECONDS, Courier
from daimon_mcp.workers.pool import SECONDS_PER_CONNECTION, Pool
from daimon_mcp.workers.smtp_client import Way
from daimon_mcp.workers.smtp_transaction import OnContent


class Transport(Protocol):
    """A way to hand over messages."""

    @property
    def only(self) -> str | None:
        """The destination of all mail, where there is but one."""
        ...

    def destination(self, recipient: str) -> str:
        """Where mail for that address goes first, as a name: what may share a transaction, and a limit."""
        ...

    async def relay(
        self, destination: str, handover: Handover, *, on_content: OnContent | None = None
    ) -> dict[str, Attempt]:
        """Try once; what came of it for each recipient, by address. All of them have `destination` as theirs.

        Raises ValueError for content that holds a CR or LF alone, which must never be sent. `on_content` is called
        before the content is written: if the call is cancelled after that, the message may have been handed over,
        else not. What it returns is waited for before the end of the content is sent; if that fails, it is not sent.
        """
        ...

    async def close(self) -> None:
        """End kept connections."""
        ...


class SmartHost:
    """One relay that takes all our mail (RFC 5321, RFC 6409). Belongs to one event loop.

    `security` is "tls" from the first byte, "starttls" (never skipped), or "none"; `hostname` is what we call
    ourselves. `timeout` is seconds for each answer, `answer_timeout` for that to the final dot. At most
    `max_connections` are open; each serves 300 s or 100 messages. Without `tls_context` the system's certificates
    count.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        security: Literal["starttls", "tls", "none"],
        hostname: str,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 60.0,
        answer_timeout: float = ANSWER_SECONDS,
        max_connections: int = 5,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self.remote = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # Making a context reads all certificates, 20 ms of CPU: once, and not for each connection.
        context = client_context() if tls_context is None and security != "none" else tls_context
        self._way = Way(
            host=host,
            port=port,
            name=host,
            remote=self.remote,
            security=security,
            context=context,
            trust="verified",
            username=username,
            password=password or "",
        )
        self._pool = Pool(max_connections=max_connections, idle_seconds=SECONDS_PER_CONNECTION)
        self._courier = Courier(
            self._pool,
            hostname=hostname,
            timeout=timeout,
            answer_timeout=answer_timeout,
            connect_timeout=timeout,
            ours=True,
        )

    @property
    def only(self) -> str:
        """The relay."""
        return self.remote

    def destination(self, recipient: str) -> str:
        """The relay, whoever it is for."""
        return self.remote

    async def relay(
        self, destination: str, handover: Handover, *, on_content: OnContent | None = None
    ) -> dict[str, Attempt]:
        """As `Transport.relay`; takes 240 s and the time of the last answer at most."""
        return await self._courier.carry(
            handover, destination=destination, remote=self.remote, ways=self._ways, on_content=on_content
        )

    async def close(self) -> None:
        """Say QUIT on kept connections and end them, within a few seconds."""
        await self._pool.close()

    async def _ways(self) -> tuple[Way]:
        return (self._way,)


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that verifies the relay's certificate and name, by the system's certificates or those of `ca_file`."""
    return ssl.create_default_context(cafile=ca_file)
