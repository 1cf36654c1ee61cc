"""A domain for a terminal. What the DNS says stands in quotes; whoever prints it drops control characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

View = Mapping[str, Any]


def lines(view: View) -> Iterator[str]:
    """A domain with its records, and what was found if somebody looked."""
    whose = f"account {view['account']}" if view.get("account") else "a domain of this server's configuration"
    yield f"{view['domain']}: {view['status']}, {whose}"
    yield from warning(view)
    looked = any("state" in record for record in view["dns_records"])
    if looked and view["status"] == "pending":
        yield "The ownership record is not found yet; new records take minutes to hours to be seen."
    if looked:
        flow = view["mail_flow"]
        yield f"receiving: {flow['receiving']}, sending: {flow['sending']}"
    for record in view["dns_records"]:
        yield ""
        yield from _record(record)
    if not looked:
        yield ""
        yield f"Once they are published: daimon-mcp domain verify {view['domain']}"


def warning(view: View) -> Iterator[str]:
    """What speaks against publishing the records, if anything does."""
    if "warning" in view:
        yield f"Warning: {view['warning']}"


def _record(record: View) -> Iterator[str]:
    state = f"{record['state']:8}" if "state" in record else "to publish" if record["required"] else "recommended"
    priority = f"{record['priority']} " if "priority" in record else ""
    yield f"{state} {record['type']} {record['name']}"
    if record.get("state") == "ok":
        return
    yield f"    {priority}{record['value']}"
    yield f"    {record['what']}"
    if record.get("explanation"):
        yield f"    {record['explanation']}"
    for found in record.get("found", ()):
        yield f'    found: "{found}"'
