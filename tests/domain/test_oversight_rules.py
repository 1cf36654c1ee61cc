"""Why a mail has to wait, and how a further inbox is overseen."""

from __future__ import annotations

import pytest

from daimon_mcp.domain.clock import HOUR
from daimon_mcp.domain.oversight import AfterUntrusted, Finding, Mode, Rules, Why, of_a_further_inbox, why_held
from daimon_mcp.domain.refusals import Refused

NOW = 1_800_000_000_000_000
ALLOW, HOLD = AfterUntrusted.ALLOW, AfterUntrusted.HOLD
SECRET = (Finding("private_key", "subject"),)


@pytest.mark.parametrize(
    ("mode", "after", "strangers", "read_ago", "found", "why"),
    [
        (Mode.AUTONOMOUS, ALLOW, ["x"], 1, (), ()),
        (Mode.MONITORED, ALLOW, ["x"], 1, (), ()),
        (Mode.GATED_SEND, ALLOW, [], None, (), (Why.EVERY_SEND,)),
        (Mode.GATED_NEW, ALLOW, [], 1, (), ()),
        (Mode.GATED_NEW, ALLOW, ["x"], None, (), (Why.NEW_RECIPIENTS,)),
        (Mode.AUTONOMOUS, HOLD, ["x"], None, (), ()),
        (Mode.AUTONOMOUS, HOLD, ["x"], 23, (), (Why.AFTER_UNTRUSTED,)),
        (Mode.AUTONOMOUS, HOLD, ["x"], 24, (), ()),
        (Mode.AUTONOMOUS, HOLD, [], 1, (), ()),
        (Mode.AUTONOMOUS, ALLOW, [], None, SECRET, (Why.SECRETS,)),
        (Mode.GATED_NEW, HOLD, ["x"], 1, SECRET, (Why.NEW_RECIPIENTS, Why.AFTER_UNTRUSTED, Why.SECRETS)),
    ],
)
def test_why_a_mail_is_held(
    mode: Mode,
    after: AfterUntrusted,
    strangers: list[str],
    read_ago: int | None,
    found: tuple[Finding, ...],
    why: tuple[Why, ...],
) -> None:
    read_at = None if read_ago is None else NOW - read_ago * HOUR
    rules = Rules(mode, after, paused=False)
    assert why_held(rules, strangers=strangers, untrusted_at=read_at, findings=found, now=NOW) == why


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (Rules(Mode.READ_ONLY, ALLOW, paused=False), "OVERSIGHT_READ_ONLY"),
        (Rules(Mode.GATED_SEND, ALLOW, paused=True), "INBOX_PAUSED"),
    ],
)
def test_where_nothing_may_be_sent(rules: Rules, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        rules.check_may_send()
    assert refused.value.reason == reason


@pytest.mark.parametrize("mode", Mode)
def test_a_further_inbox_may_do_no_more_than_the_mildest_there_is(mode: Mode) -> None:
    strict = Rules(Mode.READ_ONLY, HOLD, paused=True)
    assert of_a_further_inbox([]) == Rules(Mode.AUTONOMOUS, ALLOW, paused=False)
    assert of_a_further_inbox([strict]) == strict
    assert of_a_further_inbox([strict, Rules(mode, HOLD, paused=False)]) == Rules(mode, HOLD, paused=False)
