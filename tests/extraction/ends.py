"""Waiting for the end of a process that is nobody's child here."""

from __future__ import annotations

import os
import select


def wait_for_end(pid: int, seconds: float = 20) -> bool:
    """Whether the process ends within `seconds`; True when it is gone already."""
    if hasattr(select, "kqueue"):
        queue = select.kqueue()
        change = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        try:
            return bool(queue.control([change], 1, seconds))
        except ProcessLookupError:
            return True
        finally:
            queue.close()
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    ended = bool(poll.poll(seconds * 1000))
    os.close(fd)
    return ended
