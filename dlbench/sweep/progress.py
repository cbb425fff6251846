"""How far a sweep is, and what it came to: mean, standard deviation and number of runs for every configuration."""

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dlbench import paths
from dlbench.errors import SweepError
from dlbench.metrics.names import HEADINGS
from dlbench.sweep.job import FAILED, Job, JobOutcome, Words, labels
from dlbench.terminal import SafeConsole, clock, mean_and_spread, print_whole, printable, say, tell

METRICS = (*HEADINGS, "train/loss")
"""The columns, as far as the runs have them."""
LOST = JobOutcome(FAILED, error="ended without a word; its process was probably killed")
SECONDS = 0.5
"""Between two looks at what jobs have left word of."""


def show(jobs: Sequence[Job], outcomes: Mapping[int, JobOutcome]) -> None:
    """Print the table, what data it is of, and where to go on; with ``verbose=true`` the tracebacks of failures too."""
    print_whole(table_of(jobs, outcomes))
    ended = [outcomes[job.number] for job in jobs]
    for data in dict.fromkeys(outcome.data for outcome in ended if outcome.data):
        tell(f"on {data}")
    for folder in dict.fromkeys(outcome.folder for outcome in ended if outcome.folder):
        option = paths.runs_option(Path(folder))
        tell(f"each run: python -m dlbench records list{option}")
        tell(f"curves: python -m dlbench tensorboard{option}")
    for details in dict.fromkeys(outcome.details for outcome in ended if outcome.details):
        print(printable(details, kept="\n"))


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
        table.add_column(HEADINGS.get(name, name), justify="right")
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
    return outcome.metrics if outcome.state == "finished" else {}


def _endings(ended: Sequence[JobOutcome]) -> str:
    """How many ended how; where the loss was lost is a result too."""
    parts = []
    if finished := sum(outcome.state == "finished" for outcome in ended):
        parts.append(f"{finished} finished")
    if steps := [outcome.step for outcome in ended if outcome.state == "diverged"]:
        parts.append(f"{len(steps)} diverged (step {', '.join(map(str, steps))})")
    if failed := sum(outcome.state == FAILED for outcome in ended):
        parts.append(f"{failed} failed")
    return ", ".join(parts)


class Progress:
    """Counts what is done, running, cached (looked up) and failed, and estimates the time left from epochs.

    Args:
        words: Where the sweep's jobs leave word.
    """

    def __init__(self, words: Words) -> None:
        self.words = words
        self._outcomes: dict[int, JobOutcome] = {}
        self._notices: set[str] = set()
        self._began = time.monotonic()
        self._epochs_trained = 0
        self._file = sys.stderr  # as it is now: a launcher may make jobs in this process, whose output is captured
        self._console = SafeConsole(file=self._file, highlight=False)
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=2, transient=True)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to show."""
        if self._console.is_terminal:
            self._live.start()
        self._thread.start()

    def stop(self) -> None:
        """Show no more."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join()
        self._live.stop()

    def finish(self) -> None:
        """Show what the sweep came to.

        Raises:
            SweepError: At least one run failed.
        """
        outcomes = self.show()
        if failed := sum(outcome.state == FAILED for outcome in outcomes.values()):
            text = f"{failed} of {len(outcomes)} runs failed (see above); the same command tries them again"
            raise SweepError(text)

    def show(self) -> dict[int, JobOutcome]:
        """Print the table of what the jobs came to; that by number."""
        self.stop()
        self.look()
        jobs = self.words.jobs()
        names = labels(jobs)
        outcomes = {job.number: self._outcomes.get(job.number, LOST) for job in jobs}
        for job in jobs:
            if job.number not in self._outcomes:
                say(_failure(" ".join(names[job.number]), str(LOST.error)), self._file)
        if jobs:
            show(jobs, outcomes)
        return outcomes

    def look(self) -> None:
        """Count the jobs that have ended since the last look; say what they said, each line once a sweep."""
        jobs = self.words.jobs()
        names = labels(jobs)
        for job in jobs:
            outcome = None if job.number in self._outcomes else self.words.outcome(job.number)
            if outcome is None:
                continue
            self._outcomes[job.number] = outcome
            if outcome.trained and (word := self._begun(job)):  # it may have diverged, or stopped early
                self._epochs_trained += _epochs(word) - word["epochs_before"]
            for notice in outcome.notices:
                if notice not in self._notices:
                    self._notices.add(notice)
                    say(notice, self._file)
            label = " ".join(names[job.number]) or "the run"
            if outcome.error:
                say(_failure(label, outcome.error), self._file)
            elif not self._console.is_terminal:
                how = outcome.state if outcome.trained else f"{outcome.state}, cached"
                say(f"{label}: {how} ({self.line()})", self._file)

    def line(self) -> str:
        """The state of the sweep in a line."""
        if not (jobs := self.words.jobs()):
            return "preparing"
        counts = Counter(outcome.state for outcome in self._outcomes.values())
        cached = sum(not outcome.trained and not outcome.error for outcome in self._outcomes.values())
        running = [word for job in jobs if job.number not in self._outcomes and (word := self._begun(job))]
        parts = [f"{len(self._outcomes)}/{len(jobs)} done", f"{len(running)} running", f"{cached} cached"]
        parts += [f"{counts[state]} {state}" for state in (FAILED, "diverged") if counts[state] or state == FAILED]
        return ", ".join([*parts, *self._left(jobs, running)])

    def _left(self, jobs: Sequence[Job], running: Sequence[Mapping[str, Any]]) -> list[str]:
        """The time left, at the pace of the epochs trained so far; nothing before the first epoch and at the end."""
        to_do = sum(job.epochs for job in jobs if job.number not in self._outcomes)
        trained = self._epochs_trained
        for word in running:
            trained += _epochs(word) - word["epochs_before"]
            to_do -= _epochs(word)
        if to_do <= 0:
            return ["testing"] if len(self._outcomes) < len(jobs) else []
        return [f"{clock(to_do * (time.monotonic() - self._began) / trained)} left"] if trained > 0 else []

    def _begun(self, job: Job) -> dict[str, Any] | None:
        return self.words.read("curves", job.number)

    def _watch(self) -> None:
        while not self._stopped.wait(SECONDS):
            with suppress(OSError):  # of a network's file system; the next look will tell
                self.look()

    def _render(self) -> Text:
        return Text(self.line())


def _failure(label: str, error: str) -> str:
    return f"failed: {error}" if error.startswith(label) else f"failed: {label}: {error}"


def _epochs(word: Mapping[str, Any]) -> int:
    """How many epochs are in the curves of a job that has begun."""
    path = Path(word["curves"]) if word["curves"] else None
    return path.read_bytes().count(b"\n") if path and path.exists() else 0
