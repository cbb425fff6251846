"""Our runs beside what was published: a row a configuration, on an axis of each metric's own.

Marks and not bars: a bar must begin at zero, where differences of a point would be too small to see.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from dlbench.metrics.names import is_exact, spoken
from dlbench.report.blocks import Picture
from dlbench.report.figures import style
from dlbench.report.results import Result, ResultsOf
from dlbench.report.schema import Figure, Report, Table
from dlbench.report.statistics import prediction_interval
from dlbench.report.verdicts import measured
from dlbench.terminal import capitalised, format_value

ROW = 0.27
"""Inches a row."""

LEGEND = 0.3
"""Inches below for the legend."""

COLUMNS = 2


@dataclass(frozen=True)
class Bar:
    """One row: a metric in each of our runs, and the values published for it."""

    label: str
    values: tuple[float, ...]
    published: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Of our runs."""
        return fmean(self.values) if self.values else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where one more run is expected, 95%; None of fewer than two runs."""
        return prediction_interval(self.values) if len(self.values) > 1 else None

    @property
    def said(self) -> str:
        """The row in words."""
        parts = [f"published {format_value(value)}" for value in self.published]
        if self.mean is not None:
            parts.insert(0, f"ours {format_value(self.mean)} (n={len(self.values)})")
        return f"{self.label} {', '.join(parts)}"


def bars(metric: str, report: Report, results: Mapping[str, Sequence[Result]], of: Sequence[str]) -> list[Bar]:
    """The rows of a metric, of each configuration that was measured or published."""
    count = 1 if is_exact(metric) else None
    runs = {name: tuple(measured(results.get(name, ()), metric)[:count]) for name in of}
    found = [Bar(name, values, _published(report, name, metric)) for name, values in runs.items()]
    return [bar for bar in found if bar.values or bar.published]


def draw(
    figure: Figure, report: Report, results: Mapping[str, Sequence[Result]], identity: str, problems: list[str]
) -> tuple[str, str] | None:
    """The figure as SVG and in words; None where no run has any of the metrics.

    Args:
        figure: Names configurations and metrics.
        report: Where the published values stand.
        results: The runs of each configuration that has any.
        identity: How the SVG's ids begin.
        problems: What is left out, and why, is added to it.
    """
    drawn = {metric: bars(metric, report, results, figure.of) for metric in figure.metrics}
    problems += [
        f"No run has {spoken(metric)}." for metric, rows in drawn.items() if not any(row.values for row in rows)
    ]
    drawn = {metric: rows for metric, rows in drawn.items() if any(row.values for row in rows)}
    if not drawn:
        return None
    labels = [name for name in figure.of if any(row.label == name for rows in drawn.values() for row in rows)]
    with style.styled():
        canvas, grid = style.panels(len(drawn), ROW * len(labels), _margins(labels), below=LEGEND)
        for number, (axes, (metric, rows)) in enumerate(zip(grid, drawn.items(), strict=True)):
            _rows(axes, {labels.index(row.label): row for row in rows}, style.is_fraction(metric))
            axes.set_yticks(range(len(labels)), labels if number % COLUMNS == 0 else [])
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.set_title(capitalised(spoken(metric)))
        _legend(canvas, [row for rows in drawn.values() for row in rows])
        svg = style.svg(canvas, identity)
    return svg, _description({spoken(metric): rows for metric, rows in drawn.items()})


def published_against_ours(report: Report, results_of: ResultsOf, identity: str) -> Picture | None:
    """Every published accuracy, error rate and similarity of a report beside ours, table by table.

    None where nothing of it was run.

    Args:
        report: The report.
        results_of: Gives the results of a configuration.
        identity: Of the picture.
    """
    tables = {table.title: list(_of_table(table, results_of)) for table in report.tables}
    tables = {title: rows for title, rows in tables.items() if any(row.values for row in rows)}
    if not tables:
        return None
    lines: list[str | Bar] = []
    for title, rows in tables.items():
        lines += [title, *rows]
    labels: list[str] = [line.label if isinstance(line, Bar) else line for line in lines]
    placed = {place: line for place, line in enumerate(lines) if isinstance(line, Bar)}
    with style.styled():
        figure, (axes,) = style.panels(1, ROW * len(lines), _margins(labels, top=0.1), below=LEGEND)
        _rows(axes, placed, is_fraction=True)
        axes.set_yticks(range(len(lines)), labels)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        for place, text in enumerate(axes.get_yticklabels()):
            text.set_fontweight("normal" if place in placed else "bold")
        _legend(figure, list(placed.values()))
        svg = style.svg(figure, identity)
    return Picture(identity, "Published against ours", svg, _description(tables))


def _published(report: Report, configuration: str, metric: str) -> tuple[float, ...]:
    rows = (row for table in report.tables for row in table.rows if row.of == configuration)
    return tuple(dict.fromkeys(row.published[metric] for row in rows if metric in row.published))


def _of_table(table: Table, results_of: ResultsOf) -> Iterator[Bar]:
    for row in table.rows:
        results = results_of(row.of)
        for metric, published in row.published.items():
            if style.is_fraction(metric):
                yield Bar(f"{row.label}: {spoken(metric)}", tuple(measured(results, metric)), (published,))


def _margins(labels: Sequence[str], top: float = 0.3) -> style.Margins:
    return style.Margins(left=0.14 + max(map(style.text_width, labels)), top=top, bottom=0.26, between=0.22)


def _rows(axes: Any, placed: Mapping[int, Bar], is_fraction: bool) -> None:
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
    if is_fraction:  # the interval of two runs may reach far beyond what is possible
        axes.set_xlim(max(low, -0.01), min(high, 1.01))
    elif high > 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _legend(figure: Any, rows: Sequence[Bar]) -> None:
    is_there = {
        "ours, mean": (MEAN, any(row.values for row in rows)),
        "95% prediction interval": (INTERVAL, any(row.interval for row in rows)),
        "each run": (RUN, any(len(row.values) > 1 for row in rows)),
        "published": (PUBLISHED, any(row.published for row in rows)),
    }
    shown = {text: Line2D([], [], **mark) for text, (mark, is_shown) in is_there.items() if is_shown}
    style.legend(figure, list(shown.values()), list(shown), columns=len(shown))


def _description(drawn: Mapping[str, Sequence[Bar]]) -> str:
    said = "; ".join(f"{heading}: {', '.join(row.said for row in rows)}" for heading, rows in drawn.items())
    beside = ", beside the published values" if any(row.published for rows in drawn.values() for row in rows) else ""
    return f"Our runs, their mean and 95% prediction interval{beside}. {capitalised(said)}."


MEAN: dict[str, Any] = {"marker": "o", "markersize": 6, "color": style.BLUE, "linestyle": "none"}
INTERVAL: dict[str, Any] = {"color": style.BLUE, "linewidth": 4, "alpha": 0.35, "solid_capstyle": "butt"}
RUN: dict[str, Any] = {"marker": "|", "markersize": 4, "color": style.INK, "linestyle": "none", "alpha": 0.8}
PUBLISHED: dict[str, Any] = {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "none",  # what lies below it is seen
    "markeredgewidth": 1.6,
    "color": style.VERMILION,
    "linestyle": "none",
}
