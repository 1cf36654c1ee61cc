"""What the bridge keeps of a session, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daimon_mcp.shim import Ledger

Message = dict[str, Any]


def line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode()


def methods(lines: bytes) -> list[str]:
    return [json.loads(each).get("method") for each in lines.splitlines()]


class Wire:
    """A ledger, with the bytes counted as the bridge counts them."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.end = 0

    def client(self, **message: Any) -> None:
        text = line(**message)
        self.end += len(text) + 1
        self.ledger.from_client(text, self.end)

    def call(self, request_id: int | str, name: str, **arguments: Any) -> None:
        self.client(id=request_id, method="tools/call", params={"name": name, "arguments": arguments})


def test_a_call_that_never_left_is_sent_to_the_next_owner() -> None:
    wire = Wire()
    wire.call(1, "send")
    left = wire.end
    wire.call(2, "send")
    to_owner, to_client = wire.ledger.lost(sent=left, base=0)
    assert [json.loads(each)["id"] for each in to_client.splitlines()] == [1]
    assert [json.loads(each)["id"] for each in to_owner.splitlines()] == [2]
    # Half a line left: the lost owner cannot have made that call.
    to_owner, to_client = wire.ledger.lost(sent=len(to_owner) - 1, base=0)
    assert [json.loads(each)["id"] for each in to_owner.splitlines()] == [2]
    assert to_client == b""
    # Now all of it did.
    to_owner, to_client = wire.ledger.lost(sent=len(to_owner), base=0)
    assert (to_owner, json.loads(to_client)["id"]) == (b"", 2)


def test_offsets_of_the_next_connection_begin_after_its_hello() -> None:
    wire = Wire()
    wire.call(1, "send")
    to_owner, _ = wire.ledger.lost(sent=0, base=100)
    _, to_client = wire.ledger.lost(sent=100 + len(to_owner) - 1, base=100)
    assert to_client == b""
    _, to_client = wire.ledger.lost(sent=100 + len(to_owner), base=100)
    assert json.loads(to_client)["id"] == 1


@pytest.mark.parametrize("request_id", [0, 7, -7, 10**30, "", "7", "a,b", 'quo"ted', "back\\slash", "ü", "\ud800"])
@pytest.mark.parametrize("outcome", ["result", "error"])
def test_any_id_is_settled_by_its_answer(request_id: int | str, outcome: str) -> None:
    wire = Wire()
    wire.client(id=request_id, method="tools/list")
    assert wire.ledger.waiting()
    assert wire.ledger.from_owner(line(id=request_id, **{outcome: {}}))
    assert not wire.ledger.waiting()
    assert wire.ledger.unanswered_bytes == 0


def test_an_id_that_is_a_number_is_not_one_that_is_text() -> None:
    wire = Wire()
    wire.client(id=7, method="tools/list")
    assert wire.ledger.from_owner(line(id="7", result={}))
    assert wire.ledger.waiting()


def test_an_answer_in_any_order_of_fields_counts() -> None:
    wire = Wire()
    wire.client(id=7, method="tools/list")
    assert wire.ledger.from_owner(b'{ "result": {}, "id": 7, "jsonrpc": "2.0" }')
    assert not wire.ledger.waiting()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"[" * 100_000,
        b"[]",
        b'[{"jsonrpc":"2.0","id":1,"method":"x"}]',
        b'{"id":{},"method":"x"}',
        b'{"id":true,"method":"x"}',
        b'{"id":null,"method":"x"}',
        b'{"id":1,"method":7}',
        b'{"id":1}',
        b'{"method":"notifications/cancelled","params":[]}',
        b'{"method":"notifications/cancelled","params":{"requestId":{}}}',
        b"\xff\xfe",
    ],
)
def test_what_cannot_be_followed_is_let_pass(text: bytes) -> None:
    ledger = Ledger()
    ledger.from_client(text, len(text) + 1)
    assert ledger.from_owner(text)
    assert not ledger.waiting()
    assert ledger.lost(sent=1000, base=0)[0] == b""


