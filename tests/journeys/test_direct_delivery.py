"""Mail straight to the servers of its recipients, with a DNS of our own: who is found, who is tried, what is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.operations.test_bounces_back import report
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.nameserver import NameServer, nameserver
from tests.support.post import arrive, becomes, delivered_to, until
from tests.support.sink import Sink

HERE, ROBO = "agents.test", "robo@agents.test"
FIRST, SECOND, NOBODY = "127.0.0.2", "127.0.0.3", "127.0.0.9"
ZONE = f"""
far.test.       MX 20 mx2.far.test.
far.test.       MX 10 mx1.far.test.
mx1.far.test.   A  {FIRST}
mx2.far.test.   A  {SECOND}
agents.test.    MX 10 mx.agents.test.
mx.agents.test. A  127.0.0.1
"""


@dataclass
class Internet:
    """Us, a name server, and mail servers at addresses of loopback, all on one port."""

    daimon: Daimon
    agent: Agent
    dns: NameServer
    port: int
    sinks: dict[str, Sink] = field(default_factory=dict[str, Sink])

    async def send(self, *recipients: str, **fields: Any) -> str:
        words = {"subject": "Note", "body": "Hello", **fields}
        sent = await self.agent.do("send_email", inbox=ROBO, to=list(recipients), allow_duplicate=True, **words)
        return sent["id"]

    async def becomes(self, message_id: str, *statuses: str) -> list[dict[str, Any]]:
        """The deliveries of a message, once it has one of these statuses."""
        return (await becomes(self.daimon, self.agent, message_id, *statuses))["deliveries"]

    async def put_off(self, message_id: str, attempts: int = 1) -> list[dict[str, Any]]:
        """The deliveries of a message, once each was tried so often to the end, and one is to be tried again."""

        async def look() -> list[dict[str, Any]] | None:
            story = await self.agent.do("explain_delivery", message_id=message_id)
            found: list[dict[str, Any]] = story["deliveries"]
            ended = all(each.get("ended_at") for each in story["timeline"] if each["what"] == "attempt")
            done = ended and all(each["attempts"] >= attempts for each in found)
            return found if done and story["delivery_status"] == "queued" else None

        await until(self.daimon, look)
        # The attempts of a story are read after its deliveries: these may be of a moment before.
        return (await self.agent.do("explain_delivery", message_id=message_id))["deliveries"]

    async def explained(self, message_id: str) -> str:
        return (await self.agent.call("explain_delivery", message_id=message_id)).text

    def taken(self, address: str) -> list[tuple[str, ...]]:
        """The recipients of each message that a server took."""
        return [tuple(stored.recipients) for stored in self.sinks[address].messages]


@asynccontextmanager
async def internet(
    folder: Path,
    *addresses: str,
    sinks: Mapping[str, Sink] | None = None,
    zone: str = ZONE,
    secure: bool | Sequence[str] = False,
    relay: Mapping[str, Any] | None = None,
) -> AsyncGenerator[Internet]:
    """Mail servers at `addresses`, or those of `sinks`, and us, who reach them by the DNS."""
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(nameserver(zone, secure=secure))
        servers = {**{address: Sink() for address in addresses}, **(sinks or {})}
        port = 0
        for address, sink in servers.items():
            sink.host, sink.port = address, port
            await stack.enter_async_context(sink)
            port = sink.port
        sections: dict[str, Any] = {
            "mail": {"domain": HERE},
            "smtp": {"hostname": "mx.agents.test"},
            "dns": {"nameservers": [dns.address]},
            "relay": {"mode": "direct", "direct_port": port or 1, "private_addresses": True, **(relay or {})},
        }
        daimon = await stack.enter_async_context(running(folder / "data", sections, workers=True, clock=MovableClock()))
        await daimon.upgrade()
        agent = await stack.enter_async_context(daimon.agent())
        await agent.do("create_inbox", username="robo")
        yield Internet(daimon, agent, dns, port, servers)


async def test_the_most_preferred_host_gets_the_mail(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST, SECOND) as net:
        id_ = await net.send("ann@far.test", "ben@Far.Test")
        await net.becomes(id_, "sent")
        # Each recipient has a return path, so a transaction, of its own.
        assert sorted(net.taken(FIRST)) == [("ann@far.test",), ("ben@far.test",)]
        assert net.taken(SECOND) == []
        told = await net.explained(id_)
        assert "Recipient 1 (relay, attempts: 1): sent, accepted." in told
        assert f"Recipient 1: ann@far.test, last answer: mx1.far.test[{FIRST}]:{net.port} 250 2.0.0 Ok: taken" in told


@pytest.mark.parametrize("trouble", ["nobody there", "421 at once", "gone at RCPT", "5xx greeting"])
async def test_the_second_host_gets_it_when_the_first_does_not_take_mail(tmp_path: Path, trouble: str) -> None:
    async with internet(tmp_path, FIRST, SECOND) as net:
        first = net.sinks[FIRST]
        match trouble:
            case "nobody there":
                net.dns.remove("mx1.far.test")
                net.dns.add(f"mx1.far.test. A {NOBODY}")
            case "421 at once":
                first.answer("connect", "421 4.3.2 Not now")
            case "gone at RCPT":
                first.drop("RCPT", times=None)
            case _:
                first.answer("connect", "554 5.7.1 Not from you")
        id_ = await net.send("ann@far.test")
        [delivery] = await net.becomes(id_, "sent")
        assert net.taken(SECOND) == [("ann@far.test",)]
        assert delivery["attempts"] == 1
        assert f"mx2.far.test[{SECOND}]" in await net.explained(id_)


@pytest.mark.parametrize(
    ("zone", "reply", "meaning", "suppressed"),
    [
        ("no.test. MX 0 .", "556 5.1.10 ", "no_mail_domain", True),
        ("other.test. A 127.0.0.2", "550 5.1.2 ", "no_such_domain", True),
        ("no.test. MX 10 nowhere.no.test.", "550 5.1.2 ", "no_such_domain", True),
        ("no.test. MX 10 mx.agents.test.", "554 5.4.6 ", "mail_loop", False),
    ],
)
async def test_a_domain_that_can_get_no_mail_bounces_at_once(
    tmp_path: Path, zone: str, reply: str, meaning: str, suppressed: bool
) -> None:
    async with internet(tmp_path, FIRST) as net:
        net.dns.add(zone)
        id_ = await net.send("ann@no.test")
        [delivery] = await net.becomes(id_, "bounced")
        assert delivery["last_reply"].startswith(reply)
        told = await net.explained(id_)
        assert f"Recipient 1 (relay, attempts: 1): bounced, {meaning}. It is not tried again." in told
        assert net.sinks[FIRST].connections == 0
        [report] = await delivered_to(net.agent, ROBO)
        assert report["kind"] == "bounce"
        listed = (await net.agent.do("list_suppressions"))["suppressions"]
        assert [each["address"] for each in listed] == (["ann@no.test"] if suppressed else [])


async def test_a_domain_without_mx_is_its_own_host(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST, zone=f"far.test. A {NOBODY}\nfar.test. A {FIRST}") as net:
        await net.becomes(await net.send("ann@far.test"), "sent")
        assert net.taken(FIRST) == [("ann@far.test",)]


async def test_a_dns_that_fails_is_asked_again_later(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST, SECOND) as net:
        net.dns.fail("far.test", "MX")
        id_ = await net.send("ann@far.test")
        [delivery] = await net.put_off(id_)
        told = await net.explained(id_)
        assert "Recipient 1 (relay, attempts: 1): queued, dns_failed." in told
        assert delivery["next_attempt_at"] in told
        net.dns.heal()
        net.daimon.later(75)
        [delivery] = await net.becomes(id_, "sent")
        assert delivery["attempts"] == 2
        assert net.taken(FIRST) == [("ann@far.test",)]


async def test_greylisting_is_waited_out(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST, SECOND) as net:
        net.sinks[FIRST].answer("RCPT", "451 4.7.1 Greylisted, please try again in 60 seconds", times=1)
        id_ = await net.send("ann@far.test")
        await net.put_off(id_)
        told = await net.explained(id_)
        assert "Recipient 1 (relay, attempts: 1): queued, greylisted." in told
        assert "451 4.7.1 Greylisted, please try again in 60 seconds" in told
        net.daimon.later(75)
        await net.becomes(id_, "sent")
        assert net.taken(FIRST) == [("ann@far.test",)]
        assert net.taken(SECOND) == []  # 451 is an answer: the other hosts would say the same
        told = await net.explained(id_)
        assert " attempt 1 for recipient 1: deferred, greylisted" in told
        assert " attempt 2 for recipient 1: accepted, accepted" in told


async def test_one_message_to_two_domains_fares_as_each_of_them_does(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST, SECOND) as net:
        net.dns.add(f"near.test. MX 5 {'mx.near.test.'}\nmx.near.test. A {SECOND}\ndead.test. MX 0 .")
        net.sinks[FIRST].answer("RCPT", "451 4.2.1 Busy", match="far.test", times=1)
        id_ = await net.send("ann@far.test", "ben@near.test", "cy@dead.test")
        first = await net.put_off(id_)
        assert {each["recipient"]: each["status"] for each in first} == {
            "ann@far.test": "queued",
            "ben@near.test": "sent",
            "cy@dead.test": "bounced",
        }
        net.daimon.later(75)
        last = await net.becomes(id_, "bounced")
        assert [each["status"] for each in last] == ["sent", "sent", "bounced"]
        assert (net.taken(FIRST), net.taken(SECOND)) == ([("ann@far.test",)], [("ben@near.test",)])


async def test_a_dead_destination_holds_up_no_other(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST, SECOND, relay={"destinations": 4}) as net:
        net.dns.add(f"slow.test. MX 5 mx.slow.test.\nmx.slow.test. A {SECOND}")
        gate = net.sinks[SECOND].hold("connect", times=None)
        slow = [await net.send(f"n{number}@slow.test") for number in range(12)]
        await gate.reached()
        quick = [await net.send(f"n{number}@far.test") for number in range(6)]
        for id_ in quick:
            await net.becomes(id_, "sent")
        assert net.sinks[SECOND].most_at_once == 2
        gate.open()
        for id_ in slow:
            await net.becomes(id_, "sent")
        assert len(net.taken(SECOND)) == 12


async def test_a_destination_nobody_gets_through_to_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST) as net:
        net.sinks[FIRST].drop("connect")
        net.dns.remove("far.test", "MX")
        net.dns.add("far.test. MX 10 mx1.far.test.")
        first = await net.send("ann@far.test")
        await net.put_off(first)
        connections = net.sinks[FIRST].connections
        second = await net.send("ben@far.test")
        third = await net.send("ann@own.test")  # no such domain: this one is tried, that one is not
        await net.becomes(third, "bounced")
        assert net.sinks[FIRST].connections == connections
        message = await net.agent.do("get_message", message_id=second)
        assert (message["delivery_status"], message["deliveries"][0]["attempts"]) == ("queued", 0)
        net.daimon.later(75)
        for id_ in (first, second):
            await net.becomes(id_, "sent")


async def test_servers_at_private_addresses_are_for_those_who_ask_for_them(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST, SECOND, relay={"private_addresses": False}) as net:
        id_ = await net.send("ann@far.test")
        [delivery] = await net.becomes(id_, "bounced")
        assert delivery["last_reply"].startswith("554 5.4.6 ")
        assert net.sinks[FIRST].connections == 0


@pytest.mark.parametrize(
    ("recipient", "zone", "named"),
    [
        ("ann@bücher.test", f"xn--bcher-kva.test. MX 5 mx.b.test.\nmx.b.test. A {FIRST}", "ann@xn--bcher-kva.test"),
        ("ann@six.test", f"six.test. MX 5 mx.six.test.\nmx.six.test. AAAA ::1\nmx.six.test. A {FIRST}", "ann@six.test"),
        ("ann@alias.test", "alias.test. CNAME real.test.\nreal.test. MX 5 mx1.far.test.", "ann@alias.test"),
    ],
)
async def test_names_of_every_kind_are_found(tmp_path: Path, recipient: str, zone: str, named: str) -> None:
    plain = Sink(extensions=("PIPELINING", "SIZE"))
    async with internet(tmp_path, sinks={FIRST: plain}) as net:
        net.dns.add(zone)
        await net.becomes(await net.send(recipient, subject="Grüße", body="Wörter, 漢字"), "sent")
        assert net.taken(FIRST) == [(named,)]
        assert plain.messages[0].wire.isascii()  # it does not offer 8BITMIME


async def test_after_hours_the_sender_is_warned_and_after_days_told(tmp_path: Path) -> None:
    async with internet(tmp_path, FIRST, SECOND) as net:
        for sink in net.sinks.values():
            sink.answer("connect", "421 4.3.2 Closed for repairs")
        id_ = await net.send("ann@far.test")
        [delivery] = await net.put_off(id_)
        attempts = 1

        async def try_again(seconds: float) -> None:
            nonlocal attempts
            net.daimon.later(seconds)
            attempts += 1
            await net.put_off(id_, attempts)

        await try_again(3600)
        assert await delivered_to(net.agent, ROBO) == []
        await try_again(4 * 3600)
        [warning] = await delivered_to(net.agent, ROBO)
        assert "Delivery delayed" in warning["subject"]
        told = await net.explained(id_)
        assert " delay_warning" in told
        assert "queued, system_trouble. It is tried again by itself" in told
        await try_again(24 * 3600)
        assert len(await delivered_to(net.agent, ROBO)) == 1
        net.daimon.later(5 * 24 * 3600)
        [delivery] = await net.becomes(id_, "failed")
        assert delivery["last_reply"] == "421 4.3.2 Closed for repairs"
        [_, report] = await delivered_to(net.agent, ROBO)
        assert (report["kind"], "Delivery failed" in report["subject"]) == ("bounce", True)
        told = await net.explained(id_)
        assert f"Recipient 1 (relay, attempts: {attempts + 1}): failed, system_trouble. " in told


async def test_a_bounce_may_come_before_the_attempt_is_on_record(tmp_path: Path) -> None:
    """The server that takes a message can be done with it before we have its answer, or that of the other server."""
    async with internet(tmp_path, FIRST, SECOND) as net:
        net.dns.add(f"slow.test. MX 5 mx.slow.test.\nmx.slow.test. A {SECOND}")
        answers = [net.sinks[address].hold("content") for address in (FIRST, SECOND)]
        id_ = await net.send("ann@far.test", "ben@slow.test")
        message = await net.agent.do("get_message", message_id=id_)
        for answer in answers:
            await answer.reached()
        [mail] = [line for line in net.sinks[FIRST].commands if line.startswith("MAIL")]
        content = report(message["message_id"], ("ann@far.test", "failed", "5.1.1"))
        await arrive(net.daimon, mail.partition("<")[2].partition(">")[0], content=content, mail_from="")
        for answer in answers:
            answer.open()
        deliveries = await net.becomes(id_, "bounced")
        assert {each["recipient"]: each["status"] for each in deliveries} == {
            "ann@far.test": "bounced",
            "ben@slow.test": "sent",
        }
