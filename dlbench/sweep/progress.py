"""How far a sweep is: one live line on a terminal, a plain line for every finished run elsewhere."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dlbench.messages import say
from dlbench.sweep.job import FAILED, Job, JobOutcome, labels, started


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
        self._console = Console(stderr=True, highlight=False)
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
