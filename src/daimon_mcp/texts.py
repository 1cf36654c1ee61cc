"""The words that agents and operators read: files in `prompts/`, their fields, and how facts get into them.

A file has `# field` headings; under each stands prose, or a list of `- ` bullets. Slots are `{fact}` and
`{call:operation}`, and `{count|message|messages}` for a number with the word that fits it; a bullet that starts with
`{?fact}` is left out without that fact; `{{` and `}}` are plain braces.
`prompts/README.md` says it for writers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from daimon_mcp.domain.refusals import Fact

_COMMENT = re.compile(r"\A\s*<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r"# +([a-z][a-z0-9_]*)\s*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SLOT = re.compile(r"(\?|call:)?([a-z][a-z0-9_]*)")
_CONDITIONS = re.compile(r"(?:\{\?[a-z][a-z0-9_]*\})+ *")
_COUNTED = re.compile(r"([a-z][a-z0-9_]*)\|([^|{}]+)\|([^|{}]+)")
_OWN_LINE = re.compile(r"(?:[-*>|] |\d+\. |#{2,} |    )")


class BadText(ValueError):
    """A text that cannot be used; says which, and why."""


class MissingSlot(KeyError):
    """A slot for which there is no fact."""


@dataclass(frozen=True, slots=True)
class Text:
    """One file: each field is prose (a string) or a list of bullets, with slots unfilled."""

    name: str
    fields: Mapping[str, str | tuple[str, ...]]

    def prose(self, field: str) -> str:
        """A field of prose; "" if there is none of that name. Raises BadText when it is a list."""
        value = self.fields.get(field, "")
        if not isinstance(value, str):
            raise BadText(f"{self.name}: '{field}' is a list, and prose is wanted")
        return value

    def bullets(self, field: str) -> tuple[str, ...]:
        """A field of bullets; () if there is none of that name. Raises BadText when it is prose."""
        value = self.fields.get(field, ())
        if isinstance(value, str):
            raise BadText(f"{self.name}: '{field}' is prose, and a list is wanted")
        return value


def parse(name: str, source: str) -> Text:
    """Read a file's text. Raises BadText when it does not keep to the form, or a slot is misspelt."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in _COMMENT.sub("", source).splitlines():
        heading = _HEADING.fullmatch(line)
        if heading:
            if heading[1] in found:
                raise BadText(f"{name}: '{heading[1]}' is there twice")
            current = found[heading[1]] = []
        elif line.startswith("# "):
            raise BadText(f"{name}: '{line}' is no heading: a field's name is lower-case letters, digits and _")
        elif current is not None:
            current.append(line.rstrip())
        elif line.strip():
            raise BadText(f"{name}: text before the first heading")
    fields = {field: _content(lines) for field, lines in found.items()}
    for field, value in fields.items():
        if not value:
            raise BadText(f"{name}: '{field}' is empty")
        for part in (value,) if isinstance(value, str) else value:
            _check_slots(f"{name}: '{field}'", part, conditions=not isinstance(value, str))
    return Text(name, fields)


def _content(lines: list[str]) -> str | tuple[str, ...]:
    """Lines of a field as bullets, when the first is one, else as prose.

    A line break in prose is a space unless the next line is a list item, a heading or code; an empty line stays.
    """
    text = "\n".join(lines).strip("\n")
    if text.startswith("- "):
        bullets = re.split(r"\n+- ", "\n" + text)[1:]
        return tuple(" ".join(bullet.split()) for bullet in bullets)
    prose = ""
    for line in text.split("\n"):
        joins = prose and not prose.endswith("\n") and line and not _OWN_LINE.match(line)
        prose += f" {line.strip()}" if joins else f"\n{line}" if prose else line
    return prose


def _check_slots(where: str, template: str, *, conditions: bool) -> None:
    start = _CONDITIONS.match(template) if conditions else None
    for match in _BRACES.finditer(template, start.end() if start else 0):
        if match[0] in {"{{", "}}"}:
            continue
        if _COUNTED.fullmatch(match[1] or ""):
            continue
        slot = _SLOT.fullmatch(match[1] or "")
        if slot is None:
            raise BadText(f"{where}: {match[0]!r} is no slot; write braces that are meant as such twice")
        if slot[1] == "?":
            raise BadText(f"{where}: {match[0]} may stand at the start of a bullet only")


def slots(text: Text) -> set[str]:
    """Every slot of a text as it is written: `tier`, `call:send_email`, and `reason` also for `{?reason}`.

    `{count|message|messages}` is `count`.
    """
    parts = [part for value in text.fields.values() for part in ((value,) if isinstance(value, str) else value)]
    inside = [match[1] for part in parts for match in _BRACES.finditer(part) if match[1]]
    return {name.removeprefix("?").partition("|")[0] for name in inside}


