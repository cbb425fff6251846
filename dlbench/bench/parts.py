"""The parts of the benchmark: each starts what it measures, measures in turns, and gives its findings.

A further part is a function here, with a place in `PARTS`; what a worker is told stands in `dlbench.bench.worker`.
"""

import itertools
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from dlbench.bench.report import Part, Row, Target, compared, paired_ratio
from dlbench.bench.workers import BenchError, Case, Effort, Usage, Worker, all_cores, crew, in_turns, measure, speed
from dlbench.data import intel_files
from dlbench.paths import data_folder
from dlbench.records.store import Store

BN_GAP, BN_GAP_BF16 = Case("cnn_bn_gap"), Case("cnn_bn_gap", "bf16-mixed")
VANILLA, VANILLA_BF16 = Case("cnn_vanilla"), Case("cnn_vanilla", "bf16-mixed")
P2G = Case("p2g_attention")

Taken = Mapping[str, Sequence[float]]


# training steps


def threads2(effort: Effort) -> Part:
    """One run in a hurry, on two threads."""
    targets = {BN_GAP: Target("at least", 1.15), VANILLA: Target("at least", 1.15)}
    return _throughput("One run with trainer.threads=2, fp32", targets, effort, 2, [all_cores()])


def sweep(effort: Effort) -> Part:
    """As many runs side by side as there are cores, one thread each, each on a core of its own."""
    targets = {BN_GAP: Target("at least", 2.0), VANILLA: Target("at least", 1.7), BN_GAP_BF16: Target("at least", 2.8)}
    title = f"A sweep: {len(all_cores())} runs side by side, one pinned core and thread each; their speeds added"
    return _throughput(title, targets, effort, 1, [[core] for core in all_cores()])


def _throughput(
    title: str, targets: Mapping[Case, Target], effort: Effort, threads: int, places: Sequence[Sequence[int]]
) -> Part:
    """Runs of ours together, one in each place (a set of cores), against the plain loop on all cores."""
    rows: list[Row] = []
    notes: dict[str, None] = {}  # each line once, in order
    for case in effort.chosen(list(targets)):
        ours = {str(cores): case.ours(effort, cores, f"trainer.threads={threads}") for cores in places}
        with crew(plain=case.plain(effort, all_cores()), **ours) as workers:
            plain = workers.pop("plain")
            measures = {
                "ours": partial(speed, list(workers.values()), effort.steps),
                "plain": partial(speed, [plain], effort.steps),
            }
            taken = in_turns(effort.pairs, measures)
        notes[f"data: {plain.facts['data']}"] = None
        notes[f"plain loop: fp32, {plain.facts['threads']} threads on {len(all_cores())} cores"] = None
        rows.append(compared(case.name, "steps/s", taken["ours"], taken["plain"], targets[case]))
    return Part(title, "plain loop", rows, list(notes))


STEPS_PER_EPOCH = 1500
"""Steps over which an epoch's end is spread: 12,000 pictures in batches of 8."""

LAYERS: dict[str, dict[str, Any]] = {
    "bare loop, one thread": {"do": "bare", "checks_loss": False, "reseeds": False},
    "+ loss.item() and its check": {"do": "bare", "checks_loss": True, "reseeds": False},
    "+ reseeding before each step": {"do": "bare", "checks_loss": True, "reseeds": True},
    "+ Lightning's loop and hooks": {"do": "step", "logged": False},
    "+ TensorBoard logger, by the step": {"do": "step"},
}
"""What is measured, each with one thing more than the one before; the last is the real step."""

EPOCH_ENDS = {
    f"+ Lightning's end of an epoch, / {STEPS_PER_EPOCH}": "lightning",
    f"+ record, TensorBoard, checkpoint, / {STEPS_PER_EPOCH}": "recorder",
}
BARE, *_, REAL = LAYERS


