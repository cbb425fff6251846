"""How long one waits: for help, and for a run's first training step."""

import itertools
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from dlbench.bench.first_step import MARK
from dlbench.bench.part import Case, Effort, Part, Row
from dlbench.bench.processes import Usage, measure
from dlbench.bench.ratios import Target, in_turns, ratio_of_medians
from dlbench.bench.workers import BenchError

IMPORTS = "import torch, pytorch_lightning, torchvision, torchmetrics"
CASE = Case("cnn_bn_gap")


def startup(effort: Effort) -> Part:
    """Whole processes, from launch to end, in turns."""
    helped = _usages(
        effort, {"ours": lambda: measure("-m", "dlbench", "--help"), "reference": lambda: measure("-c", "import torch")}
    )
    with tempfile.TemporaryDirectory(prefix="dlbench-bench-") as folder:
        numbers = itertools.count()
        stepped = _usages(
            effort,
            {
                "ours": lambda: _first_step(effort, Path(folder) / str(next(numbers))),
                # Left as abruptly as a run at its first step: what Python tears down is no part of starting.
                "reference": lambda: measure("-c", f"{IMPORTS}; import os; os._exit(0)"),
            },
        )
    below, most = Target("below", 0.8), Target("at most", 2.5)
    rows = [
        _row("--help (over import torch)", helped, "wall", below),
        _row("--help, processor time", helped, "cpu", below),
        _row("first training step", stepped, "wall", most),
        _row("first training step, processor time", stepped, "cpu", most),
    ]
    notes = [
        "ratios of medians over alternating process starts, after one that does not count",
        f"imports: {IMPORTS.removeprefix('import ')}; first step: +experiment={CASE.experiment}, from launch, "
        "reading and checking the data included",
    ]
    return Part("Starting", "imports", rows, notes)


def _usages(effort: Effort, commands: Mapping[str, Callable[[], Usage]]) -> dict[str, list[Usage]]:
    """Every command's usages, after one start of each that does not count: it reads the files from the disk."""
    for command in commands.values() if effort.whole else ():
        command()
    usages: dict[str, list[Usage]] = {name: [] for name in commands}

    def start(name: str) -> float:
        usages[name].append(commands[name]())
        return usages[name][-1].wall

    in_turns(effort.starts, {name: lambda name=name: start(name) for name in commands})  # type: ignore[misc]
    return usages


def _first_step(effort: Effort, runs: Path) -> Usage:
    usage = measure("-m", "dlbench.bench.first_step", *CASE.overrides(effort), f"paths.runs={json.dumps(str(runs))}")
    if MARK not in usage.output:
        raise BenchError(f"the run ended without a training step: {usage.output.strip()[-500:]}")
    return usage


def _row(what: str, usages: dict[str, list[Usage]], kind: str, target: Target) -> Row:
    ours, reference = ([getattr(usage, kind) for usage in usages[name]] for name in ("ours", "reference"))
    return Row(what, "s", median(ours), median(reference), ratio_of_medians(ours, reference), target)
