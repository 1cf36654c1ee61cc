"""The operator's channel: what the command line asks of a running owner, over the same socket as sessions.

One JSON object a line, each way. The socket belongs to the user who runs the server: whoever can open it is the
operator, or has the operator's account on this machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.tiers import Tier, parse_tier
from daimon_mcp.faces.cli import domain_control, oversight_control, queue_control
from daimon_mcp.operations import Operations
from daimon_mcp.operations.explaining import ExplainDelivery
from daimon_mcp.operations.keys import CreateKey, RevokeKey, RotateKey
from daimon_mcp.operations.requests import read
from daimon_mcp.store import accounts, inboxes, messages
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.consistency import findings

Params = Mapping[str, Any]
_LINE_LIMIT = 1 << 20
_OF_KEYS = ("name", "inbox", "permissions", "reply_only", "expires_at")


_COMMANDS = {
    "list_keys": "daimon-mcp keys list",
    "revoke_key": "daimon-mcp keys revoke",
    "rotate_key": "daimon-mcp keys rotate",
    "list_inboxes": "daimon-mcp operator accounts",
    "get_account": "daimon-mcp operator accounts",
    "list_accounts": "daimon-mcp operator accounts",
    "list_approvals": "daimon-mcp operator list",
    "set_oversight": "daimon-mcp operator oversight",
    "create_domain": "daimon-mcp domain add",
    "list_domains": "daimon-mcp domain list",
    "get_domain": "daimon-mcp domain show",
    "verify_domain": "daimon-mcp domain verify",
    "delete_domain": "daimon-mcp domain remove",
    "list_suppressions": "daimon-mcp suppressions list",
    "remove_suppression": "daimon-mcp suppressions remove",
    "get_smtp_credentials": "daimon-mcp operator smtp-password",
    "rotate_smtp_password": "daimon-mcp operator smtp-password --rotate",
}


class CommandDialect:
    """How the command line names an operation."""

    def call(self, operation: str) -> str:
        return _COMMANDS.get(operation, f"the {operation} tool")

    def offers(self, operation: str) -> bool:
        return operation in _COMMANDS


async def _actor(operations: Operations, params: Params) -> Actor:
    """The account a key command is about: the one named, else this machine's own."""
    if not params.get("account"):
        return await operations.accounts.operators_local()
    account = await accounts.account_by_id(operations.core.database, str(params["account"]))
    if account is None:
        raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
    return Actor(account.no, account.id, face="cli", operator=True)


async def _passcode(operations: Operations, params: Params) -> Any:
    if params.get("only_if_missing") and await operations.credentials.has_passcode():
        return {"passcode": None}
    return {"passcode": await operations.credentials.set_passcode(params.get("passcode") or None)}


async def _accounts(operations: Operations, params: Params) -> Any:
    found: list[dict[str, Any]] = []
    for row in await operations.core.database.all(sql.account_list):
        account = accounts.account_of(row)
        count = await operations.core.database.one(sql.inboxes_count, account_no=account.no, only_inbox=0)
        found.append(
            {
                "id": account.id,
                "tier": str(account.tier),
                "status": str(account.status),
                "inboxes": count[0] if count else 0,
                "created_at": iso(account.created_at),
            }
        )
    return found


async def _tier(operations: Operations, params: Params) -> Any:
    try:
        tier = parse_tier(str(params["tier"]))
    except ValueError:
        raise ValueError(f"the tiers are {', '.join(Tier)}") from None
    await operations.upgrades.set_tier(str(params["account"]), tier)
    return {"account": params["account"], "tier": str(tier)}


async def _status(operations: Operations, params: Params) -> Any:
    status = AccountStatus(str(params["status"]))
    await operations.upgrades.set_status(str(params["account"]), status)
    return {"account": params["account"], "status": str(status)}


async def _keys_list(operations: Operations, params: Params) -> Any:
    return (await operations.keys.list_keys(await _actor(operations, params))).result


