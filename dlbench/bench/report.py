"""Findings as tables on a terminal, as a Markdown page, and as JSON."""

import datetime
import os
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dlbench.bench.part import Part, Row
from dlbench.bench.workers import all_cores
from dlbench.records.manifest import describe_code, describe_environment

HEADINGS = ("", "ours", "ratio", "95% interval", "min - max", "target", "met?")
MIN_WIDTH = 150
"""Columns of the widest table; a narrower terminal wraps its lines."""

BUSY_LOAD = 0.3
"""Mean number of waiting or running processes, a core, above which timings are not to be trusted."""

INTRODUCTION = """\
# Benchmarks

Written by `make bench ARGS='--markdown docs/benchmarks.md'`; do not edit. Figures belong to the machine named below.

Everything is a ratio. Ours and what it is held against are timed in turns (A B, B A, ...), a few dozen training steps
at a time, by long-lived processes pinned to their cores; starting and warming up do not count. A ratio is the median
over pairs, its interval a seeded 95% bootstrap; *not surely* means that the interval crosses the target.

The *plain loop* is what a course group wrote (`dlbench/bench/plain.py`): `DataLoader` over a `TensorDataset`, NCHW,
fp32, batches of 8, SGD, `loss.item()` each step, all cores. Ours is `dlbench.run.train` itself, with records and
TensorBoard, held between steps by a callback. What stands between two epochs is not in a step's time on either side;
the part on overhead says what it costs. Sequences have a plain loop of their own
(`dlbench/bench/plain_sequences.py`): lists of tensors and a collate function, random batches, one decoder step at a
time in training, one word at a time in decoding.

Measure again on a machine that does nothing else: `make bench` (about 20 minutes on two cores);
`ARGS='--only sweep --pairs 30'` for one part in more detail, `ARGS='--quick'` to see that it works.
"""


def machine() -> dict[str, Any]:
    """What the figures belong to; no host name."""
    environment = describe_environment()
    code = describe_code()
    return {
        "processor": environment["processor"],
        "system": f"{environment['system']} {environment['machine']}",
        "cores": len(all_cores()),
        "python": environment["python"],
        "torch": environment["packages"]["torch"],
        "pytorch-lightning": environment["packages"]["pytorch-lightning"],
        "commit": code["commit"],
        "dirty": code["dirty"],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load": round(os.getloadavg()[0], 2),
    }


def is_busy(described: dict[str, Any]) -> bool:
    """Whether something else was computing when the benchmark began."""
    return bool(described["load"] > BUSY_LOAD * described["cores"])


def machine_line(described: dict[str, Any]) -> str:
    """The machine in a line."""
    commit = (described["commit"] or "no checkout")[:10] + (" with changes" if described["dirty"] else "")
    busy = " (BUSY: figures not to be trusted)" if is_busy(described) else ""
    return (
        f"{described['processor']}, {described['cores']} cores, {described['system']}; Python {described['python']}, "
        f"torch {described['torch']}, Lightning {described['pytorch-lightning']}; {described['date']}, "
        f"commit {commit}, load before {described['load']}{busy}"
    )


def make_console() -> Console:
    """A console as wide as the tables."""
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, MIN_WIDTH)
    return console


def show(part: Part, console: Console) -> None:
    """Print a part."""
    console.print(f"\n[bold]{part.title}")
    if part.rows:
        console.print(_rich(list(_headings(part)), [_cells(row) for row in part.rows]))
    if part.table:
        console.print(_rich(part.table[0], part.table[1:]))
    for note in part.notes:
        console.print(f"  {note}", markup=False)


def markdown(parts: dict[str, Part], failures: dict[str, str], described: dict[str, Any], quick: bool) -> str:
    """The page ``docs/benchmarks.md``."""
    lines = [INTRODUCTION, f"Machine: {machine_line(described)}.", ""]
    if quick:
        lines += ["**Quick form: these figures mean nothing.**", ""]
    for part in parts.values():
        lines += [f"## {part.title}", ""]
        if part.rows:
            lines += [*_pipes(list(_headings(part)), [_cells(row) for row in part.rows]), ""]
        if part.table:
            lines += [*_pipes(part.table[0], part.table[1:]), ""]
        lines += [*(f"- {note}" for note in part.notes), ""]
    for name, failure in failures.items():
        lines += [f"## {name}", "", f"Not measured: {failure}", ""]
    return "\n".join(lines).rstrip() + "\n"


def as_json(parts: dict[str, Part], failures: dict[str, str], described: dict[str, Any], quick: bool) -> dict[str, Any]:
    """Everything, with the ratio of each pair."""
    found = {name: asdict(part) for name, part in parts.items()}
    for name, part in parts.items():
        for content, row in zip(found[name]["rows"], part.rows, strict=True):
            content["verdict"] = row.verdict
    return {"machine": described, "quick": quick, "parts": found, "failures": failures}


def _headings(part: Part) -> tuple[str, ...]:
    what, ours, *others = HEADINGS
    return (what, ours, part.reference, *others)


def _cells(row: Row) -> list[str]:
    ratio = row.ratio
    of_ratio = ["", "", ""]
    if ratio:
        smallest, largest = min(ratio.pairs), max(ratio.pairs)
        of_ratio = [f"{ratio.value:.3f}", f"{ratio.low:.3f} - {ratio.high:.3f}", f"{smallest:.3f} - {largest:.3f}"]
    target = f"{row.target.kind} {row.target.bound:g}" if row.target else ""
    return [row.what, _quantity(row.ours, row.unit), _quantity(row.reference, row.unit), *of_ratio, target, row.verdict]


def _quantity(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}"


def _rich(headings: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _pipes(headings: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows)]
