"""The files of records: written whole or not at all, read with their damage named, never deleted."""

import contextlib
import errno
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dlbench import files
from dlbench.errors import RecordError
from dlbench.records.lock import still_held

ODD = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError, OSError)
"""What code meets in a record that holds other things than a run writes; it says too little to be shown alone."""


def problem_of(error: Exception) -> str:
    """What is wrong with a record, by a `RecordError` or one of `ODD`, in a line."""
    if isinstance(error, RecordError):
        return str(error)
    if isinstance(error, ValidationError):
        return f"damaged ({first_problem(error)})"
    return f"damaged ({type(error).__name__}: {error})"


def first_problem(error: ValidationError, skip: int = 0) -> str:
    """The first problem: the keys that lead there, but for the outermost ``skip``, and what is wrong."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"][skip:])) or "the whole"
    return f"{where}: {first['msg']}"


@contextlib.contextmanager
def atomic_path(path: Path, name: Callable[[Path], str] | None = None) -> Iterator[Path]:
    """See `dlbench.files.atomic_path`; a folder that lies in the file's place is set aside.

    Raises:
        RecordError: The folder cannot be written, the disk is full, or the record was lost to another process.
    """
    still_held(path)
    if path.is_dir():
        set_aside(path)
    try:
        with files.atomic_path(path, name) as temporary:
            yield temporary
            still_held(path)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = (
            "free some space" if is_full else "choose another folder with paths.runs=FOLDER, or --output for a report"
        )
        raise RecordError(f"cannot write {path}: {error.strerror or error}; {remedy}") from error


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[Path]:
    """A temporary folder within ``folder``; what files are written there are then moved up, each to its place.

    Raises:
        RecordError: The record was lost to another process.
    """
    still_held(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as name:
        yield Path(name)
        for path in sorted(path for path in Path(name).rglob("*") if path.is_file()):
            target = folder / path.relative_to(name)
            still_held(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


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
        RecordError: It is missing, cut short, no object, or beyond the bounds of `parse_json`.
    """
    try:
        value = parse_json(files.regular(path).read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: holds {type(value).__name__}, not an object")
    return value


def parse_json(content: bytes) -> Any:
    """What JSON of anybody's says: values that can be hashed, written again and told in a line.

    Raises:
        ValueError: It is no JSON or no UTF-8, nested deeper than `dlbench.files.DEEPEST`, or has a number that is too
            long or half a character.
    """
    try:
        value = json.loads(content.decode("utf-8"), parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deep") from None
    level, depth = [value], 0
    while level := [each for outer in level for each in _inner(outer)]:
        if (depth := depth + 1) > files.DEEPEST:
            raise ValueError(f"nested deeper than {files.DEEPEST}")
    if rb"\ud" in content.lower():
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _integer(digits: str) -> int:
    if len(digits) > files.MOST_DIGITS:
        raise ValueError(f"a number of more than {files.MOST_DIGITS} digits")
    return int(digits)


def _inner(value: Any) -> Iterable[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (each for each in found if isinstance(each, dict | list))


def read_config(path: Path, content: bytes | None = None) -> dict[str, Any]:
    """A recorded configuration, which is resolved; ``content`` is what its file holds, where that is packed.

    Raises:
        RecordError: It is missing, damaged, no mapping, or beyond the bounds of `dlbench.files.parse_yaml`.
    """
    try:
        return deepcopy(_parsed(files.read_at_most(path) if content is None else content))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({type(error).__name__})") from error
    except RecordError as error:
        raise RecordError(f"{path}{error}") from error


@lru_cache(maxsize=256)
def _parsed(content: bytes) -> dict[str, Any]:
    """Parsed once: who lists or shows records asks several times for the same configuration."""
    config, _ = files.parse_yaml(content, "", RecordError)
    if not isinstance(config, dict):
        raise RecordError(": holds no mapping")
    return config


def is_set_aside(path: Path) -> bool:
    """Whether `set_aside` moved a file or folder to this name."""
    return re.search(r"\.aside-\d+$", path.name) is not None


def set_aside(path: Path) -> Path:
    """Move a bad or outdated file or folder out of the way, beside where it was; nothing is ever deleted.

    Raises:
        RecordError: It cannot be moved, or the record was lost to another process.
    """
    still_held(path)
    number = 1
    while (target := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    try:
        return path.rename(target)
    except OSError as error:
        raise RecordError(f"cannot set {path} aside: {error.strerror or error}; move it by hand") from error