def render(template: str, facts: Mapping[str, Fact], call: Callable[[str], str]) -> str:
    """Fill the slots in one pass: what is put in is never looked at again.

    `call` names an operation in the words of a face. A template that starts with `{?fact}` renders to "" when that
    fact is missing, None or "". Raises MissingSlot for any other slot whose fact is missing or None.
    """
    conditions = _CONDITIONS.match(template)
    if conditions:
        if any(facts.get(name) in (None, "") for name in re.findall(r"\w+", conditions[0])):
            return ""
        template = template[conditions.end() :]

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        if slot is None:
            return match[0][0]
        if slot.startswith("call:"):
            return call(slot.removeprefix("call:"))
        counted = _COUNTED.fullmatch(slot)
        name = counted[1] if counted else slot
        value = facts.get(name)
        if value is None:
            raise MissingSlot(name)
        return f"{value} {counted[2] if str(value) == '1' else counted[3]}" if counted else str(value)

    return _BRACES.sub(fill, template)


def render_bullets(templates: Iterable[str], facts: Mapping[str, Fact], call: Callable[[str], str]) -> list[str]:
    """Render each of a list; optional ones without their fact are left out."""
    return [line for line in (render(template, facts, call) for template in templates) if line]


def our_folder() -> Traversable:
    """Where our texts are: inside the package when it is installed, at the top of the repository otherwise."""
    inside = files("daimon_mcp") / "prompts"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "prompts"


class Texts:
    """The texts, each read once; an operator's `override` folder, laid out like ours, replaces some or all."""

    def __init__(self, override: Path | None = None) -> None:
        self._ours = our_folder()
        self._override = override
        self._read: dict[tuple[str, str], Text] = {}

    def text(self, kind: str, name: str) -> Text:
        """`prompts/<kind>/<name>.md`, or `prompts/<name>.md` for kind "". Raises BadText when there is none.

        An operator's file may leave fields out, which then are ours, but has no other fields and no other slots.
        """
        known = self._read.get((kind, name))
        if known is None:
            known = self._read[kind, name] = self._load(kind, name)
        return known

    def names(self, kind: str) -> list[str]:
        """The names of all our texts of a kind, sorted."""
        folder = self._ours / kind if kind else self._ours
        found = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return sorted(file.removesuffix(".md") for file in found if file.endswith(".md") and file != "README.md")

    def kinds(self) -> list[str]:
        """The folders of texts, sorted, and "" for those outside any."""
        return ["", *sorted(entry.name for entry in self._ours.iterdir() if entry.is_dir())]

    def problems(self) -> list[str]:
        """Read every text; one line for each that cannot be used. For start-up, and for `doctor`."""
        found: list[str] = []
        for kind in self.kinds():
            for name in self.names(kind):
                try:
                    self.text(kind, name)
                except BadText as error:
                    found.append(str(error))
        return found

    def _load(self, kind: str, name: str) -> Text:
        if not (_NAME.fullmatch(name) and (kind == "" or _NAME.fullmatch(kind))):
            raise BadText(f"{name!r} of {kind!r} cannot be the name of a text")
        path = f"{kind}/{name}.md" if kind else f"{name}.md"
        source = _read(self._ours / path)
        if source is None:
            raise BadText(f"{path}: there is no such text")
        ours = parse(path, source)
        theirs_source = None if self._override is None else _read(self._override / path)
        return ours if theirs_source is None else _overlaid(ours, parse(f"{self._override}/{path}", theirs_source))


def _read(file: Traversable) -> str | None:
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadText(f"{file}: cannot be read: {error}") from None


def _overlaid(ours: Text, theirs: Text) -> Text:
    """An operator's text over ours. What ours cannot fill, theirs may not ask for: it would fail when it is needed."""
    for field, value in theirs.fields.items():
        expected = ours.fields.get(field)
        if expected is None:
            raise BadText(f"{theirs.name}: '{field}' is no field of this text; it has {', '.join(ours.fields)}")
        if isinstance(value, str) != isinstance(expected, str):
            raise BadText(f"{theirs.name}: '{field}' must be {'prose' if isinstance(expected, str) else 'a list'}")
    unknown = slots(theirs) - slots(ours)
    if unknown:
        names = ", ".join(sorted(slots(ours))) or "none"
        raise BadText(f"{theirs.name}: there is nothing to fill {sorted(unknown)[0]!r} with; the slots are: {names}")
    return Text(theirs.name, {**ours.fields, **theirs.fields})
