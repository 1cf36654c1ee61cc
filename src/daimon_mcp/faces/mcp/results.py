"""Envelopes as tool results: a short text a model can act on, and the whole envelope as structured content.

What strangers wrote is a block of its own, between marks with a random boundary, which a stranger cannot know and so
cannot close; every line outside the marks is ours. Each message has marks of its own: no body can pass for the next.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import orjson
from mcp_types import CallToolResult, TextContent

from daimon_mcp.faces.mcp.dns_records import lines as record_lines
from daimon_mcp.faces.mcp.explained import told
from daimon_mcp.faces.mcp.neutral import neutral, neutral_result

View = Mapping[str, Any]


def success(summary: str, envelope: View, *, reading: bool = True) -> CallToolResult:
    """The result of an operation that was done.

    `reading` shows what was read; a tool that writes does not repeat what its caller has just sent.
    """
    result: View = envelope["result"]
    parts = [summary, *_body(result, reading=reading)]
    if "agent_script" in result:
        parts.append(result["agent_script"])
    return _result([*parts, _steps(envelope["next_steps"])], envelope, is_error=False)


def refusal(envelope: View) -> CallToolResult:
    """The result of an operation that was refused."""
    parts = [f"{envelope['error']}: {envelope['message']}", _json({key: envelope.get(key) for key in _REFUSED_FACTS})]
    refused = [*envelope.get("refused_recipients", ()), *envelope.get("unreachable_recipients", ())]
    if refused:
        parts.append(_fence([_flat(", ".join(refused))]))
    context: View = envelope.get("upgrade_context") or {}
    if context:
        parts.append(context["agent_script"])
    return _result([*parts, _steps(envelope["next_steps"])], envelope, is_error=True)


_REFUSED_FACTS = ("current_usage", "parked", "inboxes")


class _Fenced(str):
    """Text between marks: a block of its own, apart from what the server says."""

    __slots__ = ()


def _result(parts: Sequence[str], envelope: View, *, is_error: bool) -> CallToolResult:
    ours = "\n".join(part for part in parts if part and not isinstance(part, _Fenced))
    theirs = "\n".join(part for part in parts if part and isinstance(part, _Fenced))
    return CallToolResult(
        content=[TextContent(type="text", text=text) for text in (ours, theirs) if text],
        structured_content=neutral_result(envelope),
        is_error=is_error,
    )


def _steps(steps: Sequence[str]) -> str:
    return "\n".join(f"Next: {step}" for step in steps)


def _body(result: View, *, reading: bool) -> list[str]:
    """What a result says besides its summary: facts of ours as one line of JSON, then strangers' words in marks."""
    for name, row in _ROWS.items():
        if name in result:
            rows: Sequence[View] = result[name]
            return [_json(result, without=(name,)), _fence(["\n".join(row(each) for each in rows)] if rows else [])]
    if "webhooks" in result:
        return [_json(result, without=("webhooks",)), *map(_json, result["webhooks"])]
    if "duration_ms" in result:  # what a receiver of webhooks answered
        return [_json(result, without=("response",)), _fence([result["response"]] if result["response"] else [])]
    if "timeline" in result:
        story = told(result)
        facts = {name: result.get(name) for name in _OF_STORY}
        theirs = ["\n".join(map(_flat, story.theirs))] if story.theirs else []
        return [_json(facts), *story.ours, _fence(theirs)]
    if "dns_records" in result:
        ours, theirs = record_lines(result["dns_records"])
        found = _fence(["\n".join(map(_flat, theirs))]) if theirs else ""
        return [_json(result, without=("dns_records", "zone_file")), *ours, result.get("zone_file", ""), found]
    if "thread" in result:
        thread: View = result["thread"]
        facts = {**_without(result, ("thread",)), "message_count": thread["message_count"]}
        return [_json(facts), _fence([_mail(each, each["reply_body"]) for each in thread["messages"]])]
    if result.get("message"):
        return [_json(result, without=("message",)), *_message(result["message"])]
    if "source" in result:
        return _wanted(result)
    if "filename" in result:
        return _file(result)
    if "changes" in result:
        return [_json(result, without=("changes",)), _fence(["\n".join(map(_change_row, result["changes"]))])]
    if "body_text" in result and "from_address" in result:
        return _message(result)
    if "body_text" in result:
        return _draft(result, reading=reading)
    if "from_address" in result:
        facts = {name: result.get(name) for name in ("id", "thread_id", "labels", "read")}
        return [_json(facts), _fence([_message_row(result)])]
    people = _fence([f"To: {_people(result['recipients'])}"]) if result.get("recipients") else ""
    return [_json(result, without=("recipients", "refused_recipients")), people]


