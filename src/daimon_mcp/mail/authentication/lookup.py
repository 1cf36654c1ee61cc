"""DNS as the checks see it: a function handed in, bounded for one message."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import idna

MAX_SECONDS = 20.0  # RFC 7208 §4.6.4 asks for this much at least
MAX_LOOKUPS = 120  # different ones; the largest policy that SPF allows needs about as many


# Never in a domain of mail, whatever DNS could hold: addresses in brackets, other fields' punctuation, controls.
_NO_DOMAIN = re.compile(r"[\x00-\x20\x7f\[\]@<>\"(),;:\\]")


class LookupFailed(Exception):
    """DNS gave no answer this time (time-out, SERVFAIL, or more asked than one message may)."""


class Lookup(Protocol):
    """Asks DNS. Called from worker threads; it blocks, and must have a time limit of its own."""

    def __call__(self, name: str, type: str) -> Sequence[bytes | str]:
        """The records of `type` (TXT, A, AAAA, MX, PTR) at `name`, which is ASCII, lower case, without the final dot.

        One item a record: TXT as bytes with its strings joined, addresses as text, MX and PTR as host names, MX by
        preference. Aliases are followed. No such name and no such record are an empty answer. Raises LookupFailed when
        there is no answer.
        """
        ...


class BoundedLookup:
    """A `Lookup` for one message: every question asked once, a limit to their number and to the time they may take."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        seconds: float = MAX_SECONDS,
        most: int = MAX_LOOKUPS,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`elapsed` is a clock that only runs forwards, in seconds."""
        self._lookup = lookup
        self._left = most
        self._elapsed = elapsed
        self._end = elapsed() + seconds
        self._known: dict[tuple[str, str], list[bytes | str] | None] = {}

    def _ask(self, name: str, type: str) -> list[bytes | str]:
        name = name.lower().removesuffix(".")
        if not is_name(name):
            return []
        key = (name, type)
        if key not in self._known:
            if self._left <= 0:
                raise LookupFailed("too many DNS lookups for one message")
            if self._elapsed() >= self._end:
                raise LookupFailed("DNS took too long")
            self._left -= 1
            self._known[key] = None
            self._known[key] = list(self._lookup(name, type))
        answer = self._known[key]
        if answer is None:  # asked before, in vain
            raise LookupFailed("DNS gave no answer")
        return answer

    def texts(self, name: str) -> list[bytes]:
        """The TXT records at a name. Raises LookupFailed, as the others do."""
        return [one if isinstance(one, bytes) else one.encode("utf-8", "replace") for one in self._ask(name, "TXT")]

    def values(self, name: str, type: str) -> list[str]:
        """Addresses or host names; host names in lower case without the final dot."""
        found = self._ask(name, type)
        texts = [one if isinstance(one, str) else one.decode("latin-1") for one in found]
        return [text.lower().removesuffix(".") for text in texts]


def is_name(name: str) -> bool:
    """Whether DNS could have this name: ASCII, labels of 1 to 63 octets, 253 in all."""
    return name.isascii() and 0 < len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split("."))


def ascii_domain(domain: str) -> str:
    """A domain in lower case, as A-labels and without the final dot; "" for what is no name of two labels or more."""
    domain = domain.strip().lower().removesuffix(".")
    if not domain.isascii():
        if len(domain) > 253:
            return ""
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return ""
    return domain if "." in domain and is_name(domain) and not _NO_DOMAIN.search(domain) else ""
