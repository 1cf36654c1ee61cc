"""The whole configuration, section by section, and what follows from several of them."""

from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from daimon_mcp.domain.tiers import Limits, Tier
from daimon_mcp.settings.kinds import bracketed, is_loopback
from daimon_mcp.settings.limits import LimitsByTier, TierLimits
from daimon_mcp.settings.mail import Dns, Mail
from daimon_mcp.settings.mcp import Http, Mcp
from daimon_mcp.settings.operating import Attachments, Guard, Log, Operator, Owner
from daimon_mcp.settings.relay import Relay
from daimon_mcp.settings.section import option
from daimon_mcp.settings.smtp import Smtp
from daimon_mcp.settings.submission import Submission
from daimon_mcp.settings.upstream import Upstream
from daimon_mcp.settings.webhooks import Webhooks

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  listening everywhere, and how to reach that from here


class Settings(BaseModel):
    """The whole configuration; immutable. Made by `settings.load`; its order is that of `config.example.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = option(..., "The data folder, absolute.", example="/var/lib/daimon-mcp")
    config_file: Path | None = option(None, "The file that was read; None without one.", example="config.toml")
    api_key: SecretStr | None = option(None, "Key of the stdio session.", example="dm_free_...")
    http: Http = Http()
    smtp: Smtp = Smtp()
    submission: Submission = Submission()
    relay: Relay = Relay()
    upstream: Upstream = Upstream()
    mail: Mail = Mail()
    dns: Dns = Dns()
    limits: LimitsByTier = LimitsByTier()
    mcp: Mcp = Mcp()
    webhooks: Webhooks = Webhooks()
    operator: Operator = Operator()
    attachments: Attachments = Attachments()
    guard: Guard = Guard()
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
        return self.way_out != "none"

    @property
    def way_out(self) -> Literal["none", "smart_host", "direct", "sandbox"]:
        """How mail to other servers leaves."""
        if self.relay.mode == "host":
            return "smart_host" if self.relay.host is not None else "none"
        return self.relay.mode

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
            names.append(bracketed(self.http.host))
        if self.http.public_url is not None:
            names.append(bracketed(urlsplit(self.http.public_url).hostname or ""))
        return tuple(dict.fromkeys(names))

    @property
    def is_local(self) -> bool:
        """Whether the HTTP server is for this machine alone: behind a proxy, everybody would look like this machine."""
        own = self.http.public_url is None or is_loopback(urlsplit(self.http.public_url).hostname or "")
        return is_loopback(self.http.host) and own

    @property
    def hooks_on_loopback(self) -> bool:
        """Whether webhooks may be on this machine: strangers could reach through us what listens here for us alone."""
        return self.is_local if self.webhooks.loopback is None else self.webhooks.loopback

    @property
    def bootstrap(self) -> Literal["off", "loopback", "on"]:
        """From where a first inbox may be asked for."""
        if self.http.bootstrap == "loopback" and not self.is_local:
            return "off"
        return self.http.bootstrap

    def public_url(self, port: int) -> str:
        """Base of links shown to people, without a slash at the end; `port` is the one that was really bound."""
        if self.http.public_url is not None:
            return self.http.public_url
        return f"http://{bracketed(_WILDCARDS.get(self.http.host, self.http.host))}:{port}"

    def tier_limits(self) -> dict[Tier, Limits]:
        """The limits of every tier."""
        return {tier: cast("TierLimits", getattr(self.limits, tier)).limits() for tier in Tier}
