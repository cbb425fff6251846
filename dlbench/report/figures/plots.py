"""A report's figures, redrawn from our runs: curves over the epochs, and our values beside the published ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from dlbench import files
from dlbench.errors import RecordError
from dlbench.metrics.names import display_name, is_exact, is_fraction
from dlbench.report.checks import Value, held_against
from dlbench.report.document import Grid, Picture
from dlbench.report.figures import artifacts, style
from dlbench.report.figures.artifacts import Drawn, Results
from dlbench.report.results import Result, Runs, RunsOf, Substituted
from dlbench.report.schema import Figure, Report
from dlbench.report.statistics import Interval, prediction_interval
from dlbench.terminal import capitalised, format_value, listed, sentence

CODE = ("report", "report/figures", "metrics", "terminal", "files", "records")
"""What may change a figure."""


def draw(
    figure: Figure,
    report: Report,
    runs_of: RunsOf,
    id: str,
    substituted: Callable[[str], Substituted | None] = lambda _: None,
) -> Picture | Grid | None:
    """A figure as a picture, or a grid where it shows samples; its note says what is left out.

    What stands in for configurations is drawn only where none has runs of its own, under names that say so, and beside
    nothing published. None where there is nothing to draw.

    ``runs_of`` gives the runs of a configuration, ``substituted`` what stands in for one that has none.
    """
    every = {name: runs_of(name).results for name in figure.of}
    is_real = any(every.values())
    used = {} if is_real else {name: found for name in every if (found := substituted(name))}
    names = {name: f"{name} ({used[name].substitute.provenance})" if name in used else name for name in every}
    results = {names[name]: used[name].runs.results if name in used else found for name, found in every.items()}
    results = {name: found for name, found in results.items() if found}
    if not results:
        return None
    lacking = [name for name in every if names[name] not in results]
    planned = [name for name in lacking if report.configurations[name].planned]
    absent = [name for name in lacking if name not in planned]
    said = (("Not run yet", absent), ("No experiment yet", planned))
    problems = [f"{what}: {listed(which)}." for what, which in said if which]
    block = _block(figure.model_copy(update={"of": tuple(names.values())}), report, results, id, problems)
    abouts = dict.fromkeys(found.substitute.note(found.heading) for found in used.values())
    notes = [sentence(note) for note in (figure.note, *abouts, *problems) if note]
    return block and replace(block, note=" ".join(notes) or None)


def _block(figure: Figure, report: Report, results: Results, id: str, problems: list[str]) -> Picture | Grid | None:
    if figure.kind == "samples":
        return artifacts.samples(figure, results, id, problems)
    found: list[str] = []

    def drawn(*_: Any) -> Any:
        told = _drawn(figure, report, results, found)
        # A tuple is no JSON and is not kept: what could not be read now may be read next time.
        return list(told) if told and not found else told

    # It takes half a second, most of the report's time, and depends on files whose hashes the seals hold.
    seals = {name: [(run.training["seal"], run.result["seal"]) for run in runs] for name, runs in results.items()}
    asked = figure.model_dump(mode="json"), report.model_dump(mode="json"), seals
    code = f"{files.code_hash(*CODE)} {matplotlib.__version__} {np.__version__}"
    told = files.kept(drawn, *asked, code=code, place=f"figure-{id}")
    problems += found
    return Picture(id, figure.title, *told) if told else None


def _drawn(figure: Figure, report: Report, results: Results, problems: list[str]) -> Drawn | None:
    match figure.kind:
        case "curves":
            return _curves(figure.metrics, results, problems)
        case "bars":
            return _bars(figure, report, results, problems)
        case "attention":
            return artifacts.attention(results, problems)
        case "confusion":
            return artifacts.confusion(results, problems)
        case _:
            return artifacts.maps(results, problems)


# --- curves: a panel a metric, a line a configuration, the mean over seeds with a band to the extremes ---------------

MARKS = 5
"""Markers a line has, about: enough to tell lines apart without colour."""


@dataclass(frozen=True)
class Line:
    """A configuration's metric at each epoch that all its runs have: mean, lowest and highest over ``n`` runs."""

    configuration: str
    n: int
    epochs: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def line(configuration: str, curves: Iterable[Mapping[int, float]]) -> Line | None:
    """The line of a configuration from a metric's curve in each run, by epoch; None where no run has any."""
    runs = [curve for curve in curves if curve]
    epochs = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    if not epochs:
        return None
    values = np.array([[run[epoch] for epoch in epochs] for run in runs], dtype=np.float64)
    return Line(configuration, len(runs), np.array(epochs), values.mean(0), values.min(0), values.max(0))


