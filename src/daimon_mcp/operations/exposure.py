"""Who has read what strangers wrote: put on record, so that what they send afterwards can be held.

An actor is a key; without one it is this machine's own agent. A mail program that logs in by the account's password
reads nothing here, but whoever set it up may: it counts as the one of its account that has read last.
"""

from __future__ import annotations

from daimon_mcp.domain.accounts import SMTP, Actor
from daimon_mcp.domain.oversight import NOTED_EVERY
from daimon_mcp.operations.core import Core
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction


def _name(actor: Actor) -> str:
    """What the record of one without a key is called."""
    return f"untrusted_at:{actor.account_no}"


async def read_outside_mail(core: Core, actor: Actor) -> None:
    """Put on record that this actor is about to be shown what a stranger wrote; once in ten minutes at most.

    To be awaited before it is shown. The operator is nobody's tool, and not noted.
    """
    now = core.clock.now()
    name = actor.key_id or _name(actor)
    if actor.operator or core.exposed_at.get(name, -NOTED_EVERY) > now - NOTED_EVERY:
        return

    def run(tx: Transaction) -> None:
        if actor.key_id is not None:
            tx.run(sql.key_read_untrusted, id=actor.key_id, now=now)
        else:
            tx.run(sql.meta_put, key=name, value=str(now))

    await core.database.write(run)
    core.exposed_at[name] = now


def untrusted_at(tx: Transaction, actor: Actor) -> int | None:
    """When this actor last read outside mail (epoch µs), as far as is known."""
    if actor.operator:
        return None
    if actor.key_id is not None:
        row = tx.one(sql.key_untrusted, id=actor.key_id)
        return row[0] if row else None
    row = tx.one(sql.meta_get, key=_name(actor))
    times = [int(row[0])] if row else []
    if actor.face == SMTP:
        row = tx.one(sql.keys_untrusted_latest, account_no=actor.account_no)
        times += [row[0]] if row and row[0] is not None else []
    return max(times, default=None)


def pass_on(tx: Transaction, actor: Actor, key_id: str, old_key_id: str | None = None) -> None:
    """Inside a write: a new key counts as one that has read what its maker has, and what the key it replaces has."""
    times = [untrusted_at(tx, actor)]
    if old_key_id is not None:
        row = tx.one(sql.key_untrusted, id=old_key_id)
        times.append(row[0] if row else None)
    known = [each for each in times if each is not None]
    if known:
        tx.run(sql.key_read_untrusted, id=key_id, now=max(known))
