"""The report's files: written from the records at hand, each whole or not at all."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dlbench.errors import ConfigError
from dlbench.records.files import write_text
from dlbench.records.store import Store
from dlbench.report.document import Picture, walk
from dlbench.report.evidence import Evidence
from dlbench.report.render import render_grid, render_html, render_latex, render_markdown
from dlbench.report.results import collect
from dlbench.report.schema import Report
from dlbench.report.sections import build, headlines
from dlbench.report.tidy import csv_text
from dlbench.report.verdicts import Verdicts

PAGE = "index.html"
MARKS = "<!-- published against reproduced: make docs-report writes this table -->", "<!-- end of table -->"


def judge(reports: dict[str, Report], folders: Iterable[Path]) -> Verdicts:
    """All verdicts on the reports from the records in these folders."""
    return Verdicts(Evidence(reports, collect(map(Store, folders))))


def write(verdicts: Verdicts, folder: Path) -> None:
    """Write ``index.html``, ``report.md``, ``tables.tex``, ``numbers.csv`` and ``figures/*.svg``.

    Raises:
        RecordError: The folder cannot be written.
    """
    document = build(verdicts)
    pictures = {
        block.id: block
        for _, section in walk(document.sections)
        for block in section.blocks
        if isinstance(block, Picture)
    }
    paths = {identity: f"figures/{identity}.svg" for identity in pictures}
    for path in (folder / "figures").glob("*.svg"):
        # Of a figure that is there no more; other people's pictures have other names.
        if path.stem not in pictures and path.stem.startswith(tuple(f"{name}-" for name in verdicts.evidence.reports)):
            path.unlink()
    for identity, picture in pictures.items():
        write_text(folder / paths[identity], picture.svg)
    write_text(folder / "report.md", render_markdown(document, paths))
    write_text(folder / "tables.tex", render_latex(document))
    write_text(folder / "numbers.csv", csv_text(verdicts))
    write_text(folder / PAGE, render_html(document))


def renew_readme(verdicts: Verdicts, path: Path) -> None:
    """Write the main table between the `MARKS` of a Markdown file.

    Raises:
        ConfigError: The file has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    if not all(text.count(mark) == 1 for mark in MARKS):
        raise ConfigError(f"{path}: the lines {MARKS[0]} and {MARKS[1]} must stand in it once each")
    before, _, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    write_text(path, f"{before}{MARKS[0]}\n\n{main_table(verdicts)}\n\n{MARKS[1]}{after}")


def main_table(verdicts: Verdicts) -> str:
    """The main table in Markdown, its verdicts in a word, and its note."""
    grid = headlines(verdicts)
    rows = tuple(tuple(replace(cell, text="") if cell.verdict else cell for cell in row) for row in grid.rows)
    return f"{render_grid(replace(grid, rows=rows))}\n\n{grid.note}"
