"""What is measured of a trained model, one module a task; each fits `dlbench.protocols.Evaluation`."""

import csv
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from dlbench.files import as_cell


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file; see `dlbench.files.as_cell` for texts that look like formulas."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([as_cell(value) for value in row] for row in chain([header], rows))
