"""Asking the DNS: an async stub resolver with a cache, over dnspython's messages.

It asks the name servers it is given, or the system's, and believes what they say about DNSSEC only where the way to
them can be trusted. Knows nothing of mail: what an MX list means is `workers.routing`'s business.
"""

from __future__ import annotations

from daimon_mcp.resolver.answers import (
    Answer,
    BadName,
    Kind,
    MxRecord,
    NoSuchName,
    ResolverError,
    TemporaryFailure,
)
from daimon_mcp.resolver.service import Resolver
from daimon_mcp.resolver.threaded import Threaded

__all__ = [
    "Answer",
    "BadName",
    "Kind",
    "MxRecord",
    "NoSuchName",
    "Resolver",
    "ResolverError",
    "TemporaryFailure",
    "Threaded",
]
