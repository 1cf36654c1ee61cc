"""`daimon-mcp doctor`: looks at everything a server needs, and says what to do about what is not right."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import ssl
from dataclasses import dataclass
from pathlib import Path

from daimon_mcp.faces.cli.client import CommandFailed, ask, running
from daimon_mcp.operations.credentials import WrongMasterKey
from daimon_mcp.settings import Settings
from daimon_mcp.settings.ignored import ignored
from daimon_mcp.store.migrations import SchemaTooNew
from daimon_mcp.texts import Texts
from daimon_mcp.wiring import upstream_mailbox

_LOW_SPACE = 200 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    ok: bool
    what: str
    advice: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at config, folder, ports, relay, texts and store. Changes nothing, and makes no folder."""
    file = settings.config_file
    findings = [Finding(True, f"configuration: {file or 'defaults and environment'}")]
    findings += [Finding(False, what, advice) for what, advice in ignored(settings)]
    is_running = running(settings)
    exists = settings.data_dir.is_dir()
    if exists:
        findings += _folder(settings.data_dir)
    else:
        findings.append(Finding(True, f"no data folder {settings.data_dir} yet; the first start makes it"))
    findings.append(Finding(True, "a server is running on this data folder" if is_running else "no server is running"))
    if not is_running:
        findings += _ports(settings)
    findings += [*_relay(settings), *_certificate(settings), *_upstream(settings)]
    findings += [Finding(False, f"text: {problem}") for problem in Texts(settings.operator.prompts_dir).problems()]
    findings.append(Finding(True, f"SQLite {sqlite3.sqlite_version}"))
    if exists and (settings.data_dir / "master.key").exists():  # made with the store, at the first start
        findings += _store(settings, is_running=is_running)
    return findings


def examine_domain(settings: Settings, name: str) -> list[Finding]:
    """Look at one domain from outside, as the rest of the world sees it. Changes nothing."""
    from daimon_mcp.doctor_domain import examine_domain

    return examine_domain(settings, name)


def _folder(folder: Path) -> list[Finding]:
    found = [Finding(os.access(folder, os.W_OK), f"data folder {folder} can be written")]
    if folder.stat().st_mode & 0o077:
        found.append(Finding(False, "others may look into the data folder", f"Run: chmod 700 '{folder}'"))
    free = shutil.disk_usage(folder).free
    found.append(
        Finding(
            free > _LOW_SPACE,
            f"{free >> 20} MB free on its disk",
            "" if free > _LOW_SPACE else "Make room: a full disk means that mail is answered with 452, try later.",
        )
    )
    return found


def _ports(settings: Settings) -> list[Finding]:
    wanted = [("HTTP", settings.http.host, settings.http.port, "[http] port")]
    if settings.smtp.inbound:
        wanted.append(("inbound SMTP", settings.smtp.inbound_host, settings.smtp.inbound_port, "[smtp] inbound_port"))
    if settings.smtp.lmtp_port is not None:
        wanted.append(("LMTP", "127.0.0.1", settings.smtp.lmtp_port, "[smtp] lmtp_port"))
    submission = settings.submission
    if submission.enabled:
        wanted.append(("submission", submission.host, submission.port, "[submission] port"))
        wanted.append(("submission with TLS", submission.host, submission.tls_port, "[submission] tls_port"))
    found: list[Finding] = []
    for name, host, port, option in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                found.append(Finding(True, f"{name} port {host}:{port} is free"))
            except OSError as error:
                advice = f"Stop what uses it, or set {option} in config.toml."
                found.append(Finding(False, f"{name} port {host}:{port}: {error.strerror}", advice))
    at = settings.smtp.lmtp_socket
    if at is not None and not at.parent.is_dir():
        advice = "Make that folder, writable for the user that runs this server, or set [smtp] lmtp_socket."
        found.append(Finding(False, f"LMTP socket {at}: there is no folder {at.parent}", advice))
    return found


