"""What all tests share: one event loop library, hypothesis profiles, daimons, and leaks blamed on who made them."""

from __future__ import annotations

import compileall
import gc
import os
import ssl
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import settings
from tests.support.daimon import Daimon, MovableClock, running
from tests.support.post import clock_at, relayed_through
from tests.support.programs import ROOT
from tests.support.sink import Sink

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_configure(config: pytest.Config) -> None:
    """Compile our modules before many processes import them, each of them anew where Python writes no bytecode."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "src", quiet=1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """What `-n auto` comes to: three workers for two processors, for many tests wait half of their time."""
    del config
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return processors * 3 // 2


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """SMTP client and server are asyncio's, so the loop is; for the session, so that wide fixtures can be async."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def trust_nobody() -> Iterator[None]:
    """No test trusts whom this machine trusts: to read all of those takes longer than to start a daimon."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("SSL_CERT_FILE", str(ROOT / "tests" / "support" / "nobody.pem"))
        environ.setenv("SSL_CERT_DIR", os.devnull)
        yield


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


@pytest.fixture
async def sink() -> AsyncGenerator[Sink]:
    """A server that takes mail to outside."""
    async with Sink() as made:
        yield made


@pytest.fixture
async def relayed(tmp_path: Path, sink: Sink) -> AsyncGenerator[Daimon]:
    """A daimon on PRO, with its workers and `sink` as its relay, at noon until a test moves its clock."""
    clock = clock_at("2026-11-10T12:00:00Z")
    async with running(tmp_path / "data", relayed_through(sink), workers=True, clock=clock) as made:
        await made.upgrade()
        yield made


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs certificates here."""
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """For a server at 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


@pytest.fixture(scope="module")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context
