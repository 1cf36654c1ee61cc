"""Fetching an MTA-STS policy file: one HTTPS GET that believes nothing and waits for nobody (RFC 8461 §3.3)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from importlib import import_module
from typing import Final

from daimon_mcp.resolver import Resolver, ResolverError
from daimon_mcp.workers.mta_sts import BadPolicy

SECONDS: Final = 60.0
MAX_BYTES: Final = 65_536
MAX_ADDRESSES: Final = 3


class HttpsFetch:
    """`mta_sts.Fetch` over the network: `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, found by `resolver`.

    `tls` makes the context that certificates are checked by, once, in a thread; the system's unless it is given.
    `seconds` bounds one fetch in all.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        port: int = 443,
        seconds: float = SECONDS,
    ) -> None:
        self._resolver = resolver
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._port = port
        self._seconds = seconds

    async def __call__(self, domain: str) -> str:
        """The text of the file. Raises BadPolicy for every reason there is not to have it."""
        if self._tls is None:
            await asyncio.to_thread(import_module, "httpx2")  # a fifth of a second
            self._tls = await asyncio.to_thread(self._make_tls)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._fetch(f"mta-sts.{domain}", self._tls)
        except TimeoutError:
            raise BadPolicy(f"not fetched within {self._seconds:g} s") from None
        except ResolverError as error:
            raise BadPolicy(str(error)) from error

    async def _fetch(self, host: str, tls: ssl.SSLContext) -> str:
        addresses = (await self._resolver.addresses(host)).records[:MAX_ADDRESSES]
        problem = BadPolicy(f"{host} has no address")
        for address in addresses:
            try:
                return await self._get(host, address, tls)
            except BadPolicy as error:
                problem = error
        raise problem

    async def _get(self, host: str, address: str, tls: ssl.SSLContext) -> str:
        import httpx2

        # To the address that our own name servers gave; who is there proves to be `host` by certificate.
        url = f"https://{f'[{address}]' if ':' in address else address}:{self._port}/.well-known/mta-sts.txt"
        headers = {"Host": host, "Accept": "text/plain", "Accept-Encoding": "identity", "User-Agent": "daimon-mcp"}
        body = bytearray()
        try:
            async with (
                httpx2.AsyncClient(verify=tls, trust_env=False, timeout=self._seconds) as client,
                client.stream("GET", url, headers=headers, extensions={"sni_hostname": host}) as response,
            ):
                if response.status_code != 200:  # redirects are not followed (§3.3)
                    raise BadPolicy(f"the answer is {response.status_code}")
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                if kind != "text/plain":
                    raise BadPolicy("the answer is not text/plain")
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise BadPolicy(f"the file is longer than {MAX_BYTES} bytes")
        except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
            raise BadPolicy(f"{type(error).__name__}: {error}") from error
        return body.decode("utf-8", "replace")
