"""Mail handed in as a mail program does it, without a listener in between."""

from __future__ import annotations

from tests.support.daimon import Daimon
from tests.support.post import ROBO, eml

from daimon_mcp.domain.envelopes import Envelope, Peer, ReceivedContent, Recipient
from daimon_mcp.operations.submitters import Submitter
from daimon_mcp.store import accounts

PROGRAM = Peer(address="127.0.0.1", helo="program.test", cid="c1", esmtp=True, authenticated=True)


async def program(daimon: Daimon) -> Submitter:
    """A program that has logged in with this machine's own account."""
    actor, operations = await daimon.actor(), daimon.operations
    account = await accounts.account_by_no(operations.core.database, actor.account_no)
    password = operations.credentials.smtp_password(account.id, account.smtp_version)
    return await operations.submitting.log_in(account.id, password, "127.0.0.1")


async def submit(
    daimon: Daimon,
    *recipients: Recipient | str,
    content: ReceivedContent | None = None,
    mail_from: str = ROBO,
    ret: str | None = None,
    envid: str | None = None,
) -> str:
    """Hand a message in; its id. Without content, a letter from robo."""
    people = tuple(Recipient(each) if isinstance(each, str) else each for each in recipients)
    addresses = tuple(each.address for each in people)
    envelope = Envelope(mail_from=mail_from, rcpt_to=addresses, recipients=people, ret=ret, envid=envid)
    letter = eml(sender=ROBO, to=addresses[0], subject="Handed in") if content is None else content
    return (await daimon.operations.submitting.accept(await program(daimon), envelope, PROGRAM, letter)).id
