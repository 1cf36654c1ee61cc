"""An inbox's display name and notes can be changed, and nothing else of it."""

from __future__ import annotations

import pytest
from tests.support.daimon import Daimon


async def test_name_and_notes(daimon: Daimon) -> None:
    async with daimon.agent() as agent:
        made = await agent.do("create_inbox", username="robo", metadata={"team": "a", "old": 1})
        changed = await agent.do("update_inbox", inbox="robo@agents.localhost", metadata={"old": None, "new": [1]})
        assert changed["metadata"] == {"team": "a", "new": [1]}
        assert changed["display_name"] == made["display_name"]
        assert (await agent.do("update_inbox", inbox=made["id"], display_name=" Robo "))["display_name"] == "Robo"
        assert (await agent.do("get_inbox", inbox=made["id"]))["metadata"] == {"team": "a", "new": [1]}


@pytest.mark.parametrize(
    "wrong",
    [{}, {"display_name": ""}, {"display_name": "a\nb"}, {"metadata": {"x": "y" * 5000}}, {"status": "paused"}],
)
async def test_what_is_refused(daimon: Daimon, wrong: dict[str, object]) -> None:
    async with daimon.agent() as agent:
        made = await agent.do("create_inbox", username="robo")
        answer = await agent.call("update_inbox", inbox=made["id"], **wrong)
        assert answer.error == "INVALID_REQUEST"
        assert (await agent.do("get_inbox", inbox=made["id"]))["display_name"] == made["display_name"]
