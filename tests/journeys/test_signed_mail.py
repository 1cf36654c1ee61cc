"""Two servers and a DNS: what one signs the other believes, and a forger gets into Spam."""

from __future__ import annotations

import asyncio
import re
import smtplib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.mail.authentication.signing import Zone, dkim, dkimpy_verdicts
from tests.operations.test_domains import World as Publisher
from tests.support.daimon import Agent, Daimon, running
from tests.support.nameserver import NameServer, nameserver
from tests.support.ports import free_port
from tests.support.post import becomes, delivered_to, until

OURS, THEIRS = "agents.example.com", "far.example.org"
ANN, BOB = f"ann@{OURS}", f"bob@{THEIRS}"
# Connections to any loopback address come from 127.0.0.1, unless they are told to come from elsewhere.
US, THEM, ELSEWHERE = "127.0.0.1", "127.0.0.3", "127.0.0.9"
ZONE = f"""
mx.example.net.       A  {US}
{THEIRS}.             MX 10 mx.far.example.org.
mx.far.example.org.   A  {THEM}
"""


@dataclass
class Side:
    """One of the two servers, and an agent there."""

    daimon: Daimon
    agent: Agent

    async def raw(self, message_id: str) -> bytes:
        core = self.daimon.operations.core
        [(blob,)] = await core.database.fetch(f"SELECT blob_hash FROM messages WHERE id = '{message_id}'")
        return await core.blobs.get(core.database, blob)

    async def arrived(self, inbox: str, **filters: Any) -> dict[str, Any]:
        """The only message that an inbox has received, whole."""

        async def look() -> dict[str, Any] | None:
            found = await delivered_to(self.agent, inbox, **filters)
            return await self.agent.do("get_message", message_id=found[0]["id"]) if found else None

        return await until(self.daimon, look)


@dataclass
class Both:
    """Us, with a domain of our own, and them."""

    dns: NameServer
    us: Side
    them: Side
    records: list[dict[str, Any]]

    async def sent(self, **fields: Any) -> dict[str, Any]:
        """A mail from Ann to Bob, as Bob has it."""
        words = {"subject": "Grüße", "body": "Hello Bob,\n\n.dots and äöü\n \n\n", **fields}
        sent = await self.us.agent.do("send_email", inbox=ANN, to=BOB, **words)
        await becomes(self.us.daimon, self.us.agent, sent["id"], "sent")
        return await self.them.arrived(BOB)

    async def forge(self, content: bytes, *, mail_from: str, helo: str = "evil.example") -> None:
        """Hand their server a mail from an address that is not ours."""

        def say() -> None:
            host, port = self.them.daimon.inbound
            with smtplib.SMTP(host, port, local_hostname=helo, source_address=(ELSEWHERE, 0)) as client:
                client.sendmail(mail_from, [BOB], content)

        await asyncio.to_thread(say)


@pytest.fixture
async def both(tmp_path: Path) -> AsyncGenerator[Both]:
    port = free_port()
    async with nameserver(ZONE) as dns:
        common: dict[str, Any] = {"dns": {"nameservers": [dns.address]}}
        mine: dict[str, Any] = common | {
            "mail": {"domain": "inboxes.example.net"},
            "smtp": {"hostname": "mx.example.net"},
            "relay": {"mode": "direct", "direct_port": port, "private_addresses": True},
        }
        theirs: dict[str, Any] = common | {
            "mail": {"domain": THEIRS},
            "smtp": {
                "hostname": "mx.far.example.org",
                "inbound_host": THEM,
                "inbound_port": port,
                "trusted_networks": [],
                "max_message_bytes": 80_000,
            },
        }
        async with (
            running(tmp_path / "us", mine, workers=True) as us,
            running(tmp_path / "them", theirs, listeners=True) as them,
            us.agent() as ann,
            them.agent() as bob,
        ):
            await us.upgrade()
            publisher = Publisher(us, dns, ann)
            records = await publisher.ask_for(OURS)
            publisher.publish(records)
            assert (await publisher.verify(OURS))["status"] == "verified"
            await ann.do("create_inbox", username="ann", domain=OURS)
            await bob.do("create_inbox", username="bob")
            yield Both(dns, Side(us, ann), Side(them, bob), records)


