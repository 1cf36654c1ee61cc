"""Who really sent a mail: SMTP in, a name server of the test's own, and what the agent is told in the end."""

from __future__ import annotations

import smtplib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.mail.authentication.signing import key_records, keys
from tests.support.daimon import Agent, Daimon, running
from tests.support.nameserver import NameServer, nameserver
from tests.support.post import ROBO, delivered_to, eml, until

from daimon_mcp.domain.clock import SystemClock
from daimon_mcp.mail.dkim_sign import sign
from daimon_mcp.store import messages

ZONE = """
x.example.              TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.x.example.       TXT "v=DMARC1; p=reject"
forged.example.         TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.forged.example.  TXT "v=DMARC1; p={policy}"
signed.example.         TXT "v=spf1 -all"
"""


def zone(policy: str = "reject") -> str:
    """ZONE with the public halves of the keys of x.example."""
    lines = [ZONE.format(policy=policy)]
    for (name, _), [value] in ((each, found) for each, found in key_records().items() if found):
        text = value.decode() if isinstance(value, bytes) else value
        strings = " ".join(f'"{text[start : start + 200]}"' for start in range(0, len(text), 200))
        lines.append(f"{name}. TXT {strings}")
    return "\n".join(lines)


@asynccontextmanager
async def office(
    folder: Path, ns: NameServer, *, timeout: int = 1, **smtp: Any
) -> AsyncGenerator[tuple[Daimon, Agent]]:
    """A server that trusts nobody and asks this name server."""
    sections: dict[str, Any] = {
        "smtp": {"trusted_networks": [], **smtp},
        "dns": {"nameservers": [ns.address], "timeout_seconds": timeout},
    }
    async with running(folder, sections, listeners=True) as daimon, daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        yield daimon, agent


async def send(daimon: Daimon, content: bytes, sender: str) -> None:
    """Hand a letter in, as another server does."""

    def run() -> None:
        with smtplib.SMTP(*daimon.inbound, local_hostname="mail.example.com", timeout=10) as client:
            client.sendmail(sender, [ROBO], content)

    await anyio.to_thread.run_sync(run)


async def the_one(daimon: Daimon, agent: Agent, subject: str, **filters: Any) -> dict[str, Any]:
    """The message with this subject, as a list shows it, once it is there."""

    async def look() -> dict[str, Any] | None:
        found = [each for each in await delivered_to(agent, ROBO, **filters) if each["subject"] == subject]
        return found[0] if found else None

    return await until(daimon, look)


async def raw(daimon: Daimon, message_id: str) -> str:
    """The bytes that are kept."""
    core = daimon.operations.core
    found = await messages.by_id(core.database, message_id)
    assert found is not None
    return (await core.blobs.get(core.database, found.blob_hash)).decode()


def results_of(content: str) -> list[str]:
    """The Authentication-Results fields of a message, unfolded."""
    header = content.partition("\r\n\r\n")[0].replace("\r\n ", " ").replace("\r\n\t", " ")
    return [line for line in header.split("\r\n") if line.lower().startswith("authentication-results:")]


async def test_a_genuine_mail_is_shown_as_one_and_what_it_claims_of_itself_is_removed(tmp_path: Path) -> None:
    letter = eml(sender="Ann <ann@x.example>", subject="Genuine")
    signed = sign(letter, keys(), now=SystemClock().now()) + letter
    claims = (
        b"Authentication-Results: agents.localhost; dmarc=fail\r\n"
        b"Authentication-Results: AGENTS.localhost (ours) 1;\r\n spf=pass smtp.mailfrom=evil.example\r\n"
        b"Authentication-Results: mx.other.example; spf=pass\r\n"
    )
    async with nameserver(zone()) as ns, office(tmp_path / "data", ns) as (daimon, agent):
        await send(daimon, claims + signed, "bounce@x.example")
        listed = await the_one(daimon, agent, "Genuine")
        shown = await agent.do("get_message", message_id=listed["id"])
        content = await raw(daimon, listed["id"])
    assert listed["labels"] == ["inbox", "unread"]
    facts = shown["authentication"]
    assert (facts["spf"], facts["dkim"], facts["dmarc"], facts["verdict"]) == ("pass", "pass", "pass", "pass")
    assert (facts["spf_domain"], set(facts["dkim_domains"])) == ("x.example", {"x.example"})
    ours, theirs = results_of(content)
    assert ours.startswith("Authentication-Results: agents.localhost; spf=pass smtp.mailfrom=x.example; dkim=pass ")
    assert "dmarc=pass header.from=x.example" in ours
    assert theirs == "Authentication-Results: mx.other.example; spf=pass"
    assert content.index("Authentication-Results: agents.localhost") < content.index("Received: ")


