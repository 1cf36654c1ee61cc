"""Webhooks: where an account's events are posted to. What is posted, and when, is in `telling.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import HookChanged
from daimon_mcp.domain.clock import HOUR, MINUTE, SECOND, iso, iso_or_none
from daimon_mcp.domain.events import (
    ALL,
    EVENTS,
    TEST,
    canonical_event,
    near_event,
    packed_names,
    tells_of_mail,
    unpacked_names,
    wire_event,
)
from daimon_mcp.domain.ids import canonical_id, new_id
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import Fact, FieldProblem, RefusalCode, Refused, invalid
from daimon_mcp.domain.webhooks import MOST_URL, MOST_WEBHOOKS, HookRequest, bad_url, new_secret
from daimon_mcp.operations import access
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.hook_secrets import HookSecrets
from daimon_mcp.operations.requests import ClientId, Id, Request, alias, refuse
from daimon_mcp.operations.telling import request_headers
from daimon_mcp.operations.views import Of, cursor, read_cursor
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import webhooks as rows
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import LAST_SEQ
from daimon_mcp.store.webhooks import StoredWebhook

MOST_TESTS = 30  # test calls of one account in a minute

_EXAMPLE = '"https://example.com/hooks/mail"'
_Url = Annotated[str, Field(min_length=1, max_length=MOST_URL, description="https://…; http:// on this machine only")]
_Events = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=60)]],
    Field(min_length=1, max_length=50, description='Names such as "message.received", or "*" for all'),
]
_ForInbox = Annotated[
    Id | None,
    Field(validation_alias=alias("inbox", "inbox_id"), description="id or address; left out, the whole account"),
]
_Description = Annotated[str, Field(max_length=200)]
_HookId = Annotated[Id, Field(description="wh_ id")]


class CreateWebhook(Request):
    url: _Url
    events: _Events
    inbox: _ForInbox = None
    description: _Description = ""
    client_id: Annotated[ClientId | None, Field(description="Makes a repeated call safe")] = None


class ListWebhooks(Request):
    inbox: Annotated[
        Id | None, Field(validation_alias=alias("inbox", "inbox_id"), description="Only those of this inbox")
    ] = None
    status: Literal["active", "unhealthy", "disabled"] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


class GetWebhook(Request):
    webhook_id: _HookId


class UpdateWebhook(Request):
    """What is left out stays; `inbox` null makes it one of the whole account."""

    webhook_id: _HookId
    url: _Url | None = None
    events: _Events | None = None
    inbox: _ForInbox = None
    description: _Description | None = None
    status: Annotated[
        Literal["active", "disabled"] | None, Field(description="disabled pauses it; active forgets its failures")
    ] = None


class DeleteWebhook(Request):
    webhook_id: _HookId


class RotateWebhookSecret(Request):
    webhook_id: _HookId
    overlap_hours: Annotated[int, Field(ge=0, le=168, description="How long the old secret signs too")] = 24


class TryWebhook(Request):
    webhook_id: _HookId


class Webhooks:
    """The verbs of webhooks. Inbox keys have those of their inbox alone; account keys all."""

    def __init__(self, core: Core, secrets: HookSecrets) -> None:
        self._core = core
        self._secrets = secrets
        self._tests: dict[int, list[int]] = {}

    async def own(self, actor: Actor, reference: str) -> StoredWebhook:
        """A webhook this actor may see. Raises WEBHOOK_NOT_FOUND."""
        hook = await rows.by_id(self._core.database, canonical_id(reference))
        if (
            hook is None
            or hook.account_no != actor.account_no
            or (actor.inbox_no is not None and hook.inbox_no != actor.inbox_no)
        ):
            raise Refused(RefusalCode.WEBHOOK_NOT_FOUND)
        return hook

    @staticmethod
    def check_grants(actor: Actor, events: Iterable[str]) -> None:
        """Raise FORBIDDEN when a webhook would be told what its maker may not read."""
        if tells_of_mail(events):
            actor.require("message_read")

    def _check_url(self, url: str) -> str:
        policy = self._core.policy
        url = url.strip()
        problem = bad_url(url, loopback=policy.hooks_on_loopback, private=policy.hooks_on_site)
        if problem is not None:
            raise invalid("url", problem, _EXAMPLE)
        return url

    async def _inbox(self, actor: Actor, reference: str | None) -> Inbox | None:
        """The inbox a webhook is for; an inbox key's own, where none is named."""
        if reference is None and actor.inbox_no is None:
            return None
        return await access.inbox(self._core, actor, reference)

    async def create_webhook(self, actor: Actor, request: CreateWebhook) -> Outcome:
        """Have events posted to a URL. The secret that signs them is shown once.

        The same `client_id` answers with the webhook there is. Raises INVALID_REQUEST, INBOX_NOT_FOUND, FORBIDDEN,
        IDEMPOTENCY_CONFLICT when a `client_id` was used for another URL, inbox or other events.
        """
        actor.require("webhook_write")
        url, names = self._check_url(request.url), event_names(request.events)
        self.check_grants(actor, names)
        inbox = await self._inbox(actor, request.inbox)
        now = self._core.clock.now()
        public_id, secret = new_id("wh", now), new_secret()
        sealed = self._secrets.sealed(public_id, secret)
        inbox_no, packed = inbox.no if inbox else None, packed_names(names)

        def run(tx: Transaction) -> tuple[StoredWebhook, bool]:
            if request.client_id is not None:
                row = tx.one(
                    sql.webhook_by_client_id, account_no=actor.account_no, client_id=self._client_id(actor, request)
                )
                if row is not None:
                    there = rows.webhook_of(row)
                    if (there.url, there.events, there.inbox_no) != (url, packed, inbox_no):
                        raise Refused(RefusalCode.IDEMPOTENCY_CONFLICT, facts={"message": there.id})
                    return there, False
            if tx.scalar(sql.webhooks_count, account_no=actor.account_no) >= MOST_WEBHOOKS:
                raise invalid("url", f"an account has at most {MOST_WEBHOOKS} webhooks; delete one first")
            number: int = tx.scalar(
                sql.webhook_insert,
                id=public_id,
                account_no=actor.account_no,
                inbox_no=inbox_no,
                client_id=self._client_id(actor, request),
                url=url,
                description=request.description,
                events=packed,
                secret=sealed,
                status="active",
                created_at=now,
                updated_at=now,
            )
            note(tx, actor, "create_webhook", public_id, now=now, inbox=inbox.id if inbox else None)
            return _there(tx, number), True

        hook, made = await self._core.database.write(run)
        result = _view(hook, now)
        if made:
            result["secret"] = secret
        return Outcome(key="create_webhook" + ("" if made else ".existing"), result=result, facts={"webhook": hook.id})

    @staticmethod
    def _client_id(actor: Actor, request: CreateWebhook) -> str | None:
        """An inbox key's are its own: what others used must not be felt."""
        if request.client_id is None or actor.inbox_no is None:
            return request.client_id
        return f"{actor.inbox_no}:{request.client_id}"

    async def list_webhooks(self, actor: Actor, request: ListWebhooks) -> Outcome:
        """Webhooks, newest first, without their secrets. Raises INBOX_NOT_FOUND."""
        actor.require("webhook_read")
        inbox = await self._inbox(actor, request.inbox)
        found = await self._core.database.all(
            sql.webhooks_page,
            account_no=actor.account_no,
            before=read_cursor(request.cursor, Of.WEBHOOKS) if request.cursor else LAST_SEQ,
            only_inbox=inbox.no if inbox else 0,
            status=request.status or "",
            limit=request.limit + 1,
        )
        page = [rows.webhook_of(row) for row in found[: request.limit]]
        more = len(found) > request.limit
        now = self._core.clock.now()
        result = {
            "webhooks": [_view(each, now) for each in page],
            "has_more": more,
            "next_cursor": cursor(Of.WEBHOOKS, page[-1].no) if more else None,
        }
        return Outcome(key="list_webhooks" + ("" if page else ".none"), result=result, facts={"shown": len(page)})

    async def get_webhook(self, actor: Actor, request: GetWebhook) -> Outcome:
        """One webhook. Raises WEBHOOK_NOT_FOUND."""
        actor.require("webhook_read")
        hook = await self.own(actor, request.webhook_id)
        return self._shown("get_webhook", hook)

    async def update_webhook(self, actor: Actor, request: UpdateWebhook) -> Outcome:
        """Change a webhook, pause it (disabled), or let it go on (active). What happens while it is paused is not
        queued for it. Raises WEBHOOK_NOT_FOUND, INVALID_REQUEST, INBOX_NOT_FOUND, FORBIDDEN."""
        actor.require("webhook_write")
        hook = await self.own(actor, request.webhook_id)
        given = request.model_fields_set - {"webhook_id"}
        if not given:
            raise invalid("url", "something to change is required", _EXAMPLE)
        url = hook.url if request.url is None else self._check_url(request.url)
        names = unpacked_names(hook.events) if request.events is None else event_names(request.events)
        self.check_grants(actor, names)
        inbox_no = hook.inbox_no
        if "inbox" in given:
            if request.inbox is None and actor.inbox_no is not None:
                actor.require_account()
            inbox = await self._inbox(actor, request.inbox)
            inbox_no = inbox.no if inbox else None
        now = self._core.clock.now()

        def run(tx: Transaction) -> StoredWebhook:
            current = rows.in_tx(tx, hook.no)
            if current is None or current.deleted_at is not None:
                raise Refused(RefusalCode.WEBHOOK_NOT_FOUND)
            tx.run(
                sql.webhook_update,
                webhook_no=hook.no,
                new_url=url,
                new_description=current.description if request.description is None else request.description,
                new_events=packed_names(names),
                new_inbox_no=inbox_no,
                now=now,
            )
            if request.status == "active":
                tx.run(sql.webhook_activate, webhook_no=hook.no, now=now)
                tx.run(sql.hook_all_due, webhook_no=hook.no, now=now)
                tx.announce(HookChanged(hook.no))
            elif request.status == "disabled":
                tx.run(sql.webhook_disable, webhook_no=hook.no, now=now, why="paused by request")
            note(tx, actor, "update_webhook", hook.id, now=now, status=request.status)
            return _there(tx, hook.no)

        return self._shown("update_webhook", await self._core.database.write(run))

    async def delete_webhook(self, actor: Actor, request: DeleteWebhook) -> Outcome:
        """End a webhook at once; what waits for it is dropped. Raises WEBHOOK_NOT_FOUND."""
        actor.require("webhook_write")
        hook = await self.own(actor, request.webhook_id)
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            if tx.run(sql.webhook_delete, webhook_no=hook.no, now=now) == 0:
                raise Refused(RefusalCode.WEBHOOK_NOT_FOUND)
            note(tx, actor, "delete_webhook", hook.id, now=now)
            tx.announce(HookChanged(hook.no))

        await self._core.database.write(run)
        result = {"id": hook.id, "success": True, "status": "deleted", "deleted_at": iso(now)}
        return Outcome(key="delete_webhook", result=result)

    async def rotate_secret(self, actor: Actor, request: RotateWebhookSecret) -> Outcome:
        """A new secret, shown once; the old one signs beside it for a while. Raises WEBHOOK_NOT_FOUND, FORBIDDEN."""
        actor.require("webhook_write")
        hook = await self.own(actor, request.webhook_id)
        self.check_grants(actor, unpacked_names(hook.events))
        secret, now = new_secret(), self._core.clock.now()
        sealed = self._secrets.sealed(hook.id, secret)
        until = now + request.overlap_hours * HOUR

        def run(tx: Transaction) -> StoredWebhook:
            current = rows.in_tx(tx, hook.no)
            if current is None or current.deleted_at is not None:
                raise Refused(RefusalCode.WEBHOOK_NOT_FOUND)
            overlaps = until > now
            tx.run(
                sql.webhook_rotate,
                webhook_no=hook.no,
                new_secret=sealed,
                replaced_secret=current.secret if overlaps else None,
                until=until if overlaps else None,
                now=now,
            )
            note(tx, actor, "rotate_webhook_secret", hook.id, now=now)
            return _there(tx, hook.no)

        changed = await self._core.database.write(run)
        result = {**_view(changed, now), "secret": secret}
        facts: dict[str, Fact] = {"webhook": hook.id, "hours": request.overlap_hours or None}
        return Outcome(key="rotate_webhook_secret", result=result, facts=facts)

    async def test_webhook(self, actor: Actor, request: TryWebhook) -> Outcome:
        """Post a `webhook.test` event now and say what came of it; it counts for nothing.

        What the receiver answered is its own words: data. Raises WEBHOOK_NOT_FOUND, RATE_LIMIT_EXCEEDED.
        """
        actor.require("webhook_write")
        hook = await self.own(actor, request.webhook_id)
        now = self._core.clock.now()
        self._count_test(actor.account_no, now)
        event_id = new_id("evt", now)
        await self._core.database.write(lambda tx: note(tx, actor, "test_webhook", hook.id, now=now))
        payload = wire_event(
            id=event_id,
            type=TEST,
            at=now,
            account_id=hook.account_id,
            inbox_id=hook.inbox_id,
            data={"webhook_id": hook.id, "events": unpacked_names(hook.events)},
        )
        body = orjson.dumps(payload)
        overlaps = hook.old_secret is not None and (hook.old_secret_until or 0) > now
        sealed = (hook.secret, hook.old_secret) if overlaps and hook.old_secret else (hook.secret,)
        secrets = [self._secrets.opened(hook.id, each) for each in sealed]
        answer = await self._core.posting().post(
            HookRequest(hook.url, request_headers(secrets, event_id, now, body), body)
        )
        result = {
            "webhook_id": hook.id,
            "event_id": event_id,
            "delivered": answer.is_success,
            "status_code": answer.status,
            "duration_ms": answer.took // 1000,
            "error": None if answer.is_success else answer.problem,
            "response": answer.body or None,
        }
        facts: dict[str, Fact] = {"webhook": hook.id, "code": answer.status, "ms": answer.took // 1000}
        end = "ok" if answer.is_success else "refused" if answer.status is not None else "unreachable"
        return Outcome(key=f"test_webhook.{end}", result=result, facts=facts)

    def _count_test(self, account_no: int, now: int) -> None:
        """Raise RATE_LIMIT_EXCEEDED for more than so many calls in a minute: they are for looking, not for knocking."""
        recent = [at for at in self._tests.get(account_no, ()) if at > now - MINUTE]
        if len(recent) >= MOST_TESTS:
            wait = -(-(recent[0] + MINUTE - now) // SECOND)
            facts = {"limit": MOST_TESTS}
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="TEST_CALLS", facts=facts, retry_after=wait)
        self._tests[account_no] = [*recent, now]

    def _shown(self, key: str, hook: StoredWebhook) -> Outcome:
        facts: dict[str, Fact] = {
            "webhook": hook.id,
            "status": str(hook.status),
            "failing": "yes" if hook.failures else None,
            "disabled": "yes" if hook.status == "disabled" else None,
        }
        return Outcome(key=key, result=_view(hook, self._core.clock.now()), facts=facts)


def _there(tx: Transaction, number: int) -> StoredWebhook:
    hook = rows.in_tx(tx, number)
    assert hook is not None
    return hook


def event_names(given: Sequence[str], field: str = "events") -> list[str]:
    """Events as we call them. Raises INVALID_REQUEST naming each that does not exist, and what was meant."""
    problems: list[FieldProblem] = []
    names: dict[str, None] = {}
    for index, name in enumerate(given):
        known = canonical_event(name)
        if known is None:
            near = near_event(name)
            hint = f"; did you mean {near}?" if near else f"; there are {', '.join(EVENTS)}, and {ALL} for all"
            problems.append(FieldProblem(f"{field}.{index}", f"is no event{hint}", '"message.received"'))
        else:
            names[known] = None
    if problems:
        raise refuse(problems)
    return list(names)


def _view(hook: StoredWebhook, now: int) -> dict[str, Any]:
    """A webhook as every answer shows it, without its secret."""
    overlaps = hook.old_secret is not None and (hook.old_secret_until or 0) > now
    return {
        "id": hook.id,
        "account_id": hook.account_id,
        "inbox_id": hook.inbox_id,
        "url": hook.url,
        "description": hook.description,
        "events": unpacked_names(hook.events),
        "status": str(hook.status),
        "disabled_reason": hook.disabled_why,
        "failure_count": hook.failures,
        "failing_since": iso_or_none(hook.failing_since),
        "last_error": hook.last_error,
        "last_delivered_at": iso_or_none(hook.last_delivered_at),
        "next_attempt_at": iso(hook.retry_at) if hook.retry_at > now + SECOND else None,
        **({"old_secret_until": iso_or_none(hook.old_secret_until)} if overlaps else {}),
        "created_at": iso(hook.created_at),
        "updated_at": iso(hook.updated_at),
    }
