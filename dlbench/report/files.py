"""The report's files, each written whole or not at all, and the table of all its numbers: a row a number."""

import csv
import gc
import io
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from dlbench.config import configuration_of
from dlbench.errors import ConfigError
from dlbench.files import as_cell
from dlbench.records.files import write_text
from dlbench.records.store import Store
from dlbench.report.checks import Verdicts
from dlbench.report.document import Picture, all_blocks
from dlbench.report.render import render_grid, render_html, render_latex, render_markdown
from dlbench.report.results import REAL, SUBSTITUTES, Evidence, Result, Runs, by_configuration, collect
from dlbench.report.schema import Report
from dlbench.report.sections import build, headlines, with_notes
from dlbench.report.statistics import Judgement, deviation, mean_interval, prediction_interval

PAGE = "index.html"
MARKS = "<!-- published against reproduced: make docs-report writes this table -->", "<!-- end of table -->"


def judge(reports: dict[str, Report], folders: Iterable[Path]) -> Verdicts:
    """All verdicts on the reports from the records in these folders."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return Verdicts(Evidence(reports, collect(map(Store, folders))))
    finally:
        # What was read is not looked over again: of ten thousand records that is a third of the time.
        gc.freeze()
        if was_enabled:
            gc.enable()


def write(verdicts: Verdicts, folder: Path) -> None:
    """Write ``index.html``, ``report.md``, ``tables.tex``, ``numbers.csv`` and ``figures/*.svg``.

    Raises:
        RecordError: The folder cannot be written.
    """
    document = build(verdicts)
    pictures = {block.id: block.svg for block in all_blocks(document) if isinstance(block, Picture)}
    for path in (folder / "figures").glob("*.svg"):
        # Of a figure that is there no more; other people's pictures have other names.
        if path.stem not in pictures and path.stem.startswith(tuple(f"{name}-" for name in verdicts.evidence.reports)):
            path.unlink()
    for identity, svg in pictures.items():
        write_text(folder / "figures" / f"{identity}.svg", svg)
    write_text(folder / "report.md", render_markdown(document))
    write_text(folder / "tables.tex", render_latex(document))
    write_text(folder / "numbers.csv", csv_text(verdicts))
    write_text(folder / PAGE, render_html(document))


def renew_readme(verdicts: Verdicts, path: Path) -> None:
    """Write the main table between the `MARKS` of a Markdown file; see `split_at_table`."""
    before, after = split_at_table(path)
    write_text(path, f"{before}{MARKS[0]}\n\n{main_table(verdicts)}\n\n{MARKS[1]}{after}")


def split_at_table(path: Path) -> tuple[str, str]:
    """What stands before and behind the `MARKS` in a Markdown file.

    Raises:
        ConfigError: The file has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    if not all(text.count(mark) == 1 for mark in MARKS):
        raise ConfigError(f"{path}: the lines {MARKS[0]} and {MARKS[1]} must stand in it once each")
    before, _, rest = text.partition(MARKS[0])
    return before, rest.partition(MARKS[1])[2]


def main_table(verdicts: Verdicts) -> str:
    """The main table in Markdown, its verdicts in a word, and its note."""
    grid = with_notes(headlines(verdicts))
    rows = tuple(tuple(replace(cell, text="") if cell.verdict else cell for cell in row) for row in grid.rows)
    return f"{render_grid(replace(grid, rows=rows))}\n\n{grid.note}"


# --- the table of all numbers -----------------------------------------------------------------------------------------

ABOUT = ("configuration", "experiment", "settings", "data", "provenance", "decoding")
COLUMNS = (
    *("source", "report", "table", "row", *ABOUT, "run", "evaluation", "seed", "outdated"),
    *("metric", "statistic", "value", "verdict"),
)
"""``source``: published, ours, claim or slip. ``configuration`` is the same for what is compared, whatever the seed.

``provenance`` says on what data: ``verified`` is registered; of a claim it stands only where other data stood in. What
a report's ``other_splits`` add to an interval is in the rows of published values alone.

``statistic`` says what of the metric the ``value`` is: a single run's value, the mean, standard deviation, n and bounds
over the seeds of a configuration, what a published value or a claim's check came to (see
`dlbench.report.statistics.Judgement`), or what a slip's expression gave (as text).

Before a text that a spreadsheet would run as a formula stands an apostrophe: see `dlbench.files.as_cell`.
"""

About = dict[str, Any]
Rows = tuple[About, Iterable[tuple[str, str, Any]]]
"""What some rows have in common, by column, and of each of them its metric, statistic and value."""


def csv_text(verdicts: Verdicts) -> str:
    """The table as CSV: published values, every run's, what several seeds come to, claims and slips."""
    first, last, cell = COLUMNS[:-4], COLUMNS[-1], lru_cache(maxsize=1024)(_cells)  # a few texts stand in many rows
    lines = [",".join(COLUMNS)]
    for rows in (_published, _ours, _of_seeds, _judged):
        for about, numbers in rows(verdicts):
            before, verdict = _cells(*(about.get(name, "") for name in first)), cell(about.get(last, ""))
            for metric, statistic, value in numbers:
                told = repr(value) if type(value) is float else _cells(value)
                lines.append(f"{before},{cell(metric)},{statistic},{told},{verdict}")
    return "\n".join([*lines, ""])


def _cells(*values: Any) -> str:
    """Part of a line of CSV."""
    text = io.StringIO()
    # Quoted are cells with an end of line in them, and an empty one that stands alone: so another stands behind it.
    csv.writer(text, lineterminator="\r\n").writerow([*map(as_cell, values), ""])
    return text.getvalue().removesuffix(",\r\n")


def _published(verdicts: Verdicts) -> Iterator[Rows]:
    for value in verdicts.values:
        configuration = verdicts.evidence.reports[value.report].configurations[value.row.of]
        about = {"source": "published", "report": value.report, "table": value.table.title, "row": value.row.label}
        about |= {"experiment": configuration.experiment, "verdict": value.judged.verdict.word}
        if not configuration.planned:
            about["configuration"] = configuration_of(configuration.experiment, configuration.overrides)
        yield about, [(value.metric, "value", value.published), *_told(value.judged, value.metric)]


def _about(result: Result) -> About:
    return {"source": "ours", **{name: getattr(result, name) for name in ABOUT}}


def _ours(verdicts: Verdicts) -> Iterator[Rows]:
    for result in verdicts.evidence.collection.results:
        about = {**_about(result), "run": result.run, "evaluation": result.evaluation.id, "seed": result.seed}
        about["outdated"] = int(result.is_outdated)
        yield about, ((metric, "value", number) for metric, number in result.metrics.items())


def _of_seeds(verdicts: Verdicts) -> Iterator[Rows]:
    for provenance in (REAL, *SUBSTITUTES):
        for runs in by_configuration(verdicts.evidence.on(provenance)).values():
            if len(runs.results) > 1:
                yield _about(runs.first), _spread(runs)


def _spread(runs: Runs) -> Iterator[tuple[str, str, Any]]:
    """What the metrics of several seeds come to."""
    for metric in dict.fromkeys(metric for result in runs.results for metric in result.metrics):
        values = runs.measured(metric)
        if len(values) < 2:
            continue
        found = {"n": len(values), "mean": statistics.fmean(values), "sd": deviation(values)}
        found |= dict(zip(("prediction_low", "prediction_high"), prediction_interval(values), strict=True))
        found |= dict(zip(("mean_low", "mean_high"), mean_interval(values), strict=True))
        yield from ((metric, statistic, number) for statistic, number in found.items())


def _judged(verdicts: Verdicts) -> Iterator[Rows]:
    for claim in verdicts.claims:
        about = {"source": "claim", "report": claim.report, "table": claim.claim.id}
        yield from _checks(about, claim.judgements)
        for heading, (_, judgements) in claim.substitutes.items():
            provenance = verdicts.evidence.reports[claim.report].substitutes[heading].provenance
            yield from _checks({**about, "provenance": provenance}, judgements)
    for slip in verdicts.slips:
        about = {"source": "slip", "report": slip.report, "table": slip.slip.id, "verdict": slip.verdict.word}
        yield about, [("", "stated", slip.stated), ("", "computed", slip.computed)]


def _checks(about: About, judgements: Iterable[Judgement]) -> Iterator[Rows]:
    for judgement in judgements:
        yield {**about, "row": judgement.said, "verdict": judgement.verdict.word}, _told(judgement)


def _told(judged: Judgement, metric: str = "") -> Iterator[tuple[str, str, Any]]:
    """The numbers that decided."""
    low, high = judged.interval or (None, None)
    numbers = {"difference": judged.difference, "n": judged.n or None, "interval_low": low, "interval_high": high}
    numbers |= {"distance": judged.distance, "p": judged.p, "p_holm": judged.holm}
    numbers |= {"permutation_p": judged.permutation_p, "smallest_p": judged.smallest_p}
    yield from ((metric, name, told) for name, told in numbers.items() if told is not None)
