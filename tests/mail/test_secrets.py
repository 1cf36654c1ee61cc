"""Which secrets are recognised in a text, what is none, and that no text takes long."""

from __future__ import annotations

import time
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from daimon_mcp.mail.secrets import kinds_in

CORPUS = Path(__file__).parents[1] / "corpus"
# Put together here, so that no scanner of repositories takes this file for a leak.
AWS = "AKIA" + "IOSFODNN7" + "EXAMPLE"
OURS = "dm_live_" + "abcdefgh234567" * 2
SECRETS = {
    "daimon_api_key": f"Use {OURS} to log in.",
    "daimon_password": "password: smtp_secret_" + "abcd2345" * 4,
    "webhook_secret": "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "private_key": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEow",
    "aws_access_key": f"id = {AWS}",
    "github_token": "ghp_" + "a1B2" * 9,
    "openai_token": "sk-" + "a" * 20 + "T3Blbk" + "FJ" + "b" * 20,
    "stripe_access_key": "sk_" + "live_" + "a1B2c3D4" * 3,
    "slack_token": "xox" + "b-123456789012-123456789012-" + "a1B2c3D4" * 3,
    "basic_auth_credentials": "https://root:" + "hunter2@db.example.com/x",
    "json_web_token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
    "card_number": "My card is 4111 1111 1111 1111, exp 12/30",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_known(kind: str) -> None:
    assert kind in kinds_in(SECRETS[kind])
    assert kind in kinds_in("Dear Ann,\n\n" + "word " * 2000 + SECRETS[kind] + "\n" + "word " * 2000)


@pytest.mark.parametrize(
    "text",
    [
        "Order 4111111111111112 is on its way",  # no card: the sum is wrong
        "Call +49 30 1234567890 or 0000 0000 0000 0000",
        "IBAN DE89 3704 0044 0532 0130 00",
        "Tracking 1Z999AA10123456784, parcel 00340434161094042557",
        "Timestamp 1763740800000000, amount 1.234.567,89",
        "https://app.example.com/login?token=" + SECRETS["json_web_token"],
        "Your password has been changed. The api key rotation is on Monday.",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "<20261121.4111111111111111@mail.example.com>",
        "",
    ],
)
def test_ordinary_mail_holds_none(text: str) -> None:
    assert kinds_in(text) == ()


def test_the_mail_of_the_corpus_holds_none() -> None:
    looked_at = 0
    for file in sorted(CORPUS.rglob("*.eml")):
        for part in message_from_bytes(file.read_bytes(), policy=default).walk():
            if part.get_content_maintype() == "text":
                payload = part.get_payload(decode=True)
                assert isinstance(payload, bytes)
                assert kinds_in(payload.decode("utf-8", "replace")) == (), file.name
                looked_at += 1
    assert looked_at > 10


@pytest.mark.parametrize(
    "text", ["eyJ" * 70_000, "http://a:" * 22_000, "4111 " * 40_000, "a" * 200_000, "\n" * 200_000, "://a@" * 40_000]
)
def test_no_text_takes_long(text: str) -> None:
    kinds_in("warm")
    began = time.process_time()
    kinds_in(text)
    assert time.process_time() - began < 2
