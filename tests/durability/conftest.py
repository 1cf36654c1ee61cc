"""Fixtures of the durability tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.durability.kit import Folder

Make = Callable[..., Folder]


@pytest.fixture
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Makes data folders that nobody has used yet; options are environment variables. Their processes end with it."""
    made: list[Folder] = []

    def make(**options: object) -> Folder:
        environment = {f"DAIMON_{name.upper()}": str(value) for name, value in options.items()}
        made.append(Folder(tmp_path_factory.mktemp("d") / "data", environment))
        return made[-1]

    yield make
    for folder in made:
        folder.clean_up()
