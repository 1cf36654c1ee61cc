"""What the command line asks about mail under way, suppressions and programs that send, answered by the owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.ids import canonical_id, looks_like_id
from daimon_mcp.domain.queue import DeliveryState
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations import Operations
from daimon_mcp.operations.queueing import Selection
from daimon_mcp.operations.suppressing import ListSuppressions, RemoveSuppression
from daimon_mcp.store import accounts

Params = Mapping[str, Any]
_STATES = (DeliveryState.QUEUED, DeliveryState.HELD)


async def _actor(operations: Operations, params: Params) -> Actor:
    if not params.get("account"):
        return await operations.accounts.local_actor()
    account = await accounts.account_by_id(operations.core.database, str(params["account"]))
    if account is None:
        raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
    return Actor(account.no, account.id)


def _selection(params: Params) -> Selection:
    """What is meant by a delivery's or message's id, or a domain; everything only if that is said."""
    which, state = str(params.get("which", "")).strip(), str(params.get("state", ""))
    if state and state not in _STATES:
        raise ValueError(f"the states are {', '.join(_STATES)}")
    if not which and not params.get("everything"):
        raise ValueError("name a delivery, a message or a domain, or say that all are meant")
    if looks_like_id(canonical_id(which), "dlv"):
        return Selection(id=canonical_id(which), state=state)
    if looks_like_id(canonical_id(which), "msg"):
        return Selection(message_id=canonical_id(which), state=state)
    return Selection(domain=which.rpartition("@")[2].lower(), state=state)


async def _list(operations: Operations, params: Params) -> Any:
    limit, after = int(params.get("limit", 100)), int(params.get("after", 0))
    return await operations.queueing.list_queue(_selection(params), limit=limit, after=after)


async def _hold(operations: Operations, params: Params) -> Any:
    return {"count": await operations.queueing.hold(_selection(params))}


async def _release(operations: Operations, params: Params) -> Any:
    return {"count": await operations.queueing.release(_selection(params))}


async def _retry(operations: Operations, params: Params) -> Any:
    return {"count": await operations.queueing.retry(_selection(params))}


async def _cancel(operations: Operations, params: Params) -> Any:
    return {"count": await operations.queueing.cancel(_selection(params))}


async def _spool(operations: Operations, _: Params) -> Any:
    return await operations.spool.listed()


async def _refile(operations: Operations, params: Params) -> Any:
    return {"count": await operations.spool.refile(str(params.get("id", "")))}


async def _suppressions(operations: Operations, params: Params) -> Any:
    request = ListSuppressions(limit=500, cursor=params.get("cursor"))
    return (await operations.suppressing.list_suppressions(await _actor(operations, params), request)).result


async def _unsuppress(operations: Operations, params: Params) -> Any:
    request = RemoveSuppression(address=str(params["address"]))
    return (await operations.suppressing.remove_suppression(await _actor(operations, params), request)).result


async def _smtp_password(operations: Operations, params: Params) -> Any:
    """The credentials with their password, whether or not tools show it to agents: this is the operator's place."""
    actor = await _actor(operations, params)
    verb = (
        operations.accounts.rotate_smtp_password if params.get("rotate") else operations.accounts.get_smtp_credentials
    )
    outcome = await verb(actor)
    account = await accounts.account_by_no(operations.core.database, actor.account_no)
    password = operations.credentials.smtp_password(account.id, account.smtp_version)
    return {**outcome.result, "password": password, "account": account.id}


async def _resume_sending(operations: Operations, params: Params) -> Any:
    account = canonical_id(str(params["account"]))
    return {"account": account, "resumed": await operations.abuse.resume(account)}


METHODS: Mapping[str, Callable[[Operations, Params], Awaitable[Any]]] = {
    "queue.list": _list,
    "queue.hold": _hold,
    "queue.release": _release,
    "queue.retry": _retry,
    "queue.cancel": _cancel,
    "queue.spool": _spool,
    "queue.refile": _refile,
    "suppressions.list": _suppressions,
    "suppressions.remove": _unsuppress,
    "operator.smtp_password": _smtp_password,
    "operator.resume_sending": _resume_sending,
}
