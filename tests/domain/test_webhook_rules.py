"""Signatures that others verify, addresses that may be called, and the retry schedule."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time

import orjson
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from daimon_mcp.domain.clock import HOUR, MINUTE, SECOND
from daimon_mcp.domain.events import (
    EVENTS,
    MOST_BYTES,
    canonical_event,
    event_of_status,
    fitted,
    near_event,
    packed_names,
    unpacked_names,
    wire_event,
)
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.domain.webhooks import back_off, bad_url, may_call, new_secret, pause_after, signature_headers

BODY = b'{"event":"message.received","event_id":"evt_1"}'


def signed(secret: str, at: float | None = None, body: bytes = BODY) -> dict[str, str]:
    return signature_headers([secret], "evt_1", int(time.time() if at is None else at), body)


def test_the_library_of_standard_webhooks_accepts_our_signature() -> None:
    secret = new_secret()
    assert Webhook(secret).verify(BODY, signed(secret))["event_id"] == "evt_1"


def test_plain_hmac_of_the_raw_body_is_our_other_signature() -> None:
    secret = new_secret()
    wanted = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    assert signed(secret)["X-Daimon-Signature"] == f"sha256={wanted}"


@pytest.mark.parametrize("case", ["tampered", "other_secret", "replayed_late", "from_the_future", "other_id"])
def test_the_library_refuses_what_is_not_ours_or_old(case: str) -> None:
    secret = new_secret()
    at = time.time() + {"replayed_late": -301, "from_the_future": 400}.get(case, 0)
    headers = signed(secret, at)
    if case == "other_id":
        headers["webhook-id"] = "evt_2"
    body = BODY.replace(b"evt_1", b"evt_9") if case == "tampered" else BODY
    verifier = Webhook(new_secret() if case == "other_secret" else secret)
    with pytest.raises(WebhookVerificationError):
        verifier.verify(body, headers)


def test_two_secrets_sign_while_they_overlap() -> None:
    new, old = new_secret(), new_secret()
    headers = signature_headers([new, old], "evt_1", int(time.time()), BODY)
    for secret in (new, old):
        Webhook(secret).verify(BODY, headers)
    assert headers["X-Daimon-Signature"] == signed(new)["X-Daimon-Signature"]
    assert headers["X-Daimon-Signature-Previous"] == signed(old)["X-Daimon-Signature"]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "https://example.com:8443/a?b=c",
        "https://xn--bcher-kva.example/hook",
        "https://93.184.216.34/hook",
        "https://[2606:4700::1111]/hook",
        "http://localhost:3000/hook",
        "http://127.0.0.1:3000/hook",
        "http://[::1]:3000/",
        "https://app.localhost/hook",
    ],
)
def test_urls_that_may_be_called(url: str) -> None:
    assert bad_url(url, loopback=True, private=False) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com/",
        "example.com/hook",
        "https:///hook",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://[fd00:ec2::254]/",
        "https://[::ffff:10.0.0.1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://[fe80::1%25eth0]/",
        "http://127.0.0.1.example.com/",
        "https://" + "a" * 2100 + ".example/",
        "https://bücher.example/",
    ],
)
def test_urls_that_may_not_be_called(url: str) -> None:
    assert bad_url(url, loopback=True, private=False)


def test_this_machine_and_private_networks_are_the_operators_to_allow() -> None:
    assert bad_url("http://127.0.0.1/", loopback=False, private=True)
    assert bad_url("https://10.0.0.1/", loopback=False, private=True) is None
    assert bad_url("https://169.254.169.254/", loopback=True, private=True)


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("10.1.2.3", False, True),
        ("172.31.0.1", False, True),
        ("192.168.0.9", False, True),
        ("100.64.0.1", False, True),
        ("fd12::1", False, True),
        ("100.100.100.200", False, False),
        ("fd00:ec2::254", False, False),
        ("168.63.129.16", False, False),
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("255.255.255.255", False, False),
        ("192.0.2.1", False, False),
        ("::ffff:127.0.0.1", False, False),
        ("::ffff:93.184.216.34", True, True),
        ("64:ff9b::7f00:1", False, False),
        ("64:ff9b::a00:1", False, True),
        ("2002:7f00:1::", False, False),
        ("2606:4700::1111", True, True),
    ],
)
def test_addresses(address: str, public: bool, private: bool) -> None:
    found = ipaddress.ip_address(address)
    assert (may_call(found, private=False), may_call(found, private=True)) == (public, private)


def test_a_failing_receiver_is_tried_less_and_less_often() -> None:
    steps = [back_off(n, jitter=0.0) for n in range(1, 9)]
    assert steps == [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, HOUR, HOUR]
    assert back_off(1, jitter=1.0) == 6 * SECOND


def test_one_bad_event_pauses_nobody_and_a_request_to_wait_is_heard_within_limits() -> None:
    assert pause_after(2, None) == 0
    assert pause_after(3, None) >= 5 * SECOND
    assert pause_after(1, 90 * SECOND) == 90 * SECOND
    assert pause_after(1, 48 * HOUR) == HOUR


def test_names_of_events() -> None:
    assert canonical_event(" Message.Complaint ") == "message.complained"
    assert canonical_event("message.recieved") is None
    assert near_event("message.recieved") == "message.received"
    assert near_event("zzz") is None
    assert unpacked_names(packed_names(["message.sent", "inbox.created"])) == ["inbox.created", "message.sent"]
    assert unpacked_names(packed_names(["message.sent", "*"])) == ["*"]


def test_every_status_is_told_as_an_event_there_is_or_not_at_all() -> None:
    told = {event_of_status(status) for status in MessageStatus} - {None}
    assert told == {"message.sent", "message.delivered", "message.bounced", "message.failed"}
    assert told <= set(EVENTS)


@pytest.mark.parametrize("field", ["body_text", "links", "headers", "to"])
def test_a_payload_fits_whatever_is_in_the_message(field: str) -> None:
    long: object = "é" * 400_000 if field == "body_text" else [{"url": "https://example.com/" + "x" * 2000}] * 300
    message = {"id": "msg_1", "from": "ann@example.com", "body_text": "Hello", field: long}
    payload = wire_event(
        id="evt_1", type="message.received", at=1_700_000_000_123_456, account_id="acc_1", inbox_id="inb_1",
        data={"message": message},
    )  # fmt: skip
    fits = fitted(payload)
    assert len(orjson.dumps(fits)) <= MOST_BYTES
    assert fits["data"]["message"]["truncated"] is True
    assert fits["data"]["message"]["id"] == "msg_1"
    assert fits["timestamp"] == "2023-11-14T22:13:20.123Z"
    assert payload["data"]["message"][field] == long
