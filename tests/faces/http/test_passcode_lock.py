"""The lock on wrong passcodes counts who is really connected, over the real HTTP server."""

from __future__ import annotations

import re

import httpx2
from tests.support.daimon import Daimon


async def test_a_forwarded_for_header_does_not_open_the_lock(serving: Daimon) -> None:
    await serving.operations.credentials.set_passcode()
    async with serving.agent() as agent:
        link = await agent.do("create_upgrade_link")
    async with httpx2.AsyncClient() as browser:
        page = await browser.get(link["url"])
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        assert fields
        seen: list[int] = []
        for number in range(8):
            answer = await browser.post(
                link["url"].partition("?")[0],
                data={**fields, "passcode": f"wrong-{number}", "decision": "approve"},
                headers={"X-Forwarded-For": f"192.0.2.{number}"},
            )
            seen.append(answer.status_code)
    assert seen == [403] * 5 + [429] * 3
