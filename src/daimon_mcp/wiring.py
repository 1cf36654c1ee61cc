"""From settings to what carries mail: the transport to other servers, and the mailbox mail is fetched from."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from daimon_mcp.operations import Operations
from daimon_mcp.settings import Settings

if TYPE_CHECKING:
    from daimon_mcp.domain.clock import Clock
    from daimon_mcp.resolver import Resolver
    from daimon_mcp.workers.hook_client import HookClient
    from daimon_mcp.workers.relay import RelayWorker
    from daimon_mcp.workers.transports import Transport
    from daimon_mcp.workers.upstream import Mailbox, UpstreamWorker

# Nobody's mail server is there, and a sender could use us to knock on doors inside the operator's network.
_PRIVATE = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "::/128", "::1/128", "fc00::/7", "fe80::/10",
)  # fmt: skip
_FIRST = 2  # messages at a time to a server we know nothing of


def relay_worker(settings: Settings, operations: Operations) -> RelayWorker | None:
    """The worker for mail to other servers; None where none leaves."""
    if not settings.mail_leaves:
        return None
    from daimon_mcp.workers.relay import RelayWorker

    relay, core = settings.relay, operations.core
    direct = relay.mode == "direct"
    return RelayWorker(
        delivering=operations.delivering,
        transport=_transport(settings, operations),
        bus=core.bus,
        clock=core.clock,
        concurrency=relay.destinations if direct else relay.max_connections,
        first=_FIRST if direct else None,
    )


def _transport(settings: Settings, operations: Operations) -> Transport:
    relay, core = settings.relay, operations.core
    if relay.mode == "sandbox":
        from daimon_mcp.workers.sandbox import Sandbox

        return Sandbox(
            receiving=operations.receiving, texts=operations.texts, hostname=settings.smtp_hostname, clock=core.clock
        )
    if relay.mode == "direct":
        return _direct(settings, operations)
    from daimon_mcp.workers.transports import SmartHost, client_context

    assert relay.host is not None
    return SmartHost(
        host=relay.host,
        port=relay.port,
        security=relay.security,
        username=relay.username,
        password=relay.password.get_secret_value() if relay.password else None,
        hostname=settings.smtp_hostname,
        timeout=float(relay.timeout_seconds),
        max_connections=relay.max_connections,
        tls_context=client_context(relay.ca_file),
    )


def _direct(settings: Settings, operations: Operations) -> Transport:
    from daimon_mcp.operations.sts import StsPolicies
    from daimon_mcp.workers.direct import Direct
    from daimon_mcp.workers.mta_sts import MtaSts
    from daimon_mcp.workers.routing import Routing
    from daimon_mcp.workers.sts_fetch import HttpsFetch
    from daimon_mcp.workers.transports import client_context

    relay, core = settings.relay, operations.core
    resolver = core.resolving()
    context = client_context(relay.ca_file)
    sts = MtaSts(resolver, fetch=HttpsFetch(resolver, tls=lambda: context), store=StsPolicies(core), clock=core.clock)
    routing = Routing(
        resolver,
        hostname=settings.smtp_hostname,
        own_addresses=() if relay.private_addresses else _PRIVATE,
        sts=sts,
        random=random.SystemRandom(),
        port=relay.direct_port,
    )
    return Direct(
        routing=routing,
        hostname=settings.smtp_hostname,
        timeout=float(relay.timeout_seconds),
        max_connections=relay.max_connections,
        tls_context=context,
    )


class HookPosting:
    """The one client that posts to webhooks, made when first asked for, with its connections."""

    def __init__(self, settings: Settings, resolving: Callable[[], Resolver], clock: Clock) -> None:
        self._settings = settings
        self._resolving = resolving
        self._clock = clock
        self._client: HookClient | None = None

    def client(self) -> HookClient:
        """The client."""
        if self._client is None:
            from daimon_mcp.workers.hook_addresses import HookAddresses
            from daimon_mcp.workers.hook_client import HookClient
            from daimon_mcp.workers.transports import client_context

            hooks, ca_file = self._settings.webhooks, self._settings.webhooks.ca_file
            self._client = HookClient(
                HookAddresses(
                    self._resolving,
                    loopback=self._settings.hooks_on_loopback,
                    private=hooks.private_addresses,
                ),
                tls=lambda: client_context(ca_file),
                clock=self._clock,
                timeout=float(hooks.timeout_seconds),
            )
        return self._client

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.close()


def upstream_mailbox(settings: Settings) -> Mailbox | None:
    """The mailbox elsewhere that mail is fetched from; None where none is set."""
    upstream = settings.upstream
    if upstream.host is None:
        return None
    from daimon_mcp.workers.imap_wire import Server
    from daimon_mcp.workers.transports import client_context
    from daimon_mcp.workers.upstream import Mailbox

    assert upstream.address is not None
    plain = upstream.security == "none"
    return Mailbox(
        server=Server(
            host=upstream.host,
            port=upstream.port,
            security=upstream.security,
            tls=None if plain else client_context(upstream.ca_file),
        ),
        username=upstream.username or upstream.address,
        password=upstream.password.get_secret_value() if upstream.password else None,
        oauth_command=upstream.oauth_command,
        folder=upstream.mailbox,
        backlog=upstream.backlog,
        after=upstream.after,
        poll_seconds=float(upstream.poll_seconds),
    )


def upstream_worker(
    settings: Settings, operations: Operations, note: Callable[[str | None], None]
) -> UpstreamWorker | None:
    """The worker that fetches from it. `note` is told what is wrong, and None when nothing is any more."""
    mailbox = upstream_mailbox(settings)
    if mailbox is None:
        return None
    from daimon_mcp.domain.upstream import rule
    from daimon_mcp.workers.upstream import UpstreamWorker

    upstream = settings.upstream
    assert upstream.address is not None
    return UpstreamWorker(
        fetching=operations.fetching,
        mailbox=mailbox,
        rule=rule(
            address=upstream.address,
            domain=settings.mail.domain,
            domains=settings.mail_domains,
            tags=upstream.tags,
            catch_all=upstream.catch_all,
            default_inbox=upstream.default_inbox,
        ),
        clock=operations.core.clock,
        max_message_bytes=settings.smtp.max_message_bytes,
        note=note,
    )
