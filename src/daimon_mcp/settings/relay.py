"""Mail to other servers: [relay]."""

from typing import Literal, Self

from pydantic import SecretStr, model_validator
from pydantic_core import PydanticCustomError

from daimon_mcp.settings.kinds import ExistingFile, Host, Whole, is_loopback
from daimon_mcp.settings.section import Section, option


class Relay(Section):
    """How mail to other servers leaves. Mail between inboxes of this server needs nothing of it."""

    mode: Literal["host", "direct", "sandbox"] = option(
        "host",
        'Where mail goes: "host" to the relay named below, "direct" to the servers of its recipients (needs a domain, '
        'a public address and port 25), "sandbox" nowhere, with outcomes made up for trying things out.',
        example="direct",
    )
    host: Host | None = option(None, "Name of the relay. Not set: no mail leaves.", example="smtp.example.org")
    port: Whole = option(587, "Its port.", ge=0, le=65535, example=587)
    security: Literal["starttls", "tls", "none"] = option(
        "starttls",
        'How the connection is protected: "starttls" (usual on 587), "tls" from the first byte (465), or "none".',
        example="starttls",
    )
    username: str | None = option(None, "User name to log in with. Not set: no login.", example="agents")
    password: SecretStr | None = option(
        None, "Password to log in with; best given in the environment.", example="correct horse battery staple"
    )
    ca_file: ExistingFile | None = option(
        None,
        "Certificates (PEM) to trust instead of the system's. A relative path starts at the folder of this file.",
        example="relay-ca.pem",
    )
    timeout_seconds: Whole = option(
        60, "How long to wait for the relay's answer to one command.", unit="seconds", ge=1, le=600, example=60
    )
    max_connections: Whole = option(
        5, "Connections to the relay at the same time.", unit="connections", ge=1, le=100, example=5
    )
    direct_port: Whole = option(25, "Port of the recipients' servers, with mode direct.", ge=1, le=65535, example=25)
    private_addresses: bool = option(
        False, "With mode direct, deliver to servers at private addresses too, as inside a company.", example=True
    )
    destinations: Whole = option(
        50, "Mails on their way at the same time, to all servers together.", unit="mails", ge=1, le=1000, example=50
    )
    verp: bool | None = option(
        None,
        "Send each mail with a return path of its own, so that bounces are matched beyond doubt. Not set: where mail "
        "goes out directly. Some relays insist on the plain address.",
        example=True,
    )
    give_up_hours: Whole = option(
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
