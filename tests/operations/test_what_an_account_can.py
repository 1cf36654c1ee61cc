"""What an account is told it can do is what it can do: on each tier, with and without a relay, with a port taken."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from tests.support.daimon import Agent, Answer, Daimon, running

from daimon_mcp.domain.accounts import AccountStatus
from daimon_mcp.domain.tiers import Tier

RELAY = {"relay": {"host": "relay.invalid", "port": 25, "security": "none"}}
SENDS = {"send_messages", "schedule_messages", "send_to_other_servers"}
UNPAID = ("SEND_REQUIRES_PAID", "create_upgrade_link")


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    """With no way to outside."""
    async with running(tmp_path / "data") as made:
        yield made


async def sorted_out(agent: Agent) -> tuple[set[str], dict[str, tuple[str, str | None]]]:
    """What can be done, and of what cannot the reason and the way to it."""
    said = await agent.do("get_capabilities")
    cannot = {each["action"]: (each["reason"], each.get("unlock")) for each in said["cannot"]}
    return {each["action"] for each in said["can"]}, cannot


@pytest.mark.parametrize(
    ("sections", "tier", "expected"),
    [
        ({}, Tier.FREE, {"send_messages": UNPAID, "schedule_messages": UNPAID,
                         "send_to_other_servers": ("RELAY_NOT_CONFIGURED", None)}),
        (RELAY, Tier.FREE, dict.fromkeys(SENDS, UNPAID)),
        ({}, Tier.STARTER, {"send_to_other_servers": ("RELAY_NOT_CONFIGURED", None)}),
        (RELAY, Tier.STARTER, {}),
    ],
    ids=["free", "free-with-relay", "paid", "paid-with-relay"],
)  # fmt: skip
async def test_sending_is_said_to_be_possible_where_it_is(
    tmp_path: Path, sections: dict[str, Any], tier: Tier, expected: dict[str, Any]
) -> None:
    async with running(tmp_path / "data", sections) as daimon, daimon.agent() as agent:
        await daimon.upgrade(tier)
        can, cannot = await sorted_out(agent)
        free = {"use_custom_domains": ("DOMAIN_REQUIRES_PAID", "create_upgrade_link")} if tier is Tier.FREE else {}
        assert cannot == {"use_smtp": ("NO_SUBMISSION_LISTENER", None), **free, **expected}
        assert can == {
            "receive_messages", "receive_from_other_servers", "create_inboxes", "use_drafts", "use_reply_extraction",
            "use_link_extraction", *(SENDS - set(expected)), *({"use_custom_domains"} - set(free)),
        }  # fmt: skip
        account = await agent.do("get_account")
        assert (account["smtp_enabled"], account["receives_from_other_servers"]) == (False, True)
        inbox = (await agent.do("create_inbox", username="robo"))["address"]
        for to, action in ((inbox, "send_messages"), ("ann@example.com", "send_to_other_servers")):
            sent = await agent.call("send_email", inbox=inbox, to=to, subject="s", body="b", dry_run=True)
            assert sent.result["ok"] is (action in can), sent.result


async def test_a_key_a_session_and_a_suspension_take_away(daimon: Daimon) -> None:
    await daimon.upgrade(Tier.STARTER)
    accounts, actor = daimon.operations.accounts, await daimon.actor()

    async def cannot(**narrowed: Any) -> dict[str, str]:
        said = (await accounts.get_capabilities(replace(actor, **narrowed))).result["cannot"]
        return {each["action"]: each["reason"] for each in said}

    assert set(await cannot()) == {"send_to_other_servers", "use_smtp"}
    assert (await cannot(inbox_no=1))["create_inboxes"] == "FORBIDDEN"
    looking = await cannot(read_only=True)
    assert {looking[action] for action in ("create_inboxes", *SENDS)} == {"FORBIDDEN"}
    await daimon.operations.upgrades.set_status(actor.account_id, AccountStatus.SUSPENDED)
    suspended = await cannot()
    assert {suspended[action] for action in ("create_inboxes", *SENDS)} == {"ACCOUNT_SUSPENDED"}


async def told(agent: Agent) -> list[str]:
    """The steps of everything that tells an agent it can be written to, that say it cannot from outside."""
    answers = [
        await agent.call("create_inbox", username="robo", client_id="a"),
        await agent.call("create_inbox", username="robo", client_id="a"),
        await agent.call("get_account"),
        await agent.call("get_capabilities"),
    ]
    steps = [step for answer in answers for step in answer.envelope["next_steps"]]
    return [step for step in steps if step.startswith("No mail from other servers comes in now")]


async def test_an_agent_is_told_that_no_mail_comes_in_from_outside(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with running(tmp_path / "data", {"smtp": {"inbound_port": port}}) as daimon:
            async with anyio.create_task_group() as tasks:
                await daimon.app.run_listeners(tasks, None, strict=False)
                tasks.cancel_scope.cancel()
            async with daimon.agent() as agent:
                said = await told(agent)
                assert len(said) == 4
                assert all(f"SMTP port {port} cannot be used (Address already in use)" in step for step in said)
                assert (await agent.do("get_account"))["receives_from_other_servers"] is False
                assert (await sorted_out(agent))[1]["receive_from_other_servers"] == ("NOT_LISTENING", None)


async def test_nothing_is_said_while_mail_comes_in_even_if_the_http_port_was_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with running(tmp_path / "data", {"http": {"port": taken.getsockname()[1]}}) as daimon:
            async with anyio.create_task_group() as tasks:
                await daimon.app.run_listeners(tasks, daimon.app.listening.bind_http(strict=False), strict=False)
                async with daimon.agent() as agent:
                    assert await told(agent) == []
                tasks.cancel_scope.cancel()
            assert "HTTP port" in daimon.operations.core.notes[0]


async def test_an_agent_is_told_that_mail_programs_cannot_log_in_and_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with running(tmp_path / "data", {"submission": {"tls_port": port}}) as daimon:
            async with anyio.create_task_group() as tasks:
                await daimon.app.run_listeners(tasks, None, strict=False)
                tasks.cancel_scope.cancel()
            why = f"port 0 or {port} cannot be used (Address already in use)"
            async with daimon.agent() as agent:
                for tier, told_of in ((Tier.FREE, 0), (Tier.STARTER, 1)):  # who may not log in anyway is not bothered
                    await daimon.upgrade(tier)
                    for tool, arguments in (
                        ("create_inbox", {"username": f"a-{tier}", "client_id": tier}),
                        ("create_inbox", {"username": f"a-{tier}", "client_id": tier}),
                        ("get_account", {}),
                        ("get_capabilities", {}),
                    ):
                        steps = (await agent.call(tool, **arguments)).envelope["next_steps"]
                        assert sum(why in step and "Mail programs cannot log in" in step for step in steps) == told_of
                for tool in ("get_smtp_credentials", "rotate_smtp_password"):
                    answer = await agent.call(tool)
                    assert answer.result["listening"] is False
                    assert why in answer.result["problem"]
                    assert any(step.startswith("Why: SMTP submission") and why in step
                               for step in answer.envelope["next_steps"])  # fmt: skip


class Begun(asyncio.Event):
    """Tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.asked.set()
        return await super().wait()


