"""A private Dovecot on loopback: IMAP with and without TLS, and LMTP.

async with dovecot(users={"ann@far.test": "secret"}) as server:
    await server.deliver("ann@far.test", raw)
    ...  # imaplib.IMAP4(server.host, server.imap_port) finds it in INBOX
"""

from __future__ import annotations

import asyncio
import os
import smtplib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from tests.support.mail_root import Log, inside, instance_folder, number_of, server_process
from tests.support.ports import free_port

_CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap lmtp
listen = 127.0.0.1
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = scheme=plain {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
  default_fields = uid=vmail gid=vmail home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
  }}
}}
# No delays for an address that failed to log in.
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    auto = create
    special_use = \\Sent
  }}
  mailbox Trash {{
    auto = create
    special_use = \\Trash
  }}
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """A running Dovecot. `imap_port` offers STARTTLS where there is a certificate; `imaps_port` is then TLS at once."""

    host: str
    imap_port: int
    imaps_port: int | None
    lmtp_port: int
    log: Log

    async def deliver(self, user: str, raw: bytes, *, sender: str = "someone@else.test") -> None:
        """Put a message into the INBOX of `user`, by LMTP. Raises smtplib.SMTPException where there is no such user."""
        await asyncio.to_thread(self._deliver, user, raw, sender)

    def _deliver(self, user: str, raw: bytes, sender: str) -> None:
        with smtplib.LMTP(self.host, self.lmtp_port, local_hostname="tests.test") as client:
            client.sendmail(sender, [user], raw)


@asynccontextmanager
async def dovecot(
    *,
    users: Mapping[str, str],
    certificate: trustme.LeafCert | None = None,
    settings: str = "",
) -> AsyncGenerator[Dovecot]:
    """Run a Dovecot that knows `users`, name to password. `certificate`: offer TLS with it.

    `settings` is added to its configuration. Raises RuntimeError where the tests do not run as root or the programs are
    missing.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(instance_folder("dovecot"))
        imap_port, lmtp_port = free_port(), free_port()
        imaps_port = free_port() if certificate else None
        text = _CONFIGURATION.format(
            folder=inside(folder), imap_port=imap_port, imaps_port=imaps_port or 0, lmtp_port=lmtp_port
        )
        if certificate:
            certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "certificate.pem"))
            name = inside(folder / "certificate.pem")
            text += f"ssl = yes\nssl_cert = <{name}\nssl_key = <{name}\n"
        else:
            text += "ssl = no\n"
        _prepare(folder, text + settings, users)
        log = await stack.enter_async_context(
            server_process(
                folder, "/usr/sbin/dovecot", "-F", "-c", inside(folder / "dovecot.conf"), ready="starting up for"
            )
        )
        yield Dovecot("127.0.0.1", imap_port, imaps_port, lmtp_port, log)


def _prepare(folder: Path, configuration: str, users: Mapping[str, str]) -> None:
    (folder / "dovecot.conf").write_text(configuration)
    (folder / "users").write_text("".join(f"{name}:{{PLAIN}}{password}::::::\n" for name, password in users.items()))
    for name in ("run", "state", "mail"):
        (folder / name).mkdir()
    os.chown(folder / "mail", number_of("vmail"), number_of("vmail"))
