"""CSS selectors over an lxml tree (Selectors 4), with a budget of steps: what costs more than that is given up.

A selector of a list that a browser would refuse makes it drop the whole rule, and so it does here. Nothing matches
`:hover`, `:focus` and what else needs a person's hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daimon_mcp.mail.html_css import unescape_css
from daimon_mcp.mail.html_tree import is_element

if TYPE_CHECKING:
    from lxml.etree import _Element as Element  # pyright: ignore[reportPrivateUsage]

MAX_DEPTH = 20
MAX_COMPOUNDS = 200
STEPS = 60_000

_IDENT = r"(?:[-\w]|[^\x00-\x7f]|\\[0-9a-fA-F]{1,6}\s?|\\[^\n0-9a-fA-F])+"
_SIMPLE = re.compile(
    rf"\.(?P<class>{_IDENT})|#(?P<id>{_IDENT})|(?:\*\|)?(?P<tag>\*|{_IDENT})(?!\|)"
    rf"|\[\s*(?:\*\||\|)?(?P<name>{_IDENT})\s*(?:(?P<op>[~|^$*]?=)\s*(?:\"(?P<dq>[^\"]*)\"|'(?P<sq>[^']*)'|(?P<bare>[^\s\]]+))"
    rf"\s*(?P<case>[iIsS]?)\s*)?\]|(?P<element>::)?(?P<colon>:)?(?<=:)(?P<pseudo>{_IDENT})(?P<open>\()?"
)
_COMBINATOR = re.compile(r"\s*([>+~])\s*|\s+")
_NTH = re.compile(r"(?:([+-]?\d{0,6})n\s*)?([+-]?\s*\d{1,6})?\Z")
_OF = re.compile(r"([^()]{0,30}?)\sof\s+")
_OLD_ELEMENTS = frozenset({"before", "after", "first-line", "first-letter"})
_NEVER = frozenset(
    {"hover", "active", "focus", "focus-within", "focus-visible", "visited", "target", "target-within", "fullscreen"}
    | {"disabled", "indeterminate", "invalid", "placeholder-shown", "user-invalid", "user-valid", "autofill"}
    | {"popover-open", "modal", "current", "past", "future", "out-of-range", "-webkit-autofill", "host"}
    | {"picture-in-picture", "playing", "paused", "read-write", "required", "valid", "in-range", "optional", "enabled"}
    | {"default", "state", "host-context", "-webkit-full-screen", "paused", "muted", "open", "blank"}
)
_ALWAYS = frozenset({"defined", "read-only"})
_STRUCTURAL = frozenset(
    {"first-child", "last-child", "only-child", "first-of-type", "last-of-type", "only-of-type", "nth-child"}
    | {"nth-last-child", "nth-of-type", "nth-last-of-type", "empty", "root", "scope", "link", "any-link", "checked"}
)
# Their values are compared without regard to case (HTML §4.17.2).
_FOLDED = frozenset(
    {"align", "alink", "axis", "bgcolor", "checked", "clear", "color", "dir", "direction", "disabled", "face", "frame"}
    | {"hreflang", "http-equiv", "lang", "language", "link", "media", "method", "noshade", "nowrap", "open", "rel"}
    | {"rev", "rules", "scope", "scrolling", "selected", "shape", "target", "text", "type", "valign", "valuetype"}
)
_LISTS = frozenset({"is", "where", "not", "has", "matches", "-webkit-any", "any"})


class TooMuchWorkError(Exception):
    """The budget of steps is spent."""


class Budget:
    """How many steps of matching may still be taken; one of them may be shared by all parts of a mail."""

    __slots__ = ("left",)

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Raises TooMuchWorkError when nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise TooMuchWorkError


@dataclass(frozen=True, slots=True)
class _Pseudo:
    name: str
    inner: tuple[Selector, ...] = ()
    step: int = 0
    offset: int = 1
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compound:
    """What one element must be.

    `attributes` are name, operator, value, and whether case does not count; `never` stands for what a person would
    have to do.
    """

    tag: str
    id: str
    classes: tuple[str, ...]
    attributes: tuple[tuple[str, str, str, bool], ...]
    pseudos: tuple[_Pseudo, ...]
    never: bool

    @property
    def plain(self) -> bool:
        """Whether tag, id and class alone decide."""
        return not self.attributes and not self.pseudos


@dataclass(frozen=True, slots=True)
class Selector:
    """Compounds from right to left, the combinator on the left of each, and the specificity as one number."""

    compounds: tuple[Compound, ...]
    combinators: tuple[str, ...]
    specificity: int

    @property
    def possible(self) -> bool:
        """False when an element could only match by a person's hand."""
        return not any(each.never for each in self.compounds)


