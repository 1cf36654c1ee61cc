"""Values of CSS properties: colours, lengths, sums of lengths. Whatever is no value is None; nothing raises.

Sources: CSS Color 4, CSS Values 4 (calc, min, max, clamp), HTML §2.3.6 for colours in attributes.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

# The window that media queries, vw and vh are about, in px.
WINDOW_WIDTH: Final = 1280.0
WINDOW_HEIGHT: Final = 720.0
FONT_SIZE: Final = 16.0

_HEX = re.compile(r"#?([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})\Z")
_NUMBER = r"[+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})\d{0,20}(?:e[+-]?\d{1,3})?"
_LENGTH = re.compile(rf"({_NUMBER})(%|[a-z]{{0,6}})\Z")
_LEGACY_RGB = re.compile(r"rgba?\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(?:,\s*(\d{0,3}\.?\d{1,6})\s*)?\)\Z")
_TOKEN = re.compile(rf"\s*(?:({_NUMBER})(%|[a-z]{{0,5}})|(calc|min|max|clamp)?\(|([-+*/),]))")
_MAX_VALUE = 200
_PX = {"px": 1.0, "": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 9.6 / 2.54, "q": 2.4 / 2.54}
_WINDOW = {"vw": WINDOW_WIDTH / 100, "vh": WINDOW_HEIGHT / 100, "vmin": 7.2, "vmax": 12.8, "vi": 12.8, "vb": 7.2}
_FONT = {"em": 1.0, "ex": 0.5, "ch": 0.5, "cap": 0.7, "ic": 1.0, "lh": 1.2}
_LIGHTNESS = {"lab": 100.0, "lch": 100.0, "oklab": 1.0, "oklch": 1.0}
_ROOT = {"rem": FONT_SIZE, "rlh": FONT_SIZE * 1.2, "rex": FONT_SIZE / 2, "rch": FONT_SIZE / 2}


class Colour(NamedTuple):
    """Red, green and blue of 0 to 255, alpha of 0 to 1."""

    red: float
    green: float
    blue: float
    alpha: float = 1.0

    def over(self, ground: Colour) -> Colour:
        """This colour seen through its alpha on an opaque ground."""
        a = self.alpha
        if a >= 1:
            return self
        return Colour(
            self.red * a + ground.red * (1 - a),
            self.green * a + ground.green * (1 - a),
            self.blue * a + ground.blue * (1 - a),
        )

    def distance(self, other: Colour) -> float:
        """Euclidean distance in RGB, 0 to 442."""
        return math.sqrt((self.red - other.red) ** 2 + (self.green - other.green) ** 2 + (self.blue - other.blue) ** 2)


BLACK: Final = Colour(0, 0, 0)
WHITE: Final = Colour(255, 255, 255)
LINK: Final = Colour(0, 0, 238)
TRANSPARENT: Final = Colour(0, 0, 0, 0)
# The colours of the system, as a light one has them (CSS Color 4 §6.2 and its appendix of older names).
_SYSTEM: Final = {
    **dict.fromkeys(
        ("canvas", "field", "window", "background", "appworkspace", "menu", "infobackground", "scrollbar",
         "highlighttext", "selecteditemtext", "accentcolortext", "-webkit-text", "infobackground"), WHITE),
    **dict.fromkeys(
        ("canvastext", "fieldtext", "windowtext", "buttontext", "marktext", "menutext", "infotext", "captiontext",
         "-internal-light-dark"), BLACK),
    **dict.fromkeys(
        ("buttonface", "threedface", "threedlightshadow", "threedhighlight", "buttonhighlight", "buttonshadow",
         "activecaption", "inactivecaption"), Colour(240, 240, 240)),
    "linktext": LINK, "visitedtext": Colour(85, 26, 139), "activetext": Colour(255, 0, 0),
    "graytext": Colour(128, 128, 128), "inactivecaptiontext": Colour(128, 128, 128), "mark": Colour(255, 255, 0),
    "highlight": Colour(0, 120, 215), "selecteditem": Colour(0, 120, 215), "accentcolor": Colour(0, 117, 255),
    "-webkit-link": LINK,
}  # fmt: skip


@lru_cache(4096)
def colour(value: str) -> Colour | None:
    """The colour that a lower-case value says; None for what is none, and for `currentcolor`."""
    found = _HEX.match(value)
    if found and value[0] == "#":
        return _hex(found[1])
    if value == "transparent":
        return TRANSPARENT
    legacy = _LEGACY_RGB.match(value)
    if legacy:
        red, green, blue = (min(float(legacy[each]), 255.0) for each in (1, 2, 3))
        return Colour(red, green, blue, 1.0 if legacy[4] is None else min(float(legacy[4]), 1.0))
    if value in _SYSTEM:
        return _SYSTEM[value]
    if not value or len(value) > _MAX_VALUE or not value[0].isalpha():
        return None
    try:
        return _other_notation(value)
    except (ValueError, TypeError, NotImplementedError, ArithmeticError, RecursionError):
        return None


def _other_notation(value: str) -> Colour | None:
    from tinycss2.color4 import parse_color

    parsed: Any = parse_color(value)
    if parsed is None or isinstance(parsed, str):  # the word currentcolor
        return None
    alpha = min(max(float(parsed.alpha), 0.0), 1.0)
    if parsed.space in _LIGHTNESS:
        return _grey(parsed.space, [float(part or 0.0) for part in parsed.coordinates], alpha)
    red, green, blue = (min(max(float(part or 0.0), 0.0), 1.0) * 255 for part in parsed.to("srgb").coordinates)
    return Colour(red, green, blue, alpha)


def _grey(space: str, parts: list[float], alpha: float) -> Colour:
    """A colour given by its lightness, without its hue: enough to tell whether it can be seen on a ground."""
    light = parts[0] / _LIGHTNESS[space]
    linear = min(max(light, 0.0), 1.0) ** 3
    level = 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)
    chroma = min(max(abs(parts[1]), abs(parts[2]) if space.endswith("lab") else 0.0) / _LIGHTNESS[space], 1.0)
    return Colour(level, level, level * (1 - chroma), alpha)


def _hex(digits: str) -> Colour:
    if len(digits) <= 4:
        digits = "".join(digit * 2 for digit in digits)
    parts = [int(digits[at : at + 2], 16) for at in range(0, len(digits), 2)]
    return Colour(parts[0], parts[1], parts[2], parts[3] / 255 if len(parts) == 4 else 1.0)


def attribute_colour(value: str) -> Colour | None:
    """The colour of an attribute such as `bgcolor`, where the `#` may be missing."""
    value = value.strip().lower()
    found = _HEX.match(value)
    if found and len(found[1]) in {3, 6}:
        return _hex(found[1])
    return colour(value)


@lru_cache(4096)
def length(value: str, font: float = FONT_SIZE, base: float = 0.0) -> float | None:
    """The px of a lower-case length; `em` is of `font`, `%` of `base`. None for `auto` and whatever is no length.

    A number without a unit is px, as it is in quirks mode.
    """
    found = _LENGTH.match(value)
    if found:
        return _px(float(found[1]), found[2], font, base)
    if "(" in value and len(value) <= _MAX_VALUE:
        return _Sum(value, font, base).result()
    return None


def _px(number: float, unit: str, font: float, base: float) -> float | None:
    if not math.isfinite(number):
        number = math.copysign(1e9, number)
    factor = _PX.get(unit)
    if factor is None:
        if unit == "%":
            return number * base / 100
        if unit in _FONT:
            return number * _FONT[unit] * font
        if len(unit) == 3 and unit[0] in "sld":  # svw, lvh, dvh
            unit = unit[1:]
        if unit.startswith("cq"):  # of a container that may have no width: what is left of it is left, the rest nothing
            return number * WINDOW_WIDTH / 100 if number < 0 else 0.0
        factor = _ROOT.get(unit) or _WINDOW.get(unit)
    return None if factor is None else number * factor


class _Sum:
    """calc(), min(), max() and clamp(), read by recursive descent of at most 20 levels."""

    def __init__(self, text: str, font: float, base: float) -> None:
        self._text, self._font, self._base = text, font, base
        self._at = 0
        self._depth = 0

    def result(self) -> float | None:
        try:
            value = self._factor()
            return value if not self._text[self._at :].strip() and math.isfinite(value) else None
        except (ValueError, ArithmeticError):
            return None

    def _next(self) -> re.Match[str]:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise ValueError
        self._at = found.end()
        return found

    def _sum(self) -> tuple[float, str]:
        value, sign = self._product()
        while sign in {"+", "-"}:
            more, following = self._product()
            value, sign = (value + more if sign == "+" else value - more), following
        return value, sign

    def _product(self) -> tuple[float, str]:
        value = self._factor()
        while (sign := self._next()[4]) in {"*", "/"}:
            more = self._factor()
            value = value * more if sign == "*" else value / more
        return value, sign or ""

    def _factor(self) -> float:
        token = self._next()
        if token[1] is not None:
            value = _px(float(token[1]), token[2], self._font, self._base)
            if value is None:
                raise ValueError
            return value
        if token[4] is not None or self._depth >= 20:
            raise ValueError
        self._depth += 1
        values: list[float] = []
        end = ","
        while end == ",":
            value, end = self._sum()
            values.append(value)
        if end != ")":
            raise ValueError
        self._depth -= 1
        if token[3] == "min":
            return min(values)
        if token[3] == "max":
            return max(values)
        if token[3] == "clamp" and len(values) == 3:
            return max(values[0], min(values[1], values[2]))
        if len(values) != 1:
            raise ValueError
        return values[0]
