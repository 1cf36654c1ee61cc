"""Contracts: what others rely on, kept as files, so that changing it is a diff somebody reads."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check_contract(path: str, text: str) -> None:
    """Assert that the file at `path` (from the repository's root) holds `text`; `make generate` writes it instead."""
    file = ROOT / path
    if os.environ.get("UPDATE_CONTRACTS") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    kept = file.read_text(encoding="utf-8") if file.exists() else None
    assert kept == text, f"{path} is not what the code makes; run `make generate` and read the diff"
