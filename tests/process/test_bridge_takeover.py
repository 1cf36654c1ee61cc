"""What a client notices when its owner is killed: nothing, unless a call was lost."""

from __future__ import annotations

from tests.process.conftest import Start
from tests.process.kit import Folder, Message, eventually


def tool(name: str, **arguments: object) -> Message:
    return {"name": name, "arguments": arguments}


async def test_an_idle_clients_next_call_is_answered_by_a_new_owner(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    assert (await client.call("echo", {"n": 1}))["result"] == {"n": 1}
    folder.kill_owner()
    assert (await client.call("echo", {"n": 2}))["result"] == {"n": 2}
    assert await client.close() == 0
    assert await client.complaints() == ""


async def test_the_old_handshake_is_repeated_and_its_answer_kept_from_the_client(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    await client.handshake()
    await client.call("resources/subscribe", {"uri": "inbox://one"})
    await client.call("resources/subscribe", {"uri": "inbox://two"})
    await client.call("resources/unsubscribe", {"uri": "inbox://one"})
    folder.kill_owner()
    answer = await client.call("echo", {"n": 1})  # no other message comes before
    assert answer["result"] == {"n": 1}
    told = folder.received(folder.owner_pid())
    assert [message["method"] for message in told] == [
        "initialize",
        "notifications/initialized",
        "resources/subscribe",
        "echo",
    ]
    assert told[0]["params"] == {"protocolVersion": "2025-11-25"}
    assert told[2]["params"] == {"uri": "inbox://two"}


async def test_a_handshake_in_flight_is_answered_once(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    initialize = await client.request("initialize", {"hold": True})
    await eventually(lambda: len(folder.received()) == 1)
    folder.kill_owner()
    folder.go()
    assert (await client.receive())["id"] == initialize
    await client.send({"method": "notifications/initialized"})
    assert "result" in await client.call("echo")


async def test_only_a_call_that_may_not_run_twice_is_lost(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    read = await client.request("tools/call", tool("read", hold=True))
    marked = await client.request("tools/call", tool("write", hold=True, client_id="abc"))
    lost = await client.request("tools/call", tool("write", hold=True))
    unmarked = await client.request("tools/call", tool("write", hold=True, client_id=""))
    listening = await client.request("subscriptions/listen", {"hold": True})
    await eventually(lambda: len(folder.received()) == 5)
    folder.kill_owner()
    for request_id in (lost, unmarked):
        answer = await client.receive()
        assert answer["id"] == request_id
        assert answer["error"]["code"] == -32000
        assert "outcome is unknown" in answer["error"]["message"]
    folder.go()
    answers = [await client.receive() for _ in range(3)]
    assert sorted(answer["id"] for answer in answers) == [read, marked, listening]
    assert all("result" in answer for answer in answers)


async def test_a_cancelled_call_is_not_made_again(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    cancelled = await client.request("tools/call", tool("read", hold=True))
    await client.send({"method": "notifications/cancelled", "params": {"requestId": cancelled}})
    await eventually(lambda: len(folder.received()) == 2)
    folder.kill_owner()
    assert "result" in await client.call("echo")
    assert [message["method"] for message in folder.received(folder.owner_pid())] == ["echo"]


async def test_a_request_that_kills_every_owner_is_given_up(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    answer = await client.call("die")
    assert answer["error"]["code"] == -32000
    assert [message["method"] for message in folder.received()] == ["die", "die", "die"]
    assert "result" in await client.call("echo")


async def test_a_session_that_breaks_is_begun_again_with_the_same_owner(bridge: Start, folder: Folder) -> None:
    client, other = await bridge(), await bridge()
    await other.call("echo")
    pid = folder.owner_pid()
    answer = await client.call("crash")
    assert answer["error"]["code"] == -32000
    assert (await client.call("where"))["result"]["pid"] == pid
    assert "result" in await other.call("echo")
    assert (folder.path / "owner.log").read_text().count("RuntimeError: a bug in the session") == 3


async def test_half_an_answer_never_reaches_the_client(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    answer = await client.call("half")
    assert set(answer) == {"jsonrpc", "id", "error"}


async def test_a_question_of_a_lost_owner_is_withdrawn(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    asking = await client.request("ask")
    assert (await client.receive())["method"] == "elicitation/create"
    first = folder.kill_owner()
    withdrawn = await client.receive()
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == 1
    # The request is made again, so the question is too, and it is this one's answer that counts.
    assert (await client.receive())["method"] == "elicitation/create"
    await client.send({"id": 1, "result": "yes"})
    assert (await client.receive()) == {"jsonrpc": "2.0", "id": asking, "result": {"answer": "yes"}}
    assert folder.owner_pid() != first


async def test_an_answer_to_a_lost_owners_question_goes_nowhere(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    asking = await client.request("ask")
    assert (await client.receive())["method"] == "elicitation/create"
    await client.send({"method": "notifications/cancelled", "params": {"requestId": asking}})
    await eventually(lambda: len(folder.received()) == 2)
    folder.kill_owner()
    assert (await client.receive())["method"] == "notifications/cancelled"
    await client.send({"id": 1, "result": "too late"})
    assert "result" in await client.call("echo")
    assert [message.get("method") for message in folder.received(folder.owner_pid())] == ["echo"]


async def test_every_kill_is_survived(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    await client.handshake()
    for n in range(4):
        assert (await client.call("echo", {"n": n}))["result"] == {"n": n}
        folder.kill_owner()
    assert "result" in await client.call("echo")
