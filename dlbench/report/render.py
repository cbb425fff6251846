"""The report written down: as one page that needs no network, as GitHub-flavoured Markdown, as LaTeX tables."""

import base64
import math
import re
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from dlbench.report.document import (
    Alert,
    Block,
    Cell,
    Column,
    Document,
    Grid,
    Paragraph,
    Picture,
    Points,
    grids,
    plain,
    spans,
    walk,
)
from dlbench.report.figures.style import WIDTH

COLUMN = 48
"""Rem: how wide the page's column of text is."""


def _marked(text: str, code: Callable[[str], str], other: Callable[[str], str]) -> str:
    """A text, what stood between backticks written by ``code``."""
    return "".join(code(piece) if is_code else other(piece) for piece, is_code in spans(text))


# --- the page --------------------------------------------------------------------------------------------------------


def render_html(document: Document) -> str:
    """The whole page, with styles, script and pictures inside it; the same document always gives the same text."""
    environment = Environment(
        loader=PackageLoader("dlbench.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"inline": _html_text, "plain": plain, "source": _source, "width": _width}
    templates = resources.files("dlbench.report") / "templates"
    # Style and script may hold what a template would take for its own.
    css, js = (Markup((templates / name).read_text(encoding="utf-8")) for name in ("style.css", "script.js"))
    return environment.get_template("page.html.j2").render(document=document, css=css, js=js, sort_key=_sort_key)


def _html_text(text: str) -> Markup:
    return Markup(_marked(text, Markup("<code>{}</code>").format, escape))


def _sort_key(cell: Cell, column: Column) -> str | None:
    """What the script sorts by, a number as JavaScript reads it; None for a cell without a value."""
    key = cell.value
    if key is None:
        key = cell.verdict.word if cell.verdict else plain(cell.text)
    if isinstance(key, str) and column.is_number:
        try:
            key = float(key.replace(",", ""))
        except ValueError:
            return None
    if isinstance(key, str):
        return None if key in ("", "-", "\N{EN DASH}", "\N{EM DASH}") else key
    return None if math.isnan(key) else repr(float(key)).replace("inf", "Infinity")


def _source(picture: Picture) -> str:
    """The picture as an address: its ids and styles are its own, whatever else stands in the page."""
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.svg.encode()).decode()}"


def _width(picture: Picture) -> str:
    """How wide the picture is shown: one of `WIDTH` inches fills the column of text."""
    found = re.search(r'<svg[^>]* width="([\d.]+)pt"', picture.svg)
    return f"{COLUMN * float(found[1]) / 72 / WIDTH:.1f}rem" if found else "auto"


# --- Markdown --------------------------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#~$!&]|(?<=\w):(?=//)|(?<=\bwww)\.)", re.IGNORECASE)
_STARTS_BLOCK = re.compile(r"^(\d*)([-+=.)])")


def render_markdown(document: Document) -> str:
    """The whole report in one file that needs no other: of a picture it says in words what it shows."""
    sections = list(walk(document.sections))
    contents = [  # without the claims, which the first section lists
        f"{'  ' * (level - 2)}- [{_markdown(section.title)}](#{quote(section.id)})"
        for level, section in sections
        if not section.verdict
    ]
    parts = [f"# {_markdown(document.title)}", _paragraph(document.about)]
    parts += [*_markdown_blocks(document.blocks), "\n".join(contents)]
    for level, section in sections:
        verdict = f": {section.verdict.sign} {section.verdict.word}" if section.verdict else ""
        parts += [_anchor(section.id), f"{'#' * level} {_markdown(section.title)}{verdict}"]
        parts += _markdown_blocks(section.blocks)
    return "\n\n".join(filter(None, parts)) + "\n"


def _markdown_blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Paragraph(text):
                yield _paragraph(text)
            case Alert(title, lines):
                head = ["> [!CAUTION]", f"> **{_markdown(title)}**", ">"]
                yield "\n".join([*head, *(f"> - {_markdown(line)}" for line in lines)])
            case Points(items):
                yield "\n".join(f"- {_markdown_cell(item)}" for item in items)
            case Picture():
                yield _anchor(block.id)
                words = (f"**{_markdown(block.title)}**", _markdown(block.description), _markdown(block.note or ""))
                yield " ".join(filter(None, words))
            case Grid():
                yield _anchor(block.id)
                yield f"**{_markdown(block.title)}**"
                yield render_grid(block)
                yield _paragraph(block.note or "")


