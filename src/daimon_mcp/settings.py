"""Every option, with its description, unit and default. No other module reads configuration.

`load` reads arguments, then the environment, then `config.toml`, then defaults: the first that names an option wins.
Only the application and the command line import this; everybody else is handed plain values.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    DirectoryPath,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from daimon_mcp import paths
from daimon_mcp.domain.tiers import DEFAULT_LIMITS, Limits, Tier
from daimon_mcp.settings_sources import (
    UNLIMITED,
    arguments,
    environment,
    explain,
    merge,
    read_toml,
)

FLAT_NAMES: dict[str, tuple[str, ...]] = {
    "DAIMON_DATA_DIR": ("data_dir",),
    "DAIMON_CONFIG": ("config_file",),
    "DAIMON_API_KEY": ("api_key",),
    "DAIMON_PROFILE": ("mcp", "profile"),
    "DAIMON_READ_ONLY": ("mcp", "read_only"),
}
"""Short environment names; where a long name says the same option, the long one wins."""

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*/?^_`{|}~+-]{1,64}")
_ADDRESS_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+)):([0-9]{1,5})")
_NOT_IN_FILES = ("data_dir", "config_file", "api_key")  # a file cannot say where it is, nor who one session is
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  listening everywhere, and how to reach that from here


class SettingsError(Exception):
    """The configuration cannot be used; the text has one line for each problem, and never a value that was given."""


def _is_domain(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def _domain(text: str) -> str:
    lowered = text.strip().lower().removesuffix(".")
    if not _is_domain(lowered):
        raise ValueError("must be a domain name in ASCII, with xn-- labels for other scripts")
    return lowered


def _host(text: str) -> str:
    lowered = text.strip().lower()
    try:
        return str(ipaddress.ip_address(lowered))
    except ValueError:
        pass
    if not _is_domain(lowered):
        raise ValueError("must be an IP address or a host name, without scheme or port")
    return lowered


def _name_server(text: str) -> str:
    found = _ADDRESS_WITH_PORT.fullmatch(text.strip())
    host, port = (found[1] or found[2], found[3]) if found else (text.strip(), None)
    try:
        address = str(ipaddress.ip_address(host))
        if port is None:
            return address
        if not 0 < int(port) < 65_536:
            raise ValueError
    except ValueError:
        raise ValueError("must be an IP address, or one with :port (IPv6 then in brackets)") from None
    return f"{_bracketed(address)}:{int(port)}"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise ValueError("must be an IP address, or a network like 10.0.0.0/8") from None


def _url(text: str) -> str:
    try:
        url = urlsplit(text.strip())
        usable = url.scheme in {"http", "https"} and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
        url = urlsplit("")
    if not usable or url.username is not None or url.query or url.fragment:
        raise ValueError("must be an http or https URL without user name, query or fragment")
    return url.geturl().rstrip("/")


def _address(text: str) -> str:
    local, at, domain = text.strip().rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local):
        raise ValueError("must be an email address")
    return f"{local.lower()}@{_domain(domain)}"


def _inbox_name(text: str) -> str:
    if "@" in text:
        return _address(text)
    lowered = text.strip().lower()
    if not _LOCAL_PART.fullmatch(lowered):
        raise ValueError("must be the address of an inbox, or the part of it before the @")
    return lowered


def _tag(text: str) -> str:
    tag, equals, inbox = text.partition("=")
    tag = tag.strip().lower()
    if not equals or not _LOCAL_PART.fullmatch(tag):
        raise ValueError("must be tags with their inboxes, as in tag=inbox")
    return f"{tag}={_inbox_name(inbox)}"


def _after(text: str) -> str:
    choice, colon, folder = text.strip().partition(":")
    if not colon and choice.lower() in {"keep", "seen", "delete"}:
        return choice.lower()
    if choice.lower() == "move" and folder.strip() and folder.isprintable():
        return f"move:{folder.strip()}"
    raise ValueError('must be "keep", "seen", "delete" or "move:FOLDER"')


def _folder_name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be the name of a folder")
    return text.strip()


def _whole(value: object) -> object:
    if isinstance(value, bool):  # which Python would take for 0 or 1
        raise PydanticCustomError("int_type", "must be a whole number")
    return value


def _items(value: object) -> object:
    """A list, or in the environment its items with commas between."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _user_path(value: object) -> object:
    return os.path.expanduser(value) if isinstance(value, str) else value


