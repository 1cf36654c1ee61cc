"""The story of one message for a terminal: what others said in quotes. Whoever prints it drops control characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

View = Mapping[str, Any]


def lines(result: View) -> Iterator[str]:
    """A result of `explain_delivery` with its `summary`."""
    yield result["summary"]
    if result["direction"] == "inbound":
        yield from _arrival(result)
    yield ""
    for entry in result["timeline"]:
        yield from _entry(entry)
    if result.get("attempts_left_out"):
        yield f"Older attempts left out: {result['attempts_left_out']}."
    for place, delivery in enumerate(result.get("deliveries", ()), start=1):
        yield ""
        yield f"Recipient {place}: {delivery['recipient']}: {delivery['status']}, attempts: {delivery['attempts']}"
        if delivery.get("last_reply"):
            yield f'  last answer: "{delivery["last_reply"]}"'
        meaning: View = result["meanings"][delivery["meaning"]]
        yield f"  {meaning['explanation']} {delivery.get('again', '')}".rstrip()
        yield from _advice(meaning)


def _advice(view: View) -> Iterator[str]:
    for line in view.get("for_operator") or view.get("what_to_do", ()):
        yield f"  - {line}"


def _entry(entry: View) -> Iterator[str]:
    told = {"at", "what", "recipient", "attempt", "reply", "said", "recipients"}
    who = f" {entry['attempt']}, recipient {entry['recipient']}" if "attempt" in entry else ""
    more = " ".join(f"{name}={value}" for name, value in entry.items() if name not in told and value is not None)
    yield f"{entry['at']}  {entry['what'].replace('_', ' ')}{who}  {more}".rstrip()
    if entry.get("reply"):
        yield f'    "{entry["reply"]}"'
    for each in entry.get("said", ()):
        quote = f' "{each["diagnostic"]}"' if each["diagnostic"] else ""
        yield f"    {each['address']}: {each['action']} {each['status']}: {each['reason']}{quote}"


def _arrival(result: View) -> Iterator[str]:
    yield f"From {result['from_address']}, in {result['mailbox']}, {result['came'].replace('_', ' ')}."
    if result.get("explanation"):
        yield f"Held: {result['explanation']}"
        yield from _advice(result)
    for name, value in result["authentication"].items():
        if value:
            yield f'  {name}: "{value}"'
    for hop in result["trace"]:
        yield f'  "{hop}"'
