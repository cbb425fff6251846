"""What is measured of a trained model, one module a task; each fits `dlbench.protocols.Evaluation`."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dlbench.errors import RecordError
from dlbench.files import as_cell
from dlbench.tasks.base import Task, read_metrics


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics, each of them a finite number.

    Raises:
        RecordError: One is not; the message names it.
    """
    if unfit := next((name for name, value in metrics.items() if not math.isfinite(value)), None):
        remedy = "where the network's outputs overflow, trainer.precision=32-true or a smaller optimizer.lr may help"
        raise RecordError(f"{unfit} is not finite, so the run has no result; {remedy}")
    return dict(metrics)


def tested(trainer: pl.Trainer, task: Task, loader: Iterable[Any]) -> dict[str, float]:
    """What the task itself logs of a test split.

    Raises:
        RecordError: See `finite`.
    """
    trainer.test(task, loader, verbose=False)
    return finite(read_metrics(trainer))


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file; see `dlbench.files.as_cell` for texts that look like formulas."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([as_cell(value) for value in row] for row in chain([header], rows))
