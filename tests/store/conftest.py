"""Fixtures of the store's tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.store.notes import Notes, create


@pytest.fixture
async def notes(tmp_path: Path) -> AsyncGenerator[Notes]:
    """An open database of notes."""
    made = Notes(tmp_path / "notes.db")
    await made.database.open(create)
    yield made
    await made.database.close()
