"""Public ids: a prefix and 26 Crockford base32 characters that sort by time of creation."""

from __future__ import annotations

import os
import re

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ".lower()
_SHAPE = re.compile(r"^[a-z]+_[0-9A-Za-z-]{1,64}\Z")

# Older prefixes found in the field's documents, accepted on input.
_ALIASES = {"inbox_": "inb_", "thread_": "thr_"}


def new_id(prefix: str, now: int) -> str:
    """A fresh id such as `msg_01k…`: 48 bits of milliseconds, then 80 random bits from the system."""
    number = ((now // 1000) & ((1 << 48) - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    return prefix + "_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def canonical_id(text: str) -> str:
    """An id as the store keeps it: older prefixes rewritten, space around it dropped."""
    text = text.strip()
    for alias, prefix in _ALIASES.items():
        if text.startswith(alias):
            return prefix + text[len(alias) :]
    return text


def looks_like_id(text: str, prefix: str) -> bool:
    """Whether `text` is shaped like an id with `prefix` (without its underscore)."""
    return text.startswith(prefix + "_") and bool(_SHAPE.match(text))
