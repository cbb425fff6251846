"""``dlbench report``: run what the reports lack, judge them by the records at hand, write the report."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dlbench import paths
from dlbench.commands import group
from dlbench.report.files import PAGE, judge, renew_readme, write
from dlbench.report.profiles import estimate, jobs
from dlbench.report.reading import load_all
from dlbench.report.running import run
from dlbench.report.sections import glance
from dlbench.report.terminal import show
from dlbench.report.verdicts import Verdicts

app = group("Run what the reports lack, judge them by the records at hand, write the report.")


@app.command()
def report(
    overrides: Annotated[list[str] | None, typer.Argument(help="overrides for every run")] = None,
    profile: Annotated[
        Literal["quick", "full", "none"],
        typer.Option(
            help="quick: everything, briefly, on synthetic data; full: the published protocol on the real data, five "
            "seeds; none: run nothing"
        ),
    ] = "quick",
    runs: Annotated[
        Path | None, typer.Option(parser=paths.folder, metavar="FOLDER", help="your records ($DLBENCH_RUNS, else runs)")
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="folder to write to")] = Path("report"),
    readme: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a Markdown file whose main table is to be renewed")
    ] = None,
) -> int:
    """Run what the reports lack, judge them by the records at hand, write the report."""
    verdicts, has_succeeded = reproduce(profile, runs or paths.runs(), output, overrides or [])
    if readme:
        renew_readme(verdicts, readme)
    return int(not has_succeeded)


def reproduce(profile: str, runs: Path, output: Path, overrides: list[str]) -> tuple[Verdicts, bool]:
    """Run what the profile lacks, renewing the report after every run; the verdicts, and whether all runs went well.

    Raises:
        DlbenchError: A report file is wrong, or a folder cannot be written.
    """
    reports = load_all()
    folders = (runs, paths.experiments() / "results")

    def renew() -> None:
        write(judge(reports, folders), output)

    verdicts = judge(reports, folders)
    lacking = jobs(profile, reports, verdicts.evidence.collection.results, overrides)
    has_succeeded = True
    if lacking:
        write(verdicts, output)  # where that fails, it fails before hours of running
        print(estimate(lacking, verdicts.evidence.collection.results).text, flush=True)
        has_succeeded = run(lacking, runs, overrides, renew)
        verdicts = judge(reports, folders)
    write(verdicts, output)
    show(glance(verdicts))
    print(f"the whole report: {output / PAGE}")
    return verdicts, has_succeeded
