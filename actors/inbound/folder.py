"""A folder that others drop files into: taken by one rename, kept in ``archive``, what was wrong of it in ``rejected``.

    folder/NAME → folder/taken/NAME → folder/archive/NAME-<digest>.csv
                                      folder/rejected/NAME-<digest>.csv and ….errors.csv

Names with the digest of what is in the file: the same file twice leaves one of each, and a process that was killed in
between leaves nothing half. Every step is relative to a folder that is open, and nothing is followed: a symbolic link,
a device or a pipe is never taken. What may not enter: what is in a file.
"""

import errno
import fcntl
import fnmatch
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

TAKEN, ARCHIVE, REJECTED = "taken", "archive", "rejected"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: A pipe opened without it waits for a writer that may never come.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FolderUnfit(Exception):
    """The folder cannot be used; the message says why."""


class NoFile(FolderUnfit):
    """What lies there is something else than a plain file, and is never opened."""


class FolderBusy(Exception):
    """Another process is at work in it."""


class Look(Struct, frozen=True):
    """A file as it was seen: it has not changed while all of this stays."""

    inode: int
    bytes: int
    changed_ns: int


class Settling:
    """Which files have not changed for ``settle_seconds``, by looking at them again and again."""

    def __init__(self, settle_seconds: float) -> None:
        self.settle_seconds = settle_seconds
        self._seen: dict[str, tuple[Look, float]] = {}

    def settled(self, found: dict[str, Look], now: float) -> list[str]:
        """Names of ``found`` that may be taken, in order; ``now``: seconds of a clock that never goes back."""
        self._seen = {
            name: self._seen[name] if self._seen.get(name, (None,))[0] == look else (look, now)
            for name, look in found.items()
        }
        return [name for name in sorted(found) if now - self._seen[name][1] >= self.settle_seconds]


class Folder:
    """An open folder with its three rooms; one process at a time is in it. Close it."""

    def __init__(self, path: Path) -> None:
        """Raises FolderUnfit, FolderBusy."""
        self.path = path
        self._open: list[int] = []
        try:
            self._root = self._keep(os.open(path, _DIRECTORY))
            self._rooms = {name: self._room(name) for name in (TAKEN, ARCHIVE, REJECTED)}
            # The kernel lets go of it when the process ends, however it ends.
            fcntl.flock(self._rooms[TAKEN], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise FolderBusy(f"another process is at work in {path}") from None
        except OSError as error:
            self.close()
            raise FolderUnfit(f"{error.filename or path} cannot be used as a folder: {error.strerror}") from None

    def close(self) -> None:
        """Let others in."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open = []

    def _keep(self, descriptor: int) -> int:
        self._open.append(descriptor)
        return descriptor

    def _room(self, name: str) -> int:
        with suppress(FileExistsError):
            os.mkdir(name, 0o770, dir_fd=self._root)
        # Whoever may drop files must not lead them elsewhere.
        return self._keep(os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root))

    def dropped(self, pattern: str) -> dict[str, Look]:
        """Plain files that fit ``pattern``, hidden ones aside, and how each looks now."""
        found = {}
        for name in os.listdir(self._root):
            if name.startswith(".") or not fnmatch.fnmatch(name.lower(), pattern.lower()):
                continue
            with suppress(FileNotFoundError):
                seen = os.stat(name, dir_fd=self._root, follow_symlinks=False)
                if stat.S_ISREG(seen.st_mode):
                    found[name] = Look(seen.st_ino, seen.st_size, seen.st_mtime_ns)
        return found

    def refused(self, pattern: str) -> list[str]:
        """What fits ``pattern`` and is no plain file: links, pipes, devices. It stays where it is."""
        found = []
        for name in sorted(os.listdir(self._root)):
            if name.startswith(".") or not fnmatch.fnmatch(name.lower(), pattern.lower()):
                continue
            with suppress(FileNotFoundError):
                mode = os.stat(name, dir_fd=self._root, follow_symlinks=False).st_mode
                if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                    found.append(name)
        return found

    def take(self, name: str) -> bool:
        """Move a dropped file where nobody else changes it; False while one of its name is there, or it is gone."""
        if name in os.listdir(self._rooms[TAKEN]):
            return False
        try:
            os.rename(name, name, src_dir_fd=self._root, dst_dir_fd=self._rooms[TAKEN])
        except FileNotFoundError:
            return False
        return True

    def taken(self) -> list[str]:
        """Files that were taken and are not archived: those that a killed process left come first."""
        room = self._rooms[TAKEN]
        return sorted(os.listdir(room), key=lambda n: (os.stat(n, dir_fd=room, follow_symlinks=False).st_mtime_ns, n))

    def read(self, name: str) -> BinaryIO:
        """A taken file, open. Raises FolderUnfit for what is no plain file."""
        return opened(name, self._rooms[TAKEN])

    def reject(self, name: str, parts: dict[str, bytes]) -> None:
        """Write files beside each other in ``rejected``: whole, or not at all."""
        for suffix, content in parts.items():
            self._write(REJECTED, name + suffix, content)

    def archive(self, name: str, as_: str) -> None:
        """A taken file is done with."""
        room = self._rooms[ARCHIVE]
        os.rename(name, as_, src_dir_fd=self._rooms[TAKEN], dst_dir_fd=room)
        os.fsync(room)

    def move_to_rejected(self, name: str, as_: str) -> None:
        """A taken file of which nothing can be used."""
        os.rename(name, as_, src_dir_fd=self._rooms[TAKEN], dst_dir_fd=self._rooms[REJECTED])

    def _write(self, room: str, name: str, content: bytes) -> None:
        half = f".{name}.part"[:255]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(half, flags, 0o660, dir_fd=self._rooms[room])
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(half, name, src_dir_fd=self._rooms[room], dst_dir_fd=self._rooms[room])


def lying(path: Path, pattern: str) -> list[str]:
    """Plain files in a folder that fit ``pattern``, for whoever only looks. Raises FolderUnfit."""
    try:
        with os.scandir(path) as entries:
            found = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError as error:
        raise FolderUnfit(f"{path} cannot be used as a folder: {error.strerror}") from None
    return sorted(n for n in found if not n.startswith(".") and fnmatch.fnmatch(n.lower(), pattern.lower()))


def opened(name: str, within: int | None = None) -> BinaryIO:
    """A plain file for reading. Raises NoFile for a link, a pipe or a device, FolderUnfit for what cannot be read."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=within)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NoFile(f"{name} is a link or a socket, no plain file") from None
        raise FolderUnfit(f"{name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoFile(f"{name} is no plain file")
    return os.fdopen(descriptor, "rb")


def digest_of(file: BinaryIO) -> str:
    """Twelve hex digits that stand for what is in the file; it is left at its beginning."""
    found = hashlib.sha256()
    while part := file.read(1_000_000):
        found.update(part)
    file.seek(0)
    return found.hexdigest()[:12]


def kept_name(name: str, digest: str) -> tuple[str, str]:
    """The name of a file in ``archive`` and ``rejected``, in two parts: before and with its suffix."""
    stem, suffix = os.path.splitext(shown(name))
    # 255 bytes are what file systems take; the digest and .errors.csv need room.
    stem = stem.encode()[:180].decode("utf-8", "ignore")
    return f"{stem}-{digest}", suffix.encode()[:20].decode("utf-8", "ignore")


def shown(name: str) -> str:
    """A file's name for people, logs and databases: it may hold bytes that are no text, and ends of lines."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)
