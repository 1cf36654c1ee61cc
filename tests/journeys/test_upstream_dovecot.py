"""A real mailbox, Dovecot's: what is sent to its tags comes to the agents' inboxes, once."""

from __future__ import annotations

import asyncio
import imaplib
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from tests.support.daimon import Agent, Daimon, running
from tests.support.dovecot import Dovecot, dovecot

from daimon_mcp.domain.upstream import FetchedMail, rule
from daimon_mcp.operations.fetching import Fetching
from daimon_mcp.workers.imap_wire import Server
from daimon_mcp.workers.intake import IntakeWorker
from daimon_mcp.workers.upstream import Mailbox, UpstreamWorker
from daimon_mcp.workers.upstream_check import check_upstream

ME = "me@far.test"
TAGGED = "me+support@far.test"


class Watched(Fetching):
    """The core's own, that tells what was done, and can stop for good between the commit and what follows."""

    def __init__(self, daimon: Daimon, *, stops: bool = False) -> None:
        operations = daimon.operations
        super().__init__(operations.core, operations.spool, operations.directory)
        self.begun = anyio.Event()
        self.stopped = anyio.Event()
        self.tidy = anyio.Event()
        self.received: list[bool] = []
        self._more = anyio.Event()
        self._stops = stops

    async def untidied(self, name: str, uidvalidity: int) -> list[int]:
        found = await super().untidied(name, uidvalidity)
        if found and self._stops:
            self.stopped.set()
            await anyio.sleep_forever()
        return found

    async def tidied(self, name: str, uidvalidity: int, uids: Sequence[int]) -> None:
        await super().tidied(name, uidvalidity, uids)
        self.tidy.set()

    async def receive_fetched(self, mail: FetchedMail) -> bool:
        self.received.append(await super().receive_fetched(mail))
        more, self._more = self._more, anyio.Event()
        more.set()
        return self.received[-1]

    async def has_received(self, count: int) -> None:
        with anyio.fail_after(20):
            while len(self.received) < count:
                await self._more.wait()


@pytest.fixture
async def server() -> AsyncGenerator[Dovecot]:
    async with dovecot(users={ME: "secret"}) as made:
        yield made


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data") as made, made.agent() as agent, anyio.create_task_group() as tasks:
        await agent.do("create_inbox", username="support")
        core = made.operations.core
        await tasks.start(IntakeWorker(intake=made.operations.intake, bus=core.bus).run)
        yield made
        tasks.cancel_scope.cancel()


def mailbox(there: Dovecot, **options: Any) -> Mailbox:
    plain = Server(host=there.host, port=there.imap_port, security="none", tls=None, timeout=10.0)
    given: dict[str, Any] = {"server": plain, "username": ME, "password": "secret", "poll_seconds": 0.1}
    return Mailbox(**{**given, **options})


