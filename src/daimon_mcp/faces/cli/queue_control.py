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


class NotQueued(Exception):
    """What was named is not there; the text says what."""


async def _actor(operations: Operations, params: Params) -> Actor:
    if not params.get("account"):
        return await operations.accounts.operators_local()
    account = await accounts.account_by_id(operations.core.database, str(params["account"]))
    if account is None:
        raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
    return Actor(account.no, account.id, face="cli", operator=True)


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
    return await _done(operations, params, operations.queueing.hold)


async def _release(operations: Operations, params: Params) -> Any:
    return await _done(operations, params, operations.queueing.release)


async def _retry(operations: Operations, params: Params) -> Any:
    return await _done(operations, params, operations.queueing.retry)


async def _cancel(operations: Operations, params: Params) -> Any:
    return await _done(operations, params, operations.queueing.cancel)


async def _done(operations: Operations, params: Params, verb: Callable[[Selection], Awaitable[int]]) -> Any:
    """How many deliveries it was done to. Raises NotQueued where what was named is not in the queue at all."""
    selection = _selection(params)
    count = await verb(selection)
    if not count and (selection.id or selection.message_id or selection.domain):
        rows = await operations.queueing.list_queue(selection, limit=1)
        if not rows:
            raise NotQueued(f"the queue has {_named(selection)}")
        if rows[0]["state"] not in _STATES:
            raise NotQueued(f"the delivery {selection.id} is not in the queue any more: it is {rows[0]['state']}")
    return {"count": count}


def _named(selection: Selection) -> str:
    if selection.id:
        return f"no delivery {selection.id}"
    what = f"of the message {selection.message_id}" if selection.message_id else f"for {selection.domain}"
    return f"nothing {what}" + (f" that is {selection.state}" if selection.state else "")


async def _spool(operations: Operations, _: Params) -> Any:
    return await operations.spool.listed()


async def _refile(operations: Operations, params: Params) -> Any:
    name = str(params.get("id", ""))
    count = await operations.spool.refile(name)
    if name and not count:
        raise NotQueued(f"no mail with the id {name} was put aside")
    return {"count": count}


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
    try:
        outcome = await verb(actor)
    except Refused as refused:
        if refused.code is not RefusalCode.SMTP_REQUIRES_PAID or refused.target_tier is None:
            raise
        facts = {**refused.facts, "account": actor.account_id, "target_tier": refused.target_tier}
        raise Refused(RefusalCode.SMTP_REQUIRES_PAID, reason="OPERATOR", facts=facts) from None
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
