"""What most tests of the operations stand on: a daimon that sends through a relay, and an agent with two inboxes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from tests.support.daimon import Agent, Daimon


@pytest.fixture
def daimon(relayed: Daimon) -> Daimon:
    """With its workers, `sink` as its relay and a clock that stands."""
    return relayed


@pytest.fixture
async def agent(daimon: Daimon) -> AsyncGenerator[Agent]:
    """Robo's, with the inbox of another beside its own."""
    async with daimon.agent() as made:
        await made.do("create_inbox", username="robo")
        await made.do("create_inbox", username="other")
        yield made