def parse_selectors(text: str, *, quirks: bool) -> tuple[Selector, ...]:
    """The selectors of a list; empty when a browser would refuse it. With `quirks`, case does not count."""
    try:
        parser = _Parser(text.strip(), quirks)
        selectors = parser.selectors(0)
        return selectors if parser.at == len(parser.text) else ()
    except ValueError:
        return ()


class _Parser:
    def __init__(self, text: str, quirks: bool) -> None:
        self.text: str = text
        self.at: int = 0
        self._quirks = quirks

    def selectors(self, depth: int, *, relative: bool = False) -> tuple[Selector, ...]:
        if depth > MAX_DEPTH:
            raise ValueError
        found = [self._selector(depth, relative)]
        while self.text.startswith(",", self.at):
            self.at += 1
            found.append(self._selector(depth, relative))
        return tuple(found)

    def _selector(self, depth: int, relative: bool) -> Selector:
        compounds: list[Compound] = []
        combinators: list[str] = []
        specificity = 0
        if space := _COMBINATOR.match(self.text, self.at):
            self.at = space.end()
            if space[1] and not relative:
                raise ValueError
            combinators.append(space[1] or " ")
        else:
            combinators.append(" ")
        while True:
            compound, weight = self._compound(depth)
            compounds.append(compound)
            specificity += weight
            space = _COMBINATOR.match(self.text, self.at)
            if space is None:
                break
            self.at = space.end()
            if not space[1] and (self.at == len(self.text) or self.text[self.at] in ",)"):
                break
            combinators.append(space[1] or " ")
            if len(compounds) > MAX_COMPOUNDS:
                raise ValueError
        return Selector(tuple(reversed(compounds)), tuple(reversed(combinators)), specificity)

    def _compound(self, depth: int) -> tuple[Compound, int]:
        start = self.at
        tag = identity = ""
        classes: list[str] = []
        attributes: list[tuple[str, str, str, bool]] = []
        pseudos: list[_Pseudo] = []
        never = False
        weight = 0
        while found := _SIMPLE.match(self.text, self.at):
            if found["tag"]:
                if self.at != start:
                    break
                tag = "" if found["tag"] == "*" else unescape_css(found["tag"]).lower()
                weight += 1 if tag else 0
                self.at = found.end()
            elif found["class"]:
                classes.append(self._folded(unescape_css(found["class"])))
                weight += 1 << 10
                self.at = found.end()
            elif found["id"]:
                identity = self._folded(unescape_css(found["id"]))
                weight += 1 << 20
                self.at = found.end()
            elif found["name"]:
                value = found["dq"] or found["sq"] or found["bare"] or ""
                name, value = unescape_css(found["name"]).lower(), unescape_css(value)
                case = (found["case"] or "").lower()
                folded = case == "i" or (name in _FOLDED and case != "s")
                attributes.append((name, found["op"] or "", value.lower() if folded else value, folded))
                weight += 1 << 10
                self.at = found.end()
            else:
                self.at = found.end()
                name = unescape_css(found["pseudo"]).lower()
                if found["element"] or name in _OLD_ELEMENTS:
                    never = True
                    if found["open"]:
                        self._skip()
                    continue
                pseudo, more = self._pseudo(name, found["open"] is not None, depth)
                weight += more
                if pseudo is None:
                    never = never or name in _NEVER
                else:
                    pseudos.append(pseudo)
        if self.at == start:
            raise ValueError
        return Compound(tag, identity, tuple(classes), tuple(attributes), tuple(pseudos), never), weight

    def _pseudo(self, name: str, arguments: bool, depth: int) -> tuple[_Pseudo | None, int]:
        if name in _LISTS and arguments:
            inner = self.selectors(depth + 1, relative=name == "has")
            if not self.text.startswith(")", self.at):
                raise ValueError
            self.at += 1
            weight = 0 if name == "where" else max(each.specificity for each in inner)
            kind = name if name in {"not", "has"} else "is"
            return _Pseudo(kind, inner), weight
        if name in {"lang", "dir"} and arguments:
            words = tuple(each.strip().strip("\"'").lower() for each in self._skip().split(","))
            return _Pseudo(name, (), words=words), 1 << 10
        step, offset = 0, 1
        if arguments:
            if name in {"nth-child", "nth-last-child"} and (of := _OF.match(self.text, self.at)):
                step, offset = _nth(of[1])
                self.at = of.end()
                inner = self.selectors(depth + 1)
                if not self.text.startswith(")", self.at):
                    raise ValueError
                self.at += 1
                return _Pseudo(name, inner, step, offset), (1 << 10) + max(each.specificity for each in inner)
            step, offset = _nth(self._skip())
        if name in _STRUCTURAL:
            return _Pseudo(name, (), step, offset), 1 << 10
        if name in _NEVER or name in _ALWAYS:
            return None, 1 << 10
        raise ValueError

    def _skip(self) -> str:
        end = self.text.find(")", self.at)
        if end < 0:
            raise ValueError
        inside = self.text[self.at : end]
        self.at = end + 1
        return inside

    def _folded(self, name: str) -> str:
        return name.lower() if self._quirks else name