def overhead(effort: Effort) -> Part:
    """A real step over a bare one, layer by layer."""
    rows: list[Row] = []
    table = [["", "ms a step", "adds ms", "adds % of bare", "95% interval"]]
    for case in effort.chosen([BN_GAP, VANILLA]):
        first, last = all_cores()[:1], all_cores()[-1:]
        with crew(
            run=case.ours(effort, first),
            with_bar=case.ours(effort, last, "trainer.progress=bar", terminal=True),
            short_epochs=case.ours(effort, last, "trainer.limit_train_batches=2", warmup=1),
        ) as workers:
            times = _layers(workers["run"], list(LAYERS), effort)
            barred = _layers(workers["with_bar"], [BARE, REAL], effort)
            workers["short_epochs"].ask("epoch_end")  # the first one opens files
            ends = [workers["short_epochs"].ask("epoch_end") for _ in range(effort.few)]
            data = workers["run"].facts["data"]
        epoch_ends = {
            what: 1000 * median(end[part] for end in ends) / STEPS_PER_EPOCH for what, part in EPOCH_ENDS.items()
        }
        for what, taken, target in (
            (case.name, times, Target("at most", 1.03)),
            (f"{case.name}, with a live bar", barred, None),
        ):
            whole = [step + sum(epoch_ends.values()) for step in taken[REAL]]
            rows.append(compared(what, "ms/step", whole, taken[BARE], target))
        table += [[case.name, "", "", "", ""], *_added(times, epoch_ends)]
    notes = [
        f"data: {data}; a pinned core",
        "all layers are measured in turns in one process, on the run's own network, optimiser and batches; the live "
        "bar, which only a terminal gets, in a process of its own against the bare loop there",
        "what a layer adds is the median over rounds of its difference from the one before",
        "validation is work, not overhead, and left out; the record lies in the system's temporary folder",
    ]
    return Part("What Lightning, records and logging add to a step, fp32", "bare loop", rows, notes, table)


def _layers(worker: Worker, layers: Sequence[str], effort: Effort) -> Taken:
    """Milliseconds a step of each layer, round by round."""
    taken = in_turns(effort.pairs, {what: partial(worker.seconds, effort.steps, **LAYERS[what]) for what in layers})
    return {layer: [1000 * seconds / effort.steps for seconds in windows] for layer, windows in taken.items()}


def _added(times: Taken, epoch_ends: Mapping[str, float]) -> list[list[str]]:
    """A line a layer: milliseconds a step, and what the layer adds."""
    bare = times[BARE]
    lines = [[BARE, f"{median(bare):.3f}", "", "", ""]]
    for (_, before), (layer, now) in itertools.pairwise(times.items()):
        added = [later - earlier for later, earlier in zip(now, before, strict=True)]
        share = paired_ratio(added, bare)
        interval = f"{100 * share.low:+.2f} to {100 * share.high:+.2f}"
        lines.append([layer, f"{median(now):.3f}", f"{median(added):+.3f}", f"{100 * share.value:+.2f}", interval])
    total = median(times[REAL])
    for what, adds in epoch_ends.items():
        total += adds
        lines.append([what, f"{total:.3f}", f"{adds:+.3f}", f"{100 * adds / median(bare):+.2f}", ""])
    return lines


def limits(effort: Effort) -> Part:
    """A real step over its operations divided by the core's best matrix product, taken right beside it."""
    rows: list[Row] = []
    table = [["", "MFLOP a step", "best GFLOP/s, one core"]]
    for case in effort.chosen([BN_GAP, BN_GAP_BF16, VANILLA, VANILLA_BF16]):
        with crew(run=case.ours(effort, all_cores()[:1])) as workers:
            run = workers["run"]
            flops = run.ask("flops")["flops"]
            dtype = "float32" if case.precision == "32-true" else "bfloat16"
            measures = {"step": partial(run.seconds, effort.steps), "rate": partial(_rate, run, effort, dtype)}
            taken = in_turns(effort.pairs, measures)
        ours = [1000 * seconds / effort.steps for seconds in taken["step"]]
        rows.append(compared(case.name, "ms/step", ours, [1000 * flops / rate for rate in taken["rate"]]))
        table.append([case.name, f"{flops / 1e6:,.0f}", f"{median(taken['rate']) / 1e9:.0f}"])
    notes = [
        f"data: {run.facts['data']}; one pinned core and thread, batch 8",
        "limit = operations of forward and backward (torch's FlopCounterMode) / best rate of torch.mm of squares of "
        + ", ".join(map(str, effort.matrix_sizes)),
    ]
    return Part("How far a step is from its arithmetic limit", "limit", rows, notes, table)


