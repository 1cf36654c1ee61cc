"""Domains and their DNS records as every face shows them, with the words of `prompts/domains`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.domains import Checked, DnsRecord, Purpose, RecordState, is_local_name
from daimon_mcp.store.domains import StoredDomain
from daimon_mcp.texts import Texts, render

_TTL = 3600  # seconds, of the lines for zone files


def summary(domain: StoredDomain) -> dict[str, Any]:
    """A domain without its records."""
    return {
        "id": domain.id,
        "domain": domain.name,
        "status": str(domain.status),
        "created_at": iso(domain.created_at),
        **({"checked_at": iso(domain.checked_at)} if domain.checked_at is not None else {}),
        **({"verified_at": iso(domain.verified_at)} if domain.verified_at is not None else {}),
    }


def records_view(checked: Sequence[Checked], texts: Texts, hostname: str, *, was_checked: bool) -> dict[str, Any]:
    """`dns_records`, and how mail flows by what was found: `receiving` and `sending` are states of records.

    `warning` is there when `hostname`, which the records name, is one that nobody outside can look up.
    """
    return {
        **({"warning": words(texts, Purpose.MX, "nowhere", hostname)} if is_local_name(hostname) else {}),
        "dns_records": [_record(each, texts, hostname, was_checked=was_checked) for each in checked],
        "mail_flow": {
            "receiving": _flow(checked, Purpose.MX),
            "sending": _flow(checked, Purpose.SPF, Purpose.DKIM),
        },
    }


def _record(checked: Checked, texts: Texts, hostname: str, *, was_checked: bool) -> dict[str, Any]:
    record = checked.record
    shown: dict[str, Any] = {
        "purpose": str(record.purpose),
        "type": record.type,
        "name": record.name,
        "value": record.value,
        **({"priority": record.priority} if record.priority is not None else {}),
        "required": record.required,
    }
    if was_checked:
        shown["state"] = str(checked.state)
    if checked.state is not RecordState.OK:
        shown["what"] = words(texts, record.purpose, "what", hostname)
        if checked.found:
            shown["found"] = list(checked.found)
        if was_checked:
            shown["explanation"] = explanation(checked, texts, hostname)
    return shown


def explanation(checked: Checked, texts: Texts, hostname: str) -> str:
    """What was found, and what to do, in plain words."""
    field = f"{checked.state}_{checked.detail}" if checked.detail else str(checked.state)
    return words(texts, checked.record.purpose, field, hostname)


def words(texts: Texts, purpose: Purpose, field: str, hostname: str) -> str:
    """One field of a purpose's text."""
    return render(texts.text("domains", purpose).prose(field), {"hostname": hostname}, str)


_ORDER = (RecordState.OK, RecordState.UNKNOWN, RecordState.MISSING, RecordState.WRONG)


def _flow(checked: Sequence[Checked], *purposes: Purpose) -> str:
    """The worst state of what these purposes need. One key is enough while keys are being changed."""
    best: dict[Purpose, int] = {}
    for each in checked:
        if each.record.purpose in purposes and each.record.required:
            rank = _ORDER.index(each.state)
            best[each.record.purpose] = min(rank, best.get(each.record.purpose, rank))
    return str(_ORDER[max(best.values(), default=0)])


def zone_file(records: Sequence[DnsRecord]) -> str:
    """The records as lines of a zone file (RFC 1035 §5.1), names whole."""
    from daimon_mcp.mail.dkim_keys import zone_value

    lines: list[str] = []
    for record in records:
        value = f"{record.priority} {record.value}." if record.type == "MX" else zone_value(record.value)
        lines.append(f"{record.name}. {_TTL} IN {record.type} {value}")
    return "\n".join(lines) + "\n"


def stored_checks(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    """What a check found, as plain data for the store."""
    return [
        {
            "purpose": each.record.purpose,
            "name": each.record.name,
            "state": each.state,
            "found": list(each.found),
            "detail": each.detail,
        }
        for each in checked
    ]


def with_checks(records: Sequence[DnsRecord], checks: Sequence[Mapping[str, Any]]) -> list[Checked]:
    """The records beside what `stored_checks` kept of them; those that were not there then are unknown."""
    known = {(each["purpose"], each["name"]): each for each in checks}
    found: list[Checked] = []
    for record in records:
        kept = known.get((record.purpose, record.name))
        found.append(
            Checked(record)
            if kept is None
            else Checked(record, RecordState(kept["state"]), tuple(kept["found"]), kept["detail"])
        )
    return found
