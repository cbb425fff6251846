"""How far a sweep is, and what it came to: mean, standard deviation and number of runs for every configuration."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dlbench.metrics.names import HEADINGS
from dlbench.sweep.job import FAILED, Job, JobOutcome, labels, started
from dlbench.terminal import SafeConsole, mean_and_spread, print_whole, say

METRICS = (*HEADINGS, "train/loss")
"""The columns, as far as the runs have them."""


def show(jobs: Sequence[Job], outcomes: Mapping[int, JobOutcome], verbose: bool = False) -> None:
    """Print the table, and the causes of what failed; with ``verbose`` their tracebacks too."""
    print_whole(table_of(jobs, outcomes))
    console = SafeConsole(highlight=False, markup=False, soft_wrap=True)
    names = labels(jobs)
    for job in jobs:
        outcome = outcomes[job.number]
        if outcome.error:
            console.print(f"failed: {' '.join(names[job.number])}: {outcome.error}")
            if verbose and outcome.details:
                console.print(outcome.details)


def table_of(jobs: Sequence[Job], outcomes: Mapping[int, JobOutcome]) -> Table:
    """A row a configuration: what tells it from the others, how its runs ended, and its metrics.

    Runs that differ only in seed, threads or device are averaged; what diverged or failed is counted, not averaged.
    """
    groups: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[job.configuration].append(job)
    metrics = [name for name in METRICS if any(name in _metrics(outcome) for outcome in outcomes.values())]
    table = Table("configuration", "runs", box=box.SIMPLE_HEAD)
    for name in metrics:
        table.add_column(name, justify="right")
    if metrics:
        table.caption = "mean ± standard deviation (number of runs)"
    names = labels(jobs)
    for group in groups.values():
        ended = [outcomes[job.number] for job in group]
        values = [[_metrics(outcome)[name] for outcome in ended if name in _metrics(outcome)] for name in metrics]
        # What all runs of the group share tells it from the other groups; the seed is not among it.
        words = [word for word in names[group[0].number] if all(word in names[job.number] for job in group)]
        table.add_row(
            " ".join(words) or "all",
            _endings(ended),
            *(mean_and_spread(column) if column else "-" for column in values),
        )
    return table


def _metrics(outcome: JobOutcome) -> dict[str, float]:
    return outcome.result["metrics"] if outcome.state == "finished" else {}


def _endings(ended: Sequence[JobOutcome]) -> str:
    """How many ended how; where the loss was lost is a result too."""
    parts = []
    if finished := sum(outcome.state == "finished" for outcome in ended):
        parts.append(f"{finished} finished")
    if steps := [outcome.result["step"] for outcome in ended if outcome.state == "diverged"]:
        parts.append(f"{len(steps)} diverged (step {', '.join(map(str, steps))})")
    if failed := sum(outcome.state == FAILED for outcome in ended):
        parts.append(f"{failed} failed")
    return ", ".join(parts)


class Progress:
    """Counts what is done, running, cached (looked up) and failed, and estimates the time left from epochs.

    Args:
        jobs: All jobs of the sweep.
        folder: Where running jobs leave word (see `dlbench.sweep.job.perform`).
    """

    def __init__(self, jobs: Sequence[Job], folder: Path) -> None:
        self._jobs, self._folder, self._labels = jobs, folder, labels(jobs)
        self._outcomes: dict[int, JobOutcome] = {}
        self._notices: set[str] = set()
        self._began = time.monotonic()
        self._epochs_trained = 0
        self._console = SafeConsole(stderr=True, highlight=False)
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=2, transient=True)

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def add(self, job: Job, outcome: JobOutcome) -> None:
        """Count a job that has ended; say what it said, each line once a sweep."""
        if outcome.trained:
            self._epochs_trained += self._epochs_of(job)
        self._outcomes[job.number] = outcome
        for notice in outcome.notices:
            if notice not in self._notices:
                self._notices.add(notice)
                say(notice)
        label = " ".join(self._labels[job.number])
        if outcome.error:
            say(f"{label}: failed: {outcome.error}")
        elif not self._console.is_terminal:
            how = outcome.state if outcome.trained else f"{outcome.state}, cached"
            say(f"{label}: {how} ({self.line()})")

    def line(self) -> str:
        """The state of the sweep in a line."""
        counts = Counter(outcome.state for outcome in self._outcomes.values())
        cached = sum(not outcome.trained and not outcome.error for outcome in self._outcomes.values())
        parts = [f"{len(self._outcomes)}/{len(self._jobs)} done", f"{len(self._running())} running", f"{cached} cached"]
        parts += [f"{counts[state]} {state}" for state in (FAILED, "diverged") if counts[state] or state == FAILED]
        left = self.seconds_left()
        shown = "?" if left is None else time.strftime("%H:%M:%S", time.gmtime(left))
        return ", ".join([*parts, f"{shown} left"])

    def seconds_left(self) -> float | None:
        """At the pace of the epochs trained so far; None before the first epoch."""
        to_do = sum(job.config["trainer"]["epochs"] for job in self._jobs if job.number not in self._outcomes)
        trained = self._epochs_trained
        for word in self._running():
            if curves := word.get("curves"):
                rows = _rows(Path(curves))
                trained += rows - word["epochs_before"]
                to_do -= rows
        if to_do <= 0:
            return 0.0
        return to_do * (time.monotonic() - self._began) / trained if trained > 0 else None

    def _running(self) -> list[dict[str, Any]]:
        words = (started(self._folder, job) for job in self._jobs if job.number not in self._outcomes)
        return [word for word in words if word]

    def _epochs_of(self, job: Job) -> int:
        before = (started(self._folder, job) or {}).get("epochs_before", 0)
        return int(job.config["trainer"]["epochs"]) - int(before)

    def _render(self) -> Text:
        return Text(self.line())


def _rows(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
