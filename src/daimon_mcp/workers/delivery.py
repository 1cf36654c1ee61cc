"""One message to one destination: over a kept session if one is alive, else by the ways there, in turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from daimon_mcp.domain.queue import Attempt, Handover
from daimon_mcp.workers.pool import Pool
from daimon_mcp.workers.smtp_client import Client, LoginFailed, NotLetIn, TlsFailed, Way
from daimon_mcp.workers.smtp_commands import wire_form
from daimon_mcp.workers.smtp_reply import Answerer
from daimon_mcp.workers.smtp_transaction import Ended, OnContent, SessionFailed, ShutOut, Transaction

log = logging.getLogger(__name__)

# Together shorter than the lease of a claimed delivery (domain.queue.LEASE), so that no message is in two hands.
ENVELOPE_SECONDS: Final = 240.0  # from the wait for a connection to the final dot, all hosts together
ANSWER_SECONDS: Final = 300.0  # for the answer to it: RFC 5321 §4.5.3.2.6 asks for patience, against duplicates

Ways = Callable[[], Awaitable[Sequence[Way]]]


class Courier:
    """Carries messages to servers over the sessions of `pool`. Belongs to one event loop.

    `hostname` is what we call ourselves. Times are seconds: for a connection, for each answer, for that to the final
    dot. With `ours`, the servers are ones that our own configuration names, and one that does not let us in is a
    mistake there: an error in the log.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        hostname: str,
        timeout: float,
        answer_timeout: float,
        connect_timeout: float,
        ours: bool,
    ) -> None:
        self._pool = pool
        self._hostname = hostname
        self._timeout = timeout
        self._answer_timeout = answer_timeout
        self._connect_timeout = connect_timeout
        self._trouble = logging.ERROR if ours else logging.INFO
        self._unreachable = logging.WARNING if ours else logging.INFO

    async def carry(
        self,
        handover: Handover,
        *,
        destination: str,
        remote: str,
        ways: Ways,
        on_content: OnContent | None,
    ) -> dict[str, Attempt]:
        """Hand a message over; what came of it for each recipient.

        `ways` is asked only when no kept session does; they are tried in turn. It may raise Ended. `remote` is what we
        call the other side before we have met it. Takes 240 s and the time of the last answer at most. Raises
        ValueError for content with a CR or LF alone.
        """
        content = await wire_form(handover.content)
        nobody = Answerer(remote)
        results: dict[str, Attempt] = {}
        try:
            async with asyncio.timeout(ENVELOPE_SECONDS) as limit:
                transaction = Transaction(
                    handover=handover,
                    content=content,
                    timeout=self._timeout,
                    answer_timeout=self._answer_timeout,
                    before_content=on_content or _ignore,
                    before_end=lambda: limit.reschedule(None),
                    results=results,
                )
                transaction.check(nobody)
                async with self._pool.place(destination):
                    await self._try(destination, transaction, ways, nobody)
        except TimeoutError:
            ending = nobody.deferred("the server took too long", "4.4.1")
        except Ended as ended:
            ending = ended.attempt
        else:
            return results
        return {recipient.address: results.get(recipient.address, ending) for recipient in handover.recipients}

    async def _try(self, destination: str, transaction: Transaction, ways: Ways, nobody: Answerer) -> None:
        """On a kept session if one is alive: one that died while it was kept costs the message nothing."""
        if not transaction.left():
            return
        client = self._pool.take(destination)
        if client is not None:
            try:
                return await self._run(destination, transaction, client)
            except SessionFailed as failed:
                if failed.heard:
                    raise
                log.info("a kept connection to %s was gone; taking a new one", client.answers.remote)
        failure = Ended(nobody.deferred("there is no host to connect to", "4.4.4"))
        for way in await ways():
            try:
                client = await self._enter(way)
            except NotLetIn as error:
                failure = Ended(error.attempt)
                continue
            try:
                return await self._run(destination, transaction, client)
            except SessionFailed as failed:
                failure = failed
                if not transaction.left():
                    return
        raise failure

    async def _run(self, destination: str, transaction: Transaction, client: Client) -> None:
        try:
            await transaction.run(client)
        except ShutOut as error:
            remote, code = client.answers.remote, error.attempt.code
            log.log(self._trouble, "%s does not let us in: %d %.300r", remote, code, str(error))
            raise
        finally:
            self._pool.give_back(destination, client)

    async def _enter(self, way: Way) -> Client:
        """Get in there; without TLS, on a new connection, where only opportunity asked for it (RFC 7435)."""
        try:
            return await self._connect(way)
        except TlsFailed:
            if way.security != "opportunistic":
                raise
        return await self._connect(replace(way, security="none"))

    async def _connect(self, way: Way) -> Client:
        try:
            return await Client.enter(
                way, hostname=self._hostname, timeout=self._timeout, connect_timeout=self._connect_timeout
            )
        except LoginFailed as error:
            log.log(self._trouble, "cannot log in to %s: check user name and password: %.300r", way.remote, str(error))
            raise
        except NotLetIn as error:
            log.log(self._unreachable, "cannot connect to %s: %.300r", way.remote, str(error))
            raise


def _ignore() -> None:
    pass