def _curves(metrics: Sequence[str], results: Results, problems: list[str]) -> Drawn | None:
    """What is left out, and why, is added to ``problems``; None where no run has any of the metrics."""
    drawn: dict[str, list[Line]] = {}
    for metric in metrics:
        lines = (line(name, [_curve(run, metric, problems) for run in runs]) for name, runs in results.items())
        drawn[metric] = [one for one in lines if one]
    problems += [f"No run has {display_name(metric)} by epoch." for metric, found in drawn.items() if not found]
    drawn = {metric: found for metric, found in drawn.items() if found}
    if not drawn:
        return None
    every = [one for found in drawn.values() for one in found]
    runs = {name: max((one.n for one in every if one.configuration == name), default=0) for name in results}
    labels = {name: f"{name} (n={n})" for name, n in runs.items() if n}
    names = list(labels)
    handles: dict[str, Any] = {}
    with style.styled():
        figure, grid = style.panels(len(drawn), 2.4, width=style.WIDTH if len(drawn) > 1 else 0.8 * style.WIDTH)
        for axes, (metric, found) in zip(grid, drawn.items(), strict=True):
            for one in found:
                shade = 0.2 if len(found) <= 3 else 0.1
                handles[one.configuration] = _plot(axes, one, names.index(one.configuration), shade)
            axes.set_title(capitalised(display_name(metric)))
            axes.set_xlabel("epoch")
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            axes.yaxis.set_major_locator(MaxNLocator(6, steps=style.STEPS))
            axes.margins(x=0.02)
        style.legend(figure, {label: handles[name] for name, label in labels.items()})
        svg = style.svg(figure)
    has_bands = any(one.n > 1 for one in every)
    how = ", each line the mean over seeds with a band from the lowest to the highest" if has_bands else ""
    last = {int(one.epochs[-1]) for one in every}
    when = f"After epoch {max(last)}" if len(last) == 1 else "After the last epoch of each"
    ends = []
    for metric, found in drawn.items():
        means = (f"{one.configuration} {format_value(one.mean[-1])} (n={one.n})" for one in found)
        ends.append(f"{display_name(metric)}: {', '.join(means)}")
    said = capitalised(listed(list(map(display_name, drawn))))
    return svg, f"{said} over the epochs{how}. {when}: {'; '.join(ends)}."


def _curve(result: Result, metric: str, problems: list[str]) -> dict[int, float]:
    """A run's metric by epoch; where it is damaged, that goes to ``problems``."""
    try:
        return {int(row["epoch"]): float(row[metric]) for row in result.curves if metric in row}
    except (RecordError, KeyError, TypeError, ValueError):
        problem = f"Run {result.run} is left out: its metrics.jsonl is damaged."
        if problem not in problems:
            problems.append(problem)
        return {}


