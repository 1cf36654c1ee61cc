"""Files that are handed to programs on this machine, and taken from them, under one folder and nowhere else.

Every step below the folder is taken from an open descriptor of the step before and follows no symbolic link, so that
nobody who changes the tree meanwhile can lead us out of it.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STEP = _FOLDER | os.O_NOFOLLOW
# A named pipe without a writer would hold up whoever opens it.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNFINISHED = ".daimon-unfinished-"
_MOST_NAMES = 1000
MOST_FILES = 10_000


class NoSuchFile(Exception):
    """There is no regular file of that name inside the folder."""


class TooLarge(Exception):
    """The file is larger than is wanted."""


class FolderFull(Exception):
    """The folder would hold more than it may."""


class FilesFolder:
    """The folder `root`, in which every home has at most `most` octets and `most_files` files.

    A home is a folder right below `root`, or `root` itself without some of these. One process at a time has it all.
    """

    def __init__(self, root: Path, most: int, most_files: int = MOST_FILES) -> None:
        self.root = root
        self._most = most
        self._most_files = most_files
        self._writing = threading.Lock()
        self._tidied: set[str] = set()

    def save(self, parts: Sequence[str], filename: str, content: bytes, *, without: str | None = None) -> Path:
        """Write a file (0600) into the sub-folder `parts`, and say where it is. Blocks.

        `filename` is one name, harmless already. Nothing is overwritten: where the name is taken, the same content is
        found again and other content gets a number. The home is the first of `parts`; without any it is `root`, and
        folders there whose name starts with `without` are other homes. Raises FolderFull, OSError.
        """
        home = parts[0] if parts else ""
        with self._writing, self._folder(parts, make=True) as folder:
            for number in range(1, _MOST_NAMES):
                name = _numbered(filename, number)
                try:
                    present = _content(folder, name, len(content))
                except FileNotFoundError:
                    self._check(home, len(content), without)
                    self._write(folder, name, content)
                    return self.root.joinpath(*parts, name)
                except (OSError, NoSuchFile, TooLarge):
                    continue
                if present == content:
                    return self.root.joinpath(*parts, name)
        raise FolderFull

    def load(self, parts: Sequence[str], path: str, most: int, *, without: str | None = None) -> tuple[str, bytes]:
        """The name and the content of a regular file inside the sub-folder `parts`. Blocks.

        `path` is relative to it, or absolute; links on the way are followed as long as they end inside. What lies in
        a folder there whose name starts with `without` is left out. Raises NoSuchFile, TooLarge (over `most` octets),
        OSError.
        """
        top = Path(os.path.realpath(self.root.joinpath(*parts)))
        try:
            inside = Path(os.path.realpath(top / path)).relative_to(top).parts
        except ValueError:  # outside, or no path at all
            raise NoSuchFile from None
        if not inside or (without is not None and inside[0].startswith(without)):
            raise NoSuchFile
        try:
            with self._folder([*parts, *inside[:-1]], make=False) as folder:
                return inside[-1], _content(folder, inside[-1], most)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchFile from None

    @contextmanager
    def _folder(self, parts: Sequence[str], *, make: bool) -> Generator[int]:
        """A descriptor of the sub-folder `parts`."""
        if make:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.root, _FOLDER)
        try:
            for part in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=descriptor)
                        os.fsync(descriptor)
                step = os.open(part, _STEP, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = step
            yield descriptor
        finally:
            os.close(descriptor)

    def _write(self, folder: int, name: str, content: bytes) -> None:
        """Whole or not at all, even if the machine stops meanwhile. Raises FileExistsError, never overwrites."""
        temporary = _UNFINISHED + secrets.token_hex(8)
        descriptor = os.open(temporary, _NEW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.unlink(temporary, dir_fd=folder)
        os.fsync(folder)

    def _check(self, home: str, size: int, without: str | None) -> None:
        """Raises FolderFull when a file of `size` octets does not fit into a home.

        What an earlier process left half written there is removed at the first look.
        """
        octets, files = size, 1
        for _, folders, names, descriptor in os.fwalk(self.root / home):
            if without is not None:
                folders[:] = [each for each in folders if not each.startswith(without)]
                without = None  # it is said of the top alone
            for name in names:
                with suppress(FileNotFoundError):
                    if name.startswith(_UNFINISHED) and home not in self._tidied:
                        os.unlink(name, dir_fd=descriptor)
                    else:
                        octets += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
                        files += 1
            if octets > self._most or files > self._most_files:
                raise FolderFull
        self._tidied.add(home)


def _content(folder: int, name: str, most: int) -> bytes:
    """A regular file whole. Raises FileNotFoundError, NoSuchFile (not a regular file), TooLarge, OSError."""
    descriptor = os.open(name, _READ, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NoSuchFile
        if found.st_size > most:
            raise TooLarge
        content = file.read(most + 1)  # it may have grown
    if len(content) > most:
        raise TooLarge
    return content


def _numbered(filename: str, number: int) -> str:
    """`report.pdf`, `report (2).pdf`, …"""
    if number == 1:
        return filename
    stem, dot, extension = filename.rpartition(".")
    return f"{stem} ({number}){dot}{extension}" if stem else f"{filename} ({number})"
