"""What one mail costs from its bytes to the commit: parsing, every reading rule, compression, rows, index.

`python -m benchmarks.ingest`: CPU of the whole process for each of some hundred 20 kB multiparts (text, HTML, file),
handed to the core as the inbound listener does, one after the other: a shop's letter with a picture, and a mail that is
mostly a table. The floor is the standard library reading the same
bytes (`email` with its default policy: subject, text, HTML, files) without keeping anything.
"""

from __future__ import annotations

import email
import email.policy
import statistics
import tempfile
import time
from email.message import EmailMessage
from pathlib import Path

from benchmarks.folders import INBOX, settings_for
from benchmarks.loops import run
from benchmarks.mime import typical
from daimon_mcp.app import opened
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.operations.inboxes import CreateInbox

MAILS = 300
_WARM = 20
_ROWS = 76


def table(number: int) -> bytes:
    """A 20 kB mail that is mostly a table with styles of its own in every cell, and numbers in every row."""
    words = f"Order {number}: the blue boxes ship on Friday, the green ones a week later; please confirm by noon."
    message = EmailMessage()
    message["From"] = f"Shop {number} <shop{number}@example.com>"
    message["To"] = INBOX
    message["Subject"] = f"Your order {number} is on its way"
    message["Message-ID"] = f"<order-{number}@example.com>"
    message["Date"] = "Sat, 21 Nov 2026 09:00:00 +0000"
    message.set_content("\n".join(f"{row}. {words}" for row in range(20)))
    rows = "".join(
        f'<tr><td style="padding:4px;font:14px Arial;color:#333">{row}</td><td style="color:#333">{words}</td></tr>'
        for row in range(_ROWS)
    )
    link = f'<a class="button" href="https://shop.example.com/orders/{number}">View your order</a>'
    style = "<style>td{line-height:1.4} .button{background:#06c;color:#fff;padding:8px 16px}</style>"
    message.add_alternative(
        f"<html><head>{style}</head><body><table>{rows}</table>{link}</body></html>", subtype="html"
    )
    message.add_attachment(bytes(range(256)) * 4, maintype="application", subtype="octet-stream", filename="label.bin")
    return message.as_bytes(policy=email.policy.SMTP)


def _stdlib(content: bytes) -> int:
    message = email.message_from_bytes(content, policy=email.policy.default)
    found = len(str(message["subject"]))
    for part in message.walk():
        if part.get_content_maintype() == "text":
            found += len(part.get_content())
        elif not part.is_multipart():
            found += len(bytes(part))
    return found


async def _ours(folder: Path, mails: list[bytes]) -> list[float]:
    async with opened(settings_for(folder), environ={}) as operations:
        actor = await operations.accounts.local_actor()
        await operations.inboxes.create_inbox(actor, CreateInbox(username=INBOX.partition("@")[0]))
        envelope, peer = Envelope("shop@example.com", (INBOX,)), Peer("127.0.0.1", "mx.example.com")
        spent: list[float] = []
        for content in mails:
            before = time.process_time()
            await operations.receiving.receive(envelope, peer, content)
            spent.append(time.process_time() - before)
        return spent[_WARM:]


def main(*, quick: bool = False) -> None:
    """Print the CPU of one mail, and the floor's."""
    for name, make in (("a letter", typical), ("a table", table)):
        _measure(name, [make(number) for number in range(100 if quick else MAILS)])


def _measure(name: str, mails: list[bytes]) -> None:
    floor: list[float] = []
    for content in mails:
        before = time.process_time()
        _stdlib(content)
        floor.append(time.process_time() - before)
    with tempfile.TemporaryDirectory() as folder:
        ours = run(_ours(Path(folder) / "data", mails))
    size = statistics.median(len(each) for each in mails)
    worst = statistics.quantiles(ours, n=100)[98]
    print(f"One multipart of {size:,.0f} bytes, {name}, from its bytes to the commit: CPU of the process")
    print(f"  p50 {1000 * statistics.median(ours):.1f} ms, p99 {1000 * worst:.1f} ms (aim 10 ms)")
    print(f"  floor, stdlib reading alone: p50 {1000 * statistics.median(floor[_WARM:]):.1f} ms")


if __name__ == "__main__":
    main()