def render_grid(grid: Grid) -> str:
    """A table in Markdown, without its title."""
    rows = [
        [_markdown(column.heading) for column in grid.columns],
        ["--:" if column.is_number else ":--" for column in grid.columns],
        *(map(_markdown_cell, row) for row in grid.rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _markdown_cell(cell: Cell) -> str:
    """What a cell says; its hint is left to the page."""
    text = _markdown_code(cell.text) if cell.is_code and cell.text else _markdown(cell.shown)
    if cell.verdict:
        text = f"{cell.verdict.sign} {cell.verdict.word}{': ' if text else ''}{text}"
    return f"[{text}](#{quote(cell.link)})" if cell.link else text


def _paragraph(text: str) -> str:
    return _STARTS_BLOCK.sub(r"\1\\\2", _markdown(text))


def _anchor(id: str) -> str:
    return f'<a id="{quote(id)}"></a>'


def _markdown(text: str) -> str:
    return _marked(" ".join(text.split()), _markdown_code, _escape_markdown)


def _markdown_code(text: str) -> str:
    text = " ".join(text.splitlines())
    return f"<code>{_escape_markdown(text)}</code>" if set(text) & set("`|") else f"`{text}`"


def _escape_markdown(text: str) -> str:
    """Without a meaning; a pipe becomes its entity, as tables are split before anything else is read."""
    return _SPECIAL.sub(r"\\\1", text).replace("|", "&#124;")


# --- LaTeX -----------------------------------------------------------------------------------------------------------

PAGE_ROWS = 30
"""Grids of more rows break across pages."""

LONG_TEXT = 40
"""Columns with longer texts break their lines."""

_PREAMBLE = r"""% Tables of a report; take them in with \input. For XeLaTeX or LuaLaTeX, with this in the preamble:
%   \usepackage{adjustbox, amssymb, array, booktabs, fontspec, longtable}
% Signs that the font lacks, such as letters of the phonetic alphabet, want another, for example
%   \setmainfont{DejaVu Serif} \setmonofont{DejaVu Sans Mono}
"""

_LIGATURE = re.compile(r"([-<>,'])(?=\1)")
_NAMED = {"\\": "backslash", "^": "asciicircum", "~": "asciitilde", "`": "asciigrave", '"': "quotedbl"}
_MATHEMATICAL = {
    **{"✓": r"\checkmark", "✗": r"\times", "◉": r"\odot", "○": r"\circ", "±": r"\pm", "→": r"\rightarrow"},
    **{"←": r"\leftarrow", "≤": r"\leq", "≥": r"\geq", "≈": r"\approx", "∞": r"\infty", "Δ": r"\Delta"},
    **{"▲": r"\blacktriangle", "▼": r"\blacktriangledown", "†": r"\dagger", "‡": r"\ddagger"},
    **{"\N{MULTIPLICATION SIGN}": r"\times", "\N{MINUS SIGN}": "-"},
}
_ESCAPED = str.maketrans(
    {sign: rf"\text{name}{{}}" for sign, name in _NAMED.items()}
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
    # At the start of a row these would be read as arguments of the command that ended the row before.
    | {sign: f"{{{sign}}}" for sign in "[]*"}
    | {sign: rf"\ensuremath{{{command}}}" for sign, command in _MATHEMATICAL.items()}
)


def render_latex(document: Document) -> str:
    r"""Every grid of the report, in its order, to be taken into a paper with ``\input``."""
    return "\n".join([_PREAMBLE, *map(_table, grids(document))])


def _table(grid: Grid) -> str:
    caption = rf"\caption{{{_latex(grid.title)}}}\label{{tab:{re.sub('[^A-Za-z0-9:.-]', '-', grid.id)}}}\medskip"
    columns = _alignments(grid)
    heading = " & ".join(_latex(column.heading) for column in grid.columns) + r" \\"
    rows = [" & ".join(map(_latex_cell, row)) + r" \\" for row in grid.rows]
    head = [r"\toprule", heading, r"\midrule"]
    note = [rf"{{\footnotesize {_latex(grid.note)}\par}}"] if grid.note else []
    if len(grid.rows) > PAGE_ROWS:
        body = [*head, r"\endfirsthead", *head, r"\endhead", r"\bottomrule", r"\endlastfoot", *rows]
        table = [rf"\begin{{longtable}}{{{columns}}}", rf"{caption}\\", *body, r"\end{longtable}", *note]
        lines = [r"{\footnotesize", *table, "}"]
    else:
        body = [rf"\begin{{tabular}}{{{columns}}}", *head, *rows, r"\bottomrule", r"\end{tabular}"]
        fitted = [r"\begin{adjustbox}{max width=\linewidth}", *body, r"\end{adjustbox}"]
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
    usual = ("r" if column.is_number else "l" for column in grid.columns)
    return "".join(broken if place in long else letter for place, letter in enumerate(usual))


def _latex_cell(cell: Cell) -> str:
    """What a cell says; a verdict stands without its explanation, which would be wider than the page."""
    if cell.verdict:
        return _escape_latex(f"{cell.verdict.sign} {cell.verdict.word}")
    return _latex_code(cell.text) if cell.is_code else _latex(cell.shown)


def _latex(text: str) -> str:
    return _marked(text, _latex_code, _escape_latex)


def _latex_code(text: str) -> str:
    return rf"\texttt{{{_escape_latex(text)}}}"


def _escape_latex(text: str) -> str:
    """The text as it stands: nothing is a command, and no two signs become another, as two hyphens would a dash."""
    return _LIGATURE.sub(r"\1\\/", re.sub(r"\s+", " ", text).translate(_ESCAPED))
