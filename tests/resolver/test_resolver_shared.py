"""What the resolver remembers, shares and gives up, over real sockets."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from tests.support.nameserver import nameserver

from daimon_mcp.resolver import MxRecord, NoSuchName, Resolver, TemporaryFailure, Threaded
from daimon_mcp.resolver.cache import OVERHEAD, Cache


class Monotonic:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_an_answer_is_kept_as_long_as_it_says_and_counts_down() -> None:
    time = Monotonic()
    async with nameserver("example.com. 60 MX 10 mx.example.com.") as ns:
        resolver = Resolver([ns.address], monotonic=time)
        assert (await resolver.mx("example.com")).ttl == 60
        time.now += 59
        assert (await resolver.mx("EXAMPLE.com.")).ttl == 1
        assert len(ns.queries) == 1
        time.now += 1
        assert (await resolver.mx("example.com")).ttl == 60
        assert len(ns.queries) == 2


@pytest.mark.parametrize(("sent", "kept"), [(0, 1), (999_999, 86_400)])
async def test_an_answer_is_kept_a_second_at_least_and_a_day_at_most(sent: int, kept: int) -> None:
    time = Monotonic()
    async with nameserver(f"example.com. {sent} MX 10 mx.example.com.") as ns:
        resolver = Resolver([ns.address], monotonic=time)
        assert (await resolver.mx("example.com")).ttl == kept
        time.now += kept
        await resolver.mx("example.com")
        assert len(ns.queries) == 2


@pytest.mark.parametrize(("soa", "kept"), [(30, 30), (86_400, 3_600)])
async def test_that_there_is_nothing_is_kept_as_the_zone_says_for_an_hour_at_most(soa: int, kept: int) -> None:
    time = Monotonic()
    async with nameserver("example.com. MX 10 mx.example.com.", negative_ttl=soa) as ns:
        resolver = Resolver([ns.address], monotonic=time)
        for _ in range(2):
            assert (await resolver.txt("example.com")).records == ()
            with pytest.raises(NoSuchName, match=r"nobody\.example\.com MX: there is no such name"):
                await resolver.mx("nobody.example.com")
        assert len(ns.queries) == 2
        time.now += kept
        await resolver.txt("example.com")
        with pytest.raises(NoSuchName):
            await resolver.mx("nobody.example.com")
        assert len(ns.queries) == 4


async def test_equal_questions_at_the_same_time_are_one() -> None:
    async with nameserver("example.com. MX 10 mx.example.com.") as ns:
        gate = ns.hold("example.com")
        resolver = Resolver([ns.address], timeout=60)
        asking = [asyncio.create_task(resolver.mx("example.com")) for _ in range(20)]
        await gate.reached()
        gate.open()
        answers = await asyncio.gather(*asking)
        assert {answer.records for answer in answers} == {(MxRecord(10, "mx.example.com"),)}
        assert len(ns.queries) == 1


async def test_who_gives_up_waiting_spoils_it_for_nobody() -> None:
    async with nameserver("example.com. MX 10 mx.example.com.") as ns:
        gate = ns.hold("example.com")
        resolver = Resolver([ns.address], timeout=60)
        leaves, stays = (asyncio.create_task(resolver.mx("example.com")) for _ in range(2))
        await gate.reached()
        leaves.cancel()
        await asyncio.wait([leaves])
        assert leaves.cancelled()
        gate.open()
        assert (await stays).records
        assert len(ns.queries) == 1


async def test_a_question_nobody_waits_for_is_dropped_and_can_be_asked_anew() -> None:
    async with nameserver("example.com. MX 10 mx.example.com.") as ns:
        gate = ns.hold("example.com", times=1)
        resolver = Resolver([ns.address], timeout=60, in_flight=1)
        leaves = asyncio.create_task(resolver.mx("example.com"))
        await gate.reached()
        leaves.cancel()
        comes = asyncio.create_task(resolver.mx("example.com"))  # its turn is right after the other's end
        async with asyncio.timeout(5):
            assert (await comes).records  # in the only slot, which must be free again
        assert leaves.cancelled()
        assert len(ns.queries) == 2


async def test_no_more_questions_are_in_flight_than_allowed() -> None:
    zone = "\n".join(f"d{number}.example. MX 10 mx.example." for number in range(6))
    async with nameserver(zone) as ns:
        gate = ns.hold("*")
        resolver = Resolver([ns.address], timeout=60, in_flight=2)
        asking = [asyncio.create_task(resolver.mx(f"d{number}.example")) for number in range(6)]
        await ns.heard("d1.example", "MX")
        assert ns.queries == [("d0.example", "MX"), ("d1.example", "MX")]
        gate.open()
        assert all([(await task).records for task in asking])
        assert len(ns.queries) == 6


async def test_waiting_for_a_turn_ends_in_time_too() -> None:
    async with nameserver() as ns:
        ns.drop("*")
        resolver = Resolver([ns.address], timeout=0.3, in_flight=1)
        outcomes = await asyncio.gather(resolver.mx("one.example"), resolver.mx("two.example"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TemporaryFailure] * 2


async def test_a_failure_is_told_to_all_who_wait_and_not_kept() -> None:
    async with nameserver("example.com. MX 10 mx.example.com.") as ns:
        ns.fail("example.com", times=1)
        resolver = Resolver([ns.address])
        outcomes = await asyncio.gather(*(resolver.mx("example.com") for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [TemporaryFailure] * 3
        assert (await resolver.mx("example.com")).records


def test_the_cache_has_room_for_so_much_and_drops_what_was_not_used_longest() -> None:
    cache: Cache[str, int] = Cache(3 * (OVERHEAD + 100), lambda: 0.0)
    for number, key in enumerate("abc"):
        cache.put(key, number, seconds=10, size=100)
    assert cache.get("a") == (0, 10.0)
    cache.put("d", 3, seconds=10, size=100)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    cache.put("a", 9, seconds=20, size=100)
    assert cache.get("a") == (9, 20.0)
    cache.put("huge", 4, seconds=10, size=1_000_000)
    assert len(cache) == 0


async def test_a_thread_can_ask_and_wait() -> None:
    async with nameserver("example.com. MX 10 mx.example.com.\nexample.com. TXT a") as ns:
        ns.fail("broken.example")
        threaded = Threaded(Resolver([ns.address]), asyncio.get_running_loop())
        assert (await asyncio.to_thread(threaded.query, "example.com", "TXT")).records == (b"a",)
        with pytest.raises(NoSuchName):
            await asyncio.to_thread(threaded.query, "nobody.example", "MX")
        with pytest.raises(TemporaryFailure):
            await asyncio.to_thread(threaded.query, "broken.example", "MX")
        with pytest.raises(RuntimeError, match="wait for itself"):
            threaded.query("example.com", "MX")


def test_a_thread_that_asks_a_loop_that_is_gone_is_told() -> None:
    async def make() -> Threaded:
        return Threaded(Resolver(["127.0.0.1:9"]), asyncio.get_running_loop())

    with pytest.raises(TemporaryFailure, match="has ended"):
        asyncio.run(make()).query("example.com", "MX")


def test_dnspython_is_not_imported_before_the_first_question() -> None:
    code = "import sys, daimon_mcp.resolver; print([name for name in sys.modules if name.split('.')[0] == 'dns'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
