"""Who may log in for submission, how, and what everybody else is told."""

from __future__ import annotations

import asyncio
import base64
import logging
import smtplib
import sqlite3
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.faces.smtp.mailroom import Mailroom, mail, mailroom
from tests.faces.smtp.server import Client
from tests.support.daimon import MovableClock

from daimon_mcp.domain.accounts import AccountStatus
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.logs import WIRE
from daimon_mcp.operations.keys import CreateKey

GOOD = "235 2.7.0 Authentication successful"
FAILED = "535 5.7.8 Authentication failed"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncGenerator[Mailroom]:
    async with mailroom(tmp_path / "data") as made:
        yield made


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_what_is_offered_before_and_under_tls(room: Mailroom) -> None:
    common = ["PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"]
    async with room.in_clear() as client:
        await client.send(b"EHLO c.example\r\n")
        assert await client.lines() == [f"250-{word}" for word in ("agents.localhost", *common, "STARTTLS")] + [
            "250 HELP"
        ]
        assert await client.say(room.plain()) == "538 5.7.11 Must issue a STARTTLS command first"
        assert await client.say(f"MAIL FROM:<{room.address}>") == "554 5.7.1 Relay access denied"
    async with room.secure(log_in=False) as client:
        await client.send(b"EHLO c.example\r\n")
        assert (await client.lines())[1:-1] == [f"250-{word}" for word in (*common, "AUTH PLAIN LOGIN")]
        assert await client.say(f"MAIL FROM:<{room.address}>") == "554 5.7.1 Relay access denied"
        assert await client.say("STARTTLS") == "503 5.5.1 TLS already active"


@pytest.mark.parametrize("at_once", [False, True], ids=["starttls", "tls"])
async def test_smtplib_logs_in_on_either_port(room: Mailroom, at_once: bool) -> None:
    assert await room.program(lambda smtp: smtp.noop()[0], at_once=at_once) == 250


async def test_every_user_name_and_both_mechanisms_let_in(room: Mailroom) -> None:
    key = (await room.daimon.operations.keys.create_key(
        await room.daimon.actor(), CreateKey(name="k")
    )).result["api_key"]  # fmt: skip
    account = (await room.daimon.actor()).account_id
    for name in (room.username, account, room.address, room.address.upper(), key):
        async with room.secure(log_in=False) as client:
            assert await client.say(room.plain(name)) == GOOD
            assert await client.say(room.plain()) == "503 5.5.1 Already authenticated"
            assert (await mail(client, room, room.letter())).startswith("250 2.0.0 Ok: queued as msg_")
        async with room.secure(log_in=False) as client:
            assert await client.say("auth login") == "334 VXNlcm5hbWU6"
            assert await client.say(encoded(name)) == "334 UGFzc3dvcmQ6"
            assert await client.say(encoded(room.password)) == GOOD
        async with room.secure(log_in=False) as client:
            assert await client.say("AUTH PLAIN") == "334 "
            assert await client.say(room.plain(name).rpartition(" ")[2]) == GOOD


async def test_an_inbox_with_its_own_key_sends_from_that_inbox_alone(room: Mailroom) -> None:
    other = await room.agent.do("create_inbox", username="other")
    async with room.secure(log_in=False) as client:
        assert await client.say(room.plain(other["address"], other["api_key"])) == GOOD
        assert await mail(client, room, room.letter()) == (
            "550 5.7.1 Sender address rejected: not owned by this account"
        )
        letter = room.letter().replace(room.address, other["address"])
        assert (await mail(client, room, letter, sender=other["address"])).startswith("250 ")


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("AUTH", "501 5.5.4 Syntax: AUTH mechanism [initial response]"),
        ("AUTH PLAIN a b", "501 5.5.4 Syntax: AUTH mechanism [initial response]"),
        ("AUTH CRAM-MD5", "504 5.5.4 Mechanism not known, only PLAIN and LOGIN"),
        ("AUTH PLAIN !!!", "501 5.5.2 Cannot decode the response"),
        ("AUTH PLAIN =", "501 5.5.2 Cannot decode the response"),
        (f"AUTH PLAIN {encoded('no nul')}", "501 5.5.2 Cannot decode the response"),
        (f"AUTH PLAIN {'A' * 12_292}", "500 5.5.6 Authentication exchange line is too long"),
        (f"AUTH PLAIN {'A' * 13_000}", "500 5.5.2 Line too long"),
        (f"AUTH PLAIN {encoded('x' + chr(0) + 'y' + chr(0) + 'z')}", FAILED),
        (f"AUTH PLAIN {encoded(chr(0) + 'acc_0' + chr(0) + 'z')}", FAILED),
        (f"AUTH PLAIN {encoded(chr(0) + 'dm_live_nobody' + chr(0) + 'z')}", FAILED),
        (f"AUTH PLAIN {encoded(chr(0) + 'nobody@agents.localhost' + chr(0) + 'dm_x')}", FAILED),
    ],
)  # fmt: skip
async def test_what_is_no_login_is_said_and_the_right_one_still_works(room: Mailroom, line: str, reply: str) -> None:
    async with room.secure(log_in=False) as client:
        assert await client.say(line) == reply
        assert await client.say(room.plain()) == GOOD


