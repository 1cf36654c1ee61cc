"""Routes about what the operator decided."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.shapes.approvals import Approval
from daimon_mcp.operations.upgrades import GetApproval, WaitForApproval

ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="GET",
        path="/v1/approvals/{approval_id}",
        operation="get_approval",
        tag="Operator",
        summary="What became of a question, an upgrade or held mail",
        request=GetApproval,
        result=Approval,
        refuses=(RefusalCode.APPROVAL_NOT_FOUND,),
        run=lambda call: call.operations.upgrades.get_approval(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path="/v1/approvals/{approval_id}/wait",
        operation="wait_for_approval",
        tag="Operator",
        summary="Wait until the operator has decided about a question or held mail, up to 300 seconds",
        request=WaitForApproval,
        result=Approval,
        waits=True,
        refuses=(RefusalCode.APPROVAL_NOT_FOUND,),
        run=lambda call: call.operations.upgrades.wait_for_approval(call.actor, call.request),
    ),
)
