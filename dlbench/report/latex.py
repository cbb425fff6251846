"""The report's grids as LaTeX tables, to be taken into a paper with ``\\input``."""

import re
from collections.abc import Iterable

from dlbench.report.blocks import Cell, Document, Grid, spans, walk

LONG_GRID = 30
"""Grids of more rows break across pages."""

LONG_TEXT = 40
"""Columns with longer texts break their lines."""

_PREAMBLE = r"""% Tables of a report; take them in with \input. For XeLaTeX or LuaLaTeX, with this in the preamble:
%   \usepackage{adjustbox, amssymb, array, booktabs, fontspec, longtable}
% Signs that the font lacks, such as letters of the phonetic alphabet, want another, for example
%   \setmainfont{DejaVu Serif} \setmonofont{DejaVu Sans Mono}
"""

_LIGATURE = re.compile(r"([-<>,'])(?=\1)")
_ESCAPED = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "`": r"\textasciigrave{}",
        '"': r"\textquotedbl{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        # At the start of a row these would be read as arguments of the command that ended the row before.
        **{sign: f"{{{sign}}}" for sign in "[]*"},
        **{
            sign: rf"\ensuremath{{\{command}}}"
            for sign, command in {
                "✓": "checkmark",
                "✗": "times",
                "◉": "odot",
                "○": "circ",
                "±": "pm",
                "\N{MULTIPLICATION SIGN}": "times",
                "→": "rightarrow",
                "←": "leftarrow",
                "≤": "leq",
                "≥": "geq",
                "≈": "approx",
                "∞": "infty",
                "Δ": "Delta",
            }.items()
        },
        "\N{MINUS SIGN}": r"\ensuremath{-}",
    }
)


def render_latex(document: Document) -> str:
    """Every grid of the report, in its order."""
    blocks = [*document.blocks, *(block for _, section in walk(document.sections) for block in section.blocks)]
    return "\n".join([_PREAMBLE, *(_table(block) for block in blocks if isinstance(block, Grid))])


def _table(grid: Grid) -> str:
    caption = rf"\caption{{{_inline(grid.title)}}}\label{{tab:{re.sub('[^A-Za-z0-9:.-]', '-', grid.id)}}}\medskip"
    columns = _alignments(grid)
    heading = _row(_inline(column.heading) for column in grid.columns)
    rows = [_row(map(_cell, row)) for row in grid.rows]
    note = [rf"{{\footnotesize {_inline(grid.note)}\par}}"] if grid.note else []
    if len(grid.rows) > LONG_GRID:
        head = [r"\toprule", heading, r"\midrule"]
        body = [*head, r"\endfirsthead", *head, r"\endhead", r"\bottomrule", r"\endlastfoot", *rows]
        table = [rf"\begin{{longtable}}{{{columns}}}", rf"{caption}\\", *body, r"\end{longtable}", *note]
        lines = [r"{\footnotesize", *table, "}"]
    else:
        body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", heading, r"\midrule", *rows, r"\bottomrule"]
        fitted = [r"\begin{adjustbox}{max width=\linewidth}", *body, r"\end{tabular}", r"\end{adjustbox}"]
        lines = [r"\begin{table}", r"\centering", caption, *fitted, *note, r"\end{table}"]
    return "\n".join(lines) + "\n"


def _alignments(grid: Grid) -> str:
    """How each column is set; columns of long texts share most of the page's width."""
    long = {
        place
        for row in grid.rows
        for place, cell in enumerate(row)
        if len(cell.text) > LONG_TEXT and not cell.verdict and not grid.columns[place].is_number
    }
    broken = rf">{{\raggedright\arraybackslash}}p{{{0.6 / max(len(long), 1):.2f}\linewidth}}"
    return "".join(
        broken if place in long else "r" if column.is_number else "l" for place, column in enumerate(grid.columns)
    )


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    """What a cell says; a verdict stands without its explanation, which would be wider than the page."""
    if cell.verdict:
        return _escape(f"{cell.verdict.sign} {cell.verdict.word}")
    return _code(cell.text) if cell.is_code else _inline(cell.text)


def _inline(text: str) -> str:
    return "".join(_code(piece) if is_code else _escape(piece) for piece, is_code in spans(text))


def _code(text: str) -> str:
    return rf"\texttt{{{_escape(text)}}}"


def _escape(text: str) -> str:
    """The text as it stands: nothing is a command, and no two signs become another, as two hyphens would a dash."""
    return _LIGATURE.sub(r"\1\\/", re.sub(r"\s+", " ", text).translate(_ESCAPED))
