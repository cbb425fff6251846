"""The report as GitHub-flavoured Markdown, its pictures beside it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

from dlbench.report.blocks import Alert, Block, Cell, Document, Grid, Paragraph, Picture, Section, plain, spans, walk

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#~$!&])")
_STARTS_BLOCK = re.compile(r"^(\d*)([-+=.)])")


def render_markdown(document: Document, pictures: Mapping[str, str]) -> str:
    """The whole report.

    Args:
        document: The report.
        pictures: Where each picture's SVG file lies, by its id, as seen from where the text will lie.
    """
    sections = list(walk(document.sections))
    contents = [f"{'  ' * (level - 2)}- [{_inline(section.title)}](#{section.id})" for level, section in sections]
    parts = [f"# {_inline(document.title)}", _paragraph(document.about), *_blocks(document.blocks, pictures)]
    parts.append("\n".join(contents))
    for level, section in sections:
        parts += [_anchor(section.id), _heading(level, section), *_blocks(section.blocks, pictures)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _heading(level: int, section: Section) -> str:
    verdict = f": {section.verdict.sign} {section.verdict.word}" if section.verdict else ""
    return f"{'#' * level} {_inline(section.title)}{verdict}"


def _blocks(blocks: Iterable[Block], pictures: Mapping[str, str]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Paragraph(text):
                yield _paragraph(text)
            case Alert(title, lines):
                yield "\n".join(["> [!CAUTION]", f"> **{_inline(title)}**", ">", *(f"> - {_inline(x)}" for x in lines)])
            case Picture():
                yield _anchor(block.id)
                yield f"![{_escaped(plain(block.description))}]({quote(pictures[block.id])})"
                yield _titled(block)
            case Grid():
                yield _anchor(block.id)
                yield f"**{_inline(block.title)}**"
                yield render_grid(block)
                yield _paragraph(block.note or "")


def _titled(picture: Picture) -> str:
    note = f" {_inline(picture.note)}" if picture.note else ""
    return f"**{_inline(picture.title)}**{note}"


def render_grid(grid: Grid) -> str:
    """A table without its title."""
    rules = ["--:" if column.is_number else ":--" for column in grid.columns]
    rows = [
        [_inline(column.heading) for column in grid.columns],
        rules,
        *([_cell(cell) for cell in x] for x in grid.rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    """What a cell says; its hint is left to the page."""
    text = _code(cell.text) if cell.is_code and cell.text else _inline(cell.text)
    if cell.verdict:
        text = f"{cell.verdict.sign} {cell.verdict.word}{': ' if text else ''}{text}"
    return f"[{text}](#{cell.link})" if cell.link else text


def _paragraph(text: str) -> str:
    return _STARTS_BLOCK.sub(r"\1\\\2", _inline(text))


def _anchor(id: str) -> str:
    return f'<a id="{id}"></a>'


def _inline(text: str) -> str:
    return "".join(_code(piece) if is_code else _escaped(piece) for piece, is_code in spans(" ".join(text.split())))


def _code(text: str) -> str:
    text = " ".join(text.splitlines())
    return f"<code>{_escaped(text)}</code>" if set(text) & set("`|") else f"`{text}`"


def _escaped(text: str) -> str:
    """Without a meaning; a pipe becomes its entity, as tables are split before anything else is read."""
    return _SPECIAL.sub(r"\\\1", text).replace("|", "&#124;")
