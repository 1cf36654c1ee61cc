"""Strangers' words with what could pass for a host's own markup made harmless, and still readable.

Models are trained on turns and tool calls that are marked in text: `<|im_start|>`, `</tool_result>`, `[INST]`, a line
that begins with `System:`. A look-alike takes the place of the character that makes the mark. This is friction, not
protection: what a stranger asks for is data either way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

_TAGS = (
    "antml:[a-z_]{1,30}|assistant|context|developer|document|function(?:_call|_calls|_result|_results)?|human|important"
    "|instructions?|invoke|mail-[0-9a-f]{8}|parameter|s|(?:start|end)_of_turn|sys|system(?:_prompt|-reminder)?"
    "|think(?:ing)?|tool(?:_call|_calls|_response|_result|_results|_use)?|user"
)
_TOKEN = re.compile(
    rf"<[|｜](?=[^|｜<>\n]{{1,40}}[|｜]>)|<(?=/?(?:{_TAGS})(?:\s[^<>\n]{{0,200}})?/?>)|<<(?=/?SYS>>)|\[(?=/?(?:INST|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\])",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"^([ \t>*_#]{0,8}(?:system|assistant|human|user|developer|tool)[ \t*_]{0,4}):", re.IGNORECASE | re.MULTILINE
)
_MAY_HOLD = re.compile(r"[<\[:]")
_INSTEAD = {"<": "‹", "[": "［", "<|": "‹|", "<｜": "‹｜", "<<": "‹‹"}

# What must arrive as it was written to be of any use; addresses and ids that hold a token are none.
_VERBATIM = frozenset(
    {"url", "cta_links", "value", "body_html", "cursor", "next_cursor", "download_url", "path", "upload_url",
     "operator_action_url", "magic_link", "agent_script", "next_steps", "password", "api_key", "account_api_key"}
)  # fmt: skip


def neutral(text: str) -> str:
    """A text without tokens of a role: `‹|im_start|>`, `‹/tool_result>`, `［INST]`, `System꞉`."""
    if not _MAY_HOLD.search(text):
        return text
    return _ROLE.sub("\\1\ua789", _TOKEN.sub(lambda match: _INSTEAD[match[0]], text))


def neutral_result(value: Any, name: str = "") -> Any:
    """The same for every text of a result; what must be verbatim stays."""
    if name in _VERBATIM:
        return value
    if isinstance(value, str):
        return neutral(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        return {key: neutral_result(each, key) for key, each in fields.items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [neutral_result(each, name) for each in items]
    return value
