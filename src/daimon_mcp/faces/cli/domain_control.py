"""What the command line asks about domains, answered by the owner: any account's, and those of the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.domains import clean_name
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations import Operations
from daimon_mcp.operations.domain_views import zone_file
from daimon_mcp.operations.domains import CreateDomain, DeleteDomain, GetDomain, VerifyDomain
from daimon_mcp.store import accounts
from daimon_mcp.store import compiled as sql

Params = Mapping[str, Any]


async def _account(operations: Operations, reference: str) -> Actor:
    account = await accounts.account_by_id(operations.core.database, reference)
    if account is None:
        raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
    return Actor(account.no, account.id, face="cli", operator=True)


async def _owner(operations: Operations, params: Params, name: str) -> Actor:
    """Whose domain is meant: the account named, who has proved it is theirs, or the only one that asks for it.

    Raises DOMAIN_NOT_FOUND, ValueError where several accounts ask for it.
    """
    if params.get("account"):
        return await _account(operations, str(params["account"]))
    claims = await operations.core.database.all(sql.domains_of_name, name=name)
    proved = [number for number, status in claims if status == "verified"] or [number for number, _ in claims]
    if not proved:
        raise Refused(RefusalCode.DOMAIN_NOT_FOUND)
    if len(proved) > 1:
        raise ValueError("several accounts ask for this domain; name one with --account")
    account = await accounts.account_by_no(operations.core.database, proved[0])
    return Actor(account.no, account.id, face="cli", operator=True)


def _name(params: Params) -> str:
    name = clean_name(str(params["domain"]))
    if name is None:
        raise ValueError("that is no domain name")
    return name


async def _add(operations: Operations, params: Params) -> Any:
    """A domain for an account, this machine's own unless another is named."""
    given = params.get("account")
    actor = await _account(operations, str(given)) if given else await operations.accounts.operators_local()
    outcome = await operations.domains.create_domain(actor, CreateDomain(domain=_name(params)))
    return {**outcome.result, "account": actor.account_id}


async def _list(operations: Operations, _: Params) -> Any:
    rows = await operations.core.database.all(sql.domains_all)
    ours = [{"domain": name, "status": "server", "id": None, "account": None} for name in _server(operations)]
    theirs = [{"domain": name, "status": status, "id": id, "account": account} for account, id, name, status in rows]
    return ours + theirs


def _server(operations: Operations) -> list[str]:
    return sorted(operations.core.policy.domains)


async def _show(operations: Operations, params: Params) -> Any:
    name = _name(params)
    if name in operations.core.policy.domains:
        return await operations.domain_keys.server_domain(name)
    actor = await _owner(operations, params, name)
    outcome = await operations.domains.get_domain(actor, GetDomain(domain=name, zone_file=True))
    return {**outcome.result, "account": actor.account_id}


async def _verify(operations: Operations, params: Params) -> Any:
    name = _name(params)
    if name in operations.core.policy.domains:
        return await operations.domain_keys.server_domain(name, check=True)
    actor = await _owner(operations, params, name)
    outcome = await operations.domains.verify_domain(actor, VerifyDomain(domain=name))
    return {**outcome.result, "account": actor.account_id}


async def _remove(operations: Operations, params: Params) -> Any:
    name = _name(params)
    actor = await _owner(operations, params, name)
    outcome = await operations.domains.delete_domain(actor, DeleteDomain(domain=name))
    return {**outcome.result, "account": actor.account_id}


async def _rotate(operations: Operations, params: Params) -> Any:
    name = _name(params)
    records = await operations.domain_keys.rotate_dkim(name)
    return {"domain": name, "zone_file": zone_file(records)}


METHODS: Mapping[str, Callable[[Operations, Params], Awaitable[Any]]] = {
    "domain.add": _add,
    "domain.list": _list,
    "domain.show": _show,
    "domain.verify": _verify,
    "domain.remove": _remove,
    "domain.rotate": _rotate,
}