def _rate(worker: Worker, effort: Effort, dtype: str = "float32") -> float:
    return float(worker.ask("rate", sizes=effort.matrix_sizes, dtype=dtype)["rate"])


# whole processes

IMPORTS = "torch, pytorch_lightning, torchvision, torchmetrics"
FIRST_STEP = """
import os
from dlbench.__main__ import main
from dlbench.tasks.base import Task
Task.on_train_batch_end = lambda *_: print("first step done", flush=True) or os._exit(0)
main()
"""
"""``python -m dlbench``, left at once at the end of its first training step, the optimiser's part included."""


def startup(effort: Effort) -> Part:
    """How long one waits for help and for a run's first training step: processes from launch to end."""
    with tempfile.TemporaryDirectory(prefix="dlbench-bench-") as folder:
        numbers = itertools.count()

        def first_step() -> Usage:
            runs = json.dumps(f"{folder}/{next(numbers)}")
            usage = measure("-c", FIRST_STEP, *BN_GAP.overrides(effort), f"paths.runs={runs}")
            if "first step done" not in usage.output:
                raise BenchError(f"the run ended without a training step: {usage.output.strip()[-500:]}")
            return usage

        # The imports are left as abruptly as the first step: what Python tears down is no part of starting.
        all_imports = partial(measure, "-c", f"import {IMPORTS}, os; os._exit(0)")
        helped = _starts(
            effort, ours=partial(measure, "-m", "dlbench", "--help"), imports=partial(measure, "-c", "import torch")
        )
        stepped = _starts(effort, ours=first_step, imports=all_imports)
    rows = []
    for what, usages, clock, target in (
        ("--help (over import torch)", helped, "wall", Target("below", 0.8)),
        ("--help, processor time", helped, "cpu", Target("below", 0.8)),
        ("first training step", stepped, "wall", Target("at most", 2.5)),
        ("first training step, processor time", stepped, "cpu", Target("at most", 2.5)),
    ):
        ours, imports = ([getattr(usage, clock) for usage in usages[side]] for side in ("ours", "imports"))
        rows.append(compared(what, "s", ours, imports, target, of_medians=True))
    notes = [
        "ratios of medians over alternating process starts, after one that does not count",
        f"imports: {IMPORTS}; first step: +experiment={BN_GAP.experiment}, from launch, "
        "reading and checking the data included",
    ]
    return Part("Starting", "imports", rows, notes)


def _starts(effort: Effort, **commands: Callable[[], Usage]) -> dict[str, list[Usage]]:
    for command in commands.values() if effort.whole else ():
        command()  # does not count: it reads the files from the disk
    return in_turns(effort.few, commands)


