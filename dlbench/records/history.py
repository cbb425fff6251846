"""The curves of a run: one JSON line an epoch, and the same in TensorBoard; both can be cut back to an epoch."""

import json
from pathlib import Path
from typing import Any

from dlbench.errors import RecordError
from dlbench.records.files import atomic_path, write_text


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one line to ``metrics.jsonl``.

    Raises:
        RecordError: It cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}; make room and start again") from error


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``, oldest first; a last line cut short by a kill is passed over.

    Raises:
        RecordError: A line that is not the last is damaged.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise RecordError(f"{path}: line {number} is damaged; run it again with rerun=always") from error
    return rows


def cut_back(path: Path, epoch: int) -> None:
    """Keep the rows up to ``epoch``."""
    kept = [row for row in read(path) if row["epoch"] <= epoch]
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in kept))


def cut_back_tensorboard(folder: Path, epoch: int) -> None:
    """Keep the events up to step ``epoch`` in every event file, so that no reader ever sees a curve run back.

    A record cut short by a kill ends its file; what came before it is kept.
    """
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    for path in sorted(folder.glob("events.out.tfevents.*")):
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            writer = RecordWriter(file)
            for record in RawEventFileLoader(str(path)).Load():
                if Event.FromString(record).step <= epoch:
                    writer.write(record)
            writer.flush()
