"""Authentication-Results (RFC 8601): written, read, and removed where somebody else wrote ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from daimon_mcp.mail.authentication.arc import ArcResult
from daimon_mcp.mail.authentication.dkim import DkimResult
from daimon_mcp.mail.authentication.dmarc import DmarcResult
from daimon_mcp.mail.authentication.lookup import ascii_domain
from daimon_mcp.mail.authentication.spf import SpfResult
from daimon_mcp.mail.encode import fold
from daimon_mcp.mail.headers import scan_headers

_MOST = 20_000  # octets of a field that are read
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~@-]+")
_NOT_SHOWN = re.compile(r"[^ -~]")
_OUTSIDE = re.compile(r'([^()"\\]+)|("(?:[^"\\]|\\.)*+")|(\()|[)"]|\\.?', re.DOTALL)
_INSIDE = re.compile(r"[^()\\]+|([()])|\\.?", re.DOTALL)
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*+)"|([^\s;="/]+)|([;=/])')
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Statement:
    """One `method=result`, with its properties such as `header.from`; all names in lower case."""

    method: str
    result: str
    properties: dict[str, str]


def results_header(
    authserv_id: str, spf: SpfResult, dkim: Sequence[DkimResult], dmarc: DmarcResult, arc: ArcResult
) -> bytes:
    """The field with its CRLF, folded. Everything in it is ASCII, and a stranger's words only in quotes."""
    items = [_item("spf", spf.result, spf.reason, {f"smtp.{spf.scope}": spf.domain})]
    for one in dkim:
        properties = {
            "header.d": one.domain,
            "header.s": one.selector,
            "header.a": one.algorithm,
            "header.b": one.tag,
        }
        items.append(_item("dkim", one.result, one.reason, properties))
    if not dkim:
        items.append("dkim=none")
    policy = dmarc.policy if dmarc.published is not None else ""
    items.append(_item("dmarc", dmarc.result, dmarc.reason, {"header.from": dmarc.domain, "policy.dmarc": policy}))
    if arc.result != "none":
        items.append(_item("arc", arc.result, arc.reason, {}))
    return fold("Authentication-Results", "; ".join([_value(authserv_id), *items])).encode("ascii")


def _item(method: str, result: str, reason: str, properties: dict[str, str]) -> str:
    words = [f"{method}={result}"]
    if reason:
        words.append(f"reason={_quoted(reason)}")
    words += [f"{name}={_value(value)}" for name, value in properties.items() if value]
    return " ".join(words)


def _quoted(text: str) -> str:
    shown = _NOT_SHOWN.sub("?", text[:200]).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{" ".join(shown.split())}"'


def _value(text: str) -> str:
    return text if len(text) <= 255 and _PLAIN.fullmatch(text) else _quoted(text)


def read_results(value: bytes) -> tuple[str, list[Statement]]:
    """A field's value as (authserv-id in lower case, statements), comments left out; "" and nothing where it makes no
    sense. Of an ARC-Authentication-Results field, what stands behind its instance."""
    text = _without_comments(value[:_MOST].decode("utf-8", "replace"))
    groups: list[list[str]] = [[]]
    for match in _TOKEN.finditer(text):
        if match[3] == ";":
            groups.append([])
        else:
            groups[-1].append(_QUOTED_PAIR.sub(r"\1", match[1]) if match[1] is not None else match[0])
    identity = groups[0][0].lower().removesuffix(".") if groups[0] else ""
    return identity, [one for one in map(_statement, groups[1:]) if one is not None]


def _statement(words: list[str]) -> Statement | None:
    """`method [/ version] = result`, then `name = value` for reason and properties."""
    if len(words) > 3 and words[1] == "/":
        words = [words[0], *words[3:]]
    if len(words) < 3 or words[1] != "=" or not (words[0] and words[2]):
        return None
    properties: dict[str, str] = {}
    position = 3
    while position + 2 < len(words):
        if words[position + 1] == "=":
            properties.setdefault(words[position].lower(), words[position + 2])
            position += 3
        else:
            position += 1
    return Statement(words[0].lower(), words[2].lower(), properties)


def _without_comments(text: str) -> str:
    """Comments, which may hold others, as a space each; one that never ends takes the rest with it."""
    kept: list[str] = []
    position, depth = 0, 0
    while position < len(text):
        match = (_INSIDE if depth else _OUTSIDE).match(text, position)
        assert match is not None  # both match any character
        position = match.end()
        if depth:
            depth += {"(": 1, ")": -1}.get(match[1] or "", 0)
        elif match[3]:
            depth = 1
            kept.append(" ")
        elif match[1] or match[2]:
            kept.append(match[0])
    return "".join(kept)


def remove_forged(content: bytes, authserv_id: str) -> bytes:
    """`content` without the Authentication-Results fields that carry our `authserv_id`, or none that can be read
    (RFC 8601 §5); the same object when there are none."""
    written = authserv_id.lower().removesuffix(".")
    own = {written, ascii_domain(authserv_id) or written}
    kept: list[bytes] = []
    position = 0
    for header in scan_headers(content, 0)[0]:
        if header.name.lower() != "authentication-results":
            continue
        identity = read_results(header.raw)[0]
        if not identity or identity in own or ascii_domain(identity) in own:
            kept.append(content[position : header.start])
            position = header.end
    return b"".join([*kept, content[position:]]) if position else content
