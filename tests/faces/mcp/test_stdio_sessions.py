"""What a session on stdio is: its profile, its key, and what both leave out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faces.mcp.kit import ERAS, SECRETS, end_owner, key, over_stdio
from tests.support.daimon import Agent, Daimon

from daimon_mcp.faces.mcp.server import Session, session
from daimon_mcp.faces.mcp.tools import ALL, NAMES
from daimon_mcp.operations.keys import RevokeKey

CORE = {tool.name for tool in ALL if tool.core}
READING = {tool.name for tool in ALL if tool.reads and not tool.secret}


async def tools(agent: Agent) -> set[str]:
    return {tool.name for tool in (await agent.client.list_tools()).tools}


async def test_each_bridge_has_its_own_profile_and_key(tmp_path: Path) -> None:
    """Several at once, on one owner: what one narrows is no other's concern."""
    folder = tmp_path / "data"
    try:
        async with over_stdio(folder) as whole:
            assert await tools(whole) == CORE
            mine = await whole.do("create_inbox", username="mine")
            await whole.do("create_inbox", username="other")
            for arguments, environ, expected in (
                (["--profile", "full"], {}, set(NAMES)),
                (["--profile=full"], {}, set(NAMES)),
                ([], {"DAIMON_PROFILE": "full"}, set(NAMES)),
                (["--profile", "core"], {"DAIMON_PROFILE": "full"}, CORE),
                (["--read-only"], {}, CORE & READING),
                (["--read-only", "--profile", "full"], {}, READING),
                ([], {"DAIMON_READ_ONLY": "1"}, CORE & READING),
            ):
                async with over_stdio(folder, *arguments, environ=environ) as agent:
                    assert await tools(agent) == expected
                    assert (await agent.do("list_inboxes"))["total"] == 2
            async with over_stdio(folder, environ={"DAIMON_API_KEY": mine["api_key"]}) as narrow:
                assert [each["id"] for each in (await narrow.do("list_inboxes"))["inboxes"]] == [mine["id"]]
                assert (await narrow.call("create_inbox")).error == "FORBIDDEN"
                assert (await narrow.call("list_messages", inbox="other@agents.localhost")).error == "INBOX_NOT_FOUND"
            assert (await whole.do("list_inboxes"))["total"] == 2
    finally:
        await end_owner(folder)
    logged = (folder / "owner.log").read_text()
    assert not [secret for secret in SECRETS if secret in logged]
    assert "Traceback" not in logged


@pytest.mark.parametrize("era", ERAS)
async def test_alone_with_a_key(tmp_path: Path, era: str) -> None:
    folder = tmp_path / "data"
    async with over_stdio(folder, "--alone") as whole:
        mine = await whole.do("create_inbox", username="mine")
        await whole.do("create_inbox", username="other")
    environ = {"DAIMON_API_KEY": mine["api_key"]}
    async with over_stdio(folder, "--alone", "--read-only", mode=era, environ=environ) as agent:
        assert await tools(agent) == CORE & READING
        assert [each["id"] for each in (await agent.do("list_inboxes"))["inboxes"]] == [mine["id"]]


@pytest.mark.parametrize("era", ERAS)
async def test_a_key_that_is_revoked_ends_its_session_at_once(daimon: Daimon, era: str) -> None:
    own = await key(daimon)
    actor = await daimon.operations.credentials.authenticate(own)
    assert actor.key_id is not None
    token = session.set(Session(actor, api_key=own))
    try:
        async with daimon.agent(era) as agent:
            assert (await agent.do("get_account"))["tier"] == "free"
            await daimon.operations.keys.revoke_key(await daimon.actor(), RevokeKey(key_id=actor.key_id))
            assert (await agent.call("get_account")).error == "UNAUTHORIZED"
    finally:
        session.reset(token)
    assert own not in repr(Session(actor, api_key=own))
