"""Counting sends exactly: a limit of 100 lets 100 leave, never 101."""

from __future__ import annotations

from daimon_mcp.domain.clock import MINUTE, day_period, month_period
from daimon_mcp.domain.tiers import Limits, Usage
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Transaction


def _used(row: tuple[int] | tuple[object, ...] | None) -> int:
    return 0 if row is None else int(row[0])  # type: ignore[call-overload]


def in_tx(tx: Transaction, account_no: int, *, at: int, now: int) -> Usage:
    """What is used up in the day and month of `at`, and in the minute before `now`.

    What is scheduled counts in the day, the month and the minute it leaves in.
    """
    return Usage(
        _used(tx.one(sql.usage_get, account_no=account_no, period=day_period(at))),
        _used(tx.one(sql.usage_get, account_no=account_no, period=month_period(at))),
        last_minute(tx, account_no, now),
    )


def last_minute(tx: Transaction, account_no: int, now: int) -> int:
    """What has left within the last minute."""
    minute = {"account_no": account_no, "since": now - MINUTE, "until": now}
    return _used(tx.one(sql.queue_burst, **minute)) + _used(tx.one(sql.incoming_burst, **minute))


async def current(database: Database, account_no: int, now: int) -> Usage:
    """What is used up now."""
    minute = {"account_no": account_no, "since": now - MINUTE, "until": now}
    return Usage(
        _used(await database.one(sql.usage_get, account_no=account_no, period=day_period(now))),
        _used(await database.one(sql.usage_get, account_no=account_no, period=month_period(now))),
        _used(await database.one(sql.queue_burst, **minute)) + _used(await database.one(sql.incoming_burst, **minute)),
    )


def add(tx: Transaction, account_no: int, sends: int, limits: Limits, *, at: int) -> bool:
    """Count `sends` in the day and month of `at`; False, with nothing of this statement kept, if over a limit.

    The condition stands in the statement itself, so it holds on an engine with several writers too; the caller rolls
    back when this is False.
    """
    for period, cap in ((day_period(at), limits.sends_per_day), (month_period(at), limits.sends_per_month)):
        if cap is not None and sends > cap:
            return False
        row = tx.one(sql.usage_add, account_no=account_no, period=period, used=sends, cap=-1 if cap is None else cap)
        if row is None:
            return False
    return True


def take_back(tx: Transaction, account_no: int, sends: int, *, day: str, month: str) -> None:
    """Uncount sends that will not leave."""
    for period in (day, month):
        tx.run(sql.usage_take_back, account_no=account_no, period=period, sends=sends)
