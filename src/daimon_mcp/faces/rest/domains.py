"""Routes for domains of an account's own."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.shapes.domains import DeletedDomain, Domain, DomainList
from daimon_mcp.operations.domains import CreateDomain, DeleteDomain, GetDomain, ListDomains, VerifyDomain

_DOMAINS = "/v1/domains"
_DOMAIN = f"{_DOMAINS}/{{domain}}"
_NOT_FOUND = RefusalCode.DOMAIN_NOT_FOUND

ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="POST",
        path=_DOMAINS,
        operation="create_domain",
        tag="Domains",
        summary="Ask for a domain, and get the DNS records to publish for it",
        request=CreateDomain,
        result=Domain,
        refuses=(RefusalCode.DOMAIN_REQUIRES_PAID, RefusalCode.DOMAIN_TAKEN, RefusalCode.RATE_LIMIT_EXCEEDED),
        run=lambda call: call.operations.domains.create_domain(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path=_DOMAINS,
        operation="list_domains",
        tag="Domains",
        summary="List domains, newest first, without their DNS records",
        request=ListDomains,
        result=DomainList,
        lists="domains",
        run=lambda call: call.operations.domains.list_domains(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path=_DOMAIN,
        operation="get_domain",
        tag="Domains",
        summary="Get a domain by id or name, its DNS records and what was found at the last check",
        request=GetDomain,
        result=Domain,
        refuses=(_NOT_FOUND,),
        run=lambda call: call.operations.domains.get_domain(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path=f"{_DOMAIN}/verify",
        operation="verify_domain",
        tag="Domains",
        summary="Look whether the DNS records are published",
        request=VerifyDomain,
        result=Domain,
        refuses=(_NOT_FOUND, RefusalCode.DOMAIN_TAKEN),
        run=lambda call: call.operations.domains.verify_domain(call.actor, call.request),
    ),
    RestRoute(
        method="DELETE",
        path=_DOMAIN,
        operation="delete_domain",
        tag="Domains",
        summary="Give up a domain without inboxes",
        request=DeleteDomain,
        result=DeletedDomain,
        refuses=(_NOT_FOUND, RefusalCode.DOMAIN_IN_USE),
        run=lambda call: call.operations.domains.delete_domain(call.actor, call.request),
    ),
)
