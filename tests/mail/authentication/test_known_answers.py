"""The public test suites of SPF and ARC, and the signed examples of RFCs (see tests/corpus/authentication)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.mail.authentication.signing import NOW, Zone, dkimpy_verdicts

from daimon_mcp.mail.authentication.arc import verify_arc
from daimon_mcp.mail.authentication.dkim import verify_dkim
from daimon_mcp.mail.authentication.lookup import BoundedLookup, LookupFailed
from daimon_mcp.mail.authentication.spf import check_spf
from daimon_mcp.mail.dkim_canonical import take_apart

_FOLDER = Path(__file__).resolve().parents[2] / "corpus" / "authentication"
_RSA = (
    b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91"
    b"y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)
_FOOTBALL = Zone(
    {
        ("brisbane._domainkey.football.example.com", "TXT"): [
            b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
        ],
        ("test._domainkey.football.example.com", "TXT"): [b"v=DKIM1; k=rsa; p=" + _RSA],
    }
)
# Where we differ on purpose: the suite is of a time when SHA-1 still counted, which RFC 8301 forbids.
_ARC_DEVIATIONS = {"ams_fields_a_sha1": "fail", "as_fields_a_sha1": "fail"}


def _scenarios(name: str) -> list[dict[str, Any]]:
    return json.loads((_FOLDER / name).read_text(encoding="utf-8"))


def _spf_cases() -> list[Any]:
    return [
        pytest.param(scenario["zonedata"], test, id=name)
        for scenario in _scenarios("spf_rfc7208.json")
        for name, test in scenario["tests"].items()
    ]


def _arc_cases() -> list[Any]:
    return [
        pytest.param(scenario["txt-records"], test["message"], _ARC_DEVIATIONS.get(name, test["cv"].lower()), id=name)
        for scenario in _scenarios("arc_validation.json")
        for name, test in scenario["tests"].items()
    ]


class _SuiteZone:
    """The zone data of the SPF suite: TIMEOUT, NONE, CNAME, and SPF records that stand for TXT ones."""

    def __init__(self, zone: dict[str, list[Any]]) -> None:
        self._zone = {name.lower().removesuffix("."): records for name, records in zone.items()}

    def __call__(self, name: str, type: str) -> Sequence[bytes | str]:
        return self._find(name, type, 0)

    def _find(self, name: str, type: str, aliases: int) -> Sequence[bytes | str]:
        records = self._zone.get(name, [])
        pairs: list[tuple[str, Any]] = [next(iter(record.items())) for record in records if record != "TIMEOUT"]
        typed = any(kind == "TXT" for kind, _ in pairs)
        found: list[bytes | str] = []
        for kind, value in pairs:
            kind = "TXT" if kind == "SPF" and not typed else kind
            if kind == "CNAME" and aliases < 8:
                found += self._find(value.lower().removesuffix("."), type, aliases + 1)
            elif kind == type and value == "TIMEOUT":
                raise LookupFailed
            elif kind == type and value != "NONE":
                found.append("".join(value).encode() if type == "TXT" else value[1] if type == "MX" else value)
        if not found and "TIMEOUT" in records:
            raise LookupFailed
        return found


@pytest.mark.parametrize(("zone", "test"), _spf_cases())
def test_rfc7208_suite(zone: dict[str, list[Any]], test: dict[str, Any]) -> None:
    """Results only: explanations are not fetched."""
    lookup = BoundedLookup(_SuiteZone(zone))
    result = check_spf(test["host"], test["helo"], test["mailfrom"], lookup).result
    assert result in ([test["result"]] if isinstance(test["result"], str) else test["result"])


@pytest.mark.parametrize(("zone", "message", "expected"), _arc_cases())
def test_arc_suite(zone: dict[str, str], message: str, expected: str) -> None:
    lookup = Zone({(name, "TXT"): [value.encode()] for name, value in zone.items()})
    # Three cases are about what a next seal would say of a chain that ended: it ended as a fail.
    assert verify_arc(take_apart(message.encode()), lookup.bounded()).result == (expected or "fail")


def test_the_suites_are_whole() -> None:
    assert (len(_spf_cases()), len(_arc_cases())) == (203, 170)


@pytest.mark.parametrize("name", ["rfc8463", "dkimpy_simple"])
def test_signed_examples(name: str) -> None:
    content = (_FOLDER / f"{name}.eml").read_bytes()
    assert dkimpy_verdicts(content, _FOOTBALL, 2) == [True, True]
    results = verify_dkim(take_apart(content), _FOOTBALL.bounded(), now=NOW)
    assert [(one.result, one.selector, one.algorithm, one.bits) for one in results] == [
        ("pass", "brisbane", "ed25519-sha256", 256),
        ("pass", "test", "rsa-sha256", 1024),
    ]
    changed = take_apart(content.replace(b"dinner ready", b"dinner cold"))
    assert {one.result for one in verify_dkim(changed, _FOOTBALL.bounded(), now=NOW)} == {"fail"}
    changed = take_apart(content.replace(b"We lost", b"We won"))
    assert {one.result for one in verify_dkim(changed, _FOOTBALL.bounded(), now=NOW)} == {"fail"}
