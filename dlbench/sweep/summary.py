"""What a sweep came to: mean, standard deviation and number of runs for every configuration."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from dlbench.report.metrics import HEADINGS
from dlbench.report.numbers import mean_and_spread
from dlbench.sweep.job import FAILED, Job, JobOutcome, labels
from dlbench.tables import print_whole

METRICS = (*HEADINGS, "train/loss")
"""The columns, as far as the runs have them."""


def show(jobs: Sequence[Job], outcomes: Mapping[int, JobOutcome], verbose: bool = False) -> None:
    """Print the table, and the causes of what failed; with ``verbose`` their tracebacks too."""
    print_whole(table_of(jobs, outcomes))
    console = Console(highlight=False, markup=False, soft_wrap=True)
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
