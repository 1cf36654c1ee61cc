"""What lies in a data folder for bridge and owner: names, the lock, the socket and where it is."""

from __future__ import annotations

import os
import stat

SOCKET_NAME = "daimon.sock"
LOCK_NAME = "daimon.lock"
LOG_NAME = "owner.log"
KEY_VARIABLE = "DAIMON_API_KEY"

LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel's own limit is 108 on Linux and 104 on macOS, with the closing NUL."""


def make_data_folder(data_dir: str) -> None:
    """Create the data folder, 0700, if it is missing; one that is there keeps its mode. Raises OSError."""
    os.makedirs(data_dir, mode=0o700, exist_ok=True)


def socket_path(data_dir: str) -> str:
    """Where the owner of `data_dir` listens: `daimon.sock` in it, whatever name the folder is called by.

    A path too long for a Unix socket becomes `/tmp/daimon-<uid>/<hash of the folder>.sock`. It is /tmp and not $TMPDIR,
    because clients start the bridge with few variables: two that differ would never meet.
    """
    folder = os.path.realpath(data_dir)
    path = os.path.join(folder, SOCKET_NAME)
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    import hashlib

    return os.path.join(_short_folder(), hashlib.sha256(os.fsencode(folder)).hexdigest()[:32] + ".sock")


def _short_folder() -> str:
    return f"/tmp/daimon-{os.getuid()}"  # noqa: S108 - check_socket_folder refuses one that is not ours


def check_socket_folder(path: str) -> None:
    """Refuse a socket path in a folder in /tmp that somebody else made or can write to.

    Raises PermissionError; FileNotFoundError when there is no folder yet.
    """
    folder = os.path.dirname(path)
    if folder != _short_folder():
        return
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} must be a folder of mode 0700 that belongs to you; remove it")
