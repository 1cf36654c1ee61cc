"""Statements about events and webhooks: see `statements.py`."""

from __future__ import annotations

from sqlalchemy import case, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from daimon_mcp.domain.webhooks import REPLAYS
from daimon_mcp.store import tables as base
from daimon_mcp.store import tables_events as t
from daimon_mcp.store.parts import b, insert_into, table_of

_accounts = table_of(base.Accounts)
_inboxes = table_of(base.Inboxes)
_keys = table_of(base.Keys)
_messages = table_of(base.Messages)
_threads = table_of(base.Threads)
_events = table_of(base.Events)
webhooks = table_of(t.Webhooks)
hook_deliveries = table_of(t.HookDeliveries)
hook_attempts = table_of(t.HookAttempts)
consumers = table_of(t.Consumers)

# -- the log of events -----------------------------------------------------------------------------------------------

event_add = insert_into(_events, "seq").returning(_events.c.seq)
_event = (
    select(
        _events.c.seq,
        _events.c.id,
        _events.c.type,
        _events.c.payload_json,
        _events.c.created_at,
        _events.c.inbox_no,
        _accounts.c.id.label("account_id"),
        _inboxes.c.id.label("inbox_id"),
        _inboxes.c.deleted_at.label("inbox_deleted_at"),
    )
    .join(_accounts, _accounts.c.no == _events.c.account_no)
    .outerjoin(_inboxes, _inboxes.c.no == _events.c.inbox_no)
)
event_by_seq = _event.where(_events.c.seq == b("event_seq"))
# `inbox_no` 0 is for all of the account; `types` are packed names, "" for all; `mail` 0 leaves out those of mail.
_seen = (
    _events.c.account_no == b("account_no"),
    or_(b("inbox_no") == 0, _events.c.inbox_no == b("inbox_no")),
    or_(b("types") == "", b("types").like("% " + _events.c.type + " %")),
    or_(b("mail") == 1, _events.c.type.notlike("message.%")),
)
events_after = (
    _event.where(*_seen, _events.c.seq > b("after"), _events.c.seq <= b("until"))
    .order_by(_events.c.seq)
    .limit(b("limit"))
)
events_latest = _event.where(*_seen, _events.c.seq <= b("until")).order_by(_events.c.seq.desc()).limit(b("limit"))
events_end = select(func.coalesce(func.max(_events.c.seq), 0)).where(_events.c.account_no == b("account_no"))

# Whether an inbox has written to a thread; `related` is the id of the one it was split from, or "".
thread_is_ours = (
    select(_messages.c.seq)
    .where(
        or_(
            _messages.c.thread_seq == b("thread_seq"),
            _messages.c.thread_seq == select(_threads.c.seq).where(_threads.c.id == b("related")).scalar_subquery(),
        ),
        _messages.c.direction == "outbound",
        _messages.c.sent_at.is_not(None),
    )
    .limit(1)
)

consumer_acked = select(consumers.c.acked_seq).where(
    consumers.c.account_no == b("account_no"), consumers.c.inbox_no == b("inbox_no"), consumers.c.name == b("name")
)
consumers_count = select(func.count()).select_from(consumers).where(consumers.c.account_no == b("account_no"))
_acknowledge = upsert(consumers).values(
    account_no=b("account_no"), inbox_no=b("inbox_no"), name=b("name"), acked_seq=b("seq"), updated_at=b("now")
)
consumer_acknowledge = _acknowledge.on_conflict_do_update(
    index_elements=["account_no", "inbox_no", "name"],
    set_={"acked_seq": _acknowledge.excluded.acked_seq, "updated_at": _acknowledge.excluded.updated_at},
    where=consumers.c.acked_seq < _acknowledge.excluded.acked_seq,
)
key_state = (
    select(_keys.c.revoked_at, _keys.c.expires_at, _accounts.c.status)
    .join(_accounts, _accounts.c.no == _keys.c.account_no)
    .where(_keys.c.id == b("id"))
)

