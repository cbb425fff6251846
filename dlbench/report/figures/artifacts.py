"""What an evaluation keeps beside its numbers, read and drawn: attention, maps, confusion, samples; damage is named."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from matplotlib.image import imread
from pydantic import BaseModel, FiniteFloat, TypeAdapter, model_validator

from dlbench.errors import RecordError
from dlbench.files import from_cell
from dlbench.report.document import Cell, Grid, Verdict, texts
from dlbench.report.figures import style
from dlbench.report.results import Result
from dlbench.report.schema import Figure
from dlbench.terminal import format_value, listed

Array = npt.NDArray[np.float64]
T = TypeVar("T")

Results = Mapping[str, Sequence[Result]]
"""The runs of each configuration that has any."""

Drawn = tuple[str, str]
"""A figure as SVG and in words."""


# --- read: what is not there, or damaged, is a RecordError that says so ---------------------------------------------


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

    @property
    def text(self) -> str:
        """What was written."""
        return "".join(self.hypothesis).removesuffix("<eos>") or "(nothing)"


Confusion = dict[str, dict[str, int]]
"""Counts by true class, then predicted one."""


class Prediction(BaseModel):
    """A hypothesis; ``reference`` stands only in records whose data may be quoted."""

    index: int
    rank: int
    hypothesis: str
    reference: str | None = None


def read_attention(result: Result) -> list[Attention]:
    """The attention kept of the first test pairs, in order; where nothing was read or written there is none."""
    kept = _read(result, "artifacts/attention.json", TypeAdapter(list[Attention]).validate_json)
    found = [one for one in kept if one.source and one.hypothesis]
    if not found:
        raise RecordError(f"run {result.run} wrote nothing that attention was kept of")
    return found


def read_maps(result: Result) -> npt.NDArray[Any]:
    """A picture of the evaluation's choice and the first convolution's maps, (height, width, channels)."""
    return _read(result, "artifacts/activation_maps.png", lambda content: imread(io.BytesIO(content)))


def read_confusion(result: Result) -> Confusion:
    """How many test pictures of each class were taken for which."""

    def read(content: bytes) -> Confusion:
        header, *rows = csv.reader(content.decode("utf-8").splitlines())
        if not rows:
            raise ValueError("no class")
        header, *rows = ([from_cell(cell) for cell in row] for row in (header, *rows))
        counts = {name: dict(zip(header[1:], row, strict=True)) for name, *row in rows}
        return TypeAdapter(Confusion).validate_python(counts)

    return _read(result, "artifacts/confusion_matrix.csv", read)


def read_predictions(result: Result) -> dict[int, list[Prediction]]:
    """The hypotheses for each place in the test split, by rank."""

    def read(content: bytes) -> dict[int, list[Prediction]]:
        found: dict[int, list[Prediction]] = {}
        for row in csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True):
            prediction = Prediction.model_validate({name: from_cell(cell) for name, cell in row.items()})
            found.setdefault(prediction.index, []).append(prediction)
        if not found:
            raise ValueError("no row")
        return {index: sorted(kept, key=lambda one: one.rank) for index, kept in found.items()}

    return _read(result, "predictions.csv", read)


def _read(result: Result, name: str, read: Callable[[bytes], T]) -> T:
    short = name.rpartition("/")[2]
    try:
        content = result.evaluation.output(name)
        if content is not None:
            return read(content)
    except (RecordError, OSError, ValueError, KeyError, TypeError, SyntaxError, csv.Error) as error:
        raise RecordError(f"{short} of run {result.run} is damaged") from error
    raise RecordError(f"run {result.run} has no {short}")


def _first_of_each(results: Results, read: Callable[[Result], T], problems: list[str]) -> dict[str, T]:
    """What the first run of each configuration has; where it has none, that goes to ``problems``."""
    found = {}
    for configuration, runs in results.items():
        try:
            found[configuration] = read(runs[0])
        except RecordError as error:
            problems.append(f"{configuration} is left out: {error}.")
    return found


# --- drawn: each as SVG; what is left out, and why, is added to ``problems`` -----------------------------------------

EXAMPLES = 4
"""Of whose attention is drawn."""

SAMPLES = 3
"""So many count for a word where the evaluation does not say."""


def attention(results: Results, problems: list[str]) -> Drawn | None:
    """What the first run of each configuration looked at as it wrote the first words."""
    read = _first_of_each(results, read_attention, problems)
    found = {name: kept[:EXAMPLES] for name, kept in read.items()}
    if not found:
        return None
    shown = [(name, one) for name, kept in found.items() for one in kept]
    tallest = max(len(one.hypothesis) for _, one in shown)
    with style.styled():
        figure, grid = style.panels(len(shown), 0.6 + 0.16 * max(tallest, 6), width=_width(len(shown)))
        for axes, (name, one) in zip(grid, shown, strict=True):
            symbols = ([x.replace(" ", "\N{OPEN BOX}") for x in word] for word in (one.source, one.hypothesis))
            image = _shade(axes, np.array(one.weights), *symbols)
            axes.xaxis.tick_top()
            axes.set_title(one.text if len(found) == 1 else f"{name}: {one.text}")
        scale = figure.colorbar(image, ax=grid, location="bottom", shrink=0.3, anchor=(0, 0), aspect=15)
        scale.set_label("weight; across: symbols read, down: written", loc="left")
        svg = style.svg(figure)

    def looked_at(one: Attention) -> str:
        pairs = zip(one.hypothesis, np.array(one.weights).argmax(axis=1), strict=True)
        return " ".join(f"{written}←{one.source[place]}" for written, place in pairs)

    words = "; ".join(f"{name}: {', '.join(one.text for one in kept)}" for name, kept in found.items())
    most = "; ".join(f"{name}: {', '.join(map(looked_at, kept))}" for name, kept in found.items())
    return svg, (
        f"Attention weights as words are written, a column a symbol read and a row a symbol written. {words}. "
        f"Each symbol written with the one most looked at: {most}."
    )


def confusion(results: Results, problems: list[str]) -> Drawn | None:
    """Which classes were taken for which, the mean count over the runs of each configuration."""
    found: dict[str, list[Confusion]] = {}
    for name, runs in results.items():
        for run in runs:
            try:
                matrix = read_confusion(run)
            except RecordError as error:
                problems.append(f"{name}, seed {run.seed}, is left out: {error}.")
            else:
                found.setdefault(name, []).append(matrix)
    if not found:
        return None
    means = {f"{name} (n={len(kept)})": mean_counts(kept) for name, kept in found.items()}
    tallest = max(len(rows) for rows, _, _ in means.values())
    with style.styled():
        figure, grid = style.panels(len(means), 1.2 + 0.3 * tallest, width=_width(len(means)))
        for axes, (title, (rows, columns, counts)) in zip(grid, means.items(), strict=True):
            shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
            _shade(axes, shares, columns, rows)
            axes.tick_params(axis="x", labelrotation=40)
            for (row, column), value in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.5 else style.INK
                axes.text(column, row, f"{value:.0f}", ha="center", va="center_baseline", color=colour, fontsize=8)
            axes.set_title(title)
        how = "down: true class; across: predicted; shaded by share of the row"
        figure.supxlabel(how, x=0.01, ha="left", size=9)
        svg = style.svg(figure)
    said = "; ".join(f"{title}: {_confused(*mean)}" for title, mean in means.items())
    return svg, f"Test pictures by true class (down) and predicted class (across), shaded by share of the row. {said}."


def mean_counts(kept: Sequence[Confusion]) -> tuple[list[str], list[str], Array]:
    """True classes, predicted classes, and the mean count of each pair; what a run never predicted counts as 0."""
    rows = list(dict.fromkeys(name for one in kept for name in one))
    columns = list(dict.fromkeys(name for one in kept for row in one.values() for name in row))
    counts = [[[one.get(row, {}).get(column, 0) for column in columns] for row in rows] for one in kept]
    return rows, columns, np.mean(counts, axis=0)


def _confused(rows: Sequence[str], columns: Sequence[str], counts: Array) -> str:
    """The share of what is right, and the most frequent mistake."""
    is_right = np.array([[row == column for column in columns] for row in rows])
    wrong = np.where(is_right, 0, counts)
    true, guess = divmod(int(wrong.argmax()), len(columns))
    most = f", most often {rows[true]} is taken for {columns[guess]} ({wrong[true, guess]:.0f})" if wrong.any() else ""
    return f"{format_value(counts[is_right].sum() / max(counts.sum(), 1))} right{most}"


def maps(results: Results, problems: list[str]) -> Drawn | None:
    """What the first layer of each configuration's first run makes of one picture."""
    found = _first_of_each(results, read_maps, problems)
    if not found:
        return None
    columns = 3 if len(found) in (3, 5, 6) and max(map(len, found)) < 24 else 2
    tallest = max(image.shape[0] / image.shape[1] for image in found.values())
    with style.styled():
        figure, grid = style.panels(len(found), style.WIDTH / columns * tallest + 0.25, columns=columns)
        for axes, (name, image) in zip(grid, found.items(), strict=True):
            axes.imshow(image, interpolation="none")
            axes.set_axis_off()
            axes.set_title(name)
        svg = style.svg(figure)
    return svg, (
        "A picture as the network sees it (top left), then what the first convolution's first filters make of it, "
        f"before the nonlinearity, each map on a grey scale of its own: {listed(list(found))}."
    )


