"""Every route that writes leaves its mark in the audit log."""

from __future__ import annotations

from pathlib import Path

from tests.faces.rest import test_every_route as story
from tests.faces.rest.kit import SENDS, new_account, program
from tests.support.daimon import running

from daimon_mcp.faces.rest.table import ROUTES
from daimon_mcp.operations.auditing import ListAudit

# What the log calls them: what is done, not which of several routes did it.
SAME = {
    "reply_all_to_message": "reply_to_message",
    "add_thread_label": "update_thread",
    "remove_thread_label": "update_thread",
    "upload_attachment_to_inbox": "upload_attachment",
    "add_to_inbox_list": "add_to_list",
    "remove_from_inbox_list": "remove_from_list",
}
# What a consumer has read is no change of anything; what is looked at to be told is none either.
NO_WRITE = {"acknowledge_events"}


async def test_every_route_that_writes_is_in_the_log(tmp_path: Path) -> None:
    async with running(tmp_path / "data", SENDS, listeners=True) as daimon:
        key, mine = await new_account(daimon, "mine")
        async with program(daimon, key) as agent:
            await story.of_inboxes(agent, mine["address"])
            await story.of_mail(daimon, agent, mine["address"])
            await story.of_threads(agent, mine["address"])
            await story.of_files(agent, mine["address"])
            await story.of_drafts(agent, mine["address"])
            await story.of_lists_and_domains(daimon, agent, mine["address"])
            await story.of_the_account(agent)
            await story.of_webhooks_and_events(agent, mine["address"])
            await agent.delete(f"/v1/inboxes/{mine['id']}")
            done = agent.done
        written = (await daimon.operations.auditing.list_audit(ListAudit(limit=1000)))["entries"]
        wanted = {
            SAME.get(route.operation, route.operation)
            for route in ROUTES
            if route.method != "GET" and story.name_of(route) in done and route.operation not in NO_WRITE
        }
        assert wanted <= {each["operation"] for each in written}
        assert {"rest"} == {each["face"] for each in written if each["operation"] in wanted - {"create_inbox"}}
        assert len(wanted) > 25
