"""The ways in which CSS puts a whole box out of sight, from its declarations alone.

Each answer is a `how` of html_view.HiddenText, empty for what can be seen. Thresholds leave room for what ordinary
mail does: hanging indents, negative margins, boxes that only hold pictures.
"""

from __future__ import annotations

import re
from typing import Final

from daimon_mcp.mail.html_values import FONT_SIZE, WINDOW_WIDTH, colour, length

TINY_BOX: Final = 2.0  # px of width or height in which nothing can be read
FAR: Final = -500.0  # px to the left or above, from which a box is out of the window
FAR_LEFT: Final = -350.0  # px to the left, all boxes around it together
FAR_RIGHT: Final = 3000.0
FAR_INDENT: Final = -300.0
_PERCENT_BASE = 530.0  # so that -100 % is far, and -90 % is not
_TINY_SCALE = 4.0  # px that a letter has at least

_FUNCTION = re.compile(r"([a-z0-9]{1,20}+)\(([^()]{0,300}+)\)")
_ANGLE = re.compile(r"([+-]?\d{0,6}\.?\d{0,6})(deg|turn|rad|grad)?\Z")
_IN_GRADIENT = re.compile(r"#[0-9a-f]{3,8}\b|(?:rgba?|hsla?|oklch|oklab|lab|lch)\([^()]{0,80}\)|\b[a-z]{3,20}\b(?!\()")
_UNBOXED = frozenset(
    {"inline", "table", "table-cell", "table-row", "table-row-group", "table-header-group", "table-footer-group"}
    | {"inline-table", "contents", "ruby"}
)


def out_of_sight(css: dict[str, str], display: str, size: float) -> str:
    """How the declarations of one element hide it and all inside; `size` is its font size in px."""
    if display == "none":
        return "display"
    if css.get("content-visibility") == "hidden":
        return "display"
    position = css.get("position", "static")
    lifted = position in {"absolute", "fixed"}
    if "clip" in css and lifted and _clipped(css["clip"]):
        return "clip"
    if "clip-path" in css and _path_clipped(css["clip-path"]):
        return "clip"
    if _far(css, size, moved=position != "static"):
        return "off_screen"
    if "overflow" in css and css["overflow"] != "visible":
        boxed = lifted or display not in _UNBOXED or css.get("float", "none") != "none"
        if boxed and _no_room(css, size):
            return "size"
        indent = css.get("text-indent", "")
        if indent.endswith("%") and (length(indent, size, 100.0) or 0.0) >= 95:
            return "off_screen"
    if css.get("-webkit-text-security", "none") != "none":
        return "visibility"
    if "contain" in css and _contained(css, size):
        return "size"
    filtered = css.get("filter")
    if filtered and _filtered_out(filtered):
        return "opacity"
    mask = css.get("mask-image", "")
    if "gradient(" in mask:
        seen = gradient_colours(mask)
        if seen and all(alpha < 0.06 for alpha in seen):
            return "opacity"
    return _transformed(css, size)


def _contained(css: dict[str, str], size: float) -> bool:
    """Whether a box is as high as if it were empty, and shows nothing beyond it (CSS Containment 2)."""
    words = css["contain"].split()
    cut = "strict" in words or "paint" in words or "content" in words or css.get("overflow", "visible") != "visible"
    if not cut or not {"strict", "size"} & set(words):
        return False
    return all((length(css.get(each, ""), size, 1000.0) or 0.0) <= TINY_BOX for each in ("height", "min-height"))


def shift(css: dict[str, str], size: float) -> float:
    """The px that one element moves what is in it to the right; what brings it back counts only in the same element."""
    px = 0.0
    if css.get("position", "static") != "static":
        px += length(css.get("left", ""), size, WINDOW_WIDTH) or 0.0
    px += length(css.get("margin-left", ""), size, 0.0) or 0.0
    for name, inside in transforms(css):
        if name in {"translate", "translatex", "translate3d"}:
            px += length(inside.replace(",", " ").split(" ")[0], size, 330.0) or 0.0
    return min(px, 0.0)


