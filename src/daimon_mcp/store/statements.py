"""Every statement of the store, built once with SQLAlchemy Core from the tables.

`python -m daimon_mcp.store.generate` compiles them to text for each engine into `compiled.py`, which is all that is
loaded at run time: starting up costs no SQLAlchemy, and SQL stays in one portable place (no sequences for
order, no OFFSET, no LIKE case rules, no count(*) on request paths).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from daimon_mcp.store import tables as t
from daimon_mcp.store.parts import b, insert_into, insert_once, table_of

meta = table_of(t.Meta)
accounts = table_of(t.Accounts)
keys = table_of(t.Keys)
inboxes = table_of(t.Inboxes)
mailboxes = table_of(t.Mailboxes)
expunged = table_of(t.Expunged)
messages = table_of(t.Messages)
bodies = table_of(t.Bodies)
attachments = table_of(t.Attachments)
uploads = table_of(t.Uploads)
lists = table_of(t.Lists)
changes = table_of(t.Changes)
labels = table_of(t.Labels)
threads = table_of(t.Threads)
refs = table_of(t.Refs)
blobs = table_of(t.Blobs)
drafts = table_of(t.Drafts)
queue = table_of(t.Queue)
deliveries = table_of(t.Deliveries)
attempts = table_of(t.Attempts)
idempotency = table_of(t.Idempotency)
usages = table_of(t.Usages)
events = table_of(t.Events)
approvals = table_of(t.Approvals)
upstreams = table_of(t.Upstreams)
fetched = table_of(t.Fetched)
ingested = table_of(t.Ingested)
incoming = table_of(t.Incoming)
suppressions = table_of(t.Suppressions)
domains = table_of(t.Domains)
dkimkeys = table_of(t.DkimKeys)
sts_policies = table_of(t.StsPolicies)

# -- meta ------------------------------------------------------------------------------------------------------------

meta_get = select(meta.c.value).where(meta.c.key == b("key"))
_meta_put = upsert(meta).values(key=b("key"), value=b("value"))
meta_put = _meta_put.on_conflict_do_update(index_elements=["key"], set_={"value": _meta_put.excluded.value})

# -- accounts and keys -----------------------------------------------------------------------------------------------

account_insert = insert_into(
    accounts, "no", "smtp_version", "smtp_rotated_at", "sending_stopped_at", "sending_stopped_why"
).returning(accounts.c.no)
_account = select(
    accounts.c.no,
    accounts.c.id,
    accounts.c.tier,
    accounts.c.status,
    accounts.c.created_at,
    accounts.c.smtp_version,
    accounts.c.smtp_rotated_at,
    accounts.c.sending_stopped_at,
    accounts.c.sending_stopped_why,
)
account_by_no = _account.where(accounts.c.no == b("account_no"))
account_by_id = _account.where(accounts.c.id == b("id"))
account_list = _account.where(accounts.c.kind == "agent").order_by(accounts.c.no)
account_set_tier = update(accounts).where(accounts.c.no == b("account_no")).values(tier=b("tier"))
account_set_status = update(accounts).where(accounts.c.no == b("account_no")).values(status=b("status"))
account_rotate_smtp = (
    update(accounts)
    .where(accounts.c.no == b("account_no"))
    .values(smtp_version=accounts.c.smtp_version + 1, smtp_rotated_at=b("now"))
)
account_stop_sending = (
    update(accounts)
    .where(accounts.c.no == b("account_no"), accounts.c.sending_stopped_at.is_(None))
    .values(sending_stopped_at=b("now"), sending_stopped_why=b("why"))
)
account_resume_sending = (
    update(accounts)
    .where(accounts.c.no == b("account_no"), accounts.c.sending_stopped_at.is_not(None))
    .values(sending_stopped_at=None, sending_stopped_why=None)
)

key_insert = insert_into(keys, "no", "last_used_at", "revoked_at", "untrusted_at")
key_by_hash = (
    select(
        keys.c.id,
        keys.c.account_no,
        accounts.c.id.label("account_id"),
        keys.c.inbox_no,
        keys.c.permissions_json,
        keys.c.expires_at,
        keys.c.last_used_at,
        accounts.c.status,
    )
    .join(accounts, accounts.c.no == keys.c.account_no)
    .where(keys.c.sha256 == b("sha256"), keys.c.revoked_at.is_(None))
)
key_touch = update(keys).where(keys.c.id == b("id")).values(last_used_at=b("now"))
key_revoke = (
    update(keys)
    .where(keys.c.id == b("id"), keys.c.account_no == b("account_no"), keys.c.revoked_at.is_(None))
    .values(revoked_at=b("now"))
    .returning(keys.c.id)
)
keys_revoke_inbox = (
    update(keys)
    .where(keys.c.inbox_no == b("inbox_no"), keys.c.revoked_at.is_(None))
    .values(revoked_at=b("now"))
    .returning(keys.c.id)
)
key_expire = (
    update(keys)
    .where(keys.c.id == b("id"), keys.c.revoked_at.is_(None))
    .values(expires_at=b("new_expires_at"))
    .returning(keys.c.id)
)
_expiring = and_(keys.c.revoked_at.is_(None), keys.c.expires_at.is_not(None))
keys_end_expired = (
    update(keys).where(_expiring, keys.c.expires_at <= b("now")).values(revoked_at=b("now")).returning(keys.c.id)
)
keys_next_expiry = select(func.min(keys.c.expires_at)).where(_expiring)
key_untrusted = select(keys.c.untrusted_at).where(keys.c.id == b("id"))
keys_untrusted_latest = select(func.max(keys.c.untrusted_at)).where(keys.c.account_no == b("account_no"))
key_read_untrusted = update(keys).where(keys.c.id == b("id")).values(untrusted_at=b("now"))
_key = (
    select(
        keys.c.id,
        keys.c.hint,
        keys.c.name,
        inboxes.c.address,
        keys.c.permissions_json,
        keys.c.created_at,
        keys.c.last_used_at,
        keys.c.expires_at,
        keys.c.revoked_at,
        keys.c.inbox_no,
    )
    .join(inboxes, inboxes.c.no == keys.c.inbox_no, isouter=True)
    .where(keys.c.account_no == b("account_no"))
)
keys_of_account = _key.order_by(keys.c.no)
key_of_account = _key.where(keys.c.id == b("id"))
key_hint = select(keys.c.hint).where(keys.c.id == b("id"))
# Months of usage begin with `m`, days with `d`.
account_sent = select(func.coalesce(func.sum(usages.c.used), 0)).where(
    usages.c.account_no == b("account_no"), usages.c.period >= "m", usages.c.period < "n"
)
account_bounced = (
    select(func.count())
    .select_from(queue.join(deliveries, deliveries.c.queue_no == queue.c.no))
    .where(queue.c.account_no == b("account_no"), deliveries.c.state == "bounced")
)
account_complained = (
    select(func.count())
    .select_from(suppressions)
    .where(suppressions.c.account_no == b("account_no"), suppressions.c.why == "complained")
)

# -- inboxes and mailboxes -------------------------------------------------------------------------------------------

inbox_insert = insert_into(
    inboxes,
    "no",
    "next_n",
    "change_seq",
    "message_count",
    "unread_count",
    "thread_count",
    "storage_bytes",
    "last_received_at",
    "deleted_at",
    "oversight",
    "after_untrusted",
    "paused",
).returning(inboxes.c.no)
_inbox = select(
    inboxes.c.no,
    inboxes.c.id,
    inboxes.c.account_no,
    inboxes.c.address,
    inboxes.c.display_name,
    inboxes.c.status,
    inboxes.c.metadata_json,
    inboxes.c.message_count,
    inboxes.c.unread_count,
    inboxes.c.thread_count,
    inboxes.c.last_received_at,
    inboxes.c.created_at,
    inboxes.c.deleted_at,
    inboxes.c.oversight,
    inboxes.c.after_untrusted,
    inboxes.c.paused,
)
inbox_by_id = _inbox.where(inboxes.c.id == b("id"), inboxes.c.deleted_at.is_(None))
inbox_by_address = _inbox.where(inboxes.c.address == b("address"), inboxes.c.deleted_at.is_(None))
inbox_by_no = _inbox.where(inboxes.c.no == b("inbox_no"))
inbox_by_client_id = _inbox.where(inboxes.c.account_no == b("account_no"), inboxes.c.client_id == b("client_id"))
inboxes_page = (
    _inbox.where(
        inboxes.c.account_no == b("account_no"),
        inboxes.c.deleted_at.is_(None),
        inboxes.c.no < b("before"),
        or_(b("only_inbox") == 0, inboxes.c.no == b("only_inbox")),
    )
    .order_by(inboxes.c.no.desc())
    .limit(b("limit"))
)
inboxes_starting = (
    select(inboxes.c.id, inboxes.c.address)
    .where(
        inboxes.c.account_no == b("account_no"),
        inboxes.c.deleted_at.is_(None),
        or_(b("only_inbox") == 0, inboxes.c.no == b("only_inbox")),
        or_(
            func.substr(inboxes.c.address, 1, b("length")) == b("prefix"),
            func.substr(inboxes.c.id, 1, b("length")) == b("prefix"),
        ),
    )
    .order_by(inboxes.c.no.desc())
    .limit(b("limit"))
)
inboxes_count = (
    select(func.count())
    .select_from(inboxes)
    .where(
        inboxes.c.account_no == b("account_no"),
        inboxes.c.deleted_at.is_(None),
        or_(b("only_inbox") == 0, inboxes.c.no == b("only_inbox")),
    )
)
inbox_address_in_use = (
    select(inboxes.c.no)
    .where(
        inboxes.c.address == b("address"),
        or_(inboxes.c.deleted_at.is_(None), inboxes.c.deleted_at > b("quarantined_since")),
    )
    .limit(1)
)
inboxes_created_since = (
    select(inboxes.c.created_at)
    .where(inboxes.c.account_no == b("account_no"), inboxes.c.created_at > b("since"))
    .order_by(inboxes.c.created_at)
)
# A new message takes its number and its place in the log of changes, and is counted, in one statement.
inbox_take = (
    update(inboxes)
    .where(inboxes.c.no == b("inbox_no"))
    .values(
        next_n=inboxes.c.next_n + 1,
        change_seq=inboxes.c.change_seq + 1,
        message_count=inboxes.c.message_count + b("messages"),
        unread_count=inboxes.c.unread_count + b("unread"),
        thread_count=inboxes.c.thread_count + b("threads"),
        storage_bytes=inboxes.c.storage_bytes + b("bytes"),
        last_received_at=func.coalesce(b("received_at"), inboxes.c.last_received_at),
    )
    .returning(inboxes.c.next_n - 1, inboxes.c.change_seq)
)
inbox_latest_change = select(inboxes.c.change_seq).where(inboxes.c.no == b("inbox_no"))
inbox_next_change = (
    update(inboxes)
    .where(inboxes.c.no == b("inbox_no"))
    .values(change_seq=inboxes.c.change_seq + 1)
    .returning(inboxes.c.change_seq)
)
inbox_count = (
    update(inboxes)
    .where(inboxes.c.no == b("inbox_no"))
    .values(
        message_count=inboxes.c.message_count + b("messages"),
        unread_count=inboxes.c.unread_count + b("unread"),
        thread_count=inboxes.c.thread_count + b("threads"),
        storage_bytes=inboxes.c.storage_bytes + b("bytes"),
        last_received_at=func.coalesce(b("received_at"), inboxes.c.last_received_at),
    )
)
inbox_update = (
    update(inboxes)
    .where(inboxes.c.no == b("inbox_no"))
    .values(display_name=b("new_display_name"), metadata_json=b("new_metadata"))
)
# How the inboxes that an account has are overseen: a further one is, too.
inboxes_overseen = (
    select(inboxes.c.oversight, inboxes.c.after_untrusted, inboxes.c.paused)
    .where(inboxes.c.account_no == b("account_no"), inboxes.c.deleted_at.is_(None))
    .distinct()
)
inbox_newest_overseen = (
    select(inboxes.c.oversight, inboxes.c.after_untrusted, inboxes.c.paused)
    .where(inboxes.c.account_no == b("account_no"))
    .order_by(inboxes.c.no.desc())
    .limit(1)
)
inbox_oversee = (
    update(inboxes)
    .where(inboxes.c.no == b("inbox_no"))
    .values(oversight=b("new_oversight"), after_untrusted=b("new_after_untrusted"), paused=b("new_paused"))
)
inbox_delete = (
    update(inboxes)
    .where(inboxes.c.no == b("inbox_no"), inboxes.c.deleted_at.is_(None))
    .values(deleted_at=b("now"), status="deleted")
    .returning(inboxes.c.id)
)

mailbox_insert = insert_into(mailboxes, "no", "uidnext", "highestmodseq", "total", "unseen")
mailbox_take_uid = (
    update(mailboxes)
    .where(mailboxes.c.inbox_no == b("inbox_no"), mailboxes.c.name == b("name"))
    .values(
        uidnext=mailboxes.c.uidnext + 1,
        highestmodseq=mailboxes.c.highestmodseq + 1,
        total=mailboxes.c.total + 1,
        unseen=mailboxes.c.unseen + b("unseen"),
    )
    .returning(mailboxes.c.no, mailboxes.c.uidnext - 1, mailboxes.c.highestmodseq)
)
mailbox_lose = (
    update(mailboxes)
    .where(mailboxes.c.no == b("mailbox_no"))
    .values(
        highestmodseq=mailboxes.c.highestmodseq + 1,
        total=mailboxes.c.total - 1,
        unseen=mailboxes.c.unseen - b("unseen"),
    )
    .returning(mailboxes.c.highestmodseq)
)
mailbox_touch = (
    update(mailboxes)
    .where(mailboxes.c.no == b("mailbox_no"))
    .values(highestmodseq=mailboxes.c.highestmodseq + 1, unseen=mailboxes.c.unseen + b("unseen"))
    .returning(mailboxes.c.highestmodseq)
)
expunged_insert = insert_into(expunged)
mailbox_by_name = select(mailboxes.c.no, mailboxes.c.total, mailboxes.c.unseen).where(
    mailboxes.c.inbox_no == b("inbox_no"), mailboxes.c.name == b("name")
)

# -- blobs -----------------------------------------------------------------------------------------------------------

blob_insert = insert_once(blobs)
blobs_in_files = select(blobs.c.hash, blobs.c.encoding).where(blobs.c.data.is_(None))
blob_get = select(blobs.c.size, blobs.c.encoding, blobs.c.data).where(blobs.c.hash == b("hash"))

# -- threads ---------------------------------------------------------------------------------------------------------

thread_insert = insert_into(
    threads, "seq", "message_count", "unread_count", "deleted_at", "related_seq", "merged_into"
).returning(threads.c.seq)
_related = threads.alias("related")
_thread = (
    select(
        threads.c.seq,
        threads.c.id,
        threads.c.inbox_no,
        inboxes.c.id.label("inbox_id"),
        threads.c.subject,
        threads.c.participants_json,
        threads.c.labels_json,
        threads.c.message_count,
        threads.c.unread_count,
        threads.c.created_at,
        threads.c.last_at,
        _related.c.id.label("related_id"),
        threads.c.merged_into,
    )
    .join(inboxes, inboxes.c.no == threads.c.inbox_no)
    .join(_related, _related.c.seq == threads.c.related_seq, isouter=True)
)
thread_by_id = _thread.where(
    threads.c.id == b("id"), inboxes.c.account_no == b("account_no"), inboxes.c.deleted_at.is_(None)
)


def _thread_page(inbox_no: ColumnElement[int], last_at: ColumnElement[int]) -> Any:
    return (
        _thread.where(
            inbox_no == b("inbox_no"),
            threads.c.message_count > 0,
            tuple_(last_at, threads.c.seq) < tuple_(b("before_at"), b("before")),
            last_at >= b("updated_from"),
            or_(b("unread") == 0, threads.c.unread_count > 0),
        )
        .order_by(threads.c.last_at.desc(), threads.c.seq.desc())
        .limit(b("limit"))
    )


threads_newest = _thread_page(threads.c.inbox_no, threads.c.last_at)
# The label's messages lead (`+ 0` keeps the planner from the inbox's index), so that a page costs what is labelled and
# not what the inbox holds.
_labelled = (
    select(messages.c.thread_seq)
    .join(labels, labels.c.seq == messages.c.seq)
    .where(
        messages.c.deleted_at.is_(None),
        messages.c.aside == 0,
        labels.c.inbox_no == b("inbox_no"),
        labels.c.label == b("label"),
    )
    .distinct()
    .subquery("labelled")
)
threads_labelled = _thread_page(threads.c.inbox_no + 0, threads.c.last_at + 0).join(
    _labelled, _labelled.c.thread_seq == threads.c.seq
)
_has_label = exists(
    select(labels.c.seq)
    .join(messages, messages.c.seq == labels.c.seq)
    .where(
        messages.c.thread_seq == threads.c.seq,
        messages.c.deleted_at.is_(None),
        messages.c.aside == 0,
        labels.c.label == b("label"),
    )
)


def _threads_browsed(at: ColumnElement[int], *, newest: bool) -> Any:
    """Threads of an inbox or of the whole account in any order; `from_at` and `from_seq` are the place to go on."""
    place, start = tuple_(at, threads.c.seq), tuple_(b("from_at"), b("from_seq"))
    order = (at.desc(), threads.c.seq.desc()) if newest else (at, threads.c.seq)
    return (
        _thread.where(
            inboxes.c.account_no == b("account_no"),
            inboxes.c.deleted_at.is_(None),
            or_(b("only_inbox") == 0, threads.c.inbox_no == b("only_inbox")),
            threads.c.message_count > 0,
            place < start if newest else place > start,
            threads.c.last_at >= b("updated_from"),
            threads.c.last_at < b("updated_to"),
            or_(b("unread") == 0, threads.c.unread_count > 0),
            or_(b("label") == "", _has_label),
        )
        .order_by(*order)
        .limit(b("limit"))
    )


threads_updated_newest = _threads_browsed(threads.c.last_at, newest=True)
threads_updated_oldest = _threads_browsed(threads.c.last_at, newest=False)
threads_created_newest = _threads_browsed(threads.c.created_at, newest=True)
threads_created_oldest = _threads_browsed(threads.c.created_at, newest=False)
threads_by_subject = (
    select(threads.c.seq, threads.c.subject, threads.c.participants_json, threads.c.last_at)
    .where(
        threads.c.inbox_no == b("inbox_no"),
        threads.c.base_subject == b("base_subject"),
        threads.c.last_at >= b("since"),
        threads.c.message_count > 0,
    )
    .order_by(threads.c.last_at.desc(), threads.c.seq.desc())
    .limit(20)
)
thread_relate = update(threads).where(threads.c.seq == b("thread_seq")).values(related_seq=b("related"))
thread_set_labels = update(threads).where(threads.c.seq == b("thread_seq")).values(labels_json=b("labels_json_"))
thread_label_union = (
    select(labels.c.label)
    .join(messages, messages.c.seq == labels.c.seq)
    .where(messages.c.thread_seq == b("thread_seq"), messages.c.deleted_at.is_(None), messages.c.aside == 0)
    .distinct()
    .order_by(labels.c.label)
)
thread_move_messages = update(messages).where(messages.c.thread_seq == b("from_seq")).values(thread_seq=b("to_seq"))
thread_move_refs = (
    update(refs)
    .where(refs.c.inbox_no == b("inbox_no"), refs.c.thread_seq == b("from_seq"))
    .values(thread_seq=b("to_seq"))
)
thread_by_seq = _thread.where(threads.c.seq == b("thread_seq"))
thread_merge = (
    update(threads)
    .where(threads.c.seq == b("from_seq"))
    .values(message_count=0, unread_count=0, labels_json="[]", merged_into=b("to_seq"))
)
thread_move_merged = update(threads).where(threads.c.merged_into == b("from_seq")).values(merged_into=b("to_seq"))
# What a message answers, or was answered with, as its thread's rules look at it.
thread_oldest = (
    select(messages.c.kind, messages.c.subject, bodies.c.text)
    .join(bodies, bodies.c.seq == messages.c.seq)
    .where(messages.c.thread_seq == b("thread_seq"))
    .order_by(messages.c.seq)
    .limit(1)
)
thread_parent = (
    select(messages.c.subject, bodies.c.text)
    .join(bodies, bodies.c.seq == messages.c.seq)
    .where(messages.c.thread_seq == b("thread_seq"), func.lower(messages.c.message_id) == b("message_id"))
    .order_by(messages.c.seq)
    .limit(1)
)
messages_of_id = (
    select(messages.c.subject, messages.c.thread_seq)
    .where(messages.c.inbox_no == b("inbox_no"), messages.c.message_id == b("message_id"))
    .order_by(messages.c.seq)
    .limit(20)
)
thread_move_related = update(threads).where(threads.c.related_seq == b("from_seq")).values(related_seq=b("to_seq"))
thread_counts = select(
    threads.c.id,
    threads.c.message_count,
    threads.c.unread_count,
    threads.c.participants_json,
    threads.c.labels_json,
    threads.c.subject,
    threads.c.base_subject,
    threads.c.created_at,
    threads.c.last_at,
    threads.c.related_seq,
).where(threads.c.seq == b("thread_seq"))
thread_absorb = (
    update(threads)
    .where(threads.c.seq == b("thread_seq"))
    .values(
        message_count=b("messages"),
        unread_count=b("unread"),
        participants_json=b("participants_json_"),
        labels_json=b("labels_json_"),
        subject=b("subject_"),
        base_subject=b("base_subject_"),
        created_at=b("created_at_"),
        last_at=b("last_at_"),
    )
)
thread_message_ids = (
    select(messages.c.seq, messages.c.id)
    .where(messages.c.thread_seq == b("thread_seq"), messages.c.deleted_at.is_(None), messages.c.seq > b("after"))
    .order_by(messages.c.seq)
    .limit(b("limit"))
)
thread_add = (
    update(threads)
    .where(threads.c.seq == b("thread_seq"))
    .values(
        message_count=threads.c.message_count + b("messages"),
        unread_count=threads.c.unread_count + b("unread"),
        last_at=case((b("at") > threads.c.last_at, b("at")), else_=threads.c.last_at),
        participants_json=b("participants_json"),
    )
    .returning(threads.c.message_count)
)
thread_count = (
    update(threads)
    .where(threads.c.seq == b("thread_seq"))
    .values(message_count=threads.c.message_count + b("messages"), unread_count=threads.c.unread_count + b("unread"))
    .returning(threads.c.message_count)
)
ref_find = select(refs.c.thread_seq).where(refs.c.inbox_no == b("inbox_no"), refs.c.message_id == b("message_id"))
ref_insert = insert_once(refs)
ref_point = (
    update(refs)
    .where(refs.c.inbox_no == b("inbox_no"), refs.c.message_id == b("message_id"))
    .values(thread_seq=b("to_seq"))
)

# -- messages --------------------------------------------------------------------------------------------------------

message_insert = insert_into(messages, "answered", "flagged", "deleted_at", "purge_at")
body_insert = insert_into(bodies)
body_replace = (
    update(bodies)
    .where(bodies.c.seq == b("seq"))
    .values({c.name: b(c.name + "_") for c in bodies.c if c.name != "seq"})
)
attachment_insert = insert_into(attachments, "no", "text", "text_tries", "text_facts_json")
attachments_of = (
    select(
        attachments.c.id,
        attachments.c.part,
        attachments.c.filename,
        attachments.c.content_type,
        attachments.c.content_id,
        attachments.c.disposition,
        attachments.c.size,
        attachments.c.text_status,
        func.length(attachments.c.text).label("text_length"),
    )
    .where(attachments.c.seq == b("seq"))
    .order_by(attachments.c.no)
)
label_insert = insert_once(labels)
labels_delete = delete(labels).where(labels.c.seq == b("seq"))

# What lists show; the rest of a message comes after it.
_listed = (
    messages.c.seq,
    messages.c.id,
    inboxes.c.id.label("inbox_id"),
    threads.c.id.label("thread_id"),
    mailboxes.c.name.label("mailbox"),
    messages.c.direction,
    messages.c.status,
    messages.c.kind,
    messages.c.message_id,
    messages.c.from_address,
    messages.c.from_name,
    messages.c.to_json,
    messages.c.cc_json,
    messages.c.bcc_json,
    messages.c.tag,
    messages.c.subject,
    messages.c.preview,
    messages.c.labels_json,
    messages.c.has_attachments,
    messages.c.seen,
    messages.c.size,
    messages.c.est_tokens,
    messages.c.received_at,
    messages.c.sent_at,
    messages.c.send_at,
    messages.c.hold_reason,
    messages.c.linked_by,
    messages.c.new_participant,
)
_rest = (
    messages.c.inbox_no,
    messages.c.in_reply_to,
    messages.c.references_json,
    messages.c.reply_to_json,
    messages.c.blob_hash,
    messages.c.draft_id,
    messages.c.date,
    messages.c.deleted_at,
    messages.c.thread_seq,
    messages.c.mailbox_no,
    messages.c.uid,
    messages.c.flagged,
    messages.c.answered,
    messages.c.came_n,
)


def _with_names(row: Any) -> Any:
    return row.join(threads, threads.c.seq == messages.c.thread_seq).join(
        mailboxes, mailboxes.c.no == messages.c.mailbox_no
    )


_joined = _with_names(select(*_listed, *_rest).select_from(messages).join(inboxes, inboxes.c.no == messages.c.inbox_no))
# A page is of one inbox, whose id the caller knows: one look-up less for each row.
_shown_rows = _with_names(
    select(*(b("inbox_id").label("inbox_id") if each.name == "inbox_id" else each for each in _listed)).select_from(
        messages
    )
)
message_by_id = _joined.where(messages.c.id == b("id"))
message_by_seq = _joined.where(messages.c.seq == b("seq"))
message_by_message_id = _joined.where(
    messages.c.inbox_no == b("inbox_no"), messages.c.message_id == b("message_id"), messages.c.deleted_at.is_(None)
).limit(1)
body_by_seq = select(
    bodies.c.text,
    bodies.c.reply_text,
    bodies.c.html,
    bodies.c.links_json,
    bodies.c.warnings_json,
    bodies.c.authentication_json,
    bodies.c.reading_json,
).where(bodies.c.seq == b("seq"))
# A page is read off the primary key: seq says the inbox, and `+ 0` keeps the planner from an index by inbox_no, which
# would collect and sort the whole inbox for every page.
_in_inbox = messages.c.inbox_no + 0 == b("inbox_no")
# The index of unread mail: what is unread is found without going through what was read.
_unread = and_(messages.c.inbox_no == b("inbox_no"), messages.c.seen == 0)
_matching = and_(
    messages.c.deleted_at.is_(None),
    or_(b("direction") == "", messages.c.direction == b("direction")),
    or_(b("kind") == "", messages.c.kind == b("kind")),
    or_(b("unread") == 0, messages.c.seen == 0),
    or_(b("status") == "", messages.c.status == b("status")),
    or_(b("held") == 0, messages.c.hold_reason.is_not(None)),
    messages.c.received_at >= b("received_from"),
    messages.c.received_at < b("received_to"),
)
_between = and_(messages.c.seq < b("before"), messages.c.seq > b("after"))
# One statement for each way a page is found, so that each goes down the index that has just its messages: the primary
# key, unread mail, a mailbox, a thread, a label.
_shown = _shown_rows.where(_matching, _between).limit(b("limit"))
_page = _shown.where(_in_inbox, messages.c.aside == 0)
_unread_page = _shown.where(_unread, messages.c.aside == 0)
_mailbox_page = _shown.where(messages.c.mailbox_no == b("mailbox_no"))
# Asked of the thread's own row: asked of `messages`, SQLite sorts the whole thread for every page.
_conversation_page = _shown.where(
    threads.c.seq == b("thread_seq"),
    messages.c.aside == 0,
    or_(b("mailbox_no") == 0, messages.c.mailbox_no == b("mailbox_no")),
    or_(
        b("label") == "",
        select(labels.c.seq)
        .where(labels.c.inbox_no == b("inbox_no"), labels.c.label == b("label"), labels.c.seq == messages.c.seq)
        .exists(),
    ),
)
# The label's rows lead.
_label_page = _shown.join(labels, labels.c.seq == messages.c.seq).where(
    labels.c.inbox_no == b("inbox_no"),
    labels.c.label == b("label"),
    labels.c.seq < b("before"),
    labels.c.seq > b("after"),
    messages.c.aside == 0,
)
messages_newest = _page.order_by(messages.c.seq.desc())
messages_oldest = _page.order_by(messages.c.seq)
unread_newest = _unread_page.order_by(messages.c.seq.desc())
unread_oldest = _unread_page.order_by(messages.c.seq)
mailbox_newest = _mailbox_page.order_by(messages.c.seq.desc())
mailbox_oldest = _mailbox_page.order_by(messages.c.seq)
thread_page_newest = _conversation_page.order_by(messages.c.seq.desc())
thread_page_oldest = _conversation_page.order_by(messages.c.seq)
label_newest = _label_page.order_by(labels.c.seq.desc())
label_oldest = _label_page.order_by(labels.c.seq)
_inbound = _joined.where(
    messages.c.deleted_at.is_(None),
    messages.c.direction == "inbound",
    messages.c.aside == 0,
).limit(b("limit"))
# Mail that came, or was let out of quarantine, after a place in the log of changes, each once and where it came last:
# `n` comes after the message's row.
arrived_after = (
    _inbound.join(changes, changes.c.message_seq == messages.c.seq)
    .add_columns(changes.c.n)
    .where(
        changes.c.inbox_no == b("inbox_no"),
        changes.c.n > b("after"),
        changes.c.n <= b("until"),
        changes.c.n == messages.c.came_n,
    )
    .order_by(changes.c.n)
)
unread_after = _inbound.where(_unread, messages.c.seq > b("after")).order_by(messages.c.seq)
# One page of a conversation, with the new words of each message after its row.
thread_messages = (
    _joined.join(bodies, bodies.c.seq == messages.c.seq)
    .add_columns(bodies.c.reply_text)
    .where(
        messages.c.thread_seq == b("thread_seq"),
        messages.c.deleted_at.is_(None),
        messages.c.aside == 0,
        messages.c.seq > b("after"),
    )
    .order_by(messages.c.seq)
    .limit(b("limit"))
)
thread_newest = (
    _joined.where(
        messages.c.thread_seq == b("thread_seq"),
        messages.c.deleted_at.is_(None),
        messages.c.aside == 0,
        messages.c.seq < b("before"),
    )
    .order_by(messages.c.seq.desc())
    .limit(b("limit"))
)
message_now = select(
    messages.c.mailbox_no,
    messages.c.uid,
    messages.c.thread_seq,
    messages.c.seen,
    messages.c.aside,
    messages.c.labels_json,
    messages.c.deleted_at,
    messages.c.status,
).where(messages.c.seq == b("seq"))
message_set_seen = update(messages).where(messages.c.seq == b("seq")).values(seen=b("new_seen"), modseq=b("new_modseq"))
message_set_labels = (
    update(messages).where(messages.c.seq == b("seq")).values(labels_json=b("new_labels"), modseq=b("new_modseq"))
)
message_release = update(messages).where(messages.c.seq == b("seq")).values(hold_reason=None, came_n=b("new_came_n"))
message_set_kind = (
    update(messages)
    .where(messages.c.seq == b("seq"))
    .values(
        kind=b("new_kind"),
        preview=b("new_preview"),
        subject=b("new_subject"),
        est_tokens=b("new_est_tokens"),
        has_attachments=b("new_has_attachments"),
    )
)
# Old rules first: what `reparse` has still to do, a page at a time.
messages_to_reparse = (
    select(messages.c.seq, messages.c.id, messages.c.blob_hash)
    .join(bodies, bodies.c.seq == messages.c.seq)
    .where(messages.c.seq > b("after"), bodies.c.rules_version < b("version"))
    .order_by(messages.c.seq)
    .limit(b("limit"))
)
message_move = (
    update(messages)
    .where(messages.c.seq == b("seq"))
    .values(mailbox_no=b("to_mailbox_no"), uid=b("to_uid"), modseq=b("to_modseq"), aside=b("to_aside"))
)
message_set_status = (
    update(messages)
    .where(messages.c.seq == b("seq"))
    .values(status=b("new_status"), sent_at=func.coalesce(messages.c.sent_at, b("new_sent_at")))
)
message_delete = (
    update(messages)
    .where(messages.c.seq == b("seq"), messages.c.deleted_at.is_(None))
    .values(deleted_at=b("now"), status=b("new_status"))
    .returning(messages.c.seq)
)

# -- changes ---------------------------------------------------------------------------------------------------------

change_insert = insert_into(changes)
changes_after = (
    select(changes.c.n, changes.c.message_seq, changes.c.message_id, changes.c.what, changes.c.at)
    .where(changes.c.inbox_no == b("inbox_no"), changes.c.n > b("after"))
    .order_by(changes.c.n)
    .limit(b("limit"))
)
changed_messages = _with_names(
    select(*_listed).select_from(messages).join(inboxes, inboxes.c.no == messages.c.inbox_no)
).where(
    messages.c.seq.in_(
        select(changes.c.message_seq).where(
            changes.c.inbox_no == b("inbox_no"), changes.c.n > b("after"), changes.c.n <= b("until")
        )
    ),
    messages.c.deleted_at.is_(None),
)

# -- lists -----------------------------------------------------------------------------------------------------------

list_put = insert_once(lists)
list_drop = (
    delete(lists)
    .where(
        lists.c.account_no == b("account_no"),
        lists.c.inbox_no == b("inbox_no"),
        lists.c.direction == b("direction"),
        lists.c.kind == b("kind"),
        lists.c.entry == b("entry"),
    )
    .returning(lists.c.entry)
)
lists_drop_inbox = delete(lists).where(lists.c.account_no == b("account_no"), lists.c.inbox_no == b("inbox_no"))
_list = select(lists.c.inbox_no, lists.c.direction, lists.c.kind, lists.c.entry, lists.c.created_at)
lists_of = (
    _list.where(
        lists.c.account_no == b("account_no"),
        or_(b("any_inbox") == 1, lists.c.inbox_no == b("inbox_no")),
        or_(b("direction") == "", lists.c.direction == b("direction")),
        or_(b("kind") == "", lists.c.kind == b("kind")),
    )
    .order_by(lists.c.inbox_no, lists.c.direction, lists.c.kind, lists.c.entry)
    .limit(b("limit"))
)
# What decides about one direction of one inbox: its own entries and the account's.
lists_for = _list.where(
    lists.c.account_no == b("account_no"),
    or_(lists.c.inbox_no == 0, lists.c.inbox_no == b("inbox_no")),
    lists.c.direction == b("direction"),
)
lists_count = select(func.count()).select_from(lists).where(lists.c.account_no == b("account_no"))

# -- uploads and the text of attachments -----------------------------------------------------------------------------

upload_insert = insert_into(uploads, "no")
_upload = select(
    uploads.c.no,
    uploads.c.id,
    uploads.c.account_no,
    uploads.c.inbox_no,
    uploads.c.filename,
    uploads.c.content_type,
    uploads.c.size,
    uploads.c.blob_hash,
    uploads.c.expires_at,
)
upload_by_id = _upload.where(uploads.c.id == b("id"))
upload_by_token = _upload.where(uploads.c.token_sha256 == b("token_sha256"))
upload_fill = (
    update(uploads)
    .where(uploads.c.no == b("upload_no"), uploads.c.blob_hash.is_(None))
    .values(
        blob_hash=b("new_blob_hash"),
        size=b("new_size"),
        content_type=b("new_content_type"),
        expires_at=b("new_expires_at"),
    )
    .returning(uploads.c.id)
)
# Of one inbox, or with inbox_no 0 of the account itself.
uploads_count = select(func.count(), func.min(uploads.c.expires_at)).where(
    uploads.c.account_no == b("account_no"),
    func.coalesce(uploads.c.inbox_no, 0) == b("inbox_no"),
    uploads.c.expires_at > b("now"),
)
upload_in_draft = select(drafts.c.no).where(drafts.c.state != "sent", drafts.c.content_json.contains(b("id"))).limit(1)
upload_expired_one = select(uploads.c.no).where(uploads.c.expires_at < b("now")).limit(1)
# What an unsent draft speaks of stays for as long as it does.
uploads_expired = delete(uploads).where(
    uploads.c.expires_at < b("now"),
    ~select(drafts.c.no).where(drafts.c.state != "sent", drafts.c.content_json.contains(uploads.c.id)).exists(),
)
attachment_by_id = (
    select(
        attachments.c.no,
        attachments.c.id,
        attachments.c.seq,
        attachments.c.part,
        attachments.c.filename,
        attachments.c.content_type,
        attachments.c.content_id,
        attachments.c.disposition,
        attachments.c.size,
        attachments.c.sha256,
        attachments.c.text,
        attachments.c.text_status,
        attachments.c.text_facts_json,
        messages.c.id.label("message_id"),
        messages.c.blob_hash,
        messages.c.inbox_no,
        messages.c.deleted_at,
    )
    .join(messages, messages.c.seq == attachments.c.seq)
    .where(attachments.c.id == b("id"))
)
# The message that comes first from a number on among those with files to read. Adding 0 keeps it off the index of all
# attachments, most of which were read long ago: the few that wait are an index of their own.
attachments_next = (
    select(attachments.c.seq)
    .where(attachments.c.text_status == "pending", attachments.c.seq + 0 >= b("from_seq"))
    .order_by(attachments.c.seq + 0)
    .limit(1)
)
attachments_readable = (
    select(
        attachments.c.no,
        attachments.c.id,
        attachments.c.part,
        attachments.c.filename,
        attachments.c.content_type,
        attachments.c.sha256,
        attachments.c.text_status,
        attachments.c.text_tries,
        func.length(attachments.c.text).label("text_length"),
    )
    .where(attachments.c.seq == b("seq"), attachments.c.text_status.is_not(None))
    .order_by(attachments.c.no)
)
attachment_try = (
    update(attachments).where(attachments.c.no == b("attachment_no")).values(text_tries=attachments.c.text_tries + 1)
)
attachment_untry = (
    update(attachments)
    .where(attachments.c.no == b("attachment_no"), attachments.c.text_tries > 0)
    .values(text_tries=attachments.c.text_tries - 1)
)
attachment_text = select(
    attachments.c.text, attachments.c.text_status, attachments.c.text_facts_json, attachments.c.sha256
).where(attachments.c.no == b("attachment_no"))
attachment_set_text = (
    update(attachments)
    .where(attachments.c.no == b("attachment_no"), attachments.c.text_status == "pending")
    .values(text=b("new_text"), text_status=b("new_status"), text_facts_json=b("new_facts"))
    .returning(attachments.c.seq)
)
attachment_texts = (
    select(attachments.c.no, attachments.c.filename, attachments.c.text)
    .where(attachments.c.seq == b("seq"), attachments.c.no > b("after"))
    .order_by(attachments.c.no)
    .limit(b("limit"))
)

# -- drafts ----------------------------------------------------------------------------------------------------------

draft_insert = insert_into(drafts, "no", "message_no", "message_id").returning(drafts.c.no)
_draft = select(
    drafts.c.no,
    drafts.c.id,
    drafts.c.inbox_no,
    inboxes.c.id.label("inbox_id"),
    drafts.c.kind,
    drafts.c.state,
    drafts.c.source_seq,
    drafts.c.content_json,
    drafts.c.send_at,
    drafts.c.message_no,
    drafts.c.message_id,
    drafts.c.created_at,
    drafts.c.updated_at,
).join(inboxes, inboxes.c.no == drafts.c.inbox_no)
draft_by_id = _draft.where(drafts.c.id == b("id"))
draft_by_client_id = _draft.where(drafts.c.inbox_no == b("inbox_no"), drafts.c.client_id == b("client_id"))
drafts_page = (
    _draft.where(
        drafts.c.inbox_no == b("inbox_no"),
        drafts.c.state.in_(["draft", "scheduled", "pending_upgrade", "pending_approval"]),
        drafts.c.no < b("before"),
    )
    .order_by(drafts.c.no.desc())
    .limit(b("limit"))
)
draft_update = (
    update(drafts)
    .where(drafts.c.no == b("draft_no"))
    .values(content_json=b("content_json_"), send_at=b("send_at_"), updated_at=b("now"))
)
draft_link = (
    update(drafts)
    .where(drafts.c.no == b("draft_no"))
    .values(
        state=b("new_state"),
        message_no=b("seq"),
        message_id=b("new_message_id"),
        send_at=b("new_send_at"),
        updated_at=b("now"),
    )
)
draft_sent_by_message = (
    update(drafts).where(drafts.c.message_no == b("seq"), drafts.c.state != "sent").values(state="sent")
)
draft_reschedule_by_message = (
    update(drafts).where(drafts.c.message_no == b("seq"), drafts.c.state != "sent").values(state="scheduled")
)
draft_park_by_message = (
    update(drafts).where(drafts.c.message_no == b("seq"), drafts.c.state != "sent").values(state="pending_upgrade")
)
draft_unlink_by_message = (
    update(drafts)
    .where(drafts.c.message_no == b("seq"), drafts.c.state != "sent")
    .values(state="draft", message_no=None, message_id=None, send_at=None)
)
draft_delete = delete(drafts).where(drafts.c.no == b("draft_no"))

# -- queue -----------------------------------------------------------------------------------------------------------

inbox_addresses = select(inboxes.c.address).where(
    inboxes.c.account_no == b("account_no"), inboxes.c.deleted_at.is_(None)
)
queue_insert = insert_into(queue, "no", "warned_at", "verp").returning(queue.c.no)
_queue = select(
    queue.c.no,
    queue.c.message_seq,
    queue.c.account_no,
    queue.c.inbox_no,
    queue.c.state,
    queue.c.mail_from,
    queue.c.smtputf8,
    queue.c.recipients,
    queue.c.counted_at,
    queue.c.counted_day,
    queue.c.counted_month,
    queue.c.send_at,
    queue.c.created_at,
    queue.c.expires_at,
    queue.c.ret,
    queue.c.envid,
    queue.c.origin,
    queue.c.warned_at,
    queue.c.verp,
)
queue_by_message = _queue.where(queue.c.message_seq == b("seq"))
queue_by_no = _queue.where(queue.c.no == b("queue_no"))
# What an outcome changes: the message, and whose it is.
queue_settling = (
    select(
        messages.c.seq,
        messages.c.id,
        messages.c.inbox_no,
        inboxes.c.id.label("inbox_id"),
        threads.c.id.label("thread_id"),
        messages.c.status,
        queue.c.account_no,
        queue.c.inbox_no.label("sender_no"),
    )
    .select_from(queue)
    .join(messages, messages.c.seq == queue.c.message_seq)
    .join(inboxes, inboxes.c.no == messages.c.inbox_no)
    .join(threads, threads.c.seq == messages.c.thread_seq)
    .where(queue.c.no == b("queue_no"))
)
queue_fingerprint = (
    select(queue.c.message_seq)
    .join(messages, messages.c.seq == queue.c.message_seq)
    .where(
        queue.c.inbox_no == b("inbox_no"),
        queue.c.fingerprint == b("fingerprint"),
        queue.c.created_at > b("since"),
        messages.c.deleted_at.is_(None),
    )
    .order_by(queue.c.created_at.desc())
    .limit(1)
)
queue_burst = select(func.coalesce(func.sum(queue.c.recipients), 0)).where(
    queue.c.account_no == b("account_no"),
    queue.c.counted_at > b("since"),
    queue.c.counted_at <= b("until"),
    queue.c.state == "active",
)
queue_defer = update(queue).where(queue.c.no == b("queue_no")).values(send_at=b("again_at"))
_of_active_account = queue.join(accounts, and_(accounts.c.no == queue.c.account_no, accounts.c.status == "active"))
queue_due = (
    select(queue.c.message_seq)
    .select_from(_of_active_account)
    .where(queue.c.state == "scheduled", queue.c.send_at <= b("now"))
    .order_by(queue.c.send_at, queue.c.no)
)
queue_next_scheduled = (
    select(func.min(queue.c.send_at)).select_from(_of_active_account).where(queue.c.state == "scheduled")
)
queue_waiting = (
    select(queue.c.message_seq)
    .where(queue.c.account_no == b("account_no"), queue.c.state == "waiting")
    .order_by(queue.c.no)
)
queue_waiting_accounts = select(queue.c.account_no).where(queue.c.state == "waiting").distinct()
queue_set_state = (
    update(queue)
    .where(queue.c.no == b("queue_no"))
    .values(
        state=b("new_state"),
        counted_at=b("new_counted_at"),
        counted_day=b("new_day"),
        counted_month=b("new_month"),
        expires_at=b("new_expires_at"),
    )
)
queue_unsent_of_inbox = select(queue.c.message_seq).where(queue.c.inbox_no == b("inbox_no"), queue.c.state != "active")
queue_delete = delete(queue).where(queue.c.no == b("queue_no"))

delivery_insert = insert_into(
    deliveries,
    "no",
    "attempts",
    "lease_owner",
    "lease_until",
    "last_outcome",
    "last_code",
    "last_enhanced",
    "last_text",
    "remote",
)
deliveries_of_queue = (
    select(
        deliveries.c.no,
        deliveries.c.id,
        deliveries.c.recipient,
        deliveries.c.transport,
        deliveries.c.state,
        deliveries.c.attempts,
        deliveries.c.next_attempt_at,
        deliveries.c.last_outcome,
        deliveries.c.last_code,
        deliveries.c.last_enhanced,
        deliveries.c.last_text,
        deliveries.c.remote,
        deliveries.c.finished_at,
        deliveries.c.notify,
        deliveries.c.orcpt,
    )
    .where(deliveries.c.queue_no == b("queue_no"))
    .order_by(deliveries.c.no)
)
deliveries_states = select(deliveries.c.state).where(deliveries.c.queue_no == b("queue_no"))
_due = and_(
    deliveries.c.state == "queued",
    deliveries.c.next_attempt_at <= b("now"),
    or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= b("now")),
)
# Content was under way when the last attempt was cut off: whether it arrived, nobody knows, so it is not sent again.
_unsettled = (
    select(attempts.c.n)
    .where(
        attempts.c.delivery_no == deliveries.c.no,
        attempts.c.n == deliveries.c.attempts,
        attempts.c.ended_at.is_(None),
        attempts.c.content_at.is_not(None),
    )
    .exists()
)
# `busy` are domains with a space before and after each, for which nothing more is to be claimed now.
deliveries_due = (
    select(
        deliveries.c.no,
        deliveries.c.id,
        deliveries.c.queue_no,
        deliveries.c.recipient,
        deliveries.c.attempts,
        deliveries.c.notify,
        deliveries.c.orcpt,
        queue.c.mail_from,
        queue.c.smtputf8,
        queue.c.expires_at,
        queue.c.ret,
        queue.c.envid,
        queue.c.created_at,
        queue.c.warned_at,
        messages.c.id.label("message_id"),
        messages.c.blob_hash,
        messages.c.size,
    )
    .join(queue, queue.c.no == deliveries.c.queue_no)
    .join(messages, messages.c.seq == queue.c.message_seq)
    .where(_due, ~_unsettled, b("busy").notlike("% " + deliveries.c.domain + " %"))
    .order_by(deliveries.c.next_attempt_at, deliveries.c.no)
    .limit(b("limit"))
    .with_for_update(skip_locked=True, of=deliveries)
)
delivery_lease = (
    update(deliveries)
    .where(deliveries.c.no == b("delivery_no"))
    .values(
        attempts=deliveries.c.attempts + 1,
        next_attempt_at=b("again_at"),
        lease_owner=b("owner"),
        lease_until=b("until"),
    )
)
delivery_renew = (
    update(deliveries)
    .where(
        deliveries.c.no == b("delivery_no"),
        deliveries.c.attempts == b("n"),
        deliveries.c.lease_owner == b("owner"),
        deliveries.c.state == "queued",
    )
    .values(lease_until=b("until"))
    .returning(deliveries.c.no)
)
# Such attempts of an earlier process, or of ours when their lease has run out.
attempts_cut_off = (
    select(
        deliveries.c.no,
        deliveries.c.queue_no,
        deliveries.c.recipient,
        deliveries.c.notify,
        deliveries.c.orcpt,
        attempts.c.n,
        attempts.c.remote,
    )
    .join(attempts, and_(attempts.c.delivery_no == deliveries.c.no, attempts.c.n == deliveries.c.attempts))
    .where(
        deliveries.c.state == "queued",
        or_(deliveries.c.lease_owner != b("owner"), deliveries.c.lease_until <= b("now")),
        attempts.c.ended_at.is_(None),
        attempts.c.content_at.is_not(None),
    )
)
attempt_content = (
    update(attempts)
    .where(attempts.c.delivery_no == b("delivery_no_"), attempts.c.n == b("n_"))
    .values(content_at=b("now"))
)
attempt_under_way = select(attempts.c.n).where(
    attempts.c.delivery_no == b("delivery_no"), attempts.c.ended_at.is_(None), attempts.c.content_at.is_not(None)
)
delivery_release_leases = (
    update(deliveries)
    .where(deliveries.c.state == "queued", deliveries.c.lease_owner != b("owner"))
    .values(lease_owner=None, lease_until=None, next_attempt_at=b("now"))
)
deliveries_next = select(
    func.min(
        case(
            (
                and_(deliveries.c.lease_until.is_not(None), deliveries.c.lease_until > deliveries.c.next_attempt_at),
                deliveries.c.lease_until,
            ),
            else_=deliveries.c.next_attempt_at,
        )
    )
).where(deliveries.c.state == "queued", b("busy").notlike("% " + deliveries.c.domain + " %"))
delivery_start = (
    update(deliveries)
    .where(deliveries.c.queue_no == b("queue_no"), deliveries.c.transport == "relay", deliveries.c.state == "waiting")
    .values(state="queued", next_attempt_at=b("now"))
)
delivery_result = (
    update(deliveries)
    .where(deliveries.c.no == b("delivery_no"), deliveries.c.state == "queued")
    .values(
        state=b("new_state"),
        last_outcome=b("outcome"),
        last_code=b("code"),
        last_enhanced=b("enhanced"),
        last_text=b("reply_text"),
        remote=b("remote_"),
        lease_owner=None,
        lease_until=None,
        finished_at=b("new_finished_at"),
    )
    .returning(deliveries.c.no)
)
delivery_local = (
    update(deliveries)
    .where(deliveries.c.no == b("delivery_no"))
    .values(state=b("new_state"), finished_at=b("now"), last_text=b("reply_text"))
)
delivery_reported = (
    update(deliveries)
    .where(deliveries.c.no == b("delivery_no"))
    .values(
        state=b("new_state"),
        finished_at=b("now"),
        last_code=None,
        last_enhanced=b("enhanced"),
        last_text=b("reply_text"),
    )
)
deliveries_delete = delete(deliveries).where(deliveries.c.queue_no == b("queue_no"))
deliveries_pending = select(func.count()).select_from(deliveries).where(deliveries.c.state == "queued")

deliveries_backlog = select(func.count()).select_from(
    select(deliveries.c.no).where(deliveries.c.state == "queued").limit(b("most")).subquery()
)
# For the operator: what is in the queue, by delivery, and what is done about it.
_queued = (
    select(
        deliveries.c.no,
        deliveries.c.id,
        deliveries.c.recipient,
        deliveries.c.state,
        deliveries.c.attempts,
        deliveries.c.next_attempt_at,
        deliveries.c.last_code,
        deliveries.c.last_enhanced,
        deliveries.c.last_text,
        deliveries.c.remote,
        queue.c.created_at,
        queue.c.expires_at,
        queue.c.mail_from,
        messages.c.id.label("message_id"),
        messages.c.subject,
        accounts.c.id.label("account_id"),
    )
    .join(queue, queue.c.no == deliveries.c.queue_no)
    .join(messages, messages.c.seq == queue.c.message_seq)
    .join(accounts, accounts.c.no == queue.c.account_no)
)
deliveries_listed = (
    _queued.where(
        deliveries.c.no > b("after"),
        deliveries.c.state.in_(["queued", "held"]),
        or_(b("domain") == "", deliveries.c.domain == b("domain")),
        or_(b("message_id") == "", messages.c.id == b("message_id")),
        or_(b("state") == "", deliveries.c.state == b("state")),
    )
    .order_by(deliveries.c.no)
    .limit(b("limit"))
)
delivery_listed = _queued.where(deliveries.c.id == b("id"))
# What is leased is in a worker's hands, and stays there.
delivery_set_state = (
    update(deliveries)
    .where(
        deliveries.c.no == b("delivery_no"),
        deliveries.c.state == b("from_state"),
        or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= b("now")),
    )
    .values(state=b("new_state"), next_attempt_at=b("again_at"), finished_at=b("new_finished_at"))
    .returning(deliveries.c.queue_no)
)

attempt_insert = insert_into(attempts, "ended_at", "outcome", "code", "enhanced", "text", "remote", "tls", "content_at")
attempt_finish = (
    update(attempts)
    .where(attempts.c.delivery_no == b("delivery_no_"), attempts.c.n == b("n_"))
    .values(
        ended_at=b("now"),
        outcome=b("outcome_"),
        code=b("code_"),
        enhanced=b("enhanced_"),
        text=b("text_"),
        remote=b("remote_"),
        tls=b("tls_"),
    )
)

# What explains the delivery of one message: every try, newest first, and the reports in its thread.
attempts_of_queue = (
    select(
        attempts.c.delivery_no,
        attempts.c.n,
        attempts.c.started_at,
        attempts.c.ended_at,
        attempts.c.outcome,
        attempts.c.code,
        attempts.c.enhanced,
        attempts.c.text,
        attempts.c.remote,
        attempts.c.tls,
    )
    .join(deliveries, deliveries.c.no == attempts.c.delivery_no)
    .where(
        deliveries.c.queue_no == b("queue_no"),
        or_(b("only_delivery") == 0, deliveries.c.no == b("only_delivery")),
    )
    .order_by(attempts.c.started_at.desc(), attempts.c.delivery_no.desc(), attempts.c.n.desc())
    .limit(b("limit"))
)
reports_of_thread = (
    select(messages.c.id, messages.c.kind, messages.c.received_at, bodies.c.reading_json)
    .join(bodies, bodies.c.seq == messages.c.seq)
    .where(
        messages.c.thread_seq == b("thread_seq"),
        messages.c.seq > b("after"),
        messages.c.direction == "inbound",
        messages.c.kind.in_(["bounce", "notification"]),
        messages.c.deleted_at.is_(None),
    )
    .order_by(messages.c.seq.desc())
    .limit(b("limit"))
)
message_of_delivery = (
    select(queue.c.message_seq)
    .join(deliveries, deliveries.c.queue_no == queue.c.no)
    .where(deliveries.c.no == b("delivery_no"), queue.c.inbox_no == b("inbox_no"))
)
queue_verp = update(queue).where(queue.c.no == b("queue_no"), queue.c.verp == 0).values(verp=1)
queue_warn = (
    update(queue)
    .where(queue.c.no == b("queue_no"), queue.c.warned_at.is_(None))
    .values(warned_at=b("now"))
    .returning(queue.c.no)
)

# -- the spool of accepted mail --------------------------------------------------------------------------------------

incoming_insert = insert_into(incoming, "no", "tries", "failed").returning(incoming.c.no)
incoming_due = (
    select(incoming.c.no, incoming.c.size)
    .where(incoming.c.failed == 0, incoming.c.no > b("after"))
    .order_by(incoming.c.no)
    .limit(b("limit"))
)
incoming_get = select(
    incoming.c.no,
    incoming.c.id,
    incoming.c.origin,
    incoming.c.account_no,
    incoming.c.inbox_no,
    incoming.c.fingerprint,
    incoming.c.recipients,
    incoming.c.counted_at,
    incoming.c.counted_day,
    incoming.c.counted_month,
    incoming.c.envelope_json,
    incoming.c.peer_json,
    incoming.c.size,
    incoming.c.data,
    incoming.c.file,
    incoming.c.received_at,
    incoming.c.tries,
).where(incoming.c.no == b("no"))
incoming_try = update(incoming).where(incoming.c.no == b("no")).values(tries=incoming.c.tries + 1)
incoming_untry = update(incoming).where(incoming.c.no == b("no")).values(tries=incoming.c.tries - 1)
incoming_failed = update(incoming).where(incoming.c.no == b("no")).values(failed=1)
incoming_again = (
    update(incoming)
    .where(incoming.c.failed == 1, or_(b("id") == "", incoming.c.id == b("id")))
    .values(failed=0, tries=0)
    .returning(incoming.c.no, incoming.c.size)
)
incoming_listed = select(
    incoming.c.id,
    incoming.c.origin,
    incoming.c.envelope_json,
    incoming.c.size,
    incoming.c.received_at,
    incoming.c.tries,
    incoming.c.failed,
).order_by(incoming.c.no)
incoming_delete = delete(incoming).where(incoming.c.no == b("no")).returning(incoming.c.no)
incoming_same = (
    select(incoming.c.id)
    .where(
        incoming.c.inbox_no == b("inbox_no"),
        incoming.c.message_id == b("message_id"),
        incoming.c.fingerprint == b("fingerprint"),
    )
    .limit(1)
)
incoming_files = select(incoming.c.file).where(incoming.c.file.is_not(None))
incoming_burst = select(func.coalesce(func.sum(incoming.c.recipients), 0)).where(
    incoming.c.account_no == b("account_no"), incoming.c.counted_at > b("since"), incoming.c.counted_at <= b("until")
)
submitted_same = (
    select(messages.c.id)
    .join(queue, queue.c.message_seq == messages.c.seq)
    .where(
        messages.c.inbox_no == b("inbox_no"),
        messages.c.message_id == b("message_id"),
        queue.c.fingerprint == b("fingerprint"),
    )
    .limit(1)
)

# -- suppressions ----------------------------------------------------------------------------------------------------

suppression_get = select(suppressions.c.why).where(
    suppressions.c.account_no == b("account_no"), suppressions.c.address == b("address")
)
suppression_any = select(suppressions.c.address).where(suppressions.c.account_no == b("account_no")).limit(1)
suppression_put = upsert(suppressions).values({c.name: b(c.name) for c in suppressions.c}).on_conflict_do_nothing()
suppression_delete = (
    delete(suppressions)
    .where(suppressions.c.account_no == b("account_no"), suppressions.c.address == b("address"))
    .returning(suppressions.c.address)
)
suppressions_page = (
    select(
        suppressions.c.address,
        suppressions.c.why,
        suppressions.c.reply,
        suppressions.c.message_id,
        suppressions.c.created_at,
    )
    .where(suppressions.c.account_no == b("account_no"), suppressions.c.address > b("after"))
    .order_by(suppressions.c.address)
    .limit(b("limit"))
)

# -- domains ---------------------------------------------------------------------------------------------------------

dkim_insert = insert_into(dkimkeys, "no", "seen_at", "retired_at")
# Keys to sign with: those that were seen in the DNS, and all while none was.
_seen = dkimkeys.alias("seen")
dkim_of_domain = (
    select(dkimkeys.c.selector, dkimkeys.c.algorithm, dkimkeys.c.private, dkimkeys.c.public)
    .where(
        dkimkeys.c.domain == b("domain"),
        dkimkeys.c.retired_at.is_(None),
        or_(
            dkimkeys.c.seen_at.is_not(None),
            ~exists().where(
                _seen.c.domain == dkimkeys.c.domain, _seen.c.retired_at.is_(None), _seen.c.seen_at.is_not(None)
            ),
        ),
    )
    .order_by(dkimkeys.c.no)
)
dkim_published = (
    select(dkimkeys.c.selector, dkimkeys.c.algorithm, dkimkeys.c.public, dkimkeys.c.created_at, dkimkeys.c.seen_at)
    .where(dkimkeys.c.domain == b("domain"), dkimkeys.c.retired_at.is_(None))
    .order_by(dkimkeys.c.no)
)
_dkim_one = and_(dkimkeys.c.domain == b("domain"), dkimkeys.c.selector == b("selector"))
dkim_seen = update(dkimkeys).where(_dkim_one, dkimkeys.c.seen_at.is_(None)).values(seen_at=b("now"))
dkim_retire = update(dkimkeys).where(_dkim_one, dkimkeys.c.retired_at.is_(None)).values(retired_at=b("now"))
dkim_drop = delete(dkimkeys).where(dkimkeys.c.domain == b("domain"))

domain_insert = insert_into(domains, "no", "checked_at", "verified_at", "deleted_at")
_domain = select(
    domains.c.no,
    domains.c.id,
    domains.c.account_no,
    domains.c.name,
    domains.c.status,
    domains.c.token,
    domains.c.checks_json,
    domains.c.created_at,
    domains.c.checked_at,
    domains.c.verified_at,
)
domain_by_id = _domain.where(domains.c.id == b("id"), domains.c.deleted_at.is_(None))
domain_of_account = _domain.where(
    domains.c.account_no == b("account_no"), domains.c.name == b("name"), domains.c.deleted_at.is_(None)
)
domain_verified = _domain.where(
    domains.c.name == b("name"), domains.c.status == "verified", domains.c.deleted_at.is_(None)
)
domains_page = (
    _domain.where(domains.c.account_no == b("account_no"), domains.c.no < b("before"), domains.c.deleted_at.is_(None))
    .order_by(domains.c.no.desc())
    .limit(b("limit"))
)
domains_all = (
    select(accounts.c.id.label("account_id"), domains.c.id.label("domain_id"), domains.c.name, domains.c.status)
    .join(accounts, accounts.c.no == domains.c.account_no)
    .where(domains.c.deleted_at.is_(None))
    .order_by(domains.c.name, domains.c.no)
)
domains_count = (
    select(func.count())
    .select_from(domains)
    .where(domains.c.account_no == b("account_no"), domains.c.deleted_at.is_(None))
)
domains_created_since = (
    select(domains.c.created_at)
    .where(domains.c.account_no == b("account_no"), domains.c.created_at > b("since"))
    .order_by(domains.c.created_at)
)
domains_of_name = (
    select(domains.c.account_no, domains.c.status)
    .where(domains.c.name == b("name"), domains.c.deleted_at.is_(None))
    .order_by(domains.c.no)
)
domains_verified = select(domains.c.name).where(domains.c.status == "verified", domains.c.deleted_at.is_(None))
domain_checked = (
    update(domains)
    .where(domains.c.no == b("domain_no"))
    .values(
        status=b("new_status"),
        checks_json=b("new_checks"),
        checked_at=b("now"),
        verified_at=func.coalesce(domains.c.verified_at, b("new_verified_at")),
    )
)
domain_delete = (
    update(domains)
    .where(domains.c.no == b("domain_no"), domains.c.deleted_at.is_(None))
    .values(deleted_at=b("now"))
    .returning(domains.c.id)
)
# Some of an account's live inboxes on a domain; `pattern` is `%@domain`.
inboxes_on_domain = (
    select(inboxes.c.address)
    .where(
        inboxes.c.account_no == b("account_no"),
        inboxes.c.deleted_at.is_(None),
        inboxes.c.address.like(b("pattern")),
    )
    .order_by(inboxes.c.address)
    .limit(b("limit"))
)

# -- MTA-STS ---------------------------------------------------------------------------------------------------------

sts_get = select(sts_policies.c.policy_json).where(sts_policies.c.domain == b("domain"))
_sts_put = upsert(sts_policies).values({c.name: b(c.name) for c in sts_policies.c})
sts_put = _sts_put.on_conflict_do_update(
    index_elements=["domain"],
    set_={"policy_json": _sts_put.excluded.policy_json, "updated_at": _sts_put.excluded.updated_at},
)

# -- idempotency and usage -------------------------------------------------------------------------------------------

idempotency_get = select(idempotency.c.request_sha256, idempotency.c.object_id, idempotency.c.response_json).where(
    idempotency.c.scope == b("scope"), idempotency.c.client_id == b("client_id")
)
idempotency_insert = insert_into(idempotency)

usage_get = select(usages.c.used).where(usages.c.account_no == b("account_no"), usages.c.period == b("period"))
_usage_add = upsert(usages).values(account_no=b("account_no"), period=b("period"), used=b("used"))
usage_add = _usage_add.on_conflict_do_update(
    index_elements=["account_no", "period"],
    set_={"used": usages.c.used + _usage_add.excluded.used},
    where=or_(b("cap") < 0, usages.c.used + _usage_add.excluded.used <= b("cap")),
).returning(usages.c.used)
usage_take_back = (
    update(usages)
    .where(usages.c.account_no == b("account_no"), usages.c.period == b("period"))
    .values(used=usages.c.used - b("sends"))
)

# -- events and approvals --------------------------------------------------------------------------------------------

approval_insert = insert_into(approvals, "no", "comment", "decided_by", "decided_at")
_approval = select(
    approvals.c.id,
    approvals.c.account_no,
    accounts.c.id.label("account_id"),
    approvals.c.kind,
    approvals.c.state,
    approvals.c.jti,
    approvals.c.target_tier,
    approvals.c.reason,
    approvals.c.context_json,
    approvals.c.action_label,
    approvals.c.comment,
    approvals.c.decided_by,
    approvals.c.created_at,
    approvals.c.expires_at,
    approvals.c.decided_at,
    accounts.c.tier,
    approvals.c.message_seq,
    approvals.c.details_json,
    approvals.c.requested_by,
).join(accounts, accounts.c.no == approvals.c.account_no)
approval_by_id = _approval.where(approvals.c.id == b("id"))
approval_by_jti = _approval.where(approvals.c.jti == b("jti"))
approval_same = _approval.where(
    approvals.c.account_no == b("account_no"),
    approvals.c.kind == "upgrade",
    approvals.c.state == "open",
    approvals.c.target_tier == b("target_tier"),
    approvals.c.reason == b("reason"),
    approvals.c.expires_at > b("fresh_until"),
).limit(1)
approval_newest = (
    _approval.where(
        approvals.c.account_no == b("account_no"), approvals.c.kind == "upgrade", approvals.c.state != "closed"
    )
    .order_by(approvals.c.no.desc())
    .limit(1)
)
approvals_open = _approval.where(approvals.c.state == "open", approvals.c.expires_at > b("now")).order_by(
    approvals.c.no
)
approvals_open_of = (
    select(func.count())
    .select_from(approvals)
    .where(
        approvals.c.account_no == b("account_no"),
        approvals.c.state == "open",
        approvals.c.expires_at > b("now"),
        (approvals.c.kind == "send") == b("held"),
    )
)
approval_newest_open = (
    _approval.where(
        approvals.c.account_no == b("account_no"),
        approvals.c.kind == "upgrade",
        approvals.c.state == "open",
        approvals.c.target_tier == b("target_tier"),
        approvals.c.expires_at > b("now"),
    )
    .order_by(approvals.c.no.desc())
    .limit(1)
)
approval_decide = (
    update(approvals)
    .where(approvals.c.id == b("id"), approvals.c.state == "open", approvals.c.expires_at > b("now"))
    .values(state=b("new_state"), comment=b("new_comment"), decided_by=b("by"), decided_at=b("now"))
    .returning(approvals.c.id)
)
approvals_close_others = (
    update(approvals)
    .where(
        approvals.c.account_no == b("account_no"),
        approvals.c.kind == "upgrade",
        approvals.c.state == "open",
        approvals.c.id != b("id"),
    )
    .values(state="closed", decided_at=b("now"))
)
_of_message = approvals.c.message_seq == b("seq")
approval_of_message = _approval.where(_of_message).order_by(approvals.c.no.desc()).limit(1)
approval_open_of_message = select(approvals.c.no).where(_of_message, approvals.c.state == "open").limit(1)
approvals_close_of_message = (
    update(approvals).where(_of_message, approvals.c.state == "open").values(state="closed", decided_at=b("now"))
)
_held_open = and_(approvals.c.kind == "send", approvals.c.state == "open")
approvals_lapsed = _approval.where(_held_open, approvals.c.expires_at <= b("now")).order_by(approvals.c.no)
approvals_next_lapse = select(func.min(approvals.c.expires_at)).where(_held_open)
approval_lapse = (
    update(approvals)
    .where(approvals.c.id == b("id"), approvals.c.state == "open", approvals.c.expires_at <= b("now"))
    .values(state="expired", decided_at=b("now"))
    .returning(approvals.c.id)
)
approvals_page = (
    _approval.where(
        approvals.c.no < b("before"),
        or_(b("state") == "", approvals.c.state == b("state")),
        or_(b("kind") == "", approvals.c.kind == b("kind")),
        or_(b("account_no") == 0, approvals.c.account_no == b("account_no")),
    )
    .add_columns(approvals.c.no)
    .order_by(approvals.c.no.desc())
    .limit(b("limit"))
)

# -- mailboxes elsewhere ---------------------------------------------------------------------------------------------

upstream_get = select(upstreams.c.uidvalidity, upstreams.c.last_uid, upstreams.c.since, upstreams.c.old_uid).where(
    upstreams.c.name == b("name")
)
_upstream_put = upsert(upstreams).values({c.name: b(c.name) for c in upstreams.c})
upstream_put = _upstream_put.on_conflict_do_update(
    index_elements=["name"],
    set_={name: _upstream_put.excluded[name] for name in ("uidvalidity", "last_uid", "since", "old_uid", "updated_at")},
)
upstream_advance = (
    update(upstreams)
    .where(upstreams.c.name == b("name"), upstreams.c.uidvalidity == b("uidvalidity"), upstreams.c.last_uid < b("uid"))
    .values(last_uid=b("uid"), updated_at=b("now"))
)
fetched_insert = insert_once(fetched)
_fetched_there = (fetched.c.name == b("name"), fetched.c.uidvalidity == b("uidvalidity"))
fetched_again = (
    update(fetched)
    .where(fetched.c.name == b("name"), fetched.c.digest == b("digest"))
    .values(uidvalidity=b("uidvalidity"), uid=b("uid"), pending=b("pending"))
)
fetched_untidied = select(fetched.c.uid).where(*_fetched_there, fetched.c.pending == 1).order_by(fetched.c.uid)
fetched_tidied = update(fetched).where(*_fetched_there, fetched.c.uid == b("uid")).values(pending=0)

# -- mail handed in over HTTP ----------------------------------------------------------------------------------------

ingested_get = select(ingested.c.fingerprint, ingested.c.response_json).where(
    ingested.c.account_no == b("account_no"), ingested.c.name == b("name"), ingested.c.created_at > b("since")
)
_ingested_put = upsert(ingested).values({c.name: b(c.name) for c in ingested.c})
ingested_put = _ingested_put.on_conflict_do_update(
    index_elements=["account_no", "name"],
    set_={name: _ingested_put.excluded[name] for name in ("fingerprint", "response_json", "created_at")},
)
ingested_forget = delete(ingested).where(ingested.c.created_at <= b("before"))