Domain = Annotated[str, AfterValidator(_domain)]
Host = Annotated[str, AfterValidator(_host)]
Url = Annotated[str, AfterValidator(_url)]
MailAddress = Annotated[str, AfterValidator(_address)]
InboxName = Annotated[str, AfterValidator(_inbox_name)]
FolderName = Annotated[str, AfterValidator(_folder_name)]
After = Annotated[str, AfterValidator(_after)]
Tag = Annotated[str, AfterValidator(_tag)]
Tags = Annotated[tuple[Tag, ...], BeforeValidator(_items)]
NameServer = Annotated[str, AfterValidator(_name_server)]
Network = Annotated[str, AfterValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_items)]
Whole = Annotated[int, BeforeValidator(_whole)]
Names = Annotated[tuple[str, ...], BeforeValidator(_items)]
NameServers = Annotated[tuple[NameServer, ...], BeforeValidator(_items)]
Domains = Annotated[tuple[Domain, ...], BeforeValidator(_items)]
ExistingFile = Annotated[FilePath, BeforeValidator(_user_path), AfterValidator(Path.absolute)]
AnyFolder = Annotated[Path, BeforeValidator(_user_path), AfterValidator(Path.absolute)]
ExistingFolder = Annotated[DirectoryPath, BeforeValidator(_user_path), AfterValidator(Path.absolute)]


def _bracketed(host: str) -> str:
    """A host as URLs and Host headers write it."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _option(
    default: object,
    description: str,
    *,
    unit: str | None = None,
    example: object = None,
    ge: int | None = None,
    le: int | None = None,
) -> Any:  # what pydantic's own Field returns
    """One option. `example` is shown in complaints, and in the example file where there is no default."""
    return Field(
        default,
        description=description,
        examples=None if example is None else [example],
        json_schema_extra=None if unit is None else {"unit": unit},
        ge=ge,
        le=le,
    )


class Section(BaseModel):
    """A table of options; a key it does not know is an error, here too and not only at the top."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Http(Section):
    """The HTTP server: MCP over Streamable HTTP and SSE, and the operator's pages."""

    host: Host = _option("127.0.0.1", "Address to listen on.", example="127.0.0.1")
    port: Whole = _option(8370, "Port to listen on; 0 takes any that is free.", ge=0, le=65535, example=8370)
    public_url: Url | None = _option(
        None,
        "Base of the links that people are shown. Not set: http:// with the host and port above.",
        example="https://mail.example.org",
    )
    require_key: bool = _option(
        True, "Refuse MCP clients that send no API key; may be false on a loopback address only.", example=True
    )
    allowed_hosts: Names = _option(
        (),
        "Host names clients may connect by (the Host header, against DNS rebinding). "
        "Empty: the loopback names, host, and the host of public_url.",
        example=("mail.example.org",),
    )

    @model_validator(mode="after")
    def _keys_outside_loopback(self) -> Self:
        if not self.require_key and not is_loopback(self.host):
            raise PydanticCustomError(
                "combination",
                "require_key: must be true while host is not a loopback address, because without keys everyone who "
                "reaches the port could read and send the mail of all agents",
            )
        return self


