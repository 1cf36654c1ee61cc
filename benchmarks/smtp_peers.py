"""The mail servers that ours is measured against, each with its own defaults: what they acknowledge is on disk.

They take mail and keep it in their queue: nothing is delivered while they are measured. Only what would stop the load
is changed (limits of connections and mails), and what needs a name server.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.mail_root import inside, instance_folder, number_of
from tests.support.ports import free_port
from tests.support.postfix import SERVICES, parameters_of, write_configuration
from tests.support.programs import run, tool

from benchmarks.smtp_children import Child, child

USER, PASSWORD = "bench", "correct-horse-battery"
DOMAIN = "agents.localhost"

_EXIM = """
exim_path = /usr/sbin/exim4
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
primary_hostname = exim.test
domainlist local_domains = {domain}
hostlist relay_from_hosts = 127.0.0.1
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
rfc1413_hosts =
rfc1413_query_timeout = 0s
queue_only = true
keep_environment =
smtp_connect_backlog = 500
smtp_accept_max = 500
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
message_size_limit = 50M
acl_smtp_rcpt = check_rcpt
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/certificate.pem
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}

begin acl
check_rcpt:
  accept hosts = +relay_from_hosts
  accept domains = +local_domains
  accept authenticated = *
  deny message = relay not permitted

begin routers
all:
  driver = accept
  transport = nowhere

begin transports
nowhere:
  driver = appendfile
  file = /dev/null
  user = mail

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""

_HARAKA_FILES = {
    "config/me": "haraka.test\n",
    "config/plugins": "keep\n",
    "config/smtp.ini": "listen=127.0.0.1:{port}\nnodes=2\n",
    "config/outbound.ini": "concurrency_max=1\n",
    "config/log.ini": "level=notice\n",
    # Every mail goes to the queue on disk; the first one out waits for its route for ever, and the others for it.
    "plugins/keep.js": """
exports.hook_rcpt = (next, connection) => { connection.relaying = true; next(OK) }
exports.hook_get_mx = () => {}
""",
}


@dataclass(frozen=True)
class Peer:
    """A running server: its port, with STARTTLS where it was given a certificate."""

    port: int
    process: Child
    folder: Path


@contextmanager
def _exim_folder(root: Path) -> Generator[Path]:
    """A folder inside the root folder that Exim runs in, and gone after it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=root / "run"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def postfix(certificate: bytes, *, relay_to: int | None = None, connections: int = 20) -> AsyncGenerator[Peer]:
    """Postfix; what it takes is held in its queue. `relay_to` is a port of 127.0.0.1 for what is released."""
    del certificate  # over TLS its replies wait for delayed acknowledgements on loopback, which would flatter us
    root = tool("debs/mail")
    with instance_folder("postfix-bench") as folder:
        port = free_port()
        here = inside(folder)
        settings = parameters_of(here, relay_to) | {
            "smtpd_client_restrictions": "static:HOLD",
            "smtpd_client_connection_count_limit": "0",
            "default_destination_concurrency_limit": str(connections),
            "message_size_limit": "52428800",
            "mailbox_size_limit": "0",
        }
        write_configuration(folder, settings, SERVICES.format(look=300, port=port))
        command = ("chroot", str(root), "/usr/lib/postfix/sbin/master", "-c", here, "-s")
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        async with child(command, port=port, log=folder / "words", environ=environ) as process:
            yield Peer(port, process, folder)


async def release(peer: Peer) -> None:
    """Let Postfix deliver what it holds."""
    root, here = tool("debs/mail"), inside(peer.folder)
    (await run("chroot", root, "/usr/sbin/postsuper", "-c", here, "-H", "ALL")).succeeded()
    (await run("chroot", root, "/usr/sbin/postqueue", "-c", here, "-f")).succeeded()


@asynccontextmanager
async def exim(certificate: bytes) -> AsyncGenerator[Peer]:
    """Exim; what it takes stays in its queue."""
    root = tool("debs/exim")
    for name, number in (("null", os.makedev(1, 3)), ("urandom", os.makedev(1, 9))):
        if not (root / "dev" / name).exists():
            os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666, number)
            (root / "dev" / name).chmod(0o666)
    with _exim_folder(root) as folder:
        port = free_port()
        here = f"/run/{folder.name}"
        (folder / "certificate.pem").write_bytes(certificate)
        text = _EXIM.format(folder=here, port=port, domain=DOMAIN, user=USER, password=PASSWORD)
        (folder / "exim.conf").write_text(text)
        (folder / "spool").mkdir()
        for path in (folder, folder / "spool", folder / "certificate.pem"):
            os.chown(path, number_of("Debian-exim"), number_of("Debian-exim"))
        command = ("chroot", str(root), "/usr/sbin/exim4", "-C", f"{here}/exim.conf", "-bdf")
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        async with child(command, port=port, log=folder / "words", environ=environ) as process:
            yield Peer(port, process, folder)


@asynccontextmanager
async def haraka(certificate: bytes) -> AsyncGenerator[Peer]:
    """Haraka on as many processes as there are processors here; what it takes stays in its outbound queue."""
    del certificate
    with instance_folder("haraka-bench") as folder:
        port = free_port()
        shutil.copytree(tool("haraka/node_modules/Haraka/config"), folder / "config")
        (folder / "plugins").mkdir()
        for name, text in _HARAKA_FILES.items():
            (folder / name).write_text(text.replace("{port}", str(port)))
        (folder / "queue").mkdir()
        node = (tool("node/node"), tool("haraka/node_modules/Haraka/bin/haraka"), "-c", folder)
        async with child(node, port=port, log=folder / "words") as process:
            yield Peer(port, process, folder)
