"""Who may write into a record: one file for each is locked while a run writes, and looked at before every write."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from dlbench.errors import RecordError
from dlbench.paths import LockKind
from dlbench.terminal import say

LEASE_SECONDS = 30.0
"""So long after a holder's last sign of life a lease is anybody's. All processes must agree on it."""
REFUSED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
NO_FLOCK = (
    "its file system has no flock, which keeps two processes from writing one record; use paths.lock=lease, choose a "
    "folder on another with paths.runs=FOLDER, or mount it with locks (Lustre: -o flock)"
)


class UnwritableError(RecordError):
    """A folder of runs in which nothing can be written or locked."""


class BusyError(RecordError):
    """Another process holds the record."""


@dataclass(frozen=True)
class _Held:
    """What is held: a record's folder, the file that is locked for it, that file's device and inode, a lease's token.

    As long as the file is held open no other can get its inode; but network file systems may give it away.
    """

    folder: Path
    path: Path
    file: tuple[int, int]
    token: str | None


_held: ContextVar[tuple[_Held, ...]] = ContextVar("held", default=())
"""What this thread holds."""


@contextmanager
def hold(folder: Path, path: Path, kind: LockKind = "flock", wait: bool = True) -> Iterator[None]:
    """Hold a record: a second process that wants it waits. What becomes of a dead one's: see `dlbench.paths.LockKind`.

    Args:
        folder: The record's folder.
        path: The file to lock; a lease lies beside it.
        kind: How it is locked.
        wait: Whether to wait for another holder.

    Raises:
        BusyError: Another process holds it, and ``wait`` is false.
        UnwritableError: The folder of runs cannot be written, or its file system has no locks.
    """
    try:
        lock, file = _acquire(path, f"record {folder.name}", kind, wait)
    except OSError as error:
        if error.errno in REFUSED and kind == "flock":
            raise UnwritableError(f"{folder.parent}: {NO_FLOCK}") from error
        raise UnwritableError(
            f"cannot write to {folder.parent}: {error.strerror or error}; choose another folder with paths.runs=FOLDER"
        ) from error
    token = lock.token if isinstance(lock, SoftFileLease) else None
    before = _held.set((*_held.get(), _Held(folder, _file_of(path, kind), file, token)))
    try:
        yield
    finally:
        _held.reset(before)
        lock.release()


def is_held(path: Path) -> bool:
    """Whether some process or thread holds a record by this file, or by the lease beside it."""
    return _is_leased(path) or _is_locked(path)


@contextmanager
def cache_lock(path: Path) -> Iterator[None]:
    """Lock a file of a cache, by a lease where the file system has no flock."""
    try:
        lock, _ = _acquire(path, path.stem, "flock", wait=True)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        lock, _ = _acquire(path, path.stem, "lease", wait=True)
    try:
        yield
    finally:
        lock.release()


def still_held(path: Path) -> None:
    """See, before something is written to ``path``, that the record it lies in has not been lost to another process.

    Who deletes or replaces the locked file lets a second process in, and so does who gives no sign of life for a
    lease's time. What lies in no held record is not looked at.

    Raises:
        RecordError: The locked file is gone, or another lies in its place.
    """
    for held in _held.get():
        if path.is_relative_to(held.folder) and not _is_still(held):
            raise RecordError(
                f"record {held.folder.name}: {held.path} was deleted or replaced while this process held it, so that "
                "another may be at the record now; nothing more is written; the same command goes on"
            )


def _is_still(held: _Held) -> bool:
    if held.token is None:
        return _file(held.path) == held.file
    for _ in range(2):  # who looks whether a lease has run out moves its file aside for a moment
        with suppress(OSError):
            if held.token in held.path.read_text(encoding="utf-8") and _file(held.path) == held.file:
                return True
        time.sleep(0.2)
    return False


class _Holder:
    """Another's lease, watched until it gives no sign of life.

    Filelock takes a lease over by exchanging two names at once, which network file systems refuse; so a lease that has
    run out is moved out of the way here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, bytes] | None = None
        self._since = time.monotonic()

    def is_silent(self) -> bool:
        """Whether its file has been the same, and untouched, for longer than a lease."""
        seen = None
        with suppress(OSError), self.path.open("rb") as file:  # network file systems ask the server for a file opened
            status = os.fstat(file.fileno())
            seen = status.st_ino, status.st_mtime_ns, file.read()
        if seen is None or seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since > 1.2 * LEASE_SECONDS

    def depose(self) -> None:
        """Move its file out of the way, unless it is another one by now."""
        aside = self.path.with_name(f"{self.path.name}.{uuid4().hex}")
        self._since = time.monotonic()
        with suppress(OSError):
            self.path.rename(aside)
            if self._seen is None or aside.read_bytes() != self._seen[2]:
                os.link(aside, self.path)  # it fails where there is one again
        aside.unlink(missing_ok=True)


def _file_of(path: Path, kind: LockKind) -> Path:
    return path if kind == "flock" else path.with_suffix(".lease")


def _lock(path: Path, kind: LockKind) -> BaseFileLock:
    """A lock that does not outlive its holder for good, as a file that merely exists would."""
    if kind == "lease":
        return SoftFileLease(path, lease_duration=LEASE_SECONDS)
    return FileLock(path, fallback_to_soft=False)


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with _lock(path, "flock").acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno in REFUSED:  # nobody can hold it
            return False
        raise


def _is_leased(path: Path) -> bool:
    """By its age on this machine's clock, so a little longer than a waiting process would think."""
    try:
        return time.time() - _file_of(path, "lease").stat().st_mtime < 2 * LEASE_SECONDS
    except OSError:
        return False


def _acquire(path: Path, what: str, kind: LockKind, wait: bool) -> tuple[BaseFileLock, tuple[int, int]]:
    """Wait for the lock of something; the lock, and the file that is held then."""
    path = _file_of(path, kind)
    lock = _lock(path, kind)
    is_told, busy = False, f"{what}: locked by another process"
    holder = _Holder(path) if kind == "lease" else None
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0 if not is_told else 1 if holder else -1)
        except FileNotFoundError:  # its folder was deleted meanwhile
            continue
        except Timeout:
            is_held_otherwise = False
            if holder and holder.is_silent():
                holder.depose()
                continue
        else:
            is_held_otherwise = _is_leased(path) if kind == "flock" else _is_locked(path.with_suffix(".lock"))
            if not is_held_otherwise and (file := _file(path)):
                if kind == "flock":
                    _file_of(path, "lease").unlink(missing_ok=True)  # it has run out; its holder is to see that
                return lock, file
            lock.release()
            if not is_held_otherwise:  # it was deleted already, so it keeps nobody out
                continue
        if not wait:
            raise BusyError(busy)
        if not is_told:
            say(f"{busy}; waiting")
        is_told = True
        time.sleep(1.0 if is_held_otherwise else 0.0)


def _file(path: Path) -> tuple[int, int] | None:
    """The device and inode of a file; None if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino
