"""The operator's hands on the queue, and the list of addresses that are not written to again."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import ROBO, arrive, becomes, delivered_to, until
from tests.support.sink import Sink
from tests.support.submission import submit

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.queueing import Selection
from daimon_mcp.store.consistency import findings

NOTE: dict[str, Any] = {"inbox": ROBO, "subject": "Note", "body": "x"}
ANN, BEN, GONE = "ann@far.example", "ben@other.example", "Gone@far.example"
EVERYTHING = Selection()


async def put_off(daimon: Daimon, agent: Agent, sink: Sink, *recipients: str) -> dict[str, Any]:
    """A mail whose recipients all wait for their second try."""
    sink.answer("RCPT", "451 4.7.1 Later", times=len(recipients))
    sent = await agent.do("send_email", **NOTE, to=list(recipients))

    async def look() -> bool | None:
        rows = await daimon.operations.core.database.fetch(
            "SELECT 1 FROM deliveries d JOIN queue q ON q.no = d.queue_no JOIN messages m ON m.seq = q.message_seq"
            " WHERE m.id = ? AND d.lease_until IS NULL AND d.attempts = 1",
            [sent["id"]],
        )
        return True if len(rows) == len(recipients) else None

    await until(daimon, look)
    return sent


async def events(daimon: Daimon, message_id: str) -> list[str]:
    rows = await daimon.operations.core.database.fetch(
        "SELECT type FROM events WHERE payload_json LIKE ? ORDER BY seq", [f"%{message_id}%"]
    )
    return [row[0] for row in rows]


async def status(agent: Agent, message_id: str) -> tuple[str, dict[str, str]]:
    message = await agent.do("get_message", message_id=message_id)
    return message["delivery_status"], {each["recipient"]: each["status"] for each in message["deliveries"]}


async def sound(daimon: Daimon) -> bool:
    return await findings(daimon.operations.core.database) == []


async def test_what_waits_is_listed_with_what_the_other_server_said(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await put_off(daimon, agent, sink, ANN, BEN)
    queueing = daimon.operations.queueing
    [ann, ben] = await queueing.list_queue(EVERYTHING)
    assert (ann["to"], ann["state"], ann["attempts"], ann["from"]) == (ANN, "queued", 1, ROBO)
    assert (ann["message_id"], ann["subject"], ann["last_reply"]) == (sent["id"], "Note", "451 4.7.1 Later")
    assert ann["remote"] == f"127.0.0.1:{sink.port}"
    assert ann["queued_at"] < ann["next_attempt_at"] < ann["given_up_at"]
    for selection, found in (
        (Selection(id=ben["id"]), [BEN]),
        (Selection(message_id=sent["id"]), [ANN, BEN]),
        (Selection(domain="OTHER.example"), [BEN]),
        (Selection(state="held"), []),
        (Selection(id="dlv_none"), []),
    ):
        assert [each["to"] for each in await queueing.list_queue(selection)] == found
    assert [each["to"] for each in await queueing.list_queue(EVERYTHING, limit=1)] == [ANN]
    assert [each["to"] for each in await queueing.list_queue(EVERYTHING, limit=1, after=ann["no"])] == [BEN]


async def test_what_is_held_stays_until_it_is_released(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await put_off(daimon, agent, sink, ANN, BEN)
    queueing = daimon.operations.queueing
    assert await queueing.hold(Selection(domain="far.example")) == 1
    assert await status(agent, sent["id"]) == ("queued", {ANN: "held", BEN: "queued"})
    assert await queueing.hold(EVERYTHING) == 1
    assert await status(agent, sent["id"]) == ("held", {ANN: "held", BEN: "held"})
    assert await queueing.retry(EVERYTHING) == 0
    assert await sound(daimon)
    daimon.later(24 * 3600)
    other = await agent.do("send_email", **NOTE, to="cat@third.example")
    await becomes(daimon, agent, other["id"], "sent")
    assert [stored.recipients for stored in sink.messages] == [["cat@third.example"]]
    assert [each["next_attempt_at"] for each in await queueing.list_queue(EVERYTHING)] == [None, None]
    assert await queueing.release(EVERYTHING) == 2
    await becomes(daimon, agent, sent["id"], "sent")
    assert await events(daimon, sent["id"]) == ["message.sent"]
    assert (await queueing.release(EVERYTHING), await queueing.list_queue(EVERYTHING)) == (0, [])


async def test_a_retry_does_not_wait_for_its_time(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await put_off(daimon, agent, sink, ANN, BEN)
    [ann, _] = await daimon.operations.queueing.list_queue(EVERYTHING)
    assert await daimon.operations.queueing.retry(Selection(id=ann["id"])) == 1

    async def look() -> bool | None:
        return True if (await status(agent, sent["id"]))[1][ANN] == "sent" else None

    await until(daimon, look)
    assert await status(agent, sent["id"]) == ("queued", {ANN: "sent", BEN: "queued"})


async def test_what_is_cancelled_never_leaves_and_its_message_says_so(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await put_off(daimon, agent, sink, ANN, BEN)
    queueing = daimon.operations.queueing
    assert await queueing.hold(Selection(domain="far.example")) == 1
    assert await queueing.cancel(Selection(message_id=sent["id"])) == 2
    assert await status(agent, sent["id"]) == ("cancelled", {ANN: "cancelled", BEN: "cancelled"})
    assert await events(daimon, sent["id"]) == ["message.failed"]
    assert await sound(daimon)
    daimon.later(7 * 24 * 3600)
    other = await agent.do("send_email", **NOTE, to="cat@third.example")
    await becomes(daimon, agent, other["id"], "sent")
    assert len(sink.messages) == 1
    assert await queueing.cancel(EVERYTHING) == 0
    assert await delivered_to(agent, ROBO) == []  # the operator knows why


async def test_one_recipient_less_and_the_others_go(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await put_off(daimon, agent, sink, ANN, BEN)
    assert await daimon.operations.queueing.cancel(Selection(domain="other.example")) == 1
    assert (await status(agent, sent["id"]))[0] == "queued"
    assert await daimon.operations.queueing.retry(EVERYTHING) == 1
    await becomes(daimon, agent, sent["id"], "sent")
    assert [stored.recipients for stored in sink.messages] == [[ANN]]
    assert await events(daimon, sent["id"]) == ["message.sent"]


async def test_what_is_being_sent_is_in_nobodys_hands_but_the_workers(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    gate = sink.hold("content")
    sent = await agent.do("send_email", **NOTE, to=ANN)
    await gate.reached()
    queueing = daimon.operations.queueing
    verbs = (queueing.hold, queueing.retry, queueing.cancel)
    assert [await verb(EVERYTHING) for verb in verbs] == [0, 0, 0]
    gate.open()
    await becomes(daimon, agent, sent["id"], "sent")
    assert len(sink.messages) == 1


async def test_more_than_a_page_is_moved_at_once(
    daimon: Daimon, agent: Agent, monkeypatch: pytest.MonkeyPatch, sink: Sink
) -> None:
    monkeypatch.setattr("daimon_mcp.operations.queueing.PAGE", 2)
    await put_off(daimon, agent, sink, *(f"p{number}@far.example" for number in range(5)))
    queueing = daimon.operations.queueing
    assert [await verb(EVERYTHING) for verb in (queueing.hold, queueing.release)] == [5, 5]


# -- suppressions ------------------------------------------------------------------------------------------------------


async def test_who_is_not_there_is_not_written_to_again_until_somebody_says_so(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    sink.answer("RCPT", "550 5.1.1 No such user", match=GONE, times=1)
    sent = await agent.do("send_email", **NOTE, to=[GONE, ANN])
    await becomes(daimon, agent, sent["id"], "bounced")
    [entry] = (await agent.do("list_suppressions"))["suppressions"]
    assert entry == {
        "address": "gone@far.example", "why": "bounced", "reply": "550 5.1.1 No such user", "message_id": sent["id"],
        "since": "2026-11-10T12:00:00Z",
    }  # fmt: skip
    for address in ("gone@far.example", GONE, "gone@FAR.example"):
        refused = await agent.call("send_email", **{**NOTE, "subject": "Once more"}, to=[address, ANN])
        assert (refused.error, refused.envelope["code"]) == ("RECIPIENT_REFUSED", "SUPPRESSED")
        assert [each.lower() for each in refused.envelope["refused_recipients"]] == ["gone@far.example"]
    with pytest.raises(Refused) as error:
        await submit(daimon, GONE)
    assert (error.value.code, error.value.reason) == (RefusalCode.RECIPIENT_REFUSED, "SUPPRESSED")
    assert len(sink.messages) == 1
    assert (await agent.do("remove_suppression", address=" GONE@far.example"))["address"] == "gone@far.example"
    assert (await agent.do("list_suppressions"))["suppressions"] == []
    again = await agent.do("send_email", **{**NOTE, "subject": "Again"}, to=GONE)
    await becomes(daimon, agent, again["id"], "sent")
    assert (await agent.call("remove_suppression", address=GONE)).error == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "reply", ["550 5.7.1 You are not welcome", "552 5.2.2 Mailbox full", "550 Whatever", "451 4.1.1 Later"]
)
async def test_other_refusals_suppress_nobody(daimon: Daimon, agent: Agent, sink: Sink, reply: str) -> None:
    sink.answer("RCPT", reply, times=1)
    sent = await agent.do("send_email", **NOTE, to=ANN)
    await becomes(daimon, agent, sent["id"], "queued" if reply.startswith("4") else "bounced")
    assert (await agent.do("list_suppressions"))["suppressions"] == []


async def test_the_list_comes_in_pages_that_show_no_address(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "550 5.1.1 No such user")
    sent = await agent.do("send_email", **NOTE, to=[f"p{number}@far.example" for number in range(5)])
    await becomes(daimon, agent, sent["id"], "bounced")
    cursor, found = None, list[str]()
    while True:
        page = await agent.do("list_suppressions", limit=2, **({"cursor": cursor} if cursor else {}))
        found += [each["address"] for each in page["suppressions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert "far" not in cursor
    assert found == [f"p{number}@far.example" for number in range(5)]
    assert (await agent.call("list_suppressions", cursor="%%%")).error == "INVALID_REQUEST"
    await arrive(daimon, ROBO, mail_from="p1@far.example")  # who cannot be written to may write
    assert len(await delivered_to(agent, ROBO)) == 2
