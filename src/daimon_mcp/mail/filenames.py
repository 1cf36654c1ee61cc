"""A stranger's file name, made harmless."""

from __future__ import annotations

import re

from daimon_mcp.mail.sanitize import clean_line

MAX_OCTETS = 200

_UNSAFE = re.compile(r'[<>:"|?*]')
_EXTENSIONS = {
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "message/rfc822": ".eml",
    "message/delivery-status": ".txt",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/rfc822-headers": ".txt",
}


def safe_filename(name: str, *, part: str, content_type: str) -> str:
    """The last component of `name` without controls, reserved characters and leading dots, at most 200 octets.

    Its extension survives the cut. Without a usable name: `part-<part>` and an extension for well-known types.
    """
    name = clean_line(name).replace("\\", "/").rpartition("/")[2]
    name = _UNSAFE.sub("_", name).strip(" .")
    if not name:
        return f"part-{part.replace('/', '-')}{_EXTENSIONS.get(content_type, '.bin')}"
    if len(name.encode()) <= MAX_OCTETS:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > 20:
        stem, dot, extension = name, "", ""
    room = MAX_OCTETS - len((dot + extension).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + dot + extension
