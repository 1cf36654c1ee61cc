"""The resolver, on each loop we run on."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both loops we run on."""
    return "asyncio", {"use_uvloop": request.param}
