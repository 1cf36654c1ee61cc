"""Which names can be a domain, what is published for one, which keys are done with."""

from __future__ import annotations

import pytest

from daimon_mcp.domain.domains import (
    PublicKey,
    Purpose,
    clean_name,
    is_local_name,
    mail_records,
    ownership_record,
    read_tags,
    retirable,
)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Agents.Example.COM.", "agents.example.com"),
        (" example.com ", "example.com"),
        ("bücher.example.com", "xn--bcher-kva.example.com"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ("1and1.com", "1and1.com"),
        ("localhost", None),
        ("", None),
        (".", None),
        ("example..com", None),
        ("exa_mple.com", None),
        ("-example.com", None),
        ("example-.com", None),
        ("exam ple.com", None),
        ("example.com\n", "example.com"),
        ("example.com\n\nbody", None),
        ("192.0.2.1", None),
        ("a@example.com", None),
        ("https://example.com", None),
        ("x" * 64 + ".com", None),
        (".".join(["abcdefgh"] * 30), None),
        ("☃" * 300, None),
    ],
)
def test_names(given: str, name: str | None) -> None:
    assert clean_name(given) == name


@pytest.mark.parametrize(
    "name", ["localhost", "agents.localhost", "mail.lan", "x.test", "a.home.arpa", "printer.local"]
)
def test_names_that_nobody_outside_knows(name: str) -> None:
    assert is_local_name(name)


@pytest.mark.parametrize("name", ["example.com", "agents.example.org", "notlocal.dev", "mylan.net"])
def test_names_that_others_may_know(name: str) -> None:
    assert not is_local_name(name)


def test_what_is_published() -> None:
    keys = [
        PublicKey("d1e", "ed25519-sha256", "v=DKIM1; k=ed25519; p=AAAA", 1),
        PublicKey("d1r", "rsa-sha256", "v=DKIM1; k=rsa; p=BBBB", 1),
    ]
    records = [
        ownership_record("example.com", "t0ken"),
        *mail_records("example.com", hostname="mx.example.net", keys=keys),
    ]
    assert [(each.type, each.name, each.priority, each.value) for each in records] == [
        ("TXT", "_daimon.example.com", None, "daimon-verification=t0ken"),
        ("MX", "example.com", 10, "mx.example.net"),
        ("TXT", "example.com", None, "v=spf1 a:mx.example.net ~all"),
        ("TXT", "d1e._domainkey.example.com", None, "v=DKIM1; k=ed25519; p=AAAA"),
        ("TXT", "d1r._domainkey.example.com", None, "v=DKIM1; k=rsa; p=BBBB"),
        ("TXT", "_dmarc.example.com", None, "v=DMARC1; p=none"),
    ]
    assert [each.purpose for each in records if not each.required] == [Purpose.DKIM, Purpose.DMARC]


def test_tags_are_read_with_space_and_without() -> None:
    assert read_tags("v=DKIM1;k = rsa ; p=AB==;; x; p=later") == {"v": "DKIM1", "k": "rsa", "p": "AB=="}


def test_old_keys_are_done_with_once_all_new_ones_were_seen() -> None:
    old = [PublicKey("d1e", "ed25519-sha256", "x", 1, seen=True), PublicKey("d1r", "rsa-sha256", "x", 1)]
    half = [PublicKey("d2e", "ed25519-sha256", "x", 2, seen=True), PublicKey("d2r", "rsa-sha256", "x", 2)]
    seen = [PublicKey("d2e", "ed25519-sha256", "x", 2, seen=True), PublicKey("d2r", "rsa-sha256", "x", 2, seen=True)]
    assert retirable(old) == []
    assert retirable([]) == []
    assert retirable([*old, *half]) == []
    assert retirable([*old, *seen]) == old
