"""The curves of a run: one JSON line an epoch, and the same in TensorBoard; both can be cut back to an epoch."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from dlbench.errors import RecordError
from dlbench.records.files import atomic_path, first_problem, parse_json, set_aside, write_text
from dlbench.records.lock import still_held


def append(path: Path, row: dict[str, Any]) -> bytes:
    """Add one line to ``metrics.jsonl``; what was written.

    Raises:
        RecordError: It cannot be written, or the record was lost to another process.
    """
    still_held(path)
    line = (json.dumps(row, allow_nan=False) + "\n").encode()
    try:
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}; make room and start again") from error
    return line


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``, oldest first; a last line cut short by a kill is passed over.

    Raises:
        RecordError: A line that is not the last is damaged.
    """
    rows = list(_rows(path))
    if None in rows[:-1]:
        raise RecordError(f"{path}: line {rows.index(None) + 1} is damaged; run it again with rerun=always")
    return [row for row in rows if row is not None]


_CURVES = TypeAdapter(list[dict[str, FiniteFloat]], config=ConfigDict(strict=True))


def check(path: Path, epochs: int) -> None:
    """See that there is a row of finite numbers for each epoch from 1 to the last, and no other.

    Raises:
        RecordError: There is not.
    """
    try:
        rows = _CURVES.validate_python(read(path))
    except ValidationError as error:
        line, *_ = error.errors()[0]["loc"]
        raise RecordError(f"{path}: line {int(line) + 1}: {first_problem(error, skip=1)}") from error
    if epochs != len(rows) or [row["epoch"] for row in rows] != list(range(1, epochs + 1)):
        raise RecordError(f"{path}: holds other epochs than 1 to {epochs}")


def epochs_without_gap(path: Path) -> int:
    """How many epochs from the first on have their row, undamaged and in order."""
    count = 0
    for row in _rows(path):
        if row is None or row["epoch"] != count + 1:
            break
        count += 1
    return count


def _rows(path: Path) -> Iterator[dict[str, Any] | None]:
    """The row of every line, None for a damaged one."""
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        yield row if isinstance(row, dict) and type(row.get("epoch")) is int else None


def digest_of(path: Path, epochs: int) -> str:
    """The SHA-256 of the first so many rows as they stand in the file."""
    lines = path.read_bytes().splitlines(keepends=True)[:epochs]
    return hashlib.sha256(b"".join(lines)).hexdigest()


def cut_back(path: Path, epoch: int) -> None:
    """Keep the first ``epoch`` rows, as far as they are whole, whatever comes after them."""
    whole = min(epoch, epochs_without_gap(path))
    kept = path.read_bytes().splitlines()[:whole] if whole else []
    write_text(path, "".join(line.decode("utf-8") + "\n" for line in kept))


def cut_back_tensorboard(folder: Path, epoch: int) -> None:
    """Keep the events up to step ``epoch`` in every event file, so that no reader ever sees a curve run back.

    A record cut short by a kill ends its file; what came before it is kept. Readers take a folder's files by name, and
    names made within one second are in order of process numbers, so files of earlier tries are renamed to come first.
    Where what is kept does not reach as far as ``epoch``, the files are damaged, and the folder is set aside.
    """
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    last = 0
    try:
        for number, path in enumerate(sorted(folder.glob("events.out.tfevents.*"))):
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                writer = RecordWriter(file)
                for record in RawEventFileLoader(str(path)).Load():
                    if (step := Event.FromString(record).step) <= epoch:
                        writer.write(record)
                        last = max(last, step)
                writer.flush()
            path.rename(path.with_name(f"events.out.tfevents.{number:010d}.earlier"))
    except Exception:  # TensorBoard and protobuf meet damaged bytes with kinds of their own
        last = -1
    if folder.exists() and (last < epoch or any(path.is_dir() for path in folder.iterdir())):
        set_aside(folder)
