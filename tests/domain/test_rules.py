"""The pure rules: tiers and limits, times, ids, names of inboxes, retries, the status of a message."""

from __future__ import annotations

import contextlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    BadTime,
    day_period,
    iso,
    month_period,
    next_day,
    next_month,
    parse_time,
)
from daimon_mcp.domain.ids import canonical_id, looks_like_id, new_id
from daimon_mcp.domain.inboxes import RESERVED, ROLE_LOCAL_PARTS, alternatives, check_username, made_up_username
from daimon_mcp.domain.inboxes import split_subaddress as split
from daimon_mcp.domain.queue import LEASE, RETRY_DELAYS, DeliveryState, MessageStatus, message_status, next_attempt_at
from daimon_mcp.domain.refusals import Fact, Refused
from daimon_mcp.domain.tiers import DEFAULT_LIMITS, Limits, Tier, Usage, check_send, is_higher, next_tier, parse_tier

NOW = parse_time("2026-11-21T23:59:30Z")
_LAST = parse_time("9000-12-31T23:59:59Z")


def refused(tier: Tier, usage: Usage, recipients: int, *, at: int | None = None) -> Refused | None:
    try:
        check_send(tier, DEFAULT_LIMITS[tier], usage, recipients, NOW, at=at)
    except Refused as refusal:
        return refusal
    return None


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 20), st.integers(1, 50))
def test_a_send_is_allowed_exactly_when_it_fits_everywhere(today: int, month: int, minute: int, count: int) -> None:
    refusal = refused(Tier.STARTER, Usage(today, month, minute), count)
    fits = today + count <= 100 and month + count <= 100 and minute + count <= 10
    assert (refusal is None) == fits
    if refusal is not None:
        daily = "DAILY_SEND_QUOTA" if today + count > 100 else "SEND_BURST_LIMIT"
        assert refusal.reason == ("MONTHLY_SEND_QUOTA" if month + count > 100 else daily)
        assert refusal.retry_after is not None
        assert refusal.retry_after > 0


def test_what_a_refusal_says_of_when() -> None:
    day = refused(Tier.STARTER, Usage(100, 0, 0), 1)
    assert day is not None
    assert (day.retry_after, day.facts["reset_at"]) == (30, "2026-11-22T00:00:00Z")
    month = refused(Tier.STARTER, Usage(0, 100, 0), 1)
    assert month is not None
    assert month.facts["reset_at"] == "2026-12-01T00:00:00Z"
    later = refused(Tier.STARTER, Usage(0, 100, 0), 1, at=parse_time("2026-12-05T00:00:00Z"))
    assert later is not None
    assert later.facts["reset_at"] == "2027-01-01T00:00:00Z"
    assert refused(Tier.STARTER, Usage(0, 0, 10), 1, at=NOW + DAY) is None  # the minute is of what leaves now
    assert refused(Tier.STARTER, Usage(0, 0, 10), 1, at=NOW - DAY) is not None


def test_tiers_have_an_order_and_other_names() -> None:
    assert [next_tier(tier) for tier in Tier] == [Tier.STARTER, Tier.PRO, Tier.ENTERPRISE, Tier.ENTERPRISE]
    assert (parse_tier(" Developer "), parse_tier("growth"), parse_tier("PRO")) == (Tier.STARTER, Tier.PRO, Tier.PRO)
    with pytest.raises(ValueError, match="gold"):
        parse_tier("gold")
    assert is_higher(Tier.PRO, Tier.STARTER)
    assert not is_higher(Tier.PRO, Tier.PRO)
    free = refused(Tier.FREE, Usage(0, 0, 0), 1)
    assert free is not None
    assert (free.code, free.target_tier) == ("SEND_REQUIRES_PAID", "starter")
    top = refused(Tier.ENTERPRISE, Usage(100_000, 0, 0), 1)
    assert top is not None
    assert top.target_tier is None
    assert not Limits(0, 0, None, False, 0, None, 0).may_send


@given(st.integers(0, _LAST))
def test_a_time_is_read_as_it_is_written(moment: int) -> None:
    whole = moment // SECOND * SECOND
    assert parse_time(iso(whole)) == whole
    assert day_period(moment) == "d" + iso(moment)[:10]
    assert month_period(moment) == "m" + iso(moment)[:7]
    assert 0 < next_day(moment) - moment <= DAY
    assert day_period(next_day(moment)) != day_period(moment)
    assert month_period(next_month(moment) - 1) == month_period(moment) != month_period(next_month(moment))


