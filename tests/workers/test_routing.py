"""Routes for domains, found by real questions to a name server of our own."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from random import Random

import pytest
from tests.support.daimon import MovableClock
from tests.support.nameserver import NameServer, nameserver

from daimon_mcp.domain.routes import (
    Hop,
    MailLoop,
    NoSuchDomain,
    NullMx,
    PolicyFailed,
    Route,
    RoutingError,
    TemporaryFailure,
    Tlsa,
    TlsPolicy,
)
from daimon_mcp.resolver import Resolver
from daimon_mcp.workers.mta_sts import MtaSts
from daimon_mcp.workers.routing import MAX_ADDRESSES, MAX_HOSTS, Routing

DIGEST = "11" * 32
TLSA = Tlsa(3, 1, 1, bytes.fromhex(DIGEST))
OWN = ("192.0.2.99", "2001:db8:99::/64")


class Policies:
    """A store for MTA-STS policies in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Mapping[str, object]] = {}

    async def get(self, domain: str) -> Mapping[str, object] | None:
        return self.kept.get(domain)

    async def put(self, domain: str, policy: Mapping[str, object]) -> None:
        self.kept[domain] = policy


def routing(ns: NameServer, *, sts: MtaSts | None = None, seed: int = 1, own: Collection[str] = OWN) -> Routing:
    resolver = Resolver([ns.address])
    return Routing(resolver, hostname="Mail.Us.Example.", own_addresses=own, sts=sts, random=Random(seed))


def names(route: Route) -> list[str]:
    return [hop.name for hop in route.hosts]


# ── which hosts, in which order


async def test_mail_hosts_are_tried_by_preference_with_all_their_addresses() -> None:
    zone = """
    example.com.    MX 20 second.example.com.
    example.com.    MX 10 First.example.com.
    first.example.com.  A 192.0.2.1
    first.example.com.  AAAA 2001:db8::1
    second.example.com. A 192.0.2.2
    """
    async with nameserver(zone) as ns:
        route = await routing(ns).route("Example.com.")
        assert route == Route(
            (Hop("first.example.com", ("2001:db8::1", "192.0.2.1")), Hop("second.example.com", ("192.0.2.2",)))
        )
        assert not [name for name, _ in ns.queries if "_tcp" in name]  # nothing is secure, so no TLSA is asked for


async def test_hosts_of_equal_preference_share_the_load() -> None:
    zone = "\n".join(f"example.com. MX 10 h{n}.example.com.\nh{n}.example.com. A 192.0.2.{n}" for n in range(1, 4))
    async with nameserver(f"{zone}\nexample.com. MX 20 last.example.com.\nlast.example.com. A 192.0.2.9") as ns:
        orders = [names(await routing(ns, seed=seed).route("example.com")) for seed in range(12)]
        assert {order[0] for order in orders} == {"h1.example.com", "h2.example.com", "h3.example.com"}
        assert {order[3] for order in orders} == {"last.example.com"}
        assert names(await routing(ns, seed=5).route("example.com")) == orders[5]


async def test_a_host_named_twice_is_tried_once_at_its_best() -> None:
    zone = """
    example.com. MX 30 a.example.com.
    example.com. MX 10 a.example.com.
    example.com. MX 20 b.example.com.
    a.example.com. A 192.0.2.1
    b.example.com. A 192.0.2.2
    """
    async with nameserver(zone) as ns:
        assert names(await routing(ns).route("example.com")) == ["a.example.com", "b.example.com"]


async def test_a_long_list_is_cut_after_the_best() -> None:
    zone = "\n".join(f"example.com. MX {n} h{n}.example.com.\nh{n}.example.com. A 192.0.2.1" for n in range(1, 30))
    async with nameserver(zone) as ns:
        hosts = names(await routing(ns).route("example.com"))
        assert hosts == [f"h{n}.example.com" for n in range(1, MAX_HOSTS + 1)]


async def test_without_mx_the_domain_is_its_own_mail_host() -> None:
    async with nameserver("example.com. A 192.0.2.1\nexample.com. AAAA 2001:db8::1") as ns:
        route = await routing(ns).route("example.com")
        assert route == Route((Hop("example.com", ("2001:db8::1", "192.0.2.1")),))


async def test_a_domain_that_is_an_alias_is_followed() -> None:
    zone = """
    www.example.com. CNAME example.com.
    bare.example.com. CNAME host.example.com.
    example.com. MX 10 host.example.com.
    host.example.com. A 192.0.2.1
    """
    async with nameserver(zone) as ns:
        assert names(await routing(ns).route("www.example.com")) == ["host.example.com"]
        assert (await routing(ns).route("bare.example.com")).hosts[0].addresses == ("192.0.2.1",)