async def test_what_we_sign_another_library_verifies_and_another_server_believes(both: Both) -> None:
    message = await both.sent()
    raw = await both.them.raw(message["id"])
    zone = Zone({(each["name"], "TXT"): [each["value"].encode()] for each in both.records if each["type"] == "TXT"})
    assert dkimpy_verdicts(raw, zone, 2) == [True, True]
    with pytest.raises(dkim.ValidationError, match="body hash mismatch"):
        dkimpy_verdicts(raw.replace(b"Hello", b"Hullo"), zone, 1)
    head = raw.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").decode()
    assert sorted(re.findall(r"DKIM-Signature: .*?a=([\w-]+);", head)) == ["ed25519-sha256", "rsa-sha256"]

    known = message["authentication"]
    assert {name: known[name] for name in ("spf", "dkim", "dmarc", "verdict")} == {
        "spf": "pass",
        "dkim": "pass",
        "dmarc": "pass",
        "verdict": "pass",
    }
    assert (known["spf_domain"], known["dkim_domains"]) == (OURS, [OURS])
    assert ("inbox" in message["labels"], message["from_address"]) == (True, ANN)
    assert head.count("\r\nAuthentication-Results: mx.far.example.org; ") == 1
    assert "dmarc=pass" in head

    told = (await both.them.agent.call("explain_delivery", message_id=message["id"])).text
    assert " authenticated: pass" in told
    assert "Authentication, dkim: pass" in told
    assert "Received: from mx.example.net ([127.0.0.1]) by mx.far.example.org with ESMTP" in told


@pytest.mark.parametrize("envelope", ["evil@evil.example", ANN, ""])
async def test_a_forger_gets_into_spam_and_is_labelled(both: Both, envelope: str) -> None:
    both.dns.remove(f"_dmarc.{OURS}")
    both.dns.add(f'_dmarc.{OURS}. TXT "v=DMARC1; p=reject"\nevil.example. TXT "v=spf1 ip4:{ELSEWHERE} -all"')
    content = (
        f"Authentication-Results: mx.far.example.org; dmarc=pass header.from={OURS}\r\n"
        f"From: Ann <{ANN}>\r\nTo: {BOB}\r\nSubject: Pay this\r\nMessage-ID: <f@evil.example>\r\n\r\nNow.\r\n"
    ).encode()
    await both.forge(content, mail_from=envelope)
    message = await both.them.arrived(BOB, label="spam")
    assert ({"spam", "blocked"} <= {*message["labels"]}, message["hold_reason"]) == (True, "failed_dmarc")
    known = message["authentication"]
    assert (known["dmarc"], known["policy"], known["verdict"], known["dkim"]) == ("fail", "reject", "fail", "none")
    assert await delivered_to(both.them.agent, BOB) == []
    raw = await both.them.raw(message["id"])
    assert b"dmarc=pass" not in raw
    assert b"dmarc=fail" in raw
    told = (await both.them.agent.call("explain_delivery", message_id=message["id"])).text
    assert "Held: " in told
    assert " held: failed_dmarc" in told
    assert "Authentication, verdict: fail" in told


async def test_a_signed_mail_that_was_changed_on_its_way_is_not_believed(both: Both) -> None:
    both.dns.remove(f"_dmarc.{OURS}")
    both.dns.add(f'_dmarc.{OURS}. TXT "v=DMARC1; p=quarantine"')
    message = await both.sent()
    raw = await both.them.raw(message["id"])
    signed = raw[raw.index(b"DKIM-Signature:") :]
    await both.forge(signed.replace(b"Hello", b"Hullo"), mail_from="evil@evil.example")
    changed = await both.them.arrived(BOB, label="spam")
    assert (changed["authentication"]["dkim"], changed["authentication"]["verdict"]) == ("fail", "fail")
    # And what was not changed is believed from wherever it comes.
    await both.forge(signed, mail_from="forwarder@evil.example")

    async def look() -> dict[str, Any] | None:
        found = await delivered_to(both.them.agent, BOB)
        return await both.them.agent.do("get_message", message_id=found[1]["id"]) if len(found) > 1 else None

    passed = await until(both.them.daimon, look)
    assert (passed["authentication"]["dkim"], passed["authentication"]["dmarc"]) == ("pass", "pass")


@pytest.mark.parametrize(
    ("recipient", "size", "reply", "meaning"),
    [
        (f"nobody@{THEIRS}", 1, "550 5.1.1 ", "no_such_user"),
        ("bob@other.example.org", 1, "550 5.7.1 ", "relay_denied"),
        (BOB, 100_000, "552 5.3.4 ", "too_large"),
    ],
)
async def test_what_one_of_us_refuses_the_other_understands(
    both: Both, recipient: str, size: int, reply: str, meaning: str
) -> None:
    both.dns.add("other.example.org. MX 10 mx.far.example.org.")
    sent = await both.us.agent.do("send_email", inbox=ANN, to=recipient, subject="x", body="x" * size)
    message = await becomes(both.us.daimon, both.us.agent, sent["id"], "bounced")
    assert message["deliveries"][0]["last_reply"].startswith(reply)
    told = (await both.us.agent.call("explain_delivery", message_id=sent["id"])).text
    assert f"Recipient 1 (relay, attempts: 1): bounced, {meaning}. It is not tried again." in told
