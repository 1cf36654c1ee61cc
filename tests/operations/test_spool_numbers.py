"""The spool's numbers: a later mail never gets that of an earlier one, which somebody may still be filing."""

from __future__ import annotations

from pathlib import Path

from tests.support.daimon import running
from tests.support.post import PEER, ROBO, eml

from daimon_mcp.domain.envelopes import Envelope
from daimon_mcp.store import incoming


async def test_a_number_is_not_used_again_when_its_mail_is_filed(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as daimon:
        operations = daimon.operations
        numbers: list[int] = []
        for _ in range(3):
            await operations.receiving.accept(Envelope("ann@example.com", (ROBO,)), PEER, eml())
            numbers.append(operations.spool.waiting()[-1][0])
            assert await operations.core.database.write(lambda tx: incoming.take(tx, numbers[-1]))
        assert numbers == sorted(set(numbers))
