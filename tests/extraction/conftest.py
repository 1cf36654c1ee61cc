"""An Extraction for a test, and one that is shared by tests that are not async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator

import pytest

from daimon_mcp.extraction.service import Extracted, Extraction

Extract = Callable[[bytes, str, str], Extracted]


@pytest.fixture
async def extraction() -> AsyncGenerator[Extraction]:
    """One with the limits of the product."""
    made = Extraction()
    yield made
    await made.aclose()


@pytest.fixture(scope="module")
def extract() -> Iterator[Extract]:
    """Reads a file through a child that lives as long as the module's tests."""
    with asyncio.Runner() as runner:

        async def made() -> Extraction:
            return Extraction()

        extraction = runner.run(made())
        yield lambda content, content_type, filename="": runner.run(extraction.extract(content, content_type, filename))
        runner.run(extraction.aclose())
