"""All routes, in the order that the API's description shows them. Features are file names."""

from __future__ import annotations

from daimon_mcp.faces.rest import (
    account,
    approvals,
    attachments,
    changes,
    domains,
    drafts,
    events,
    inboxes,
    keys,
    lists,
    messages,
    scheduled,
    search,
    sending,
    threads,
    upgrades,
    webhooks,
)
from daimon_mcp.faces.rest.route import AnyRoute

ROUTES: tuple[AnyRoute, ...] = (
    *inboxes.ROUTES,
    *messages.ROUTES,
    *search.ROUTES,
    *changes.ROUTES,
    *sending.ROUTES,
    *scheduled.ROUTES,
    *threads.ROUTES,
    *drafts.ROUTES,
    *attachments.ROUTES,
    *lists.ROUTES,
    *domains.ROUTES,
    *account.ROUTES,
    *upgrades.ROUTES,
    *approvals.ROUTES,
    *keys.ROUTES,
    *webhooks.ROUTES,
    *events.ROUTES,
)
