"""Files that are either whole or not there."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dlbench.errors import RecordError


@contextlib.contextmanager
def atomic_path(path: Path, name: Callable[[Path], str] | None = None) -> Iterator[Path]:
    """A temporary path beside ``path``; what is written there becomes ``path`` at once, or not at all.

    Args:
        path: The file to be.
        name: Its final name, from the temporary file's content; default: as in ``path``.

    Raises:
        RecordError: The folder cannot be written or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary_name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(temporary_name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path.with_name(name(temporary)) if name else path)
    except OSError as error:
        remedy = "free some space" if error.errno == 28 else "choose another folder with paths.runs=FOLDER"
        raise RecordError(f"cannot write {path}: {error.strerror or error}; {remedy}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys in the order given; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RecordError: It is missing, cut short, or no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: holds {type(value).__name__}, not an object")
    return value


def set_aside(path: Path) -> Path:
    """Move a bad or outdated file or folder out of the way, beside where it was; nothing is ever deleted."""
    number = 1
    while (target := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    try:
        return path.rename(target)
    except OSError as error:
        raise RecordError(f"cannot set {path} aside: {error.strerror or error}; move it by hand") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
