"""What an evaluation keeps beside its numbers, read with its damage named: attention, maps, confusion, predictions."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from matplotlib.image import imread
from pydantic import BaseModel, FiniteFloat, TypeAdapter, model_validator

from dlbench.errors import RecordError
from dlbench.report.results import Result

Array = npt.NDArray[np.float64]
T = TypeVar("T")


class Attention(BaseModel):
    """What one written word looked at: ``weights`` has a row a symbol written, a column a symbol read."""

    source: tuple[str, ...]
    hypothesis: tuple[str, ...]
    weights: tuple[tuple[FiniteFloat, ...], ...]

    @model_validator(mode="after")
    def _fits(self) -> "Attention":
        if len(self.weights) != len(self.hypothesis) or any(len(row) != len(self.source) for row in self.weights):
            raise ValueError("weights do not fit the symbols")
        return self


class Confusion(BaseModel):
    """Counts by true class, then predicted one."""

    counts: dict[str, dict[str, int]]


class Prediction(BaseModel):
    """A hypothesis; ``reference`` stands only in records whose data may be quoted."""

    index: int
    rank: int
    hypothesis: str
    reference: str | None = None


def attention(result: Result) -> list[Attention]:
    """The attention kept of the first test pairs, in order; where nothing was read or written there is none.

    Raises:
        RecordError: There is none, or it is damaged.
    """
    reader = TypeAdapter(list[Attention])
    kept = _read(result, "artifacts/attention.json", lambda content: reader.validate_python(json.loads(content)))
    found = [one for one in kept if one.source and one.hypothesis]
    if not found:
        raise RecordError(f"run {result.run} wrote nothing that attention was kept of")
    return found


def maps(result: Result) -> npt.NDArray[Any]:
    """A picture of the evaluation's choice and the first convolution's maps, (height, width, channels).

    Raises:
        RecordError: There is none, or it is damaged.
    """
    return _read(result, "artifacts/activation_maps.png", lambda content: imread(io.BytesIO(content)))


def confusion(result: Result) -> Confusion:
    """How many test pictures of each class were taken for which.

    Raises:
        RecordError: There is none, or it is damaged.
    """
    return _read(result, "artifacts/confusion_matrix.csv", _read_confusion)


def predictions(result: Result) -> dict[int, list[Prediction]]:
    """The hypotheses for each place in the test split, by rank.

    Raises:
        RecordError: There are none, or they are damaged.
    """
    return _read(result, "predictions.csv", _read_predictions)


def first_of_each(
    results: Mapping[str, Sequence[Result]], read: Callable[[Result], T], problems: list[str]
) -> dict[str, T]:
    """What the first run of each configuration has; where it has none, that goes to ``problems``."""
    found = {}
    for configuration, runs in results.items():
        try:
            found[configuration] = read(runs[0])
        except RecordError as error:
            problems.append(f"{configuration} is left out: {error}.")
    return found


def _read(result: Result, name: str, read: Callable[[bytes], T]) -> T:
    short = name.rpartition("/")[2]
    try:
        content = result.evaluation.output(name)
        if content is not None:
            return read(content)
    except (RecordError, OSError, ValueError, KeyError, TypeError, SyntaxError, csv.Error) as error:
        raise RecordError(f"{short} of run {result.run} is damaged") from error
    raise RecordError(f"run {result.run} has no {short}")


def _read_confusion(content: bytes) -> Confusion:
    header, *rows = csv.reader(content.decode("utf-8").splitlines())
    if not rows:
        raise ValueError("no class")
    counts: Any = {name: dict(zip(header[1:], row, strict=True)) for name, *row in rows}
    return Confusion(counts=counts)


def _read_predictions(content: bytes) -> dict[int, list[Prediction]]:
    found: dict[int, list[Prediction]] = {}
    for row in csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True):
        prediction = Prediction.model_validate(row)
        found.setdefault(prediction.index, []).append(prediction)
    if not found:
        raise ValueError("no row")
    return {index: sorted(kept, key=lambda one: one.rank) for index, kept in found.items()}
