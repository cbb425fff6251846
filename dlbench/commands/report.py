"""``dlbench report``: run what the reports lack, judge them by the records at hand, write the report."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from dlbench import paths
from dlbench.commands import OwnFolder, Runs, group
from dlbench.errors import ConfigError
from dlbench.report import pages as result_pages
from dlbench.report.document import Cell, Grid, Points, Section
from dlbench.report.files import PAGE, judge, renew_readme, split_at_table, write
from dlbench.report.jobs import estimate, jobs, run, workers
from dlbench.report.schema import load_all
from dlbench.report.sections import glance, summary
from dlbench.terminal import nearest, print_columns, print_whole

STYLES = {"good": "green", "bad": "red", "open": "yellow", "none": "dim"}

app = group("Run what the reports lack, judge them by the records at hand, write the report.")


@app.command()
def report(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="overrides for every run")] = None,
    *,
    config_dir: OwnFolder = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="this report, no other; may be repeated")] = None,
    profile: Annotated[
        Literal["quick", "full", "none"],
        typer.Option(
            help="quick: everything, briefly, on synthetic data; full: the published protocol on the real data, five "
            "seeds; none: run nothing"
        ),
    ] = "quick",
    runs: Runs,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="folder to write to")] = Path("report"),
    readme: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a Markdown file whose main table is to be renewed")
    ] = None,
    pages: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="a folder to write this repository's pages of results to")
    ] = None,
) -> int:
    """Run what the reports lack, judge them by the records at hand, write the report."""
    reports, further, has_succeeded = load_all(), overrides or [], True
    for name in only or ():
        if name not in reports:
            raise ConfigError(f"--only {name}: no such report; {nearest(name, reports)}")
    if only and (readme or pages):
        raise ConfigError(f"--only {only[0]}: --readme and --pages are made from all reports; leave it out")
    reports = {name: report for name, report in reports.items() if not only or name in only}
    if further and profile == "none":
        raise ConfigError(f"{further[0]}: is for runs, and --profile none makes none; choose quick or full")
    if readme:
        split_at_table(readme)  # what fails, fails before hours of running
    folders = (runs, paths.experiments() / "results")
    verdicts = judge(reports, folders)
    results = verdicts.evidence.collection.results
    if lacking := jobs(profile, reports, results, further):
        write(verdicts, output)  # for the same reason
        print(estimate(lacking, results, workers(lacking, further)).text, flush=True)
        has_succeeded = run(lacking, runs, further, lambda: write(judge(reports, folders), output))
        verdicts = judge(reports, folders)
    write(verdicts, output)
    _show(glance(verdicts))
    print(summary(verdicts))
    print(f"the whole report: {output / PAGE}")
    if readme:
        renew_readme(verdicts, readme)
    if pages:
        result_pages.write(verdicts.evidence, pages)
    return int(not has_succeeded)


def _show(section: Section) -> None:
    """Print a section, but for what is folded on the page."""

    def text(cell: Cell) -> Text:
        verdict = cell.verdict
        return Text(f"{verdict.sign} {verdict.word}", style=STYLES[verdict.tone]) if verdict else Text(cell.text)

    for block in section.blocks:
        if isinstance(block, Points):
            for item in block.items:
                print_columns([("-", item.text)])
            print()
        if not isinstance(block, Grid) or block.is_folded:
            continue
        table = Table(
            title=block.title, title_justify="left", caption=block.note, caption_justify="left", box=box.SIMPLE_HEAD
        )
        shown = [place for place, column in enumerate(block.columns) if not column.is_detail]
        for place in shown:
            column = block.columns[place]
            justify: JustifyMethod = "right" if column.is_number else "left"
            table.add_column(column.heading, justify=justify, no_wrap=place >= block.labels)
        for row in block.rows:
            table.add_row(*(text(row[place]) for place in shown))
        print_whole(table)
