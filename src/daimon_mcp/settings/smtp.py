"""Mail from other servers: [smtp]."""

from typing import Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from daimon_mcp.settings.kinds import AnyFolder, Domain, Domains, ExistingFile, Host, Networks, Whole
from daimon_mcp.settings.section import Section, option


class Smtp(Section):
    """Mail from other servers: the inbound listener and its limits."""

    hostname: Domain | None = option(
        None,
        "Name this server gives itself in greetings and Received lines. Not set: mail.domain.",
        example="mail.example.org",
    )
    inbound: bool = option(True, "Listen for mail from other servers.", example=True)
    inbound_host: Host = option(
        "127.0.0.1",
        "Address to listen on for mail; 0.0.0.0 for every interface.",
        example="0.0.0.0",  # noqa: S104  an example
    )
    inbound_port: Whole = option(
        2525,
        "Port to listen on for mail; 0 takes any that is free. Other servers deliver to port 25.",
        ge=0,
        le=65535,
        example=25,
    )
    max_connections: Whole = option(
        100, "Connections at the same time, all together.", unit="connections", ge=1, le=100_000, example=100
    )
    max_connections_per_address: Whole = option(
        20, "Connections at the same time from one address.", unit="connections", ge=1, le=100_000, example=20
    )
    max_recipients: Whole = option(50, "Recipients of one message.", unit="recipients", ge=1, le=10_000, example=50)
    max_message_bytes: Whole = option(
        10_485_760, "Size of one message, in and out.", unit="bytes", ge=65_536, le=1_073_741_824, example=10_485_760
    )
    max_hops: Whole = option(
        50, "Received lines after which a message is taken to be in a loop.", unit="hops", ge=10, le=1000, example=50
    )
    messages_per_minute: Whole = option(
        600,
        "Messages that one address may hand over in a minute; more are put off.",
        unit="messages",
        ge=1,
        example=600,
    )
    greylist_seconds: Whole = option(
        0,
        "Put off the first mail of an unknown server to a recipient for this long: many senders of spam never come "
        "back. 0 does not.",
        unit="seconds",
        ge=0,
        le=3600,
        example=60,
    )
    trusted_networks: Networks = option(
        ("127.0.0.0/8", "::1/128"),
        "Servers whose mail is not checked for forged senders (SPF, DKIM, DMARC), such as a mail server in front of "
        "this one. Addresses or networks.",
        example=("127.0.0.0/8", "10.1.2.3"),
    )
    dmarc: Literal["quarantine", "label"] = option(
        "quarantine",
        'What becomes of mail whose sender is forged, where the owner of its domain asks for something: "quarantine" '
        'puts it into Spam, listed with the reason, until somebody releases it; "label" only says so.',
        example="quarantine",
    )
    trusted_sealers: Domains = option(
        (),
        "Forwarders whose word (ARC) that a mail was genuine is taken, when forwarding broke its proof.",
        example=("lists.example.org",),
    )
    certificate: ExistingFile | None = option(
        None,
        "Certificate chain (PEM) of this server, for STARTTLS and TLS. Read again when it changes. Not set: one of our "
        "own making, whose fingerprint is printed at start. A relative path starts at the folder of this file.",
        example="fullchain.pem",
    )
    certificate_key: ExistingFile | None = option(
        None, "Its private key (PEM), without a passphrase.", example="privkey.pem"
    )
    lmtp_port: Whole | None = option(
        None,
        "Port on 127.0.0.1 to take mail by LMTP from a mail server in front, which is trusted: nothing is checked or "
        "put off there. Not set: none.",
        ge=0,
        le=65535,
        example=2424,
    )
    lmtp_socket: AnyFolder | None = option(
        None, "The same on a Unix socket with this path.", example="/run/daimon/lmtp.sock"
    )

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.certificate_key is None):
            missing = "certificate" if self.certificate is None else "certificate_key"
            raise PydanticCustomError(
                "combination", "{missing}: certificate and certificate_key go together", {"missing": missing}
            )
        return self
