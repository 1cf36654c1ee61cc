"""Keys: what each may do, what it can give on, renewal with an overlap, and the end of one."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import OTHER, ROBO, arrive, until

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.operations.credentials import PERMISSIONS
from daimon_mcp.operations.keys import REPLY_ONLY, CreateKey, GetKey, RevokeKey, RotateKey
from daimon_mcp.operations.messages import GetMessage
from daimon_mcp.operations.replying import ForwardMessage, ReplyToMessage
from daimon_mcp.operations.sending import SendEmail
from daimon_mcp.operations.waiting import WaitForMessage

HOUR = 3600


async def made(daimon: Daimon, maker: Actor | None = None, **wanted: Any) -> tuple[dict[str, Any], Actor]:
    """A new key, and who holds it."""
    actor = maker or await daimon.actor()
    result = (await daimon.operations.keys.create_key(actor, CreateKey(**wanted))).result
    return result, await daimon.operations.credentials.authenticate(result["api_key"])


async def refused(call: Any) -> str:
    with pytest.raises(Refused) as error:
        await call
    return str(error.value.code)


async def test_a_key_that_only_answers(daimon: Daimon, agent: Agent) -> None:
    [letter] = await arrive(daimon, ROBO)
    operations = daimon.operations
    _, holder = await made(daimon, inbox=ROBO, reply_only=True)
    assert holder.permissions == REPLY_ONLY <= PERMISSIONS
    assert (await operations.messages.get_message(holder, GetMessage(message_id=letter))).result["id"] == letter
    answer = ReplyToMessage(message_id=letter, body="Thanks")
    sent = await operations.replying.reply_to_message(holder, answer)
    assert sent.result["recipients"] == ["ann@example.com"]
    for field in ("to", "cc", "bcc"):
        elsewhere = ReplyToMessage.model_validate({"message_id": letter, "body": "Thanks", field: OTHER})
        assert await refused(operations.replying.reply_to_message(holder, elsewhere)) == "FORBIDDEN"
    forward = ForwardMessage(message_id=letter, to=OTHER)
    assert await refused(operations.replying.forward_message(holder, forward)) == "FORBIDDEN"
    fresh = SendEmail(to="ann@example.com", subject="x", body="y", in_reply_to=letter)
    assert await refused(operations.sending.send_email(holder, fresh)) == "FORBIDDEN"


@pytest.mark.parametrize(
    ("maker", "wanted"),
    [
        ({"permissions": ["key_write", "message_read"]}, {"permissions": ["message_send"]}),
        ({"permissions": ["key_write", "message_read"]}, {"permissions": ["message_read", "key_read"]}),
        ({"permissions": ["key_write", "message_read"]}, {"reply_only": True}),
        ({"permissions": ["message_read"]}, {}),
        ({"inbox": ROBO}, {}),
    ],
)
async def test_a_key_gives_nothing_that_it_lacks(
    maker: dict[str, Any], wanted: dict[str, Any], daimon: Daimon, agent: Agent
) -> None:
    _, holder = await made(daimon, **maker)
    assert await refused(made(daimon, holder, **wanted)) == "FORBIDDEN"


async def test_a_key_gives_on_what_it_has_and_no_longer_than_it_lasts(daimon: Daimon, agent: Agent) -> None:
    mine, holder = await made(
        daimon, permissions=["key_write", "message_read", "message_send"], expires_at="2026-11-12T00:00:00Z"
    )
    same, theirs = await made(daimon, holder)
    assert theirs.permissions == holder.permissions
    assert same["expires_at"] == mine["expires_at"] == "2026-11-12T00:00:00Z"
    later, _ = await made(daimon, holder, expires_at="2027-01-01T00:00:00Z")
    assert later["expires_at"] == "2026-11-12T00:00:00Z"
    _, narrow = await made(daimon, holder, reply_only=True)
    assert narrow.permissions == {"message_read", "message_reply"}


@pytest.mark.parametrize(
    "wanted",
    [
        {"permissions": ["everything"]},
        {"permissions": ["every_inbox", "message_ingest"]},
        {"permissions": []},
        {"permissions": ["message_read"], "reply_only": True},
        {"expires_at": "2026-11-01T00:00:00Z"},
    ],
)
async def test_what_a_key_cannot_be(wanted: dict[str, Any], daimon: Daimon) -> None:
    assert await refused(made(daimon, **wanted)) == "INVALID_REQUEST"


async def test_a_renewed_key_and_the_old_one_work_side_by_side_for_a_while(daimon: Daimon, agent: Agent) -> None:
    operations, actor = daimon.operations, await daimon.actor()
    old, before = await made(daimon, name="worker", inbox=ROBO, permissions=["message_read"])
    new = (await operations.keys.rotate_key(actor, RotateKey(key_id=old["id"], overlap_seconds=600))).result
    assert new["replaces"] == old["id"]
    assert new["old_expires_at"] == "2026-11-10T12:10:00Z"
    after = await operations.credentials.authenticate(new["api_key"])
    assert (after.inbox_no, after.permissions) == (before.inbox_no, before.permissions)
    assert after.key_id != before.key_id
    assert (await operations.credentials.authenticate(old["api_key"])).key_id == old["id"]
    daimon.later(601)
    assert await refused(operations.credentials.authenticate(old["api_key"])) == "UNAUTHORIZED"
    assert (await operations.credentials.authenticate(new["api_key"])).key_id == new["id"]
    await until(daimon, lambda: _ended(daimon, old["id"]))


async def _ended(daimon: Daimon, key_id: str) -> bool | None:
    rows = await daimon.operations.core.database.fetch("SELECT revoked_at FROM keys WHERE id = ?", (key_id,))
    return rows[0][0] is not None or None


async def test_without_an_overlap_the_old_key_ends_at_once(daimon: Daimon) -> None:
    operations, actor = daimon.operations, await daimon.actor()
    old, _ = await made(daimon)
    await operations.keys.rotate_key(actor, RotateKey(key_id=old["id"], overlap_seconds=0))
    assert await refused(operations.credentials.authenticate(old["api_key"])) == "UNAUTHORIZED"
    again = operations.keys.rotate_key(actor, RotateKey(key_id=old["id"]))
    assert await refused(again) == "KEY_NOT_FOUND"
    listed = (await operations.keys.get_key(actor, GetKey(key_id=old["id"]))).result
    assert (listed["status"], "api_key" in listed) == ("revoked", False)


async def test_a_key_renews_none_that_may_do_more(daimon: Daimon) -> None:
    _, holder = await made(daimon, permissions=["key_write", "message_read"])
    mighty, _ = await made(daimon)
    rotate = daimon.operations.keys.rotate_key
    assert await refused(rotate(holder, RotateKey(key_id=mighty["id"]))) == "FORBIDDEN"
    equal, _ = await made(daimon, permissions=["message_read"])
    assert (await rotate(holder, RotateKey(key_id=equal["id"]))).result["permissions"] == ["message_read"]


async def test_a_wait_ends_when_its_key_is_revoked(daimon: Daimon, agent: Agent) -> None:
    key, holder = await made(daimon, inbox=ROBO)
    waiting = anyio.Event()
    codes: list[str] = []

    async def wait() -> None:
        request = WaitForMessage(timeout_seconds=60)
        waiting.set()
        codes.append(await refused(daimon.operations.waiting.wait_for_message(holder, request)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await waiting.wait()
        await daimon.operations.keys.revoke_key(await daimon.actor(), RevokeKey(key_id=key["id"]))
    assert codes == ["UNAUTHORIZED"]


async def test_nobody_waits_with_a_key_that_was_revoked_a_moment_ago(daimon: Daimon, agent: Agent) -> None:
    key, holder = await made(daimon, inbox=ROBO)
    await daimon.operations.keys.revoke_key(await daimon.actor(), RevokeKey(key_id=key["id"]))
    request = WaitForMessage(timeout_seconds=60)
    assert await refused(daimon.operations.waiting.wait_for_message(holder, request)) == "UNAUTHORIZED"


async def test_keys_of_another_account_are_not_there(daimon: Daimon) -> None:
    key, _ = await made(daimon)
    stranger = Actor((await daimon.actor()).account_no + 1000, "acc_stranger")
    keys = daimon.operations.keys
    for call in (
        keys.get_key(stranger, GetKey(key_id=key["id"])),
        keys.revoke_key(stranger, RevokeKey(key_id=key["id"])),
        keys.rotate_key(stranger, RotateKey(key_id=key["id"])),
    ):
        assert await refused(call) == "KEY_NOT_FOUND"


async def test_the_tools_of_keys(daimon: Daimon, agent: Agent) -> None:
    made = await agent.do("create_key", name="worker", reply_only=True)
    assert made["api_key"].startswith("dm_")
    renewed = await agent.do("rotate_key", key_id=made["id"], overlap_seconds=0)
    await agent.do("revoke_key", key_id=renewed["id"])
    listed = (await agent.do("list_keys"))["keys"]
    assert [each["status"] for each in listed if each["name"] == "worker"] == ["revoked", "revoked"]
    assert made["api_key"] not in str(listed)