class Smtp(Section):
    """Mail from other servers: the inbound listener and its limits."""

    hostname: Domain | None = _option(
        None,
        "Name this server gives itself in greetings and Received lines. Not set: mail.domain.",
        example="mail.example.org",
    )
    inbound: bool = _option(True, "Listen for mail from other servers.", example=True)
    inbound_host: Host = _option(
        "127.0.0.1",
        "Address to listen on for mail; 0.0.0.0 for every interface.",
        example="0.0.0.0",  # noqa: S104  an example
    )
    inbound_port: Whole = _option(
        2525,
        "Port to listen on for mail; 0 takes any that is free. Other servers deliver to port 25.",
        ge=0,
        le=65535,
        example=25,
    )
    max_connections: Whole = _option(
        100, "Connections at the same time, all together.", unit="connections", ge=1, le=100_000, example=100
    )
    max_connections_per_address: Whole = _option(
        20, "Connections at the same time from one address.", unit="connections", ge=1, le=100_000, example=20
    )
    max_recipients: Whole = _option(50, "Recipients of one message.", unit="recipients", ge=1, le=10_000, example=50)
    max_message_bytes: Whole = _option(
        10_485_760, "Size of one message, in and out.", unit="bytes", ge=65_536, le=1_073_741_824, example=10_485_760
    )
    max_hops: Whole = _option(
        50, "Received lines after which a message is taken to be in a loop.", unit="hops", ge=10, le=1000, example=50
    )
    messages_per_minute: Whole = _option(
        600,
        "Messages that one address may hand over in a minute; more are put off.",
        unit="messages",
        ge=1,
        example=600,
    )
    greylist_seconds: Whole = _option(
        0,
        "Put off the first mail of an unknown server to a recipient for this long: many senders of spam never come "
        "back. 0 does not.",
        unit="seconds",
        ge=0,
        le=3600,
        example=60,
    )
    trusted_networks: Networks = _option(
        ("127.0.0.0/8", "::1/128"),
        "Servers whose mail is not checked for forged senders (SPF, DKIM, DMARC), such as a mail server in front of "
        "this one. Addresses or networks.",
        example=("127.0.0.0/8", "10.1.2.3"),
    )
    dmarc: Literal["quarantine", "label"] = _option(
        "quarantine",
        'What becomes of mail whose sender is forged, where the owner of its domain asks for something: "quarantine" '
        'puts it into Spam, listed with the reason, until somebody releases it; "label" only says so.',
        example="quarantine",
    )
    trusted_sealers: Domains = _option(
        (),
        "Forwarders whose word (ARC) that a mail was genuine is taken, when forwarding broke its proof.",
        example=("lists.example.org",),
    )
    certificate: ExistingFile | None = _option(
        None,
        "Certificate chain (PEM) of this server, for STARTTLS and TLS. Read again when it changes. Not set: one of our "
        "own making, whose fingerprint is printed at start. A relative path starts at the folder of this file.",
        example="fullchain.pem",
    )
    certificate_key: ExistingFile | None = _option(
        None, "Its private key (PEM), without a passphrase.", example="privkey.pem"
    )
    lmtp_port: Whole | None = _option(
        None,
        "Port on 127.0.0.1 to take mail by LMTP from a mail server in front, which is trusted: nothing is checked or "
        "put off there. Not set: none.",
        ge=0,
        le=65535,
        example=2424,
    )
    lmtp_socket: AnyFolder | None = _option(
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


class Submission(Section):
    """Mail programs of agents: they log in and send, as on any mail server."""

    enabled: bool = _option(True, "Listen for mail programs.", example=True)
    host: Host = _option(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 for every interface.",
        example="0.0.0.0",  # noqa: S104  an example
    )
    port: Whole = _option(
        2587, "Port with STARTTLS; 0 takes any that is free. Usual on the internet: 587.", ge=0, le=65535, example=587
    )
    tls_port: Whole = _option(
        2465, "Port with TLS from the first byte; 0 takes any. Usual on the internet: 465.", ge=0, le=65535, example=465
    )
    public_host: Host | None = _option(
        None,
        "Name that programs are told to connect to. Not set: the address above, or smtp.hostname where that is every "
        "interface.",
        example="smtp.example.org",
    )
    max_connections: Whole = _option(
        500, "Connections at the same time, all together.", unit="connections", ge=1, le=100_000, example=500
    )
    max_connections_per_address: Whole = _option(
        100, "Connections at the same time from one address.", unit="connections", ge=1, le=100_000, example=100
    )
    failed_login_delay_ms: Whole = _option(
        250,
        "How long the fourth failed login in ten minutes from one address waits for its answer; each further one twice "
        "as long, at most ten seconds.",
        unit="milliseconds",
        ge=0,
        le=10_000,
        example=250,
    )
    max_failed_logins: Whole = _option(
        50,
        "Failed logins in ten minutes from one address, after which further wrong ones end the connection.",
        unit="logins",
        ge=1,
        example=50,
    )
    abuse_failed_logins: Whole = _option(
        20, "Failed logins to one account in ten minutes that are reported as abuse.", unit="logins", ge=1, example=20
    )
    abuse_refused_senders: Whole = _option(
        10,
        "Mails of one account in ten minutes in somebody else's name that are reported as abuse.",
        unit="mails",
        ge=1,
        example=10,
    )
    abuse_volume: Whole = _option(
        200,
        "Recipients of one account in ten minutes that are reported as abuse when they are ten times what it usually "
        "has.",
        unit="recipients",
        ge=1,
        example=200,
    )
    abuse_stops_sending: bool = _option(
        False,
        "Stop an account's sending when refused senders or volume look like abuse, until the operator lets it go on.",
        example=True,
    )


class Relay(Section):
    """How mail to other servers leaves. Mail between inboxes of this server needs nothing of it."""

    mode: Literal["host", "direct", "sandbox"] = _option(
        "host",
        'Where mail goes: "host" to the relay named below, "direct" to the servers of its recipients (needs a domain, '
        'a public address and port 25), "sandbox" nowhere, with outcomes made up for trying things out.',
        example="direct",
    )
    host: Host | None = _option(None, "Name of the relay. Not set: no mail leaves.", example="smtp.example.org")
    port: Whole = _option(587, "Its port.", ge=0, le=65535, example=587)
    security: Literal["starttls", "tls", "none"] = _option(
        "starttls",
        'How the connection is protected: "starttls" (usual on 587), "tls" from the first byte (465), or "none".',
        example="starttls",
    )
    username: str | None = _option(None, "User name to log in with. Not set: no login.", example="agents")
    password: SecretStr | None = _option(
        None, "Password to log in with; best given in the environment.", example="correct horse battery staple"
    )
    ca_file: ExistingFile | None = _option(
        None,
        "Certificates (PEM) to trust instead of the system's. A relative path starts at the folder of this file.",
        example="relay-ca.pem",
    )
    timeout_seconds: Whole = _option(
        60, "How long to wait for the relay's answer to one command.", unit="seconds", ge=1, le=600, example=60
    )
    max_connections: Whole = _option(
        5, "Connections to the relay at the same time.", unit="connections", ge=1, le=100, example=5
    )
    direct_port: Whole = _option(25, "Port of the recipients' servers, with mode direct.", ge=1, le=65535, example=25)
    private_addresses: bool = _option(
        False, "With mode direct, deliver to servers at private addresses too, as inside a company.", example=True
    )
    destinations: Whole = _option(
        50, "Mails on their way at the same time, to all servers together.", unit="mails", ge=1, le=1000, example=50
    )
    verp: bool | None = _option(
        None,
        "Send each mail with a return path of its own, so that bounces are matched beyond doubt. Not set: where mail "
        "goes out directly. Some relays insist on the plain address.",
        example=True,
    )
    give_up_hours: Whole = _option(
        120, "How long a message is tried before the sender is told it failed.", unit="hours", ge=1, le=720, example=120
    )

    @model_validator(mode="after")
    def _login(self) -> Self:
        if (self.username is None) != (self.password is None):
            missing, given = ("username", "password") if self.username is None else ("password", "username")
            raise PydanticCustomError(
                "combination", "{missing}: must be set too when {given} is", {"missing": missing, "given": given}
            )
        if self.password is not None and self.security == "none" and self.host and not is_loopback(self.host):
            raise PydanticCustomError(
                "combination",
                'security: must be "starttls" or "tls" while a password is set, '
                "because it would cross the network in the clear",
            )
        return self


class Upstream(Section):
    """A mailbox elsewhere that mail is fetched from, by IMAP: me+support@example.com comes to the inbox support."""

    host: Host | None = _option(None, "Name of the IMAP server. Not set: nothing is fetched.", example="imap.gmail.com")
    port: Whole = _option(993, "Its port.", ge=1, le=65535, example=993)
    security: Literal["tls", "starttls", "none"] = _option(
        "tls",
        'How the connection is protected: "tls" from the first byte (usual on 993), "starttls" (143), or "none", on a '
        "loopback address only.",
        example="tls",
    )
    ca_file: ExistingFile | None = _option(
        None,
        "Certificates (PEM) to trust instead of the system's. A relative path starts at the folder of this file.",
        example="imap-ca.pem",
    )
    address: MailAddress | None = _option(None, "The mailbox's own address, without a tag.", example="me@example.com")
    username: str | None = _option(None, "User name to log in with. Not set: address.", example="me@example.com")
    password: SecretStr | None = _option(
        None,
        "Password to log in with; best given in the environment. Gmail wants an app password.",
        example="correct horse battery staple",
    )
    oauth_command: str | None = _option(
        None,
        "Instead of a password: a command that prints a fresh OAuth access token. It is run without a shell, before "
        "each login.",
        example="oama access me@example.com",
    )
    mailbox: FolderName = _option("INBOX", "The folder that is read.", example="INBOX")
    backlog: bool = _option(
        False, "Take mail that was there before the first connection too, and not only what is new.", example=True
    )
    after: After = _option(
        "keep",
        'What becomes of mail there once it is safe here: "keep" changes nothing, "seen" marks it read, "delete", or '
        '"move:FOLDER". Mail for no inbox here is always left alone.',
        example="move:Agents",
    )
    poll_seconds: Whole = _option(
        60,
        "How often to look for new mail, where the server does not tell (IDLE).",
        unit="seconds",
        ge=10,
        le=86_400,
        example=60,
    )
    tags: Tags = _option(
        (),
        "Tags that do not have the name of their inbox, as tag=inbox. Every other tag reaches the inbox of its name.",
        example=("help=support", "jobs=hiring@agents.example.org"),
    )
    catch_all: Domain | None = _option(
        None,
        "A domain whose mail all comes to this mailbox: anything@ it reaches the inbox of that name.",
        example="example.com",
    )
    default_inbox: InboxName | None = _option(
        None,
        "Inbox for mail to the plain address, or to a tag that no inbox has. Not set: such mail is left alone.",
        example="assistant",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.host is None:
            return self
        if self.address is None:
            raise PydanticCustomError(
                "combination", "address: must be set too when host is, for example me@example.com"
            )
        if (self.password is None) == (self.oauth_command is None):
            raise PydanticCustomError(
                "combination", "password: either it or oauth_command must be set when host is, and not both"
            )
        if self.security == "none" and not is_loopback(self.host):
            raise PydanticCustomError(
                "combination",
                'security: must be "tls" or "starttls" while host is not a loopback address, '
                "because mail and password would cross the network in the clear",
            )
        return self


class Mail(Section):
    """The domains of inbox addresses."""

    domain: Domain = _option("agents.localhost", "Domain of new inboxes.", example="agents.example.org")
    domains: Domains = _option((), "Further domains inboxes may have.", example=("example.net",))
    address_quarantine_days: Whole = _option(
        90,
        "How long the address of a deleted inbox stays taken, so that a newcomer never reads the old one's mail.",
        unit="days",
        ge=0,
        le=36_500,
        example=90,
    )


class Dns(Section):
    """Name servers: they say where mail goes, and what a sender's domain says of itself."""

    nameservers: NameServers = _option(
        (),
        "Resolving name servers to ask, IP addresses with or without :port, the first one first. Empty: the system's.",
        example=("127.0.0.1", "[::1]:5353"),
    )
    timeout_seconds: Whole = _option(
        5, "How long one question may take, all name servers together.", unit="seconds", ge=1, le=60, example=5
    )
    trusts_ad: bool = _option(
        False,
        "Believe the name servers when they say that DNSSEC proves an answer, which DANE needs. Only where they check "
        "it themselves and nobody else can answer for them; those on a loopback address are believed anyway.",
        example=True,
    )


class TierLimits(Section):
    """What one tier may do; -1 means no limit. One recipient counts one send."""

    sends_per_month: Whole = _option(..., "Sends in a calendar month (UTC).", unit="sends", ge=UNLIMITED, example=100)
    sends_per_day: Whole = _option(..., "Sends in a day (UTC).", unit="sends", ge=UNLIMITED, example=100)
    sends_per_minute: Whole = _option(..., "Sends within 60 seconds.", unit="sends", ge=UNLIMITED, example=10)
    smtp: bool = _option(..., "Whether mail programs may log in, by SMTP.", example=True)
    smtp_sessions: Whole = _option(..., "SMTP sessions at the same time.", unit="sessions", ge=0, example=5)
    inboxes_per_hour: Whole = _option(..., "Inboxes created within an hour.", unit="inboxes", ge=UNLIMITED, example=10)
    domains: Whole = _option(..., "Custom domains.", unit="domains", ge=UNLIMITED, example=1)

    def limits(self) -> Limits:
        """As the rules want it: None where there is no limit."""
        return Limits(
            sends_per_month=_or_none(self.sends_per_month),
            sends_per_day=_or_none(self.sends_per_day),
            sends_per_minute=_or_none(self.sends_per_minute),
            smtp=self.smtp,
            smtp_sessions=self.smtp_sessions,
            inboxes_per_hour=_or_none(self.inboxes_per_hour),
            domains=_or_none(self.domains),
        )


def _or_none(limit: int) -> int | None:
    return None if limit == UNLIMITED else limit


def _default_limits(tier: str) -> dict[str, Any]:
    limits = DEFAULT_LIMITS[Tier(tier)]
    return {name: UNLIMITED if (value := getattr(limits, name)) is None else value for name in TierLimits.model_fields}


class LimitsByTier(Section):
    """Limits of each tier; an option left out keeps the tier's default."""

    free: TierLimits = TierLimits(**_default_limits("free"))
    starter: TierLimits = TierLimits(**_default_limits("starter"))
    pro: TierLimits = TierLimits(**_default_limits("pro"))
    enterprise: TierLimits = TierLimits(**_default_limits("enterprise"))

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        given = cast("Mapping[str, object]", value)
        return {
            tier: {**_default_limits(tier), **cast("Mapping[str, object]", part)}
            if tier in cls.model_fields and isinstance(part, Mapping)
            else part
            for tier, part in given.items()
        }


class Mcp(Section):
    """What MCP clients are offered."""

    profile: Literal["core", "full"] = _option(
        "core", 'Which tools are offered: "core" is short, "full" has all.', example="core"
    )
    tools: Names = _option((), "Exactly these tools, whatever the profile.", example=("list_messages", "get_message"))
    exclude_tools: Names = _option((), "Tools never offered.", example=("delete_inbox",))
    read_only: bool = _option(False, "Offer only what changes nothing.", example=False)
    max_result_tokens: Whole = _option(
        20_000,
        "Longest answer of a tool; longer ones say how to get the rest. A call that asks for no length of its own "
        "(max_tokens, limit, include) is answered with at most 8,000, or this where it is less.",
        unit="tokens",
        ge=500,
        example=20_000,
    )


class Operator(Section):
    """What the operator decides."""

    prompts_dir: ExistingFolder | None = _option(
        None,
        "Folder with texts that replace ours, laid out like prompts/. A relative path starts at the folder of this "
        "file.",
        example="prompts",
    )
    link_days: Whole = _option(7, "How long an upgrade link can be used.", unit="days", ge=1, le=365, example=7)
    duplicate_window_minutes: Whole = _option(
        10,
        "How long the same content to the same recipients counts as a duplicate when no client_id is given; 0 never.",
        unit="minutes",
        ge=0,
        le=1440,
        example=10,
    )
    idempotency_hours: Whole = _option(
        24, "How long, at least, a client_id is remembered.", unit="hours", ge=24, le=8760, example=24
    )
    secrets: Literal["shown", "masked"] = _option(
        "shown",
        'Whether tools show SMTP passwords to agents; "masked" leaves them to the command line.',
        example="masked",
    )


class Attachments(Section):
    """Files in mail: the text that is read out of them, and the folder they are saved to."""

    read_text: bool = _option(
        True,
        "Read the text out of PDF, Office, HTML and other files, in a process of its own, so that agents can read and "
        "find it.",
        example=True,
    )
    folder: AnyFolder | None = _option(
        None,
        "Folder that agents may save attachments to and take files from, and no other. Not set: files in the data "
        "folder. A relative path starts at the folder of this file.",
        example="/srv/agents/files",
    )
    folder_max_bytes: Whole = _option(
        1_073_741_824,
        "How much one account may have in that folder before nothing more is saved for it.",
        unit="bytes",
        ge=0,
        example=1_073_741_824,
    )


class Owner(Section):
    """The process that owns the data folder."""

    idle_minutes: Whole = _option(
        10, "How long it stays when nothing needs it any more.", unit="minutes", ge=0, le=10_080, example=10
    )


class Log(Section):
    """Logging, always to standard error."""

    level: Literal["debug", "info", "warning", "error"] = _option("info", "Least level to log.", example="info")
    format: Literal["text", "json"] = _option("text", "key=value text, or one JSON object a line.", example="text")
    wire: bool = _option(False, "Log SMTP conversations line by line, without secrets.", example=False)


class Settings(BaseModel):
    """The whole configuration; immutable. Made by `load`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = _option(..., "The data folder, absolute.", example="/var/lib/daimon-mcp")
    config_file: Path | None = _option(None, "The file that was read; None without one.", example="config.toml")
    api_key: SecretStr | None = _option(None, "Key of the stdio session.", example="dm_free_...")
    http: Http = Http()
    smtp: Smtp = Smtp()
    submission: Submission = Submission()
    relay: Relay = Relay()
    upstream: Upstream = Upstream()
    mail: Mail = Mail()
    dns: Dns = Dns()
    limits: LimitsByTier = LimitsByTier()
    mcp: Mcp = Mcp()
    operator: Operator = Operator()
    attachments: Attachments = Attachments()
    owner: Owner = Owner()
    log: Log = Log()

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.absolute()

    @property
    def smtp_hostname(self) -> str:
        """What this server calls itself in SMTP."""
        return self.smtp.hostname or self.mail.domain

    @property
    def submission_host(self) -> str:
        """What mail programs are told to connect to."""
        given = self.submission.public_host
        return given or (self.smtp_hostname if self.submission.host in _WILDCARDS else self.submission.host)

    @property
    def mail_leaves(self) -> bool:
        """Whether there is a way for mail to other servers."""
        return self.relay.mode != "host" or self.relay.host is not None

    @property
    def mail_domains(self) -> tuple[str, ...]:
        """Every domain inboxes may have, the default one first, none twice."""
        return tuple(dict.fromkeys((self.mail.domain, *self.mail.domains)))

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Host names, without port, that a Host header may carry; IPv6 addresses in brackets."""
        if self.http.allowed_hosts:
            return self.http.allowed_hosts
        names = list[str](_LOOPBACK_NAMES)
        if self.http.host not in _WILDCARDS:
            names.append(_bracketed(self.http.host))
        if self.http.public_url is not None:
            names.append(_bracketed(urlsplit(self.http.public_url).hostname or ""))
        return tuple(dict.fromkeys(names))

    def public_url(self, port: int) -> str:
        """Base of links shown to people, without a slash at the end; `port` is the one that was really bound."""
        if self.http.public_url is not None:
            return self.http.public_url
        return f"http://{_bracketed(_WILDCARDS.get(self.http.host, self.http.host))}:{port}"

    def tier_limits(self) -> dict[Tier, Limits]:
        """The limits of every tier."""
        return {tier: cast("TierLimits", getattr(self.limits, tier)).limits() for tier in Tier}


def load(
    *,
    config: Path | None = None,
    data_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    **overrides: object,
) -> Settings:
    """Read the configuration: arguments, then `environ`, then the file, then defaults.

    `overrides` are sections (`http={"port": 0}`) or `api_key`; a None among them means "not given". The file is
    `config`, else DAIMON_CONFIG, else `config.toml` in the data folder if there is one; a file that was named must
    exist. Raises SettingsError, which lists every problem at once.
    """
    folder = Path(paths.data_dir(environ, None if data_dir is None else str(data_dir)))
    named = config or (Path(environ["DAIMON_CONFIG"]).expanduser() if environ.get("DAIMON_CONFIG") else None)
    file = (named or folder / "config.toml").absolute()
    given = arguments({**overrides, "data_dir": folder})
    sources = [given, environment(environ, Settings, FLAT_NAMES, apart=("data_dir", "config_file"))]
    said = read_toml(file, Settings, apart=_NOT_IN_FILES, optional=named is None)
    if said is not None:
        sources.append(said)
        given.values["config_file"] = file
    problems = [problem for source in sources for problem in source.problems]
    try:
        settings = Settings.model_validate(merge(source.values for source in reversed(sources)))
    except ValidationError as error:
        problems += explain(error, Settings, sources)
        raise SettingsError("\n".join(problems)) from None  # the cause would print the values
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def example_toml() -> str:
    """`config.example.toml`: every option commented out, with description, unit, default and environment name."""
    from daimon_mcp.settings_example import print_example

    return print_example(Settings, apart=_NOT_IN_FILES)
