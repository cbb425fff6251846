"""Derived files in the cache folder: made once, by one process, and made anew where they are damaged; no torch."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from dlbench.errors import DataError
from dlbench.files import digest
from dlbench.records.lock import cache_lock

_HASHES = "hashes.json"


def filled(folder: Path, fill: Callable[[Path], None]) -> Path:
    """A folder of the cache, which ``fill`` writes files into unless they are there as they were written.

    Raises:
        DataError: The cache cannot be written; or see ``fill``.
    """
    try:
        if not _is_whole(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with cache_lock(Path(f"{folder}.lock")):
                if not _is_whole(folder):  # else another process has filled it meanwhile
                    _fill(folder, fill)
    except OSError as error:
        text = f"{error.filename or folder}: the cache cannot be written ({error.strerror or error})"
        raise DataError(f"{text}; set DLBENCH_CACHE to a folder with room for derived files") from error
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        hashes = json.loads((folder / _HASHES).read_text(encoding="utf-8"))
        return bool(hashes) and all(digest(folder / name) == sha256 for name, sha256 in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _fill(folder: Path, fill: Callable[[Path], None]) -> None:
    unfinished = folder.with_name(f".{folder.name}.tmp")  # the same for all, so that a killed process's goes too
    for old in (unfinished, folder):
        shutil.rmtree(old, ignore_errors=True)
    unfinished.mkdir()
    try:
        fill(unfinished)
        hashes = {path.name: digest(path) for path in unfinished.iterdir()}
        (unfinished / _HASHES).write_text(json.dumps(hashes), encoding="utf-8")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