# -- webhooks ----------------------------------------------------------------------------------------------------------

_mine = (webhooks.c.account_no == b("account_no"), webhooks.c.deleted_at.is_(None))
# Who is to be told of an event: `except_no` is left out, `pattern` finds its name in packed names.
hooks_matching = select(webhooks.c.no).where(
    *_mine,
    or_(webhooks.c.inbox_no.is_(None), webhooks.c.inbox_no == b("inbox_no")),
    webhooks.c.status != "disabled",
    or_(webhooks.c.events == "", webhooks.c.events.like(b("pattern"))),
    webhooks.c.no != b("except_no"),
)
_webhook = (
    select(
        webhooks.c.no,
        webhooks.c.id,
        webhooks.c.account_no,
        _accounts.c.id.label("account_id"),
        webhooks.c.inbox_no,
        _inboxes.c.id.label("inbox_id"),
        webhooks.c.client_id,
        webhooks.c.url,
        webhooks.c.description,
        webhooks.c.events,
        webhooks.c.secret,
        webhooks.c.old_secret,
        webhooks.c.old_secret_until,
        webhooks.c.status,
        webhooks.c.disabled_why,
        webhooks.c.failures,
        webhooks.c.failing_since,
        webhooks.c.retry_at,
        webhooks.c.last_delivered_at,
        webhooks.c.last_error,
        webhooks.c.created_at,
        webhooks.c.updated_at,
        webhooks.c.deleted_at,
        _accounts.c.status.label("account_status"),
    )
    .join(_accounts, _accounts.c.no == webhooks.c.account_no)
    .outerjoin(_inboxes, _inboxes.c.no == webhooks.c.inbox_no)
)
webhook_by_no = _webhook.where(webhooks.c.no == b("webhook_no"))
webhook_by_id = _webhook.where(webhooks.c.id == b("id"), webhooks.c.deleted_at.is_(None))
webhook_by_client_id = _webhook.where(*_mine, webhooks.c.client_id == b("client_id"))
# Newest first; `only_inbox` 0 and `status` "" are for all.
webhooks_page = (
    _webhook.where(
        *_mine,
        webhooks.c.no < b("before"),
        or_(b("only_inbox") == 0, webhooks.c.inbox_no == b("only_inbox")),
        or_(b("status") == "", webhooks.c.status == b("status")),
    )
    .order_by(webhooks.c.no.desc())
    .limit(b("limit"))
)
webhooks_count = select(func.count()).select_from(webhooks).where(*_mine)
webhook_insert = insert_into(
    webhooks, "no", "old_secret", "old_secret_until", "disabled_why", "failures", "failing_since", "retry_at",
    "last_delivered_at", "last_error", "deleted_at",
).returning(webhooks.c.no)  # fmt: skip
webhook_update = (
    update(webhooks)
    .where(webhooks.c.no == b("webhook_no"))
    .values(
        url=b("new_url"),
        description=b("new_description"),
        events=b("new_events"),
        inbox_no=b("new_inbox_no"),
        updated_at=b("now"),
    )
)
webhook_activate = (
    update(webhooks)
    .where(webhooks.c.no == b("webhook_no"))
    .values(status="active", disabled_why=None, failures=0, failing_since=None, retry_at=0, updated_at=b("now"))
)
webhook_disable = (
    update(webhooks)
    .where(webhooks.c.no == b("webhook_no"))
    .values(status="disabled", disabled_why=b("why"), updated_at=b("now"))
)
webhook_delete = (
    update(webhooks)
    .where(webhooks.c.no == b("webhook_no"), webhooks.c.deleted_at.is_(None))
    .values(deleted_at=b("now"), client_id=None, status="disabled")
)
webhook_rotate = (
    update(webhooks)
    .where(webhooks.c.no == b("webhook_no"))
    .values(secret=b("new_secret"), old_secret=b("replaced_secret"), old_secret_until=b("until"), updated_at=b("now"))
)
webhook_worked = (
    update(webhooks)
    .where(webhooks.c.no == b("webhook_no"))
    .values(
        status=case((webhooks.c.status == "unhealthy", "active"), else_=webhooks.c.status),
        failures=0,
        failing_since=None,
        retry_at=0,
        last_delivered_at=b("now"),
        last_error=None,
    )
)
webhook_failed = (
    update(webhooks)
    .where(webhooks.c.no == b("webhook_no"))
    .values(
        failures=webhooks.c.failures + 1,
        failing_since=func.coalesce(webhooks.c.failing_since, b("now")),
        retry_at=b("retry_at"),
        last_error=b("error"),
    )
)
webhook_unhealthy = update(webhooks).where(webhooks.c.no == b("webhook_no")).values(status="unhealthy")