def _relay(settings: Settings) -> list[Finding]:
    import smtplib

    relay = settings.relay
    if relay.mode == "sandbox":
        return [Finding(True, "sandbox: no mail leaves, and outcomes are made up", 'Set [relay] mode to "host".')]
    if relay.mode == "direct":
        advice = "Run daimon-mcp doctor --domain with your domain: it looks at what other servers see of it."
        return [Finding(True, "mail goes to the servers of its recipients directly", advice), *_name(settings)]
    if relay.host is None:
        advice = "Set [relay] host, port, username and password in config.toml to reach other servers."
        return [Finding(True, "no relay: mail is delivered between inboxes of this server only", advice)]
    where = f"relay {relay.host}:{relay.port}"
    try:
        context = ssl.create_default_context(cafile=relay.ca_file)
        if relay.security == "tls":
            client: smtplib.SMTP = smtplib.SMTP_SSL(relay.host, relay.port, timeout=10, context=context)
        else:
            client = smtplib.SMTP(relay.host, relay.port, timeout=10)
        with client:
            if relay.security == "starttls":
                client.starttls(context=context)
            if relay.username is not None and relay.password is not None:
                client.login(relay.username, relay.password.get_secret_value())
            code, _ = client.noop()
        return [Finding(code == 250, f"{where} answers" + (" and takes the login" if relay.username else ""))]
    except smtplib.SMTPAuthenticationError:
        return [Finding(False, f"{where} refuses the login", "Check [relay] username and password.")]
    except ssl.SSLError as error:
        return [Finding(False, f"{where}: TLS: {error.reason}", "Check [relay] security and ca_file.")]
    except smtplib.SMTPNotSupportedError:
        advice = 'Set [relay] security to "tls" (usual on port 465), or "none" for a relay on this machine.'
        return [Finding(False, f"{where} offers no STARTTLS or no login", advice)]
    except (OSError, smtplib.SMTPException) as error:
        return [Finding(False, f"{where}: {error}", "Check [relay] host, port and security, and the network.")]


def _name(settings: Settings) -> list[Finding]:
    """What those servers ask the DNS about this one; and the DNS, without which none of them is found."""
    from daimon_mcp.doctor_domain import examine_name

    return examine_name(settings)


def _certificate(settings: Settings) -> list[Finding]:
    if settings.smtp.certificate is None:
        return []
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.smtp.certificate, settings.smtp.certificate_key, password="")
    except (OSError, ssl.SSLError) as error:
        advice = "Set [smtp] certificate and certificate_key to a pair that belongs together, in PEM."
        return [Finding(False, f"certificate {settings.smtp.certificate}: {error}", advice)]
    return [Finding(True, f"certificate {settings.smtp.certificate} and its key belong together")]


def _upstream(settings: Settings) -> list[Finding]:
    mailbox = upstream_mailbox(settings)
    if mailbox is None:
        return []
    import asyncio

    from daimon_mcp.workers.upstream_check import check_upstream

    return [Finding(*asyncio.run(check_upstream(mailbox)))]


def _store(settings: Settings, *, is_running: bool) -> list[Finding]:
    try:
        report = ask(settings, "check")
    except (CommandFailed, SchemaTooNew, WrongMasterKey, sqlite3.Error, OSError) as error:
        return [Finding(False, f"store: {error}")]
    found = [Finding(False, f"store: {finding}") for finding in report["findings"]]
    if not report["findings"]:
        found.append(Finding(True, "the store is consistent"))
    found += [
        Finding(False, note, "Put that right (where a port is taken: another one), then: daimon-mcp stop")
        for note in report["notes"]
    ]
    file = settings.config_file
    if is_running and file is not None and file.stat().st_mtime_ns // 1000 > report["started_at"]:
        words = "the running server started before config.toml was last changed"
        found.append(Finding(False, words, "Run: daimon-mcp stop (a client starts it again), or restart serve."))
    waiting = report["open_requests"]
    if not report["passcode_set"]:
        found.append(Finding(not waiting, "no operator's passcode yet", "Run: daimon-mcp operator passcode"))
    if waiting:
        found.append(Finding(True, f"requests that wait for the operator: {waiting}", "Run: daimon-mcp operator list"))
    return found
