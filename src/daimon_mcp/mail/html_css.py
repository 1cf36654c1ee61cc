"""Style sheets and style attributes as plain declarations: linear in the text, whatever it holds; nothing raises.

Only what html_looks.py reads is kept. Shorthands are taken apart and values that a browser would refuse are dropped,
because the declaration before them holds then. Sources: CSS Syntax 3, CSS Cascade 5, CSS Variables 2.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from daimon_mcp.mail.html_values import attribute_colour, colour, length

MAX_VALUE = 500
MAX_TEXT = 100_000
UNKNOWN = "unknown()"  # stands for a value that is too long to be worked out
# Marks declarations among which there are variables to resolve. CSS keeps this name for itself, so nobody declares it.
VARIABLES = "--"

_COMMENT = re.compile(r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)")
_QUOTED_OR_COMMENT = re.compile(
    r"(\"[^\"\\\n]*+(?:\\.[^\"\\\n]*+)*+\"?|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'?)|/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/|\Z)",
    re.DOTALL,
)
STRUCTURE = re.compile(
    r"\"[^\"\\\n]*+(?:\\.[^\"\\\n]*+)*+\"?|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'?|\\."
    r"|url\(\s*+[^\"'\s)][^)]*+\)?|([{}()\[\];])",
    re.DOTALL | re.IGNORECASE,
)
_BRACKETED = re.compile(r"[\"'(\\{\[]")
CLOSERS = {"(": ")", "[": "]", "{": "}"}
_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})(?:\r\n|\s)?|\r\n|(.)|\Z)", re.DOTALL)
_IMPORTANT = re.compile(r"\s*!\s*important\s*\Z", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_PIECE = re.compile(r"[^\s(]*+\((?:[^()]|\([^()]*+\))*+\)[^\s(]*+|\S+")
_FONT_SIZE = re.compile(
    r"(?:^|\s)([+-]?[\d.]+(?:px|pt|em|rem|%|ex|pc|in|cm|mm|vw|vh)|[+-]?0+(?:\.0*)?|calc\([^)]*\)|[a-z-]+)(?:\s*/\s*\S+)?\s+\S"
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
    | {"list-style-type", "-webkit-text-security", "background-clip", "contain", "font-size-adjust"}
    | {"animation", "animation-name", "animation-fill-mode"}
)
# A value that only the browser of the day can work out hides: nobody but a hider writes one here.
_HIDING = {
    "display": "none", "visibility": "hidden", "opacity": "0", "font-size": "0px", "color": "transparent",
    "-webkit-text-fill-color": "transparent",
}  # fmt: skip
_WORKED_OUT = re.compile(r"(?<![-\w])(?:attr|if|inherit|random|sibling-index|--[-\w]+)\(")
_VAR = re.compile(r"(?<![-\w])var\(")
_NAMED_VAR = re.compile(r"(?<![-\w])var\(\s*--[^\s,()]+\s*[,)]")
_NAME_OR_REST = re.compile(r"(--[^\s,(){};:]+)|[^-]+")
_MATHS = re.compile(
    r"(?<![-\w])(?:round|mod|rem|a?sin|a?cos|a?tan2?|pow|sqrt|hypot|log|exp|abs|sign|calc-size|anchor|anchor-size"
    r"|progress|sibling-count|sibling-index|random)\("
)
_NO_COLOUR = re.compile(
    r"(?<![-\w])(?:from|calc|color-mix|light-dark|contrast-color|device-cmyk|round|min|max|clamp)(?=[\s(])"
)
_UNITLESS = re.compile(r"[+-]?[\d.]+\Z")
_AWAY = frozenset({"left", "top", "text-indent", "margin-left", "margin-top"})
_BACKGROUND = re.compile(
    r"(?:none|transparent|currentcolor|repeat(?:-[xy])?|no-repeat|space|round|scroll|fixed|local|left|right|top|bottom"
    r"|center|cover|contain|auto|(?:border|padding|content)-box|text|border-area|/|initial|inherit)\Z"
)
_OVERFLOWS = frozenset({"visible", "hidden", "clip", "scroll", "auto", "overlay", *_GLOBAL})
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


def unescape_css(text: str) -> str:
    """CSS escapes as the characters they stand for (CSS Syntax §4.3.7)."""
    return _ESCAPE.sub(_escaped, text) if "\\" in text else text


def _escaped(found: re.Match[str]) -> str:
    if found[1]:
        code = int(found[1], 16)
        return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
    return found[2] if found[2] and found[2] != "\n" else ""


@lru_cache(4096)
def declarations(text: str, *, quirks: bool) -> tuple[Declaration, ...]:
    """The declarations of a style attribute, or of the inside of a rule, in their order."""
    if "/*" in text:
        text = without_comments(text)
    found: list[Declaration] = []
    for part in parts(text):
        _declaration(part, found, quirks)
    return tuple(found)


def only_hiding(found: tuple[Declaration, ...]) -> tuple[Declaration, ...]:
    """Those that can only hide: what is left of a rule of which nobody can say whether it holds."""
    return tuple(each for each in found if hides(each))


def hides(each: Declaration) -> bool:
    """Whether a declaration alone makes text unseen."""
    name, value = each.name, each.value
    if name == "display":
        return value == "none"
    if name in {"visibility", "content-visibility"}:
        return value in {"hidden", "collapse"}
    if name == "opacity":
        return (length(value, 16.0, 1.0) or 0.0) < 0.06 if value[0] in "+-.0123456789" else False
    if name == "font-size":
        size = length(value, 16.0, 16.0)
        return size is not None and size < 4
    if name in {"color", "-webkit-text-fill-color"}:
        found = colour(value)
        return found is not None and found.alpha < 0.06
    return False


def parts(text: str) -> list[str]:
    """The pieces between semicolons that are in no brackets and no string."""
    if (
        '"' not in text
        and "'" not in text
        and "(" not in text
        and "\\" not in text
        and "{" not in text
        and "[" not in text
    ):
        return text.split(";")
    pieces: list[str] = []
    open_ones: list[str] = []
    start = 0
    for mark in STRUCTURE.finditer(text):
        sign = mark[1]
        if sign is None:
            continue
        if sign == ";":
            if not open_ones:
                pieces.append(text[start : mark.start()])
                start = mark.end()
        elif sign in CLOSERS:
            open_ones.append(CLOSERS[sign])
        elif open_ones and open_ones[-1] == sign:
            open_ones.pop()
    # The end of the text closes what is open.
    pieces.append(text[start:] + "".join(reversed(open_ones[-20:])))
    return pieces


def without_comments(text: str) -> str:
    if '"' not in text and "'" not in text:
        return _COMMENT.sub(" ", text)
    return _QUOTED_OR_COMMENT.sub(lambda found: found[1] or " ", text)


def _declaration(text: str, found: list[Declaration], quirks: bool) -> None:
    name, colon, value = text.partition(":")
    if not colon:
        return
    name = name.strip()
    if "\\" in name:
        name = unescape_css(name)
    if not name.startswith("--"):
        name = name.lower()
        if name not in PROPERTIES:
            return
    elif name == VARIABLES:
        return
    if "\\" in value:
        value = unescape_css(value)
    important = False
    if "!" in value:
        value, count = _IMPORTANT.subn("", value[-MAX_TEXT:])
        important = count > 0
    value = _SPACES.sub(" ", value.strip())
    value = _NAME_OR_REST.sub(_lower, value) if "--" in value else value.lower()
    if value:
        for longhand, part in longhands(_ALIASES.get(name, name), value, quirks=quirks):
            found.append(Declaration(longhand, part, important))


def _lower(found: re.Match[str]) -> str:
    return found[1] or found[0].lower()  # the names of variables are told apart by case


def longhands(name: str, value: str, *, quirks: bool) -> tuple[tuple[str, str], ...]:
    """A property and its value as longhands; empty when a browser would refuse the value."""
    if len(value) > MAX_VALUE:
        if name in _HIDING or name.startswith("--"):
            return ((name, _HIDING.get(name, UNKNOWN)),)
        value = value[:MAX_VALUE]
    return _longhands(name, value, quirks)


@lru_cache(4096)
def _longhands(name: str, value: str, quirks: bool) -> tuple[tuple[str, str], ...]:
    if name.startswith("--"):
        return ((name, value),)
    if "var(" in value and len(_VAR.findall(value)) != len(_NAMED_VAR.findall(value)):
        return ()
    if "(" in value and name in _HIDING and (_WORKED_OUT.search(value) or UNKNOWN in value):
        return ((name, _HIDING[name]),)
    if name in _SHORT:
        return _taken_apart(name, value)
    if value in _GLOBAL or "var(" in value or "env(" in value:
        return ((name, value),)
    if name in _KEYWORDS:
        return ((name, value),) if value in _KEYWORDS[name] else ()
    if name in _COLOURS:
        return _colour(name, value, quirks)
    if name == "opacity":
        return _opacity(value)
    if name == "font-size" or name in _LENGTHS:
        return _length(name, value, quirks)
    return ((name, value),)


def _colour(name: str, value: str, quirks: bool) -> tuple[tuple[str, str], ...]:
    if value == "currentcolor" or colour(value) is not None:
        return ((name, value),)
    if quirks and value.isalnum() and len(value) in {3, 6} and attribute_colour(value) is not None:
        return ((name, f"#{value}"),)
    if value.endswith(")") and _NO_COLOUR.search(value):
        # A ground that nobody can tell leaves the one behind it.
        return ((name, _HIDING[name]),) if name in _HIDING else ()
    return ()


def _opacity(value: str) -> tuple[tuple[str, str], ...]:
    if length(value, 16.0, 1.0) is None or value.rstrip("%")[-1:].isalpha():
        return (("opacity", "0"),) if _MATHS.search(value) else ()
    return (("opacity", value),)


def _length(name: str, value: str, quirks: bool) -> tuple[tuple[str, str], ...]:
    px = length(value, 16.0, 16.0)
    if px is None:
        if value in (_SIZES if name == "font-size" else _WORDS_FOR_LENGTHS):
            return ((name, value),)
        if not _MATHS.search(value):
            return ()
        return ((name, "-9999px" if name in _AWAY else "0px"),)
    if name == "font-size" and px < 0:
        return ()
    if not quirks and px != 0 and name != "line-height" and _UNITLESS.match(value):
        return ()
    return ((name, value),)


def _taken_apart(name: str, value: str) -> tuple[tuple[str, str], ...]:
    if "var(" in value and name in {"background", "font"}:
        return ((name, value),)
    if name.startswith("overflow"):
        first = value.partition(" ")[0]
        return (("overflow", first),) if first in _OVERFLOWS else ()
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
        each = piece.rstrip(",")
        if each == "currentcolor" or ("url(" not in each and "gradient(" not in each and colour(each)):
            ground = each
        elif not each or "(" in each or "," in each or _BACKGROUND.match(each):
            continue
        elif length(each) is None:
            return ()
    return (("background-color", ground), ("background-image", value if picture else "none"))


_FOREIGN = ("-ms-", "-moz-", "-o-", "-apple-", "-khtml-", "-webkit-overflow-scrolling", "-webkit-touch-callout")


def supported(name: str, value: str) -> bool | None:
    """Whether a browser takes this declaration; None where only the browser knows."""
    name, value = name.strip().lower(), _SPACES.sub(" ", value.strip().lower())
    if name.startswith(_FOREIGN):
        return False
    if name in _KEYWORDS or name in _COLOURS or name in _LENGTHS or name in {"font-size", "opacity"}:
        return True if value and longhands(name, value, quirks=False) else None
    return None