def memory(effort: Effort) -> Part:
    """Peak resident memory of a short run; nothing without the real pictures."""
    title, target = "Peak memory of a run on the real pictures", Target("below", 1.5)
    if intel_files.find(data_folder()) is None:
        return Part(title, "", [], ["left out: no real pictures at hand (set DLBENCH_DATA)"])
    short = ("trainer.epochs=1", "trainer.limit_train_batches=50", "evaluation.max_shift=1")
    rows: list[Row] = []
    for case in effort.chosen([BN_GAP, VANILLA]):
        with tempfile.TemporaryDirectory(prefix="dlbench-bench-") as folder:
            # Not the effort's overrides: they may ask for synthetic pictures.
            chosen = (f"+experiment={case.experiment}", "trainer.device=cpu", "trainer.progress=none", *short)
            usage = measure("-m", "dlbench", *chosen, f"paths.runs={json.dumps(folder)}")
            (record,) = Store(Path(folder)).all()
            trained = record.closed()["peak_memory_bytes"]
        rows.append(Row(f"{case.name}, training (its record's peak)", "GB", trained / 1e9, target=target))
        rows.append(Row(f"{case.name}, the whole process", "GB", usage.peak_bytes / 1e9, target=target))
    return Part(title, "", rows, [f"real pictures, fp32, one thread, a short epoch: {' '.join(short)}"])


# sequences

ONE, ALL = "plain on one core", "plain on all cores"
"""The targets are against the plain loop as it was run, on all cores."""


def sequences(effort: Effort) -> Part:
    """Training on sequences and decoding them: P2G with attention."""
    first, last = all_cores()[:1], all_cores()[-1:]
    random, bucketed = "data.bucket_batches=1", "data.bucket_batches=20"
    specifications = {
        "ours": P2G.ours(effort, first, bucketed),
        "beside": P2G.ours(effort, last, bucketed),
        ONE: P2G.plain(effort, first, random),
    }
    if effort.whole:
        specifications["random"] = P2G.ours(effort, first, random)
        specifications[ALL] = P2G.plain(effort, all_cores(), random)
    with crew(**specifications) as workers:
        run = workers["ours"]
        words, symbols = run.facts["words"], run.facts["symbols"]

        def epoch(*names: str) -> float:
            return float(symbols / speed([workers[name] for name in names], effort.steps, "symbols"))

        measures: dict[str, Callable[[], float]] = {
            "rate": partial(_rate, run, effort),
            "together": partial(epoch, "ours", "beside"),
        }
        measures |= {name: partial(epoch, name) for name in workers if name != "beside"}
        taken = in_turns(effort.pairs, measures)
        counted = run.ask("flops", steps=effort.steps)
        decoded, agreeing = _decodings(workers, effort)
    flops = counted["flops"] / counted["symbols"] * symbols
    taken |= decoded | {"limit": [flops / rate for rate in taken["rate"]]}

    def against_plain(what: str, ours: str, target: Target | None = None, prefix: str = "") -> list[Row]:
        return [
            compared(f"{what} / {name}", "s", taken[ours], taken[prefix + name], bound, faster=True)
            for name, bound in ((ONE, None), (ALL, target))
            if {ours, prefix + name} <= taken.keys()
        ]

    rows = [
        *against_plain("training epoch", "ours", Target("at least", 3.5)),
        *against_plain("random batches", "random"),
        compared(
            "two runs side by side / one", "s", taken["together"], taken["ours"], Target("at least", 1.8), faster=True
        ),
        compared("training epoch / its arithmetic limit", "s", taken["ours"], taken["limit"]),
        *against_plain("greedy", "greedy", Target("at least", 15), "greedy, "),
        *against_plain("nucleus, 3 samples", "nucleus", Target("at least", 15), "nucleus, "),
        Row("beam search, width 5", "s", median(taken["beam"]), target=Target("below", 3)),
    ]
    notes = [
        f"data: {run.facts['data']}; fp32, batch 64; ours on one pinned core and thread, its epochs bucketed by length "
        f"({bucketed}) where no row says random batches (=1); the plain loop takes random batches",
        "ratio: how many times as fast, the reference's seconds over ours; to the arithmetic limit, ours over it",
        f"an epoch: windows of {effort.steps} real steps, one after the other through the epochs, scaled by the "
        f"symbols read and written in them (of {symbols:,} an epoch, no padding); validation is left out",
        "two runs side by side: their speeds added, so the seconds in which they do the work of one epoch",
        "decoding: with the weights our run has then, from symbol numbers in memory to lists of them; ours all "
        f"{words} test words in batches, the plain loop word by word, its samples those of "
        f"{min(effort.words, words)} words spread over the lengths, scaled by word",
        f"greedy output: the same as the plain loop's on {agreeing} of {words} words",
        "limit = operations of forward and backward, padding included (torch's FlopCounterMode, LSTMs without oneDNN, "
        "which it cannot see into) / best rate of torch.mm of squares of " + ", ".join(map(str, effort.matrix_sizes)),
    ]
    table = [
        ["", "GFLOP an epoch", "best GFLOP/s, one core"],
        [P2G.name, f"{flops / 1e9:,.0f}", f"{median(taken['rate']) / 1e9:.0f}"],
    ]
    return Part("Sequences: P2G with attention", "reference", rows, notes, table)