@pytest.mark.parametrize("params", [None, [], {}, {"name": 7}, {"name": "read", "arguments": []}])
def test_calls_with_strange_parameters_are_not_repeated_by_accident(params: object) -> None:
    wire = Wire()
    wire.ledger.repeatable = frozenset({"write"})
    wire.client(id=1, method="tools/call", params=params)
    to_owner, to_client = wire.ledger.lost(sent=wire.end, base=0)
    assert to_owner == b""
    assert json.loads(to_client)["error"]["code"] == -32000


def test_two_losses_are_survived_by_a_request_and_three_are_not() -> None:
    wire = Wire()
    wire.call(1, "send", client_id="abc")
    end = wire.end
    for _ in range(2):
        to_owner, to_client = wire.ledger.lost(sent=end, base=0)
        assert to_client == b""
        end = len(to_owner)
    to_owner, to_client = wire.ledger.lost(sent=end, base=0)
    assert to_owner == b""
    assert "the same client_id" in json.loads(to_client)["error"]["message"]
    assert wire.ledger.unanswered_bytes == 0


def test_the_handshake_is_replayed_before_everything_else() -> None:
    wire = Wire()
    wire.client(id=0, method="initialize", params={"protocolVersion": "2025-06-18"})
    assert wire.ledger.from_owner(line(id=0, result={}))
    wire.client(method="notifications/initialized")
    wire.client(id=1, method="resources/subscribe", params={"uri": "a://b"})
    wire.ledger.from_owner(line(id=1, result={}))
    wire.client(id=2, method="tools/list")
    to_owner, _ = wire.ledger.lost(sent=wire.end, base=0)
    assert methods(to_owner) == ["initialize", "notifications/initialized", "resources/subscribe", "tools/list"]
    ids = [json.loads(each).get("id") for each in to_owner.splitlines()]
    # The replay's answers are the bridge's, the client's are the client's.
    assert [wire.ledger.from_owner(line(id=each, result={})) for each in ids if each is not None] == [
        False,
        False,
        True,
    ]


def test_a_client_may_use_ids_that_look_like_the_bridges() -> None:
    wire = Wire()
    wire.client(id="daimon-replay-1", method="tools/list")
    assert wire.ledger.from_owner(line(id="daimon-replay-1", result={}))


def test_replays_that_a_second_loss_left_open_are_forgotten() -> None:
    wire = Wire()
    wire.client(id=0, method="initialize", params={})
    wire.ledger.from_owner(line(id=0, result={}))
    wire.ledger.lost(sent=wire.end, base=0)
    wire.ledger.lost(sent=0, base=0)
    assert not wire.ledger.from_owner(line(id="daimon-replay-1", result={}))
    assert wire.ledger.from_owner(line(id="daimon-replay-1", result={}))


def test_a_handshake_without_answer_is_sent_again_as_it_was() -> None:
    wire = Wire()
    wire.client(id=0, method="initialize", params={})
    to_owner, _ = wire.ledger.lost(sent=wire.end, base=0)
    assert to_owner == line(id=0, method="initialize", params={}) + b"\n"
    assert wire.ledger.from_owner(line(id=0, result={}))


def test_a_subscription_of_2026_waits_without_being_waited_for() -> None:
    wire = Wire()
    wire.client(id=1, method="subscriptions/listen", params={})
    assert not wire.ledger.waiting()
    to_owner, to_client = wire.ledger.lost(sent=wire.end, base=0)
    assert (methods(to_owner), to_client) == (["subscriptions/listen"], b"")


def test_answers_to_a_lost_owners_questions_are_kept_back() -> None:
    wire = Wire()
    assert wire.ledger.from_owner(line(id=1, method="elicitation/create", params={}))
    assert wire.ledger.from_owner(line(id=2, method="elicitation/create", params={}))
    wire.client(id=2, result={})
    _, to_client = wire.ledger.lost(sent=wire.end, base=0)
    assert [json.loads(each)["params"]["requestId"] for each in to_client.splitlines()] == [1]
    stays = line(id=1, method="tools/list") + b"\n" + line(id=2, result={}) + b"\n"
    goes = line(id=1, result={}) + b"\n"
    assert wire.ledger.without_moot(goes + stays) == stays
    assert not wire.ledger.moot