def faintness(css: dict[str, str]) -> float:
    """The alpha that the filters of an element leave."""
    alpha = 1.0
    for name, inside in _FUNCTION.findall(css.get("filter", "")):
        if name == "opacity":
            alpha *= alpha_of(inside)
    return alpha


def shrunk(css: dict[str, str]) -> float:
    """The factor by which an element makes what is in it smaller or larger."""
    scale = 1.0
    for name, inside in transforms(css):
        factor = _factor(name, [each for each in inside.replace(",", " ").split() if each])
        scale *= 1.0 if factor is None else factor
    return scale


def _factor(name: str, parts: list[str]) -> float | None:
    if name.startswith("scale") or name == "zoom":
        values = [abs(length(each, FONT_SIZE, 1.0) or 0.0) for each in parts[: 1 if name == "zoom" else 2]]
        factor = min(values, default=1.0)
        return 1.0 if name == "zoom" and factor <= 0 else factor
    numbers = [length(each) or 0.0 for each in parts] if name.startswith("matrix") else []
    if len(numbers) == 6:
        return min(abs(numbers[0]) + abs(numbers[1]), abs(numbers[2]) + abs(numbers[3]))
    if len(numbers) == 16:
        return min(abs(numbers[0]) + abs(numbers[1]), abs(numbers[4]) + abs(numbers[5])) / (abs(numbers[15]) or 1.0)
    return None


def transforms(css: dict[str, str]) -> list[tuple[str, str]]:
    """The functions of `transform` and of the properties that are one each."""
    written = css.get("transform")
    functions: list[tuple[str, str]] = _FUNCTION.findall(written) if written else []
    if "scale" in css:
        functions.append(("scale", css["scale"]))
    if "translate" in css:
        functions.append(("translate", css["translate"].replace(" ", ",")))
    if "rotate" in css:
        axis, _, angle = css["rotate"].rpartition(" ")
        functions.append((f"rotate{axis}" if axis in {"x", "y"} else "rotate", angle))
    if "zoom" in css and css["zoom"] not in {"normal", "reset"}:
        functions.append(("zoom", css["zoom"]))
    return functions


def gradient_colours(value: str) -> list[float]:
    """The alpha of each colour of a gradient."""
    return [found.alpha for each in _IN_GRADIENT.findall(value[:1000]) if (found := colour(each)) is not None]


def _far(css: dict[str, str], size: float, *, moved: bool) -> bool:
    if moved:
        for side in ("left", "top", "right", "bottom"):
            value = css.get(side)
            if value is not None:
                px = length(value, size, _PERCENT_BASE)
                if px is not None and (px <= FAR or px >= FAR_RIGHT * (1 if side in {"left", "right"} else 2)):
                    return True
    for side in ("margin-left", "margin-top", "padding-left", "margin-right"):
        value = css.get(side)
        if value is not None:
            px = length(value, size, _PERCENT_BASE)
            if px is not None and ((px <= FAR and side != "margin-right") or px >= FAR_RIGHT):
                return True
    return False


def _no_room(css: dict[str, str], size: float) -> bool:
    for name, sides in (("height", ("top", "bottom")), ("width", ("left", "right"))):
        least = length(css.get(f"min-{name}", ""), size, 1000.0) or 0.0
        if least > TINY_BOX:
            continue
        given = [length(css[each], size, 1000.0) for each in (name, f"max-{name}") if each in css]
        px = min((each for each in given if each is not None), default=None)
        if px is None and name == "height" and "line-height" in css:
            line = length(css["line-height"], size, size)
            px = line if line is not None and line == 0 else None
        if px is None or px > TINY_BOX:
            continue
        inside = sum(length(css.get(f"padding-{side}", ""), size, 1000.0) or 0.0 for side in sides)
        if px + inside <= 2 * TINY_BOX:
            return True
    return False


def _clipped(value: str) -> bool:
    if not value.startswith("rect("):
        return False
    parts = [length(each, FONT_SIZE, 100.0) for each in value[5:].rstrip(")").replace(",", " ").split()]
    if len(parts) != 4:
        return False
    top, right, bottom, left = parts
    if bottom is not None and bottom - (top or 0.0) <= TINY_BOX:
        return True
    return right is not None and right - (left or 0.0) <= TINY_BOX


