"""Metrics over the epochs: a panel each, a line a configuration, the mean over seeds with a band to the extremes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator

from dlbench.errors import RecordError
from dlbench.metrics.names import spoken
from dlbench.report.figures import style
from dlbench.report.results import Result
from dlbench.terminal import capitalised, format_value

Values = npt.NDArray[np.float64]
MARGINS = style.Margins(left=0.47, top=0.3, bottom=0.42, between=0.55)
MARKS = 5
"""Markers a line has, about: enough to tell lines apart without colour."""


@dataclass(frozen=True)
class Line:
    """A configuration's metric at each epoch that all its runs have: mean, lowest and highest over ``n`` runs."""

    configuration: str
    n: int
    epochs: npt.NDArray[np.int64]
    mean: Values
    low: Values
    high: Values

    @property
    def final(self) -> str:
        """The mean at the last epoch, in words."""
        return f"{self.configuration} {format_value(self.mean[-1])} (n={self.n})"


def line(configuration: str, curves: Sequence[Mapping[int, float]]) -> Line | None:
    """The line of a configuration from a metric's curve in each run, by epoch; None where no run has any."""
    runs = [curve for curve in curves if curve]
    if not runs:
        return None
    epochs = sorted(set.intersection(*(set(run) for run in runs)))
    if not epochs:
        return None
    values = np.array([[run[epoch] for epoch in epochs] for run in runs], dtype=np.float64)
    return Line(configuration, len(runs), np.array(epochs), values.mean(0), values.min(0), values.max(0))


def lines(metric: str, results: Mapping[str, Sequence[Result]], problems: list[str]) -> list[Line]:
    """The lines of a metric, of the configurations that have it; runs whose curves are damaged go to ``problems``."""
    found = (line(name, [_curve(result, metric, problems) for result in runs]) for name, runs in results.items())
    return [one for one in found if one is not None]


def draw(
    metrics: Sequence[str], results: Mapping[str, Sequence[Result]], identity: str, problems: list[str]
) -> tuple[str, str] | None:
    """The figure as SVG and in words; None where no run has any of the metrics.

    Args:
        metrics: A panel each.
        results: The runs of each configuration.
        identity: How the SVG's ids begin.
        problems: What is left out, and why, is added to it.
    """
    drawn = {metric: lines(metric, results, problems) for metric in metrics}
    problems += [f"No run has {spoken(metric)} by epoch." for metric, found in drawn.items() if not found]
    drawn = {metric: found for metric, found in drawn.items() if found}
    if not drawn:
        return None
    names = [name for name in results if any(name == one.configuration for found in drawn.values() for one in found)]
    with style.styled():
        return _svg(drawn, names, identity), _description(drawn)


def _curve(result: Result, metric: str, problems: list[str]) -> dict[int, float]:
    try:
        return {int(row["epoch"]): float(row[metric]) for row in result.curves if metric in row}
    except (RecordError, KeyError, TypeError, ValueError):
        problem = f"Run {result.run} is left out: its metrics.jsonl is damaged."
        if problem not in problems:
            problems.append(problem)
        return {}


def _svg(drawn: Mapping[str, Sequence[Line]], names: Sequence[str], identity: str) -> str:
    runs = {
        name: max(one.n for found in drawn.values() for one in found if one.configuration == name) for name in names
    }
    labels = [f"{name} (n={n})" for name, n in runs.items()]
    width = style.WIDTH if len(drawn) > 1 else 0.8 * style.WIDTH
    columns = style.legend_columns(labels, width)
    below = 0.12 + style.LINE * math.ceil(len(labels) / columns)
    figure, grid = style.panels(len(drawn), 1.75, MARGINS, below=below, width=width)
    handles: dict[str, Any] = {}
    for axes, (metric, found) in zip(grid, drawn.items(), strict=True):
        for one in found:
            handles[one.configuration] = _plot(
                axes, one, names.index(one.configuration), 0.2 if len(found) <= 3 else 0.1
            )
        axes.set_title(capitalised(spoken(metric)))
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=style.STEPS))
        axes.margins(x=0.02)
    style.legend(figure, [handles[name] for name in names], labels, columns=columns)
    return style.svg(figure, identity)


def _plot(axes: Any, one: Line, number: int, shade: float) -> Any:
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


def _description(drawn: Mapping[str, Sequence[Line]]) -> str:
    every = [one for found in drawn.values() for one in found]
    how = ", each line the mean over seeds with a band from the lowest to the highest" if _have_bands(every) else ""
    last = {int(one.epochs[-1]) for one in every}
    when = f"After epoch {max(last)}" if len(last) == 1 else "After the last epoch of each"
    ends = "; ".join(f"{spoken(metric)}: {', '.join(one.final for one in found)}" for metric, found in drawn.items())
    said = style.listed([spoken(metric) for metric in drawn])
    return f"{capitalised(said)} over the epochs{how}. {when}: {ends}."


def _have_bands(found: Sequence[Line]) -> bool:
    return any(one.n > 1 for one in found)
