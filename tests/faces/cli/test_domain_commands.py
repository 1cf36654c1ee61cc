"""`daimon-mcp domain …` and `doctor --domain`, as a person types them, with name servers of their own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faces.cli.kit import Printed, command, program
from tests.support.nameserver import NameServer, nameserver

NAME = "agents.example.com"
SERVER = "inboxes.example.net"
HERE = """
mx.example.net.  A  192.0.2.25
25.2.0.192.in-addr.arpa. PTR mx.example.net.
"""


@dataclass
class Terminal:
    """Where commands are typed."""

    folder: Path
    dns: NameServer
    hostname: str = "mx.example.net"
    server: str = SERVER
    run_command: Callable[..., Printed] = command

    async def __call__(self, *arguments: str, status: int = 0) -> str:
        return (await self.run(*arguments, status=status)).stdout

    async def refused(self, *arguments: str) -> str:
        return (await self.run(*arguments, status=1)).stderr

    async def run(self, *arguments: str, status: int) -> Printed:
        def run() -> Printed:
            return self.run_command(
                self.folder,
                *arguments,
                status=status,
                DAIMON_DNS__NAMESERVERS=self.dns.address,
                DAIMON_MAIL__DOMAIN=self.server,
                DAIMON_SMTP__HOSTNAME=self.hostname,
                DAIMON_LIMITS__FREE__DOMAINS="1",
            )

        return await asyncio.to_thread(run)

    async def publish(self, name: str) -> None:
        """What the server wants, word for word."""
        self.dns.add((await self("domain", "records", name)).replace(" IN ", " "))


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncGenerator[Terminal]:
    async with nameserver(HERE) as dns:
        yield Terminal(tmp_path / "data", dns)


async def test_a_domain_from_add_to_remove(terminal: Terminal) -> None:
    added = await terminal("domain", "add", "Agents.Example.com")
    assert re.match(rf"{NAME}: pending, account acc_\w+\n", added)
    assert f"_daimon.{NAME}" in added
    assert f"daimon-mcp domain verify {NAME}" in added
    assert "Domain limit reached (1/1)" in await terminal.refused("domain", "add", "second.example.com")

    first = await terminal("domain", "verify", NAME, status=1)
    assert first.startswith(f"{NAME}: pending, account ")
    assert "not found yet; new records take minutes to hours" in first
    assert "It is not in the DNS yet" in first
    assert "Warning" not in added + first
    await terminal.publish(NAME)
    verified = await terminal("domain", "verify", NAME)
    assert verified.startswith(f"{NAME}: verified")
    assert "receiving: ok, sending: ok" in verified
    assert await terminal("domain", "show", NAME) == verified

    listed = (await terminal("domain", "list")).splitlines()
    assert listed[0] == f"{SERVER}  server"
    assert re.fullmatch(rf"{NAME}  verified  account acc_\w+  dom_\w+", listed[1])
    assert (await terminal("domain", "remove", NAME)).startswith(f"Removed {NAME} from account acc_")
    assert "DOMAIN_NOT_FOUND" in await terminal.refused("domain", "show", NAME)


async def test_what_is_found_cannot_move_the_cursor(terminal: Terminal) -> None:
    await terminal("domain", "add", NAME)
    terminal.dns.add(f'_daimon.{NAME}. TXT "\\027[2Jforged"')
    said = await terminal("domain", "verify", NAME, status=1)
    assert said.startswith(f"{NAME}: failed, account ")
    assert 'found: "?[2Jforged"' in said


async def test_a_server_without_a_public_name_warns_before_its_name_is_published(terminal: Terminal) -> None:
    terminal.hostname = "mailbox.local"
    for verb in ("add", "show", "verify", "records"):
        done = await terminal.run("domain", verb, NAME, status=1 if verb == "verify" else 0)
        said = done.stderr if verb == "records" else done.stdout
        assert "Warning: This server calls itself mailbox.local, a name that nobody outside can look up" in said
        assert "[smtp] hostname (DAIMON_SMTP__HOSTNAME)" in said
    terminal.server = "inboxes.local"
    assert "set [mail] domain to a public one" in await terminal.refused("domain", "records", "inboxes.local")
    assert all(" IN " in line for line in (await terminal("domain", "records", NAME)).splitlines())


async def test_keys_are_rotated(terminal: Terminal) -> None:
    terminal.run_command = program  # which takes longer: keys have the second in their names
    assert "INVALID_REQUEST" in await terminal.refused("domain", "rotate-key", SERVER)  # there are none yet
    await terminal.publish(SERVER)
    assert (await terminal("domain", "verify", SERVER)).startswith(f"{SERVER}: server, a domain of this server's")
    before = set(re.findall(r"(\w+)\._domainkey", await terminal("domain", "records", SERVER)))
    made = await terminal("domain", "rotate-key", SERVER)
    new = set(re.findall(r"(\w+)\._domainkey", made))
    assert len(new) == 2
    assert not new & before
    assert f"daimon-mcp domain verify {SERVER}" in made
    await terminal("domain", "verify", SERVER, status=1)
    terminal.dns.add("\n".join(line.replace(" IN ", " ") for line in made.splitlines() if "_domainkey" in line))
    await terminal("domain", "verify", SERVER)
    assert set(re.findall(r"(\w+)\._domainkey", await terminal("domain", "records", SERVER))) == new


async def test_doctor_on_a_domain_in_order(terminal: Terminal) -> None:
    await terminal.publish(SERVER)
    said = await terminal("doctor", "--domain", SERVER)
    assert "BAD" not in said
    assert f"ok   MX {SERVER}: ok" in said
    assert said.count("ok   DKIM key") == 2
    assert "SPF needs 1 of the 10 DNS lookups" in said
    assert "192.0.2.25 is called mx.example.net" in said
    assert "nc -v mx.example.net 25" in said
    assert "MTA-STS: none" in said


async def test_doctor_on_a_domain_that_is_not(terminal: Terminal) -> None:
    terminal.dns.remove("25.2.0.192.in-addr.arpa")
    terminal.dns.add(
        f"""
        {NAME}. MX 10 mail.example.org.
        {NAME}. TXT "v=spf1 -all"
        _mta-sts.{NAME}. TXT "v=STSv1; id=1"
        """
    )
    await terminal("domain", "list")  # the first start
    said = await terminal("doctor", "--domain", NAME, status=1)
    assert f"daimon-mcp domain add {NAME}" in said
    assert f'BAD  MX {NAME}: wrong; found "10 mail.example.org"' in said
    assert f"BAD  SPF {NAME}: wrong" in said
    assert f"ok   DMARC _dmarc.{NAME}: missing" in said
    assert "BAD  MTA-STS: the policy cannot be used" in said
    assert "BAD  192.0.2.25 has no name (PTR)" in said


async def test_doctor_on_what_is_no_domain(terminal: Terminal) -> None:
    for name in ("localhost", "agents.localhost", "no domain"):
        assert "no domain that others can look up" in await terminal("doctor", "--domain", name, status=1)


async def test_doctor_without_a_folder_or_an_answer(terminal: Terminal) -> None:
    terminal.dns.fail("*")
    said = await terminal("doctor", "--domain", NAME, status=1)
    assert "nothing is known of keys" in said
    assert f"BAD  MX {NAME}: unknown" in said
    assert "the DNS gave no answer" in said
    assert not terminal.folder.exists()
