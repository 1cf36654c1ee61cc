"""The inbound listener, on each loop we run on."""

from __future__ import annotations

import pytest

from daimon_mcp.faces.smtp import submission

GREETING_SECONDS = 0.5


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both loops we run on."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port with STARTTLS waits for a client that speaks first longer than any is kept from it by other tests."""
    monkeypatch.setattr(submission, "GREETING_SECONDS", GREETING_SECONDS)
