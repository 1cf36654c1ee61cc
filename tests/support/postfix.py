"""A private Postfix on loopback: it relays what it is given, delivers to us, and bounces what cannot be delivered.

    async with postfix(routes={"agents.test": smtp_to(our_port)}, relay_to=sink.port) as server:
        ...  # server.port takes mail; server.log.says("status=sent") waits for a delivery

Mail for an address or domain of `routes` goes where it says, all other mail to `relay_to`; without that, it bounces.
Timers are a second long, so what was put off is tried again while a test waits.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from tests.support.mail_root import Log, inside, instance_folder, number_of, server_process
from tests.support.ports import free_port

NOBODY = "error:5.1.1 There is no such mailbox"
"""A route to nowhere: mail is taken, and a bounce goes to its sender."""

_QUEUE = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")
SERVICES = """
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n {look} 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
127.0.0.1:{port} inet n - n - - smtpd
"""
"""What master.cf says: `port` takes mail, and the queue is looked through every `look` seconds."""


def smtp_to(port: int) -> str:
    """A route to an SMTP server on loopback."""
    return f"smtp:[127.0.0.1]:{port}"


def lmtp_to(port: int) -> str:
    """A route to an LMTP server on loopback."""
    return f"lmtp:inet:127.0.0.1:{port}"


@dataclass(frozen=True)
class Postfix:
    """A running Postfix. `port` has STARTTLS where there is a certificate; then `tls_port` is TLS at once."""

    host: str
    port: int
    tls_port: int | None
    log: Log


@asynccontextmanager
async def postfix(
    *,
    relay_to: int | None = None,
    routes: Mapping[str, str] | None = None,
    accepts: Collection[str] = (),
    refuses: Mapping[str, str] | None = None,
    certificate: trustme.LeafCert | None = None,
    users: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> AsyncGenerator[Postfix]:
    """Run a Postfix.

    `relay_to`: a port of 127.0.0.1 for all that has no route. `routes`: address or domain to transport (`smtp_to`,
    `lmtp_to`, NOBODY). `refuses`: recipient address or domain to the reply it is refused with at RCPT, such as
    "550 5.1.1 No". `certificate`: offer TLS with it. `users`: name to password; who has not logged in may then send to
    the domains of `accepts` alone. `parameters`: of main.cf, over those here. Raises RuntimeError where the tests do
    not run as root or the programs are missing.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(instance_folder("postfix"))
        port, tls_port = free_port(), free_port() if certificate else None
        settings = parameters_of(inside(folder), relay_to) | _of_tests(inside(folder), relay_to, accepts)
        if users is not None:
            logins = await stack.enter_async_context(_logins(users))
            settings |= {
                "mynetworks": "",
                "smtpd_sasl_auth_enable": "yes",
                "smtpd_sasl_type": "dovecot",
                "smtpd_sasl_path": f"inet:127.0.0.1:{logins}",
                "smtpd_tls_auth_only": "yes" if certificate else "no",
            }
        if certificate:
            settings |= {
                "smtpd_tls_security_level": "may",
                "smtpd_tls_chain_files": inside(folder / "certificate.pem"),
            }
            certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "certificate.pem"))
        services = SERVICES.format(look=1, port=port)
        if tls_port:
            services += f"127.0.0.1:{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
        _write_map(folder / "routes", routes or {})
        _write_map(folder / "refuses", refuses or {})
        write_configuration(folder, settings | dict(parameters or {}), services)
        log = await stack.enter_async_context(
            server_process(folder, "/usr/lib/postfix/sbin/master", "-c", inside(folder), "-s", ready="daemon started")
        )
        yield Postfix("127.0.0.1", port, tls_port, log)


def parameters_of(folder: str, relay_to: int | None) -> dict[str, str]:
    """What every Postfix of ours has in main.cf: all it needs is in `folder`, and it asks nobody but `relay_to`."""
    return {
        "compatibility_level": "3.6",
        "queue_directory": f"{folder}/queue",
        "data_directory": f"{folder}/data",
        "maillog_file": f"{folder}/log",
        "maillog_file_prefixes": folder,
        "myhostname": "postfix.test",
        "mydestination": "",
        "local_recipient_maps": "",
        "alias_maps": "",
        "mynetworks": "127.0.0.0/8",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        # No name is ever looked up: routes are numbers.
        "smtp_dns_support_level": "disabled",
        "lmtp_dns_support_level": "disabled",
        "smtpd_peername_lookup": "no",
        "relayhost": f"[127.0.0.1]:{relay_to}" if relay_to else "",
    }


def write_configuration(folder: Path, settings: Mapping[str, str], services: str) -> None:
    """main.cf and master.cf, and the folders that `postfix start` would make."""
    _write_map(folder / "main.cf", settings, " = ")
    (folder / "master.cf").write_text(services)
    _make_queue(folder)


def _of_tests(folder: str, relay_to: int | None, accepts: Collection[str]) -> dict[str, str]:
    return {
        "relay_domains": " ".join(accepts),
        "default_transport": "smtp" if relay_to else "error:5.1.2 There is no route to this domain",
        "transport_maps": f"texthash:{folder}/routes",
        "smtpd_recipient_restrictions": f"check_recipient_access texthash:{folder}/refuses",
        "smtpd_relay_restrictions": "permit_mynetworks permit_sasl_authenticated reject_unauth_destination",
        # Who is not known is taken and bounced, unless `refuses` names him.
        "smtpd_reject_unlisted_recipient": "no",
        "smtp_tls_security_level": "may",
        "lmtp_tls_security_level": "may",
        "queue_run_delay": "1s",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "transport_retry_time": "1s",
        "in_flow_delay": "0",
        "smtpd_error_sleep_time": "0",
    }


def _write_map(path: Path, entries: Mapping[str, str], between: str = " ") -> None:
    path.write_text("".join(f"{key}{between}{value}\n" for key, value in entries.items()))
    # As if written long ago: Postfix waits until a file has been left alone for two seconds.
    os.utime(path, (0, 0))


def _make_queue(folder: Path) -> None:
    """Those that Postfix writes to belong to its own users."""
    for name in _QUEUE:
        _make(folder / "queue" / name, 0o700, "postfix")
    _make(folder / "queue" / "maildrop", 0o730, "postfix", "postdrop")
    _make(folder / "queue" / "public", 0o710, "postfix", "postdrop")
    _make(folder / "queue" / "pid", 0o755, "root")
    _make(folder / "data", 0o700, "postfix")


def _make(path: Path, mode: int, user: str, group: str = "") -> None:
    path.mkdir(parents=True)
    os.chown(path, number_of(user), number_of(group or user))
    path.chmod(mode)


@asynccontextmanager
async def _logins(users: Mapping[str, str]) -> AsyncGenerator[int]:
    """Check passwords for Postfix, which asks by Dovecot's authentication protocol, version 1. Yields the port."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        mechanisms = "MECH\tPLAIN\tplaintext\n"
        writer.write(f"VERSION\t1\t1\n{mechanisms}SPID\t1\nCUID\t1\nCOOKIE\t{'0' * 32}\nDONE\n".encode())
        async for line in reader:
            verb, *fields = line.decode().rstrip("\n").split("\t")
            if verb == "AUTH":
                response = next(field[5:] for field in fields if field.startswith("resp="))
                _, name, password = base64.b64decode(response).decode().split("\0")
                answer = "OK" if users.get(name) == password else "FAIL"
                writer.write(f"{answer}\t{fields[0]}\tuser={name}\n".encode())
        writer.close()
        connections.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in connections:
            writer.transport.abort()
        await server.wait_closed()
