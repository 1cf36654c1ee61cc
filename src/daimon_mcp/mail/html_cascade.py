"""The declarations that hold for each element: style sheets, style attributes and their order (CSS Cascade 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daimon_mcp.mail.html_css import VARIABLES, declarations, without_comments
from daimon_mcp.mail.html_media import matches_screen
from daimon_mcp.mail.html_selectors import Budget, Matcher, Selector, TooMuchWorkError, parse_selectors
from daimon_mcp.mail.html_sheet import StyleRule, StyleSheets

if TYPE_CHECKING:
    from daimon_mcp.mail.html_tree import Element, Tree

MAX_RULES = 4000
MAX_SHEETS = 400_000  # characters in all sheets together, without comments

_Rule = tuple[int, int, Selector, StyleRule]  # specificity, place, what it is for, what it says
_NOTHING: dict[str, str] = {}


class Cascade:
    """Asked for one element after another. Once the style sheets were too much work it is `degraded`.

    Then they are left out; style attributes count always. `registered` has the initial values of variables.
    """

    def __init__(self, tree: Tree, budget: Budget | None = None) -> None:
        self.degraded = False
        self._quirks = tree.quirks
        self._budget = budget or Budget()
        self._matcher = Matcher(self._budget, quirks=tree.quirks)
        self._by_id: dict[str, list[_Rule]] = {}
        self._by_class: dict[str, list[_Rule]] = {}
        self._by_tag: dict[str, list[_Rule]] = {}
        self._others: list[_Rule] = []
        # Sets of rules have numbers, so that the many elements which share one need not compare them.
        self._sets: dict[tuple[int, ...], int] = {(): 0}
        self._rules: list[tuple[_Rule, ...]] = [()]
        self._decided: dict[tuple[str, str | None, str | None], int] = {}
        self._merged: dict[tuple[int, str | None], dict[str, str]] = {}
        self._any = False
        self._layered = False
        self._sheets = StyleSheets(tree.quirks)
        self._read(tree.root)
        self.registered = self._sheets.registered

    def _read(self, root: Element) -> None:
        sheets = [(_sheet(each), certain) for each in root.iter("style") if (certain := _counts(each)) is not False]
        if not sheets:
            return
        if sum(len(sheet) for sheet, _ in sheets) > MAX_SHEETS:
            self.degraded = True
            return
        try:
            for sheet, certain in sheets:
                self._sheets.read(sheet, certain=certain is True)
            self._sort(_names(root, self._quirks))
        except (TooMuchWorkError, RecursionError):
            self._give_up()

    def _sort(self, names: set[str]) -> None:
        count = 0
        for rule in self._sheets.rules:
            self._budget.spend(len(rule.selectors) + 4 * rule.selectors.count("("))
            for selector in parse_selectors(rule.selectors, quirks=self._quirks):
                if not _can_match(selector, names):
                    continue
                count += 1
                if count > MAX_RULES:
                    raise TooMuchWorkError
                self._file((selector.specificity, count, selector, rule))
                self._layered = self._layered or len(rule.layer) > 1
        self._any = count > 0

    def _file(self, rule: _Rule) -> None:
        last = rule[2].compounds[0]
        if last.id:
            self._by_id.setdefault(last.id, []).append(rule)
        elif last.classes:
            self._by_class.setdefault(last.classes[0], []).append(rule)
        elif last.tag:
            self._by_tag.setdefault(last.tag, []).append(rule)
        else:
            self._others.append(rule)

    def _give_up(self) -> None:
        self.degraded = True
        self._any = False

    def declared(self, element: Element) -> dict[str, str]:
        """The longhand properties of an element that anything declares, custom properties among them."""
        style = element.get("style")
        if not self._any:
            return self._merge(0, style) if style else _NOTHING
        try:
            matched = self._matched(element)
        except (TooMuchWorkError, RecursionError):
            self._give_up()
            matched = 0
        if not matched and not style:
            return _NOTHING
        return self._merge(matched, style)

    def _matched(self, element: Element) -> int:
        """The number of the set of rules that match."""
        tag, identity, classes = element.tag, element.get("id"), element.get("class")
        key = (tag, identity, classes)
        decided = self._decided.get(key)
        if decided is not None:
            return decided
        candidates = [*self._others, *self._by_tag.get(tag, ())]
        if identity:
            candidates += self._by_id.get(identity.lower() if self._quirks else identity, ())
        if classes:
            for each in dict.fromkeys((classes.lower() if self._quirks else classes).split()):
                candidates += self._by_class.get(each, ())
        matched = [rule for rule in candidates if self._matcher.matches(element, rule[2])]
        matched.sort(key=_layered_order if self._layered else _order)
        self._budget.spend(len(matched) // 10)
        places = tuple(rule[1] for rule in matched)
        result = self._sets.setdefault(places, len(self._rules))
        if result == len(self._rules):
            self._rules.append(tuple(matched))
        if all(len(rule[2].compounds) == 1 and rule[2].compounds[0].plain for rule in candidates):
            self._decided[key] = result
        return result

    def _merge(self, matched: int, style: str | None) -> dict[str, str]:
        key = (matched, style)
        known = self._merged.get(key)
        if known is not None:
            return known
        merged: dict[str, str] = {}
        important: dict[str, str] = {}
        rules = self._rules[matched]
        for rule in rules:
            for name, value, weighty in rule[3].declarations:
                (important if weighty else merged)[name] = value
        if important and self._layered:  # among what is important the first layer wins
            important.clear()
            for rule in sorted(sorted(rules, key=_order), key=_layer, reverse=True):
                important.update((name, value) for name, value, weighty in rule[3].declarations if weighty)
        if style:
            for name, value, weighty in declarations(style, quirks=self._quirks):
                (important if weighty else merged)[name] = value
        if important:
            merged.update(important)
        if "animation" in merged or "animation-name" in merged:
            self._animate(merged)
        if any("var(" in value or "env(" in value or name.startswith("--") for name, value in merged.items()):
            merged[VARIABLES] = ""
        self._merged[key] = merged
        return merged

    def _animate(self, merged: dict[str, str]) -> None:
        said = " ".join(merged.get(each, "") for each in ("animation", "animation-name", "animation-fill-mode"))
        words = set(said.replace(",", " ").split())
        if words & self._sheets.unseen or (words & {"forwards", "both"} and words & self._sheets.vanishing):
            merged["opacity"] = "0"


def _counts(style: Element) -> bool | None:
    """Whether a sheet holds; None where that depends on the reader's program."""
    kind = (style.get("type") or "text/css").strip().lower()
    if kind != "text/css" or not matches_screen(style.get("media") or ""):
        return False
    certain: bool | None = True
    above = style.getparent()
    for _ in range(30):
        if above is None:
            return certain
        if above.tag in {"template", "math"}:
            return False
        if above.tag == "noscript":
            certain = None
        above = above.getparent()
    return None


