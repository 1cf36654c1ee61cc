"""What README.md tells people to write down and to type does what it says."""

from __future__ import annotations

import json
import re
import shlex
import smtplib
import tomllib
from pathlib import Path
from typing import Any

import anyio
from tests.support.daimon import Agent, Daimon, running
from tests.support.ports import free_port
from tests.support.post import delivered_to, eml, until
from tests.support.postfix import postfix
from tests.support.programs import ROOT, curl, swaks

README = (ROOT / "README.md").read_text(encoding="utf-8")
ANN, ADA = "ann@example.com", "ada@agents.example.org"


def sample(language: str, containing: str) -> str:
    """The one block of README.md in a language that holds these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    [found] = [block for block in blocks if containing in block]
    return found


async def arrived(daimon: Daimon, agent: Agent, inbox: str) -> list[dict[str, Any]]:
    async def look() -> list[dict[str, Any]] | None:
        return await delivered_to(agent, inbox) or None

    return await until(daimon, look)


async def test_the_sandbox(tmp_path: Path) -> None:
    sections = tomllib.loads(sample("toml", 'mode = "sandbox"'))
    async with running(tmp_path, sections, workers=True) as daimon, daimon.agent() as agent:
        await daimon.upgrade()
        await agent.do("create_inbox", username="ada")
        assert (await agent.do("get_account"))["relay"] == "sandbox"
        await agent.do("send_email", to="bounce@sandbox.test", subject="s", body="b")
        [report] = await arrived(daimon, agent, "ada@agents.localhost")
        assert report["kind"] == "bounce"


async def test_behind_postfix(tmp_path: Path) -> None:
    sections, port = tomllib.loads(sample("toml", "lmtp_port")), str(free_port())
    parameters = dict(line.split(" = ", 1) for line in sample("ini", "main.cf").splitlines() if " = " in line)
    assert parameters["virtual_transport"].endswith(f":{sections['smtp']['lmtp_port']}")
    sections["smtp"]["lmtp_port"] = int(port)
    parameters["virtual_transport"] = f"lmtp:inet:127.0.0.1:{port}"
    # Whoever connects is a stranger, and a probe of a recipient is waited for a second at a time.
    parameters |= {"mynetworks": "", "address_verify_map": "", "address_verify_poll_delay": "1s"}
    async with (
        running(tmp_path / "data", sections, listeners=True) as daimon,
        postfix(parameters=parameters) as server,
        daimon.agent() as agent,
    ):
        await agent.do("create_inbox", username="ada")

        def deliver() -> dict[str, tuple[int, bytes]]:
            with smtplib.SMTP(server.host, server.port, "mail.example.com") as client:
                return client.sendmail(ANN, [ADA, "nobody@agents.example.org"], eml(subject="Delivered", to=ADA))

        refused = await anyio.to_thread.run_sync(deliver)
        assert {address: code for address, (code, _) in refused.items()} == {"nobody@agents.example.org": 550}
        assert [each["subject"] for each in await arrived(daimon, agent, ADA)] == ["Delivered"]


async def test_swaks(tmp_path: Path) -> None:
    lines = sample("sh", "swaks").replace("\\\n", " ").splitlines()
    async with running(tmp_path, listeners=True) as daimon, daimon.agent() as agent:
        await daimon.upgrade()
        for username in ("ada", "bob"):
            await agent.do("create_inbox", username=username)
        shown = await agent.do("get_smtp_credentials")
        real = {
            "127.0.0.1:2587": f"127.0.0.1:{daimon.submission[1]}",
            "127.0.0.1:2525": f"127.0.0.1:{daimon.inbound[1]}",
            "acc_…": shown["username"],
            "smtp_secret_…": shown["password"],
        }
        for line, inbox, subject in zip(lines, ("bob", "ada"), ("Sent", "Delivered"), strict=True):
            _, *arguments = (real.get(word, word) for word in shlex.split(line))
            (await swaks(*arguments)).succeeded()
            [mail] = await arrived(daimon, agent, f"{inbox}@agents.localhost")
            assert mail["subject"] == subject


async def test_the_first_requests_of_a_program(tmp_path: Path) -> None:
    commands = [each.replace("\\\n", " ").strip() for each in sample("sh", "/v1/inboxes").split("\n\n")]
    async with running(tmp_path, listeners=True) as daimon:
        answers: list[dict[str, Any]] = []
        for command in commands:
            key = answers[0]["result"]["api_key"] if answers else ""
            words = shlex.split(command.replace("http://127.0.0.1:8370", daimon.url).replace("dm_…", key))
            assert words[0] == "curl"
            words = [each.replace("timeout_seconds=60", "timeout_seconds=0") for each in words]
            answers.append(json.loads((await curl(*words[1:])).succeeded()))
    made, waited, sent = answers
    assert made["result"]["address"] == "ada@agents.localhost"
    assert made["result"]["account_api_key"].startswith("dm_free_")
    assert waited["result"]["timed_out"]
    assert sent["error"] == "SEND_REQUIRES_PAID"
    assert sent["upgrade_context"]["operator_action_url"].startswith(daimon.url)
