"""What all figures share: colours that colour-blind readers can tell apart, the layout, and the SVG."""

import io
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

WIDTH = 6.0
"""Inches: at 390 pixels across a telephone the smallest letters are still 7 pixels high."""

LETTER = 0.075
"""Inches a letter of a legend takes, about."""

STEPS = (1, 2, 2.5, 5, 10)
"""Ticks stand at multiples of these."""

INK = "#1b1c1d"
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, INK, ORANGE, SKY)
"""Okabe and Ito's, without the yellow, which is too pale for a line."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (6, 1.5, 1.5, 1.5)))

SETTINGS: dict[str, Any] = {
    "svg.fonttype": "path",  # IPA and signs look the same in every reader
    "svg.hashsalt": "dlbench",  # the same figure gives the same bytes
    "text.parse_math": False,
    "path.simplify": False,  # every value is drawn
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    **{f"axes.spines.{side}": False for side in ("top", "right")},
    "axes.axisbelow": True,
    "grid.alpha": 0.16,
    **{f"{part}.major.size": 3.0 for part in ("xtick", "ytick")},
    **{f"{part}width": 0.7 for part in ("axes.line", "grid.line", "xtick.major.", "ytick.major.")},
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick", "grid")},
    **{f"axes.{part}color": INK for part in ("edge", "label", "title")},
}


def styled() -> AbstractContextManager[None]:
    """Matplotlib's settings for all that is drawn within, whatever the user's own."""
    return style.context(["default", SETTINGS])


def panels(
    count: int, height: float, *, columns: int = 2, width: float = WIDTH, is_shared: bool = False
) -> tuple[Figure, list[Any]]:
    """A figure of so many sets of axes, and these; without pyplot's global state.

    Args:
        count: How many.
        height: Of each row of them, in inches, with what is written around.
        columns: At most so many in a row.
        width: Of the figure, in inches.
        is_shared: Whether all have the same vertical axis, written once a row.
    """
    across = min(columns, count)
    rows = math.ceil(count / across)
    figure = Figure(figsize=(width, rows * height), layout="constrained")
    every = list(figure.subplots(rows, across, squeeze=False, sharey=is_shared).flat)
    for spare in every[count:]:
        spare.remove()
    return figure, every[:count]


def legend(figure: Figure, entries: Mapping[str, Any]) -> None:
    """What the names stand for, below the figure, which grows by it."""
    if not entries:
        return
    width, height = figure.get_size_inches()
    columns = max(1, min(len(entries), int(width / (LETTER * max(map(len, entries)) + 0.5))))
    figure.set_size_inches(width, height + 0.1 + 0.19 * math.ceil(len(entries) / columns))
    figure.legend(list(entries.values()), list(entries), loc="outside lower left", ncols=columns)


def svg(figure: Figure) -> str:
    """A figure as an SVG document without date and maker."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return stream.getvalue()
