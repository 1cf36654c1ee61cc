"""Names on the internet: [mail], the domains of addresses, and [dns], who is asked about those of others."""

from daimon_mcp.settings.kinds import Domain, Domains, NameServers, Whole
from daimon_mcp.settings.section import Section, option


class Mail(Section):
    """The domains of inbox addresses."""

    domain: Domain = option("agents.localhost", "Domain of new inboxes.", example="agents.example.org")
    domains: Domains = option((), "Further domains inboxes may have.", example=("example.net",))
    address_quarantine_days: Whole = option(
        90,
        "How long the address of a deleted inbox stays taken, so that a newcomer never reads the old one's mail.",
        unit="days",
        ge=0,
        le=36_500,
        example=90,
    )


class Dns(Section):
    """Name servers: they say where mail goes, and what a sender's domain says of itself."""

    nameservers: NameServers = option(
        (),
        "Resolving name servers to ask, IP addresses with or without :port, the first one first. Empty: the system's.",
        example=("127.0.0.1", "[::1]:5353"),
    )
    timeout_seconds: Whole = option(
        5, "How long one question may take, all name servers together.", unit="seconds", ge=1, le=60, example=5
    )
    trusts_ad: bool = option(
        False,
        "Believe the name servers when they say that DNSSEC proves an answer, which DANE needs. Only where they check "
        "it themselves and nobody else can answer for them; those on a loopback address are believed anyway.",
        example=True,
    )
