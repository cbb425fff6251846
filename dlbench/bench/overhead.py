"""What stands between a bare loop and a real run's step, and what each of it costs."""

from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from statistics import median

from dlbench.bench.part import ENDLESS, Case, Effort, Part, Row
from dlbench.bench.ratios import Target, in_turns, median_ratio
from dlbench.bench.workers import Specification, Worker, all_cores, crew

CASES = (Case("cnn_bn_gap"), Case("cnn_vanilla"))
TARGET = Target("at most", 1.03)
STEPS_PER_EPOCH = 1500
"""Steps over which an epoch's end is spread: 12,000 pictures in batches of 8."""

LAYERS = {
    "bare": "bare loop, one thread",
    "checked": "+ loss.item() and its check",
    "reseeded": "+ reseeding before each step",
    "unlogged": "+ Lightning's loop and hooks",
    "step": "+ TensorBoard logger, by the step",
}
EPOCH_ENDS = {
    "lightning": f"+ Lightning's end of an epoch, / {STEPS_PER_EPOCH}",
    "recorder": f"+ record, TensorBoard, checkpoint, / {STEPS_PER_EPOCH}",
}

Times = dict[str, list[float]]


def overhead(effort: Effort) -> Part:
    """A real step over a bare one, layer by layer."""
    rows: list[Row] = []
    table = [["", "ms a step", "adds ms", "adds % of bare", "95% interval"]]
    data = ""
    for case in CASES[: None if effort.whole else 1]:
        overrides = case.overrides(effort, ENDLESS)
        first, last = all_cores()[:1], all_cores()[-1:]
        with crew(
            Specification("ours", overrides, effort.warmup, first),
            Specification("ours", [*overrides, "trainer.progress=bar"], effort.warmup, last, terminal=True),
            Specification("ours", [*overrides, "trainer.limit_train_batches=2"], 1, last),
        ) as (run, with_bar, short_epochs):
            times = _in_turns(run, LAYERS, effort)
            barred = _in_turns(with_bar, ("bare", "step"), effort)
            ends = _epoch_ends(short_epochs, effort)
            data = run.facts["data"]
        rows.append(_row(case.name, times, ends, TARGET))
        rows.append(_row(f"{case.name}, with a live bar", barred, ends))
        table += [[case.name, "", "", "", ""], *_lines(times, ends)]
    notes = [
        f"data: {data}; a pinned core",
        "all layers are measured in turns in one process, on the run's own network, optimiser and batches; the live "
        "bar, which only a terminal gets, in a process of its own against the bare loop there",
        "what a layer adds is the median over rounds of its difference from the one before",
        "validation is work, not overhead, and left out; the record lies in the system's temporary folder",
    ]
    return Part("What Lightning, records and logging add to a step, fp32", "bare loop", rows, notes, table)


def _in_turns(worker: Worker, layers: Iterable[str], effort: Effort) -> Times:
    """Seconds a step of each layer, round by round."""
    taken = in_turns(effort.pairs, {layer: partial(worker.seconds, effort.steps, layer) for layer in layers})
    return {layer: [seconds / effort.steps for seconds in windows] for layer, windows in taken.items()}


def _epoch_ends(worker: Worker, effort: Effort) -> dict[str, float]:
    """Seconds that an epoch's end takes, by its parts, spread over the steps of a real epoch."""
    worker.ask("epoch_end")  # the first one opens files
    ends = [worker.ask("epoch_end") for _ in range(effort.epoch_ends)]
    return {part: median(end[part] for end in ends) / STEPS_PER_EPOCH for part in EPOCH_ENDS}


def _row(what: str, times: Times, ends: dict[str, float], target: Target | None = None) -> Row:
    whole, bare = [step + sum(ends.values()) for step in times["step"]], times["bare"]
    return Row(what, "ms/step", 1000 * median(whole), 1000 * median(bare), median_ratio(whole, bare), target)


def _lines(times: Times, ends: dict[str, float]) -> list[list[str]]:
    """A line a layer: milliseconds a step, and what the layer adds."""
    bare = times["bare"]
    lines = [[LAYERS["bare"], f"{1000 * median(bare):.3f}", "", "", ""]]
    for (_, before), (layer, now) in pairwise(times.items()):
        added = [later - earlier for later, earlier in zip(now, before, strict=True)]
        share = median_ratio(added, bare)
        lines.append(
            [
                LAYERS[layer],
                f"{1000 * median(now):.3f}",
                f"{1000 * median(added):+.3f}",
                f"{100 * share.value:+.2f}",
                f"{100 * share.low:+.2f} to {100 * share.high:+.2f}",
            ]
        )
    total = median(times["step"])
    for part, seconds in ends.items():
        total += seconds
        added_share = f"{100 * seconds / median(bare):+.2f}"
        lines.append([EPOCH_ENDS[part], f"{1000 * total:.3f}", f"{1000 * seconds:+.3f}", added_share, ""])
    return lines
