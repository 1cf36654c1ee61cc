"""Whether a media query holds on a usual screen: a light one of 1280 by 720 px with a mouse (Media Queries 4)."""

from __future__ import annotations

import re
from functools import lru_cache

from daimon_mcp.mail.html_values import WINDOW_HEIGHT, WINDOW_WIDTH, length

_FEATURE = re.compile(r"\(([^()]{0,200})\)")
_RANGE = re.compile(r"(<=?|>=?|=)")
_VALUES = {"width": WINDOW_WIDTH, "device-width": WINDOW_WIDTH, "height": WINDOW_HEIGHT, "device-height": WINDOW_HEIGHT}
_HOLDS = {
    "prefers-color-scheme": frozenset({"light"}),
    "orientation": frozenset({"landscape"}),
    "prefers-reduced-motion": frozenset({"no-preference"}),
    "prefers-contrast": frozenset({"no-preference"}),
    "forced-colors": frozenset({"none"}),
    "inverted-colors": frozenset({"none"}),
    "hover": frozenset({"hover", ""}),
    "any-hover": frozenset({"hover", ""}),
    "pointer": frozenset({"fine", ""}),
    "any-pointer": frozenset({"fine", ""}),
    "scripting": frozenset({"none"}),
    "update": frozenset({"fast", ""}),
    "display-mode": frozenset({"browser"}),
    "color": frozenset({""}),
    "-webkit-transform-3d": frozenset({""}),
}


@lru_cache(512)
def matches_screen(query: str) -> bool:
    """Whether a media query list holds. What cannot be understood does not."""
    query = query.strip().lower()[:2000]
    return not query or any(_one(part.strip()) for part in query.split(","))


def _one(query: str) -> bool:
    negated = query.startswith("not ")
    if negated:
        query = query[4:].strip()
    query = query.removeprefix("only ").strip()
    holds = True
    for part in _FEATURE.findall(query):
        holds = holds and _feature(part.strip())
    words = [word for word in _FEATURE.sub(" ", query).split() if word != "and"]
    if "or" in words:
        holds = any(_feature(part.strip()) for part in _FEATURE.findall(query))
        words = [word for word in words if word != "or"]
    if words == ["not"]:
        return not holds
    if any(word not in {"all", "screen"} for word in words):
        holds = False
    return holds != negated


def _feature(feature: str) -> bool:
    if ":" in feature:
        name, _, value = feature.partition(":")
        return _named(name.strip(), value.strip())
    pieces = _RANGE.split(feature)
    if len(pieces) < 3:
        return _named(feature, "")
    for left, sign, right in zip(pieces[::2], pieces[1::2], pieces[2::2], strict=False):
        one, other = _number(left.strip()), _number(right.strip())
        if one is None or other is None:
            return False
        if not {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other, "=": one == other}[sign]:
            return False
    return True


def _number(text: str) -> float | None:
    return _VALUES[text] if text in _VALUES else length(text)


def _named(name: str, value: str) -> bool:
    if name in _HOLDS:
        return value in _HOLDS[name]
    kind, _, rest = name.partition("-")
    if kind in {"min", "max"} and rest in _VALUES:
        px = length(value)
        if px is None:
            return False
        return _VALUES[rest] >= px if kind == "min" else _VALUES[rest] <= px
    if name in _VALUES:
        return _VALUES[name] == length(value) if value else True
    if "device-pixel-ratio" in name or name.endswith("resolution"):
        number = length(re.sub(r"(?:dpi|dppx|x)\Z", "", value).split("/")[0])
        if number is None:
            return value == ""
        ratio = 96.0 if value.endswith("dpi") else 1.0
        if "min-" in name:
            return ratio >= number
        return ratio <= number if "max-" in name else ratio == number
    return False
