"""The browser that tests of web pages drive."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


@cache
def browser_path() -> str:
    """The path of an installed Chromium or Chrome. Raises RuntimeError that says what to do when there is none."""
    script = Path(__file__).parents[2] / "scripts" / "ensure-browser"
    done = subprocess.run([str(script), "--find"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.strip()