async def test_a_client_may_give_up_within_a_login(room: Mailroom) -> None:
    async with room.secure(log_in=False) as client:
        assert await client.say("AUTH LOGIN", encoded("me"), "*") == "501 5.7.0 Authentication cancelled"
        assert await client.say("AUTH PLAIN", "*") == "501 5.7.0 Authentication cancelled"
        assert await client.say(room.plain()) == GOOD


async def test_the_third_wrong_password_ends_the_connection(room: Mailroom) -> None:
    async with room.secure(log_in=False) as client:
        assert await client.say(room.plain(password="no"), room.plain(password="no")) == FAILED
        assert await client.say(room.plain(password="no")) == FAILED
        assert await client.reply() == "421 4.7.0 Too many failed logins"
        assert await client.reply() == ""


async def test_commands_sent_behind_auth_are_never_read(room: Mailroom) -> None:
    async with room.secure(log_in=False) as client:
        await client.send(f"{room.plain()}\r\nMAIL FROM:<{room.address}>\r\n".encode())
        assert await client.reply() == "554 5.5.0 Commands sent before the reply to the last one"
        assert await client.reply() == ""


async def test_logins_that_fail_get_slow(tmp_path: Path) -> None:
    settings = {"submission": {"failed_login_delay_ms": 40}}
    async with mailroom(tmp_path / "data", settings) as room:

        async def fail() -> float:
            started = time.monotonic()
            async with room.secure(log_in=False) as client:
                assert await client.say(room.plain(password="no")) == FAILED
            return time.monotonic() - started

        for _ in range(3):
            await fail()
        assert await fail() >= 0.04
        assert await fail() >= 0.08
        assert await fail() >= 0.16


@pytest.fixture
async def locked_out(tmp_path: Path) -> AsyncGenerator[tuple[Mailroom, MovableClock]]:
    """Two logins have failed, 100 seconds apart, which are all that may."""
    settings = {"submission": {"failed_login_delay_ms": 0, "max_failed_logins": 2}}
    clock = MovableClock()
    async with mailroom(tmp_path / "data", settings, clock=clock) as room:
        for seconds in (100, 0):
            async with room.secure(log_in=False) as client:
                assert await client.say(room.plain(password="no")) == FAILED
            clock.move(seconds)
        yield room, clock


def put_off(seconds: int) -> str:
    return f"454 4.7.0 Too many failed logins from your IP address, try again in {seconds} seconds"


async def test_a_wrong_login_too_many_is_told_when_to_come_back(locked_out: tuple[Mailroom, MovableClock]) -> None:
    room, clock = locked_out
    async with room.secure(log_in=False) as client:
        assert await client.say(room.plain(password="no")) == put_off(500)
        clock.move(499.5)
        assert await client.say(room.plain(password="no")) == put_off(1)
        clock.move(0.5)  # the first of the two is forgotten, and so one more may fail
        assert await client.say(room.plain(password="no")) == FAILED
        assert await client.reply() == "421 4.7.0 Too many failed logins"  # it was the third of this session
        assert await client.reply() == ""
    async with room.secure(log_in=False) as client:
        assert await client.say(room.plain(password="no")) == put_off(100)


async def test_a_session_that_is_put_off_has_its_number_of_tries(locked_out: tuple[Mailroom, MovableClock]) -> None:
    room, _ = locked_out
    async with room.secure(log_in=False) as client:
        for _ in range(3):
            assert await client.say(room.plain(password="no")) == put_off(500)
        assert await client.reply() == "421 4.7.0 Too many failed logins"
        assert await client.reply() == ""


