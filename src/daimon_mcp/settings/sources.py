"""Where options come from, and what is said when one is wrong: names of options, never the values given.

Knows nothing of single options: it is handed a model whose fields are options or, nested, sections of options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Loc = tuple[str, ...]
PREFIX = "DAIMON_"
UNLIMITED = -1
"""How a limit is written that there is not."""


@dataclass
class Source:
    """What one place says: options in nested dicts, how it names an option, and what was wrong on reading it."""

    values: dict[str, Any]
    name: Callable[[Loc], str]
    problems: list[str] = field(default_factory=list[str])

    def has(self, loc: Loc) -> bool:
        """Whether it says anything at `loc`."""
        node: object = self.values
        for key in loc:
            if not isinstance(node, dict) or key not in node:
                return False
            node = cast("dict[str, object]", node)[key]
        return True


def section_model(option: FieldInfo) -> type[BaseModel] | None:
    """The model of a section; None for a single option."""
    kind = option.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def walk(model: type[BaseModel], at: Loc = ()) -> Iterator[tuple[Loc, FieldInfo]]:
    """Every option of `model` and its sections, in order."""
    for name, option in model.model_fields.items():
        inner = section_model(option)
        if inner is None:
            yield (*at, name), option
        else:
            yield from walk(inner, (*at, name))


def env_name(loc: Loc) -> str:
    """`("relay", "port")` → `DAIMON_RELAY__PORT`."""
    return PREFIX + "__".join(loc).upper()


def toml_name(loc: Loc) -> str:
    """`("limits", "free", "smtp")` → `[limits.free] smtp`."""
    *sections, key = loc
    return f"[{'.'.join(sections)}] {key}" if sections else key


# ── reading


def arguments(values: Mapping[str, object]) -> Source:
    """Options given by the caller; None means not given, at any depth."""

    def given(node: Mapping[str, object]) -> dict[str, Any]:
        return {
            key: given(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else value
            for key, value in node.items()
            if value is not None
        }

    return Source(given(values), ".".join)


def environment(
    environ: Mapping[str, str], model: type[BaseModel], flat: Mapping[str, Loc], *, apart: Sequence[str]
) -> Source:
    """Options from `DAIMON_<SECTION>__<KEY>` and the `flat` names; an empty variable counts as not set.

    A variable with two underscores in it is meant for us and must be known; one without is refused only when it is
    nearly a name of ours, because other programs make such names too. `apart` names top-level options that the caller
    reads by itself.
    """
    said: dict[Loc, str] = {}
    source = Source({}, lambda loc: said.get(loc, env_name(loc)))
    long_names = {env_name(loc): loc for loc, _ in walk(model) if len(loc) > 1}
    single = {name.replace("__", "_"): name for name in long_names}
    for name, value in sorted(environ.items(), key=lambda item: item[0] in long_names):  # long names last: they win
        loc = long_names.get(name) or flat.get(name)
        if not name.startswith(PREFIX) or not value or (loc and loc[0] in apart):
            continue
        if loc is not None:
            node = source.values
            for key in loc[:-1]:
                node = node.setdefault(key, {})
            node[loc[-1]] = value
            said[loc] = name
        elif name in single and not value.startswith("tcp://"):  # Kubernetes describes its services like that
            source.problems.append(f"{name}: is not an option; did you mean {single[name]}?")
        elif "__" in name:
            near = _nearest(name.removeprefix(PREFIX), [known.removeprefix(PREFIX) for known in long_names], 0.7)
            advice = f"did you mean {PREFIX}{near}?" if near else "config.example.toml lists them all"
            source.problems.append(f"{name}: is not an option; {advice}")
        elif near := _nearest(name.removeprefix(PREFIX), [known.removeprefix(PREFIX) for known in flat], 0.85):
            source.problems.append(f"{name}: is not an option; did you mean {PREFIX}{near}?")
    return source


def read_toml(file: Path, model: type[BaseModel], *, apart: Sequence[str], optional: bool) -> Source | None:
    """Options from a TOML file; None when it is not there and `optional`.

    Unknown keys become problems, with the nearest right name, and are left out. Relative paths are taken to start at
    the file's folder. `apart` names top-level options that no file may set.
    """
    source = Source({}, lambda loc: f"{file.name}: {toml_name(loc)}")
    try:
        text = file.read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        if optional:
            return None
        source.problems.append(f"{file}: cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        source.problems.append(f"{file}: is not UTF-8 text")
    except OSError as error:
        source.problems.append(f"{file}: cannot be read: {error.strerror}")
    else:
        source.values = _parsed(text, file, model, source, apart)
        _from_folder(source.values, model, file.parent)
    return source


def _parsed(text: str, file: Path, model: type[BaseModel], source: Source, apart: Sequence[str]) -> dict[str, Any]:
    """The options in a file's text; what is wrong with it is noted in `source.problems`."""
    import tomllib  # many servers have no file

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        source.problems.append(f"{file}: is not TOML: {error}")
        return {}
    for key in apart:
        if key in values:
            del values[key]
            source.problems.append(f"{file.name}: {key}: cannot be set here; use {env_name((key,))}")
    return _known(values, model, source, (), apart)


