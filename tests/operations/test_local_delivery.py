"""Mail that does not leave this server, and mail that comes in: who gets a copy, once, and who is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import OTHER, PEER, ROBO, arrive, clock_at, delivered_to, eml

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.envelopes import Envelope
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.messages import GetMessage, ListMessages
from daimon_mcp.store import accounts
from daimon_mcp.store import compiled as sql

WORDS = {"subject": "Hi", "body": "Text"}


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    clock = clock_at("2026-11-10T12:00:00Z")
    async with running(tmp_path / "data", {"mail": {"domains": ["second.test"]}}, workers=True, clock=clock) as made:
        await made.upgrade()
        yield made


async def operators_mail(daimon: Daimon) -> list[dict[str, Any]]:
    database = daimon.operations.core.database
    row = await database.one(sql.meta_get, key=accounts.OPERATOR_ACCOUNT)
    if row is None:
        return []
    found = await daimon.operations.messages.list_messages(Actor(int(row[0]), "acc_operator"), ListMessages())
    return found.result["messages"]


async def test_an_unknown_name_here_is_refused_and_nothing_is_kept(agent: Agent) -> None:
    answer = await agent.call("send_email", inbox=ROBO, to=[OTHER, "no@agents.localhost", "no@second.test"], **WORDS)
    assert answer.error == "RECIPIENT_REFUSED"
    assert answer.envelope["code"] == "NO_SUCH_INBOX"
    assert answer.envelope["refused_recipients"] == ["no@agents.localhost", "no@second.test"]
    assert await delivered_to(agent, OTHER) == []
    assert (await agent.do("list_messages", inbox=ROBO))["messages"] == []
    assert (await agent.do("get_account"))["sends_today"] == 0
    parked = await agent.call("send_email", inbox=ROBO, to="no@agents.localhost", **WORDS, park=True)
    assert parked.error == "RECIPIENT_REFUSED"


async def test_a_mail_to_oneself_is_sent_and_received_in_one_thread(agent: Agent) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to=ROBO, **WORDS)
    assert sent["status"] == "delivered"
    [copy] = await delivered_to(agent, ROBO)
    assert copy["thread_id"] == sent["thread_id"]
    assert copy["id"] != sent["id"]
    assert (copy["read"], copy["message_id"]) == (False, sent["message_id"])
    thread = (await agent.do("get_thread", thread_id=sent["thread_id"]))["thread"]
    assert (thread["message_count"], thread["unread_count"]) == (2, 1)


async def test_a_tag_reaches_its_inbox_and_is_kept(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", inbox=ROBO, to=["Other+Ticket-7@agents.localhost", OTHER], **WORDS)
    assert len(sent["recipients"]) == 2
    [copy] = await delivered_to(agent, OTHER)  # one inbox, one copy
    assert copy["tag"] == "ticket-7"
    assert (await agent.do("get_message", message_id=sent["id"]))["delivery_status"] == "delivered"
    await arrive(daimon, "OTHER+x@Agents.Localhost")
    assert (await delivered_to(agent, OTHER))[-1]["tag"] == "x"
    assert (await agent.do("get_inbox", inbox="other+any@agents.localhost"))["address"] == OTHER


async def test_a_second_domain_is_ours_too(agent: Agent) -> None:
    await agent.do("create_inbox", username="robo", domain="second.test")
    await agent.do("send_email", inbox=ROBO, to="robo@second.test", **WORDS)
    assert len(await delivered_to(agent, "robo@second.test")) == 1
    assert await delivered_to(agent, ROBO) == []


@pytest.mark.parametrize(
    "address", ["postmaster@agents.localhost", "abuse@second.test", "Postmaster+x@agents.localhost", "postmaster"]
)
async def test_role_addresses_reach_the_operator_from_outside(daimon: Daimon, agent: Agent, address: str) -> None:
    await daimon.operations.receiving.check_recipient(address)
    await arrive(daimon, address, subject="Complaint")
    await arrive(daimon, address, ROBO, subject="Both")
    assert [each["subject"] for each in await operators_mail(daimon)] == ["Both", "Complaint"]
    assert [each["subject"] for each in await delivered_to(agent, ROBO)] == ["Both"]


async def test_role_addresses_reach_the_operator_from_agents_and_stay_out_of_their_sight(
    daimon: Daimon, agent: Agent
) -> None:
    sent = await agent.do(
        "send_email", inbox=ROBO, to=["abuse@agents.localhost", "postmaster@agents.localhost"], **WORDS
    )
    assert sent["status"] == "delivered"
    [complaint] = await operators_mail(daimon)
    assert (await agent.call("get_message", message_id=complaint["id"])).error == "MESSAGE_NOT_FOUND"
    assert (await agent.call("get_inbox", inbox="postmaster@agents.localhost")).error == "INBOX_NOT_FOUND"
    for name in ("postmaster", "abuse"):
        assert (await agent.call("create_inbox", username=name)).error == "INVALID_REQUEST"


async def test_one_letter_to_several_inboxes_is_one_copy_each(daimon: Daimon, agent: Agent) -> None:
    copies = await arrive(daimon, ROBO, OTHER, "robo+a@agents.localhost", ROBO.upper(), "gone@agents.localhost")
    assert len(set(copies)) == 2
    for inbox in (ROBO, OTHER):
        assert len(await delivered_to(agent, inbox)) == 1


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("gone@agents.localhost", RefusalCode.INBOX_NOT_FOUND),
        ("+x@agents.localhost", RefusalCode.INBOX_NOT_FOUND),
        ("@agents.localhost", RefusalCode.INBOX_NOT_FOUND),
        ("ann@example.com", RefusalCode.RECIPIENT_REFUSED),
        ("robo@agents.localhost@example.com", RefusalCode.RECIPIENT_REFUSED),
        ("robo%agents.localhost@example.com", RefusalCode.RECIPIENT_REFUSED),
        ("robo@sub.agents.localhost", RefusalCode.RECIPIENT_REFUSED),
    ],
)
async def test_who_is_not_here_is_refused_at_the_door(daimon: Daimon, address: str, code: RefusalCode) -> None:
    with pytest.raises(Refused) as refused:
        await daimon.operations.receiving.check_recipient(address)
    assert refused.value.code is code


async def test_an_inbox_that_goes_between_the_door_and_the_letter(daimon: Daimon, agent: Agent) -> None:
    await daimon.operations.receiving.check_recipient(OTHER)
    await agent.do("delete_inbox", inbox=OTHER)
    assert len(await arrive(daimon, OTHER, ROBO)) == 2  # one lies with the mail of the deleted inbox
    with pytest.raises(Refused, match="INBOX_NOT_FOUND"):
        await arrive(daimon, "never-there@agents.localhost")


async def test_a_letter_that_goes_round_is_stopped(daimon: Daimon, agent: Agent) -> None:
    def letter(hops: int) -> bytes:
        return b"Received: from a by b; Sat, 21 Nov 2026 09:00:00 +0000\r\n" * hops + eml()

    with pytest.raises(Refused) as refused:
        await arrive(daimon, ROBO, content=letter(50))
    assert (refused.value.code, refused.value.reason) == (RefusalCode.RECIPIENT_REFUSED, "MAIL_LOOP")
    await arrive(daimon, ROBO, content=letter(49))
    assert len(await delivered_to(agent, ROBO)) == 1


async def test_what_came_in_says_how_and_carries_no_envelope_of_others(daimon: Daimon, agent: Agent) -> None:
    copies = await daimon.operations.receiving.receive(
        Envelope("bounces@example.com", (ROBO, OTHER)), PEER, eml(headers={"Bcc": "secret@example.com"})
    )
    actor = await daimon.actor()
    shown = await daimon.operations.messages.get_message(actor, GetMessage(message_id=copies[0], include=["headers"]))
    headers = shown.result["headers"]
    assert headers["return-path"] == "<bounces@example.com>"
    assert "127.0.0.1" in headers["received"]
    assert OTHER not in headers["received"]
    assert "bcc_addresses" not in shown.result


async def test_deleting_an_inbox_gives_back_what_was_scheduled_and_frees_the_rest(daimon: Daimon, agent: Agent) -> None:
    await agent.do("create_inbox", username="third", client_id="t")
    third = "third@agents.localhost"
    at = "2026-11-10T13:00:00Z"
    scheduled = await agent.do("send_email", inbox=third, to=[OTHER, ROBO], **WORDS, send_at=at)
    draft = await agent.do("create_draft", inbox=third, to=OTHER, **WORDS, send_at=at)
    kept = await agent.do("create_draft", inbox=third, to=OTHER, **WORDS)
    letter = (await arrive(daimon, third))[0]
    assert (await agent.do("get_account"))["sends_today"] == 3
    gone = await agent.do("delete_inbox", inbox=third)
    assert gone["status"] == "deleted"
    assert (await agent.do("get_account"))["sends_today"] == 0
    daimon.later(3601)
    assert await daimon.operations.releasing.release_due() == 0
    assert await delivered_to(agent, OTHER) == []
    for tool, arguments, code in (
        ("get_inbox", {"inbox": third}, "INBOX_NOT_FOUND"),
        ("delete_inbox", {"inbox": third}, "INBOX_NOT_FOUND"),
        ("list_messages", {"inbox": third}, "INBOX_NOT_FOUND"),
        ("get_message", {"message_id": letter}, "MESSAGE_NOT_FOUND"),
        ("get_message", {"message_id": scheduled["id"]}, "MESSAGE_NOT_FOUND"),
        ("get_thread", {"thread_id": scheduled["thread_id"]}, "THREAD_NOT_FOUND"),
        ("cancel_scheduled", {"message_id": scheduled["id"]}, "SCHEDULED_NOT_FOUND"),
        ("get_draft", {"draft_id": draft["id"]}, "DRAFT_NOT_FOUND"),
        ("send_draft", {"draft_id": kept["id"]}, "DRAFT_NOT_FOUND"),
        ("send_email", {"inbox": third, "to": OTHER, **WORDS}, "INBOX_NOT_FOUND"),
        ("create_inbox", {"username": "third", "client_id": "t"}, "IDEMPOTENCY_CONFLICT"),
        ("create_inbox", {"username": "third"}, "INBOX_ADDRESS_TAKEN"),
        ("send_email", {"inbox": ROBO, "to": third, **WORDS}, "RECIPIENT_REFUSED"),
    ):
        assert (await agent.call(tool, **arguments)).error == code, tool
    daimon.later(91 * 24 * 3600)
    again = await agent.do("create_inbox", username="third")
    assert again["message_count"] == 0
    assert (await agent.do("list_messages", inbox=third))["messages"] == []