_OF_STORY = (
    "id",
    "thread_id",
    "delivery_status",
    "kind",
    "mailbox",
    "hold_reason",
    "came",
    "attempts_left_out",
    "truncated_fields",
)


# Said in the text already, or of use to programs only.
_SAID = frozenset({"agent_script", "operator_action_url", "operator_action_label", "magic_link", "note", "has_more"})


def _without(result: View, names: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in names}


def _json(facts: View, *, without: Sequence[str] = ()) -> str:
    """Facts of ours on one line, without what is empty; "" if nothing is left."""
    empty: tuple[Any, ...] = (None, [], {}, "")
    kept = {k: v for k, v in facts.items() if v not in empty and k not in _SAID and k not in without}
    return orjson.dumps(kept).decode() if kept else ""


def _message_row(message: View) -> str:
    when = message["received_at"] or message["sent_at"] or message.get("scheduled_at") or ""
    marks = "" if message["read"] else " unread"
    marks += "" if message["kind"] == "human" else f" {message['kind']}"
    marks += " +files" if message["has_attachments"] else ""
    labels = [each for each in message["labels"] if each not in _USUAL_LABELS]
    marks += f" [{', '.join(labels)}]" if labels else ""
    status = f" {message['delivery_status']}" if message["delivery_status"] else ""
    inbound = message["direction"] == "inbound"
    other = message["from_address"] if inbound else f"to {_people(message['to_addresses'])}"
    words = message.get("highlight") or message["preview"]
    return _flat(f"{message['id']}{marks}{status} {when} {other} | {message['subject']} | {words}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


_USUAL_LABELS = ("inbox", "sent", "unread", "bounced")


def _thread_row(thread: View) -> str:
    counts = f"{_counted(thread['message_count'], 'message')}, {thread['unread_count']} unread"
    labels = f" [{', '.join(thread['labels'])}]" if thread["labels"] else ""
    people = _people(thread["participants"])
    return _flat(f"{thread['id']} {thread['updated_at']} {counts}{labels} | {people} | {thread['subject']}")


def _inbox_row(inbox: View) -> str:
    counts = f"{_counted(inbox['message_count'], 'message')}, {inbox['unread_count']} unread"
    return _flat(f"{inbox['id']} {inbox['address']} {counts} | {inbox['display_name']}")


def _draft_row(draft: View) -> str:
    when = f" {draft['send_at']}" if draft["send_at"] else ""
    people = _people(each["email"] for each in draft["to"])
    return _flat(f"{draft['id']} {draft['status']}{when} to {people} | {draft['subject'] or ''} | {draft['preview']}")


def _suppression_row(each: View) -> str:
    return _flat(f"{each['address']} {each['why']} {each['since']} {each['message_id']} | {each['reply']}")


def _key_row(key: View) -> str:
    scope = key["inbox"] or "account"
    may = "all" if key["permissions"] is None else ",".join(key["permissions"])
    ends = f" until {key['expires_at']}" if key["expires_at"] else ""
    used = f" used {key['last_used_at']}" if key["last_used_at"] else ""
    return _flat(f"{key['id']} {key['key']} {key['status']}{ends}{used} {scope} {may} | {key['name']}")


_ROWS: Mapping[str, Callable[[View], str]] = {
    "messages": _message_row,
    "threads": _thread_row,
    "inboxes": _inbox_row,
    "drafts": _draft_row,
    "suppressions": _suppression_row,
    "keys": _key_row,
}


def _wanted(result: View) -> list[str]:
    """A code or a link and where it came from: strangers' words too."""
    found: View = result.get("code") or result["link"]
    source: View = result["source"]
    lines = [
        *(("Code", found[name]) for name in ("value",) if name in found),
        *(("Link", found[name]) for name in ("url",) if name in found),
        *((name.replace("_", " ").capitalize(), str(found[name])) for name in _OF_WANTED if found.get(name)),
        ("From", f"{source['from_name']} <{source['from_address']}>".strip()),
        ("Subject", source["subject"]),
    ]
    return [_json(result, without=("code", "link", "source")), _fence(["\n".join(_head(lines))])]


_OF_WANTED = ("kind", "bound_domain", "expires_in", "text", "host", "mismatch")


def _file(file: View) -> list[str]:
    """An attachment: its name and its text are strangers' words, and so is what the file says of itself."""
    kind = f" ({file['content_type']})" if file["content_type"] else ""
    head = [("File", f"{file['filename']}{kind}"), ("Saved as", file.get("path") or "")]
    head += [(name.replace("_", " ").capitalize(), str(value)) for name, value in file.get("facts", {}).items()]
    lines = _head(head)
    if file.get("extracted_text"):
        lines += ["", file["extracted_text"]]
    return [_json(file, without=_OF_FILE), _fence(["\n".join(lines)])]


_OF_FILE = (
    *("filename", "content_type", "path", "facts", "extracted_text", "untrusted", "incomplete", "truncated"),
    *("sha256", "disposition"),
)


def _change_row(change: View) -> str:
    what = ", ".join(change["what"])
    message: View | None = change["message"]
    return f"{what}: {change['message_id'] if message is None else _message_row(message)}"


def _message(message: View) -> list[str]:
    names = ("id", "thread_id", "kind", "delivery_status", "hold_reason", "quoted", "next_offset", "truncated_fields")
    text: str = message["reply_body"] if message["body_text"] is None else message["body_text"]
    facts = {name: message.get(name) for name in names}
    bounce: View = message.get("bounce") or {}
    facts["about"] = bounce.get("about")
    asked = [str(message[name]) for name in ("body_html",) if message.get(name)]
    if message.get("headers"):
        asked.append("\n".join(_head([(name, _value(each)) for name, each in message["headers"].items()])))
    return [_json(facts), _fence([_mail(message, text), *asked])]


def _value(value: Any) -> str:
    return " | ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value)


def _mail(message: View, text: str) -> str:
    who = f"{message['from_name']} <{message['from_address']}>" if message["from_name"] else message["from_address"]
    head = [
        ("Message", message["id"]),
        ("From", who),
        ("To", _people(message["to_addresses"])),
        ("Cc", _people(message["cc_addresses"])),
        ("Reply-To", _people(message.get("reply_to_addresses", ()))),
        ("Date", message["received_at"] or message["sent_at"] or message.get("scheduled_at") or ""),
        ("Subject", message["subject"]),
        *(("Attachment", _attachment(each)) for each in message.get("attachments", ())),
        *(("Delivery", _delivery(each)) for each in message.get("deliveries", ())),
        *(("Damaged", each) for each in message.get("parse_warnings", ())),
        *_read_out(message),
    ]
    return "\n".join([*_head(head), "", text, *_links(message, text)])


def _links(message: View, text: str) -> list[str]:
    """Where the numbers in the text lead; long URLs are mostly trackers, and stand in the structured result alone."""
    links: Sequence[View] = message.get("links", ())
    wanted = [each for each in links if each.get("n") is not None and f"[{each['n']}]" in text]
    if message.get("links_total") and not text:  # asked for in place of the text
        return [f"[{each.get('n', '-')}] {each.get('text', '')}: {each['url']}" for each in links]
    shown = [
        f"[{each['n']}] {each['url'] if len(each['url']) <= _LONG_URL else each.get('host', '') + '/…'}"
        for each in wanted[:_MOST_LINKS]
    ]
    return ["", *shown] if shown else []


_LONG_URL = 120
_MOST_LINKS = 10


# What a report says of a recipient (RFC 3464 §2.3.3); anything else is that it was not reached.
_BECAME = {
    "delayed": "Delayed",
    "delivered": "Delivered",
    "relayed": "Handed on",
    "expanded": "Handed on",
    "complained": "Complained",
}


def _read_out(message: View) -> list[tuple[str, str]]:
    """What the reading rules found that the text itself does not say."""
    found = [("Code", f"{each['value']} ({each['kind']})") for each in message.get("codes", ())]
    found += [("Link", str(url)) for url in message.get("cta_links", ())]
    invite: View = message.get("invite") or {}
    when = " to ".join(str(invite[name]) for name in ("starts", "ends") if invite.get(name))
    what = [str(invite.get("summary", "")), when, str(invite.get("location", ""))]
    found.append(("Invitation", ", ".join(each for each in what if each)))
    bounce: View = message.get("bounce") or {}
    failures: Sequence[View] = bounce.get("failures", ())
    for each in failures:
        title = _BECAME.get(each["action"], "Not delivered")
        found.append((title, f"{each['recipient']} {each['status']}: {each['reason']}"))
    return found


def _head(fields: Sequence[tuple[str, str]]) -> list[str]:
    """One line for each field that holds something."""
    return [f"{name}: {flat}" for name, value in fields if (flat := _flat(value))]


def _attachment(attachment: View) -> str:
    return f"{attachment['id']} {attachment['filename']} ({attachment['content_type']}, {attachment['size']} bytes)"


def _delivery(delivery: View) -> str:
    said = f": {delivery['last_reply']}" if delivery.get("last_reply") else ""
    return f"{delivery['recipient']} {delivery['status']}, {_counted(delivery['attempts'], 'attempt')}{said}"


def _draft(draft: View, *, reading: bool) -> list[str]:
    names = ("id", "inbox_id", "kind", "status", "send_at", "thread_id", "message_id", "labels", "truncated_fields")
    # A draft that answers or forwards has the recipients and the subject of somebody else's mail.
    people = [(name.title(), _people(_address(each) for each in draft[name])) for name in ("to", "cc", "bcc")]
    lines = _head([*people, ("Subject", draft["subject"] or "")])
    if reading and draft["body_text"]:
        lines += ["", draft["body_text"]]
    return [_json({name: draft.get(name) for name in names}), _fence(["\n".join(lines)] if lines else [])]


def _address(person: View) -> str:
    return f"{person['name']} <{person['email']}>" if person.get("name") else str(person["email"])


_MOST_PEOPLE = 20


def _people(addresses: Any) -> str:
    found = [str(each) for each in addresses]
    more = f" and {len(found) - _MOST_PEOPLE} more" if len(found) > _MOST_PEOPLE else ""
    return ", ".join(found[:_MOST_PEOPLE]) + more


def _flat(text: str) -> str:
    """One line: nothing in a header or a row can begin a line of its own."""
    return " ".join(text.split())


def _fence(texts: Sequence[str]) -> _Fenced:
    """Each text between marks, without tokens of a role; the same random marks for all, and in none of them."""
    mark = _mark()
    while any(mark in text for text in texts):
        mark = _mark()
    return _Fenced("\n".join(f"<{mark}>\n{neutral(text)}\n</{mark}>" for text in texts))


def _mark() -> str:
    return f"mail-{secrets.token_hex(4)}"