def _nth(text: str) -> tuple[int, int]:
    text = text.strip().lower()
    if text in {"odd", "even"}:
        return 2, 1 if text == "odd" else 0
    found = _NTH.match(text)
    if found is None:
        return 0, 0
    step = 0 if found[1] is None else int(found[1] + "1" if found[1] in {"", "+", "-"} else found[1])
    return step, int((found[2] or "0").replace(" ", ""))


class Matcher:
    """Whether an element of one tree matches a selector; every comparison is a step of the budget."""

    def __init__(self, budget: Budget, *, quirks: bool) -> None:
        self._budget = budget
        self._quirks = quirks

    def matches(self, element: Element, selector: Selector, at: int = 0, scope: Element | None = None) -> bool:
        """Whether `element` matches from the compound `at` on; a relative selector ends at `scope`."""
        self._budget.spend()
        if not self._compound(element, selector.compounds[at]):
            return False
        if at + 1 == len(selector.compounds):
            return scope is None or self._at_scope(element, selector.combinators[at], scope)
        combinator = selector.combinators[at]
        if combinator == ">":
            parent = element.getparent()
            return parent is not None and self.matches(parent, selector, at + 1, scope)
        if combinator == "+":
            before = _before(element)
            return before is not None and self.matches(before, selector, at + 1, scope)
        other = element.getparent() if combinator == " " else _before(element)
        while other is not None:
            if self.matches(other, selector, at + 1, scope):
                return True
            other = other.getparent() if combinator == " " else _before(other)
        return False

    def _at_scope(self, element: Element, combinator: str, scope: Element) -> bool:
        if combinator == ">":
            return element.getparent() is scope
        if combinator in "+~":
            other = _before(element)
            while other is not None:
                self._budget.spend()
                if other is scope:
                    return True
                other = None if combinator == "+" else _before(other)
            return False
        other = element.getparent()
        while other is not None:
            self._budget.spend()
            if other is scope:
                return True
            other = other.getparent()
        return False

    def _compound(self, element: Element, compound: Compound) -> bool:
        if compound.never or (compound.tag and element.tag != compound.tag):
            return False
        if compound.id and self._folded(element.get("id", "")) != compound.id:
            return False
        if compound.classes:
            classes = self._folded(element.get("class", "")).split()
            if len(classes) > 20:
                self._budget.spend(len(classes) // 20)
            if any(each not in classes for each in compound.classes):
                return False
        for name, operator, value, folded in compound.attributes:
            actual = element.get(name)
            if not _attribute(actual.lower() if folded and actual else actual, operator, value):
                return False
        return all(self._pseudo(element, each) for each in compound.pseudos)

    def _folded(self, text: str) -> str:
        return text.lower() if self._quirks else text

    def _pseudo(self, element: Element, pseudo: _Pseudo) -> bool:
        self._budget.spend()
        name = pseudo.name
        if name == "is":
            return any(self.matches(element, each) for each in pseudo.inner)
        if name == "not":
            return not any(self.matches(element, each) for each in pseudo.inner)
        if name == "has":
            return any(self._has(element, each) for each in pseudo.inner)
        if name in {"root", "scope"}:
            return element.getparent() is None
        if name in {"link", "any-link"}:
            return element.tag in {"a", "area"} and element.get("href") is not None
        if name == "checked":
            return element.get("checked") is not None or element.get("selected") is not None
        if name == "empty":
            return next(iter(element), None) is None and not element.text
        if name == "lang":
            said = self._said(element, "lang")
            return any(said == each or said.startswith(f"{each}-") or (each == "*" and said) for each in pseudo.words)
        if name == "dir":
            return (self._said(element, "dir") or "ltr") in pseudo.words
        if pseudo.inner:
            return self._nth_of(element, pseudo)
        tag = element.tag if name.endswith("-of-type") else None
        if "only" in name:
            return self._count(element, tag, last=False) == 1 == self._count(element, tag, last=True)
        return _placed(self._count(element, tag, last="last" in name), pseudo)

    def _nth_of(self, element: Element, pseudo: _Pseudo) -> bool:
        count = 0
        for other in (element, *element.itersiblings(preceding="last" not in pseudo.name)):
            self._budget.spend()
            if is_element(other) and any(self.matches(other, each) for each in pseudo.inner):
                count += 1
            elif other is element:
                return False
        return _placed(count, pseudo)

    def _said(self, element: Element, name: str) -> str:
        """The value of an attribute of the element or of the nearest around it that has one."""
        above: Element | None = element
        while above is not None:
            self._budget.spend(2)
            value = above.get(name)
            if value is not None:
                return value.strip().lower()
            above = above.getparent()
        return ""

    def _count(self, element: Element, tag: str | None, *, last: bool) -> int:
        count = 1
        for other in element.itersiblings(tag, preceding=not last) if tag else element.itersiblings(preceding=not last):
            self._budget.spend()
            if is_element(other):
                count += 1
        return count

    def _has(self, element: Element, selector: Selector) -> bool:
        nearest = selector.combinators[-1]
        parent = element.getparent()
        root = parent if nearest in "+~" and parent is not None else element
        for other in root.iterdescendants():
            self._budget.spend()
            if is_element(other) and self.matches(other, selector, 0, element):
                return True
        return False


def _placed(count: int, pseudo: _Pseudo) -> bool:
    place = count - pseudo.offset
    return place == 0 if not pseudo.step else place % pseudo.step == 0 and place // pseudo.step >= 0


def _before(element: Element) -> Element | None:
    other = element.getprevious()
    while other is not None and not is_element(other):
        other = other.getprevious()
    return other


def _attribute(actual: str | None, operator: str, value: str) -> bool:
    if actual is None:
        return False
    if not operator:
        return True
    if operator == "=":
        return actual == value
    if not value:
        return False
    if operator == "^=":
        return actual.startswith(value)
    if operator == "$=":
        return actual.endswith(value)
    if operator == "*=":
        return value in actual
    if operator == "~=":
        return value in actual.split()
    return actual == value or actual.startswith(f"{value}-")
