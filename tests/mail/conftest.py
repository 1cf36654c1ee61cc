"""The messages of tests/corpus, and a strategy of mutated ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

_CORPUS = Path(__file__).resolve().parent.parent / "corpus"


@pytest.fixture(scope="session")
def corpus() -> dict[str, bytes]:
    """Every message by file name."""
    return {path.name: path.read_bytes() for path in sorted(_CORPUS.glob("*.eml"))}


@pytest.fixture(scope="session")
def mail(corpus: dict[str, bytes]) -> Callable[[str], bytes]:
    """One message by name, without `.eml`."""
    return lambda name: corpus[f"{name}.eml"]