async def test_the_first_inbox_of_a_process_is_made_when_it_is_known_what_listens(daimon: Daimon) -> None:
    core = daimon.operations.core
    begun = core.listening = Begun()
    answers: list[Answer] = []
    async with daimon.agent() as agent, anyio.create_task_group() as tasks:

        async def make() -> None:
            answers.append(await agent.call("create_inbox", username="robo"))

        tasks.start_soon(make)
        with anyio.fail_after(4):
            await begun.asked.wait()
        core.not_listening = "SMTP port 25 cannot be used"
        begun.set()
    assert "SMTP port 25 cannot be used" in answers[0].text


async def test_a_certificate_that_cannot_be_used_is_why_mail_programs_cannot_log_in(tmp_path: Path) -> None:
    (tmp_path / "broken.pem").write_text("no certificate")
    pair = {"certificate": str(tmp_path / "broken.pem"), "certificate_key": str(tmp_path / "broken.pem")}
    async with running(tmp_path / "data", {"smtp": pair}) as daimon:
        await daimon.upgrade(Tier.STARTER)
        async with anyio.create_task_group() as tasks:
            await daimon.app.run_listeners(tasks, None, strict=False)
            async with daimon.agent() as agent:
                steps = (await agent.call("get_account")).envelope["next_steps"]
                assert any("Mail programs cannot log in now: the TLS certificate" in step for step in steps)
            tasks.cancel_scope.cancel()


async def test_the_ports_are_told_by_what_programs_call_them(tmp_path: Path) -> None:
    async with running(tmp_path / "data", listeners=True) as daimon, daimon.agent() as agent:
        await daimon.upgrade(Tier.STARTER)
        step = (await agent.call("get_smtp_credentials")).envelope["next_steps"][0]
        (_, starttls), (_, tls) = daimon.submission, daimon.submission_tls
        assert step.startswith(f"Set a program that says STARTTLS (or just TLS on 587) to host and port {starttls}; ")
        assert f"SSL/TLS (implicit TLS, as on 465) to host and tls_port {tls}." in step
        assert not any("cannot log in" in each for each in (await agent.call("get_account")).envelope["next_steps"])


async def test_what_an_account_has_meanwhile_is_no_request_any_more(daimon: Daimon) -> None:
    upgrades = daimon.operations.upgrades
    async with daimon.agent() as agent:
        link = await agent.do("create_upgrade_link")
        await agent.do("create_upgrade_link", target_tier="pro")
        asked = await agent.do("notify_operator", issue="May I?")
        assert (await upgrades.list_open())[0].id == link["approval_id"]
        assert await upgrades.open_count() == 3
        await daimon.upgrade(Tier.STARTER)
        assert [each.target_tier for each in await upgrades.list_open()] == ["pro", None]
        await daimon.upgrade(Tier.ENTERPRISE)
        assert [each.id for each in await upgrades.list_open()] == [asked["approval_id"]]
        assert await upgrades.open_count() == 1
        assert (await agent.do("wait_for_upgrade", timeout_seconds=1))["status"] == "upgraded"


async def test_an_agent_is_told_how_mail_leaves(tmp_path: Path) -> None:
    ways: dict[str, dict[str, str]] = {"none": {}, "smart_host": {"host": "127.0.0.1"}, "direct": {"mode": "direct"}}
    for name, relay in ways.items():
        async with running(tmp_path / name, {"relay": relay}) as daimon, daimon.agent() as agent:
            account = await agent.call("get_account")
            assert (account.result["relay"], account.result["relay_configured"]) == (name, name != "none")
            assert "sandbox" not in account.text


async def test_lmtp_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    smtp = {"inbound": False, "lmtp_socket": str(tmp_path / "no" / "lmtp.sock")}
    async with running(tmp_path / "data", {"smtp": smtp}) as daimon, anyio.create_task_group() as tasks:
        await daimon.app.run_listeners(tasks, None, strict=False)
        assert daimon.operations.core.not_listening == "[smtp] inbound is false, and LMTP cannot be used"
        tasks.cancel_scope.cancel()


async def test_inbound_mail_that_is_turned_off_is_said(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "data", {"smtp": {"inbound": False}}, listeners=True) as daimon,
        daimon.agent() as agent,
    ):
        assert len(await told(agent)) == 4