async def test_a_domain_in_another_script_is_found() -> None:
    async with nameserver("xn--bcher-kva.example. MX 10 mx.example.\nmx.example. A 192.0.2.1") as ns:
        assert names(await routing(ns).route("bücher.example")) == ["mx.example"]


@pytest.mark.parametrize(
    ("literal", "address"),
    [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:DB8::1]", "2001:db8::1"), ("[ipv6:::1]", "::1")],
)
async def test_an_address_literal_is_its_own_route(literal: str, address: str) -> None:
    async with nameserver() as ns:
        assert await routing(ns).route(literal) == Route((Hop(f"[{literal[1:-1]}]", (address,)),))
        assert ns.queries == []


@pytest.mark.parametrize(
    "literal", ["[", "[]", "[192.0.2]", "[192.0.2.1", "[2001:db8::1]", "[IPv6:192.0.2.1]", "[x:y]"]
)
async def test_what_is_no_address_literal_is_no_domain(literal: str) -> None:
    async with nameserver() as ns:
        with pytest.raises(NoSuchDomain, match="is no address literal"):
            await routing(ns).route(literal)


async def test_hosts_that_cannot_be_used_are_left_out() -> None:
    zone = """
    example.com. MX 1 192.0.2.7.
    example.com. MX 2 nobody.example.com.
    example.com. MX 3 empty.example.com.
    example.com. MX 4 broken.example.com.
    example.com. MX 5 good.example.com.
    example.com. MX 5 odd\032name.example.com.
    example.com. MX 6 .
    odd\032name.example.com. A 192.0.2.6
    empty.example.com. TXT "no address"
    broken.example.com. A 192.0.2.4
    good.example.com. A 192.0.2.5
    """
    async with nameserver(zone) as ns:
        ns.fail("broken.example.com")
        assert names(await routing(ns).route("example.com")) == ["good.example.com"]
        assert not [name for name, _ in ns.queries if name == "192.0.2.7"]
        ns.remove("good.example.com")
        with pytest.raises(TemporaryFailure, match=r"no mail host of example\.com could be found: broken"):
            await routing(ns).route("example.com")
        ns.heal()
        ns.remove("broken.example.com")
        with pytest.raises(NoSuchDomain, match=r"example\.com has no mail host \(MX\) with an address"):
            await routing(ns).route("example.com")


async def test_a_host_of_many_addresses_leaves_the_others_their_turn() -> None:
    zone = "example.com. MX 1 many.example.com.\nexample.com. MX 2 one.example.com.\none.example.com. A 192.0.2.1\n"
    zone += "\n".join(f"many.example.com. A 198.51.100.{n}" for n in range(1, 20))
    async with nameserver(zone) as ns:
        many, one = (await routing(ns).route("example.com")).hosts
        assert (len(many.addresses), len(one.addresses)) == (MAX_ADDRESSES, 1)
        ns.add("many.example.com. A 192.0.2.99")  # ourselves, wherever in the list
        with pytest.raises(MailLoop):
            await routing(ns).route("example.com")


@pytest.mark.parametrize(
    ("domain", "error"),
    [
        ("nobody.example", NoSuchDomain),
        ("text.example", NoSuchDomain),
        ("..", NoSuchDomain),
        ("a b.example", NoSuchDomain),
        ("null.example", NullMx),
        ("broken.example", TemporaryFailure),
        ("half.example", TemporaryFailure),
    ],
)
async def test_a_domain_without_a_route_says_why(domain: str, error: type[RoutingError]) -> None:
    zone = """
    text.example. TXT "nothing else"
    null.example. MX 0 .
    null.example. A 192.0.2.1
    half.example. TXT "addresses nobody can tell"
    """
    async with nameserver(zone) as ns:
        ns.fail("broken.example")
        ns.fail("half.example", "A")
        with pytest.raises(error):
            await routing(ns).route(domain)


# ── ourselves


LOOPS = """
backup.example. MX 10 primary.example.
backup.example. MX 20 mail.us.example.
backup.example. MX 20 equal.example.
backup.example. MX 30 worse.example.
other.example.  MX 10 primary.example.
other.example.  MX 20 alias-of-us.example.
other.example.  MX 30 worse.example.
six.example.    MX 20 six-of-us.example.
six.example.    MX 10 primary.example.
only.example.   MX 10 mail.us.example.
first.example.  MX 10 alias-of-us.example.
first.example.  MX 20 worse.example.
plain.example.  A  192.0.2.99
primary.example. A 192.0.2.1
equal.example.  A 192.0.2.2
worse.example.  A 192.0.2.3
mail.us.example. A 192.0.2.50
alias-of-us.example. A 192.0.2.98
alias-of-us.example. A 192.0.2.99
six-of-us.example. AAAA 2001:db8:99::7
"""


