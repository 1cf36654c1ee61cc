"""Posting to webhooks: one try, bounded in time and in what is read, to an address that was judged.

httpcore2 speaks HTTP, with connections kept for each origin; only how it connects is ours.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from daimon_mcp.domain.clock import SECOND, Clock, from_datetime
from daimon_mcp.domain.webhooks import HookAnswer, HookRequest
from daimon_mcp.logs import new_cid, one_line
from daimon_mcp.workers.hook_addresses import HookAddresses, NotAllowed, NotFound

if TYPE_CHECKING:
    import httpcore2

log = logging.getLogger(__name__)

MOST_READ: Final = 65_536  # bytes of an answer, so that its connection can be used again
MOST_KEPT: Final = 1_024  # characters of an answer for the log of deliveries
IDLE_SECONDS: Final = 30.0
IDLE_CONNECTIONS: Final = 4  # for one origin
_KEPT_HEADERS: Final = ("content-type", "retry-after", "location", "server", "date")
_MOST_HEADER: Final = 200


class HookClient:
    """Posts, `timeout` seconds each in all, from looking up the name to the end of the answer.

    `tls` makes the context that certificates are checked by, once, in a thread. Belongs to one event loop.
    """

    def __init__(
        self, addresses: HookAddresses, *, tls: Callable[[], ssl.SSLContext], clock: Clock, timeout: float = 5.0
    ) -> None:
        self._addresses = addresses
        self._make_tls = tls
        self._clock = clock
        self._timeout = timeout
        self._loading: asyncio.Task[None] | None = None
        self._tls: ssl.SSLContext | None = None
        self._backend: httpcore2.AsyncNetworkBackend | None = None
        self._pools: dict[tuple[str, str, int], _Pool] = {}
        self._swept_at = 0.0

    async def post(self, request: HookRequest) -> HookAnswer:
        """Post it, once; whatever goes wrong at the receiver is an answer too.

        Raises what keeps us from posting at all, such as certificates that cannot be read.
        """
        if self._backend is None:
            if self._loading is None or self._loading.done():  # done without a backend: it failed
                self._loading = asyncio.ensure_future(self._load())
            await asyncio.shield(self._loading)
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(request, started)
        except TimeoutError:
            error = f"did not answer within {self._timeout:g} s"
        except (NotAllowed, NotFound) as problem:
            error = str(problem)
        except Exception as problem:  # noqa: BLE001  a receiver must not be able to end the worker
            error = self._said(problem)
        return HookAnswer(None, error, took=_since(started))

    async def _load(self) -> None:
        """What takes time to load, when it is first needed."""
        await asyncio.to_thread(import_module, "httpcore2")  # a quarter of a second
        self._tls = await asyncio.to_thread(self._make_tls)
        self._backend = _backend(self._addresses)

    async def _post(self, request: HookRequest, started: float) -> HookAnswer:
        import httpcore2

        url = httpcore2.URL(request.url)
        host, port = url.host.decode("ascii"), url.port or (443 if url.scheme == b"https" else 80)
        headers = [("Host", _authority(url)), ("Content-Length", str(len(request.body))), *request.headers.items()]
        kept = self._pool(url.scheme.decode(), host, port)
        kept.users += 1
        try:
            async with kept.pool.stream("POST", url, headers=headers, content=request.body) as response:
                read = b""
                async for chunk in response.aiter_stream():
                    read += chunk
                    if len(read) > MOST_READ:
                        break  # the connection is closed then
                given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                return HookAnswer(
                    response.status,
                    retry_after=self._retry_after(given),
                    body=read[: 4 * MOST_KEPT].decode("utf-8", "replace")[:MOST_KEPT],
                    headers={name: given[name][:_MOST_HEADER] for name in _KEPT_HEADERS if name in given},
                    took=_since(started),
                )
        finally:
            kept.users -= 1
            kept.used_at = time.monotonic()
            await self._sweep()

    def _pool(self, scheme: str, host: str, port: int) -> _Pool:
        """Connections of one origin: a certificate that was good for one name is never used for another."""
        import httpcore2

        key = scheme, host.lower(), port
        kept = self._pools.get(key)
        if kept is None:
            pool = httpcore2.AsyncConnectionPool(
                ssl_context=self._tls,
                max_connections=None,
                max_keepalive_connections=IDLE_CONNECTIONS,
                keepalive_expiry=IDLE_SECONDS,
                network_backend=self._backend,
            )
            kept = self._pools[key] = _Pool(pool)
        return kept

    async def _sweep(self) -> None:
        """Close what nobody used for a while: a pool looks at its connections only when it is used."""
        now = time.monotonic()
        if now < self._swept_at + IDLE_SECONDS / 2:
            return
        self._swept_at = now
        for key, kept in list(self._pools.items()):
            if not kept.users and kept.used_at + IDLE_SECONDS < now:
                del self._pools[key]
                await kept.pool.aclose()

    def _retry_after(self, headers: Mapping[str, str]) -> int | None:
        """What an answer asks for (RFC 9110 §10.2.3), in µs; None when it does not, or cannot be read."""
        value = headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return int(value) * SECOND
        try:
            at = from_datetime(parsedate_to_datetime(value))
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        return max(0, at - self._clock.now())

    @staticmethod
    def _said(problem: Exception) -> str:
        import httpcore2

        cause = _cause(problem)
        if isinstance(cause, NotAllowed | NotFound):
            return str(cause)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"has no certificate that we trust: {one_line(cause.verify_message)[:160]}"
        if isinstance(cause, ssl.SSLError):
            return "did not agree on TLS"
        if isinstance(problem, httpcore2.ConnectError):
            return "could not be connected to"
        if isinstance(problem, httpcore2.NetworkError):
            return "broke off the connection"
        if isinstance(problem, httpcore2.ProtocolError):
            return "did not answer in HTTP"
        cid = new_cid()
        log.error("posting to a webhook failed, id %s", cid, exc_info=problem)
        return f"was not reached: internal error, id {cid}"

    async def close(self) -> None:
        """Close every connection."""
        if self._loading is not None:
            await asyncio.wait([self._loading])
        pools, self._pools = self._pools, {}
        for kept in pools.values():
            await kept.pool.aclose()


class _Pool:
    __slots__ = ("pool", "used_at", "users")

    def __init__(self, pool: httpcore2.AsyncConnectionPool) -> None:
        self.pool = pool
        self.users = 0
        self.used_at = time.monotonic()


def _backend(addresses: HookAddresses) -> httpcore2.AsyncNetworkBackend:
    """Connects to addresses that were judged; certificates are still checked against the name."""
    import httpcore2

    plain = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    class Judged(httpcore2.AsyncNetworkBackend):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> httpcore2.AsyncNetworkStream:
            problem: Exception = NotFound("has no address")
            found = await addresses.of(host)
            for address in found:
                try:
                    return await plain.connect_tcp(address, port, timeout, local_address, socket_options)
                except httpcore2.ConnectError as error:
                    problem = error
            raise problem

    return Judged()


def _authority(url: httpcore2.URL) -> str:
    """The Host header: without a port that the scheme implies."""
    host = url.host.decode("ascii")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    implied = {b"https": 443, b"http": 80}.get(url.scheme)
    return host if url.port in (None, implied) else f"{host}:{url.port}"


def _cause(problem: BaseException) -> BaseException:
    """What is at the bottom of an exception that others were raised from."""
    seen = 0
    while seen < 10 and (deeper := problem.__cause__ or problem.__context__) is not None:
        problem, seen = deeper, seen + 1
    return problem


def _since(started: float) -> int:
    return int((time.monotonic() - started) * SECOND)