async def _keys_create(operations: Operations, params: Params) -> Any:
    if params.get("every_inbox"):
        account_id, outcome = await operations.keys.create_ingest_key(name=str(params.get("name", "")))
        return {**outcome.result, "account": account_id}
    actor = await _actor(operations, params)
    wanted = {name: params[name] for name in _OF_KEYS if params.get(name)}
    outcome = await operations.keys.create_key(actor, read(CreateKey, wanted))
    return {**outcome.result, "account": actor.account_id}


async def _keys_rotate(operations: Operations, params: Params) -> Any:
    actor = await _actor(operations, params)
    wanted = {"key_id": params["id"], "overlap_seconds": int(params.get("overlap_seconds", 3600))}
    return (await operations.keys.rotate_key(actor, read(RotateKey, wanted))).result


async def _keys_revoke(operations: Operations, params: Params) -> Any:
    actor = await _actor(operations, params)
    return (await operations.keys.revoke_key(actor, read(RevokeKey, {"key_id": str(params["id"])}))).result


async def _audit(operations: Operations) -> list[str]:
    """What is wrong with the audit log, if anything is."""
    found = await operations.auditing.verify_audit()
    return [] if found["whole"] else [f"the audit log does not fit from entry {found['broken_at']} on"]


async def _check(operations: Operations, params: Params) -> Any:
    core = operations.core
    gone = [f"a large message's file is missing: {digest}" for digest in await core.blobs.missing(core.database)]
    return {
        "findings": [*await findings(core.database, deep=True), *gone, *await _audit(operations)],
        "texts": operations.texts.problems(),
        "open_requests": await operations.upgrades.open_count(),
        "passcode_set": await operations.credentials.has_passcode(),
        "public_url": operations.core.public_url,
        "notes": operations.core.notes,
        "started_at": operations.core.started_at,
    }


async def _explain(operations: Operations, params: Params) -> Any:
    """The story of one message, whichever account's it is: the operator may know."""
    given = {name: value for name, value in params.items() if value is not None}
    request = read(ExplainDelivery, given)
    found = await messages.by_id(operations.core.database, request.message_id)
    inbox = None if found is None else await inboxes.by_no(operations.core.database, found.inbox_no)
    if inbox is None:
        raise Refused(RefusalCode.MESSAGE_NOT_FOUND)
    account = await accounts.account_by_no(operations.core.database, inbox.account_no)
    outcome = await operations.explaining.explain_delivery(
        Actor(account.no, account.id, face="cli", operator=True), request
    )
    return {**outcome.result, "summary": operations.guide.summary(outcome, CommandDialect())}


async def _reparse(operations: Operations, params: Params) -> Any:
    done = await operations.rereading.reparse(int(params["after"]), everything=bool(params["everything"]))
    return {"next_after": done.next_after, "read": done.read, "missing": done.missing}


METHODS: Mapping[str, Callable[[Operations, Params], Awaitable[Any]]] = {
    "operator.passcode": _passcode,
    "operator.accounts": _accounts,
    "operator.tier": _tier,
    "operator.status": _status,
    "keys.list": _keys_list,
    "keys.create": _keys_create,
    "keys.rotate": _keys_rotate,
    "keys.revoke": _keys_revoke,
    "check": _check,
    "reparse": _reparse,
    "explain": _explain,
    **domain_control.METHODS,
    **queue_control.METHODS,
    **oversight_control.METHODS,
}


async def dispatch(operations: Operations, method: str, params: Params) -> dict[str, Any]:
    """Run one command: `{"result": …}` or `{"error": code, "message": …}`."""
    try:
        return {"result": await METHODS[method](operations, params)}
    except Refused as refused:
        message = operations.guide.refusal_message(refused, CommandDialect())
        return {"error": str(refused.code), "message": message}
    except queue_control.NotQueued as error:
        return {"error": "NOT_FOUND", "message": str(error)}
    except ValueError as error:
        return {"error": "INVALID_REQUEST", "message": str(error)}


async def serve_control(operations: Operations, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer commands until the command line leaves."""
    while line := await reader.readline():
        if len(line) > _LINE_LIMIT:
            return
        asked = json.loads(line)
        answer = await dispatch(operations, str(asked["method"]), asked.get("params") or {})
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