def _known(
    values: Mapping[str, Any], model: type[BaseModel], source: Source, at: Loc, apart: Sequence[str] = ()
) -> dict[str, Any]:
    """`values` without keys that `model` does not have; those are noted in `source.problems`."""
    names = [name for name in model.model_fields if name not in apart]
    kept: dict[str, Any] = {}
    for key, value in values.items():
        loc = (*at, key)
        inner = section_model(model.model_fields[key]) if key in names else None
        if key not in names:
            source.problems.append(_unknown(loc, names, model, source))
        elif inner is None:
            kept[key] = value
        elif isinstance(value, Mapping):
            kept[key] = _known(cast("Mapping[str, Any]", value), inner, source, loc)
        else:
            source.problems.append(f"{source.name(loc)}: is a section; write [{'.'.join(loc)}] on a line of its own")
    return kept


def _unknown(loc: Loc, names: Sequence[str], model: type[BaseModel], source: Source) -> str:
    near = _nearest(loc[-1], names, 0.6)
    if all(section_model(model.model_fields[name]) for name in names):
        at = loc[:-1]
        advice = f"did you mean [{'.'.join((*at, near))}]?" if near else f"there are {', '.join(names)}"
        return f"{source.name((*loc, '')).rstrip()}: is not a section; {advice}"
    advice = f"did you mean {near}?" if near else f"there are {', '.join(names)}"
    return f"{source.name(loc)}: is not an option; {advice}"


def _from_folder(values: dict[str, Any], model: type[BaseModel], folder: Path) -> None:
    """Make the relative paths of a file absolute."""
    for name, option in model.model_fields.items():
        value = values.get(name)
        inner = section_model(option)
        if inner is not None and isinstance(value, dict):
            _from_folder(cast("dict[str, Any]", value), inner, folder)
        elif isinstance(value, str) and not value.startswith("~") and Path in _types(option.annotation):
            values[name] = str(folder / value)


def _types(annotation: object) -> tuple[object, ...]:
    """A type and whatever it is made of: `Annotated[Path, …] | None` → itself, Path, None, …"""
    inner = [part for argument in get_args(annotation) for part in _types(argument)]
    return (annotation, *inner)


def _nearest(name: str, names: Sequence[str], cutoff: float) -> str | None:
    from difflib import get_close_matches  # wanted only when something is wrong

    return next(iter(get_close_matches(name, names, 1, cutoff)), None)


def merge(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Nested dicts laid over each other; what comes later wins."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below: object = merged.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                merged[key] = merge([cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", value)])
            else:
                merged[key] = value
    return merged


# ── explaining


def explain(error: ValidationError, model: type[BaseModel], sources: Sequence[Source]) -> list[str]:
    """One line for each problem: where it was said, which option, what would be right. Never what was given."""
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False, include_context=True):
        loc = tuple(str(part) for part in problem["loc"])
        if problem["type"] == "combination":
            lines.append(f"[{'.'.join(loc)}] {problem['msg']}")
            continue
        option_loc, option = _option_at(model, loc)
        source = next((source for source in sources if source.has(option_loc)), None)
        name = source.name(option_loc) if source else toml_name(option_loc)
        lines.append(f"{name}: {_wanted(problem['type'], problem['msg'], option)}")
    return list(dict.fromkeys(lines))  # two wrong items of one list are one problem


def _option_at(model: type[BaseModel], loc: Loc) -> tuple[Loc, FieldInfo | None]:
    """The option that a pydantic location is in: locations also name items of lists and members of unions."""
    for index, key in enumerate(loc):
        option = model.model_fields.get(key)
        inner = section_model(option) if option is not None else None
        if inner is None:
            return loc[: index + 1], option
        model = inner
    return loc, None


def _wanted(kind: str, message: str, option: FieldInfo | None) -> str:
    if option is None:
        return "is not an option" if kind == "extra_forbidden" else "must be a table of options"
    types = _types(option.annotation)
    bounds = _bounds(option)
    if kind.startswith("value_error"):
        text = message.removeprefix("Value error, ")
    elif kind in {"greater_than_equal", "less_than_equal"}:
        text = f"must be {bounds}"
    elif kind == "literal_error":
        choices = next(get_args(part) for part in types if get_origin(part) is Literal)
        text = f"must be one of {', '.join(map(toml_value, choices))}"
    elif kind == "path_not_file":
        text = "must be a file that exists"
    elif kind == "path_not_directory":
        text = "must be a folder that exists"
    elif int in types:
        text = f"must be a whole number {bounds}".rstrip()
    elif bool in types:
        text = "must be true or false"
    elif any(get_origin(part) is tuple for part in types):
        text = "must be a list of texts"
    else:
        text = "must be text in quotes"
    example = option.examples[0] if option.examples else None
    return text if example is None else f"{text} (for example {toml_value(example)})"


def _bounds(option: FieldInfo) -> str:
    low = next((rule.ge for rule in option.metadata if isinstance(rule, annotated_types.Ge)), None)
    high = next((rule.le for rule in option.metadata if isinstance(rule, annotated_types.Le)), None)
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return "" if low is None else f"{low} or more"


def toml_value(value: object) -> str:
    """A value as TOML writes it: texts, whole numbers, booleans and lists of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, cast('Sequence[object]', value)))}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
