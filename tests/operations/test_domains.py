"""Domains of accounts, from the first question to the last inbox, with a real name server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.nameserver import NameServer, nameserver

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.domains import Checked, DnsRecord, Purpose, RecordState
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.mail.dkim_keys import zone_value
from daimon_mcp.operations.domain_views import explanation
from daimon_mcp.operations.domains import MOST_NEW, CreateDomain, DeleteDomain, VerifyDomain
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.store import accounts
from daimon_mcp.store import compiled as sql

NAME = "agents.example.com"
HERE = """
mx.example.net.  A     192.0.2.25
mx.example.net.  AAAA  2001:db8::25
"""


@dataclass
class World:
    """A server, the name servers of the world, and an agent."""

    daimon: Daimon
    dns: NameServer
    agent: Agent

    def publish(self, records: list[dict[str, Any]], *purposes: str) -> None:
        for record in records:
            if purposes and record["purpose"] not in purposes:
                continue
            value = (
                f"{record['priority']} {record['value']}." if record["type"] == "MX" else zone_value(record["value"])
            )
            self.dns.add(f"{record['name']}. {record['type']} {value}")

    async def ask_for(self, name: str = NAME) -> list[dict[str, Any]]:
        return (await self.agent.do("create_domain", domain=name))["dns_records"]

    async def verify(self, name: str = NAME) -> dict[str, Any]:
        return await self.agent.do("verify_domain", domain=name)

    async def another(self, tier: Tier = Tier.PRO) -> Actor:
        core = self.daimon.operations.core
        public_id = new_id("acc", core.clock.now())
        number = await core.database.write(
            lambda tx: accounts.insert_account(tx, id=public_id, kind="agent", now=core.clock.now())
        )
        actor = Actor(number, public_id)
        await self.daimon.upgrade(tier, actor)
        return actor

    async def signatures(self, sender: str) -> list[str]:
        """The selectors that mail of a sender is signed with now."""
        content = f"From: {sender}\r\nSubject: s\r\n\r\nb\r\n".encode()
        at = self.daimon.operations.core.clock.now()
        signed = (await self.daimon.operations.signing.signed(content, sender, at)).decode()
        head = signed.partition("\r\nFrom:")[0].replace("\r\n ", " ").replace("\r\n\t", " ")
        return [part.split(";")[0].strip() for part in head.replace("; ", ";").split(";s=")[1:]]


def settings(dns: NameServer) -> dict[str, Any]:
    return {
        "dns": {"nameservers": [dns.address]},
        "mail": {"domain": "inboxes.example.net"},
        "smtp": {"hostname": "mx.example.net", "inbound_port": 0},
    }


@pytest.fixture
async def dns() -> AsyncGenerator[NameServer]:
    async with nameserver(HERE) as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, dns: NameServer) -> AsyncGenerator[World]:
    async with running(tmp_path / "data", settings(dns), clock=MovableClock()) as daimon:
        await daimon.upgrade(Tier.PRO)
        async with daimon.agent() as agent:
            yield World(daimon, dns, agent)


def states(view: dict[str, Any]) -> list[tuple[str, str]]:
    return [(record["purpose"], record["state"]) for record in view["dns_records"]]


def of(view: dict[str, Any], purpose: str) -> dict[str, Any]:
    return next(record for record in view["dns_records"] if record["purpose"] == purpose)


ALL_OK = [("ownership", "ok"), ("mx", "ok"), ("spf", "ok"), ("dkim", "ok"), ("dkim", "ok"), ("dmarc", "ok")]


async def test_from_the_first_question_to_the_first_inbox(world: World) -> None:
    created = await world.agent.do("create_domain", domain="Agents.Example.com.")
    assert (created["domain"], created["status"]) == (NAME, "pending")
    assert "state" not in created["dns_records"][0]
    assert (await world.agent.call("create_inbox", username="ann", domain=NAME)).error == "INVALID_REQUEST"

    before = await world.verify()  # asked before anything is published: no answer of before may stand in the way
    assert before["status"] == "pending"
    assert {state for _, state in states(before)} == {"missing"}
    assert all(record["explanation"] for record in before["dns_records"])

    world.publish(created["dns_records"])
    done = await world.agent.call("verify_domain", domain=created["id"])
    assert done.result["status"] == "verified"
    assert states(done.result) == ALL_OK
    assert done.result["mail_flow"] == {"receiving": "ok", "sending": "ok"}
    assert "its mail flows" in done.text

    inbox = await world.agent.do("create_inbox", username="ann", domain=NAME)
    assert inbox["address"] == f"ann@{NAME}"
    operations = world.daimon.operations
    assert operations.core.is_local(f"ann@{NAME}")
    await operations.receiving.check_recipient(f"ann@{NAME}")
    assert len(await world.signatures(f"ann@{NAME}")) == 2
    await world.verify()  # and again: it is told once
    told = await operations.core.database.fetch("SELECT payload_json FROM events WHERE type = 'domain.verified'")
    assert [json.loads(payload) for (payload,) in told] == [{"domain_id": created["id"]}]
    assert (await world.agent.do("get_account"))["domains"] == ["inboxes.example.net", NAME]
    listed = await world.agent.do("list_domains")
    assert [(each["domain"], each["status"]) for each in listed["domains"]] == [(NAME, "verified")]
    assert "dns_records" not in listed["domains"][0]


async def test_the_proof_alone_verifies_and_the_rest_is_reported(world: World) -> None:
    world.publish(await world.ask_for(), "ownership")
    done = await world.agent.call("verify_domain", domain=NAME)
    assert done.result["status"] == "verified"
    assert done.result["mail_flow"] == {"receiving": "missing", "sending": "missing"}
    assert "does not flow yet" in done.text
    assert (await world.agent.do("create_inbox", username="ann", domain=NAME))["address"] == f"ann@{NAME}"


async def test_asked_for_twice_is_one_domain(world: World) -> None:
    first, second = await world.ask_for(), await world.ask_for()
    assert first == second
    both = await asyncio.gather(*(world.agent.call("create_domain", domain="two.example.com") for _ in range(2)))
    assert both[0].result["id"] == both[1].result["id"]
    assert len((await world.agent.do("list_domains"))["domains"]) == 2


async def test_what_a_wrong_record_is_told_as(world: World) -> None:
    await world.ask_for()
    world.dns.add(
        f"""
        _daimon.{NAME}. TXT "daimon-verification=somebody else's"
        {NAME}.         MX  10 mail.elsewhere.example.
        {NAME}.         TXT "v=spf1 ip4:198.51.100.1 -all"
        _dmarc.{NAME}.  TXT "v=DMARC1; p=never"
        """
    )
    for record in (await world.agent.do("get_domain", domain=NAME))["dns_records"]:
        if record["purpose"] == "dkim":
            world.dns.add(f'{record["name"]}. TXT "v=DKIM1; k=rsa; p="')
    view = await world.verify()
    assert view["status"] == "failed"
    assert {state for _, state in states(view)} == {"wrong"}
    assert of(view, "mx")["found"] == ["10 mail.elsewhere.example"]
    assert "not valid any more" in of(view, "dkim")["explanation"]
    assert "mx.example.net" in of(view, "spf")["explanation"]
    # What others wrote into the DNS is shown where it is data, and nowhere else.
    assert all("elsewhere" not in record["explanation"] for record in view["dns_records"])


@pytest.mark.parametrize(
    ("records", "purpose", "state", "words"),
    [
        (f"{NAME}. MX 0 .", "mx", "wrong", "takes no mail"),
        (f"{NAME}. MX 5 first.example.com.\n{NAME}. MX 10 mx.example.net.", "mx", "wrong", "before this one"),
        (f"{NAME}. MX 10 MX.Example.NET.\n{NAME}. MX 20 second.example.com.", "mx", "ok", ""),
        (f'{NAME}. TXT "v=spf1 mx -all"\n{NAME}. MX 10 mx.example.net.', "spf", "ok", ""),
        (f'{NAME}. TXT "v=spf1 include:s.test -all"\ns.test. TXT "v=spf1 a:mx.example.net"', "spf", "ok", ""),
        (f'{NAME}. TXT "v=spf1 ip4:192.0.2.25 -all"', "spf", "wrong", "mx.example.net"),  # not its IPv6 address
        (f'{NAME}. TXT "v=spf1 mx -all"\n{NAME}. TXT "v=spf1 a -all"', "spf", "wrong", "several"),
        (f'{NAME}. TXT "v=spf1 nonsense -all"', "spf", "wrong", "cannot be read"),
        (f'{NAME}. TXT "v=spf1 {" ".join(f"a:h{n}.example.org" for n in range(11))} -all"', "spf", "wrong", "ten DNS"),
        (f'{NAME}. TXT "google-site-verification=x"', "spf", "missing", "no SPF"),
        (f'_dmarc.{NAME}. TXT "v=DMARC1; p=reject; rua=mailto:d@example.com"', "dmarc", "ok", ""),
        ('_dmarc.example.com. TXT "v=DMARC1;p=none"', "dmarc", "ok", ""),  # of the organization
        (f'_dmarc.{NAME}. TXT "v=DMARC1;p=none"\n_dmarc.{NAME}. TXT "v=DMARC1; p=x"', "dmarc", "wrong", "several"),
    ],
)  # fmt: skip
async def test_each_record(world: World, records: str, purpose: str, state: str, words: str) -> None:
    await world.ask_for()
    world.dns.add(records)
    found = of(await world.verify(), purpose)
    assert found["state"] == state
    assert words in found.get("explanation", "")


async def test_keys_may_be_published_in_pieces_and_with_space(world: World) -> None:
    records = [each for each in await world.ask_for() if each["purpose"] == "dkim"]
    ed, rsa = (each["value"] for each in records)
    world.dns.add(f'{records[0]["name"]}. TXT "{ed.replace("; ", ";")}"')
    pieces = " ".join(f'"{rsa[at : at + 50]} "' for at in range(0, len(rsa), 50))
    world.dns.add(f"{records[1]['name']}. TXT {pieces}")
    found = [each["state"] for each in (await world.verify())["dns_records"] if each["purpose"] == "dkim"]
    assert found == ["ok", "ok"]


async def test_no_answer_decides_nothing(world: World) -> None:
    world.publish(await world.ask_for())
    world.dns.fail("*")
    said = await world.agent.call("verify_domain", domain=NAME)
    assert said.result["status"] == "pending"
    assert {state for _, state in states(said.result)} == {"unknown"}
    assert "no answer" in said.text
    world.dns.heal()
    assert (await world.verify())["status"] == "verified"
    world.dns.fail(f"_daimon.{NAME}")
    assert (await world.verify())["status"] == "verified"


async def test_a_verified_domain_stays_so_when_its_record_goes(world: World) -> None:
    world.publish(await world.ask_for())
    await world.verify()
    world.dns.remove(f"_daimon.{NAME}")
    view = await world.verify()
    assert (view["status"], of(view, "ownership")["state"]) == ("verified", "missing")


async def test_the_first_to_prove_it_has_it(world: World) -> None:
    mine = await world.ask_for()
    other = await world.another()
    domains = world.daimon.operations.domains
    theirs = (await domains.create_domain(other, CreateDomain(domain=NAME))).result
    assert of(theirs, "ownership")["value"] != of({"dns_records": mine}, "ownership")["value"]
    assert of(theirs, "dkim")["value"] == of({"dns_records": mine}, "dkim")["value"]
    world.publish(mine)
    assert (await world.verify())["status"] == "verified"
    world.publish(theirs["dns_records"], "ownership")
    with pytest.raises(Refused, match="DOMAIN_TAKEN"):
        await domains.verify_domain(other, VerifyDomain(domain=NAME))
    third = await world.another()
    with pytest.raises(Refused, match="DOMAIN_TAKEN"):
        await domains.create_domain(third, CreateDomain(domain=NAME))
    inboxes = world.daimon.operations.inboxes
    refusals: list[dict[str, Any]] = []
    for name in (NAME, "nobodys.example.com"):
        with pytest.raises(Refused) as refused:
            await inboxes.create_inbox(other, CreateInbox(username="eve", domain=name))
        refusals.append(await world.daimon.refusal(refused.value, other))
    assert refusals[0] == refusals[1]
    assert (await inboxes.create_inbox(other, CreateInbox(username="eve"))).result[
        "address"
    ] == "eve@inboxes.example.net"
    # Given up by its owner, it is free for who proves it next; the keys are those that the DNS has.
    await world.agent.do("delete_domain", domain=NAME)
    taken = await domains.verify_domain(other, VerifyDomain(domain=NAME))
    assert taken.result["status"] == "verified"
    assert {state for _, state in states(taken.result)} == {"ok"}


async def test_two_that_prove_it_at_once(world: World) -> None:
    other = await world.another()
    domains = world.daimon.operations.domains
    world.publish(await world.ask_for())
    world.publish((await domains.create_domain(other, CreateDomain(domain=NAME))).result["dns_records"], "ownership")
    me = await world.daimon.actor()
    both = await asyncio.gather(
        *(domains.verify_domain(actor, VerifyDomain(domain=NAME)) for actor in (me, other)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in both) == ["Outcome", "Refused"]
    rows = await world.daimon.operations.core.database.all(sql.domains_of_name, name=NAME)
    assert sorted(status for _, status in rows) == ["pending", "verified"]


@pytest.mark.parametrize(
    ("name", "why"),
    [("com", "domain name"), ("co.uk", "suffix"), ("github.io", "suffix"), ("no dots", "name"), ("10.0.0.1", "name")],
)
async def test_what_is_no_domain_of_anybody(world: World, name: str, why: str) -> None:
    said = await world.agent.call("create_domain", domain=name)
    assert said.error == "INVALID_REQUEST"
    assert why in said.text
    assert "agents.example.com" in said.text


async def test_the_servers_own_domain_is_nobodys(world: World) -> None:
    said = await world.agent.call("create_domain", domain="inboxes.example.net")
    assert (said.error, said.envelope["code"]) == ("DOMAIN_TAKEN", "SERVER_DOMAIN")
    assert (await world.agent.do("create_inbox", domain="Inboxes.Example.Net", username="bob"))["address"]


async def limit_of(world: World, actor: Actor, name: str) -> dict[str, Any]:
    with pytest.raises(Refused) as refused:
        await world.daimon.operations.domains.create_domain(actor, CreateDomain(domain=name))
    return await world.daimon.refusal(refused.value, actor)


async def test_tiers(world: World) -> None:
    domains = world.daimon.operations.domains
    free = await world.another(Tier.FREE)
    said = await limit_of(world, free, NAME)
    assert said["error"] == "DOMAIN_REQUIRES_PAID"
    assert "code" not in said
    assert "upgrade" in said["upgrade_context"]["operator_action_url"]
    assert said["current_usage"] == {"domains": 0, "limit": 0}

    await world.daimon.upgrade(Tier.STARTER, free)
    await domains.create_domain(free, CreateDomain(domain=NAME))
    again = await domains.create_domain(free, CreateDomain(domain=NAME))
    assert again.result["status"] == "pending"
    said = await limit_of(world, free, "second.example.com")
    assert (said["error"], said["code"]) == ("DOMAIN_REQUIRES_PAID", "DOMAIN_LIMIT")
    assert "(1/1)" in said["message"]
    assert "upgrade_context" in said
    await domains.delete_domain(free, DeleteDomain(domain=NAME))
    await domains.create_domain(free, CreateDomain(domain="second.example.com"))


async def test_how_many_within_an_hour(world: World) -> None:
    await world.daimon.upgrade(Tier.ENTERPRISE)
    database = world.daimon.operations.core.database
    actor, now = await world.daimon.actor(), world.daimon.operations.core.clock.now()

    def fill(tx: Any) -> None:
        for number in range(MOST_NEW):
            tx.run(
                sql.domain_insert, id=f"dom_{number}", account_no=actor.account_no, name=f"d{number}.example.com",
                status="pending", token="t", checks_json="[]", created_at=now,
            )  # fmt: skip

    await database.write(fill)
    said = await world.agent.call("create_domain", domain=NAME)
    assert (said.error, said.envelope["code"]) == ("RATE_LIMIT_EXCEEDED", "DOMAIN_CREATE_RATE_LIMIT")
    assert said.envelope["retry_after"] == 3600
    assert world.daimon.clock is not None
    world.daimon.clock.move(3600)
    await world.ask_for()
    pages = await world.agent.do("list_domains", limit=15)
    rest = await world.agent.do("list_domains", limit=15, cursor=pages["next_cursor"])
    assert pages["domains"][0]["domain"] == NAME
    assert (len(pages["domains"]), len(rest["domains"]), rest["next_cursor"]) == (15, MOST_NEW + 1 - 15, None)


async def test_a_domain_with_inboxes_stays(world: World) -> None:
    world.publish(await world.ask_for())
    await world.verify()
    await world.agent.do("create_inbox", username="ann", domain=NAME)
    said = await world.agent.call("delete_domain", domain=NAME)
    assert said.error == "DOMAIN_IN_USE"
    assert said.envelope["inboxes"] == [f"ann@{NAME}"]
    await world.agent.do("delete_inbox", inbox=f"ann@{NAME}")
    assert (await world.agent.do("delete_domain", domain=NAME))["status"] == "deleted"
    assert not world.daimon.operations.core.is_local(f"ann@{NAME}")
    assert await world.signatures(f"ann@{NAME}") == []
    assert (await world.agent.call("get_domain", domain=NAME)).error == "DOMAIN_NOT_FOUND"
    assert (await world.agent.call("create_inbox", username="bob", domain=NAME)).error == "INVALID_REQUEST"


async def test_after_a_restart_mail_is_taken_as_before(tmp_path: Path, dns: NameServer) -> None:
    async with running(tmp_path / "data", settings(dns)) as daimon, daimon.agent() as agent:
        await daimon.upgrade(Tier.PRO)
        world = World(daimon, dns, agent)
        world.publish(await world.ask_for())
        await world.verify()
        await agent.do("create_inbox", username="ann", domain=NAME)
    async with running(tmp_path / "data", settings(dns)) as daimon:
        await daimon.operations.domains.start()
        await daimon.operations.receiving.check_recipient(f"ann@{NAME}")
        with pytest.raises(Refused, match="INBOX_NOT_FOUND"):
            await daimon.operations.receiving.check_recipient(f"nobody@{NAME}")


async def test_keys_are_changed_without_a_gap(world: World) -> None:
    world.publish(await world.ask_for())
    await world.verify()
    keys = world.daimon.operations.domain_keys
    old = await world.signatures(f"ann@{NAME}")
    assert world.daimon.clock is not None
    world.daimon.clock.move(60)
    new = await keys.rotate_dkim(NAME)
    selectors = [each.name.partition(".")[0] for each in new]
    assert len({*old, *selectors}) == 4
    assert await world.signatures(f"ann@{NAME}") == old
    with pytest.raises(Refused, match="INVALID_REQUEST"):
        await keys.rotate_dkim(NAME)
    view = await world.verify()
    assert [state for purpose, state in states(view) if purpose == "dkim"] == ["ok", "ok", "missing", "missing"]
    assert view["mail_flow"]["sending"] == "ok"
    assert await world.signatures(f"ann@{NAME}") == old
    world.dns.add(f"{new[0].name}. TXT {zone_value(new[0].value)}")
    await world.verify()
    assert await world.signatures(f"ann@{NAME}") == [*old, selectors[0]]
    world.dns.add(f"{new[1].name}. TXT {zone_value(new[1].value)}")
    assert states(await world.verify()) == ALL_OK
    assert await world.signatures(f"ann@{NAME}") == selectors


async def test_the_servers_own_domains_have_keys(world: World) -> None:
    keys = world.daimon.operations.domain_keys
    assert await world.signatures("ann@inboxes.example.net") == []
    await keys.make_server_keys()
    first = await world.signatures("ann@inboxes.example.net")
    assert len(first) == 2
    await keys.make_server_keys()
    view = await keys.server_domain("inboxes.example.net")
    assert await world.signatures("ann@inboxes.example.net") == first
    world.publish(view["dns_records"])
    checked = await keys.server_domain("inboxes.example.net", check=True)
    assert states(checked) == ALL_OK[1:]


async def test_a_name_of_this_machine_gets_no_keys(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as daimon:
        await daimon.operations.domain_keys.make_server_keys()
        assert await daimon.operations.core.database.all(sql.dkim_published, domain="agents.localhost") == []
        with pytest.raises(Refused, match="INVALID_REQUEST"):
            await daimon.operations.domain_keys.server_domain("agents.localhost")


async def test_zone_file(world: World) -> None:
    records = await world.ask_for()
    view = await world.agent.do("get_domain", domain=NAME, zone_file=True)
    world.dns.add(view["zone_file"].replace(" IN ", " "))  # read by a parser of zone files
    assert states(await world.verify()) == ALL_OK
    assert len(view["zone_file"].splitlines()) == len(records)


async def test_hostile_dns(world: World) -> None:
    await world.ask_for()
    world.dns.add(f'{NAME}. TXT "v=spf1 redirect={NAME}"')  # leads to itself
    world.dns.add(f'_daimon.{NAME}. TXT "{"x" * 250}" "{"y" * 250}"')
    world.dns.add(f'_dmarc.{NAME}. TXT "v=DMARC1; p=\\010\\027[2J"')
    view = await world.verify()
    assert of(view, "spf")["state"] == "wrong"
    assert len(of(view, "ownership")["found"][0]) == 300
    assert of(view, "dmarc")["found"] == ["v=DMARC1; p=??[2J"]


async def test_there_are_words_for_everything_that_can_be_found(world: World) -> None:
    details = {
        Purpose.OWNERSHIP: ["missing", "wrong"],
        Purpose.MX: ["missing", "wrong_elsewhere", "wrong_not_first", "wrong_refuses"],
        Purpose.SPF: ["missing", "wrong", "wrong_several", "wrong_broken", "wrong_lookups"],
        Purpose.DKIM: ["missing", "wrong", "wrong_several", "wrong_revoked"],
        Purpose.DMARC: ["missing", "wrong", "wrong_several"],
    }
    texts = world.daimon.operations.texts
    for purpose, fields in details.items():
        record = DnsRecord(purpose, "TXT", "x", "x", required=True)
        for field in [*fields, "unknown"]:
            state, _, detail = field.partition("_")
            checked = Checked(record, RecordState(state), (), detail)
            assert explanation(checked, texts, "mx.example.net")
        more = {"nowhere"} if purpose is Purpose.MX else set[str]()  # where our own name is one that nobody can look up
        assert set(texts.text("domains", purpose).fields) == {"what", "unknown", *fields, *more}
