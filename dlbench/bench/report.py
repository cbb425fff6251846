"""Findings: ratios of pairs with their intervals, held against targets; as tables in Markdown, and as JSON."""

import datetime
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np

from dlbench.bench.workers import all_cores
from dlbench.records.manifest import describe_code, describe_environment

RESAMPLES = 10_000
BUSY_LOAD = 0.3
"""Mean number of waiting or running processes, a core, above which timings are not to be trusted."""

INTRODUCTION = """\
# Benchmarks

Written by `make bench ARGS='--markdown docs/benchmarks.md'`; do not edit. Figures belong to the machine named below.

Everything is a ratio. Ours and what it is held against are timed in turns (A B, B A, ...), a few dozen training steps
at a time, by long-lived processes pinned to their cores; starting and warming up do not count. A ratio is the median
over pairs, its interval a seeded 95% bootstrap; *not surely* means that the interval crosses the target.

The *plain loop* is what a course group wrote (`dlbench/bench/plain.py`): `DataLoader` over a `TensorDataset`, NCHW,
fp32, batches of 8, SGD, `loss.item()` each step, all cores. Ours is `dlbench.run.training.train`, with records and
TensorBoard, held between steps by a callback. What stands between two epochs is not in a step's time on either side;
the part on overhead says what it costs. Sequences have a plain loop of their own: lists of tensors and a collate
function, random batches, one decoder step at a time in training, one word at a time in decoding.

Measure again on a machine that does nothing else: `make bench` (about 25 minutes on two cores);
`ARGS='--only sweep --pairs 30'` for one part in more detail, `ARGS='--quick'` to see that it works. With a Python in
`DLBENCH_YOYODYNE` that has yoyodyne (`python -m venv y; y/bin/pip install yoyodyne`) it is held against that, too.
"""


@dataclass(frozen=True)
class Ratio:
    """An estimate, ``value``, with its 95% bootstrap interval, ``low`` to ``high``, and the ratio of each pair."""

    value: float
    low: float
    high: float
    pairs: tuple[float, ...]


def paired_ratio(above: Sequence[float], below: Sequence[float], *, of_medians: bool = False) -> Ratio:
    """The median of the ratios of pairs that were taken one right after the other.

    ``of_medians`` gives the ratio of the medians instead, for what varies much from one time to the next, like the
    start of a process. The interval is that of percentiles over resampled pairs, from a fixed seed.
    """
    tops, bottoms = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)

    def estimate(chosen: Any) -> Any:
        if of_medians:
            return np.median(tops[chosen], axis=-1) / np.median(bottoms[chosen], axis=-1)
        return np.median(tops[chosen] / bottoms[chosen], axis=-1)

    resampled = np.random.default_rng(0).integers(len(tops), size=(RESAMPLES, len(tops)))
    low, high = np.percentile(estimate(resampled), (2.5, 97.5))
    return Ratio(float(estimate(slice(None))), float(low), float(high), tuple((tops / bottoms).tolist()))


KEEPS = {"at least": operator.ge, "at most": operator.le, "below": operator.lt}


@dataclass(frozen=True)
class Row:
    """One finding: ours against a reference, both in ``unit``; ``ratio`` is None where a number stands for itself.

    ``target`` is a bound that the ratio, or the number, should keep, such as ``at least 1.2`` (see `KEEPS`).
    """

    what: str
    unit: str
    ours: float
    reference: float | None = None
    ratio: Ratio | None = None
    target: str = ""

    def __post_init__(self) -> None:
        assert not self.target or self.target.rpartition(" ")[0] in KEEPS, self.target

    @property
    def verdict(self) -> str:
        """Whether the target is met, and whether the interval crosses it; empty without a target."""
        if not self.target:
            return ""
        kind, _, bound = self.target.rpartition(" ")
        found = (self.ratio.value, self.ratio.low, self.ratio.high) if self.ratio else (self.ours,)
        met, *sure = (KEEPS[kind](value, float(bound)) for value in found)
        return ("yes" if met else "no") + (", not surely" if len(set(sure)) > 1 else "")

    def cells(self) -> list[str]:
        """The finding as a line of its part's table."""
        quantities = [
            "" if value is None else f"{value:.3g} {self.unit}" if value < 100 else f"{value:,.0f} {self.unit}"
            for value in (self.ours, self.reference)
        ]
        found = ["", "", ""]
        if ratio := self.ratio:
            found = [f"{ratio.value:.3f}", f"{ratio.low:.3f} - {ratio.high:.3f}", str(len(ratio.pairs))]
        return [self.what, *quantities, *found, self.target, self.verdict]