def _decodings(workers: Mapping[str, Worker], effort: Effort) -> tuple[dict[str, list[float]], int]:
    """Seconds to decode all test words, and on how many the greedy output of ours and the plain loop's agree."""
    run, plain = workers["ours"], {name: workers[name] for name in (ONE, ALL) if name in workers}
    with tempfile.TemporaryDirectory(prefix="dlbench-bench-") as folder:
        weights = f"{folder}/weights.pt"
        run.ask("save", path=weights)
        for worker in plain.values():
            worker.ask("load", path=weights)

    def seconds(worker: Worker, decoder: str, scale: float = 1.0, **details: Any) -> float:
        return scale * float(worker.ask("decode", decoder=decoder, **details)["seconds"])

    words = run.facts["words"]
    measures = {decoder: partial(seconds, run, decoder) for decoder in ("greedy", "nucleus", "beam")}
    for decoder, count in (("greedy", words), ("nucleus", min(effort.words, words))):
        for name, worker in plain.items():
            measures[f"{decoder}, {name}"] = partial(seconds, worker, decoder, words / count, words=count)
    # The comparison also warms up.
    ours, theirs = (run.ask("decode", decoder="greedy"), plain[ONE].ask("decode", decoder="greedy", words=words))
    agreeing = sum(one == other for one, other in zip(ours["written"], theirs["written"], strict=True))
    return in_turns(effort.few, measures), agreeing


def speech(effort: Effort) -> Part:
    """What padding costs a recogniser: every recording to 2,754 frames, as published, or to its batch's longest."""
    published = (
        "data.frames=2754",
        "data.target_symbols=99",
        "data.bucket_batches=1",
        "model.mask_padding=false",
        "task.ignore_padding=false",
    )
    small = () if effort.whole else ("data.batch_size=2",)  # a published step takes seconds
    rows = []
    for case in effort.chosen([Case("asr_lstm_spoken"), Case("asr_attention_spoken")]):
        cores = all_cores()[:1]
        with crew(
            masked=case.ours(effort, cores, *small, warmup=1),
            published=case.ours(effort, cores, *small, *published, warmup=1),
        ) as workers:
            step = LAYERS["+ reseeding before each step"]  # Lightning's own adds nothing to a step so long
            measures = {name: partial(worker.seconds, 1, **step) for name, worker in workers.items()}
            taken = in_turns(min(effort.pairs, effort.few), measures)
            data = workers["masked"].facts["data"]
        milliseconds = {name: [1000 * seconds for seconds in windows] for name, windows in taken.items()}
        rows.append(
            compared(
                f"{case.name}, training step", "ms", milliseconds["masked"], milliseconds["published"], faster=True
            )
        )
    notes = [data, "The ratio tells how many times as fast it is to leave padding out."]
    return Part("Padding of speech", "padded as published", rows, notes)


PARTS: dict[str, Callable[[Effort], Part]] = {
    "threads2": threads2,
    "sweep": sweep,
    "overhead": overhead,
    "startup": startup,
    "memory": memory,
    "limits": limits,
    "sequences": sequences,
    "speech": speech,
}
