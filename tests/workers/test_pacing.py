"""How many messages go to one destination at a time, by what came of those before."""

from __future__ import annotations

import pytest
from tests.support.daimon import MovableClock

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.domain.queue import Attempt, Outcome
from daimon_mcp.workers import pacing
from daimon_mcp.workers.pacing import FIRST_PAUSE, LONGEST_PAUSE, Pacing

TAKEN = Attempt(Outcome.ACCEPTED, 250, "2.0.0", "Ok", "mx")
NO_USER = Attempt(Outcome.REFUSED, 550, "5.1.1", "No such user", "mx")
GREY = Attempt(Outcome.DEFERRED, 451, "4.7.1", "Later", "mx")
BUSY = Attempt(Outcome.DEFERRED, 421, "4.3.2", "Too many connections", "mx")
SILENT = Attempt(Outcome.DEFERRED, None, None, "no answer", "mx")
LOST = Attempt(Outcome.UNKNOWN, None, None, "lost after the final dot", "mx")


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def paced(clock: MovableClock) -> Pacing:
    return Pacing(clock, most=20)


def send(paced: Pacing, name: str, *attempts: Attempt) -> None:
    paced.begin(name)
    paced.end(name, list(attempts))


def test_it_begins_with_two_and_grows_by_one_for_each_round_that_went_well(paced: Pacing) -> None:
    assert paced.room("a") == 2
    grown: list[int] = []
    for _ in range(6):
        width = paced.room("a")
        for _ in range(width):
            paced.begin("a")
        for _ in range(width):
            paced.end("a", [TAKEN])
        grown.append(paced.room("a"))
    assert grown == sorted(grown)
    assert 5 <= grown[-1] <= 8
    for _ in range(500):
        send(paced, "a", TAKEN)
    assert paced.room("a") == 20


def test_what_is_under_way_takes_room(paced: Pacing) -> None:
    paced.begin("a")
    assert (paced.room("a"), paced.full()) == (1, [])
    paced.begin("a")
    assert (paced.room("a"), paced.full(), paced.room("b")) == (0, ["a"], 2)
    paced.end("a", [TAKEN])
    assert paced.room("a") == 1


@pytest.mark.parametrize("trouble", [SILENT, BUSY])
def test_trouble_halves_it_and_closes_it_when_all_under_way_have_failed(
    paced: Pacing, clock: MovableClock, trouble: Attempt
) -> None:
    for _ in range(200):
        send(paced, "a", TAKEN)
    paced.begin("a")
    paced.begin("a")
    before = paced.room("a") + 2
    paced.end("a", [trouble])
    assert paced.room("a") + 1 == before // 2
    assert not paced.is_closed("a")  # the other one may get through
    paced.end("a", [trouble])
    assert paced.is_closed("a")
    assert (paced.room("a"), paced.full(), paced.next_opening()) == (0, ["a"], clock.now() + FIRST_PAUSE)
    assert (paced.is_closed("b"), paced.room("b")) == (False, 2)
    clock.move(FIRST_PAUSE / SECOND)
    assert (paced.is_closed("a"), paced.next_opening()) == (False, None)
    assert paced.room("a") >= 1


def test_one_that_stays_dead_is_left_alone_ever_longer_and_one_answer_forgives_all(
    paced: Pacing, clock: MovableClock
) -> None:
    pauses: list[int] = []
    for _ in range(12):
        send(paced, "a", SILENT)
        opening = paced.next_opening()
        assert opening is not None
        pauses.append(opening - clock.now())
        clock.move(pauses[-1] / SECOND)
        assert paced.room("a") == 1  # one is enough to see whether it is back
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    send(paced, "a", TAKEN)
    send(paced, "a", SILENT)
    assert paced.next_opening() == clock.now() + FIRST_PAUSE


@pytest.mark.parametrize("answer", [NO_USER, GREY])
def test_an_answer_about_the_mail_is_no_trouble_of_the_place(paced: Pacing, answer: Attempt) -> None:
    for _ in range(3):
        send(paced, "a", answer, SILENT)
    assert not paced.is_closed("a")
    assert paced.room("a") >= 2


def test_a_closed_one_can_be_opened_by_hand(paced: Pacing, clock: MovableClock) -> None:
    for _ in range(2):
        send(paced, "a", SILENT)
        clock.move(60)
    send(paced, "a", SILENT)
    paced.reopen()
    assert (paced.is_closed("a"), paced.room("a"), paced.next_opening()) == (False, 1, None)
    send(paced, "a", SILENT)
    assert paced.next_opening() == clock.now() + 8 * FIRST_PAUSE  # it has not been forgotten how long it is dead


def test_an_answer_that_was_lost_or_mail_that_was_not_tried_says_nothing(paced: Pacing) -> None:
    send(paced, "a", LOST)
    send(paced, "a")
    assert (paced.is_closed("a"), paced.room("a")) == (False, 2)


def test_only_so_many_destinations_are_remembered_and_those_that_matter_stay(
    paced: Pacing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "MOST_KNOWN", 20)
    paced.begin("under way")
    paced.begin("under way")
    send(paced, "closed", SILENT)
    for number in range(500):
        send(paced, f"d{number}", TAKEN)
        send(paced, "often", TAKEN)
    assert paced.full() == ["under way", "closed"]
    assert paced.room("often") > 2
    assert paced.room("d0") == 2
    assert paced.remembered <= 21
