"""What the resolver makes of a name server's answers, over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import dns.flags
import dns.message
import pytest
from tests.support.nameserver import nameserver

from daimon_mcp.domain.routes import Tlsa
from daimon_mcp.resolver import Answer, BadName, MxRecord, NoSuchName, Resolver, TemporaryFailure
from daimon_mcp.resolver.asking import ask
from daimon_mcp.resolver.servers import NameServers, Server, parse_server, read_resolv_conf
from daimon_mcp.resolver.wire import MAX_RECORDS

ZONE = """
example.com.                MX   20 mx2.example.com.
example.com.                MX   10 MX1.Example.com.
example.com.                TXT  "v=spf1 include:" "_spf.example.com" " -all"
example.com.                TXT  "v=DMARC1 \\195\\188 \\255"
mx1.example.com.            A    192.0.2.1
mx1.example.com.            A    192.0.2.2
mx1.example.com.            AAAA 2001:db8::1
four.example.com.           A    192.0.2.4
alias.example.com.    60    CNAME mx1.example.com.
dangling.example.com.       CNAME nowhere.example.com.
round.example.com.          CNAME about.example.com.
about.example.com.          CNAME round.example.com.
_25._tcp.mx1.example.com.   TLSA 3 1 1 00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff
1.2.0.192.in-addr.arpa.     PTR  mx1.example.com.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx1.example.com.
xn--bcher-kva.example.      A    192.0.2.9
_dmarc.xn--bcher-kva.example. TXT "v=DMARC1; p=none"
nullmx.example.             MX   0 .
"""


async def test_each_type_of_record_becomes_plain_data() -> None:
    async with nameserver(ZONE) as ns:
        resolver = Resolver([ns.address])
        assert set((await resolver.mx("example.com")).records) == {
            MxRecord(20, "mx2.example.com"),
            MxRecord(10, "mx1.example.com"),
        }
        assert (await resolver.mx("nullmx.example")).records == (MxRecord(0, "."),)
        assert set((await resolver.txt("example.com")).records) == {
            "v=spf1 include:_spf.example.com -all",
            "v=DMARC1 ü \N{REPLACEMENT CHARACTER}",
        }
        assert b"v=DMARC1 \xc3\xbc \xff" in (await resolver.txt_bytes("example.com")).records
        assert set((await resolver.a("mx1.example.com")).records) == {"192.0.2.1", "192.0.2.2"}
        assert (await resolver.aaaa("mx1.example.com")).records == ("2001:db8::1",)
        assert (await resolver.ptr("192.0.2.1")).records == ("mx1.example.com",)
        assert (await resolver.ptr("2001:db8::1")).records == ("mx1.example.com",)
        assert (await resolver.cname("alias.example.com")).records == ("mx1.example.com",)
        assert (await resolver.tlsa("_25._tcp.mx1.example.com")).records == (Tlsa(3, 1, 1, bytes.fromhex("00ff" * 16)),)


async def test_addresses_are_both_kinds_in_turn() -> None:
    async with nameserver(ZONE) as ns:
        resolver = Resolver([ns.address])
        records = (await resolver.addresses("mx1.example.com")).records
        assert (records[0], set(records[1:])) == ("2001:db8::1", {"192.0.2.1", "192.0.2.2"})
        assert (await resolver.addresses("four.example.com")).records == ("192.0.2.4",)
        assert (await resolver.addresses("nullmx.example")).records == ()
        with pytest.raises(NoSuchName):
            await resolver.addresses("nobody.example.com")


async def test_one_kind_of_address_is_enough_and_none_is_a_failure_when_one_was_not_told() -> None:
    async with nameserver(ZONE) as ns:
        ns.fail("mx1.example.com", "AAAA")
        ns.fail("nullmx.example", "A")
        ns.fail("four.example.com")
        resolver = Resolver([ns.address])
        assert set((await resolver.addresses("mx1.example.com")).records) == {"192.0.2.1", "192.0.2.2"}
        with pytest.raises(TemporaryFailure, match=r"nullmx.example A: the name server answered SERVFAIL"):
            await resolver.addresses("nullmx.example")
        with pytest.raises(TemporaryFailure):
            await resolver.addresses("four.example.com")


async def test_aliases_are_followed_and_the_answer_says_where_to() -> None:
    async with nameserver(ZONE) as ns:
        answer = await Resolver([ns.address]).a("Alias.Example.COM.")
        assert (set(answer.records), answer.name, answer.ttl) == ({"192.0.2.1", "192.0.2.2"}, "mx1.example.com", 60)


async def test_no_such_name_no_such_record_and_aliases_to_nowhere_are_told_apart() -> None:
    async with nameserver(ZONE) as ns:
        resolver = Resolver([ns.address])
        assert (await resolver.mx("mx1.example.com")).records == ()
        for name in ("nobody.example.com", "dangling.example.com"):
            with pytest.raises(NoSuchName, match=f"{name} MX: there is no such name"):
                await resolver.mx(name)
        with pytest.raises(TemporaryFailure, match="makes no sense"):
            await resolver.a("round.example.com")


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
async def test_an_error_of_the_server_is_temporary(rcode: str) -> None:
    async with nameserver(ZONE) as ns:
        ns.fail("example.com", "MX", rcode=rcode, times=2)
        resolver = Resolver([ns.address])
        with pytest.raises(TemporaryFailure, match=rcode):
            await resolver.mx("example.com")
        ns.heal()
        assert len((await resolver.mx("example.com")).records) == 2  # which nothing remembers


async def test_a_server_from_before_edns_is_asked_without() -> None:
    async with nameserver(ZONE) as ns:
        ns.fail_edns()
        assert len((await Resolver([ns.address]).mx("example.com")).records) == 2
        assert ns.edns == [True, False]


async def test_a_name_in_another_script_is_asked_as_a_labels() -> None:
    async with nameserver(ZONE) as ns:
        resolver = Resolver([ns.address])
        assert (await resolver.a("Bücher.example")).records == ("192.0.2.9",)
        assert (await resolver.a("bu\u0308cher。example")).records == ("192.0.2.9",)
        assert (await resolver.txt("_dmarc.bücher.example")).records == ("v=DMARC1; p=none",)
        assert {name for name, _ in ns.queries} == {"xn--bcher-kva.example", "_dmarc.xn--bcher-kva.example"}


@pytest.mark.parametrize(
    "name",
    ["", ".", "a..b", ".a", "x" * 64 + ".example", "a." * 127 + "b", "a b.example", "a\r\nb.example", "a\0.example",
     "ü" * 60 + ".example", "a\u200d.example", "\ud800.example", "ü." * 130, "a" * 10_000],
)  # fmt: skip
async def test_what_is_no_name_is_not_asked(name: str) -> None:
    async with nameserver(ZONE) as ns:
        with pytest.raises(BadName):
            await Resolver([ns.address]).mx(name)
        assert ns.queries == []


async def test_odd_characters_in_a_name_are_nothing_but_characters() -> None:
    async with nameserver("") as ns:
        for name in ("a\\.b.example", "@.example", '"x".example', "\\092.example"):
            with pytest.raises(NoSuchName):
                await Resolver([ns.address]).txt(name)
        assert [name for name, _ in ns.queries] == [
            "a\\\\.b.example", "\\@.example", '\\"x\\".example', "\\\\092.example"
        ]  # fmt: skip


async def test_an_answer_too_long_for_a_datagram_comes_by_tcp() -> None:
    text = " ".join(f'"{"x" * 250}"' for _ in range(20))
    async with nameserver(f"{ZONE}\nlong.example. TXT {text}\n") as ns:
        ns.truncate("example.com", "MX")
        resolver = Resolver([ns.address])
        assert (await resolver.txt("long.example")).records == ("x" * 5000,)
        assert len((await resolver.mx("example.com")).records) == 2
        assert ns.over == ["udp", "tcp", "udp", "tcp"]


async def test_a_very_long_list_is_cut() -> None:
    zone = "\n".join(f"many.example. A 198.51.{n // 250}.{n % 250}" for n in range(2000))
    async with nameserver(zone) as ns:
        assert len((await Resolver([ns.address]).a("many.example")).records) == MAX_RECORDS


async def test_a_connection_that_closes_instead_of_answering_is_a_failure() -> None:
    async with nameserver(ZONE) as ns:
        ns.truncate("example.com")
        ns.drop("example.com", over="tcp")
        with pytest.raises(TemporaryFailure, match="the answer broke off"):
            await Resolver([ns.address]).mx("example.com")


async def test_datagrams_that_answer_something_else_are_not_taken() -> None:
    def forged_first(query: dns.message.Message, proper: bytes) -> list[bytes]:
        other = dns.message.make_response(dns.message.make_query("example.net", "MX", id=query.id))
        empty = dns.message.make_response(query).to_wire()
        other_id = (query.id ^ 1).to_bytes(2, "big") + empty[2:]
        return [other_id, other.to_wire(), query.to_wire(), b"junk", b"", proper[:-1], proper, proper]

    async with nameserver(ZONE) as ns:
        ns.answer("example.com", "MX", forged_first)
        assert len((await Resolver([ns.address]).mx("example.com")).records) == 2
        assert ns.queries == [("example.com", "MX")]


async def test_only_a_server_that_is_trusted_makes_an_answer_secure() -> None:
    async with nameserver(ZONE, secure=["mx1.example.com", "alias.example.com"]) as ns:
        resolver = Resolver([ns.address])
        assert (await resolver.a("mx1.example.com")).secure
        assert (await resolver.a("alias.example.com")).secure
        assert (await resolver.addresses("mx1.example.com")).secure
        assert not (await resolver.a("four.example.com")).secure
        for trusted in (True, False):
            answer, _ = await ask([Server(ns.host, ns.port, trusted)], "mx1.example.com", "A", timeout=5)
            assert isinstance(answer, Answer)
            assert answer.secure is trusted
    assert parse_server("192.0.2.53", trusts_ad=False).trusted is False
    assert parse_server("192.0.2.53", trusts_ad=True).trusted is True


async def test_the_question_asks_for_the_ad_bit() -> None:
    async with nameserver(ZONE) as ns:
        flags: list[int] = []

        def look(query: dns.message.Message, proper: bytes) -> bytes:
            flags.append(query.flags)
            return proper

        ns.answer("example.com", "MX", look)
        await Resolver([ns.address]).mx("example.com")
        assert flags == [dns.flags.RD | dns.flags.AD]


async def test_the_next_server_is_asked_when_one_fails() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"127.0.0.1:{unused.getsockname()[1]}"
    async with nameserver(ZONE) as broken, nameserver(ZONE) as ns:
        broken.fail("example.com")
        assert len((await Resolver([gone, broken.address, ns.address]).mx("example.com")).records) == 2
        assert broken.queries == ns.queries == [("example.com", "MX")]
        with pytest.raises(TemporaryFailure, match=r"name server 127\.0\.0\.1: Connection refused"):
            await Resolver([gone]).mx("example.com")
        with pytest.raises(TemporaryFailure, match="SERVFAIL"):
            await Resolver([gone, broken.address]).mx("example.com")


async def test_a_lost_datagram_is_sent_again() -> None:
    async with nameserver(ZONE) as ns:
        ns.drop("example.com", times=1)
        assert len((await Resolver([ns.address], timeout=2.0).mx("example.com")).records) == 2
        assert ns.queries == [("example.com", "MX")] * 2


async def test_servers_that_say_nothing_end_the_question_in_time() -> None:
    async with nameserver() as one, nameserver() as other:
        one.drop("*")
        other.drop("*")
        resolver = Resolver([one.address, other.address], timeout=0.5)
        async with asyncio.timeout(5):
            with pytest.raises(TemporaryFailure, match=r"example.com MX: no name server answered within 0\.5 s"):
                await resolver.mx("example.com")
        assert one.queries
        assert other.queries


# ── which servers


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", Server("192.0.2.1", 53, trusted=False)),
        ("192.0.2.1:5353", Server("192.0.2.1", 5353, trusted=False)),
        ("2001:db8::1", Server("2001:db8::1", 53, trusted=False)),
        ("[2001:db8::1]:5353", Server("2001:db8::1", 5353, trusted=False)),
        ("127.0.0.53", Server("127.0.0.53", 53, trusted=True)),
        ("[::1]:53", Server("::1", 53, trusted=True)),
    ],
)
def test_servers_are_read(text: str, server: Server) -> None:
    assert parse_server(text, trusts_ad=False) == server


@pytest.mark.parametrize("text", ["", "ns.example", "192.0.2.1:0", "192.0.2.1:99999", "192.0.2.1:x", "[::1"])
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        parse_server(text, trusts_ad=False)


def test_the_systems_file_is_read_as_the_c_library_does() -> None:
    text = "; a comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver junk\n nameserver ::1 # here\n"
    assert read_resolv_conf(text, trusts_ad=False) == (
        Server("192.0.2.1", 53, trusted=False),
        Server("::1", 53, trusted=True),
    )
    assert read_resolv_conf(text + "options edns0 trust-ad\n", trusts_ad=False)[0].trusted
    assert [server.host for server in read_resolv_conf("nameserver 192.0.2.1\n" * 9, trusts_ad=False)] == [
        "192.0.2.1"
    ] * 3


def test_the_systems_servers_are_read_again_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    servers = NameServers(None, False, file)
    assert servers.now() == (Server("127.0.0.1", 53, trusted=True),)
    file.write_text("nameserver 192.0.2.1\n")
    assert [server.host for server in servers.now()] == ["192.0.2.1"]
    other = tmp_path / "new"
    other.write_text("nameserver 192.0.2.2\n")
    stat = file.stat()
    other.replace(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert [server.host for server in servers.now()] == ["192.0.2.2"]
