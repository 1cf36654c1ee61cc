"""Domains as they are answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Page, Shape, Time, absent

State = Literal["ok", "missing", "wrong", "unknown"]


class ListedDomain(Shape):
    """A domain without its records."""

    id: str
    domain: str
    status: Literal["pending", "verified", "failed"]
    created_at: Time
    checked_at: Time = absent()
    verified_at: Time = absent()


class DnsRecord(Shape):
    """A record to publish; after a check, what was found in its place."""

    purpose: Literal["ownership", "mx", "spf", "dkim", "dmarc"]
    type: Literal["TXT", "MX"]
    name: str
    value: str
    priority: int = absent()
    required: bool
    state: State = absent()
    what: str = absent()
    found: list[str] = absent()
    explanation: str = absent()


class MailFlow(Shape):
    """Whether mail gets through, by what was found."""

    receiving: State
    sending: State


class Domain(ListedDomain):
    """A domain with the records to publish."""

    dns_records: list[DnsRecord]
    mail_flow: MailFlow
    warning: str = absent()
    zone_file: str = absent("The records as lines of a zone file")


class DomainList(Page):
    """A page of domains."""

    domains: list[ListedDomain]


class DeletedDomain(Shape):
    """A domain that was given up."""

    id: str
    domain: str
    status: Literal["deleted"]
    deleted_at: Time
