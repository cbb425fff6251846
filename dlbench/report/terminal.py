"""Sections of the report on a terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from dlbench.report.document import Cell, Grid, Section
from dlbench.terminal import print_whole

STYLES = {"good": "green", "bad": "red", "open": "yellow", "none": "dim"}


def show(section: Section) -> None:
    """Print the grids of a section."""
    for block in section.blocks:
        if isinstance(block, Grid):
            print_whole(table_of(block))


def table_of(grid: Grid) -> Table:
    """A grid as a table."""
    table = Table(
        title=grid.title, title_justify="left", caption=grid.note, caption_justify="left", box=box.SIMPLE_HEAD
    )
    for column in grid.columns:
        table.add_column(column.heading, justify="right" if column.is_number else "left")
    for row in grid.rows:
        table.add_row(*map(_text, row))
    return table


def _text(cell: Cell) -> Text:
    if cell.verdict is None:
        return Text(cell.text)
    return Text(f"{cell.verdict.sign} {cell.verdict.word}", style=STYLES[cell.verdict.tone])
