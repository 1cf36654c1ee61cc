"""`python -m benchmarks`: all of them, briefly. Each alone runs longer: `python -m benchmarks.startup`, and so on."""

from __future__ import annotations

import platform
import sqlite3
import sys

from benchmarks import calls, search, smtp, startup, store

if __name__ == "__main__":
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {sys.platform}")
    for each in (startup, calls, store, search, smtp):
        each.main(quick=True)
