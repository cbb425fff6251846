"""``python -m dlbench.report``: run what the reports lack, judge them by the records at hand, write the report."""

import argparse
import sys
from pathlib import Path

from dlbench import paths
from dlbench.cli import one_line_errors
from dlbench.report.files import PAGE, judge, renew_readme, write
from dlbench.report.profiles import PROFILES, estimate, jobs
from dlbench.report.reading import load_all
from dlbench.report.running import run
from dlbench.report.sections import glance
from dlbench.report.terminal import show
from dlbench.report.verdicts import Verdicts


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, write; the exit code is 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m dlbench.report", description=__doc__)
    about = "folder of your records (default: $DLBENCH_RUNS, else runs)"
    parser.add_argument("--runs", type=paths.folder, default=paths.runs(), help=about)
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder to write to (default: %(default)s)")
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default="quick",
        help="quick: everything, briefly, on embedded data; full: the published protocol on the real data, five seeds; "
        "none: run nothing (default: %(default)s)",
    )
    parser.add_argument("--readme", type=Path, help="a Markdown file whose main table is to be renewed")
    parser.add_argument("overrides", nargs="*", help="overrides for every run")
    options = parser.parse_args(arguments)
    with one_line_errors():
        verdicts, has_succeeded = reproduce(options.profile, options.runs, options.output, options.overrides)
        if options.readme:
            renew_readme(verdicts, options.readme)
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
    show(glance.section(verdicts))
    print(f"the whole report: {output / PAGE}")
    return verdicts, has_succeeded


if __name__ == "__main__":
    sys.exit(main())
