"""Where the measuring material is. It is not part of the project: a folder is given, or DAIMON_CORPORA names it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def folder_argument() -> Path:
    """The first argument that is no option, else $DAIMON_CORPORA; without a folder says how to pass one and exits 2."""
    given = next((each for each in sys.argv[1:] if not each.startswith("-")), os.environ.get("DAIMON_CORPORA", ""))
    if not given or not Path(given).is_dir():
        print(f"usage: {Path(sys.argv[0]).stem} FOLDER   (or set DAIMON_CORPORA to the folder)", file=sys.stderr)
        raise SystemExit(2)
    return Path(given)
