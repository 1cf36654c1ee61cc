"""How MCP clients and programs reach the server, and what they are offered: [http] and [mcp]."""

from typing import Literal, Self

from pydantic import SecretStr, model_validator
from pydantic_core import PydanticCustomError

from daimon_mcp.settings.kinds import Host, Names, Url, Whole, is_loopback
from daimon_mcp.settings.section import Section, option


class Http(Section):
    """The HTTP server: MCP over Streamable HTTP and SSE, REST, and the operator's pages."""

    host: Host = option("127.0.0.1", "Address to listen on.", example="127.0.0.1")
    port: Whole = option(8370, "Port to listen on; 0 takes any that is free.", ge=0, le=65535, example=8370)
    public_url: Url | None = option(
        None,
        "Base of the links that people are shown. Not set: http:// with the host and port above.",
        example="https://mail.example.org",
    )
    require_key: bool = option(
        True, "Refuse MCP clients that send no API key; may be false on a loopback address only.", example=True
    )
    allowed_hosts: Names = option(
        (),
        "Host names clients may connect by (the Host header, against DNS rebinding). "
        "Empty: the loopback names, host, and the host of public_url.",
        example=("mail.example.org",),
    )
    bootstrap: Literal["loopback", "on", "off"] = option(
        "loopback",
        "Who may make an account and its first inbox over REST without a key (POST /v1/inboxes, 10 in an hour from one "
        'address): "loopback" is programs on this machine, as long as host and public_url are loopback too; "on" is '
        "everybody who reaches the port.",
        example="off",
    )
    join_code: SecretStr | None = option(
        None, "What somebody without a key must say for that, in join_code or X-Join-Code.", example="open-sesame-42"
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


class Mcp(Section):
    """What MCP clients are offered."""

    profile: Literal["core", "full"] = option(
        "core", 'Which tools are offered: "core" is short, "full" has all.', example="core"
    )
    tools: Names = option((), "Exactly these tools, whatever the profile.", example=("list_messages", "get_message"))
    exclude_tools: Names = option((), "Tools never offered.", example=("delete_inbox",))
    read_only: bool = option(False, "Offer only what changes nothing.", example=False)
    max_result_tokens: Whole = option(
        20_000,
        "Longest answer of a tool; longer ones say how to get the rest. A call that asks for no length of its own "
        "(max_tokens, limit, include) is answered with at most 8,000, or this where it is less.",
        unit="tokens",
        ge=500,
        example=20_000,
    )
