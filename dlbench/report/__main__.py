"""``python -m dlbench.report``: run what the reports' default rows need, then print published beside ours."""

import argparse
import os
import subprocess
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from dlbench import resources
from dlbench.cli import one_line_errors
from dlbench.records.store import Store
from dlbench.report.published import Report, Row, load_all
from dlbench.report.results import Result, by_configuration, collect, configuration_of, format_value, mean_and_spread
from dlbench.tables import print_whole

OTHER_DATA = {
    "user copy": "YOUR OWN COPY of the pictures, content unknown: not set beside published values",
    "embedded": "EMBEDDED (drawn) pictures: comparable with no report",
}
OTHER_METRICS = ("train/loss_running_mean", "val/loss", "val/accuracy", "test/accuracy", "model/parameters")

STALE = "*"
STALE_NOTE = f"{STALE} made by an earlier version of the code"


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, print; the exit code is 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m dlbench.report", description=__doc__)
    default = Path(os.environ.get("DLBENCH_RUNS", "runs"))
    parser.add_argument("--runs", type=Path, default=default, help="folder of records (default: %(default)s)")
    parser.add_argument("--no-run", action="store_true", help="only print what the records at hand say")
    parser.add_argument(
        "overrides",
        nargs="*",
        help="overrides for every run; such that change the science leave the published rows as they are",
    )
    options = parser.parse_args(arguments)
    with one_line_errors():
        reports = load_all()
        rows = [row for report in reports.values() for table in report.tables for row in table.rows if row.default]
        has_failed = not options.no_run and not run_all(rows, options.runs, options.overrides)
        results = collect([Store(options.runs), Store(resources.experiments() / "results")])
        show(reports, results)
    return int(has_failed)


def run_all(rows: list[Row], runs: Path, overrides: list[str]) -> bool:
    """Make the rows' runs side by side, one thread each; what is finished is looked up. Whether all went well."""
    print(f"running {len(rows)} experiments: " + ", ".join(row.experiment for row in rows), flush=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return all(list(pool.map(lambda row: _run(row, runs, overrides), rows)))


def _run(row: Row, runs: Path, overrides: list[str]) -> bool:
    settings = [f"+experiment={row.experiment}", *row.overrides, "trainer.progress=lines"]
    command = [sys.executable, "-m", "dlbench", *settings, *overrides]
    environment = {**os.environ, "DLBENCH_RUNS": str(runs)}
    last_lines: deque[str] = deque(maxlen=20)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            last_lines.append(line)
            if line.startswith(("epoch ", "dlbench:")):
                print(f"{row.experiment}: {line}", end="", flush=True)
    if process.returncode:
        print(f"{row.experiment} failed:\n", *last_lines, sep="", flush=True)
    return process.returncode == 0


def show(reports: dict[str, Report], results: list[Result]) -> None:
    """Print a table a report; results on drawn data stand in a table of their own, beside nothing published."""
    real = by_configuration(result for result in results if result.provenance == "verified")
    for report in reports.values():
        print_whole(_beside(report, real))
    print('ours: mean ± standard deviation (seeds), real pictures; "-": not run; correct layout: see README\n')
    for provenance, title in OTHER_DATA.items():
        if groups := by_configuration(result for result in results if result.provenance == provenance):
            print_whole(_other(title, reports, groups))


def _beside(report: Report, groups: dict[str, list[Result]]) -> RichTable:
    notes = [f"{table.title}: {table.note}" for table in report.tables if table.note]
    variants: dict[str, list[str]] = {"ours": [], **report.variants}
    shown = _table(report.title, "published", *variants)
    for table in report.tables:
        shown.add_row(Text(table.title, style="bold"))
        for row in table.rows:
            found = [
                groups.get(configuration_of(row.experiment, [*row.overrides, *overrides]), [])
                for overrides in variants.values()
            ]
            for number, (metric, published) in enumerate(row.published.items()):
                ours = (_ours(results, metric) for results in found)
                shown.add_row("" if number else row.label, metric, format_value(published), *ours)
    return _captioned(shown, notes)


def _other(title: str, reports: dict[str, Report], groups: dict[str, list[Result]]) -> RichTable:
    shown = _table(title, "ours")
    rows = [row for report in reports.values() for table in report.tables for row in table.rows]
    for configuration, row in {configuration_of(row.experiment, row.overrides): row for row in rows}.items():
        if configuration not in groups:
            continue
        for number, metric in enumerate(OTHER_METRICS):
            name = "" if number else f"{row.experiment}, {row.label}"
            shown.add_row(name, metric, _ours(groups[configuration], metric))
    return _captioned(shown, [])


def _table(title: str, *columns: str) -> RichTable:
    table = RichTable(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD)
    for column in ("", "metric", *columns):
        table.add_column(column, justify="right" if column in columns else "left", no_wrap=True)
    return table


def _captioned(table: RichTable, notes: list[str]) -> RichTable:
    has_stale = any(str(cell).endswith(STALE) for column in table.columns[2:] for cell in column.cells)
    table.caption = "\n".join([*notes, STALE_NOTE] if has_stale else notes) or None
    return table


def _ours(results: list[Result], metric: str) -> str:
    found = [result for result in results if metric in result.metrics]
    if not found:
        return "-"
    mark = STALE if any(result.is_stale for result in found) else ""
    return mean_and_spread([result.metrics[metric] for result in found]) + mark


if __name__ == "__main__":
    sys.exit(main())