async def test_the_right_password_lets_in_whoever_else_fails(locked_out: tuple[Mailroom, MovableClock]) -> None:
    """Whoever knows the password is neither kept waiting nor out by those beside it who do not."""
    room, _ = locked_out
    async with room.secure(log_in=False) as client:
        assert await client.say(room.plain(password="no")) == put_off(500)
        assert await client.say(room.plain()) == GOOD
        assert (await mail(client, room, room.letter())).startswith("250 ")


async def test_who_is_put_off_waits_as_long_as_before(tmp_path: Path) -> None:
    settings = {"submission": {"failed_login_delay_ms": 40, "max_failed_logins": 4}}
    async with mailroom(tmp_path / "data", settings) as room:
        for _ in range(4):
            async with room.secure(log_in=False) as client:
                assert await client.say(room.plain(password="no")) == FAILED
        async with room.secure(log_in=False) as client:
            started = time.monotonic()
            assert (await client.say(room.plain(password="no")))[:3] == "454"
            assert time.monotonic() - started >= 0.08


async def test_the_free_tier_is_told_how_its_operator_lets_it_in(tmp_path: Path) -> None:
    async with mailroom(tmp_path / "data", tier=Tier.FREE) as room:
        async with room.secure(log_in=False) as client:
            reply = await client.say(room.plain())
        begin = "535 5.7.8 SMTP access requires a paid tier; this account is on free. Your operator can lift this: "
        assert reply.startswith(f"{begin}{room.daimon.url}/")
        assert len(reply) <= 510
        with pytest.raises(smtplib.SMTPAuthenticationError, match="requires a paid tier"):
            await room.program(lambda smtp: smtp.noop())
        await room.daimon.upgrade(Tier.STARTER)
        assert await room.program(lambda smtp: smtp.noop()[0]) == 250


async def test_a_suspended_account_is_told_so_with_every_user_name(room: Mailroom) -> None:
    actor = await room.daimon.actor()
    await room.daimon.operations.upgrades.set_status(actor.account_id, AccountStatus.SUSPENDED)
    for name in (room.username, room.address, actor.account_id):
        async with room.secure(log_in=False) as client:
            assert await client.say(room.plain(name)) == "535 5.7.8 Account is suspended by the operator"


async def test_a_store_that_fails_is_no_wrong_password(room: Mailroom, caplog: pytest.LogCaptureFixture) -> None:
    database = room.daimon.app.settings.data_dir / "mail.db"

    def rename(old: str, new: str) -> None:
        with sqlite3.connect(database) as store:
            store.execute(f"ALTER TABLE {old} RENAME TO {new}")
        store.close()

    async with room.secure(log_in=False) as client:
        await asyncio.to_thread(rename, "accounts", "elsewhere")
        reply = await client.say(room.plain())
        assert reply.startswith("454 4.7.0 Temporary authentication failure, id ")
        assert [record.getMessage() for record in caplog.records if record.exc_info] == [
            "internal error in an SMTP session"
        ]
        await asyncio.to_thread(rename, "elsewhere", "accounts")
        assert await client.say(room.plain()) == GOOD


async def test_no_password_is_ever_in_the_log_of_conversations(
    room: Mailroom, caplog: pytest.LogCaptureFixture
) -> None:
    async def everywhere(client: Client) -> None:
        await client.say(room.plain(), room.plain().lower().replace("auth plain ", "  aUtH   plain  "))
        await client.say("AUTH LOGIN", encoded(room.username), encoded(room.password))
        await client.say(f"AUTH LOGIN {encoded(room.username)}", encoded(room.password))
        await client.send(f"{room.plain()}\n".encode())
        await client.reply()

    with caplog.at_level(logging.DEBUG, WIRE):
        async with room.secure(log_in=False) as client:
            await everywhere(client)
        async with room.in_clear() as client:
            await client.say("EHLO c.example", room.plain())
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "C: AUTH PLAIN [secret]" in said
    assert "C: [secret]" in said
    for secret in (room.password, encoded(room.password), room.plain().rpartition(" ")[2], encoded(room.password)[:12]):
        assert secret not in said
        assert secret.lower() not in said
