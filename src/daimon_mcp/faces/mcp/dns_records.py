"""DNS records of a domain as text: what we ask for is ours, what was found is others' words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

View = Mapping[str, Any]


def lines(records: Sequence[View]) -> tuple[list[str], list[str]]:
    """A line for each record, and one for each that the DNS has otherwise."""
    ours: list[str] = []
    theirs: list[str] = []
    for record in records:
        state = f" [{record['state']}]" if "state" in record else "" if record["required"] else " [recommended]"
        where = f"{record['type']} {record['name']}"
        if record.get("state") == "ok":
            ours.append(f"{where}{state}")
            continue
        priority = f"{record['priority']} " if "priority" in record else ""
        said = " ".join(filter(None, (record["what"], record.get("explanation"))))
        ours.append(f"{where}{state} {priority}{record['value']} ({said})")
        theirs += [f"{where} found: {found}" for found in record.get("found", ())]
    return ours, theirs
