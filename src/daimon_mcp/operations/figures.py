"""What an account has done so far, in figures: for programs that watch over it."""

from __future__ import annotations

from typing import Any

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import Fact
from daimon_mcp.operations.accounts import Accounts
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.compiled import Statement


class Figures:
    """The verb that counts."""

    def __init__(self, core: Core, accounts: Accounts) -> None:
        self._core = core
        self._accounts = accounts

    async def describe_account(self, actor: Actor) -> Outcome:
        """What `get_account` shows, and all sends, bounces and complaints so far, with their share of the sends.

        Sends count when they are accepted, one a recipient. `api_key` is the beginning of the key that asks.
        """
        outcome = await self._accounts.get_account(actor)
        sent, bounced, complaints = [
            await self._count(each, actor) for each in (sql.account_sent, sql.account_bounced, sql.account_complained)
        ]
        hint = await self._core.database.one(sql.key_hint, id=actor.key_id) if actor.key_id else None
        result: dict[str, Any] = {
            **outcome.result,
            "api_key": f"{hint[0]}…" if hint else None,
            "total_sent": sent,
            "total_bounced": bounced,
            "total_complaints": complaints,
            "bounce_rate": _share(bounced, sent),
            "complaint_rate": _share(complaints, sent),
        }
        facts: dict[str, Fact] = {**outcome.facts, "sent": sent}
        return Outcome(key="get_account.figures", result=result, facts=facts)

    async def _count(self, statement: Statement, actor: Actor) -> int:
        row = await self._core.database.one(statement, slow=True, account_no=actor.account_no)
        assert row is not None
        return int(row[0])


def _share(part: int, whole: int) -> float:
    """To four places; 0 of nothing."""
    return round(min(part / whole, 1.0), 4) if whole else 0.0
