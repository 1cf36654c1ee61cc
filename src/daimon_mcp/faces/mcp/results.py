"""Envelopes as tool results: a short text a model can act on, and the whole envelope as structured content.

What strangers wrote stands in the text between marks with a random boundary, which a stranger cannot know and so cannot
close; the words around it are ours.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from mcp_types import CallToolResult, TextContent


def success(summary: str, envelope: Mapping[str, Any]) -> CallToolResult:
    """The result of an operation that was done."""
    result: Mapping[str, Any] = envelope["result"]
    parts = [summary, _body(result)]
    if "agent_script" in result:
        parts.append(f"For your operator: {result['agent_script']}")
    parts += [_steps(envelope["next_steps"])]
    return CallToolResult(
        content=[TextContent(type="text", text="\n".join(part for part in parts if part))],
        structured_content=dict(envelope),
    )


def refusal(envelope: Mapping[str, Any]) -> CallToolResult:
    """The result of an operation that was refused."""
    parts = [f"{envelope['error']}: {envelope['message']}"]
    context: Mapping[str, Any] = envelope.get("upgrade_context") or {}
    if context:
        parts.append(f"For your operator: {context['agent_script']}")
    parts.append(_steps(envelope["next_steps"]))
    return CallToolResult(
        content=[TextContent(type="text", text="\n".join(part for part in parts if part))],
        structured_content=dict(envelope),
        is_error=True,
    )


def _steps(steps: Sequence[str]) -> str:
    return "\n".join(f"Next: {step}" for step in steps)


def _body(result: Mapping[str, Any]) -> str:
    if "messages" in result:
        return _fenced("\n".join(_line(each) for each in result["messages"])) if result["messages"] else ""
    if "thread" in result:
        return _fenced("\n\n".join(_mail(each, each["reply_body"]) for each in result["thread"]["messages"]))
    if result.get("message"):
        return _whole(result["message"])
    if "body_text" in result and "from_address" in result:
        return _whole(result)
    return orjson.dumps(
        {key: value for key, value in result.items() if value not in (None, [], {}) and key not in _SAID}
    ).decode()


# Said in the text already, or of use to programs only.
_SAID = {"agent_script", "operator_action_url", "operator_action_label", "magic_link", "note"}


def _line(message: Mapping[str, Any]) -> str:
    when = message["received_at"] or message["sent_at"] or ""
    marks = "" if message["read"] else " unread"
    status = f" {message['delivery_status']}" if message["delivery_status"] else ""
    other = message["from_address"] if message["direction"] == "inbound" else "to " + ", ".join(message["to_addresses"])
    return f"{message['id']}{marks}{status} {when} {other} | {message['subject']} | {message['preview']}"


def _whole(message: Mapping[str, Any]) -> str:
    is_reply = bool(message.get("in_reply_to"))
    text = _fenced(_mail(message, message["reply_body"] if is_reply else message["body_text"]))
    facts: dict[str, Any] = {
        "id": message["id"],
        "thread_id": message["thread_id"],
        "kind": message["kind"],
        "delivery_status": message["delivery_status"],
        "attachments": [
            {"id": each["id"], "content_type": each["content_type"], "size": each["size"]}
            for each in message["attachments"]
        ],
        "deliveries": message.get("deliveries"),
    }
    kept = {key: value for key, value in facts.items() if value}
    return f"{orjson.dumps(kept).decode()}\n{text}"


def _mail(message: Mapping[str, Any], text: str) -> str:
    who = f"{message['from_name']} <{message['from_address']}>" if message["from_name"] else message["from_address"]
    head = [
        f"Message: {message['id']}",
        f"From: {who}",
        f"To: {', '.join(message['to_addresses'])}",
        f"Subject: {message['subject']}",
    ]
    files = [each["filename"] for each in message.get("attachments", ())]
    if files:
        head.append(f"Attachments: {', '.join(files)}")
    return "\n".join([*head, "", text])


def _fenced(text: str) -> str:
    mark = f"mail-{secrets.token_hex(4)}"
    return f"<{mark}>\n{text}\n</{mark}>"
