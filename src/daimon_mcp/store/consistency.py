"""What must always be true of a store. Run after every test and by `doctor`."""

from __future__ import annotations

from daimon_mcp.store.database import Database

# Each query names what is wrong: any row it returns is a finding.
_CHECKS: tuple[tuple[str, str], ...] = (
    (
        "inbox counters differ from its messages",
        """SELECT i.id FROM inboxes i LEFT JOIN messages m ON m.inbox_no = i.no AND m.deleted_at IS NULL AND m.aside = 0
           GROUP BY i.no HAVING i.message_count <> count(m.seq)
           OR i.unread_count <> coalesce(sum(CASE WHEN m.seen = 0 THEN 1 ELSE 0 END), 0)
           OR i.storage_bytes <> coalesce(sum(m.size), 0)""",
    ),
    (
        "an inbox counts other threads than those with messages",
        """SELECT i.id FROM inboxes i LEFT JOIN threads t ON t.inbox_no = i.no AND t.message_count > 0
           GROUP BY i.no HAVING i.thread_count <> count(t.seq)""",
    ),
    (
        "a Message-ID leads to a thread of another inbox, or a message's own leads nowhere",
        """SELECT r.message_id FROM refs r JOIN threads t ON t.seq = r.thread_seq WHERE t.inbox_no <> r.inbox_no
           UNION ALL SELECT m.id FROM messages m LEFT JOIN refs r
           ON r.inbox_no = m.inbox_no AND r.message_id = lower(m.message_id)
           WHERE r.message_id IS NULL AND m.message_id GLOB '<?*>' AND m.message_id NOT GLOB '*[^!-~]*'
           AND m.message_id NOT GLOB '*"*'""",
    ),
    (
        "mailbox counters differ from its messages",
        """SELECT b.no FROM mailboxes b LEFT JOIN messages m ON m.mailbox_no = b.no AND m.deleted_at IS NULL
           GROUP BY b.no HAVING b.total <> count(m.seq)
           OR b.unseen <> coalesce(sum(CASE WHEN m.seen = 0 THEN 1 ELSE 0 END), 0)""",
    ),
    (
        "thread counters differ from its messages",
        """SELECT t.id FROM threads t LEFT JOIN messages m
           ON m.thread_seq = t.seq AND m.deleted_at IS NULL AND m.aside = 0
           GROUP BY t.seq HAVING t.message_count <> count(m.seq)
           OR t.unread_count <> coalesce(sum(CASE WHEN m.seen = 0 THEN 1 ELSE 0 END), 0)""",
    ),
    (
        "a UID is not below UIDNEXT, or a MODSEQ is above the mailbox's highest",
        """SELECT m.id FROM messages m JOIN mailboxes b ON b.no = m.mailbox_no
           WHERE m.uid >= b.uidnext OR m.modseq > b.highestmodseq OR b.inbox_no <> m.inbox_no""",
    ),
    (
        "a UID is both in use and expunged",
        """SELECT m.id FROM messages m JOIN expunged e ON e.mailbox_no = m.mailbox_no AND e.uid = m.uid
           WHERE m.deleted_at IS NULL""",
    ),
    (
        "a message has no body row, no blob, or another size than its blob",
        """SELECT m.id FROM messages m LEFT JOIN bodies b ON b.seq = m.seq LEFT JOIN blobs x ON x.hash = m.blob_hash
           WHERE b.seq IS NULL OR x.hash IS NULL OR x.size <> m.size""",
    ),
    (
        "a message's number does not belong to its inbox",
        """SELECT m.id FROM messages m JOIN inboxes i ON i.no = m.inbox_no
           WHERE m.seq < i.no * 1099511627776 OR m.seq >= i.no * 1099511627776 + i.next_n""",
    ),
    (
        "a message and its thread are in different inboxes",
        "SELECT m.id FROM messages m JOIN threads t ON t.seq = m.thread_seq WHERE t.inbox_no <> m.inbox_no",
    ),
    (
        "a delivery has no queue row, or a queue row no message or another number of recipients",
        """SELECT d.id FROM deliveries d LEFT JOIN queue q ON q.no = d.queue_no WHERE q.no IS NULL
           UNION ALL SELECT CAST(q.no AS TEXT) FROM queue q LEFT JOIN messages m ON m.seq = q.message_seq
           WHERE m.seq IS NULL OR (m.deleted_at IS NOT NULL AND q.state <> 'active')
           UNION ALL SELECT CAST(q.no AS TEXT) FROM queue q JOIN deliveries d ON d.queue_no = q.no
           GROUP BY q.no, q.recipients HAVING count(d.no) <> q.recipients""",
    ),
    (
        "a message waits without a queue row, or is queued without a recipient that is",
        """SELECT m.id FROM messages m LEFT JOIN queue q ON q.message_seq = m.seq
           WHERE m.deleted_at IS NULL AND m.direction = 'outbound' AND q.no IS NULL
           UNION ALL SELECT m.id FROM messages m JOIN queue q ON q.message_seq = m.seq
           WHERE m.status = 'queued' AND NOT EXISTS
           (SELECT 1 FROM deliveries d WHERE d.queue_no = q.no AND d.state = 'queued')
           UNION ALL SELECT m.id FROM messages m JOIN queue q ON q.message_seq = m.seq
           WHERE (m.status = 'scheduled') <> (q.state = 'scheduled')
           OR (m.status = 'pending_upgrade') <> (q.state = 'waiting')
           OR (m.status = 'pending_approval') <> (q.state = 'held')""",
    ),
    (
        "a message is in Scheduled and does not wait, or waits elsewhere",
        """SELECT m.id FROM messages m JOIN mailboxes b ON b.no = m.mailbox_no
           WHERE m.deleted_at IS NULL AND m.direction = 'outbound'
           AND (b.name = 'Scheduled') <> (m.status IN ('scheduled', 'pending_upgrade', 'pending_approval'))""",
    ),
    (
        "a message is set aside and not in Trash or Spam, or the other way round",
        """SELECT m.id FROM messages m JOIN mailboxes b ON b.no = m.mailbox_no
           WHERE m.deleted_at IS NULL AND (b.name IN ('Trash', 'Spam')) <> m.aside""",
    ),
    (
        "a message is held and not in Spam",
        """SELECT m.id FROM messages m JOIN mailboxes b ON b.no = m.mailbox_no
           WHERE m.deleted_at IS NULL AND m.hold_reason IS NOT NULL AND b.name NOT IN ('Spam', 'Trash')""",
    ),
    (
        "the log of changes goes beyond its inbox's counter, or a message has no entry",
        """SELECT i.id FROM inboxes i JOIN changes c ON c.inbox_no = i.no GROUP BY i.no HAVING max(c.n) > i.change_seq
           UNION ALL SELECT m.id FROM messages m WHERE m.deleted_at IS NULL AND NOT EXISTS
           (SELECT 1 FROM changes c WHERE c.inbox_no = m.inbox_no AND c.message_seq = m.seq)""",
    ),
    (
        "a merged thread still has messages, or leads nowhere or on to another merged one",
        """SELECT t.id FROM threads t LEFT JOIN threads n ON n.seq = t.merged_into
           WHERE t.merged_into IS NOT NULL AND (n.seq IS NULL OR n.merged_into IS NOT NULL
           OR n.inbox_no <> t.inbox_no OR EXISTS (SELECT 1 FROM messages m WHERE m.thread_seq = t.seq))""",
    ),
    (
        "a message that is not deleted is not in the search index, or a deleted one is",
        """SELECT m.id FROM messages m LEFT JOIN search_docsize d ON d.id = m.seq
           WHERE (m.deleted_at IS NULL) <> (d.id IS NOT NULL)""",
    ),
    (
        "an upload's content is missing",
        """SELECT u.id FROM uploads u LEFT JOIN blobs b ON b.hash = u.blob_hash
           WHERE u.blob_hash IS NOT NULL AND b.hash IS NULL""",
    ),
    (
        "a recipient waits although its message has left, or has left although its message waits",
        """SELECT d.id FROM deliveries d JOIN queue q ON q.no = d.queue_no
           WHERE (d.state = 'waiting') <> (q.state <> 'active')""",
    ),
    (
        "mail of a deleted inbox waits to leave",
        """SELECT i.id FROM inboxes i JOIN queue q ON q.inbox_no = i.no
           WHERE i.deleted_at IS NOT NULL AND q.state <> 'active'""",
    ),
    (
        "a draft and its message do not agree",
        """SELECT d.id FROM drafts d LEFT JOIN messages m ON m.seq = d.message_no
           LEFT JOIN queue q ON q.message_seq = d.message_no
           WHERE (d.state = 'draft' AND d.message_no IS NOT NULL)
           OR (d.state = 'sent' AND (m.seq IS NULL OR m.id <> d.message_id OR q.state IS NOT 'active'))
           OR (d.state = 'scheduled' AND (q.state IS NOT 'scheduled' OR d.send_at IS NOT q.send_at))
           OR (d.state = 'pending_upgrade' AND (q.state IS NOT 'waiting' OR d.send_at IS NOT q.send_at))
           OR (d.state = 'pending_approval' AND (q.state IS NOT 'held' OR d.send_at IS NOT q.send_at))
           OR d.state NOT IN ('draft', 'sent', 'scheduled', 'pending_upgrade', 'pending_approval')""",
    ),
    (
        "mail is held and nobody is asked, or somebody is asked about mail that does not wait",
        """SELECT CAST(q.no AS TEXT) FROM queue q WHERE q.state = 'held' AND NOT EXISTS
           (SELECT 1 FROM approvals a WHERE a.message_seq = q.message_seq AND a.state = 'open')
           UNION ALL SELECT a.id FROM approvals a LEFT JOIN queue q ON q.message_seq = a.message_seq
           WHERE a.kind = 'send' AND a.state = 'open' AND (q.state IS NULL OR q.state NOT IN ('held', 'waiting'))
           UNION ALL SELECT message_seq FROM approvals WHERE kind = 'send' AND state = 'open'
           GROUP BY message_seq HAVING count(*) > 1""",
    ),
    (
        "sends counted differ from the queue",
        """SELECT u.account_no || ' ' || u.period FROM usages u WHERE u.used < 0 OR u.used <>
           (SELECT coalesce(sum(q.recipients), 0) FROM queue q
            WHERE q.account_no = u.account_no AND (q.counted_day = u.period OR q.counted_month = u.period))
           + (SELECT coalesce(sum(i.recipients), 0) FROM incoming i
            WHERE i.account_no = u.account_no AND (i.counted_day = u.period OR i.counted_month = u.period))
           UNION ALL SELECT CAST(q.no AS TEXT) FROM queue q WHERE q.counted_day IS NOT NULL AND NOT EXISTS
           (SELECT 1 FROM usages u WHERE u.account_no = q.account_no AND u.period = q.counted_day)
           UNION ALL SELECT CAST(q.no AS TEXT) FROM queue q
           WHERE (q.counted_at IS NULL) <> (q.state IN ('waiting', 'held'))
           OR (q.counted_at IS NULL) <> (q.counted_day IS NULL)
           OR (q.counted_at IS NULL) <> (q.counted_month IS NULL)""",
    ),
    (
        "an idempotency row points nowhere",
        """SELECT i.client_id FROM idempotency i LEFT JOIN messages m ON m.id = i.object_id WHERE m.seq IS NULL""",
    ),
    (
        "labels for finding differ from labels for showing",
        """SELECT m.id FROM messages m LEFT JOIN labels l ON l.seq = m.seq
           WHERE m.deleted_at IS NULL
           GROUP BY m.seq HAVING (m.labels_json = '[]') <> (count(l.label) = 0)""",
    ),
    (
        "two live inboxes have one address",
        "SELECT address FROM inboxes WHERE deleted_at IS NULL GROUP BY address HAVING count(*) > 1",
    ),
)  # fmt: skip


async def findings(database: Database, *, deep: bool = False) -> list[str]:
    """One line for everything that is wrong; empty when all is well. `deep` also reads every page of the file."""
    found: list[str] = []
    for what, query in _CHECKS:
        rows = await database.fetch(query)
        found += [f"{what}: {row[0]}" for row in rows[:5]]
    found += [f"broken reference in {row[0]}" for row in await database.fetch("PRAGMA foreign_key_check")]
    check = "integrity_check" if deep else "quick_check"
    found += [str(row[0]) for row in await database.fetch(f"PRAGMA {check}") if row[0] != "ok"]
    return found
