"""The mailbox elsewhere that mail is fetched from: [upstream]."""

from typing import Literal, Self

from pydantic import SecretStr, model_validator
from pydantic_core import PydanticCustomError

from daimon_mcp.settings.kinds import (
    After,
    Domain,
    ExistingFile,
    FolderName,
    Host,
    InboxName,
    MailAddress,
    Tags,
    Whole,
    is_loopback,
)
from daimon_mcp.settings.section import Section, option


class Upstream(Section):
    """A mailbox elsewhere that mail is fetched from, by IMAP: me+support@example.com comes to the inbox support."""

    host: Host | None = option(None, "Name of the IMAP server. Not set: nothing is fetched.", example="imap.gmail.com")
    port: Whole = option(993, "Its port.", ge=1, le=65535, example=993)
    security: Literal["tls", "starttls", "none"] = option(
        "tls",
        'How the connection is protected: "tls" from the first byte (usual on 993), "starttls" (143), or "none", on a '
        "loopback address only.",
        example="tls",
    )
    ca_file: ExistingFile | None = option(
        None,
        "Certificates (PEM) to trust instead of the system's. A relative path starts at the folder of this file.",
        example="imap-ca.pem",
    )
    address: MailAddress | None = option(None, "The mailbox's own address, without a tag.", example="me@example.com")
    username: str | None = option(None, "User name to log in with. Not set: address.", example="me@example.com")
    password: SecretStr | None = option(
        None,
        "Password to log in with; best given in the environment. Gmail wants an app password.",
        example="correct horse battery staple",
    )
    oauth_command: str | None = option(
        None,
        "Instead of a password: a command that prints a fresh OAuth access token. It is run without a shell, before "
        "each login.",
        example="oama access me@example.com",
    )
    mailbox: FolderName = option("INBOX", "The folder that is read.", example="INBOX")
    backlog: bool = option(
        False, "Take mail that was there before the first connection too, and not only what is new.", example=True
    )
    after: After = option(
        "keep",
        'What becomes of mail there once it is safe here: "keep" changes nothing, "seen" marks it read, "delete", or '
        '"move:FOLDER". Mail for no inbox here is always left alone.',
        example="move:Agents",
    )
    poll_seconds: Whole = option(
        60,
        "How often to look for new mail, where the server does not tell (IDLE).",
        unit="seconds",
        ge=10,
        le=86_400,
        example=60,
    )
    tags: Tags = option(
        (),
        "Tags that do not have the name of their inbox, as tag=inbox. Every other tag reaches the inbox of its name.",
        example=("help=support", "jobs=hiring@agents.example.org"),
    )
    catch_all: Domain | None = option(
        None,
        "A domain whose mail all comes to this mailbox: anything@ it reaches the inbox of that name.",
        example="example.com",
    )
    default_inbox: InboxName | None = option(
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
