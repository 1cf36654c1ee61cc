"""Builds everything, in order, and runs it in one task group.

`opened` gives the operations of a data folder whose lock the caller holds; `run` serves them: sessions on the owner's
socket, HTTP, inbound SMTP, the relay and the scheduler. What a face needs is imported when it is needed: a stdio
session is answered before the listeners are even loaded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from daimon_mcp import __version__, owner
from daimon_mcp.changes.bus import LocalBus
from daimon_mcp.domain.clock import DAY, HOUR, MINUTE, Clock, SystemClock
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.listening import Listening
from daimon_mcp.operations import Operations
from daimon_mcp.operations.authenticating import Authenticator
from daimon_mcp.operations.core import Core, Policy
from daimon_mcp.operations.credentials import load_master_key
from daimon_mcp.settings import Settings, SettingsError
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.blobs import Blobs
from daimon_mcp.store.database import Database
from daimon_mcp.store.migrations import migrate
from daimon_mcp.wiring import HookPosting, relay_worker, upstream_worker

if TYPE_CHECKING:
    from daimon_mcp.faces.mcp.server import MailServer
    from daimon_mcp.resolver import Resolver
    from daimon_mcp.workers.webhooks import WebhookWorker

log = logging.getLogger(__name__)

DATABASE_NAME = "mail.db"
LISTENERS_AFTER = 0.25  # seconds from the start of an owner that a bridge started
MAIL_STAYS = HOUR  # how long a process stays for mail programs and other servers after the last one came
_UPSTREAM = "upstream"
CONTROL = "control"  # the profile by which our own command line asks for its channel instead of MCP


def policy_of(settings: Settings) -> Policy:
    """The numbers and names the operations go by."""
    return Policy(
        domain=settings.mail.domain,
        domains=frozenset(settings.mail_domains),
        hostname=settings.smtp_hostname,
        limits=settings.tier_limits(),
        relay=settings.way_out,
        max_recipients=settings.smtp.max_recipients,
        max_message_bytes=settings.smtp.max_message_bytes,
        max_hops=settings.smtp.max_hops,
        messages_per_minute=settings.smtp.messages_per_minute,
        greylist_seconds=settings.smtp.greylist_seconds,
        address_quarantine=settings.mail.address_quarantine_days * DAY,
        link_lifetime=settings.operator.link_days * DAY,
        duplicate_window=settings.operator.duplicate_window_minutes * MINUTE,
        idempotency_window=settings.operator.idempotency_hours * HOUR,
        give_up_after=settings.relay.give_up_hours * HOUR,
        secrets_masked=settings.operator.secrets == "masked",
        guard=settings.guard.mode,
        max_result_tokens=settings.mcp.max_result_tokens,
        files_folder=settings.attachments.folder or settings.data_dir / "files",
        files_bytes=settings.attachments.folder_max_bytes,
        verp=settings.relay.mode == "direct" if settings.relay.verp is None else settings.relay.verp,
        login_delay=settings.submission.failed_login_delay_ms / 1000,
        most_failed_logins=settings.submission.max_failed_logins,
        abuse_failed_logins=settings.submission.abuse_failed_logins,
        abuse_refused_senders=settings.submission.abuse_refused_senders,
        abuse_volume=settings.submission.abuse_volume,
        abuse_stops_sending=settings.submission.abuse_stops_sending,
        bootstrap=settings.bootstrap,
        hook_retry_for=settings.webhooks.retry_hours * HOUR,
        hook_log_kept=settings.webhooks.keep_days * DAY,
        hook_unhealthy_after=settings.webhooks.unhealthy_after,
        hooks_on_loopback=settings.hooks_on_loopback,
        hooks_on_site=settings.webhooks.private_addresses,
        join_code=settings.http.join_code.get_secret_value() if settings.http.join_code else None,
    )


def _resolving(settings: Settings) -> Callable[[], Resolver]:
    """The one resolver of this process, made when somebody first asks for it: it takes time to load."""
    made: list[Resolver] = []

    def resolver() -> Resolver:
        if not made:
            from daimon_mcp.resolver import Resolver

            dns = settings.dns
            made.append(Resolver(dns.nameservers, timeout=float(dns.timeout_seconds), trusts_ad=dns.trusts_ad))
        return made[0]

    return resolver


@asynccontextmanager
async def opened(
    settings: Settings, *, clock: Clock | None = None, environ: Mapping[str, str] = os.environ
) -> AsyncGenerator[Operations]:
    """The operations of a data folder. The caller holds its lock: nobody else may have the store open."""
    folder = settings.data_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = os.umask(
        0o077
    )  # SQLite makes its files with this; the database must never be opened only to change its mode
    try:
        master = load_master_key(folder, environ)
        bus = LocalBus()
        database = Database(folder / DATABASE_NAME, on_commit=bus.ring)
        await database.open(lambda connection: migrate(connection, backups=folder / "backups"))
    finally:
        os.umask(before)
    resolving = _resolving(settings)
    posting = HookPosting(settings, resolving, clock or SystemClock())
    core = Core(
        database=database,
        blobs=Blobs(folder / "blobs"),
        clock=clock or SystemClock(),
        bus=bus,
        policy=policy_of(settings),
        started_at=(clock or SystemClock()).now(),
        resolving=resolving,
        posting=posting.client,
    )
    try:
        operations = Operations(
            core,
            master,
            spool_folder=folder / "spool",
            authenticating=Authenticator(
                core.resolving,
                authserv_id=settings.smtp_hostname,
                trusted_networks=settings.smtp.trusted_networks,
                trusted_sealers=settings.smtp.trusted_sealers,
                quarantines=settings.smtp.dmarc == "quarantine",
                clock=core.clock,
            ),
            prompts_dir=settings.operator.prompts_dir,
        )
        await operations.credentials.check_master_key()
        await operations.domains.start()
        await operations.delivering.start()
        yield operations
    finally:
        with anyio.CancelScope(shield=True):
            await posting.close()
            await database.close()


class App:
    """One running server over one data folder."""

    def __init__(self, settings: Settings, operations: Operations) -> None:
        self.settings = settings
        self.operations = operations
        self.listening = Listening(settings, operations)
        self.bound = self.listening.bound
        self._servers: dict[tuple[str, bool], MailServer] = {}
        self._webhook_worker: WebhookWorker | None = None
        self.mcp_server()  # a tool that does not exist is said now, and not to the first client

    # -- MCP sessions ------------------------------------------------------------------------------------------------

    def mcp_server(self, profile: str | None = None, *, read_only: bool = False) -> MailServer:
        """The MCP server for sessions of one kind; what the operator set can only be narrowed.

        Raises SettingsError for a tool that does not exist.
        """
        from daimon_mcp.faces.mcp.server import MailServer
        from daimon_mcp.faces.mcp.tools import chosen

        mcp = self.settings.mcp
        wanted, narrow = profile or mcp.profile, read_only or mcp.read_only
        server = self._servers.get((wanted, narrow))
        if server is None:
            try:
                tools = chosen(profile=wanted, only=mcp.tools, without=mcp.exclude_tools, read_only=narrow)
            except ValueError as error:
                raise SettingsError(f"mcp.tools and mcp.exclude_tools: {error}") from None
            server = self._servers[wanted, narrow] = MailServer(self.operations, tools, read_only=narrow)
        return server

    async def answer_hello(self, hello: owner.Hello) -> Mapping[str, object]:
        """What a bridge is told before its session. Raises HelloRefused for a key that is not valid."""
        if hello.profile not in (None, "core", "full", CONTROL):
            raise owner.HelloRefused(f"there is no profile {hello.profile[:40]!r}; there are core and full")
        if hello.api_key is not None and hello.profile != CONTROL:
            try:
                await self.operations.credentials.authenticate(hello.api_key)
            except Refused:
                raise owner.HelloRefused("DAIMON_API_KEY is not a valid key of this server") from None
        from daimon_mcp.faces.mcp.tools import ALL

        repeatable = [tool.name for tool in ALL if tool.reads or tool.repeats]
        return {"version": __version__, "repeatable": repeatable}

    async def serve_session(self, hello: owner.Hello, streams: owner.SessionStreams) -> None:
        """Run one session of a bridge, or our own command line's channel."""
        if hello.profile == CONTROL:
            from daimon_mcp.faces.cli.control import serve_control

            await serve_control(self.operations, streams.reader, streams.writer)
            return
        from daimon_mcp.faces.mcp.server import Session, session
        from daimon_mcp.faces.mcp.streams import message_streams

        actor = await self.operations.credentials.authenticate(hello.api_key) if hello.api_key else None
        server = self.mcp_server(hello.profile, read_only=hello.read_only)
        token = session.set(Session(actor, hello.read_only, hello.api_key))
        try:
            async with message_streams(streams.reader, streams.writer) as (read_stream, write_stream):
                await server.run_session(read_stream, write_stream)
        finally:
            session.reset(token)

    async def may_leave(self) -> bool:
        """Whether nothing needs this process: no mail to send or fetch, no link that may be opened, nobody on HTTP."""
        if self.settings.upstream.host is not None or self.operations.spool.waiting():
            return False
        core = self.operations.core
        if core.mail_seen_at and core.clock.now() < core.mail_seen_at + MAIL_STAYS:
            return False
        if self.listening.busy or not (self._webhook_worker is None or self._webhook_worker.is_idle):
            return False
        extracting = self.operations.extracting
        if self.operations.file_links.one_is_open() or (extracting.is_reading and await extracting.pending()):
            return False
        database = self.operations.core.database
        pending = await database.one(sql.deliveries_pending)
        scheduled = await self.operations.releasing.next_scheduled()
        return not (pending and pending[0]) and scheduled is None and not await self.operations.upgrades.open_count()

    # -- workers and listeners -----------------------------------------------------------------------------------------

    async def run_workers(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start the scheduler, what reads attachments, and the relay where one is configured."""
        from daimon_mcp.extraction.service import Extraction
        from daimon_mcp.workers.attachment_texts import AttachmentTexts
        from daimon_mcp.workers.intake import IntakeWorker
        from daimon_mcp.workers.scheduler import Scheduler
        from daimon_mcp.workers.webhooks import WebhookWorker

        core = self.operations.core
        await tasks.start(IntakeWorker(intake=self.operations.intake, bus=core.bus).run)
        operations = self.operations
        scheduler = Scheduler(releasing=operations.releasing, keys=operations.keys, bus=core.bus, clock=core.clock)
        await tasks.start(scheduler.run)
        extraction = Extraction() if self.settings.attachments.read_text else None
        texts = AttachmentTexts(
            extracting=self.operations.extracting,
            uploading=self.operations.uploading,
            extraction=extraction,
            bus=core.bus,
        )
        await tasks.start(texts.run)
        await self.operations.domain_keys.make_server_keys()
        relay = relay_worker(self.settings, self.operations)
        if relay is not None:
            await tasks.start(relay.run)
        self._webhook_worker = WebhookWorker(
            telling=self.operations.telling,
            poster=core.posting(),
            bus=core.bus,
            clock=core.clock,
            most=self.settings.webhooks.concurrency,
        )
        await tasks.start(self._webhook_worker.run)
        upstream = upstream_worker(self.settings, self.operations, self._note_upstream)
        if upstream is not None:
            await tasks.start(upstream.run)

    def _note_upstream(self, text: str | None) -> None:
        notes = self.operations.core.notes
        notes[:] = [note for note in notes if not note.startswith(_UPSTREAM)]
        if text is not None:
            notes.append(f"{_UPSTREAM}: {text}")

    async def run_listeners(
        self,
        tasks: anyio.abc.TaskGroup,
        bound: socket.socket | None,
        *,
        strict: bool,
    ) -> None:
        """Start everything that is not a session on the owner's socket. `bound` is what `listening.bind_http` gave."""
        listening, smtp, submission = self.listening, self.settings.smtp, self.settings.submission
        await self.run_workers(tasks)
        if bound is not None:
            await tasks.start(listening.run_http, bound, self.mcp_server())
        tls = None
        if smtp.inbound or submission.enabled:
            from daimon_mcp.faces.smtp.handshake import keep_sessions_small

            keep_sessions_small()
            tls = await listening.mail_tls(strict=strict)
        if submission.enabled and tls is not None:
            await tasks.start(partial(listening.run_submission, tls, strict=strict))
        if smtp.inbound:
            await tasks.start(partial(listening.run_inbound, tls, strict=strict))
        places = [] if smtp.lmtp_port is None else [("127.0.0.1", smtp.lmtp_port)]
        for at in (*places, *(() if smtp.lmtp_socket is None else (smtp.lmtp_socket,))):
            await tasks.start(partial(listening.run_lmtp, at, strict=strict))
        if not (smtp.inbound or self.bound.lmtp):
            but = ", and LMTP cannot be used" if smtp.lmtp_port is not None or smtp.lmtp_socket else ""
            self.operations.core.not_listening = f"[smtp] inbound is false{but}"
        for note in self.operations.core.notes:
            log.warning("%s", note)


async def run(
    settings: Settings,
    listener: owner.Listener,
    *,
    leaves_when_idle: bool,
    ready: Callable[[App], Awaitable[None]] | None = None,
    clock: Clock | None = None,
) -> None:
    """Be the owner: serve sessions on `listener`, and everything else, until idle (if it may) or cancelled.

    `ready` is told once every listener is bound. Raises OSError when a port is taken and the owner was started by hand.
    """
    async with opened(settings, clock=clock) as operations:
        app = App(settings, operations)
        strict = not leaves_when_idle
        bound = app.listening.bind_http(strict=strict)
        idle = owner.IdleWatch(settings.owner.idle_minutes * 60, app.may_leave) if leaves_when_idle else None
        async with anyio.create_task_group() as tasks:
            begun = operations.core.listening = asyncio.Event()

            async def others() -> None:
                if leaves_when_idle:  # a client waits for this very start: what listeners load comes after its answers
                    await anyio.sleep(LISTENERS_AFTER)
                await app.run_listeners(tasks, bound, strict=strict)
                begun.set()
                if ready is not None:
                    await ready(app)

            tasks.start_soon(others)
            await owner.accept_sessions(listener, answer=app.answer_hello, serve=app.serve_session, idle=idle)
            tasks.cancel_scope.cancel()
