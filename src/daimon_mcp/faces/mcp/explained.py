"""The story of one message in text: what the server says of it, and apart from that what others said.

Recipients and replies are strangers' words, so that our lines name recipients by number; the quotes say whose number is
whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

View = Mapping[str, Any]


class Told(NamedTuple):
    """Lines of ours, and lines of others that have to stand between marks."""

    ours: list[str]
    theirs: list[str]


def told(result: View) -> Told:
    """A result of `explain_delivery`."""
    story = Told([], [])
    if result["direction"] == "inbound":
        _arrival(story, result)
    for place, delivery in enumerate(result.get("deliveries", ()), start=1):
        _delivery(story, place, delivery)
    meanings: Mapping[str, View] = result.get("meanings", {})
    for name, meaning in meanings.items():
        story.ours.append(f"{name}: {meaning['explanation']}")
        _advice(story, meaning)
    entries: Sequence[View] = result["timeline"]
    for entry in entries:
        _entry(story, entry)
    return story


def _advice(story: Told, view: View) -> None:
    story.ours.extend(f"  Do: {line}" for line in view.get("what_to_do", ()))
    story.ours.extend(f"  Operator: {line}" for line in view.get("for_operator", ()))


def _delivery(story: Told, place: int, delivery: View) -> None:
    story.ours.append(
        f"Recipient {place} ({delivery['route']}, attempts: {delivery['attempts']}): {delivery['status']}, "
        f"{delivery['meaning']}. {delivery.get('again', '')}".rstrip()
    )
    said = " ".join(str(delivery[name]) for name in ("remote", "last_reply") if delivery.get(name))
    story.theirs.append(f"Recipient {place}: {delivery['recipient']}" + (f", last answer: {said}" if said else ""))


def _entry(story: Told, entry: View) -> None:
    what = entry["what"]
    match what:
        case "attempt":
            name = f"attempt {entry['attempt']} for recipient {entry['recipient']}"
            meaning = f", {entry['meaning']}" if entry.get("meaning") else ""
            ended = f", ended {entry['ended_at']}" if entry.get("ended_at") else ""
            story.ours.append(f"{entry['at']} {name}: {entry['outcome']}{meaning}{ended}")
            said = ", ".join(str(entry[name]) for name in ("remote", "tls") if entry.get(name))
            if said or entry.get("reply"):
                story.theirs.append(f"{name.capitalize()}, {said or 'no server'}: {entry.get('reply', '')}")
        case "report":
            story.ours.append(f"{entry['at']} report {entry['message_id']}")
            for each in entry["said"]:
                words = f"{each['address']} {each['action']} {each['status']}: {each['reason']}"
                quote = f" ({each['diagnostic']})" if each["diagnostic"] else ""
                story.theirs.append(f"Report {entry['message_id']}: {words}{quote}")
        case "complaint":
            who = ", ".join(str(place) for place in entry["recipients"]) or "unsaid"
            story.ours.append(
                f"{entry['at']} complaint {entry['message_id']} ({entry['feedback_type']}), recipient {who}"
            )
        case _:
            more = " ".join(str(entry[name]) for name in ("by", "why", "for", "verdict") if entry.get(name))
            who = f" for recipient {entry['recipient']}" if entry.get("recipient") else ""
            story.ours.append(f"{entry['at']} {what}{who}" + (f": {more}" if more else ""))


def _arrival(story: Told, result: View) -> None:
    if result.get("explanation"):
        story.ours.append(f"Held: {result['explanation']}")
        _advice(story, result)
    story.theirs.append(f"From: {result['from_address']}")
    for name, value in result["authentication"].items():
        if value:
            said = ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)
            story.theirs.append(f"Authentication, {name}: {said}")
    for hop in result["trace"]:
        story.theirs.append(f"Received: {hop}")
