"""What the child may use. Each limit is set where the platform has it; one that it has not is no reason to fail."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Generator

MAX_FILES = 32
_MAX_FILE_SIZE = 8 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def _limit(name: str, soft: int, hard: int) -> None:
    number = getattr(resource, name, None)
    if number is None:
        return
    _, most = resource.getrlimit(number)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(number, (soft, hard))


def confine(memory: int, parent: int) -> None:
    """Bound this process for the rest of its life, and tie it to `parent` (a process id).

    Raises SystemExit when the parent is gone already.
    """
    if sys.platform == "linux":
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write("1000")
    if os.getppid() != parent:
        raise SystemExit(1)
    with contextlib.suppress(OSError):
        os.nice(10)
    _limit("RLIMIT_CORE", 0, 0)
    _limit("RLIMIT_NPROC", 0, 0)
    _limit("RLIMIT_NOFILE", MAX_FILES, MAX_FILES)
    _limit("RLIMIT_FSIZE", 0, _MAX_FILE_SIZE)
    _limit("RLIMIT_AS", memory, memory)


@contextlib.contextmanager
def bytecode_allowed() -> Generator[None]:
    """Files may be written inside: an import may keep its bytecode, or every child compiles it anew."""
    _limit("RLIMIT_FSIZE", _MAX_FILE_SIZE, _MAX_FILE_SIZE)
    try:
        yield
    finally:
        _limit("RLIMIT_FSIZE", 0, _MAX_FILE_SIZE)


def allow_time(seconds: float) -> None:
    """The job that begins may take so long, processor time and wall time, and then the process dies.

    The parent kills sooner. This is for a parent that cannot, and for one that is gone.
    """
    whole = int(seconds) + 2
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _limit("RLIMIT_CPU", int(usage.ru_utime + usage.ru_stime) + whole, resource.RLIM_INFINITY)
    signal.alarm(whole)


def time_over() -> None:
    """The job is done; waiting for the next has no limit here."""
    signal.alarm(0)


def grown(memory: int) -> bool:
    """Whether so much of the address space is taken that the next job should have a new process."""
    try:
        with open("/proc/self/statm", encoding="ascii") as sizes:
            pages = int(sizes.read().split()[0])
    except (OSError, ValueError):
        return False
    return pages * resource.getpagesize() > memory // 2
