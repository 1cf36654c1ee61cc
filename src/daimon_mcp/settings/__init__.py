"""Every option, with its description, unit and default. No other package reads configuration.

`load` reads arguments, then the environment, then `config.toml`, then defaults: the first that names an option wins.
Only the application and the command line import this; everybody else is handed plain values.

A module here has a group of sections; `kinds` are the values that options have, `model` puts the sections together,
`sources` says where values come from, `example` prints `config.example.toml`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from daimon_mcp import paths
from daimon_mcp.settings.model import Settings
from daimon_mcp.settings.relay import Relay
from daimon_mcp.settings.sources import arguments, environment, explain, merge, read_toml

__all__ = ["FLAT_NAMES", "Relay", "Settings", "SettingsError", "example_toml", "load"]

FLAT_NAMES: dict[str, tuple[str, ...]] = {
    "DAIMON_DATA_DIR": ("data_dir",),
    "DAIMON_CONFIG": ("config_file",),
    "DAIMON_API_KEY": ("api_key",),
    "DAIMON_PROFILE": ("mcp", "profile"),
    "DAIMON_READ_ONLY": ("mcp", "read_only"),
}
"""Short environment names; where a long name says the same option, the long one wins."""

_NOT_IN_FILES = ("data_dir", "config_file", "api_key")  # a file cannot say where it is, nor who one session is


class SettingsError(Exception):
    """The configuration cannot be used; the text has one line for each problem, and never a value that was given."""


def load(
    *,
    config: Path | None = None,
    data_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    **overrides: object,
) -> Settings:
    """Read the configuration: arguments, then `environ`, then the file, then defaults.

    `overrides` are sections (`http={"port": 0}`) or `api_key`; a None among them means "not given". The file is
    `config`, else DAIMON_CONFIG, else `config.toml` in the data folder if there is one; a file that was named must
    exist. Raises SettingsError, which lists every problem at once.
    """
    folder = Path(paths.data_dir(environ, None if data_dir is None else str(data_dir)))
    named = config or (Path(environ["DAIMON_CONFIG"]).expanduser() if environ.get("DAIMON_CONFIG") else None)
    file = (named or folder / "config.toml").absolute()
    given = arguments({**overrides, "data_dir": folder})
    sources = [given, environment(environ, Settings, FLAT_NAMES, apart=("data_dir", "config_file"))]
    said = read_toml(file, Settings, apart=_NOT_IN_FILES, optional=named is None)
    if said is not None:
        sources.append(said)
        given.values["config_file"] = file
    problems = [problem for source in sources for problem in source.problems]
    try:
        settings = Settings.model_validate(merge(source.values for source in reversed(sources)))
    except ValidationError as error:
        problems += explain(error, Settings, sources)
        raise SettingsError("\n".join(problems)) from None  # the cause would print the values
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def example_toml() -> str:
    """`config.example.toml`: every option commented out, with description, unit, default and environment name."""
    from daimon_mcp.settings.example import print_example

    return print_example(Settings, apart=_NOT_IN_FILES)