# -- what is to be delivered -------------------------------------------------------------------------------------------

hook_delivery_insert = insert_into(hook_deliveries, "no", "attempts", "finished_at")
_waiting = hook_deliveries.c.state == "waiting"
hook_lanes = (
    select(hook_deliveries.c.webhook_no, hook_deliveries.c.lane)
    .distinct()
    .join(webhooks, webhooks.c.no == hook_deliveries.c.webhook_no)
    .where(_waiting, webhooks.c.status != "disabled")
)
hook_lanes_of = (
    select(hook_deliveries.c.lane).distinct().where(_waiting, hook_deliveries.c.webhook_no == b("webhook_no"))
)
_lane = (_waiting, hook_deliveries.c.webhook_no == b("webhook_no"), hook_deliveries.c.lane == b("lane"))
# What comes next in a lane: the oldest, unless it failed `patience` times and is not due; then one behind it.
hook_next = (
    select(
        hook_deliveries.c.no,
        hook_deliveries.c.event_seq,
        hook_deliveries.c.attempts,
        hook_deliveries.c.next_attempt_at,
        hook_deliveries.c.created_at,
    )
    .where(*_lane, or_(hook_deliveries.c.attempts < b("patience"), hook_deliveries.c.next_attempt_at <= b("now")))
    .order_by(hook_deliveries.c.no)
    .limit(1)
)
# When a lane whose next one is not due is to be looked at again.
hook_next_at = select(func.min(hook_deliveries.c.next_attempt_at)).where(*_lane, hook_deliveries.c.attempts > 0)
# First attempts that an earlier process was cut off in: made again at once, and only once so.
hook_cut_off = (
    update(hook_deliveries)
    .where(
        _waiting,
        hook_deliveries.c.attempts == 1,
        exists().where(hook_attempts.c.delivery_no == hook_deliveries.c.no, hook_attempts.c.ended_at.is_(None)),
    )
    .values(next_attempt_at=b("now"))
)
hook_attempt_begin = (
    update(hook_deliveries)
    .where(hook_deliveries.c.no == b("delivery_no"))
    .values(attempts=b("n"), next_attempt_at=b("again_at"))
)
hook_attempt_insert = insert_into(hook_attempts, "ended_at", "status", "error", "response_json")
hook_attempt_end = (
    update(hook_attempts)
    .where(hook_attempts.c.delivery_no == b("no"), hook_attempts.c.n == b("attempt"))
    .values(
        ended_at=b("now"), status=b("new_status"), error=b("new_error"), request_json=b("request"),
        response_json=b("response"),
    )
)  # fmt: skip
hook_finish = (
    update(hook_deliveries)
    .where(hook_deliveries.c.no == b("delivery_no"), _waiting)
    .values(state=b("new_state"), finished_at=b("now"))
)
hook_postpone = (
    update(hook_deliveries)
    .where(hook_deliveries.c.no == b("delivery_no"), _waiting)
    .values(next_attempt_at=b("again_at"))
)
# A receiver that was left alone is back: what waited for it is due.
hook_all_due = (
    update(hook_deliveries)
    .where(_waiting, hook_deliveries.c.webhook_no == b("webhook_no"), hook_deliveries.c.attempts > 0)
    .values(next_attempt_at=b("now"))
)
_by_lane = hook_deliveries.c.lane >= REPLAYS  # says nothing, but leads to the index of what waits
_idle = (
    select(hook_deliveries.c.no)
    .where(
        _waiting,
        hook_deliveries.c.webhook_no == b("webhook_no"),
        _by_lane,
        hook_deliveries.c.created_at < b("before"),
    )
    .order_by(hook_deliveries.c.no)
    .limit(b("limit"))
)
hooks_idle = select(webhooks.c.no, webhooks.c.deleted_at).where(
    webhooks.c.status == "disabled",
    exists().where(_waiting, hook_deliveries.c.webhook_no == webhooks.c.no, _by_lane),
)
hook_give_up = (
    update(hook_deliveries).where(hook_deliveries.c.no.in_(_idle)).values(state=b("new_state"), finished_at=b("now"))
)