def _sheet(style: Element) -> str:
    text = "".join(str(each) for each in style.itertext())
    return without_comments(text) if "/*" in text else text


def _order(rule: _Rule) -> tuple[int, int]:
    return rule[0], rule[1]


def _layer(rule: _Rule) -> tuple[float, ...]:
    return rule[3].layer


def _layered_order(rule: _Rule) -> tuple[tuple[float, ...], int, int]:
    return rule[3].layer, rule[0], rule[1]


def _names(root: Element, quirks: bool) -> set[str]:
    """Every tag, `#id` and `.class` of the tree."""
    tags: set[str] = set()
    identities: set[str] = set()
    classes: set[str] = set()
    for element in root.iter("*"):
        tags.add(element.tag)
        identity, names = element.get("id"), element.get("class")
        if identity:
            identities.add(identity)
        if names:
            classes.add(names)
    found = tags | {f"#{each.lower() if quirks else each}" for each in identities}
    for names in classes:
        found.update(f".{each}" for each in (names.lower() if quirks else names).split())
    return found


def _can_match(selector: Selector, names: set[str]) -> bool:
    for compound in selector.compounds:
        if (
            compound.never
            or (compound.tag and compound.tag not in names)
            or (compound.id and f"#{compound.id}" not in names)
            or any(f".{each}" not in names for each in compound.classes)
        ):
            return False
    return True
