"""How the text of an element looks: size, colour and ground as inherited, and whether anybody can see it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from daimon_mcp.mail.html_css import MAX_VALUE, UNKNOWN, VARIABLES, longhands
from daimon_mcp.mail.html_hiding import FAR_INDENT, FAR_LEFT, alpha_of, faintness, out_of_sight, shift, shrunk
from daimon_mcp.mail.html_values import (
    BLACK,
    FONT_SIZE,
    LINK,
    WHITE,
    Colour,
    attribute_colour,
    colour,
    length,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from daimon_mcp.mail.html_tree import Element

SMALLEST: Final = 4.0  # px of a font that can still be read
SAME: Final = 24.0  # distance in RGB up to which text cannot be told from its ground
MAX_CUSTOM: Final = 500
FAINT: Final = 0.06  # alpha up to which nothing is seen

BLOCKS: Final = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div"}
    | {"dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"}
    | {"hgroup", "hr", "html", "legend", "li", "listing", "main", "menu", "nav", "ol", "p", "plaintext", "pre"}
    | {"search", "section", "summary", "ul", "xmp", "optgroup", "option"}
)
_TABLES: Final = {
    "table": "table", "tbody": "table-row-group", "thead": "table-header-group", "tfoot": "table-footer-group",
    "tr": "table-row", "td": "table-cell", "th": "table-cell",
}  # fmt: skip
_DISPLAY: Final = {**dict.fromkeys(BLOCKS, "block"), **_TABLES}
_MARQUEE: Final = {"display": "inline-block", "overflow": "hidden"}
COLUMNS: Final = frozenset({"col", "colgroup"})
_BOLD: Final = frozenset({"b", "strong", "th", "h1", "h2", "h3", "h4", "h5", "h6"})
_SCALE: Final = {
    "h1": 2.0, "h2": 1.5, "h3": 1.17, "h4": 1.0, "h5": 0.83, "h6": 0.67, "small": 0.83, "sub": 0.83, "sup": 0.83,
    "big": 1.2,
}  # fmt: skip
_STRUCK: Final = frozenset({"s", "strike", "del"})
_MONOSPACE: Final = frozenset({"code", "tt", "kbd", "samp", "pre", "xmp", "listing", "plaintext"})
_SIZES: Final = {
    "xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": 16.0, "large": 18.0, "x-large": 24.0, "xx-large": 32.0,
}  # fmt: skip
_FONT_TAG: Final = (10.0, 10.0, 13.0, 16.0, 18.0, 24.0, 32.0, 48.0)
_RELATIVE: Final = {"smaller": 0.83, "larger": 1.2}
_LOUD: Final = (
    _BOLD
    | _MONOSPACE
    | frozenset(_SCALE)
    | _STRUCK
    | {"a", "font", "body", "table", "bdo", "mark", "details", "dialog", "button", "marquee"}
)
_CODE_NAME: Final = re.compile(
    r"(?<![a-zA-Z])(?:code|otp|pin|token|passcode|totp|mfa|2fa)(?![a-z])|[a-z](?:Code|Otp|OTP|Pin|Token|Passcode)(?![a-z])"
    r"|(?<![a-z])(?:verification|security|login|auth|confirm)code(?![a-z])"
)
_VAR: Final = re.compile(r"(?<![-\w])(var|env)\(\s*([^\s,()]+)\s*(?:,([^()]*(?:\([^()]*\)[^()]*){0,4}))?\)")
_CALLED: Final = re.compile(r"(?<![-\w])(?:var|env)\(")
_CHAIN: Final = 20  # variables in one another
_SUBSTITUTED: Final = 40  # in one value
_MONO_FAMILY: Final = re.compile(r"mono|courier|consolas|menlo|monaco")
_NO_PICTURE: Final = re.compile(r"url\(\s*[\"']?\s*(?:#|about:|none)?\s*[\"']?\s*\)")
_COLOUR_IN: Final = re.compile(r"#[0-9a-f]{3,8}\b|(?:rgba?|hsla?)\([^()]{0,80}\)|\b[a-z]{3,20}\b(?!\()")
_INHERITED: Final = frozenset({"inherit", "unset", "revert", "revert-layer"})
_EMPTY: Final[dict[str, str]] = {}


class Looks:
    """What text directly in an element looks like. Shared by elements that add nothing, so never changed after.

    `ground` is the colour behind it, None when a picture is. `hidden` says how the whole element is hidden, `unseen`
    how the text in it is (which inner elements can undo); both are empty for what is seen.
    """

    __slots__ = (
        "alpha",
        "bold",
        "colour",
        "custom",
        "ground",
        "grounded",
        "heading",
        "hidden",
        "indent",
        "invisible",
        "link",
        "marked",
        "markers",
        "monospace",
        "pre",
        "reverse",
        "scale",
        "shift",
        "size",
        "spaced",
        "struck",
        "summary",
        "unseen",
    )

    def __init__(self) -> None:
        self.size: float = FONT_SIZE
        self.colour: Colour = BLACK
        self.ground: Colour | None = WHITE
        self.grounded: bool = False  # an element inside the body has a ground of its own
        self.link: Colour = LINK
        self.bold: bool = False
        self.monospace: bool = False
        self.spaced: bool = False
        self.heading: bool = False
        self.marked: bool = False
        self.struck: bool = False
        self.hidden: str = ""
        self.invisible: bool = False
        self.alpha: float = 1.0
        self.indent: bool = False  # text is indented out of the window
        self.pre: bool = False
        self.markers: bool = True
        self.reverse: bool = False
        self.shift: float = 0.0  # px to the right of where it would be
        self.scale: float = 1.0
        self.custom: dict[str, str] = _EMPTY
        self.summary: Looks | None = None  # of a closed <details>: what its summary inherits
        self.unseen: str = ""

    def copy(self) -> Looks:
        """One that may still be changed, and is no closed `<details>`."""
        other = Looks.__new__(Looks)
        other.size = self.size
        other.colour = self.colour
        other.ground = self.ground
        other.grounded = self.grounded
        other.link = self.link
        other.bold = self.bold
        other.monospace = self.monospace
        other.spaced = self.spaced
        other.heading = self.heading
        other.marked = self.marked
        other.struck = self.struck
        other.hidden = self.hidden
        other.invisible = self.invisible
        other.alpha = self.alpha
        other.indent = self.indent
        other.pre = self.pre
        other.markers = self.markers
        other.reverse = self.reverse
        other.custom = self.custom
        other.shift = self.shift
        other.scale = self.scale
        other.unseen = self.unseen
        other.summary = None
        return other

    def invisible_copy(self) -> Looks:
        """A copy in which no text can be seen."""
        other = self.copy()
        other.invisible, other.unseen = True, "visibility"
        return other

    @property
    def special(self) -> bool:
        """Whether it differs from running text in anything but size."""
        return self.bold or self.monospace or self.spaced or self.heading or self.marked or self.struck


def display_of(tag: str, css: dict[str, str]) -> str:
    """The computed `display`, by the tag where nothing is declared."""
    display = css.get("display") if css else None
    if display is None or display in _INHERITED or "(" in display:
        return _DISPLAY.get(tag, "inline")
    return "inline" if display == "initial" else display


def looks_of(parent: Looks, element: Element, css: dict[str, str], *, quirks: bool) -> Looks:
    """The looks of `element`, which has these declarations, inside `parent`."""
    tag: str = element.tag
    attributes = element.attrib
    if not css and tag not in _LOUD and not len(attributes) and parent.summary is None:
        return parent  # as most elements
    names = attributes.get("class") or attributes.get("id")
    marked = bool(names) and _CODE_NAME.search(f"{attributes.get('class')} {attributes.get('id')}"[:500]) is not None
    if (
        not css
        and (tag not in _LOUD or (tag == "a" and "href" not in attributes))
        and not marked
        and not (
            len(attributes)
            and (
                "bgcolor" in attributes
                or "hidden" in attributes
                or "background" in attributes
                or "popover" in attributes
            )
        )
        and parent.summary is None
    ):
        return parent
    looks = (parent.summary if tag == "summary" and parent.summary else parent).copy()
    if parent.summary is not None and (tag != "summary" or _second(element)):
        looks.hidden = looks.unseen = "element"
        return looks
    if VARIABLES in css:
        css = _resolved(css, looks, quirks)
    if tag == "marquee":
        css = {
            **_MARQUEE,
            **{each: f"{element.get(each)}px" for each in ("width", "height") if element.get(each)},
            **css,
        }
    _by_tag(looks, tag, element, quirks)
    if marked:
        looks.marked = True
    if css:
        _by_css(looks, parent, css, tag)
    if ("hidden" in attributes or "popover" in attributes) and css.get("display", "none") == "none":
        looks.hidden = "attribute"
    elif tag == "dialog" and "open" not in attributes and css.get("display", "none") == "none":
        looks.hidden = "element"
    elif css and not looks.hidden:
        looks.hidden = out_of_sight(css, display_of(tag, css), looks.size)
        if not looks.hidden and parent.grounded and css.get("z-index", "").startswith("-") and "position" in css:
            looks.hidden = "clip"
    looks.unseen = looks.hidden or _unseen(looks)
    if tag == "details" and "open" not in attributes:
        seen = looks.copy()
        looks.summary = seen
        looks.unseen = looks.unseen or "element"
    return looks


class LooksOfPage:
    """`looks_of` for the elements of one page, most of which differ in nothing that it looks at."""

    def __init__(self, *, quirks: bool) -> None:
        self._quirks = quirks
        # By the declarations' identity, as dictionaries have no hash; they are held so that it stays theirs.
        self._known: dict[tuple[Looks, str, int], tuple[Looks, dict[str, str]]] = {}

    def of(self, parent: Looks, element: Element, css: dict[str, str]) -> Looks:
        """The looks of `element`; `css` is not changed after."""
        attributes = element.attrib
        if parent.summary is not None or len(attributes) > 1 or (len(attributes) == 1 and "style" not in attributes):
            return looks_of(parent, element, css, quirks=self._quirks)
        key = parent, element.tag, id(css)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = looks_of(parent, element, css, quirks=self._quirks), css
        return known[0]


def _resolved(css: dict[str, str], looks: Looks, quirks: bool) -> dict[str, str]:
    """The declarations with the values of their variables; without those that name one that there is not."""
    _own_variables(looks, css)
    resolved: dict[str, str] = {}
    for name, value in css.items():
        if name.startswith("--"):
            continue
        found = _substituted(value, looks.custom) if _CALLED.search(value) else value
        if found:
            resolved.update(longhands(name, found, quirks=quirks))
    return resolved


def _own_variables(looks: Looks, css: dict[str, str]) -> None:
    """Adds the variables that an element declares, MAX_CUSTOM at most; they have their values here, not below."""
    own = {name: value for name, value in css.items() if name.startswith("--") and name != VARIABLES}
    if not own:
        return
    known = dict(looks.custom)
    for name, value in own.items():
        if len(known) >= MAX_CUSTOM and name not in known:
            known[VARIABLES] = UNKNOWN
        else:
            known[name] = value
    for _ in range(_CHAIN):
        unfinished = False
        for name in own:
            value = known.get(name)
            if value is not None and _CALLED.search(value):
                found = _substituted(value, known, deep=False)
                unfinished = True
                if found:
                    known[name] = found
                else:
                    del known[name]
        if not unfinished:
            break
    else:
        for name in own:
            if _CALLED.search(known.get(name, "")):
                known[name] = UNKNOWN
    looks.custom = known


def _substituted(value: str, custom: dict[str, str], *, deep: bool = True) -> str:
    """The value with its variables put in, empty when one is missing, UNKNOWN when it takes too much work."""
    missing = False

    def put(found: re.Match[str]) -> str:
        nonlocal missing
        if found[1] == "env":
            return "0px" if found[2].startswith("safe-area-") else found[3] or ""
        known = custom.get(found[2])
        if known is None:
            known = found[3] if VARIABLES not in custom else UNKNOWN
        if known is None:
            missing = True
        return known or ""

    for _ in range(_CHAIN if deep else 1):
        value, count = _VAR.subn(put, value, count=_SUBSTITUTED)
        if missing:
            return ""
        if len(value) > MAX_VALUE:
            return UNKNOWN
        if not count or not _CALLED.search(value):
            break
    if deep and _CALLED.search(value):
        return UNKNOWN
    return value.strip()


def _second(summary: Element) -> bool:
    return next(summary.itersiblings("summary", preceding=True), None) is not None


def collapsed(element: Element, declared: Callable[[Element], dict[str, str]]) -> bool:
    """Whether columns are not shown: with them goes the rest of the table, as nobody counts its cells."""
    return any(declared(each).get("visibility") == "collapse" for each in (element, *element.iter("col")))


def _by_tag(looks: Looks, tag: str, element: Element, quirks: bool) -> None:
    if tag in _BOLD:
        looks.bold = True
        looks.heading = looks.heading or tag in {"h1", "h2", "h3", "h4"}
    if tag in _STRUCK:
        looks.struck = True
    if tag in _SCALE:
        looks.size *= _SCALE[tag]
    if tag in _MONOSPACE:
        looks.monospace = True
        looks.pre = looks.pre or tag in {"pre", "xmp", "listing", "plaintext"}
    if tag == "a" and element.get("href") is not None:
        looks.colour = looks.link
    elif tag == "mark":
        looks.ground, looks.colour = Colour(255, 255, 0), BLACK
    elif tag == "button":
        looks.ground, looks.colour, looks.size = Colour(239, 239, 239), BLACK, 13.3
    elif tag == "font":
        _font_tag(looks, element)
    elif tag == "table" and quirks:
        looks.size, looks.bold, looks.indent = FONT_SIZE, False, False
    elif tag == "bdo":
        looks.reverse = (element.get("dir") or "").lower() == "rtl"
    elif tag == "body":
        looks.colour = attribute_colour(element.get("text") or "") or looks.colour
        looks.link = attribute_colour(element.get("link") or "") or looks.link
    ground = element.get("bgcolor")
    if ground is not None:
        found = attribute_colour(ground)
        if found is not None:
            looks.ground = found
            looks.grounded = looks.grounded or tag != "body"
    if element.get("background"):
        looks.ground = None


def _font_tag(looks: Looks, element: Element) -> None:
    looks.colour = attribute_colour(element.get("color") or "") or looks.colour
    size = (element.get("size") or "").strip()
    if size.lstrip("+-").isdecimal() and len(size) < 4:
        step = int(size) + (3 if size[0] in "+-" else 0)
        looks.size = _FONT_TAG[min(max(step, 1), 7)]
    if _MONO_FAMILY.search((element.get("face") or "").lower()):
        looks.monospace = True


def _by_css(looks: Looks, parent: Looks, css: dict[str, str], tag: str) -> None:
    size = css.get("font-size")
    if size is not None:
        looks.size = _size(size, parent.size)
    if "line-through" in (css.get("text-decoration") or css.get("text-decoration-line") or ""):
        looks.struck = True
    weight = css.get("font-weight")
    if weight is not None and weight not in _INHERITED:
        looks.bold = weight in {"bold", "bolder"} or (weight.isdecimal() and int(weight[:4]) >= 600)
    family = css.get("font-family")
    if family is not None and family not in _INHERITED:
        looks.monospace = _MONO_FAMILY.search(family) is not None
    _colours(looks, parent, css, tag)
    if "opacity" in css:
        looks.alpha *= alpha_of(css["opacity"])
    _moved(looks, css)
    visibility = css.get("visibility")
    if visibility is not None and visibility not in _INHERITED:
        looks.invisible = visibility in {"hidden", "collapse"}
    spacing = css.get("letter-spacing")
    if spacing is not None:
        px = length(spacing, looks.size) or 0.0
        looks.spaced = px >= 1.5
        if px <= -0.45 * looks.size and looks.size > 0:
            looks.hidden = "size"
    indent = css.get("text-indent")
    if indent is not None and indent not in _INHERITED:
        px = length(indent, looks.size, 500.0) or 0.0
        looks.indent = px <= FAR_INDENT or px >= -5 * FAR_INDENT
    space = css.get("white-space")
    if space is not None and space not in _INHERITED:
        looks.pre = space in {"pre", "pre-wrap", "pre-line", "break-spaces"}
    if "list-style-type" in css:
        looks.markers = css["list-style-type"] != "none"
    if "unicode-bidi" in css:
        looks.reverse = css["unicode-bidi"].endswith("override") and css.get("direction") == "rtl"


def _moved(looks: Looks, css: dict[str, str]) -> None:
    """What adds up from one element to the next."""
    if "filter" in css:
        looks.alpha *= faintness(css)
    if "transform" in css or "scale" in css or "zoom" in css:
        looks.scale *= shrunk(css)
    if "transform" in css or "translate" in css or "margin-left" in css or "left" in css:
        looks.shift += shift(css, looks.size)
    adjusted = css.get("font-size-adjust")
    if adjusted is not None:
        px = length(adjusted.rpartition(" ")[2], 1.0, 1.0)
        if px is not None and px < 0.1:
            looks.hidden = "size"


def _size(value: str, inherited: float) -> float:
    if value in _SIZES:
        return _SIZES[value]
    if value in _RELATIVE:
        return inherited * _RELATIVE[value]
    if value in _INHERITED:
        return inherited
    px = length(value, inherited, inherited)
    return FONT_SIZE if px is None else px


def _colours(looks: Looks, parent: Looks, css: dict[str, str], tag: str) -> None:
    ink = css.get("color")
    if ink is not None:
        found = colour(ink)
        if found is not None:
            looks.colour = found
        elif ink in {"inherit", "unset", "currentcolor"}:
            looks.colour = parent.colour
        elif ink == "initial":
            looks.colour = BLACK
    fill = css.get("-webkit-text-fill-color")
    if fill is not None:
        looks.colour = colour(fill) or looks.colour
    ground = css.get("background-color")
    if ground is not None:
        found = looks.colour if ground == "currentcolor" else colour(ground)
        if found is not None and found.alpha > 0:
            looks.grounded = looks.grounded or tag not in {"body", "html"}
            if found.alpha >= 1:
                looks.ground = found
            elif looks.ground is not None:
                looks.ground = found.over(looks.ground)
    picture = css.get("background-image")
    if picture is not None and picture not in {"none", "initial"} and not _NO_PICTURE.fullmatch(picture):
        looks.ground = _gradient(picture)
        if "text" in css.get("background-clip", ""):
            looks.colour = BLACK  # the picture is seen through the letters


def _gradient(value: str) -> Colour | None:
    """The one colour of a gradient whose colours cannot be told apart; None for another one and for a picture."""
    if "url(" in value or "gradient(" not in value:
        return None
    found = [each for part in _COLOUR_IN.findall(value[:1000]) if (each := colour(part)) is not None]
    if not found or any(each.alpha < 1 or each.distance(found[0]) > SAME for each in found):
        return None
    return found[0]


def _unseen(looks: Looks) -> str:
    if looks.invisible:
        return "visibility"
    if looks.size * min(looks.scale, 1.0) < SMALLEST:
        return "size"
    if looks.indent or looks.shift <= FAR_LEFT:
        return "off_screen"
    if looks.alpha < FAINT:
        return "opacity"
    alpha = looks.colour.alpha * looks.alpha
    if alpha < FAINT:
        return "colour"
    if looks.ground is not None:
        ink = looks.colour if alpha >= 1 else Colour(*looks.colour[:3], alpha).over(looks.ground)
        if ink.distance(looks.ground) <= SAME:
            return "opacity" if looks.alpha < 1 and looks.colour.distance(looks.ground) > SAME else "colour"
    return ""