def samples(figure: Figure, results: Results, id: str, problems: list[str]) -> Grid | None:
    """A row a word: the published predictions, then the distinct ones of the first run of each configuration."""
    found = _first_of_each(results, read_predictions, problems)
    if not found:
        return None
    headings = [heading for name in found for heading in ("ours" if len(found) == 1 else f"ours, {name}", "")]
    rows = []
    for word, quoted in figure.words.items():
        row = [Cell(word), Cell(", ".join(quoted.published))]
        for name, places in found.items():
            written = hypotheses(word, quoted.place, places, results[name][0], problems)
            is_right = word in written
            verdict = Verdict.RIGHT if is_right else Verdict.WRONG
            reason = f"{'one' if is_right else 'none'} of them is {word}"
            row.append(Cell(", ".join(one or "(nothing)" for one in written) or "-"))
            row.append(Cell(reason, verdict=verdict) if written else Cell("-"))
        rows.append(tuple(row))
    return Grid(id, figure.title, texts("word", "published", *headings), tuple(rows))


def hypotheses(
    word: str, place: int, places: Mapping[int, Sequence[Prediction]], run: Result, problems: list[str]
) -> list[str]:
    """The distinct hypotheses that count for a word, by rank; none where another word stands at its place."""
    counted = int(run.evaluated.get("k", SAMPLES))
    kept = [one for one in places.get(place, ()) if one.rank <= counted]
    other = next((one.reference for one in kept if one.reference not in (None, word)), None)
    if other is not None:
        problems.append(f"Run {run.run} has {other} at place {place}, not {word}.")
        return []
    return list(dict.fromkeys(one.hypothesis for one in kept))


def _shade(axes: Any, values: Array, across: Sequence[str], down: Sequence[str]) -> Any:
    """Cells shaded by their value from 0 to 1, with the names of columns and rows; what a scale is made for."""
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="none")
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    axes.tick_params(length=0, labelsize=9 if max(len(across), len(down)) <= 16 else 7)
    axes.spines[:].set_visible(False)
    return image


def _width(count: int) -> float:
    """Inches: a single panel is not as wide as two."""
    return style.WIDTH if count > 1 else 0.7 * style.WIDTH