# -- the log of deliveries ---------------------------------------------------------------------------------------------

_delivery = select(
    hook_deliveries.c.no,
    hook_deliveries.c.id,
    hook_deliveries.c.webhook_no,
    hook_deliveries.c.event_seq,
    hook_deliveries.c.lane,
    hook_deliveries.c.state,
    hook_deliveries.c.attempts,
    hook_deliveries.c.next_attempt_at,
    hook_deliveries.c.created_at,
    hook_deliveries.c.finished_at,
    _events.c.id.label("event_id"),
    _events.c.type,
).join(_events, _events.c.seq == hook_deliveries.c.event_seq)
hook_deliveries_page = (
    _delivery.where(
        hook_deliveries.c.webhook_no == b("webhook_no"),
        hook_deliveries.c.no < b("before"),
        or_(b("state") == "", hook_deliveries.c.state == b("state")),
    )
    .order_by(hook_deliveries.c.no.desc())
    .limit(b("limit"))
)
hook_delivery_by_id = _delivery.where(hook_deliveries.c.id == b("id"), hook_deliveries.c.webhook_no == b("webhook_no"))
hook_attempts_between = (
    select(
        hook_attempts.c.delivery_no,
        hook_attempts.c.n,
        hook_attempts.c.started_at,
        hook_attempts.c.ended_at,
        hook_attempts.c.status,
        hook_attempts.c.error,
        hook_attempts.c.request_json,
        hook_attempts.c.response_json,
    )
    .join(hook_deliveries, hook_deliveries.c.no == hook_attempts.c.delivery_no)
    .where(hook_attempts.c.delivery_no.between(b("first"), b("last")), hook_deliveries.c.webhook_no == b("webhook_no"))
    .order_by(hook_attempts.c.delivery_no, hook_attempts.c.n)
)
# Events whose telling failed since a time, and that are not told again already: what a replay sends again.
_later = hook_deliveries.alias("later")
hook_failed_since = (
    select(hook_deliveries.c.event_seq)
    .distinct()
    .where(
        hook_deliveries.c.webhook_no == b("webhook_no"),
        hook_deliveries.c.created_at >= b("since"),
        hook_deliveries.c.state == "failed",
        hook_deliveries.c.event_seq.not_in(
            select(_later.c.event_seq).where(
                _later.c.webhook_no == b("webhook_no"),
                _later.c.created_at >= b("since"),
                _later.c.state.in_(("waiting", "delivered")),
            )
        ),
    )
    .order_by(hook_deliveries.c.event_seq)
    .limit(b("limit"))
)

_finished = (
    select(hook_deliveries.c.no)
    .where(hook_deliveries.c.finished_at < b("before"))
    .order_by(hook_deliveries.c.finished_at)
    .limit(b("limit"))
)
hook_attempts_prune = delete(hook_attempts).where(hook_attempts.c.delivery_no.in_(_finished))
hook_deliveries_prune = delete(hook_deliveries).where(hook_deliveries.c.no.in_(_finished))
webhooks_prune = delete(webhooks).where(
    webhooks.c.deleted_at < b("before"),
    ~exists().where(hook_deliveries.c.webhook_no == webhooks.c.no),
)
