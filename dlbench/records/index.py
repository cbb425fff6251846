"""What closed records say, kept in the cache folder: ten thousand are listed in seconds.

A record's files are read and held against their hashes once. After that they count as unchanged while each has the
size, the inode and the times that it had, as for git; else, and for ``records list --check``, they are read again.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sqlite3
import time
import zlib
from pathlib import Path
from typing import Self

from dlbench import files, paths
from dlbench.errors import DataError
from dlbench.records.store import Contents, Record

JUST_NOW = 2_000_000_000
"""Nanoseconds: a file that changed so lately could change again and keep its times."""


class Index:
    """The contents of records by their folders, in one SQLite file; without a cache folder all is read each time.

    It is a context manager: what was read meanwhile is kept at its end. Of a thread's own.
    """

    def __enter__(self) -> Self:
        self._read: list[tuple[bytes, str, bool, bytes]] = []
        self._database = None
        with contextlib.suppress(DataError, OSError, sqlite3.Error):
            self._file = paths.cache_folder() / "records.sqlite"
            self._database = _open(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is None:
            return
        try:
            with contextlib.closing(self._database), self._database:
                if self._read:
                    self._database.executemany("REPLACE INTO record VALUES (?, ?, ?, ?)", self._read)
                    every = self._database.execute("SELECT folder FROM record").fetchall()
                    gone = [row for row in every if _is_gone(row[0])]
                    self._database.executemany("DELETE FROM record WHERE folder = ?", gone)
        except sqlite3.Error as error:
            _remove_damaged(self._file, error)

    def read(self, record: Record, *, whole: bool = False) -> Contents:
        """See `dlbench.records.store.Record.read`; files that did not change are not read again.

        Raises:
            RecordError: A file is missing or damaged.
        """
        stamp = _stamp(record.folder) if self._database and record.training.exists() else None
        if stamp and (kept := self._kept(record.folder, stamp, whole)):
            return kept
        found = record.read(whole=whole)
        if stamp:
            text = json.dumps([getattr(found, field.name) for field in dataclasses.fields(found)])
            if (same := Contents(*json.loads(text))) == found:  # keys that are no text are a text afterwards
                self._read.append((os.fsencode(record.folder), stamp, whole, zlib.compress(text.encode(), 1)))
                return same  # which takes half the memory
        return found

    def _kept(self, folder: Path, stamp: str, whole: bool) -> Contents | None:
        assert self._database
        question = "SELECT contents FROM record WHERE folder = ? AND stamp = ? AND whole >= ?"
        try:
            row = self._database.execute(question, (os.fsencode(folder), stamp, whole)).fetchone()
            return Contents(*json.loads(zlib.decompress(row[0]))) if row else None
        except (sqlite3.Error, zlib.error, ValueError, TypeError):
            return None


def _open(path: Path) -> sqlite3.Connection:
    """The file, made anew where it is none of SQLite's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=1)
    columns = "folder BLOB PRIMARY KEY, stamp TEXT, whole INTEGER, contents BLOB"
    try:
        database.execute(f"CREATE TABLE IF NOT EXISTS record ({columns}) WITHOUT ROWID")
    except sqlite3.Error as error:
        database.close()
        _remove_damaged(path, error)
        raise
    return database


def _remove_damaged(path: Path, error: sqlite3.Error) -> None:
    """Have the file made anew next time, unless it is only locked, full or not to be written."""
    if not isinstance(error, sqlite3.OperationalError):
        with contextlib.suppress(OSError):
            path.unlink()


def _is_gone(folder: bytes) -> bool:
    try:
        return not Path(os.fsdecode(folder)).exists()
    except OSError:  # not now to be read
        return False


def _stamp(folder: Path) -> str | None:
    """A hash of what tells of a change to a record's files, and to the code that reads them.

    None where that would not tell: something changes just now, is a link, or cannot be read.
    """
    found, newest = [], 0
    waiting = [str(folder)]
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    told = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_symlink():
                        return None
                    newest = max(newest, told.st_mtime_ns, told.st_ctime_ns)
                    found.append((entry.path, *files.stamp(told)))
    except OSError:
        return None
    if time.time_ns() - newest < JUST_NOW:
        return None
    # Which may hold records against more than it did, and tells configurations in its own words.
    code = files.code_hash("records", "files", "identity", "components")
    return hashlib.sha256(f"{code} {sorted(found)}".encode(errors="surrogateescape")).hexdigest()