def compared(
    what: str,
    unit: str,
    ours: Sequence[float],
    reference: Sequence[float],
    target: str = "",
    *,
    faster: bool = False,
    of_medians: bool = False,
) -> Row:
    """A row whose ratio is ours over the reference or, of times, how many times as fast ours is."""
    above, below = (reference, ours) if faster else (ours, reference)
    ratio = paired_ratio(above, below, of_medians=of_medians)
    return Row(what, unit, median(ours), median(reference), ratio, target)


@dataclass(frozen=True)
class Part:
    """A part's findings.

    ``reference`` names what ours is held against, ``notes`` are lines on how.
    """

    title: str
    reference: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The part as a section of the page."""
        headings = ["", "ours", self.reference, "ratio", "95% interval", "pairs", "target", "met?"]
        table = [headings, ["---", *["---:"] * 7], *(row.cells() for row in self.rows)] if self.rows else []
        lines = [f"| {' | '.join(cells)} |" for cells in table] + [""] * bool(table)
        return "\n".join([f"## {self.title}", "", *lines, *(f"- {note}" for note in self.notes), ""])


@dataclass(frozen=True)
class Report:
    """All that was measured, and on what machine; ``failures`` says of each part that broke down why."""

    quick: bool
    machine: dict[str, Any]
    parts: dict[str, Part] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """The page ``docs/benchmarks.md``."""
        page = [INTRODUCTION, f"Machine: {machine_line(self.machine)}.\n"]
        if self.quick:
            page.append("**Quick form: these figures mean nothing.**\n")
        page += [part.markdown() for part in self.parts.values()]
        page += [f"## {name}\n\nNot measured: {failure}\n" for name, failure in self.failures.items()]
        return "\n".join(page)

    def as_json(self) -> dict[str, Any]:
        """Everything, with the ratio of each pair."""
        parts = {
            name: asdict(part) | {"rows": [asdict(row) | {"verdict": row.verdict} for row in part.rows]}
            for name, part in self.parts.items()
        }
        return asdict(self) | {"parts": parts}


def describe_machine() -> dict[str, Any]:
    """What the figures belong to; no host name."""
    environment = describe_environment()
    return {
        "processor": environment["processor"],
        "system": f"{environment['system']} {environment['machine']}",
        "cores": len(all_cores()),
        "python": environment["python"],
        **{name: environment["packages"][name] for name in ("torch", "pytorch-lightning")},
        **describe_code(),  # "commit" and "dirty"
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load": round(os.getloadavg()[0], 2),
    }


def is_busy(machine: Mapping[str, Any]) -> bool:
    """Whether something else was computing when the benchmark began."""
    return bool(machine["load"] > BUSY_LOAD * machine["cores"])


def machine_line(machine: Mapping[str, Any]) -> str:
    """The machine in a line."""
    commit = (machine["commit"] or "no checkout")[:10] + (" with changes" if machine["dirty"] else "")
    busy = " (BUSY: figures not to be trusted)" if is_busy(machine) else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; Python {machine['python']}, "
        f"torch {machine['torch']}, Lightning {machine['pytorch-lightning']}; {machine['date']}, "
        f"commit {commit}, load before {machine['load']}{busy}"
    )
