"""Who may write into a record: one file for each is locked while a run writes, and looked at before every write."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from dlbench.errors import RecordError
from dlbench.terminal import say


class UnwritableError(RecordError):
    """A folder of runs in which nothing can be written or locked."""


@dataclass(frozen=True)
class _Held:
    """A record's folder, the file that is locked for it, and that file's device and inode.

    As long as the file is held open no other can get its inode.
    """

    folder: Path
    path: Path
    file: tuple[int, int]


REFUSED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
NO_FLOCK = (
    "its file system has no flock, which keeps two processes from writing one record; choose a folder on another with "
    "paths.runs=FOLDER, or mount it with locks (Lustre: -o flock)"
)

_held: ContextVar[tuple[_Held, ...]] = ContextVar("held", default=())
"""What this thread holds."""


@contextmanager
def hold(folder: Path, path: Path) -> Iterator[None]:
    """Hold a record: a second process that wants it waits; a killed holder lets go by dying.

    Args:
        folder: The record's folder.
        path: The file to lock.

    Raises:
        UnwritableError: The folder of runs cannot be written, or its file system has no locks.
    """
    lock = _lock(path)
    try:
        file = _acquire(lock, folder, path)
    except OSError as error:
        if error.errno in REFUSED:
            raise UnwritableError(f"{folder.parent}: {NO_FLOCK}") from error
        raise UnwritableError(
            f"cannot write to {folder.parent}: {error.strerror or error}; choose another folder with paths.runs=FOLDER"
        ) from error
    token = _held.set((*_held.get(), _Held(folder, path, file)))
    try:
        yield
    finally:
        _held.reset(token)
        lock.release()


def is_held(path: Path) -> bool:
    """Whether some process or thread holds a record by this file."""
    if not path.exists():
        return False
    try:
        with _lock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno in REFUSED:  # nobody can hold it
            return False
        raise


def _lock(path: Path) -> BaseFileLock:
    """A lock that dies with its holder; never filelock's other kind, a file that a killed holder leaves behind."""
    return FileLock(path, fallback_to_soft=False)


def still_held(path: Path) -> None:
    """See, before something is written to ``path``, that the record it lies in has not been lost to another process.

    Who deletes or replaces the locked file lets a second process in. What lies in no held record is not looked at.

    Raises:
        RecordError: The locked file is gone, or another lies in its place.
    """
    for held in _held.get():
        if path.is_relative_to(held.folder) and _file(held.path) != held.file:
            raise RecordError(
                f"record {held.folder.name}: {held.path} was deleted or replaced while this process held it, so that "
                "another may be at the record now; nothing more is written; the same command goes on"
            )


def _acquire(lock: BaseFileLock, folder: Path, path: Path) -> tuple[int, int]:
    """Wait for the lock; the file that is held then."""
    timeout = 0.0
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            say(f"record {folder.name}: locked by another process; waiting")
            timeout = -1
        except FileNotFoundError:  # its folder was deleted meanwhile
            continue
        else:
            if file := _file(path):
                return file
            lock.release()  # deleted already: it keeps nobody out


def _file(path: Path) -> tuple[int, int] | None:
    """The device and inode of a file; None if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino
