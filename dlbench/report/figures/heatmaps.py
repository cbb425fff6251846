"""Artifacts drawn: what attention looks at, which classes are confused, what the first layer sees."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from dlbench.errors import RecordError
from dlbench.report.figures import artifacts, style
from dlbench.report.figures.artifacts import Array, Attention, Confusion
from dlbench.report.results import Result
from dlbench.terminal import format_value

EXAMPLES = 4
"""Of whose attention is drawn."""

END = "<eos>"
CELL_HEIGHT = 0.3
SHADES = 10
PALETTE = colormaps["Blues"].resampled(SHADES)
LIGHT, DARK = "#ffffff", "#111111"


def attention(results: Mapping[str, Sequence[Result]], identity: str, problems: list[str]) -> tuple[str, str] | None:
    """What the first run of each configuration looked at as it wrote the first words.

    Args:
        results: The runs of each configuration.
        identity: How the SVG's ids begin.
        problems: What is left out, and why, is added to it.
    """
    read = artifacts.first_of_each(results, artifacts.attention, problems)
    found = {name: kept[:EXAMPLES] for name, kept in read.items()}
    if not found:
        return None
    shown = [(name, one) for name, kept in found.items() for one in kept]
    tallest = max(len(one.hypothesis) for _, one in shown)
    with style.styled():
        margins = style.Margins(left=0.5, top=0.5, bottom=0.12, between=0.6)
        figure, grid = style.panels(len(shown), 0.155 * tallest, margins, below=0.5, width=_width(len(shown)))
        for axes, (name, one) in zip(grid, shown, strict=True):
            shade(axes, np.array(one.weights))
            _label(axes, _visible(one.source), _visible(one.hypothesis))
            axes.set_title(_text(one) if len(found) == 1 else f"{name}: {_text(one)}", pad=18)
        _scale(figure, "weight; across: symbols read, down: written")
        svg = style.svg(figure, identity)
    words = "; ".join(f"{name}: {', '.join(map(_text, kept))}" for name, kept in found.items())
    most = "; ".join(f"{name}: {', '.join(map(_looked_at, kept))}" for name, kept in found.items())
    return svg, (
        f"Attention weights as words are written, a column a symbol read and a row a symbol written. {words}. "
        f"Each symbol written with the one most looked at: {most}."
    )


def confusion(results: Mapping[str, Sequence[Result]], identity: str, problems: list[str]) -> tuple[str, str] | None:
    """Which classes were taken for which, the mean count over the runs of each configuration.

    Args:
        results: The runs of each configuration.
        identity: How the SVG's ids begin.
        problems: What is left out, and why, is added to it.
    """
    found: dict[str, tuple[list[str], list[str], Array, int]] = {}
    for name, runs in results.items():
        kept = []
        for run in runs:
            try:
                kept.append(artifacts.confusion(run))
            except RecordError as error:
                problems.append(f"{name}, seed {run.seed}, is left out: {error}.")
        if kept:
            found[name] = (*mean_counts(kept), len(kept))
    if not found:
        return None
    size = max(len(rows) for rows, *_ in found.values())
    with style.styled():
        longest = max(style.text_width(row) for rows, *_ in found.values() for row in rows)
        margins = style.Margins(left=longest + 0.15, top=0.32, bottom=0.64 * longest + 0.2, between=longest + 0.3)
        figure, grid = style.panels(len(found), CELL_HEIGHT * size, margins, below=0.25, width=_width(len(found)))
        _caption(figure, 0.08, 0.12, "down: true class; across: predicted; shaded by share of the row")
        for axes, (name, (rows, columns, counts, n)) in zip(grid, found.items(), strict=True):
            _confusion(axes, rows, columns, counts)
            axes.set_title(f"{name} (n={n})")
        svg = style.svg(figure, identity)
    said = "; ".join(_confused(name, *rest) for name, rest in found.items())
    return svg, f"Test pictures by true class (down) and predicted class (across), shaded by share of the row. {said}."


def maps(results: Mapping[str, Sequence[Result]], identity: str, problems: list[str]) -> tuple[str, str] | None:
    """What the first layer of each configuration's first run makes of one picture.

    Args:
        results: The runs of each configuration.
        identity: How the SVG's ids begin.
        problems: What is left out, and why, is added to it.
    """
    found = artifacts.first_of_each(results, artifacts.maps, problems)
    if not found:
        return None
    columns = 3 if len(found) in (3, 5, 6) else 2
    margins = style.Margins(left=0.08, top=0.32, bottom=0.06, between=0.2)
    with style.styled():
        figure, grid = style.panels(len(found), (style.WIDTH - 0.16) / columns - 0.1, margins, columns=columns)
        for axes, (name, image) in zip(grid, found.items(), strict=True):
            axes.imshow(image, interpolation="none", aspect="equal")
            axes.set_axis_off()
            axes.set_title(name)
        svg = style.svg(figure, identity)
    names = style.listed(list(found))
    return svg, (
        "A picture as the network sees it (top left), then what the first convolution's first filters make of it, "
        f"before the nonlinearity, each map on a grey scale of its own: {names}."
    )


def mean_counts(kept: Sequence[Confusion]) -> tuple[list[str], list[str], Array]:
    """True classes, predicted classes, and the mean count of each pair; what a run never predicted counts as 0."""
    rows = list(dict.fromkeys(name for one in kept for name in one.counts))
    columns = list(dict.fromkeys(name for one in kept for row in one.counts.values() for name in row))
    counts = [[[one.counts.get(row, {}).get(column, 0) for column in columns] for row in rows] for one in kept]
    return rows, columns, np.mean(counts, axis=0)


def shade(axes: Any, values: Array) -> None:
    """Cells shaded by their value from 0 to 1, one path a shade: as crisp as vectors, and small."""
    rows, columns = values.shape
    axes.add_patch(Rectangle((-0.5, -0.5), columns, rows, facecolor=LIGHT, linewidth=0))
    levels = np.clip((values * SHADES).astype(int), 0, SHADES - 1)
    for level in range(1, SHADES):
        cells = [
            Path([(x - 0.5, y - 0.5), (x + 0.5, y - 0.5), (x + 0.5, y + 0.5), (x - 0.5, y + 0.5), (0, 0)], CELL)
            for y, x in np.argwhere(levels == level)
        ]
        if cells:
            axes.add_patch(PathPatch(Path.make_compound_path(*cells), facecolor=PALETTE(level), linewidth=0))
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


CELL = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]


def _confusion(axes: Any, rows: Sequence[str], columns: Sequence[str], counts: Array) -> None:
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    shade(axes, shares)
    for (row, column), value in np.ndenumerate(counts):
        colour = LIGHT if shares[row, column] > 0.5 else DARK
        axes.text(column, row, f"{value:.0f}", ha="center", va="center_baseline", color=colour, fontsize=8)
    _label(axes, columns, rows, is_slanted=True)


def _confused(name: str, rows: Sequence[str], columns: Sequence[str], counts: Array, n: int) -> str:
    index = {column: place for place, column in enumerate(columns)}
    right = sum(counts[place, index[row]] for place, row in enumerate(rows) if row in index)
    wrong = counts.copy()
    for place, row in enumerate(rows):
        if row in index:
            wrong[place, index[row]] = 0
    true, guess = divmod(int(wrong.argmax()), len(columns))
    most = f", most often {rows[true]} is taken for {columns[guess]} ({wrong[true, guess]:.0f})" if wrong.any() else ""
    return f"{name} (n={n}): {format_value(right / max(counts.sum(), 1))} right{most}"


def _looked_at(one: Attention) -> str:
    """For each symbol written the one that weighs most."""
    pairs = zip(one.hypothesis, np.array(one.weights).argmax(axis=1), strict=True)
    return " ".join(f"{written}←{one.source[place]}" for written, place in pairs)


def _text(one: Attention) -> str:
    written = one.hypothesis[:-1] if one.hypothesis[-1:] == (END,) else one.hypothesis
    return "".join(written) or "(nothing)"


def _label(axes: Any, across: Sequence[str], down: Sequence[str], *, is_slanted: bool = False) -> None:
    """Names the columns, above or slanted below, and the rows: as texts, which are drawn sooner than ticks."""
    size = 9.0 if max(len(across), len(down)) <= 16 else 7.0
    slanted: Any = {"ha": "right", "va": "top", "rotation": 40, "rotation_mode": "anchor"}
    column = ((3, -4), slanted) if is_slanted else ((0, 4), {"ha": "center"})
    row = ((-4, 0), {"ha": "right", "va": "center_baseline"})
    places = [(name, (place, len(down) - 0.5 if is_slanted else -0.5), *column) for place, name in enumerate(across)]
    places += [(name, (-0.5, place), *row) for place, name in enumerate(down)]
    for name, where, offset, options in places:
        axes.annotate(name, where, offset, textcoords="offset points", size=size, **options)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _scale(figure: Any, text: str) -> None:
    """What the shades stand for, at the lower left."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.5 / width, 0.2 / height, 1.5 / width, 0.1 / height))
    shade(axes, (np.arange(SHADES)[None] + 0.5) / SHADES)
    axes.set_yticks([])
    axes.set_xticks([-0.5, SHADES / 2 - 0.5, SHADES - 0.5], ["0", "0.5", "1"])
    axes.tick_params(length=2, pad=2)
    axes.spines[:].set_visible(False)
    _caption(figure, 2.15, 0.25, text)


def _caption(figure: Any, left: float, bottom: float, text: str) -> None:
    """A line of text that begins so many inches from the lower left."""
    width, height = figure.get_size_inches()
    figure.text(left / width, bottom / height, text, va="center")


def _width(count: int) -> float:
    """Inches: a single panel is not as wide as two."""
    return style.WIDTH if count > 1 else 0.7 * style.WIDTH


def _visible(symbols: Sequence[str]) -> list[str]:
    return [symbol.replace(" ", "\N{OPEN BOX}") for symbol in symbols]
