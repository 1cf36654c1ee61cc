"""Mail programs: [submission]."""

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from daimon_mcp.settings.kinds import Host, Whole
from daimon_mcp.settings.section import Section, option


class Submission(Section):
    """Mail programs of agents: they log in and send, as on any mail server."""

    enabled: bool = option(True, "Listen for mail programs.", example=True)
    host: Host = option(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 for every interface.",
        example="0.0.0.0",  # noqa: S104  an example
    )
    port: Whole = option(
        2587, "Port with STARTTLS; 0 takes any that is free. Usual on the internet: 587.", ge=0, le=65535, example=587
    )
    tls_port: Whole = option(
        2465, "Port with TLS from the first byte; 0 takes any. Usual on the internet: 465.", ge=0, le=65535, example=465
    )
    public_host: Host | None = option(
        None,
        "Name that programs are told to connect to. Not set: the address above, or smtp.hostname where that is every "
        "interface.",
        example="smtp.example.org",
    )
    max_connections: Whole = option(
        500, "Connections at the same time, all together.", unit="connections", ge=1, le=100_000, example=500
    )
    max_connections_per_address: Whole = option(
        100, "Connections at the same time from one address.", unit="connections", ge=1, le=100_000, example=100
    )
    failed_login_delay_ms: Whole = option(
        250,
        "How long the fourth failed login in ten minutes from one address waits for its answer; each further one twice "
        "as long, at most ten seconds.",
        unit="milliseconds",
        ge=0,
        le=10_000,
        example=250,
    )
    max_failed_logins: Whole = option(
        50,
        "Failed logins in ten minutes from one address, after which further wrong ones are put off until later.",
        unit="logins",
        ge=1,
        example=50,
    )
    abuse_failed_logins: Whole = option(
        20, "Failed logins to one account in ten minutes that are reported as abuse.", unit="logins", ge=1, example=20
    )
    abuse_refused_senders: Whole = option(
        10,
        "Mails of one account in ten minutes in somebody else's name that are reported as abuse.",
        unit="mails",
        ge=1,
        example=10,
    )
    abuse_volume: Whole = option(
        200,
        "Recipients of one account in ten minutes that are reported as abuse when they are ten times what it usually "
        "has.",
        unit="recipients",
        ge=1,
        example=200,
    )
    abuse_stops_sending: bool = option(
        False,
        "Stop an account's sending when refused senders or volume look like abuse, until the operator lets it go on.",
        example=True,
    )

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.enabled and self.port == self.tls_port != 0:
            raise PydanticCustomError(
                "combination", "tls_port: must be another one than port, which is for STARTTLS: usually 465 and 587"
            )
        return self
