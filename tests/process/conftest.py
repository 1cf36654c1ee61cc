"""Fixtures of the process model's tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence

import pytest
from tests.process.kit import LINES, Client, Folder, start

Start = Callable[..., Awaitable[Client]]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A data folder that nobody has made yet; whoever owns it at the end is ended."""
    folder = Folder(tmp_path_factory.mktemp("d") / "data")
    yield folder
    folder.clean_up()


@pytest.fixture
async def bridge(folder: Folder) -> AsyncGenerator[Start]:
    """Starts bridges to `folder`, with line owners unless told otherwise, and ends them."""
    clients: list[Client] = []

    async def start_one(
        owner_script: str = LINES,
        *arguments: str,
        environment: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Client:
        clients.append(await start(folder, owner_script, *arguments, environment=environment, pass_fds=pass_fds))
        return clients[-1]

    yield start_one
    for client in clients:
        await client.kill()