@pytest.mark.parametrize("domain", ["backup.example", "other.example", "six.example"])
async def test_only_hosts_better_than_ourselves_are_tried(domain: str) -> None:
    async with nameserver(LOOPS) as ns:
        assert names(await routing(ns).route(domain)) == ["primary.example"]


@pytest.mark.parametrize(
    "domain",
    ["only.example", "first.example", "plain.example", "mail.us.example", "[192.0.2.99]", "[IPv6:::ffff:192.0.2.99]"],
)
async def test_mail_is_not_sent_to_ourselves(domain: str) -> None:
    async with nameserver(LOOPS) as ns:
        with pytest.raises(MailLoop, match="is this server"):
            await routing(ns).route(domain)


async def test_a_better_host_that_cannot_be_found_now_is_waited_for() -> None:
    async with nameserver(LOOPS) as ns:
        ns.fail("primary.example")
        for domain in ("backup.example", "other.example"):
            with pytest.raises(TemporaryFailure):
                await routing(ns).route(domain)


# ── DANE


DANE = f"""
example.com. MX 10 mx.example.com.
mx.example.com. A 192.0.2.1
_25._tcp.mx.example.com. TLSA 3 1 1 {DIGEST}
"""


async def test_tlsa_of_a_secure_host_of_a_secure_domain_counts() -> None:
    async with nameserver(DANE, secure=True) as ns:
        [hop] = (await routing(ns).route("example.com")).hosts
        assert hop == Hop("mx.example.com", ("192.0.2.1",), 25, TlsPolicy("dane", tlsa=(TLSA,)))


@pytest.mark.parametrize("insecure", ["example.com", "mx.example.com", "_25._tcp.mx.example.com"])
async def test_tlsa_counts_only_where_every_answer_on_the_way_is_secure(insecure: str) -> None:
    every = {"example.com", "mx.example.com", "_25._tcp.mx.example.com"}
    async with nameserver(DANE, secure=every - {insecure}) as ns:
        [hop] = (await routing(ns).route("example.com")).hosts
        assert hop.tls == TlsPolicy("opportunistic")


async def test_secure_hosts_without_tlsa_are_as_any() -> None:
    async with nameserver(DANE, secure=True) as ns:
        ns.remove("_25._tcp.mx.example.com")
        assert (await routing(ns).route("example.com")).hosts[0].tls == TlsPolicy("opportunistic")
        ns.add("_25._tcp.mx.example.com. TXT none")
        assert (await routing(ns).route("example.com")).hosts[0].tls == TlsPolicy("opportunistic")


async def test_a_host_whose_tlsa_nobody_tells_is_not_used() -> None:
    zone = DANE + "example.com. MX 20 other.example.com.\nother.example.com. A 192.0.2.2"
    async with nameserver(zone, secure=True) as ns:
        ns.fail("_25._tcp.mx.example.com")
        assert names(await routing(ns).route("example.com")) == ["other.example.com"]
        ns.remove("other.example.com")
        with pytest.raises(TemporaryFailure, match=r"_25\._tcp"):
            await routing(ns).route("example.com")


async def test_records_of_every_kind_are_handed_on() -> None:
    zone = DANE + f"_25._tcp.mx.example.com. TLSA 0 0 1 {DIGEST}\n_25._tcp.mx.example.com. TLSA 2 0 9 aa\n"
    async with nameserver(zone, secure=True) as ns:
        [hop] = (await routing(ns).route("example.com")).hosts
        assert {(one.usage, one.selector, one.matching) for one in hop.tls.tlsa} == {(3, 1, 1), (0, 0, 1), (2, 0, 9)}


async def test_a_domain_without_mx_has_dane_of_its_own() -> None:
    zone = f"example.com. A 192.0.2.1\n_25._tcp.example.com. TLSA 3 1 1 {DIGEST}"
    async with nameserver(zone, secure=True) as ns:
        assert (await routing(ns).route("example.com")).hosts[0].tls.tlsa == (TLSA,)


ALIAS = f"""
example.com. MX 10 mx.example.com.
mx.example.com. CNAME mx.provider.example.
mx.provider.example. A 192.0.2.1
_25._tcp.mx.provider.example. TLSA 3 1 1 {DIGEST}
_25._tcp.mx.example.com. TLSA 3 1 1 {"22" * 32}
"""


async def test_tlsa_of_an_alias_is_looked_for_at_its_end_first() -> None:
    async with nameserver(ALIAS, secure=True) as ns:
        [hop] = (await routing(ns).route("example.com")).hosts
        assert (hop.name, hop.tls.tlsa) == ("mx.provider.example", (TLSA,))
        ns.remove("_25._tcp.mx.provider.example")
        [hop] = (await routing(ns).route("example.com")).hosts
        assert (hop.name, hop.tls.tlsa[0].data) == ("mx.example.com", bytes.fromhex("22" * 32))


