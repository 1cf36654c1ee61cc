"""What mail programs do that looks like abuse: failed logins, refused senders, sudden volume.

Counts live in memory, for a window of minutes: a restart forgives. What they lead to is in the store: an event, and
sending that is stopped until the operator clears it.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from daimon_mcp.domain.accounts import AccountStatus
from daimon_mcp.domain.changes import CredentialsChanged
from daimon_mcp.domain.clock import DAY, HOUR, MINUTE, SECOND, Clock, day_period
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.auditing import note_operator
from daimon_mcp.operations.core import Core
from daimon_mcp.store import accounts, events
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction

log = logging.getLogger(__name__)

WINDOW = 10 * MINUTE
TOLD_AGAIN = HOUR  # one kind of abuse of one account is told once in this time
FREE_TRIES = 3  # failed logins from an address before answers get slow
LONGEST_DELAY = 10.0
MOST_KEYS = 10_000


class Kind(StrEnum):
    """What was noticed."""

    FAILED_LOGINS = "failed_logins"
    REFUSED_SENDERS = "refused_senders"
    SUDDEN_VOLUME = "sudden_volume"


@dataclass(slots=True)
class _Counter:
    """How much of something happened to each key within the window."""

    clock: Clock
    _moments: dict[object, deque[tuple[int, int]]] = field(default_factory=dict[object, "deque[tuple[int, int]]"])
    _totals: dict[object, int] = field(default_factory=dict[object, int])

    def add(self, key: object, amount: int = 1) -> int:
        if len(self._moments) > MOST_KEYS:  # strangers choose addresses: what is old goes first
            for old in [each for each in self._moments if not self.count(each)] or [next(iter(self._moments))]:
                self.forget(old)
        self._moments.setdefault(key, deque()).append((self.clock.now(), amount))
        self._totals[key] = self._totals.get(key, 0) + amount
        return self.count(key)

    def count(self, key: object) -> int:
        moments = self._moments.get(key)
        if moments is None:
            return 0
        while moments and moments[0][0] <= self.clock.now() - WINDOW:
            self._totals[key] -= moments.popleft()[1]
        return self._totals[key]

    def below_at(self, key: object, most: int) -> int | None:
        """When (epoch µs) the count will be below `most` if nothing more happens; None while it is."""
        left = self.count(key)
        if left < most:
            return None
        for moment, amount in self._moments.get(key, ()):
            left -= amount
            if left < most:
                return moment + WINDOW
        return None

    def forget(self, key: object) -> None:
        self._moments.pop(key, None)
        self._totals.pop(key, None)


def network(address: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


class Abuse:
    """Counts, and what too much of something leads to."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._places = _Counter(core.clock)
        self._counts = {kind: _Counter(core.clock) for kind in Kind}
        self._told: dict[tuple[int, Kind], int] = {}

    def delay(self, address: str) -> float:
        """How long the answer to a wrong login from this address is put off, in seconds."""
        over = self._places.count(network(address)) - FREE_TRIES
        return 0.0 if over < 0 else min(LONGEST_DELAY, self._core.policy.login_delay * 2.0**over)

    def lock_out(self, address: str) -> Refused | None:
        """RATE_LIMIT_EXCEEDED (LOGIN_FAILURES) while so many logins from this address failed that a wrong one is not
        called wrong any more; its `retry_after` is when the oldest of them are forgotten."""
        until = self._places.below_at(network(address), self._core.policy.most_failed_logins)
        if until is None:
            return None
        seconds = -(-(until - self._core.clock.now()) // SECOND)
        return Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="LOGIN_FAILURES", retry_after=seconds)

    async def failed_login(self, address: str, account_no: int | None) -> None:
        """A login failed; `account_no` is whose it would have been, if anybody's."""
        failures = self._places.add(network(address))
        if failures == self._core.policy.most_failed_logins:
            log.warning("%d failed logins from %.60s in ten minutes: more are turned away", failures, address)
        if account_no is not None:
            count = self._counts[Kind.FAILED_LOGINS].add(account_no)
            # Never a reason to stop sending: anybody can fail to log in as somebody else.
            if count >= self._core.policy.abuse_failed_logins:
                await self._detected(account_no, Kind.FAILED_LOGINS, count, stop=False)

    async def refused_sender(self, account_no: int) -> None:
        """A program of this account tried to send in another's name."""
        count = self._counts[Kind.REFUSED_SENDERS].add(account_no)
        if count >= self._core.policy.abuse_refused_senders:
            await self._detected(account_no, Kind.REFUSED_SENDERS, count, stop=True)

    async def sent(self, account_no: int, recipients: int) -> None:
        """A program of this account handed in mail. More than ten times what is usual in a week is sudden."""
        count = self._counts[Kind.SUDDEN_VOLUME].add(account_no, recipients)
        if count < self._core.policy.abuse_volume:
            return
        now = self._core.clock.now()
        week = 0
        for days in range(1, 8):
            row = await self._core.database.one(
                sql.usage_get, account_no=account_no, period=day_period(now - days * DAY)
            )
            week += int(row[0]) if row else 0
        if count > 10 * week * WINDOW // (7 * DAY):
            await self._detected(account_no, Kind.SUDDEN_VOLUME, count, stop=True)

    async def _detected(self, account_no: int, kind: Kind, count: int, *, stop: bool) -> None:
        now = self._core.clock.now()
        if self._told.get((account_no, kind), -TOLD_AGAIN) + TOLD_AGAIN > now:
            return
        self._told[account_no, kind] = now
        stopping = stop and self._core.policy.abuse_stops_sending

        def run(tx: Transaction) -> None:
            account = accounts.account_in(tx, account_no)
            stopped = stopping and bool(tx.run(sql.account_stop_sending, account_no=account_no, now=now, why=kind))
            payload = {"kind": kind, "count": count, "window_seconds": WINDOW // SECOND, "sending_stopped": stopped}
            events.record(
                tx, "account.smtp_abuse_detected", account_no=account_no, inbox_no=None, now=now, payload=payload
            )
            if stopped:
                tx.announce(CredentialsChanged(account_no, account.id))

        log.warning("smtp abuse of account %d: %s, %d in ten minutes", account_no, kind, count)
        await self._core.database.write(run)

    async def resume(self, account_id: str, *, by: str = "cli") -> bool:
        """Let an account send again, `by` which way of the operator's; False if its sending was not stopped.

        Raises ACCOUNT_NOT_FOUND.
        """
        account = await accounts.account_by_id(self._core.database, account_id)
        if account is None or account.status is not AccountStatus.ACTIVE:
            raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
        for kind in Kind:
            self._told.pop((account.no, kind), None)
            self._counts[kind].forget(account.no)
        now = self._core.clock.now()

        def run(tx: Transaction) -> bool:
            note_operator(tx, "resume_sending", account.id, by=by, now=now, account_no=account.no)
            return bool(tx.run(sql.account_resume_sending, account_no=account.no))

        return await self._core.database.write(run)
