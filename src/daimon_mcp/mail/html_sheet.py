"""The rules of all style sheets of a document, in the order of their cascade layers.

Groups are unwrapped and nesting is resolved. Of what stands in a group of which nobody can say whether it holds, only
what hides is kept: it must not bring to light what another rule hides.
Sources: CSS Syntax 3, CSS Cascade 5 (layers), CSS Conditional 3, CSS Nesting 1, CSS Animations 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from daimon_mcp.mail.html_css import (
    CLOSERS,
    STRUCTURE,
    Declaration,
    declarations,
    hides,
    only_hiding,
    parts,
    without_comments,
)
from daimon_mcp.mail.html_media import matches_screen
from daimon_mcp.mail.html_supports import supports

MAX_SELECTORS = 4000
MAX_NESTING = 20
MAX_LAYERS = 1000

_LAST = float("inf")  # what is in no layer comes after all of them
_OLD_MARKS = re.compile(r"(?:\s|<!--|-->)++")
_AT = re.compile(r"@(-?[a-zA-Z][-\w]*+)\s*+(.*+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StyleRule:
    """The selector list of a rule as it is written, its declarations, and its place among the layers."""

    selectors: str
    declarations: tuple[Declaration, ...]
    layer: tuple[float, ...] = (_LAST,)


@dataclass(slots=True)
class _Block:
    """An open block. `selectors` is empty for a group, None for what is left out."""

    selectors: str | None = ""
    layer: tuple[str, ...] = ()
    certain: bool = True
    kind: str = ""  # keyframes or property
    name: str = ""


@dataclass(slots=True)
class StyleSheets:
    """Takes one sheet after another.

    `rules` in their order; `vanishing` names the animations that end unseen, `unseen` those that are so all the time;
    `registered` has the initial values of variables.
    """

    quirks: bool
    rules: list[StyleRule] = field(default_factory=list)
    vanishing: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)
    registered: dict[str, str] = field(default_factory=dict)
    _layers: dict[tuple[str, ...], dict[str, int]] = field(default_factory=dict)
    _count: int = 0
    _shown: set[str] = field(default_factory=set)

    def read(self, sheet: str, *, certain: bool = True) -> None:
        """Adds the rules of a sheet that hold on a usual screen."""
        if "/*" in sheet:
            sheet = without_comments(sheet)
        bottom = _Block(certain=certain)
        stack: list[_Block] = []
        brackets: list[str] = []
        body: list[str] = []
        start = 0
        judged = -1  # where the statement began that was found to be none
        for mark in STRUCTURE.finditer(sheet):
            sign = mark[1]
            if sign is None:
                continue
            if brackets:
                if sign == brackets[-1]:
                    brackets.pop()
                elif sign in CLOSERS:
                    brackets.append(CLOSERS[sign])
                continue
            if sign in "([":
                brackets.append(CLOSERS[sign])
                continue
            if sign in ")]" or (sign == "}" and not stack):
                continue  # part of what follows, which a browser drops with it
            if sign == ";" and start == judged:
                continue
            piece = sheet[start : mark.start()]
            block = stack[-1] if stack else bottom
            if sign == ";":
                if block.selectors or block.kind:
                    body.append(piece)
                elif not self._statement(piece, block):
                    judged = start
                    continue
                start = mark.end()
                continue
            start = mark.end()
            if sign == "{":
                self._close(block, body)
                stack.append(self._opened(piece, block, len(stack)))
                continue
            if block.selectors or block.kind:
                body.append(piece)
            self._close(block, body)
            stack.pop()
        if stack and (stack[-1].selectors or stack[-1].kind):
            body.append(sheet[start:])
        self._close(stack[-1] if stack else bottom, body)

    def _statement(self, piece: str, block: _Block) -> bool:
        """An at-rule without a block; False when it is none, and goes on."""
        found = _AT.match(_plain_start(piece))
        if found is None:
            return False
        if found[1].lower() == "layer" and block.selectors is not None:
            for name in found[2].split(",")[:MAX_LAYERS]:
                self._place((*block.layer, *name.strip().split(".")))
        return True

    def _place(self, path: tuple[str, ...]) -> tuple[float, ...]:
        """The place of a layer: for each step its number among the layers beside it."""
        place: list[float] = []
        for depth, name in enumerate(path[:MAX_NESTING]):
            beside = self._layers.setdefault(path[:depth], {})
            place.append(beside.setdefault(name, len(beside)))
        return (*place, _LAST)

    def _close(self, block: _Block, body: list[str]) -> None:
        if not body:
            return
        inside = ";".join(body)
        body.clear()
        if block.kind == "property":
            for part in parts(inside):
                name, _, value = part.partition(":")
                if name.strip().lower() == "initial-value" and value.strip():
                    self.registered[block.name] = value.strip()[:100]
            return
        if not block.selectors:
            return
        kept = declarations(inside, quirks=self.quirks)
        if block.kind == "keyframes":
            self._step(block, kept)
            return
        if not block.certain:
            kept = only_hiding(kept)
        if kept:
            self.rules.append(StyleRule(block.selectors, kept, self._place(block.layer)))

    def _step(self, block: _Block, kept: tuple[Declaration, ...]) -> None:
        if not any(map(hides, kept)):
            self._shown.add(block.name)
            self.unseen.discard(block.name)
            return
        if block.name not in self._shown:
            self.unseen.add(block.name)
        if {each.strip().lower() for each in (block.selectors or "").split(",")} & {"to", "100%"}:
            self.vanishing.add(block.name)

    def _opened(self, prelude: str, outer: _Block, depth: int) -> _Block:
        """What a `{` opens."""
        prelude = _plain_start(prelude) if not depth else prelude.strip()
        if outer.selectors is None or depth >= MAX_NESTING:
            return _Block(None)
        if outer.kind == "keyframes":
            return _Block(prelude, kind="keyframes", name=outer.name)
        found = _AT.match(prelude)
        if found:
            return self._group(found[1].lower(), found[2].strip(), outer)
        if prelude.startswith("@") or not prelude:
            return _Block(None)
        selectors = prelude
        if outer.selectors:
            if len(outer.selectors) + len(prelude) > MAX_SELECTORS:
                return _Block(None)
            nested = [part if "&" in part else f"& {part}" for part in prelude.split(",")]
            selectors = ",".join(nested).replace("&", f":is({outer.selectors})")
        return _Block(selectors, outer.layer, outer.certain)

    def _group(self, name: str, condition: str, outer: _Block) -> _Block:
        holds: bool | None = False
        layer = outer.layer
        if name == "media":
            holds = matches_screen(condition)
        elif name == "supports":
            holds = supports(condition)
        elif name in {"container", "scope"}:
            holds = None
        elif name == "layer":
            holds = True
            self._count += 1
            layer = (*layer, *(condition.split(".") if condition else [f"\0{self._count}"]))
            self._place(layer)
        elif name.endswith("keyframes"):
            return _Block("", kind="keyframes", name=condition.strip("\"'").lower())
        elif name == "property":
            return _Block("", kind="property", name=condition)
        if holds is False:
            return _Block(None)
        return _Block(outer.selectors, layer, outer.certain and holds is True)


def _plain_start(text: str) -> str:
    found = _OLD_MARKS.match(text)
    return text[found.end() :].rstrip() if found else text.rstrip()
