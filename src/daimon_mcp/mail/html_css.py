"""Style sheets and style attributes as plain declarations: linear in the text, whatever it holds; nothing raises.

Only what html_looks.py reads is kept. Shorthands are taken apart and values that a browser would refuse are dropped,
because the declaration before them holds then. Sources: CSS Syntax 3, CSS Cascade 4, Media Queries 4, CSS Nesting 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from daimon_mcp.mail.html_media import matches_screen
from daimon_mcp.mail.html_values import colour, length

MAX_VALUE = 500
MAX_SELECTORS = 4000
MAX_NESTING = 20
# Marks declarations among which there are variables to resolve. CSS keeps this name for itself, so nobody declares it.
VARIABLES = "--"

_COMMENT = re.compile(r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)")
_QUOTED_OR_COMMENT = re.compile(
    r"(\"[^\"\\\n]*+(?:\\.[^\"\\\n]*+)*+\"?|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'?)|/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)",
    re.DOTALL,
)
_STRUCTURE = re.compile(
    r"\"[^\"\\\n]*+(?:\\.[^\"\\\n]*+)*+\"?|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'?|\\."
    r"|url\(\s*+[^\"'\s)][^)]*+\)?|([{};])",
    re.DOTALL | re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})(?:\r\n|\s)?|\r\n|(.)|\Z)", re.DOTALL)
_IMPORTANT = re.compile(r"\s*!\s*important\s*\Z", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_PIECE = re.compile(r"[^\s(]*+\((?:[^()]|\([^()]*+\))*+\)[^\s(]*+|\S+")
_FONT_SIZE = re.compile(
    r"(?:^|\s)([+-]?[\d.]+(?:px|pt|em|rem|%|ex|pc|in|cm|mm|vw|vh|)|calc\([^)]*\)|[a-z-]+)(?:\s*/\s*\S+)?\s+\S"
)

_DISPLAYS = frozenset(
    {"none", "block", "inline", "inline-block", "flex", "inline-flex", "grid", "inline-grid", "table", "inline-table"}
    | {"table-row", "table-cell", "table-row-group", "table-header-group", "table-footer-group", "table-caption"}
    | {"table-column", "table-column-group", "list-item", "contents", "flow-root", "run-in", "-webkit-box"}
    | {"-webkit-inline-box", "ruby", "ruby-text", "math", "flow", "block flow", "inline flow-root", "-ms-flexbox"}
)
_KEYWORDS: dict[str, frozenset[str]] = {
    "display": _DISPLAYS,
    "visibility": frozenset({"visible", "hidden", "collapse"}),
    "position": frozenset({"static", "relative", "absolute", "fixed", "sticky", "-webkit-sticky"}),
    "float": frozenset({"left", "right", "none", "inline-start", "inline-end"}),
    "content-visibility": frozenset({"visible", "hidden", "auto"}),
    "direction": frozenset({"ltr", "rtl"}),
    "unicode-bidi": frozenset({"normal", "embed", "isolate", "bidi-override", "isolate-override", "plaintext"}),
    "white-space": frozenset({"normal", "nowrap", "pre", "pre-wrap", "pre-line", "break-spaces"}),
    "backface-visibility": frozenset({"visible", "hidden"}),
}
_GLOBAL = frozenset({"inherit", "initial", "unset", "revert", "revert-layer"})
_COLOURS = frozenset({"color", "background-color", "-webkit-text-fill-color"})
_SIDES = ("top", "right", "bottom", "left")
_LENGTHS = frozenset(
    {"width", "height", "max-width", "max-height", "text-indent", "line-height", "letter-spacing", *_SIDES}
    | {f"{each}-{side}" for each in ("margin", "padding") for side in _SIDES}
    | {"min-height", "min-width"}
)
_WORDS_FOR_LENGTHS = frozenset(
    {"auto", "none", "normal", "min-content", "max-content", "fit-content", "stretch", "-webkit-fill-available"}
)
_SIZES = frozenset({"xx-small", "x-small", "small", "medium", "large", "x-large", "xx-large", "smaller", "larger"})
_FREE = frozenset(
    {"opacity", "font-weight", "font-family", "clip", "clip-path", "transform", "translate", "scale", "rotate", "zoom"}
    | {"filter", "mask-image", "border", "border-radius", "border-width", "z-index", "background-image"}
    | {"list-style-type", "-webkit-text-security", "background-clip"}
)
_SHORT = frozenset(
    {"background", "font", "margin", "padding", "inset", "overflow", "overflow-x", "overflow-y"}
    | {"mask", "list-style"}
)
_ALIASES = {
    "-webkit-filter": "filter", "-webkit-clip-path": "clip-path", "-webkit-transform": "transform",
    "-webkit-mask-image": "mask-image", "-webkit-mask": "mask", "-webkit-background-clip": "background-clip",
    "-webkit-opacity": "opacity", "-ms-transform": "transform", "-webkit-backface-visibility": "backface-visibility",
    "margin-inline-start": "margin-left", "inset-inline-start": "left", "inset-block-start": "top",
    "block-size": "height", "inline-size": "width", "max-block-size": "max-height", "max-inline-size": "max-width",
    "-webkit-border-radius": "border-radius", "padding-inline-start": "padding-left",
}  # fmt: skip
PROPERTIES = frozenset({*_KEYWORDS, "font-size"}) | _COLOURS | _LENGTHS | _FREE | _SHORT | frozenset(_ALIASES)


class Declaration(NamedTuple):
    """One longhand property with a value in lower case."""

    name: str
    value: str
    important: bool


@dataclass(frozen=True, slots=True)
class StyleRule:
    """The selector list of a rule as it is written, and its declarations."""

    selectors: str
    declarations: tuple[Declaration, ...]


def unescape_css(text: str) -> str:
    """CSS escapes as the characters they stand for (CSS Syntax §4.3.7)."""
    return _ESCAPE.sub(_escaped, text) if "\\" in text else text


def _escaped(found: re.Match[str]) -> str:
    if found[1]:
        code = int(found[1], 16)
        return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
    return found[2] if found[2] and found[2] != "\n" else ""


@lru_cache(4096)
def declarations(text: str) -> tuple[Declaration, ...]:
    """The declarations of a style attribute, or of the inside of a rule, in their order."""
    if "/*" in text:
        text = _without_comments(text)
    found: list[Declaration] = []
    for part in _parts(text):
        _declaration(part, found)
    return tuple(found)


def _parts(text: str) -> list[str]:
    if '"' not in text and "'" not in text and "(" not in text and "\\" not in text and "{" not in text:
        return text.split(";")
    parts: list[str] = []
    start = 0
    for mark in _STRUCTURE.finditer(text):
        if mark[1] == ";":
            parts.append(text[start : mark.start()])
            start = mark.end()
    parts.append(text[start:])
    return parts


def _without_comments(text: str) -> str:
    if '"' not in text and "'" not in text:
        return _COMMENT.sub(" ", text)
    return _QUOTED_OR_COMMENT.sub(lambda found: found[1] or " ", text)


def _declaration(text: str, found: list[Declaration]) -> None:
    name, colon, value = text.partition(":")
    if not colon:
        return
    name = name.strip().lower()
    if "\\" in name:
        name = unescape_css(name).lower()
    if name not in PROPERTIES and (not name.startswith("--") or name == VARIABLES):
        return
    value = value[:MAX_VALUE]
    if "\\" in value:
        value = unescape_css(value)
    important = False
    if "!" in value:
        value, count = _IMPORTANT.subn("", value)
        important = count > 0
    value = _SPACES.sub(" ", value.strip()).lower()
    if value:
        for longhand, part in longhands(_ALIASES.get(name, name), value):
            found.append(Declaration(longhand, part, important))


@lru_cache(4096)
def longhands(name: str, value: str) -> tuple[tuple[str, str], ...]:
    """A property and its value as longhands; empty when a browser would refuse the value."""
    if name.startswith("--"):
        return ((name, value),)
    if name in _SHORT:
        return _taken_apart(name, value)
    if value in _GLOBAL or "var(" in value:
        return ((name, value),)
    if name in _KEYWORDS:
        return ((name, value),) if value in _KEYWORDS[name] else ()
    if name in _COLOURS:
        return ((name, value),) if value == "currentcolor" or colour(value) is not None else ()
    if name == "font-size":
        size = length(value, 16.0, 16.0)
        return ((name, value),) if value in _SIZES or (size is not None and size >= 0) else ()
    if name in _LENGTHS:
        return ((name, value),) if value in _WORDS_FOR_LENGTHS or length(value) is not None else ()
    return ((name, value),)


def _taken_apart(name: str, value: str) -> tuple[tuple[str, str], ...]:
    if "var(" in value and name in {"background", "font"}:
        return ((name, value),)
    if name.startswith("overflow"):
        return (("overflow", value.partition(" ")[0]),)
    if name == "background":
        return _background(value)
    if name == "font":
        size = _FONT_SIZE.search(value)
        sizes = _FONT_SIZE.findall(value)
        if size is None:
            return (("font-size", value),) if value in _GLOBAL else ()
        bold = any(word in {"bold", "bolder", "600", "700", "800", "900"} for word in value.split(" ")[:4])
        parts = [("font-family", value), ("font-weight", "bold" if bold else "normal")]
        for each in sizes:
            if each in _SIZES or (each[0] not in "abcdefghijklmnopqrstuvwxyz" or each.startswith("calc")):
                parts.append(("font-size", each))
                break
        return tuple(parts)
    if name == "mask":
        return (("mask-image", value),)
    if name == "list-style":
        return (("list-style-type", "none"),) if "none" in value.split(" ") else ()
    pieces = _PIECE.findall(value)[:4]
    top = pieces[0]
    right = pieces[1] if len(pieces) > 1 else top
    bottom = pieces[2] if len(pieces) > 2 else top
    left = pieces[3] if len(pieces) > 3 else right
    prefix = "" if name == "inset" else f"{name}-"
    return tuple((f"{prefix}{side}", each) for side, each in zip(_SIDES, (top, right, bottom, left), strict=True))


def _background(value: str) -> tuple[tuple[str, str], ...]:
    if value in _GLOBAL:
        return (("background-color", value), ("background-image", "none"))
    picture = "url(" in value or "gradient(" in value or "image(" in value or "image-set(" in value
    ground = "transparent"
    for piece in _PIECE.findall(value):
        if piece == "currentcolor" or ("url(" not in piece and "gradient(" not in piece and colour(piece.rstrip(","))):
            ground = piece
    return (("background-color", ground), ("background-image", value if picture else "none"))


def style_rules(sheet: str) -> list[StyleRule]:
    """The rules of a style sheet that hold on a usual screen, in their order, groups unwrapped and nesting resolved."""
    if "/*" in sheet:
        sheet = _without_comments(sheet)
    if "<!--" in sheet or "-->" in sheet:
        sheet = sheet.replace("<!--", " ").replace("-->", " ")
    rules: list[StyleRule] = []
    stack: list[str | None] = []  # the selectors of each open block; empty for a group, None for what is left out
    start = 0
    body: list[str] = []
    for mark in _STRUCTURE.finditer(sheet):
        sign = mark[1]
        if sign is None:
            continue
        piece = sheet[start : mark.start()]
        start = mark.end()
        if sign == ";":
            if stack and stack[-1]:
                body.append(piece)
            continue
        if sign == "{":
            _close(rules, stack, body)
            stack.append(_opened(piece.strip(), stack))
            continue
        if stack:
            if stack[-1]:
                body.append(piece)
            _close(rules, stack, body)
            stack.pop()
    if stack and stack[-1]:
        body.append(sheet[start:])
    _close(rules, stack, body)
    return rules


def _close(rules: list[StyleRule], stack: list[str | None], body: list[str]) -> None:
    if not body:
        return
    kept = declarations(";".join(body))
    body.clear()
    selectors = stack[-1] if stack else None
    if kept and selectors:
        rules.append(StyleRule(selectors, kept))


def _opened(prelude: str, stack: list[str | None]) -> str | None:
    """What a `{` opens: see `style_rules`."""
    outer = stack[-1] if stack else ""
    if outer is None or len(stack) >= MAX_NESTING:
        return None
    if prelude.startswith("@"):
        name, _, condition = prelude[1:].partition(" ")
        name, bracket, rest = name.partition("(")
        name = name.lower()
        if name == "media":
            return outer if matches_screen(f"{bracket}{rest} {condition}") else None
        return outer if name in {"supports", "layer", "container", "scope", "document", "-moz-document"} else None
    if not outer:
        return prelude or None
    if len(outer) + len(prelude) > MAX_SELECTORS:
        return None
    parent = f":is({outer})"
    nested = [part if "&" in part else f"& {part}" for part in prelude.split(",")]
    return ",".join(nested).replace("&", parent)
