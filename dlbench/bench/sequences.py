"""Training on sequences and decoding them, ours against what a course group wrote (`.plain_sequences`)."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from dlbench.bench.part import ENDLESS, Case, Effort, Part, Row
from dlbench.bench.ratios import Target, in_turns, median_ratio
from dlbench.bench.workers import Specification, Worker, all_cores, crew

CASE = Case("p2g_attention")
ONE, ALL = "plain on one core", "plain on all cores"
"""The targets are against the plain loop as it was run, on all cores."""

EPOCH = Target("at least", 3.5)
SIDE_BY_SIDE = Target("at least", 1.8)
DECODING = Target("at least", 15)
BEAM = Target("below", 3)

Times = dict[str, list[float]]


def sequences(effort: Effort) -> Part:
    """Epochs and decodings of P2G with attention."""
    random = (*CASE.overrides(effort, ENDLESS), "data.bucket_batches=1")
    bucketed = (*CASE.overrides(effort, ENDLESS), "data.bucket_batches=20")
    first, last = all_cores()[:1], all_cores()[-1:]
    specifications = {
        "ours": Specification("ours", bucketed, effort.warmup, first),
        "beside": Specification("ours", bucketed, effort.warmup, last),
        ONE: Specification("plain_sequences", random, effort.warmup, first),
    }
    if effort.whole:
        specifications["random"] = Specification("ours", random, effort.warmup, first)
        specifications[ALL] = Specification("plain_sequences", random, effort.warmup)
    with crew(*specifications.values()) as workers:
        crewed = dict(zip(specifications, workers, strict=True))
        facts = crewed["ours"].facts
        trained = _train(crewed, effort)
        arithmetic = crewed["ours"].ask("flops", steps=effort.steps)
        decoded, agreeing = _decode(crewed, effort)
    flops = arithmetic["flops"] / arithmetic["symbols"] * facts["symbols"]
    limit = [flops / rate for rate in trained["rate"]]
    rows = [*_training_rows(trained, limit), *_decoding_rows(decoded)]
    notes = [
        f"data: {facts['data']}; fp32, batch 64; ours on one pinned core and thread, its epochs bucketed by length "
        "(data.bucket_batches=20) where no row says random batches (=1); the plain loop takes random batches",
        "ratio: how many times as fast, the reference's seconds over ours; to the arithmetic limit, ours over it",
        f"an epoch: windows of {effort.steps} real steps, one after the other through the epochs, scaled by the "
        f"symbols read and written in them (of {facts['symbols']:,} an epoch, no padding); validation is left out",
        "two runs side by side: their speeds added, so the seconds in which they do the work of one epoch",
        "decoding: with the weights our run has then, from symbol numbers in memory to lists of them; ours all "
        f"{facts['words']} test words in batches, the plain loop word by word, its samples those of "
        f"{min(effort.words, facts['words'])} words spread over the lengths, scaled by word",
        f"greedy output: the same as the plain loop's on {agreeing} of {facts['words']} words",
        "limit = operations of forward and backward, padding included (torch's FlopCounterMode, LSTMs without oneDNN, "
        "which it cannot see into) / best rate of torch.mm of squares of " + ", ".join(map(str, effort.matrix_sizes)),
    ]
    table = [
        ["", "GFLOP an epoch", "best GFLOP/s, one core"],
        [CASE.name, f"{flops / 1e9:,.0f}", f"{median(trained['rate']) / 1e9:.0f}"],
    ]
    return Part("Sequences: P2G with attention", "reference", rows, notes, table)


def epoch_seconds(workers: Sequence[Worker], steps: int) -> float:
    """Seconds in which workers side by side do the work of one epoch, from so many steps each."""
    for worker in workers:
        worker.send("step", steps=steps)
    answers = [worker.receive() for worker in workers]
    speed = sum(answer["symbols"] / answer["seconds"] for answer in answers)
    return float(workers[0].facts["symbols"] / speed)


def _train(crewed: dict[str, Worker], effort: Effort) -> Times:
    """Seconds an epoch of each worker and of two side by side, and the core's best rate."""
    measures = {
        name: partial(epoch_seconds, [worker], effort.steps) for name, worker in crewed.items() if name != "beside"
    }
    together = {"together": partial(epoch_seconds, [crewed["ours"], crewed["beside"]], effort.steps)}
    rate = {"rate": partial(_rate, crewed["ours"], effort)}
    return in_turns(effort.pairs, {**rate, **together, **measures})


def _rate(worker: Worker, effort: Effort) -> float:
    return float(worker.ask("matmul", sizes=effort.matrix_sizes, dtype="float32")["rate"])


def _decode(crewed: dict[str, Worker], effort: Effort) -> tuple[Times, int]:
    """Seconds to decode all test words, and on how many the greedy output of ours and the plain loop's agree."""
    run, plain = crewed["ours"], {name: crewed[name] for name in (ONE, ALL) if name in crewed}
    with tempfile.TemporaryDirectory(prefix="dlbench-bench-") as folder:
        path = str(Path(folder) / "weights.pt")
        run.ask("save", path=path)
        for worker in plain.values():
            worker.ask("load", path=path)
    words = run.facts["words"]
    measures: dict[str, Callable[[], float]] = {}
    for decoder, count in (("greedy", words), ("nucleus", min(effort.words, words))):
        measures[decoder] = partial(_seconds, run, decoder, 1.0)
        for name, worker in plain.items():
            measures[f"{decoder}, {name}"] = partial(_seconds, worker, decoder, words / count, words=count)
    measures["beam"] = partial(_seconds, run, "beam", 1.0)
    # The comparison also warms up.
    ours, theirs = (worker.ask("decode", decoder="greedy", words=words)["written"] for worker in (run, crewed[ONE]))
    agreeing = sum(one == other for one, other in zip(ours, theirs, strict=True))
    return in_turns(effort.decodings, measures), agreeing


def _seconds(worker: Worker, decoder: str, scale: float, **details: Any) -> float:
    return scale * float(worker.ask("decode", decoder=decoder, **details)["seconds"])


def _training_rows(taken: Times, limit: list[float]) -> list[Row]:
    ours = taken["ours"]
    rows = [_faster(f"training epoch / {ONE}", ours, taken[ONE])]
    if ALL in taken:
        rows += [
            _faster(f"training epoch / {ALL}", ours, taken[ALL], EPOCH),
            _faster(f"random batches / {ONE}", taken["random"], taken[ONE]),
            _faster(f"random batches / {ALL}", taken["random"], taken[ALL]),
        ]
    rows.append(_faster("two runs side by side / one", taken["together"], ours, SIDE_BY_SIDE))
    what = "training epoch / its arithmetic limit"
    return [*rows, Row(what, "s", median(ours), median(limit), median_ratio(ours, limit))]


def _decoding_rows(taken: Times) -> list[Row]:
    rows = []
    for decoder, what in (("greedy", "greedy"), ("nucleus", "nucleus, 3 samples")):
        for reference, target in ((ONE, None), (ALL, DECODING)):
            if (theirs := taken.get(f"{decoder}, {reference}")) is not None:
                rows.append(_faster(f"{what} / {reference}", taken[decoder], theirs, target))
    return [*rows, Row("beam search, width 5", "s", median(taken["beam"]), target=BEAM)]


def _faster(what: str, ours: list[float], reference: list[float], target: Target | None = None) -> Row:
    """A row of seconds whose ratio says how many times as fast ours is."""
    return Row(what, "s", median(ours), median(reference), median_ratio(reference, ours), target)
