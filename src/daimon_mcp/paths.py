"""Where a data folder is, by the standard library alone: the stdio bridge imports this at every start."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def default_data_dir(environ: Mapping[str, str], platform: str = sys.platform) -> str:
    """The data folder of a user who named none.

    `~/Library/Application Support/daimon-mcp` on macOS; elsewhere `$XDG_DATA_HOME/daimon-mcp`, and without that
    variable, or with one that is not absolute, `~/.local/share/daimon-mcp` (XDG Base Directory Specification).
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    if platform == "darwin":
        return os.path.join(home, "Library", "Application Support", "daimon-mcp")
    data_home = environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data_home):
        data_home = os.path.join(home, ".local", "share")
    return os.path.join(data_home, "daimon-mcp")


def data_dir(environ: Mapping[str, str], given: str | None = None) -> str:
    """The data folder to use, absolute: `given` (from the command line), else DAIMON_DATA_DIR, else the default."""
    chosen = given or environ.get("DAIMON_DATA_DIR") or default_data_dir(environ)
    return os.path.abspath(os.path.expanduser(chosen))
