"""Print `config.example.toml` from the model of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import getdoc
from textwrap import wrap
from typing import cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from daimon_mcp.settings.sources import UNLIMITED, Loc, env_name, section_model, toml_value

_HEAD = """\
# Settings of daimon-mcp. Every option is here, commented out, with its default.
#
# Copy this file as config.toml into the data folder, or anywhere and name it in DAIMON_CONFIG or with --config,
# and take the # away before the options you change. An environment variable wins over this file, an argument of
# the command over both. Unknown names are errors.
#
# Only in the environment: DAIMON_DATA_DIR (the data folder), DAIMON_CONFIG (this file), DAIMON_API_KEY (the key of a
# stdio session). Short names: DAIMON_PROFILE and DAIMON_READ_ONLY for the options of [mcp]. Lists are written there
# with commas: DAIMON_MAIL__DOMAINS=example.org,example.net
#
# Written by `make generate`; edits here are lost.
"""


def print_example(model: type[BaseModel], *, apart: Sequence[str]) -> str:
    """The whole file; `apart` names the top-level options that no file may set."""
    defaults = {name: option.default for name, option in model.model_fields.items() if name not in apart}
    parts = [_HEAD]
    for name, default in defaults.items():
        section = section_model(model.model_fields[name])
        if section is None:
            raise TypeError(f"{name} is an option outside every section")
        parts += _section(section, default, (name,))
    return "\n".join(parts)


def _section(model: type[BaseModel], default: BaseModel, at: Loc) -> list[str]:
    about = (getdoc(model) or "").split("\n\n")[0].replace("\n", " ")
    head = _comment(about) + f"[{'.'.join(at)}]\n"
    nested: list[str] = []
    options: list[str] = []
    for name, option in model.model_fields.items():
        inner = section_model(option)
        if inner is None:
            options.append(_option(option, getattr(default, name), (*at, name)))
        else:
            nested += _section(inner, getattr(default, name), (*at, name))
    return ["\n".join([head, *options]) if options else head, *nested]


def _option(option: FieldInfo, default: object, loc: Loc) -> str:
    unit = cast("Mapping[str, str]", option.json_schema_extra or {}).get("unit")
    value = toml_value((option.examples or [""])[0] if default is None else default)
    if default is None:
        stated = "not set"
    elif default == UNLIMITED:
        stated = f"{value} (no limit)"
    else:
        stated = f"{value} {unit}" if unit else value
    facts = f"# Default: {stated}. Environment: {env_name(loc)}\n"
    return f"{_comment(option.description or '')}{facts}#{loc[-1]} = {value}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in wrap(text, 110, break_long_words=False, break_on_hyphens=False))
