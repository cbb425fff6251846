"""Runs for the report: a sweep in a process of its own, and the report renewed while it lasts."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from dlbench.cli import one_line
from dlbench.environment import interrupted_by_sigterm
from dlbench.report.jobs import Job
from dlbench.terminal import say

LOOK_SECONDS = 1.0
"""How often is looked for new results."""

PATIENCE = 10.0
"""So many times as long as a renewal took the next one waits: a tenth of the time at most goes into renewing."""

GRACE_SECONDS = 10.0
"""How long an interrupted sweep has for ending by itself."""

INTERRUPTED = 130


def run(jobs: Sequence[Job], runs: Path, overrides: Sequence[str], renew: Callable[[], None]) -> bool:
    """Make all runs side by side; whether all went well. The sweep shows its progress and names what failed.

    Args:
        jobs: What to run; what is finished is looked up, what was interrupted goes on.
        runs: The folder of records.
        overrides: Further overrides for every run, and for the sweep itself.
        renew: Called now and then after new results; not after the last ones, which is for the caller.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM, which end the sweep too.
        SystemExit: The same, where the sweep has said so already.
    """
    if not jobs:
        return True
    folder = runs.absolute() / ".sweep"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="report-") as temporary:
        listed = Path(temporary) / "jobs.json"
        listed.write_text(json.dumps([job.overrides for job in jobs]), encoding="utf-8")
        sweep = ["-m", "hydra/sweeper=listed", f"hydra.sweeper.jobs={_quoted(listed)}"]
        environment = {**os.environ, "DLBENCH_RUNS": str(runs)}
        with subprocess.Popen([sys.executable, "-m", "dlbench", *sweep, *overrides], env=environment) as process:
            try:
                # Unlike Ctrl-C, SIGTERM comes to this process alone.
                with interrupted_by_sigterm(process.terminate):
                    _watch(process, runs, renew)
            except KeyboardInterrupt:
                _end(process)
                if process.returncode == INTERRUPTED:
                    sys.exit(INTERRUPTED)
                raise
    return process.returncode == 0


def _watch(process: subprocess.Popen[bytes], runs: Path, renew: Callable[[], None]) -> None:
    """Renew after new results until the process ends."""
    seen, earliest = _results(runs), 0.0
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
        if time.monotonic() >= earliest and not (found := _results(runs)) <= seen:
            seen, began = found, time.monotonic()
            _renew(renew)
            earliest = time.monotonic() + PATIENCE * (time.monotonic() - began)


def _renew(renew: Callable[[], None]) -> None:
    """A report that cannot be written now is no reason to stop hours of training."""
    try:
        renew()
    except Exception as error:
        say(f"the report was not renewed: {one_line(error) or f'{type(error).__name__}: {error}'}")


def _results(runs: Path) -> set[Path]:
    return set(runs.glob("*/evaluations/*/result.json"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let an interrupted sweep end by itself, then end it."""
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()


def _quoted(path: Path) -> str:
    """A path as a value of a Hydra override."""
    escaped = str(path).replace("'", r"\'")
    return f"'{escaped}'"
