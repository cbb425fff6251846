"""What all figures share: names, colours that colour-blind readers can tell apart, and SVG fit for a page."""

import io
import math
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

LINE = 0.185
"""Inches a line of a legend."""

HANDLE, SPACE = 2.4, 1.4
"""A legend's handles and the space between its columns, in letter heights."""

WIDTH = 6.0
"""Inches: at 390 pixels across a telephone the smallest letters are still 7 pixels high."""

STEPS = (1, 2, 2.5, 5, 10)
"""Ticks stand at multiples of these."""

INK = "#1b1c1d"
"""Becomes ``currentColor``: what is drawn in it takes the page's own colour where the page says so."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, INK, ORANGE, SKY)
"""Okabe and Ito's, without the yellow, which is too pale for a line."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (6, 1.5, 1.5, 1.5)))

SETTINGS: dict[str, Any] = {
    "svg.fonttype": "path",  # IPA and signs look the same in every reader
    "svg.hashsalt": "dlbench",
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


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def styled() -> AbstractContextManager[None]:
    """Matplotlib's settings for all that is drawn within, whatever the user's own."""
    return style.context(["default", SETTINGS])


def text_width(text: str, size: float = 9.0) -> float:
    """In inches."""
    return float(TextToPath().get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]) / 72


@dataclass(frozen=True)
class Margins:
    """Inches around each set of axes, for what is written there; ``between`` is what stands between two in a row."""

    left: float
    top: float
    bottom: float
    between: float


def panels(
    count: int, height: float, margins: Margins, *, below: float = 0.0, columns: int = 2, width: float = WIDTH
) -> tuple[Figure, list[Any]]:
    """A figure of so many sets of axes, and these. Without pyplot's global state, and without its slow layouts.

    Args:
        count: How many.
        height: Of each, in inches.
        margins: Around each.
        below: Inches added below all, for a legend.
        columns: At most so many in a row.
        width: Of the figure, in inches.
    """
    across = min(columns, count)
    rows = math.ceil(count / across)
    each = (width - margins.left - 0.08 - (across - 1) * margins.between) / across
    row = margins.top + height + margins.bottom
    whole = rows * row + below
    figure = Figure(figsize=(width, whole))
    FigureCanvasSVG(figure)
    axes: list[Any] = []
    for place in range(count):
        down, right = divmod(place, across)
        left, top = margins.left + right * (each + margins.between), whole - down * row - margins.top
        axes.append(figure.add_axes((left / width, (top - height) / whole, each / width, height / whole)))
    return figure, axes


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int) -> None:
    """A legend at the figure's lower left."""
    spacing = {"handlelength": HANDLE, "columnspacing": SPACE}
    figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 0), ncols=columns, **spacing)


def legend_columns(labels: Sequence[str], width: float = WIDTH) -> int:
    """In how many columns a legend fits; entries run down each column."""
    handle = (HANDLE + SPACE + 0.8) * 9 / 72
    widths = [text_width(label) + handle for label in labels]
    for columns in range(len(widths), 1, -1):
        rows = math.ceil(len(widths) / columns)
        if sum(max(widths[start : start + rows]) for start in range(0, len(widths), rows)) < width:
            return columns
    return 1


def svg(figure: Figure, id: str) -> str:
    """A figure as an SVG element that can stand in a page beside others: its ids are its own, and it has no styles.

    By itself it has a white ground. The same figure gives the same bytes.

    Args:
        figure: What was drawn.
        id: How its ids begin.
    """
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>|<defs>\s*</defs>", "", text, flags=re.DOTALL)
    width, height = (round(72 * inches, 1) for inches in figure.get_size_inches())
    # Attributes give way to a page's styles: there ``svg {color: inherit}`` suits light and dark.
    shared = 'color="#1b1c1e" stroke-linejoin="round" style="background:#fff;max-width:100%;height:auto"'
    root = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'width="{width}pt" height="{height}pt" viewBox="0 0 {width} {height}" {shared}>'
    )
    text = re.sub(r"<svg\b[^>]*>", root, text, count=1)
    # Ids that nothing refers to go, the others get short names that begin with the figure's own.
    used = dict.fromkeys(re.findall(r"(?:href=\"|url\()#([^\")]+)", text))
    names = {name: f"{id}-{number}" for number, name in enumerate(used)}
    text = re.sub(r"((?:href=\"|url\()#)([^\")]+)", lambda found: found[1] + names[found[2]], text)
    text = re.sub(r" id=\"([^\"]+)\"", lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", text)
    return _compact(text).replace(INK, "currentColor")


def _compact(text: str) -> str:
    """Coordinates to a hundredth of a point, spaces that mean nothing gone, groups that hold nothing too."""

    def rounded(found: re.Match[str]) -> str:
        return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), found[0])

    text = re.sub(r"(?<=[ \n])(?:d|x|y|width|height)=\"[^\"]*\"|translate\([^)]*\)", rounded, text)
    text = re.sub(r"\s*\n\s*", " ", text)
    text = re.sub(r"> +<", "><", text).replace(" />", "/>").replace(' "', '"')
    text = re.sub(r"(?<= style=\")[^\"]*", lambda found: re.sub(r"([:;]) ", r"\1", found[0]), text)
    while (fewer := re.sub(r"<g>((?:<(?:path|use|rect)\b[^<>]*/>)*)</g>", r"\1", text)) != text:
        text = fewer
    return text.strip() + "\n"
