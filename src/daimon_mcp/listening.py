"""From settings to listeners: HTTP, inbound SMTP, LMTP and submission, and what becomes of a port that is taken.

Each `run_…` serves until it is cancelled, and tells its `task_status` once it listens. What cannot listen raises
OSError with `strict`, whose text names the option to change; otherwise it is noted, and the server goes on without.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.abc

from daimon_mcp.operations import Operations
from daimon_mcp.operations.core import SubmissionAt
from daimon_mcp.settings import Settings

if TYPE_CHECKING:
    from daimon_mcp.faces.http import HttpServer
    from daimon_mcp.faces.mcp.server import MailServer
    from daimon_mcp.faces.smtp.certificates import ServerTls

T = TypeVar("T")


@dataclass
class Bound:
    """Where everything came to listen; None where it does not."""

    http: tuple[str, int] | None = None
    inbound: tuple[str, int] | None = None
    lmtp: list[tuple[str, int] | Path] = field(default_factory=list["tuple[str, int] | Path"])
    submission: tuple[str, int] | None = None
    submission_tls: tuple[str, int] | None = None
    # SHA-256 of the certificate that mail programs see, where it is one of our own making.
    fingerprint: str | None = None


class Listening:
    """The listeners of one server; `bound` says where those that were started listen."""

    def __init__(self, settings: Settings, operations: Operations) -> None:
        self.bound = Bound()
        self._settings = settings
        self._operations = operations
        self._http: HttpServer | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody is on HTTP now."""
        return self._http is not None and self._http.busy

    def bind_http(self, *, strict: bool) -> socket.socket | None:
        """Bind the HTTP port, so that links can be made. Not strict: another port, when the chosen one is taken."""
        from daimon_mcp.faces.http import bind

        http = self._settings.http
        try:
            bound = bind(http.host, http.port)
        except OSError as error:
            if strict:
                raise _port_taken("HTTP", http.port, error, "[http] port (DAIMON_HTTP__PORT)") from error
            why = f"HTTP port {http.port} cannot be used ({_plain(error)})"
            self._operations.core.notes.append(f"{why}; another one is")
            bound = bind(http.host, 0)
        host, port = bound.getsockname()[:2]
        self.bound.http = (str(host), int(port))
        self._operations.core.public_url = self._settings.public_url(int(port))
        self._operations.core.has_http = True
        return bound

    async def run_http(
        self,
        bound: socket.socket,
        mcp: MailServer,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve HTTP until cancelled; `mcp` answers MCP clients there."""
        from daimon_mcp.faces.http import build_http_app, http_server

        hosts, require_key = self._settings.allowed_hosts, self._settings.http.require_key
        app = build_http_app(self._operations, mcp, hosts=hosts, require_key=require_key)
        server = self._http = http_server(app)
        async with anyio.create_task_group() as tasks:
            task_status.started()
            try:
                # Shielded: uvicorn must end its connections itself before the loop goes away.
                with anyio.CancelScope(shield=True) as scope:
                    tasks.start_soon(_stop_when_cancelled, server)
                    await server.serve(sockets=[bound])
                    scope.cancel()
            finally:
                bound.close()
                tasks.cancel_scope.cancel()

    async def mail_tls(self, *, strict: bool) -> ServerTls | None:
        """The certificate of the mail listeners, one of our own making where none is configured.

        None where there is none to be had: with `strict`, OSError is raised then.
        """
        from daimon_mcp.faces.smtp.certificates import ServerTls, ensure_certificate

        chain, key = self._settings.smtp.certificate, self._settings.smtp.certificate_key

        def load() -> tuple[ServerTls, str | None]:
            if chain is not None and key is not None:
                return ServerTls(chain, key), None
            folder, now = self._settings.data_dir / "tls", self._operations.core.clock.now()
            made = ensure_certificate(folder, self._settings.submission_host, now)
            return ServerTls(made.cert_path, made.key_path), made.fingerprint_sha256

        try:
            tls, self.bound.fingerprint = await anyio.to_thread.run_sync(load)
        except (OSError, ValueError) as error:
            why = f"the TLS certificate {'' if chain is None else f'{chain} '}cannot be used: {error}"
            if strict:
                raise OSError(f"{why}; see [smtp] certificate (DAIMON_SMTP__CERTIFICATE)") from error
            self._operations.core.notes.append(why)
            if self._settings.submission.enabled:
                self._operations.core.no_submission = why
            return None
        return tls

    async def run_submission(
        self,
        tls: ServerTls,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
        strict: bool,
    ) -> None:
        """Serve mail programs until cancelled."""
        from daimon_mcp.faces.smtp.service import Limits
        from daimon_mcp.faces.smtp.submission import serve_submission

        core, smtp, submission = self._operations.core, self._settings.smtp, self._settings.submission

        def note(bound: tuple[tuple[str, int], tuple[str, int]]) -> None:
            self.bound.submission, self.bound.submission_tls = bound
            own = self._settings.data_dir / "tls" / "self-signed.pem" if self.bound.fingerprint else None
            core.submission = SubmissionAt(
                self._settings.submission_host,
                bound[0][1],
                bound[1][1],
                certificate_sha256=self.bound.fingerprint,
                certificate=None if own is None else str(own),
            )

        try:
            await serve_submission(
                host=submission.host,
                port=submission.port,
                tls_port=submission.tls_port,
                hostname=self._settings.smtp_hostname,
                submitting=self._operations.submitting,
                guide=self._operations.guide,
                bus=core.bus,
                limits=Limits(
                    max_connections=submission.max_connections,
                    max_connections_per_address=submission.max_connections_per_address,
                    max_recipients=smtp.max_recipients,
                    max_message_bytes=smtp.max_message_bytes,
                ),
                clock=core.clock,
                spool=self._operations.spool.folder,
                tls=tls.context,
                task_status=_Noting(note, task_status),
            )
        except OSError as error:
            if strict:
                option = "[submission] port or tls_port (DAIMON_SUBMISSION__PORT, DAIMON_SUBMISSION__TLS_PORT)"
                what = f"SMTP submission {submission.port} or {submission.tls_port}"
                raise OSError(f"{what}: {_plain(error)}; choose others with {option}") from error
            why = f"SMTP submission port {submission.port} or {submission.tls_port} cannot be used ({_plain(error)})"
            core.notes.append(f"{why}; mail programs cannot log in")
            core.no_submission = why
            task_status.started()
        finally:
            core.submission = None

    async def run_inbound(
        self,
        tls: ServerTls | None = None,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
        strict: bool,
    ) -> None:
        """Serve inbound SMTP until cancelled."""
        from daimon_mcp.faces.smtp.inbound import serve_inbound
        from daimon_mcp.faces.smtp.service import Limits

        smtp = self._settings.smtp

        def note(bound: tuple[str, int]) -> None:
            self.bound.inbound = bound

        try:
            await serve_inbound(
                host=smtp.inbound_host,
                port=smtp.inbound_port,
                hostname=self._settings.smtp_hostname,
                receiving=self._operations.receiving,
                limits=Limits(
                    max_connections=smtp.max_connections,
                    max_connections_per_address=smtp.max_connections_per_address,
                    max_recipients=smtp.max_recipients,
                    max_message_bytes=smtp.max_message_bytes,
                ),
                clock=self._operations.core.clock,
                spool=self._operations.spool.folder,
                starttls=None if tls is None else tls.context,
                task_status=_Noting(note, task_status),
            )
        except OSError as error:
            if strict:
                option = "[smtp] inbound_port (DAIMON_SMTP__INBOUND_PORT)"
                raise _port_taken("inbound SMTP", smtp.inbound_port, error, option) from error
            why = f"SMTP port {smtp.inbound_port} cannot be used ({_plain(error)})"
            self._operations.core.notes.append(f"{why}; no mail comes in by SMTP")
            self._operations.core.not_listening = why
            task_status.started()

    async def run_lmtp(
        self,
        at: tuple[str, int] | Path,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
        strict: bool,
    ) -> None:
        """Serve a mail server in front, on a port or a socket, until cancelled."""
        from daimon_mcp.faces.smtp.lmtp import serve_lmtp
        from daimon_mcp.faces.smtp.service import Limits

        smtp = self._settings.smtp
        try:
            await serve_lmtp(
                at=at,
                hostname=self._settings.smtp_hostname,
                receiving=self._operations.receiving,
                limits=Limits(
                    max_connections=smtp.max_connections,
                    max_connections_per_address=smtp.max_connections,  # all of them are that server's
                    max_recipients=smtp.max_recipients,
                    max_message_bytes=smtp.max_message_bytes,
                ),
                clock=self._operations.core.clock,
                spool=self._operations.spool.folder,
                task_status=_Noting(self.bound.lmtp.append, task_status),
            )
        except OSError as error:
            where = f"socket {at}" if isinstance(at, Path) else f"port {at[1]}"
            if strict:
                option = "lmtp_socket" if isinstance(at, Path) else "lmtp_port"
                chosen_by = f"[smtp] {option} (DAIMON_SMTP__{option.upper()})"
                raise OSError(f"LMTP {where}: {_plain(error)}; choose another with {chosen_by}") from error
            self._operations.core.notes.append(f"LMTP {where} cannot be used ({_plain(error)}); no mail comes in there")
            task_status.started()


def _port_taken(what: str, port: int, error: OSError, option: str) -> OSError:
    return OSError(f"{what} port {port}: {_plain(error)}; choose another with {option}")


def _plain(error: OSError) -> str:
    # asyncio puts words of its own into strerror; the number's are plain.
    return os.strerror(error.errno) if error.errno else str(error)


class _Noting(anyio.abc.TaskStatus[T]):
    """Has it noted where a listener came to listen before passing the word on."""

    def __init__(self, note: Callable[[T], None], then: anyio.abc.TaskStatus[None]) -> None:
        self._note = note
        self._then = then

    def started(self, value: T | None = None) -> None:
        assert value is not None
        self._note(value)
        self._then.started()


async def _stop_when_cancelled(server: Any) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        server.should_exit = True
