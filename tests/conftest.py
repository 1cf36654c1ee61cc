"""What all tests share: one event loop library, hypothesis profiles, and leaks blamed on the module that made them."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.support.daimon import Daimon, MovableClock, running

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """SMTP client and server are asyncio's, so the loop is; for the session, so that wide fixtures can be async."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def leaks_surface_here() -> Iterator[None]:
    """Collect garbage at the end of a module: a socket or file left open warns, and a warning is an error, here."""
    yield
    gc.collect()


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    """A daimon without listeners or workers, on the machine's clock."""
    async with running(tmp_path / "data") as made:
        yield made


@pytest.fixture
async def still(tmp_path: Path) -> AsyncGenerator[Daimon]:
    """A daimon with its workers, on a clock that moves when a test moves it."""
    async with running(tmp_path / "data", workers=True, clock=MovableClock()) as made:
        yield made


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncGenerator[Daimon]:
    """A daimon with every listener on a free port."""
    async with running(tmp_path / "data", listeners=True) as made:
        yield made
