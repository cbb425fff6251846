"""The report's files: written from the records at hand, each whole or not at all."""

from collections.abc import Iterable
from pathlib import Path

from dlbench.records.files import write_text
from dlbench.records.store import Store
from dlbench.report.blocks import Picture, walk
from dlbench.report.document import build
from dlbench.report.evidence import Evidence
from dlbench.report.html import render_html
from dlbench.report.latex import render_latex
from dlbench.report.markdown import render_markdown
from dlbench.report.published import Report
from dlbench.report.results import collect
from dlbench.report.tidy import csv_text
from dlbench.report.verdicts import Verdicts

PAGE = "index.html"


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
    for identity, picture in pictures.items():
        write_text(folder / paths[identity], picture.svg)
    write_text(folder / "report.md", render_markdown(document, paths))
    write_text(folder / "tables.tex", render_latex(document))
    write_text(folder / "numbers.csv", csv_text(verdicts))
    write_text(folder / PAGE, render_html(document))