@given(st.text(max_size=40) | st.from_regex(r"\A[0-9:TZW+. -]{0,30}\Z"))
def test_no_text_breaks_reading_a_time(text: str) -> None:
    with contextlib.suppress(BadTime):
        assert 0 <= parse_time(text) <= _LAST + DAY


@pytest.mark.parametrize("text", ["2026-02-29T00:00:00Z", "24:00:00Z", "2026-11-21T09:00:00+25:00", "١٢٣Z", "Z"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BadTime):
        parse_time(text)


@given(st.lists(st.integers(0, _LAST), min_size=2, max_size=2))
def test_ids_sort_by_time_and_do_not_repeat(moments: list[int]) -> None:
    early, late = sorted(moments)
    first, second = new_id("msg", early), new_id("msg", late)
    assert first != second
    if late - early > 1000:
        assert first < second
    assert looks_like_id(first, "msg")
    assert not looks_like_id(first, "inb")
    assert len(first) == 30


def test_older_prefixes_are_ours() -> None:
    assert canonical_id(" inbox_123 ") == "inb_123"
    assert canonical_id("thread_abc") == "thr_abc"
    assert canonical_id("msg_inbox_1") == "msg_inbox_1"


@pytest.mark.parametrize("name", ["abc", "support-bot", "a.b_c-9", "x" * 32])
def test_names_an_inbox_may_have(name: str) -> None:
    check_username(name)
    for made in (made_up_username(), *alternatives(name)):
        check_username(made)


@pytest.mark.parametrize(
    "name", ["ab", "x" * 33, "Abc", "-abc", "abc-", "a..b", "a b", "a+b", "ünïc", "abc\n", "", *sorted(RESERVED)]
)
def test_names_an_inbox_may_not_have(name: str) -> None:
    with pytest.raises(Refused):
        check_username(name)


def test_roles_are_reserved_and_tags_are_split_once() -> None:
    assert ROLE_LOCAL_PARTS <= RESERVED
    assert (split("a+b+c"), split("a"), split("a+")) == (("a", "b+c"), ("a", None), ("a", ""))


def test_retries_spread_out_and_reach_four_hours() -> None:
    for attempt, delay in enumerate(RETRY_DELAYS, 1):
        for _ in range(20):
            assert 0.8 * delay <= next_attempt_at(attempt, NOW) - NOW <= 1.2 * delay
    assert next_attempt_at(100, NOW) - NOW >= 0.8 * 4 * HOUR
    assert list(RETRY_DELAYS) == sorted(RETRY_DELAYS)
    assert LEASE >= 5 * MINUTE


@given(st.lists(st.sampled_from(list(DeliveryState)), min_size=1, max_size=6))
def test_a_message_is_as_its_worst_recipient(states: list[DeliveryState]) -> None:
    status = message_status(states)
    assert status == message_status(list(reversed(states)))
    if DeliveryState.QUEUED in states:
        assert status is MessageStatus.QUEUED
    elif DeliveryState.HELD in states:
        assert status is MessageStatus.HELD
    elif DeliveryState.BOUNCED in states:
        assert status is MessageStatus.BOUNCED
    elif set(states) == {DeliveryState.DELIVERED}:
        assert status is MessageStatus.DELIVERED
    elif set(states) == {DeliveryState.SENT, DeliveryState.DELIVERED}:
        assert status is MessageStatus.SENT


@given(st.booleans(), st.none() | st.frozensets(st.sampled_from(["message_read", "message_send"])))
def test_holding_a_permission_is_not_being_refused_it(read_only: bool, permissions: frozenset[str] | None) -> None:
    actor = Actor(1, "acc_1", permissions=permissions, read_only=read_only)
    for permission in ("message_read", "message_send"):
        if actor.holds(permission):
            actor.require(permission)
        else:
            with pytest.raises(Refused):
                actor.require(permission)


def test_facts_are_plain() -> None:
    assert set(get_args(Fact)) == {str, int, float, type(None)}
