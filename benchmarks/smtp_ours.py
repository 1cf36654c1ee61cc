"""Our server as it is run, `daimon-mcp serve`, with a data folder made ready before."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

from benchmarks.folders import INBOX, OTHER
from benchmarks.mails import mail
from benchmarks.processes import daimon_command, environment
from benchmarks.smtp_children import Child, child
from daimon_mcp.app import opened
from daimon_mcp.domain.envelopes import Envelope, Peer, Recipient
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.settings import load

RAISED = """
[smtp]
max_connections=2000
max_connections_per_address=2000
messages_per_minute=1000000000
[submission]
max_connections=2000
max_connections_per_address=2000
abuse_volume=1000000000
[limits.enterprise]
sends_per_month=-1
sends_per_day=-1
sends_per_minute=-1
smtp_sessions=2000
"""
"""What is raised for a load from one address and one account; every rule is still looked at."""

_OWN = """
[http]
port = 0
[smtp]
inbound_port = {inbound}
certificate = "{certificate}"
certificate_key = "{certificate}"
[submission]
port = {submission}
tls_port = {tls}
[relay]
host = "127.0.0.1"
port = {relay}
security = "none"
max_connections = {connections}
"""


_AT_ONCE = 50


@dataclass(frozen=True)
class Account:
    """A data folder to copy, and who may send from it."""

    folder: Path
    user: str
    password: str
    sender: str = INBOX


@dataclass(frozen=True)
class Ours:
    """A running server and its ports."""

    inbound: int
    submission: int
    submission_tls: int
    process: Child
    account: Account


def _write_config(folder: Path, **values: object) -> None:
    given = _OWN.format(**values)
    raised = RAISED
    for section in ("[smtp]\n", "[submission]\n"):  # a section is there once
        head, _, body = given.partition(section)
        extra, _, _ = raised.partition(section)[2].partition("[")
        given = f"{head}{section}{extra}{body}"
    (folder / "config.toml").write_text(given + raised[raised.index("[limits") :])


async def prepare(base: Path, certificate: bytes, *, queued: int = 0) -> Account:
    """Make a data folder: two inboxes of an account that may send, and so many mails of 2 kB in its outbound queue."""
    folder = Path(tempfile.mkdtemp(prefix="account-", dir=base))
    (folder / "certificate.pem").write_bytes(certificate)
    _write_config(
        folder,
        inbound=0,
        submission=0,
        tls=0,
        relay=9,
        connections=1,
        certificate=folder / "certificate.pem",
    )
    async with opened(load(data_dir=folder, environ={}), environ={}) as operations:
        actor = await operations.accounts.local_actor()
        await operations.upgrades.set_tier(actor.account_id, Tier.ENTERPRISE)
        for address in (INBOX, OTHER):
            await operations.inboxes.create_inbox(actor, CreateInbox(username=address.partition("@")[0]))
        outcome = await operations.accounts.get_smtp_credentials(actor)
        user, password = str(outcome.result["username"]), str(outcome.result["password"])
        submitting, intake = operations.submitting, operations.intake
        submitter = await submitting.log_in(user, password, "127.0.0.1")

        async def turn() -> None:
            return None

        async def take(number: int) -> None:
            recipient = f"to{number}@sink.test"
            content = mail(2048, number, to=recipient).replace(f"ann{number % 40}@example.com".encode(), INBOX.encode())
            envelope = Envelope(INBOX, (recipient,), (Recipient(recipient),))
            peer = Peer(address="127.0.0.1", helo="client.example.com", cid=f"{number:012x}")
            await submitting.accept(submitter, envelope, peer, content)

        for first in range(0, queued, _AT_ONCE):
            await asyncio.gather(*(take(number) for number in range(first, min(queued, first + _AT_ONCE))))
            await asyncio.gather(*(intake.file(no, turn) for no, _ in intake.spool.waiting()))
    return Account(folder, user, password)


@asynccontextmanager
async def ours(account: Account, base: Path, *, relay_to: int = 9, connections: int = 20) -> AsyncGenerator[Ours]:
    """Serve a copy of a data folder; mail to others is relayed to a port of 127.0.0.1, where nobody may listen."""
    folder = Path(tempfile.mkdtemp(prefix="ours-", dir=base))
    shutil.copytree(account.folder, folder, dirs_exist_ok=True)
    inbound, submission, tls = free_port(), free_port(), free_port()
    _write_config(
        folder,
        inbound=inbound,
        submission=submission,
        tls=tls,
        relay=relay_to,
        connections=connections,
        certificate=folder / "certificate.pem",
    )
    environ = {**environment(), "DAIMON_DATA_DIR": str(folder)}
    try:
        async with child(
            [*daimon_command(), "serve"], port=inbound, log=folder / "words", environ=environ, kill=True
        ) as process:
            yield Ours(inbound, submission, tls, process, account)
    finally:
        shutil.rmtree(folder)
