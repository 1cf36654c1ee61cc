"""The signing keys of domains: made, published, seen, replaced.

Keys belong to a name and not to who asks for it, so that a claim nobody proves changes nothing for a domain's mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daimon_mcp.domain.changes import DomainsChanged
from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.domains import (
    Checked,
    DnsRecord,
    PublicKey,
    Purpose,
    RecordState,
    dkim_name,
    is_local_name,
    mail_records,
    retirable,
)
from daimon_mcp.domain.refusals import invalid
from daimon_mcp.operations import domain_views
from daimon_mcp.operations.auditing import note_operator
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.domain_checks import check_all
from daimon_mcp.operations.signing import NewKey, Signing
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import domains as rows
from daimon_mcp.store.database import Transaction
from daimon_mcp.texts import Texts


class DomainKeys:
    """Keys of every domain, and the domains of the configuration, which are the operator's."""

    def __init__(self, core: Core, signing: Signing, texts: Texts) -> None:
        self._core = core
        self._signing = signing
        self._texts = texts

    async def make_server_keys(self) -> None:
        """Signing keys for the domains of the configuration that others can look up, where there are none yet."""
        for name in sorted(self._core.policy.domains):
            if not is_local_name(name):
                await self.published(name)

    async def server_domain(self, name: str, *, check: bool = False) -> dict[str, Any]:
        """A domain of the configuration as `get_domain` shows one; with `check`, beside what the DNS has now.

        Raises INVALID_REQUEST for a name that nobody outside can look up.
        """
        core = self._core
        if is_local_name(name):
            problem = (
                "is a name of this machine or network, which others cannot look up: set [mail] domain to a public one"
            )
            raise invalid("domain", problem)
        records = mail_records(name, hostname=core.policy.hostname, keys=await self.published(name))
        checked = [Checked(record) for record in records]
        if check:
            checked = await check_all(core.resolving(), records, hostname=core.policy.hostname)
            now = core.clock.now()

            def run(tx: Transaction) -> None:
                if note_seen(tx, name, checked, now):
                    tx.announce(DomainsChanged(name))

            await core.database.write(run)
        return {
            "id": None,
            "domain": name,
            "status": "server",
            **domain_views.records_view(checked, self._texts, core.policy.hostname, was_checked=check),
            "zone_file": domain_views.zone_file(records),
        }

    async def rotate_dkim(self, name: str) -> list[DnsRecord]:
        """New keys for a domain, as the records to publish. The old ones sign until a check has seen the new.

        Raises INVALID_REQUEST for a domain without keys, and where a key was not seen in the DNS yet.
        """
        core = self._core
        known = await rows.keys_of(core.database, name)
        if not known:
            raise invalid("domain", "has no keys")
        if not all(key.seen for key in known):
            raise invalid("domain", "has keys that were not seen in the DNS yet: publish them, and verify the domain")
        keys, now = await self._new(name), core.clock.now()

        def run(tx: Transaction) -> None:
            if rows.keys_in(tx, name) != known:
                raise invalid("domain", "got other keys just now; look again")
            self._store(tx, keys, now)
            note_operator(tx, "rotate_dkim", None, by="cli", now=now, domain=name)

        await core.database.write(run)
        return [
            DnsRecord(
                Purpose.DKIM,
                "TXT",
                dkim_name(key.selector, name),
                key.public,
                required=key.algorithm == "rsa-sha256",
            )
            for key in keys
        ]

    async def published(self, name: str) -> list[PublicKey]:
        """The keys to publish for a domain, made now if there are none: up to half a second of a core, in a thread."""
        database = self._core.database
        if known := await rows.keys_of(database, name):
            return known
        keys, now = await self._new(name), self._core.clock.now()

        def run(tx: Transaction) -> list[PublicKey]:
            if not rows.keys_in(tx, name):
                self._store(tx, keys, now)
            return rows.keys_in(tx, name)

        return await database.write(run)

    async def _new(self, name: str) -> list[NewKey]:
        # To the millisecond, so that no selector of a domain comes again: resolvers know the key under the old one.
        now = self._core.clock.now()
        second = "".join(character for character in iso(now) if character.isdigit())[:14]
        return await self._signing.new_keys(name, f"d{second}{now // 1000 % 1000:03}")

    def _store(self, tx: Transaction, keys: Sequence[NewKey], now: int) -> None:
        self._signing.store(tx, keys, now)
        tx.announce(DomainsChanged(keys[0].domain))


def note_seen(tx: Transaction, name: str, checked: Sequence[Checked], now: int) -> bool:
    """Keep which keys were seen, and retire those that newer ones stand in for; whether anything changed."""
    published = {each.record.name for each in checked if each.state is RecordState.OK}
    before = rows.keys_in(tx, name)
    for key in before:
        if dkim_name(key.selector, name) in published:
            tx.run(sql.dkim_seen, domain=name, selector=key.selector, now=now)
    for key in retirable(rows.keys_in(tx, name)):
        tx.run(sql.dkim_retire, domain=name, selector=key.selector, now=now)
    return rows.keys_in(tx, name) != before
