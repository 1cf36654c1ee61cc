"""The outbound guard: what is held for the secrets in it, wherever they stand, and how it is told."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import OTHER, ROBO, becomes, eml, until
from tests.support.submission import submit

AWS = "AKIA" + "IOSFODNN7" + "EXAMPLE"
FOUND = {"kind": "aws_access_key"}


async def send(agent: Agent, **more: Any) -> dict[str, Any]:
    words = {"subject": "Hello", "body": "Hi there", **more}
    return await agent.do("send_email", inbox=ROBO, to=OTHER, **words)


@pytest.mark.parametrize(
    ("mail", "found"),
    [
        ({"body": f"The key is {AWS}."}, {**FOUND, "place": "body_text"}),
        ({"subject": f"Key {AWS}"}, {**FOUND, "place": "subject"}),
        ({"body_html": f"<p>x</p><!-- {AWS} -->"}, {**FOUND, "place": "body_html"}),
        (
            {"attachments": [
                {"filename": "a.txt", "content": base64.b64encode(b"nothing").decode()},
                {"filename": "notes.csv", "content": base64.b64encode(f"a,b\n1,{AWS}\n".encode()).decode()},
            ]},
            {**FOUND, "place": "attachment", "attachment": 2},
        ),
    ],
    ids=["text", "subject", "html", "attachment"],
)  # fmt: skip
async def test_mail_with_a_secret_is_held_and_told_by_kind_and_place(
    mail: dict[str, Any], found: dict[str, Any], daimon: Daimon, agent: Agent
) -> None:
    held = await send(agent, **mail)
    assert held["status"] == "pending_approval"
    assert held["held"] == {"why": ["secrets"], "findings": [found]}
    assert AWS not in str({name: value for name, value in held.items() if name != "recipients"})
    shown = await daimon.operations.approving.show_approval(held["approval_id"])
    assert shown["preview"]["findings"] == [found]
    assert AWS not in str({name: value for name, value in shown.items() if name != "preview"})
    await daimon.operations.approving.decide(held["approval_id"], approve=True, by="cli")
    await becomes(daimon, agent, held["id"], "delivered")


async def test_our_own_keys_are_known(daimon: Daimon, agent: Agent) -> None:
    key = (await agent.do("create_key"))["api_key"]
    password = (await agent.do("get_smtp_credentials"))["password"]
    held = await send(agent, body=f"key {key}\npassword {password}")
    assert [each["kind"] for each in held["held"]["findings"]] == ["daimon_api_key", "daimon_password"]


async def test_a_dry_run_reports_and_holds_nothing(daimon: Daimon, agent: Agent) -> None:
    verdict = await send(agent, body=f"The key is {AWS}.", dry_run=True)
    assert (verdict["ok"], verdict["would"]) == (True, "pending_approval")
    assert verdict["held"]["why"] == ["secrets"]
    assert {"code": "SECRET_FOUND", **FOUND, "place": "body_text"} in verdict["warnings"]


async def test_drafts_and_replies_are_looked_at(daimon: Daimon, agent: Agent) -> None:
    draft = await agent.do("create_draft", inbox=ROBO, to=OTHER, subject="x", body=AWS)
    assert (await agent.do("send_draft", draft_id=draft["id"]))["status"] == "pending_approval"
    clean = await send(agent)
    reply = await agent.do("reply_to_message", message_id=clean["id"], body=AWS)
    assert reply["status"] == "pending_approval"


async def test_mail_of_programs_is_looked_at(daimon: Daimon, agent: Agent) -> None:
    message_id = await submit(daimon, OTHER, content=eml(sender=ROBO, to=OTHER, body=f"The key is {AWS}."))

    async def filed() -> dict[str, Any] | None:
        answer = await agent.call("get_message", message_id=message_id)
        return None if answer.is_error else answer.result

    message = await until(daimon, filed)
    assert message["delivery_status"] == "pending_approval"
    assert message["approval"]["why"] == ["secrets"]
    assert (await agent.do("get_account"))["sends_today"] == 0  # what was counted is given back


@pytest.mark.parametrize(("mode", "findings"), [("report", 1), ("off", 0)])
async def test_it_can_be_told_to_report_or_to_look_away(mode: str, findings: int, tmp_path: Path) -> None:
    async with running(tmp_path / "d", {"guard": {"mode": mode}}, workers=True) as daimon, daimon.agent() as agent:
        await daimon.upgrade()
        await agent.do("create_inbox", username="robo")
        await agent.do("create_inbox", username="other")
        sent = await send(agent, body=f"The key is {AWS}.")
        assert sent["status"] == "delivered"
        assert len(sent.get("findings", ())) == findings
