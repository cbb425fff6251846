"""Training steps a second, ours against the plain loop on all cores."""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from dlbench.bench.part import ENDLESS, Case, Effort, Part, Row
from dlbench.bench.ratios import Target, in_turns, median_ratio
from dlbench.bench.workers import Specification, all_cores, crew, speed

BN_GAP, BN_GAP_BF16, VANILLA = Case("cnn_bn_gap"), Case("cnn_bn_gap", "bf16-mixed"), Case("cnn_vanilla")

Targets = Mapping[Case, Target]

THREADS2: Targets = {BN_GAP: Target("at least", 1.15), VANILLA: Target("at least", 1.15)}
SWEEP: Targets = {
    BN_GAP: Target("at least", 2.0),
    VANILLA: Target("at least", 1.7),
    BN_GAP_BF16: Target("at least", 2.8),
}


def threads2(effort: Effort) -> Part:
    """One run in a hurry, on two threads."""
    title = "One run with trainer.threads=2, fp32"
    return _part(title, THREADS2, effort, "trainer.threads=2", [all_cores()])


def sweep(effort: Effort) -> Part:
    """As many runs side by side as there are cores, one thread each, each on a core of its own."""
    title = f"A sweep: {len(all_cores())} runs side by side, one pinned core and thread each; their speeds added"
    return _part(title, SWEEP, effort, "trainer.threads=1", [[core] for core in all_cores()])


def _part(title: str, cases: Targets, effort: Effort, threads: str, places: Sequence[Sequence[int]]) -> Part:
    """A row a case: a run of ours in each place (a set of cores), together, against the plain loop on all cores."""
    rows: list[Row] = []
    notes: dict[str, None] = {}  # each line once, in order
    for case, target in list(cases.items())[: None if effort.whole else 1]:
        overrides = case.overrides(effort, ENDLESS, threads)
        ours = [Specification("ours", overrides, effort.warmup, cores) for cores in places]
        plain = Specification("plain", Case(case.experiment).overrides(effort), effort.warmup)
        with crew(*ours, plain) as (*own, reference):
            taken = in_turns(
                effort.pairs,
                {
                    "ours": partial(speed, own, effort.steps),
                    "plain": partial(speed, [reference], effort.steps),
                },
            )
            notes[f"data: {reference.facts['data']}"] = None
            notes[f"plain loop: fp32, {reference.facts['threads']} threads on {len(all_cores())} cores"] = None
        ratio = median_ratio(taken["ours"], taken["plain"])
        rows.append(Row(case.name, "steps/s", median(taken["ours"]), median(taken["plain"]), ratio, target))
    return Part(title, "plain loop", rows, list(notes))
