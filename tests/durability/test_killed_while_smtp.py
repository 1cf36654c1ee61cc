"""kill -9 of a server that takes mail from other servers and from mail programs, and relays it: at chosen moments and
at any. What was acknowledged is there once, and what cannot be known is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import resource
import signal
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from tests.durability.conftest import Make
from tests.durability.kit import PATIENCE, Folder, eventually
from tests.durability.relayed import check_relayed
from tests.support.ports import free_port
from tests.support.sink import Sink

from daimon_mcp.store.consistency import findings

A_SESSION = 30  # mails, at most
PAUSE = 0.02  # seconds at most between two of them: all that is taken is looked for at the end
OUTSIDE: tuple[str, str] = ("ann@example.org", "bob@example.net")
LARGE = 500_000  # octets: more than is kept in memory


class Server:
    """`daimon-mcp serve`, killed and started again on one folder."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.kills = 0
        self.armed: str | None = None  # the moment of a client at which it is killed
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait`, until all its listeners are bound."""
        process = self._process = await self.folder.run("serve", errors=self.folder.path.parent / "serve.log")
        assert process.stdout is not None
        if wait:
            with anyio.fail_after(PATIENCE):
                while b"daimon-mcp runs" not in (line := await process.stdout.readline()):
                    assert line, "the server did not start"

    def passed(self, moment: str) -> None:
        """A client is at a moment: if it is the one that was chosen, the server is dead when this returns."""
        if moment == self.armed:
            self.armed = None
            self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self.kills += 1
        self._process.send_signal(signal.SIGKILL)

    @contextmanager
    def files_at_most(self, octets: int) -> Generator[None]:
        """A disk on which no file gets larger, as far as the server knows."""
        assert self._process is not None
        kind = resource.RLIMIT_FSIZE
        before = resource.prlimit(self._process.pid, kind, (octets, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            resource.prlimit(self._process.pid, kind, before)

    async def gone(self) -> None:
        """Return when the process is no more."""
        assert self._process is not None
        with anyio.fail_after(PATIENCE):
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM; it has to end well."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        await self.gone()
        assert self._process.returncode == 0


class Broken(Exception):
    """The server is gone, or has put off what it was asked."""


class Wire:
    """A client's connection: commands and their replies."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.passed = server.passed
        self._reader = reader
        self._writer = writer

    async def reply(self) -> str:
        while (line := (await self._reader.readline()).decode())[3:4] == "-":
            pass
        if not line.endswith("\r\n"):
            raise Broken
        return line

    async def say(self, line: str, code: str) -> str:
        self._writer.write(line.encode() + b"\r\n")
        if not (reply := await self.reply()).startswith(code):
            raise Broken(reply)
        return reply

    async def deliver(self, sender: str, recipients: list[str], content: bytes) -> str:
        """One mail; the reply to its end."""
        await self.say(f"MAIL FROM:<{sender}>", "250")
        for each in recipients:
            await self.say(f"RCPT TO:<{each}>", "250")
        await self.say("DATA", "354")
        self.passed("DATA")
        half = len(content) // 2
        self._writer.write(content[:half])
        await self._writer.drain()
        self.passed("half of the content")
        self._writer.write(content[half:] + b".\r\n")
        await self._writer.drain()
        self.passed("final dot")
        reply = await self.reply()
        if not reply.startswith("250"):
            raise Broken(reply)
        return reply


@asynccontextmanager
async def connected(server: Server, port: int, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Wire]:
    """A session after EHLO."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        wire = Wire(server, reader, writer)
        await wire.reply()
        await wire.say("EHLO client.test", "250")
        server.passed("EHLO")
        yield wire
    finally:
        writer.transport.abort()


def mail(name: str, sender: str, recipients: list[str], chance: random.Random) -> bytes:
    body = chance.randbytes(LARGE // 2 if chance.random() < 0.1 else 500).hex()
    lines = "\r\n".join(body[at : at + 72] for at in range(0, len(body), 72))
    return (
        f"From: {sender}\r\nTo: {', '.join(recipients)}\r\nSubject: {name}\r\nMessage-ID: <{name}@client.test>\r\n"
        f"\r\n{lines}\r\n"
    ).encode()


@dataclass
class Said:
    """What the clients tried, and what they were told."""

    tried: set[str] = field(default_factory=set[str])
    received: list[str] = field(default_factory=list[str])
    submitted: dict[str, str] = field(default_factory=dict[str, str])
    refusals: list[str] = field(default_factory=list[str])
    done: bool = False

    def __len__(self) -> int:
        return len(self.received) + len(self.submitted)


class Load:
    """Clients of a server that go on for as long as it takes."""

    def __init__(
        self, server: Server, ports: tuple[int, int], inbox: str, login: dict[str, Any], *, outside: bool = True
    ) -> None:
        self.said = Said()
        self._outside = outside
        self._server = server
        self._inbound, self._submission = ports
        self._inbox = inbox
        proof = base64.b64encode(f"\0{login['username']}\0{login['password']}".encode()).decode()
        self._login = f"AUTH PLAIN {proof}"
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def _again(self, session: Callable[[], Any]) -> None:
        while not self.said.done:
            try:
                await session()
            except (Broken, OSError, EOFError) as error:
                self.said.refusals += error.args if isinstance(error, Broken) else ()
                await anyio.sleep(0.01)  # nobody is there, or not any more

    async def be_peer(self, number: int) -> None:
        """Another server: each mail is tried once."""
        chance = random.Random(number)
        count = 0

        async def session() -> None:
            nonlocal count
            async with connected(self._server, self._inbound) as wire:
                for _ in range(chance.randrange(1, A_SESSION)):
                    if self.said.done:
                        return
                    count += 1
                    name = f"r{number}-{count}"
                    self.said.tried.add(name)
                    await wire.deliver("zoe@example.com", [self._inbox], mail(name, "zoe@example.com", [], chance))
                    self.said.received.append(name)
                    self._server.passed("250 to a peer")
                    await anyio.sleep(chance.random() * PAUSE)

        await self._again(session)

    async def be_program(self, number: int) -> None:
        """A mail program: each mail is tried until it is taken; outside, here and both."""
        chance = random.Random(100 + number)
        count = 0
        left: tuple[str, list[str], bytes] | None = None

        async def session() -> None:
            nonlocal count, left
            async with connected(self._server, self._submission, self._tls) as wire:
                await wire.say(self._login, "235")
                self._server.passed("AUTH")
                for _ in range(chance.randrange(1, A_SESSION)):
                    if left is None and self.said.done:
                        return
                    if left is None:
                        count += 1
                        name = f"s{number}-{count}"
                        recipients = self._recipients(count)
                        left = name, recipients, mail(name, self._inbox, recipients, chance)
                    reply = await wire.deliver(self._inbox, *left[1:])
                    self.said.submitted[left[0]] = reply
                    left = None
                    self._server.passed("250 to a program")
                    await anyio.sleep(chance.random() * PAUSE)

        await self._again(session)
        while left is not None:
            await self._again_once(session)

    def _recipients(self, count: int) -> list[str]:
        if not self._outside:
            return [self._inbox]
        ann, bob = OUTSIDE
        return ([ann], [self._inbox], [ann, bob], [ann, bob, self._inbox])[count % 4]

    async def _again_once(self, session: Callable[[], Any]) -> None:
        with contextlib.suppress(Broken, OSError, EOFError):
            await session()


CLIENT = ("EHLO", "AUTH", "DATA", "half of the content", "final dot", "250 to a peer", "250 to a program")
RELAY = ("EHLO", "MAIL", "RCPT", "DATA", "reading", "content", "content, not taken")


async def kill_at(server: Server, sink: Sink, load: Load, moment: str, chance: random.Random) -> None:
    """Wait until mail goes in, and kill the server at the next such moment."""
    before = len(load.said)
    await eventually(lambda: len(load.said) > before + chance.randrange(12))
    kind, _, at = moment.partition(": ")
    if kind == "client":
        server.armed = at
        await eventually(lambda: server.armed is None)
    elif kind == "relay":
        step, _, lost = at.partition(", ")
        gate = sink.hold(step)
        if lost:
            sink.drop(step)
        if step == "EHLO":  # connections are kept: only a server that has just been started says hello
            server.kill()
            await server.gone()
            await server.start()
        await gate.reached()
        server.kill()
        gate.open()
    else:
        await anyio.sleep(chance.random() * 0.3)
        server.kill()
    await server.gone()


async def rounds(make_folder: Make, ports: tuple[int, int], moments: list[str], *, clients: int) -> tuple[Said, int]:
    """A server with `clients` peers and programs each, killed at each of the moments; then everything is looked for."""
    chance = random.Random(len(moments))
    async with Sink() as sink:
        folder = make_folder(
            relay__host="127.0.0.1", relay__port=sink.port, relay__security="none", smtp__inbound_port=ports[0],
            submission__tls_port=ports[1], submission__abuse_volume=10**6,
        )  # fmt: skip
        async with folder.agent() as agent:
            inbox = (await agent.do("create_inbox", username="writer"))["address"]
            await folder.unlimited()
            login = await folder.command("operator.smtp_password")
        server = Server(folder)
        await server.start()
        load = Load(server, ports, inbox, login)
        async with anyio.create_task_group() as tasks:
            for number in range(clients):
                tasks.start_soon(load.be_peer, number)
                tasks.start_soon(load.be_program, number)
            for moment in moments:
                await kill_at(server, sink, load, moment, chance)
                if moment == "any":  # and sometimes the next one hardly starts
                    await server.start(wait=False)
                    await anyio.sleep(chance.random() * 1.5)
                    server.kill()
                    await server.gone()
                await server.start()
            before = len(load.said)
            await eventually(lambda: len(load.said) > before + 20)
            load.said.done = True
        await folder.settled()
        await server.stop()
        assert os.listdir(folder.path / "spool") == []
        async with folder.opened() as daimon:
            database = daimon.operations.core.database
            await check(database, load.said)
            unsure = await check_relayed(database, sink)
        return load.said, unsure


async def check(database: Any, said: Said, *, outside: bool = True) -> None:
    """What was acknowledged is there exactly once, and nothing twice."""
    assert not await findings(database, deep=True)
    assert not await database.fetch("SELECT 1 FROM incoming")
    inbound = await database.fetch("SELECT subject FROM messages WHERE direction = 'inbound' AND kind != 'bounce'")
    found = Counter(subject for (subject,) in inbound)
    received = {name for name in found if name.startswith("r")}
    assert set(found.values()) == {1}
    assert len(said.received) == len(set(said.received))
    assert set(said.received) <= received <= said.tried

    sent = await database.fetch("SELECT subject, id FROM messages WHERE direction = 'outbound'")
    assert Counter(name for name, _ in sent) == Counter(list(said.submitted))
    for name, public_id in sent:
        assert public_id in said.submitted[name]
    to_us = {name for name in said.submitted if not outside or int(name.rpartition("-")[2]) % 4 in (1, 3)}
    assert found.keys() - received == to_us


async def test_mail_survives_kill_9_at_every_stage(make_folder: Make) -> None:
    moments = [
        "client: half of the content", "client: 250 to a peer", "client: 250 to a program",
        "relay: RCPT", "relay: content", "relay: content, not taken",
    ]  # fmt: skip
    ports = free_port(), free_port()
    said, unsure = await rounds(make_folder, ports, moments, clients=1)
    assert len(said.received) > len(moments)
    assert len(said.submitted) > len(moments)
    assert unsure >= 2  # both times the sink had the content in its hands


@pytest.mark.long
async def test_mail_survives_kill_9_many_times(make_folder: Make) -> None:
    chance = random.Random(9)
    every = [*(f"client: {each}" for each in CLIENT), *(f"relay: {each}" for each in RELAY)]
    moments = [*every * 3, *["any"] * 25]
    chance.shuffle(moments)
    ports = free_port(), free_port()
    said, _ = await rounds(make_folder, ports, moments, clients=3)
    assert len(said) > 10 * len(moments)


async def test_a_full_disk_puts_mail_off_and_loses_none(make_folder: Make) -> None:
    """Content, the database and large messages' files all stop growing; when there is room again, all goes on."""
    ports = free_port(), free_port()
    folder = make_folder(smtp__inbound_port=ports[0], submission__tls_port=ports[1], submission__abuse_volume=10**6)
    async with folder.agent() as agent:
        inbox = (await agent.do("create_inbox", username="writer"))["address"]
        await folder.unlimited()
        login = await folder.command("operator.smtp_password")
    server = Server(folder)
    await server.start()
    load = Load(server, ports, inbox, login, outside=False)
    said = load.said
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load.be_peer, 1)
        tasks.start_soon(load.be_program, 1)
        await eventually(lambda: len(said) > 10)
        largest = max(each.stat().st_size for each in folder.path.rglob("*") if each.is_file())
        with server.files_at_most(largest + 4096):
            said.refusals.clear()
            await eventually(lambda: len(said.refusals) > 20)
        before = len(said)
        await eventually(lambda: len(said) > before + 10)
        said.done = True
    assert {each[:9] for each in said.refusals} == {"452 4.3.1"}
    await folder.settled()
    await server.stop()
    assert os.listdir(folder.path / "spool") == []
    async with folder.opened() as daimon:
        await check(daimon.operations.core.database, said, outside=False)
