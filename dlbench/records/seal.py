"""Seals: the SHA-256 of every file of a record in its closing file, and of the closing file in itself."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dlbench.errors import RecordError
from dlbench.files import digest
from dlbench.records import schema
from dlbench.records.files import is_set_aside, read_json, write_json

OPTIONAL = ("checkpoints/", "tensorboard/")
"""What a record may be without, once its training is done: it is cleaned away, and not committed."""

DERIVED = ("events.out.tfevents.final",)
"""Made of other files of the record, and made anew when it is looked at."""


def hashes(folder: Path, *, without: Collection[str] = ()) -> dict[str, str]:
    """The SHA-256 of every file below a folder by its path there, but for the top-level names in ``without``."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        is_passing = any(is_set_aside(Path(part)) or part.endswith(".tmp") for part in parts)
        if path.is_file() and not is_passing and parts[0] not in without and path.name not in DERIVED:
            found["/".join(parts)] = digest(path)
    return found


def close(path: Path, content: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Write a closing file (``training.json``, ``result.json``), atomically: its content, the hashes, its own seal."""
    sealed = {"schema": schema.VERSION, **content, "files": dict(files)}
    write_json(path, {**sealed, "seal": _seal(sealed)})


def read(path: Path) -> dict[str, Any]:
    """Read a closing file.

    Raises:
        RecordError: It is damaged, or of another schema.
    """
    content = read_json(path)
    version = content.get("schema")
    if version != schema.VERSION:
        is_newer = isinstance(version, int) and version > schema.VERSION
        remedy = "update dlbench" if is_newer else "it is damaged, or too old to be read"
        raise RecordError(f"{path}: schema {version}, but this version reads {schema.VERSION}; {remedy}")
    if content.get("seal") != _seal({key: value for key, value in content.items() if key != "seal"}):
        raise RecordError(f"{path}: damaged, its seal does not fit its content")
    if not isinstance(content.get("files"), dict):
        raise RecordError(f"{path}: has no hashes of files")
    return content


def check(folder: Path, files: Mapping[str, str], *, only: Collection[str] | None = None) -> None:
    """Hold files against their hashes; those that a record may be without are held only where they are.

    Args:
        folder: Where the paths begin.
        files: The hashes by path.
        only: The paths to look at; default: all.

    Raises:
        RecordError: One is missing or damaged; it is named.
    """
    for name, expected in files.items():
        path = folder / name
        if (only is not None and name not in only) or (name.startswith(OPTIONAL) and not path.exists()):
            continue
        if not path.is_file():
            raise RecordError(f"{path}: is missing")
        try:
            is_whole = digest(path) == expected
        except OSError as error:
            raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
        if not is_whole:
            raise RecordError(f"{path}: damaged, it is not the file that was recorded")


def _seal(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
