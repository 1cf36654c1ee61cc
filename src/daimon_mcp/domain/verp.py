"""Variable envelope return paths: what comes back says for sure which delivery it is about.

The return path of a delivery is a sub-address of the sender's own inbox, `agent+b-<number>-<proof>@domain`, so reports
arrive where they belong without a mailbox of their own. The proof is a MAC: nobody can make one up for another's mail.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

_PREFIX = "b-"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def return_path(key: bytes, mail_from: str, delivery_no: int) -> str:
    """The reverse-path of one delivery of a message from `mail_from`; itself, if it would get too long (RFC 5321)."""
    local, _, domain = mail_from.rpartition("@")
    base = local.partition("+")[0]
    path = f"{base}+{_PREFIX}{_base36(delivery_no)}-{_proof(key, base, delivery_no)}"
    return f"{path}@{domain}" if len(path.encode()) <= 64 and not base.startswith('"') else mail_from


def delivery_of(key: bytes, local_part: str, tag: str | None) -> int | None:
    """The number of the delivery that mail to `local_part`+`tag` reports on; None for any other tag."""
    if tag is None or not tag.startswith(_PREFIX):
        return None
    digits, _, proof = tag.removeprefix(_PREFIX).partition("-")
    try:
        number = int(digits, 36)
    except ValueError:
        return None
    if number < 0 or not hmac.compare_digest(proof.encode(), _proof(key, local_part, number).encode()):
        return None
    return number


def _proof(key: bytes, local_part: str, number: int) -> str:
    digest = hmac.new(key, f"{local_part.lower()}|{number}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest[:10]).decode().lower()


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
        if not number:
            return digits
