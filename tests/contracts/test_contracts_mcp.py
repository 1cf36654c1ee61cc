"""What MCP clients and agents rely on, as files: each tool, the instructions, every sentence of an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.faces.mcp.kit import MODERN, wired
from tests.support.contracts import ROOT, check_contract
from tests.support.daimon import Daimon, running

from daimon_mcp.domain.refusals import Fact, FieldProblem, RefusalCode, Refused
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.faces.mcp.tools import ALL, NAMES, chosen
from daimon_mcp.operations.core import Link, Outcome
from daimon_mcp.texts import render_bullets, slots

TOOLS = "tests/contracts/tools"
TEXTS = "tests/contracts/texts"

FACTS: dict[str, Fact] = {
    "about": "msg_9",
    "account": "agents@agents.localhost",
    "again": "yes",
    "address": "ada@agents.localhost",
    "after_untrusted": "yes",
    "answer": "yes",
    "approval": "apr_7",
    "attachment": "att_6",
    "changed": 2,
    "code": 200,
    "consumer": "billing",
    "count": 2,
    "delivery": "whd_3",
    "deleted_at": "2026-11-20T09:00:00Z",
    "direction": "receive",
    "disabled": "yes",
    "differs": "yes",
    "hidden": 120,
    "hours": 24,
    "unseen": "yes",
    "domain_id": "dom_2",
    "draft": "dft_5",
    "empty": "from:",
    "ends_at": "2026-11-21T10:00:00Z",
    "every_send": "yes",
    "failing": "yes",
    "file": "att_6",
    "findings": 1,
    "held": "on_block_list",
    "higher": "pro",
    "id": "c0ffee1234",
    "inbound": "yes",
    "inbox_id": "inb_1",
    "incomplete": "yes",
    "key": "key_4",
    "last": "msg_8",
    "left": 3,
    "left_out": 4,
    "limit": 100,
    "links": "yes",
    "list": "block",
    "masked": "yes",
    "message": "msg_3",
    "methods": "GET, POST",
    "more": "yes",
    "ms": 84,
    "near": "subjet:",
    "new_recipients": "yes",
    "next_at": "2026-11-21T09:01:00Z",
    "next_offset": 16000,
    "no_submission": "port 2587 is taken",
    "not_listening": "port 2525 is taken",
    "old": "key_3",
    "older": "yes",
    "permission": "message_send",
    "port": 2587,
    "quoted": "yes",
    "recipients": 2,
    "rejected": "yes",
    "released": "yes",
    "report": "msg_12",
    "reset_at": "2026-12-01T00:00:00Z",
    "sandbox": "yes",
    "scheduled": "yes",
    "scheduled_at": "2026-11-21T09:00:00Z",
    "seconds": 60,
    "secrets": "yes",
    "sent": 120,
    "send_at": "2026-11-21T09:00:00Z",
    "short": "yes",
    "shown": 20,
    "size": 12_000_000,
    "state": "approved",
    "status": "queued",
    "target_tier": "starter",
    "thread": "thr_4",
    "tier": "free",
    "tls_port": 2465,
    "unsent": "yes",
    "until": "2026-11-26T09:00:00Z",
    "upgrade": "yes",
    "url": "http://127.0.0.1:8370/files/t0ken",
    "used": 100,
    "warnings": 1,
    "webhook": "wh_2",
}
"""A value for every slot; a text with a slot that is not here fails."""


@pytest.fixture(scope="module")
async def daimon(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Daimon]:
    async with running(tmp_path_factory.mktemp("contracts")) as made:
        yield made


async def test_each_tool(daimon: Daimon) -> None:
    async with wired(daimon.app.mcp_server("full"), MODERN) as wire:
        listed = (await wire.ask("tools/list"))["result"]["tools"]
    assert [tool["name"] for tool in listed] == list(NAMES)
    for tool in listed:
        check_contract(f"{TOOLS}/{tool['name']}.json", json.dumps(tool, indent=2, ensure_ascii=False) + "\n")


def test_no_contract_of_a_tool_that_is_gone() -> None:
    assert {file.stem for file in Path(ROOT / TOOLS).glob("*.json")} == set(NAMES)


async def test_instructions(daimon: Daimon) -> None:
    parts: list[str] = []
    for title, read_only in (("Core profile", False), ("Core profile, read-only", True)):
        said = daimon.app.mcp_server("core", read_only=read_only).instructions or ""
        assert len(said.split()) <= 150
        parts.append(f"# {title}, {len(said.split())} words\n\n{said}\n")
    check_contract("tests/contracts/instructions.md", "\n".join(parts))


async def test_there_is_a_fact_for_every_slot(daimon: Daimon) -> None:
    texts = daimon.operations.texts
    given = {*FACTS, "fields", "suggestions", "retry_after", "parked"}
    for kind in ("outcomes", "refusals"):
        for name in texts.names(kind):
            assert {slot for slot in slots(texts.text(kind, name)) if not slot.startswith("call:")} <= given, name


class Dialects:
    """An answer in the full and the core profile, side by side where they differ."""

    full = ToolDialect(NAMES)
    core = ToolDialect([tool.name for tool in chosen(profile="core")])

    @staticmethod
    def steps(full: list[str], core: list[str]) -> list[str]:
        marked = [f"- {step}" if step in core else f"- (full profile only) {step}" for step in full]
        return [*marked, *(f"- (core profile only) {step}" for step in core if step not in full)]


def section(name: str, *parts: str, steps: list[str]) -> str:
    return "\n".join([f"## {name}", "", *(part for part in parts if part), *([""] if steps else []), *steps, ""])


async def test_the_text_of_every_outcome(daimon: Daimon) -> None:
    guide = daimon.operations.guide
    sections: list[str] = ["# Outcomes\n"]
    for name in daimon.operations.texts.names("outcomes"):
        outcome = Outcome(key=name, result={}, facts=FACTS)
        full, core = (guide.outcome(outcome, each)["next_steps"] for each in (Dialects.full, Dialects.core))
        sections.append(section(name, guide.summary(outcome, Dialects.full), steps=Dialects.steps(full, core)))
    check_contract(f"{TEXTS}/outcomes.md", "\n".join(sections))


async def test_the_text_of_every_refusal(daimon: Daimon) -> None:
    guide = daimon.operations.guide
    sections: list[str] = ["# Refusals\n"]
    for name in daimon.operations.texts.names("refusals"):
        code, _, reason = name.partition(".")
        refused = Refused(
            RefusalCode(code),
            reason=reason or None,
            facts=FACTS,
            fields=[FieldProblem("limit", "must be at most 100", "20")],
            retry_after=42,
            suggestions=["ann2@agents.localhost", "ann-mail@agents.localhost"],
            details={"parked": {"id": "msg_3"}},
        )
        full = await guide.refusal(refused, Dialects.full, actor=None)
        core = await guide.refusal(refused, Dialects.core, actor=None)
        assert full["message"] == core["message"]
        steps = Dialects.steps(full["next_steps"], core["next_steps"])
        sections.append(section(name, full["message"], steps=steps))
    check_contract(f"{TEXTS}/refusals.md", "\n".join(sections))


async def test_what_an_operator_is_told(daimon: Daimon) -> None:
    sections: list[str] = ["# For the operator\n"]
    for kind in ("upgrade", "request", "send"):
        for purpose in ("", "to answer the customers"):
            facts: dict[str, Fact] = {**FACTS, "purpose": purpose}
            link = Link(url="http://127.0.0.1:8370/upgrade?token=…", kind=kind, facts=facts)
            said = daimon.operations.guide.upgrade_context(link, Dialects.full)
            title = f"{kind}, {'with' if purpose else 'without'} a reason"
            sections.append(
                section(title, f"Label: {said['operator_action_label']}", "", str(said["agent_script"]), steps=[])
            )
    check_contract(f"{TEXTS}/operator.md", "\n".join(sections))


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("mail", "Reports to senders"),
        ("sandbox", "Mail that comes back from the sandbox"),
        ("smtp", "Replies to mail programs"),
    ],
)
async def test_what_is_read_in_mail_and_by_mail_programs(kind: str, title: str, daimon: Daimon) -> None:
    texts = daimon.operations.texts
    sections: list[str] = [f"# {title}\n"]
    for name in texts.names(kind):
        said: list[str] = []
        for field, value in texts.text(kind, name).fields.items():
            lines = [value] if isinstance(value, str) else list(value)
            said += [f"{field}: {line}" for line in render_bullets(lines, FACTS, str)]
        sections.append(section(name, *said, steps=[]))
    check_contract(f"{TEXTS}/{kind}.md", "\n".join(sections))


def test_the_catalogue_is_what_the_product_says() -> None:
    core = [tool.name for tool in chosen(profile="core")]
    assert sorted(core) == sorted(
        ["create_inbox", "list_inboxes", "send_email", "reply_to_message", "list_messages", "get_message",
         "wait_for_message", "search_messages", "get_thread", "create_draft", "send_draft", "get_account",
         "get_smtp_credentials", "create_upgrade_link"]
    )  # fmt: skip
    assert [tool.name for tool in ALL if tool.core] == core
