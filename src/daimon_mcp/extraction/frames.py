"""What goes over the pipes between the owner and the child: a JSON header and bytes, each with its length before it."""

from __future__ import annotations

import json
import struct
from typing import Any

LENGTHS = struct.Struct("!II")
"""Octets of the header and octets of the content, in front of every frame."""

MAX_HEADER = 65_536


def lead(header: dict[str, Any], size: int) -> bytes:
    """What goes before `size` octets of content."""
    octets = json.dumps(header).encode()
    return LENGTHS.pack(len(octets), size) + octets