async def test_a_signature_is_enough_and_a_changed_one_is_not(tmp_path: Path) -> None:
    letter = eml(sender="Ann <ann@x.example>", subject="Forwarded")
    signed = sign(letter, keys(), now=SystemClock().now()) + letter
    async with nameserver(zone()) as ns, office(tmp_path / "data", ns) as (daimon, agent):
        await send(daimon, signed, "list@signed.example")
        good = await the_one(daimon, agent, "Forwarded")
        good_facts = (await agent.do("get_message", message_id=good["id"]))["authentication"]
        await send(
            daimon, signed.replace(b"Hi there", b"Pay here").replace(b"Forwarded", b"Changed"), "a@signed.example"
        )
        bad = await the_one(daimon, agent, "Changed", label="spam")
        bad_facts = (await agent.do("get_message", message_id=bad["id"]))["authentication"]
    assert (good_facts["spf"], good_facts["dkim"], good_facts["dmarc"]) == ("fail", "pass", "pass")
    assert "unauthenticated" not in good["labels"]
    assert (bad_facts["spf"], bad_facts["dkim"], bad_facts["dmarc"]) == ("fail", "fail", "fail")
    assert bad["hold_reason"] == "failed_dmarc"


async def test_a_forged_sender_is_held_in_spam_until_an_agent_releases_it(tmp_path: Path) -> None:
    async with nameserver(zone()) as ns, office(tmp_path / "data", ns) as (daimon, agent):
        await send(daimon, eml(sender="Boss <boss@forged.example>", subject="Urgent"), "boss@forged.example")
        held = await the_one(daimon, agent, "Urgent", label="spam")
        assert held["hold_reason"] == "failed_dmarc"
        assert set(held["labels"]) >= {"spam", "unauthenticated", "blocked"}
        assert await delivered_to(agent, ROBO, label="inbox") == []
        told = await agent.do("explain_delivery", message_id=held["id"])
        assert told["authentication"] | {"spf": "fail", "dkim": "none", "dmarc": "fail"} == told["authentication"]
        assert (told["authentication"]["policy"], told["authentication"]["verdict"]) == ("reject", "fail")
        assert "DMARC" in told["explanation"]
        waiting = await agent.do("wait_for_message", inbox=ROBO, timeout_seconds=0)
        assert not waiting.get("message")
        await agent.do("update_message", message_id=held["id"], move_to="inbox")
        [released] = await delivered_to(agent, ROBO, label="inbox")
        assert released["id"] == held["id"]
        assert "hold_reason" not in released
        assert "unauthenticated" in released["labels"]


@pytest.mark.parametrize(("policy", "smtp", "verdict"), [("none", {}, "fail"), ("reject", {"dmarc": "label"}, "fail")])
async def test_what_nobody_asks_to_hold_is_delivered_with_a_label(
    tmp_path: Path, policy: str, smtp: dict[str, Any], verdict: str
) -> None:
    async with nameserver(zone(policy)) as ns, office(tmp_path / "data", ns, **smtp) as (daimon, agent):
        await send(daimon, eml(sender="boss@forged.example", subject="Hm"), "boss@forged.example")
        listed = await the_one(daimon, agent, "Hm", label="inbox")
        assert "unauthenticated" in listed["labels"]
        facts = (await agent.do("get_message", message_id=listed["id"]))["authentication"]
        assert (facts["dmarc"], facts["verdict"]) == ("fail", verdict)
        await send(daimon, eml(sender="who@nothing.example", subject="Nobody"), "who@nothing.example")
        nobody = await the_one(daimon, agent, "Nobody", label="inbox")
        assert "unauthenticated" in nobody["labels"]
        facts = (await agent.do("get_message", message_id=nobody["id"]))["authentication"]
        assert (facts["spf"], facts["dkim"], facts["dmarc"], facts["verdict"]) == ("none", "none", "none", "none")


async def test_without_dns_mail_is_taken_and_the_failure_is_recorded(tmp_path: Path) -> None:
    async with nameserver(zone()) as ns, office(tmp_path / "data", ns) as (daimon, agent):
        ns.fail("*")
        await send(daimon, eml(sender="boss@forged.example", subject="In the dark"), "boss@forged.example")
        listed = await the_one(daimon, agent, "In the dark", label="inbox")
        facts = (await agent.do("get_message", message_id=listed["id"]))["authentication"]
        content = await raw(daimon, listed["id"])
    assert (facts["spf"], facts["dmarc"]) == ("temperror", "temperror")
    assert "hold_reason" not in listed
    [ours] = results_of(content)
    assert "spf=temperror" in ours


async def test_a_slow_domain_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daimon_mcp.workers.intake.PATIENCE", 0.1)  # how long mail waits for what came before it
    async with nameserver(zone()) as ns, office(tmp_path / "data", ns, timeout=30) as (daimon, agent):
        gate = ns.hold("_dmarc.x.example", "TXT")
        await send(daimon, eml(sender="ann@x.example", subject="Held up"), "ann@x.example")
        await gate.reached()
        # Accepted at once, and placed while the first one still waits for its answer.
        await send(daimon, eml(sender="boss@forged.example", subject="After it"), "boss@forged.example")
        await the_one(daimon, agent, "After it", label="spam")
        assert [each["subject"] for each in await delivered_to(agent, ROBO, label="inbox")] == []
        gate.open()
        await the_one(daimon, agent, "Held up", label="inbox")
