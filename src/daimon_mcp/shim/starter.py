"""Starting an owner, detached, and learning of its end without being its parent."""

from __future__ import annotations

import os
import select

from daimon_mcp.shim.folder import LOCK_NAME, LOG_NAME
from daimon_mcp.shim.words import Leave, say

# Type checkers read this name as true; importing `typing` to say so would cost more than the rest of the module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_VARIABLE = "DAIMON_API_KEY"
SPAWN_STEP = 0.25
FAILED_STARTS = 3
LAST_WORDS = 2000


class Starter:
    """Starts owners that outlive the bridge, and learns of their end without being their parent."""

    def __init__(self, data_dir: str, command: Sequence[str]) -> None:
        self._command = list(command)
        self._lock = os.path.join(data_dir, LOCK_NAME)
        self._log = os.path.join(data_dir, LOG_NAME)
        self._log_size = 0  # bytes in the log when an owner was last started
        self._alive = -1  # the read end of a pipe that the started owner holds open
        self._again_at = 0.0
        self._failures = 0

    def nobody_listens(self, now: float) -> None:
        """Start an owner unless the one started before still has to come up.

        Raises Leave when FAILED_STARTS owners in a row failed, OSError when processes cannot be started or the log
        cannot be written.
        """
        if self._alive >= 0:
            if not self._ended():
                return
            self.forget()
            # One that found the lock taken, or was killed, leaves without a word. One that fails says why, and what was
            # written while somebody has the lock may be that one's.
            words = self._words()
            self._failures = self._failures + 1 if words and self._lock_is_free() else 0
            if self._failures >= FAILED_STARTS:
                raise Leave(1, f"the mail server does not start; the end of {self._log}:\n{words}")
            self._again_at = now + SPAWN_STEP
        if now >= self._again_at:
            self._alive = self._spawn()

    def listens(self) -> None:
        """An owner began a session: earlier failures are history."""
        self._failures = 0
        self.forget()

    def forget(self) -> None:
        """Close our end of the pipe."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1

    def _ended(self) -> bool:
        poll = select.poll()
        poll.register(self._alive, select.POLLIN)
        return bool(poll.poll(0))

    def _lock_is_free(self) -> bool:
        import fcntl

        try:
            fd = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def _words(self) -> str:
        """The end of what owners wrote since one was last started."""
        try:
            with open(self._log, "rb") as log:
                log.seek(max(self._log_size, os.fstat(log.fileno()).st_size - LAST_WORDS))
                return log.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _spawn(self) -> int:
        """Two forks, so that whoever kills this process with its children leaves the owner to its other clients."""
        log = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._log_size = os.fstat(log).st_size
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                if os.fork() == 0:
                    self._become_owner(log, write_end)
            finally:
                os._exit(0)
        os.close(log)
        os.close(write_end)
        os.waitpid(child, 0)
        return read_end

    def _become_owner(self, log: int, write_end: int) -> None:
        os.umask(0o077)
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, standard in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, standard)
        os.set_inheritable(write_end, True)
        # What the client's program leaked into us must not live on in the owner.
        os.closerange(3, write_end)
        os.closerange(write_end + 1, 1024)
        os.chdir("/")
        # The key is this client's and goes into its hello; the owner serves others.
        environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
        try:
            os.execve(self._command[0], self._command, environment)  # noqa: S606 - a fixed list, and no shell on purpose
        except OSError as error:
            say(f"{self._command[0]}: {error.strerror}")
