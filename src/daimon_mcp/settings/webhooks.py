"""Posting events to programs: [webhooks]."""

from daimon_mcp.settings.kinds import ExistingFile, Whole
from daimon_mcp.settings.section import Section, option


class Webhooks(Section):
    """Where events may be posted to, and how long that is tried."""

    loopback: bool | None = option(
        None,
        "Whether webhooks may be on this machine (http://127.0.0.1:3000/…). Not set: while the HTTP server itself is "
        "for this machine alone.",
        example=True,
    )
    private_addresses: bool = option(
        False,
        "Whether webhooks may be at addresses of private networks, as inside a company; link-local ones, where clouds "
        "hand out credentials, never are.",
        example=True,
    )
    ca_file: ExistingFile | None = option(
        None,
        "Certificates (PEM) to trust instead of the system's. A relative path starts at the folder of this file.",
        example="webhooks-ca.pem",
    )
    timeout_seconds: Whole = option(5, "How long a receiver has to answer.", unit="seconds", ge=1, le=60, example=5)
    retry_hours: Whole = option(
        24, "How long an event is tried before it is given up.", unit="hours", ge=1, le=168, example=24
    )
    unhealthy_after: Whole = option(
        5, "Failures in a row that make a webhook unhealthy.", unit="failures", ge=1, le=1000, example=5
    )
    keep_days: Whole = option(30, "How long the log of deliveries is kept.", unit="days", ge=1, le=3650, example=30)
    concurrency: Whole = option(
        200, "Calls under way at the same time, to all receivers together.", unit="calls", ge=1, le=2000, example=200
    )
