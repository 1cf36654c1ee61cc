"""How much a peer may hand over, and greylisting: counted by a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.daimon import MovableClock

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations import policing
from daimon_mcp.operations.policing import KNOWN_FOR, RETRY_WINDOW, UNKNOWN_RECIPIENTS, UNKNOWN_WINDOW, Policing

PEER = "192.0.2.1"
DAY = 86_400.0


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def police(clock: MovableClock) -> Policing:
    return Policing(clock, trusts=lambda address: address == "", messages_per_minute=3, greylist_seconds=60)


def refused(call: Callable[[], None]) -> tuple[str | None, int | None]:
    """The reason, and how long to wait."""
    with pytest.raises(Refused) as raised:
        call()
    assert raised.value.code is RefusalCode.RATE_LIMIT_EXCEEDED
    return raised.value.reason, raised.value.retry_after


def test_so_many_messages_in_a_minute_and_no_more(police: Policing, clock: MovableClock) -> None:
    for _ in range(3):
        police.message(PEER)
        clock.move(10)
    assert refused(lambda: police.message(PEER)) == ("MESSAGES", 30)
    police.message("192.0.2.2")
    clock.move(29.5)
    assert refused(lambda: police.message(PEER)) == ("MESSAGES", 1)
    clock.move(0.5)
    for _ in range(3):
        police.message(PEER)
    assert refused(lambda: police.message(PEER)) == ("MESSAGES", 60)


def test_a_network_of_ipv6_counts_as_one(police: Policing) -> None:
    for last in (1, 2, 3):
        police.message(f"2001:db8::{last}")
    assert refused(lambda: police.message("2001:db8::ffff:4"))[0] == "MESSAGES"
    police.message("2001:db8:0:1::1")


def test_who_tries_out_addresses_is_put_off_for_a_while(police: Policing, clock: MovableClock) -> None:
    for _ in range(UNKNOWN_RECIPIENTS):
        police.check_searching(PEER)
        police.recipient(PEER, known=False)
    assert refused(lambda: police.check_searching(PEER)) == ("UNKNOWN_RECIPIENTS", 600)
    police.check_searching("192.0.2.2")
    clock.move(UNKNOWN_WINDOW / 1_000_000)
    police.check_searching(PEER)


def test_who_sends_a_lot_may_be_wrong_sometimes(police: Policing) -> None:
    for number in range(1000):
        police.recipient(PEER, known=number % 11 != 0)
        police.check_searching(PEER)
    for _ in range(20):
        police.recipient(PEER, known=False)
    assert refused(lambda: police.check_searching(PEER))[0] == "UNKNOWN_RECIPIENTS"


def test_a_triplet_is_put_off_until_it_comes_again_later(police: Policing, clock: MovableClock) -> None:
    def mail(address: str = PEER, sender: str = "ann@example.com", recipient: str = "robo@x.org") -> None:
        police.greylist(address, sender, recipient)

    assert refused(mail) == ("GREYLISTED", 60)
    clock.move(20)
    assert refused(mail) == ("GREYLISTED", 40)
    assert refused(lambda: mail(recipient="other@x.org")) == ("GREYLISTED", 60)
    assert refused(lambda: mail(sender="")) == ("GREYLISTED", 60)
    assert refused(lambda: mail("198.51.100.1")) == ("GREYLISTED", 60)
    clock.move(40)
    mail()
    mail("192.0.2.250", "ANN@example.com", "Robo@x.org")  # a neighbour, and case does not matter
    assert refused(lambda: mail("192.0.3.1"))[0] == "GREYLISTED"
    clock.move(KNOWN_FOR / 1_000_000 - 1)
    mail()
    clock.move(KNOWN_FOR / 1_000_000 - 1)  # known from its last mail on
    mail()
    clock.move(KNOWN_FOR / 1_000_000)
    assert refused(mail) == ("GREYLISTED", 60)


def test_who_does_not_come_again_in_time_is_new(police: Policing, clock: MovableClock) -> None:
    assert refused(lambda: police.greylist(PEER, "a@b.org", "c@d.org"))[1] == 60
    clock.move(RETRY_WINDOW / 1_000_000)
    assert refused(lambda: police.greylist(PEER, "a@b.org", "c@d.org"))[1] == 60


def test_off_is_off(clock: MovableClock) -> None:
    police = Policing(clock, trusts=lambda _: False, messages_per_minute=1, greylist_seconds=0)
    police.greylist(PEER, "a@b.org", "c@d.org")


def test_strangers_cannot_make_it_grow(police: Policing, clock: MovableClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policing, "MOST_PEERS", 10)
    monkeypatch.setattr(policing, "MOST_TRIPLETS", 10)
    for number in range(40):
        police.message(f"192.0.2.{number}")
        assert refused(lambda number=number: police.greylist(PEER, f"{number}@b.org", "c@d.org"))[1] == 60
    for _ in range(2):  # the oldest are forgotten, and counted anew
        police.message("192.0.2.39")
        for _ in range(3):
            police.message("192.0.2.0")
        assert refused(lambda: police.message("192.0.2.0"))[0] == "MESSAGES"
        clock.move(60)
    assert refused(lambda: police.greylist(PEER, "0@b.org", "c@d.org"))[1] == 60
    police.greylist(PEER, "39@b.org", "c@d.org")
