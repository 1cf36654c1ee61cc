"""Routes that ask the operator."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.shapes.approvals import AskedOperator, UpgradeLink
from daimon_mcp.operations.upgrades import CreateUpgradeLink, NotifyOperator

ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="POST",
        path="/v1/upgrade-link",
        operation="create_upgrade_link",
        tag="Operator",
        summary="Make a link by which the operator can approve a higher tier; the next one unless target_tier says so",
        request=CreateUpgradeLink,
        result=UpgradeLink,
        run=lambda call: call.operations.upgrades.create_upgrade_link(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path="/v1/notify-operator",
        operation="notify_operator",
        tag="Operator",
        summary="Ask the operator a question that needs a decision",
        request=NotifyOperator,
        result=AskedOperator,
        refuses=(RefusalCode.RATE_LIMIT_EXCEEDED,),
        run=lambda call: call.operations.upgrades.notify_operator(call.actor, call.request),
    ),
)