def _path_clipped(value: str) -> bool:
    if value.startswith(("path(", "shape(", "url(")):
        return True  # a shape that nobody draws in a mail
    found = _FUNCTION.search(value)
    if found is None:
        return False
    name, inside = found[1], found[2]
    if name == "inset":
        parts = [length(each, FONT_SIZE, 100.0) or 0.0 for each in inside.partition("round")[0].split()]
        top, right, bottom, left = _four(parts)
        return top + bottom >= 98 or right + left >= 98
    if name in {"circle", "ellipse"}:
        parts = inside.partition("at")[0].split()
        return any((length(each, FONT_SIZE, 100.0) or 0.0) <= 1.0 for each in parts if each[0] in "0123456789.+-")
    if name == "polygon":
        points = [[length(each, FONT_SIZE, 100.0) or 0.0 for each in point.split()[:2]] for point in inside.split(",")]
        flat = [point for point in points if len(point) == 2]
        return bool(flat) and any(max(p[axis] for p in flat) - min(p[axis] for p in flat) <= 1 for axis in (0, 1))
    if name in {"rect", "xywh"}:
        parts = [length(each, FONT_SIZE, 100.0) or 0.0 for each in inside.split()[:4]]
        if len(parts) < 4:
            return False
        if name == "xywh":
            return parts[2] <= 1 or parts[3] <= 1
        return parts[2] - parts[0] <= 1 or parts[1] - parts[3] <= 1
    return False


def _four(parts: list[float]) -> tuple[float, float, float, float]:
    if not parts:
        return 0.0, 0.0, 0.0, 0.0
    top = parts[0]
    right = parts[1] if len(parts) > 1 else top
    return top, right, parts[2] if len(parts) > 2 else top, parts[3] if len(parts) > 3 else right


def alpha_of(value: str) -> float:
    """An opacity of 0 to 1; 1 for what is none."""
    number = length(value, FONT_SIZE, 1.0)
    return 1.0 if number is None else min(max(number, 0.0), 1.0)


def _filtered_out(value: str) -> bool:
    for name, inside in _FUNCTION.findall(value):
        if name == "opacity" and alpha_of(inside) < 0.06:
            return True
        if name == "contrast" and alpha_of(inside) < 0.06:
            return True
        if name == "blur" and (length(inside) or 0.0) >= 6:
            return True
    return False


def _transformed(css: dict[str, str], size: float) -> str:
    functions = transforms(css)
    scale = 1.0
    for name, inside in functions:
        parts = [each for each in inside.replace(",", " ").split() if each]
        if name.startswith("translate"):
            moves = [length(each, size, 10.0) or 0.0 for each in parts[:2]]
            if any(each <= FAR or each >= FAR_RIGHT for each in moves):
                return "off_screen"
        elif (factor := _factor(name, parts)) is not None:
            scale *= factor
            moves = [length(each) or 0.0 for each in parts]
            moves = moves[4:6] if name == "matrix" else moves[12:14] if name == "matrix3d" else []
            if any(each <= FAR or each >= FAR_RIGHT for each in moves):
                return "off_screen"
        elif name == "rotate3d" and len(parts) == 4:
            axis = [abs(length(each) or 0.0) for each in parts[:3]]
            if abs(_degrees(parts[3]) % 180 - 90) < 3 and max(axis[:2]) > 4 * axis[2]:
                return "size"
        elif name in {"rotatex", "rotatey"}:
            turned = _degrees(inside) % 180
            if abs(turned - 90) < 3:
                return "size"
            flipped = abs(_degrees(inside) % 360 - 180) < 90
            if flipped and css.get("backface-visibility") == "hidden":
                return "visibility"
        elif name == "skew" and any(abs(_degrees(each)) % 180 == 90 for each in parts):
            return "size"
    return "size" if size > 0 and size * scale < _TINY_SCALE and scale < 1 else ""


def _degrees(text: str) -> float:
    found = _ANGLE.match(text.strip())
    if found is None or not found[1].strip("+-."):
        return 0.0
    return float(found[1]) * {"turn": 360.0, "rad": 57.29578, "grad": 0.9}.get(found[2] or "deg", 1.0)