@asynccontextmanager
async def fetching(daimon: Daimon, there: Dovecot, *, stops: bool = False, **options: Any) -> AsyncGenerator[Watched]:
    """A worker at work, until the end of the block."""
    core = daimon.operations.core
    domain = core.policy.domain
    watched = Watched(daimon, stops=stops)
    worker = UpstreamWorker(
        fetching=watched,
        mailbox=mailbox(there, **options),
        rule=rule(address=ME, domain=domain, domains=(domain,)),
        clock=core.clock,
        max_message_bytes=core.policy.max_message_bytes,
        note=lambda text: None,
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(worker.run)
        yield watched
        tasks.cancel_scope.cancel()


def letter(subject: str, to: str = TAGGED) -> bytes:
    fields = ("From: ann@else.test", f"To: {to}", f"Subject: {subject}", f"Message-ID: <{subject}@else.test>")
    return "\r\n".join((*fields, "", "hi", "")).encode()


async def subjects(daimon: Daimon) -> list[str]:
    """Of the inbox, oldest first, once all that was taken is filed."""
    await daimon.operations.spool.settled(10)
    agent: Agent
    async with daimon.agent() as agent:
        listed = await agent.do("list_messages", inbox=f"support@{daimon.operations.core.policy.domain}")
    return [message["subject"] for message in reversed(listed["messages"])]


async def flags(server: Dovecot, folder: str = "INBOX") -> list[tuple[str, bool]]:
    """Subject and whether it is marked read, of every message of a folder."""

    def look() -> list[tuple[str, bool]]:
        with imaplib.IMAP4(server.host, server.imap_port) as client:
            client.login(ME, "secret")
            if client.select(folder, readonly=True)[0] != "OK":
                return []
            found: list[tuple[str, bool]] = []
            for number in client.search(None, "ALL")[1][0].split():
                data: Any = client.fetch(number, "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
                found.append((data[0][1].decode().partition(":")[2].strip(), b"\\Seen" in data[0][0] + data[1]))
            return found

    return await asyncio.to_thread(look)


async def test_tagged_mail_comes_in_and_the_rest_stays_unread(daimon: Daimon, server: Dovecot) -> None:
    await server.deliver(ME, letter("before"))
    async with fetching(daimon, server, backlog=True) as watched:
        await watched.has_received(1)
        await server.deliver(ME, letter("personal", ME))
        await server.deliver(ME, letter("while idle"))
        await watched.has_received(2)
        assert await subjects(daimon) == ["before", "while idle"]
    assert await flags(server) == [("before", False), ("personal", False), ("while idle", False)]


@pytest.mark.parametrize("after", ["seen", "delete", "move:Agents"])
async def test_stopped_between_commit_and_change_it_comes_once_and_is_changed(
    daimon: Daimon, server: Dovecot, after: str
) -> None:
    await server.deliver(ME, letter("personal", ME))
    await server.deliver(ME, letter("one"))
    async with fetching(daimon, server, backlog=True, after=after, stops=True) as watched:
        with anyio.fail_after(20):
            await watched.stopped.wait()
    await server.deliver(ME, letter("two"))
    async with fetching(daimon, server, backlog=True, after=after) as watched:
        await watched.has_received(1)
        with anyio.fail_after(20):
            await watched.tidy.wait()
        assert watched.received == [True]
        assert await subjects(daimon) == ["one", "two"]
    # Cancelled at any line: another run settles what is left, and takes nothing again.
    async with fetching(daimon, server, backlog=True, after=after) as watched:
        await server.deliver(ME, letter("three"))
        await watched.has_received(1)
        with anyio.fail_after(20):
            await watched.tidy.wait()
    assert await subjects(daimon) == ["one", "two", "three"]
    mine = ("personal", False)
    if after == "seen":
        assert await flags(server) == [mine, ("one", True), ("two", True), ("three", True)]
        return
    assert await flags(server) == [mine]
    moved = await flags(server, "Agents")
    assert sorted(subject for subject, _ in moved) == (["one", "three", "two"] if after.startswith("move") else [])


async def test_over_tls_and_starttls(tmp_path: Path, daimon: Daimon) -> None:
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)  # pyright: ignore[reportUnknownMemberType]
    async with dovecot(users={ME: "secret"}, certificate=authority.issue_cert("127.0.0.1")) as server:
        assert server.imaps_port is not None
        secured = Server(host=server.host, port=server.imaps_port, security="tls", tls=trust, timeout=10.0)
        upgraded = Server(host=server.host, port=server.imap_port, security="starttls", tls=trust, timeout=10.0)
        for number, each in enumerate((secured, upgraded)):
            assert (await check_upstream(mailbox(server, server=each))).ok
            await server.deliver(ME, letter(f"secret {number}"))
            async with fetching(daimon, server, server=each, backlog=True) as watched:
                await watched.has_received(1)
        assert await subjects(daimon) == ["secret 0", "secret 1"]


async def test_the_check_against_a_real_server(server: Dovecot) -> None:
    assert (await check_upstream(mailbox(server))).ok
    wrong = await check_upstream(mailbox(server, password="other"))
    assert (wrong.ok, "refuses the login" in wrong.what) == (False, True)
    missing = await check_upstream(mailbox(server, folder="Nowhere"))
    assert (missing.ok, "folder Nowhere" in missing.what) == (False, True)
