"""``python -m dlbench.report``: run what the reports lack, judge them by the records at hand, write the report."""

import argparse
import os
import sys
from pathlib import Path

from dlbench import resources
from dlbench.cli import one_line_errors
from dlbench.report.files import PAGE, judge, write
from dlbench.report.profiles import PROFILES, estimate, jobs
from dlbench.report.reading import load_all
from dlbench.report.running import run
from dlbench.report.sections import glance
from dlbench.report.terminal import show


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, write; the exit code is 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m dlbench.report", description=__doc__)
    runs = Path(os.environ.get("DLBENCH_RUNS", "runs"))
    parser.add_argument("--runs", type=Path, default=runs, help="folder of your records (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder to write to (default: %(default)s)")
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default="quick",
        help="quick: everything, briefly, on embedded data; full: the published protocol on the real data, five seeds; "
        "none: run nothing (default: %(default)s)",
    )
    parser.add_argument("overrides", nargs="*", help="overrides for every run")
    options = parser.parse_args(arguments)
    with one_line_errors():
        return int(not reproduce(options.profile, options.runs, options.output, options.overrides))


def reproduce(profile: str, runs: Path, output: Path, overrides: list[str]) -> bool:
    """Run what the profile lacks, renewing the report after every run; whether all runs went well.

    Raises:
        DlbenchError: A report file is wrong, or a folder cannot be written.
    """
    reports = load_all()
    folders = (runs, resources.experiments() / "results")

    def renew() -> None:
        write(judge(reports, folders), output)

    verdicts = judge(reports, folders)
    lacking = jobs(profile, reports, verdicts.evidence.collection.results, overrides)
    has_succeeded = True
    if lacking:
        print(estimate(lacking, verdicts.evidence.collection.results).text, flush=True)
        has_succeeded = run(lacking, runs, overrides, renew)
        verdicts = judge(reports, folders)
    write(verdicts, output)
    show(glance.section(verdicts))
    print(f"the whole report: {output / PAGE}")
    return has_succeeded


if __name__ == "__main__":
    sys.exit(main())