def _plot(axes: Any, one: Line, number: int, shade: float) -> Any:
    """The line of the configuration of that number, and its band; what stands for it in a legend."""
    colour = style.COLOURS[number % len(style.COLOURS)]
    if one.n > 1:
        axes.fill_between(one.epochs, one.low, one.high, color=colour, alpha=shade, linewidth=0)
    step = max(1, len(one.epochs) // MARKS)
    (handle,) = axes.plot(
        one.epochs,
        one.mean,
        color=colour,
        marker=style.MARKERS[number % len(style.MARKERS)],
        linestyle=style.DASHES[number // len(style.COLOURS) % len(style.DASHES)],
        markevery=(number % step, step),  # lines that run together do not hide each other's
    )
    return handle


# --- our runs beside what was published: a row a configuration, on an axis of each metric's own ----------------------
# Marks and not bars: a bar must begin at zero, where differences of a point would be too small to see.

ROW, AROUND = 0.27, 0.55
"""Inches a row, and above and below for the title and the axis."""

MEAN: dict[str, Any] = {"marker": "o", "markersize": 6, "color": style.BLUE, "linestyle": "none"}
INTERVAL: dict[str, Any] = {"color": style.BLUE, "linewidth": 4, "alpha": 0.35, "solid_capstyle": "butt"}
RUN: dict[str, Any] = {"marker": "|", "markersize": 4, "color": style.INK, "linestyle": "none", "alpha": 0.8}
PUBLISHED: dict[str, Any] = {
    **{"marker": "D", "markersize": 6, "markeredgewidth": 1.6, "color": style.VERMILION, "linestyle": "none"},
    "markerfacecolor": "none",  # what lies below it is seen
}


@dataclass(frozen=True)
class Bar:
    """One row: a metric in each of our runs, where one more of them is expected, and the values published for it."""

    label: str
    values: tuple[float, ...]
    published: tuple[float, ...]
    interval: Interval | None = None

    @property
    def mean(self) -> float | None:
        """Of our runs."""
        return fmean(self.values) if self.values else None


def bars(metric: str, report: Report, results: Results, of: Iterable[str]) -> list[Bar]:
    """The rows of a metric, of each configuration that was measured or published."""
    count = 1 if is_exact(metric) else None
    found = []
    for name in of:
        rows = [row for table in report.tables for row in table.rows if row.of == name and metric in row.published]
        published = tuple(dict.fromkeys(row.published[metric] for row in rows))
        runs = Runs(results.get(name, ()))
        values = runs.measured(metric)[:count]
        expected = None
        if len(values) > 1 and published:  # as it is judged: on another split, with the error of that
            expected = held_against(published[0], metric, runs, report).interval
        elif len(values) > 1:
            expected = prediction_interval(values)
        found.append(Bar(name, tuple(values), published, expected))
    return [bar for bar in found if bar.values or bar.published]


def _bars(figure: Figure, report: Report, results: Results, problems: list[str]) -> Drawn | None:
    """As `_curves`, of what the figure names."""
    drawn = {metric: bars(metric, report, results, figure.of) for metric in figure.metrics}
    lacking = [metric for metric, rows in drawn.items() if not any(row.values for row in rows)]
    problems += [f"No run has {display_name(metric)}." for metric in lacking]
    drawn = {metric: rows for metric, rows in drawn.items() if metric not in lacking}
    if not drawn:
        return None
    shown = {row.label for rows in drawn.values() for row in rows}
    labels = [name for name in figure.of if name in shown]
    with style.styled():
        canvas, grid = style.panels(len(drawn), AROUND + ROW * len(labels), is_shared=True)
        for axes, (metric, rows) in zip(grid, drawn.items(), strict=True):
            _rows(axes, {labels.index(row.label): row for row in rows}, labels, are_fractions=is_fraction(metric))
            axes.set_title(capitalised(display_name(metric)))
        return _finished(canvas, {display_name(metric): rows for metric, rows in drawn.items()})


def published_against_ours(values: Iterable[Value], id: str) -> Picture | None:
    """Every published accuracy, error rate and similarity beside ours, table by table; None where nothing was run."""
    tables: dict[str, list[Bar]] = {}
    for value in (value for value in values if is_fraction(value.metric)):
        label = f"{value.row.label}: {display_name(value.metric)}"
        bar = Bar(label, tuple(value.ours), (value.published,), value.judged.interval)
        tables.setdefault(value.table.title, []).append(bar)
    tables = {title: bars for title, bars in tables.items() if any(bar.values for bar in bars)}
    if not tables:
        return None
    lines: list[str | Bar] = []
    for title, rows in tables.items():
        lines += [title, *rows]
    labels = [line.label if isinstance(line, Bar) else line for line in lines]
    placed = {place: line for place, line in enumerate(lines) if isinstance(line, Bar)}
    with style.styled():
        figure, (axes,) = style.panels(1, AROUND + ROW * len(lines))
        _rows(axes, placed, labels, are_fractions=True)
        for place, text in enumerate(axes.get_yticklabels()):
            text.set_fontweight("normal" if place in placed else "bold")
        return Picture(id, "Published against ours", *_finished(figure, tables))


def _rows(axes: Any, placed: Mapping[int, Bar], labels: Sequence[str], *, are_fractions: bool) -> None:
    """Marks on one axis; each run stands a little below its row."""
    for place, bar in placed.items():
        if bar.interval:
            axes.plot(bar.interval, (place, place), **INTERVAL)
        if len(bar.values) > 1:
            axes.plot(bar.values, [place + 0.3] * len(bar.values), **RUN)
        if bar.mean is not None:
            axes.plot(bar.mean, place, **MEAN)
        axes.plot(bar.published, [place] * len(bar.published), **PUBLISHED)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=style.STEPS, min_n_ticks=3))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    low, high = axes.get_xlim()
    if are_fractions:  # the interval of two runs may reach far beyond what is possible
        axes.set_xlim(max(low, -0.01), min(high, 1.01))
    elif high > 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _finished(figure: Any, drawn: Mapping[str, Sequence[Bar]]) -> Drawn:
    """With a legend of what is there; as SVG and in words."""
    every = [bar for bars in drawn.values() for bar in bars]
    is_there = {
        "ours, mean": (MEAN, any(bar.values for bar in every)),
        "95% prediction interval": (INTERVAL, any(bar.interval for bar in every)),
        "each run": (RUN, any(len(bar.values) > 1 for bar in every)),
        "published": (PUBLISHED, any(bar.published for bar in every)),
    }
    style.legend(figure, {text: Line2D([], [], **mark) for text, (mark, is_shown) in is_there.items() if is_shown})

    def said(bar: Bar) -> str:
        ours = [] if bar.mean is None else [f"ours {format_value(bar.mean)} (n={len(bar.values)})"]
        return f"{bar.label} {', '.join([*ours, *(f'published {format_value(value)}' for value in bar.published)])}"

    words = "; ".join(f"{heading}: {', '.join(map(said, bars))}" for heading, bars in drawn.items())
    beside = ", beside the published values" if any(bar.published for bar in every) else ""
    what = f"Our runs, their mean and 95% prediction interval{beside}. {capitalised(words)}."
    return style.svg(figure), what
