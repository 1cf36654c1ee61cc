"""DKIM keys as bytes and as text for DNS."""

from __future__ import annotations

import base64
import re

import pytest

from daimon_mcp.mail.dkim_keys import Algorithm, BadKey, load_key, make_key, public_value, zone_value

# RFC 8463, appendix A.1 and A.2.
_SECRET = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
_PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")


def test_the_published_example() -> None:
    private = _PKCS8_ED25519 + _SECRET
    expected = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert public_value(private, "ed25519-sha256") == expected


@pytest.mark.parametrize(("algorithm", "kind"), [("rsa-sha256", "rsa"), ("ed25519-sha256", "ed25519")])
def test_a_made_key_can_be_loaded_and_published(algorithm: Algorithm, kind: str) -> None:
    private = make_key(algorithm)
    assert private != make_key(algorithm)
    value = public_value(private, algorithm)
    assert re.fullmatch(rf"v=DKIM1; k={kind}; p=[A-Za-z0-9+/]+=*", value)
    strings = re.findall(r'"([^"]*)"', zone_value(value))
    assert "".join(strings) == value
    assert all(0 < len(string) <= 255 for string in strings)
    assert len(strings) == (2 if kind == "rsa" else 1)
    assert load_key(private, algorithm) is load_key(private, algorithm)


def test_quotes_in_a_zone_file() -> None:
    assert zone_value('a"b\\c') == '"a\\"b\\\\c"'
    assert zone_value("x" * 256) == f'"{"x" * 255}" "x"'


@pytest.mark.parametrize("private", [b"", b"no key", _PKCS8_ED25519 + _SECRET])
def test_what_is_no_key_for_the_algorithm(private: bytes) -> None:
    with pytest.raises(BadKey):
        load_key(private, "rsa-sha256")


def test_an_rsa_key_is_none_for_ed25519() -> None:
    with pytest.raises(BadKey, match="ed25519-sha256"):
        public_value(make_key("rsa-sha256"), "ed25519-sha256")
