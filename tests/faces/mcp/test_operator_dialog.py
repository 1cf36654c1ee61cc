"""A link for the operator: by the client's own dialog where it has one, as text everywhere else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult, ErrorData
from tests.faces.mcp.kit import ERAS, key, over_http, over_sse
from tests.support.daimon import Agent, Answer, Daimon


class Dialog:
    """A client's dialog that answers always the same, and remembers what it showed."""

    def __init__(self, action: Any) -> None:
        self.action = action
        self.shown: list[ElicitRequestURLParams] = []

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        assert isinstance(params, ElicitRequestURLParams)
        self.shown.append(params)
        return self.action if isinstance(self.action, ErrorData) else ElicitResult(action=self.action)


@asynccontextmanager
async def with_dialog(daimon: Daimon, era: str, dialog: Dialog) -> AsyncGenerator[Agent]:
    async with Client(daimon.app.mcp_server("full"), mode=era, elicitation_callback=dialog) as client:
        yield Agent(client)


def check(answer: Answer, dialog: Dialog, action: str) -> None:
    result = answer.result
    (shown,) = dialog.shown
    assert shown.url == result["operator_action_url"] == result["url"]
    assert shown.message == result["operator_action_label"]
    assert "token=" in shown.url
    assert "dm_" not in shown.url
    assert result["operator_dialog"] == action
    # The text stands whatever became of the dialog: who declined may want the link later.
    assert result["agent_script"] in answer.text


@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
@pytest.mark.parametrize("era", ERAS)
async def test_a_client_with_a_dialog_shows_the_link(daimon: Daimon, era: str, action: str) -> None:
    dialog = Dialog(action)
    async with with_dialog(daimon, era, dialog) as agent:
        check(await agent.call("create_upgrade_link", reason="to answer"), dialog, action)
        again = await agent.do("create_upgrade_link", reason="to answer")
        assert again["url"] == dialog.shown[0].url
        assert again["approval_id"] == (await agent.do("get_approval", approval_id=again["approval_id"]))["id"]
    # Showing decides nothing: only the operator's page does.
    assert await daimon.operations.upgrades.open_count() == 1
    assert (await daimon.operations.accounts.get_account(await daimon.actor())).result["tier"] == "free"


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_without_a_dialog_has_the_text(daimon: Daimon, era: str) -> None:
    async with daimon.agent(era) as agent:
        answer = await agent.call("create_upgrade_link")
        assert "operator_dialog" not in answer.result
        assert answer.result["agent_script"] in answer.text.split("\n")
        assert answer.result["url"] in answer.text
        assert (await agent.do("create_upgrade_link"))["url"] == answer.result["url"]
    assert await daimon.operations.upgrades.open_count() == 1


async def test_a_dialog_that_fails_leaves_the_text(daimon: Daimon) -> None:
    dialog = Dialog(ErrorData(code=-32603, message="no window"))
    async with with_dialog(daimon, "legacy", dialog) as agent:
        answer = await agent.call("create_upgrade_link")
        assert len(dialog.shown) == 1
        assert "operator_dialog" not in answer.result
        assert answer.result["url"] in answer.text


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", [over_http, over_sse])
async def test_over_sockets(serving: Daimon, transport: Any, era: str) -> None:
    dialog = Dialog("accept")
    async with transport(serving.url, await key(serving), era, elicitation_callback=dialog) as agent:
        check(await agent.call("create_upgrade_link", target_tier="pro"), dialog, "accept")
        assert dialog.shown[0].url.startswith(f"{serving.url}/")


@pytest.mark.parametrize("era", ERAS)
async def test_refusals_show_no_dialog(daimon: Daimon, era: str) -> None:
    """A refused send says what to do; the agent decides when to bother its operator."""
    dialog = Dialog("accept")
    async with with_dialog(daimon, era, dialog) as agent:
        inbox = await agent.do("create_inbox")
        refused = await agent.call("send_email", to=inbox["address"], subject="x", body="y")
        assert refused.error == "SEND_REQUIRES_PAID"
        assert refused.envelope["upgrade_context"]["agent_script"] in refused.text
        assert (await agent.call("create_upgrade_link", target_tier="free")).error == "INVALID_REQUEST"
    assert not dialog.shown
