"""The files of records: written whole or not at all, read with their damage named, never deleted."""

import contextlib
import errno
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from dlbench import files
from dlbench.errors import RecordError
from dlbench.records.lock import still_held

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where it is there, reads hundreds of records in the time of the other's dozens."""


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
        remedy = "free some space" if is_full else "choose another folder with paths.runs=FOLDER"
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
        RecordError: It is missing, cut short, or no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: holds {type(value).__name__}, not an object")
    return value


def read_config(path: Path) -> dict[str, Any]:
    """Read a recorded configuration, which is resolved.

    Raises:
        RecordError: It is missing, damaged, or no mapping.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({type(error).__name__})") from error
    return parse_config(content, path)


def parse_config(content: bytes, path: Path) -> dict[str, Any]:
    """The same from what a file holds.

    Raises:
        RecordError: It is damaged, or no mapping.
    """
    try:
        config = yaml.load(content.decode("utf-8"), Loader=LOADER)
    except (ValueError, yaml.YAMLError) as error:
        raise RecordError(f"{path}: cannot be read ({type(error).__name__})") from error
    if not isinstance(config, dict):
        raise RecordError(f"{path}: holds no mapping")
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
