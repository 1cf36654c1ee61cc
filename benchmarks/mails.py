"""Mail as it comes: sizes and shapes that the figures are about."""

from __future__ import annotations

import base64
import os
import random
from email.message import EmailMessage
from email.policy import SMTP

_TEXT = """the order of last week has been sent and will be with you on Friday please answer if anything is missing
from the invoice we have added a discount for the delay meeting notes project budget draft review agenda"""


def prose(size: int, seed: int) -> str:
    """About `size` characters of words in lines."""
    chance = random.Random(seed)
    words, lines = _TEXT.split(), list[str]()
    while size > 0:
        line = " ".join(chance.choice(words) for _ in range(11))
        lines.append(line)
        size -= len(line) + 1
    return "\n".join(lines)


def mail(size: int, seed: int, *, to: str = "bench@agents.localhost", parent: str | None = None) -> bytes:
    """A message of about `size` bytes, different for every seed: text, HTML, and a PDF's worth of noise if large."""
    message = EmailMessage(policy=SMTP)
    message["From"] = f"Ann Example <ann{seed % 40}@example.com>"
    message["To"] = f"Agent <{to}>"
    message["Subject"] = f"Order {seed} has been sent"
    message["Date"] = "Mon, 02 Nov 2026 09:30:00 +0100"
    message["Message-ID"] = f"<{seed}.{os.urandom(6).hex()}@example.com>"
    if parent is not None:
        message["In-Reply-To"] = message["References"] = parent
    for name in ("ARC-Seal", "DKIM-Signature"):
        message[name] = f"v=1; a=rsa-sha256; d=example.com; s=k1; b={base64.b64encode(os.urandom(180)).decode()}"
    if size <= 4096:
        message.set_content(prose(size - 1200, seed))
        return bytes(message)
    text = prose(size // 3 if size < 100_000 else 3000, seed)
    message.set_content(text)
    rows = "".join(f"<p style='margin:0 0 16px'>{line}</p>\n" for line in text.split("\n"))
    message.add_alternative(f"<html><body>{rows}<a href='https://example.com/{seed}'>See it</a></body></html>", "html")
    left = size - len(bytes(message))
    if left > 4096:
        message.add_attachment(os.urandom(left * 3 // 4), "application", "pdf", filename="invoice.pdf")
    return bytes(message)