async def test_a_secure_alias_to_an_insecure_host_has_tlsa_of_its_own_only() -> None:
    secure = {"example.com", "mx.example.com", "_25._tcp.mx.example.com", "_25._tcp.mx.provider.example"}
    async with nameserver(ALIAS, secure=secure) as ns:
        [hop] = (await routing(ns).route("example.com")).hosts
        assert (hop.name, hop.tls.tlsa[0].data) == ("mx.example.com", bytes.fromhex("22" * 32))
        assert ("_25._tcp.mx.provider.example", "TLSA") not in ns.queries


async def test_an_insecure_alias_has_no_dane_at_all() -> None:
    secure = {"example.com", "_25._tcp.mx.example.com", "_25._tcp.mx.provider.example"}
    async with nameserver(ALIAS, secure=secure) as ns:
        [hop] = (await routing(ns).route("example.com")).hosts
        assert (hop.name, hop.tls) == ("mx.example.com", TlsPolicy("opportunistic"))
        assert not [name for name, kind in ns.queries if kind == "TLSA"]


async def test_a_host_elsewhere_listens_at_another_port() -> None:
    zone = DANE.replace("_25._tcp", "_2525._tcp")
    async with nameserver(zone, secure=True) as ns:
        elsewhere = Routing(
            Resolver([ns.address]), hostname="us.example", own_addresses=(), sts=None, random=Random(1), port=2525
        )
        [hop] = (await elsewhere.route("example.com")).hosts
        assert (hop.port, hop.tls.kind) == (2525, "dane")


# ── MTA-STS


STS = """
example.com. MX 10 mx.example.com.
example.com. MX 20 other.example.net.
mx.example.com. A 192.0.2.1
other.example.net. A 192.0.2.2
_mta-sts.example.com. TXT "v=STSv1; id=1;"
"""


def with_policy(ns: NameServer, mode: str, *mx: str, seed: int = 1) -> Routing:
    text = "\n".join(["version: STSv1", f"mode: {mode}", "max_age: 86400", *(f"mx: {pattern}" for pattern in mx)])

    async def fetch(domain: str) -> str:
        assert domain == "example.com"
        return text

    sts = MtaSts(Resolver([ns.address]), fetch=fetch, store=Policies(), clock=MovableClock())
    return routing(ns, sts=sts, seed=seed)


async def test_an_enforced_policy_leaves_its_hosts_only_and_they_must_prove_themselves() -> None:
    async with nameserver(STS) as ns:
        [hop] = (await with_policy(ns, "enforce", "*.example.com", "mx.example.org").route("example.com")).hosts
        assert hop.name == "mx.example.com"
        assert hop.tls == TlsPolicy("mta-sts", ("*.example.com", "mx.example.org"))


async def test_a_policy_that_allows_no_host_keeps_the_mail_here() -> None:
    async with nameserver(STS) as ns:
        with pytest.raises(PolicyFailed, match=r"that example\.com published allows none of its mail hosts"):
            await with_policy(ns, "enforce", "mx.example.org").route("example.com")


async def test_a_policy_in_testing_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with nameserver(STS) as ns:
        with caplog.at_level(logging.WARNING, "daimon_mcp"):
            route = await with_policy(ns, "testing", "mx.example.com").route("example.com")
        assert [(hop.name, hop.tls.kind) for hop in route.hosts] == [
            ("mx.example.com", "opportunistic"),
            ("other.example.net", "opportunistic"),
        ]
        assert "MX of example.com not in its MTA-STS policy (mode testing): 'other.example.net'" in caplog.text


async def test_a_policy_of_none_is_none() -> None:
    async with nameserver(STS) as ns:
        route = await with_policy(ns, "none").route("example.com")
        assert [hop.tls.kind for hop in route.hosts] == ["opportunistic"] * 2


async def test_dane_goes_before_a_policy() -> None:
    async with nameserver(STS + DANE, secure=True) as ns:
        [hop] = (await with_policy(ns, "enforce", "mx.example.com").route("example.com")).hosts
        assert hop.tls.kind == "dane"


async def test_a_policy_cannot_make_us_send_to_ourselves() -> None:
    zone = STS + "example.com. MX 15 mail.us.example.\nmail.us.example. A 192.0.2.50"
    async with nameserver(zone) as ns:
        route = await with_policy(ns, "enforce", "mx.example.com", "other.example.net").route("example.com")
        assert names(route) == ["mx.example.com"]
