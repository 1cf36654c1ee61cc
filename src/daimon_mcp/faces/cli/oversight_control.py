"""What the command line asks about oversight, held mail and the audit log, answered by the owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations import Operations
from daimon_mcp.operations.approving import approval_view, preview
from daimon_mcp.operations.auditing import ListAudit
from daimon_mcp.operations.oversight import SetOversight
from daimon_mcp.operations.requests import read
from daimon_mcp.store import approvals

Params = Mapping[str, Any]


def _given(params: Params) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


async def _list(operations: Operations, _: Params) -> Any:
    now = operations.core.clock.now()
    shown: list[dict[str, Any]] = []
    for each in await operations.upgrades.list_open():
        held = await preview(operations.core, each)
        mail = {} if held is None else {"mail": {**held.view, "text": "", "quoted": ""}}
        shown.append({**approval_view(each, now), **mail})
    return shown


async def _show(operations: Operations, params: Params) -> Any:
    return await operations.approving.show_approval(canonical_id(str(params["id"])))


async def _decide(operations: Operations, params: Params) -> Any:
    approval_id = canonical_id(str(params["id"]))
    known = await approvals.by_id(operations.core.database, approval_id)
    if known is not None and known.state in ("approved", "declined"):
        raise Refused(RefusalCode.LINK_NOT_VALID, reason="DECIDED", facts={"state": known.state})
    always = bool(params.get("always"))
    if always and known is not None and known.kind != "send":
        raise ValueError("only the recipients of held mail can be allowed for always")
    return await operations.approving.decide(
        approval_id,
        approve=bool(params["approve"]),
        comment=str(params.get("comment", "")),
        by="cli",
        always=always,
    )


async def _oversight(operations: Operations, params: Params) -> Any:
    return await operations.oversight.set_oversight(read(SetOversight, _given(params)), by="cli")


async def _audit_list(operations: Operations, params: Params) -> Any:
    return await operations.auditing.list_audit(read(ListAudit, _given(params)))


async def _audit_verify(operations: Operations, _: Params) -> Any:
    return await operations.auditing.verify_audit()


async def _audit_export(operations: Operations, params: Params) -> Any:
    entries, following = await operations.auditing.export_audit(int(params.get("after", 0)))
    return {"entries": entries, "next_after": following}


METHODS: Mapping[str, Callable[[Operations, Params], Awaitable[Any]]] = {
    "operator.list": _list,
    "operator.show": _show,
    "operator.decide": _decide,
    "operator.oversight": _oversight,
    "audit.list": _audit_list,
    "audit.verify": _audit_verify,
    "audit.export": _audit_export,
}
