"""The parts of the benchmark: each starts what it measures, measures in turns, and gives its findings.

A further part is a function here, with a place in `PARTS`; what a worker is told stands in `dlbench.bench.worker`.
"""

import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from dlbench.bench.report import Part, Row, compared
from dlbench.bench.workers import BenchError, Job, Usage, Worker, all_cores, in_turns, measure, speed, worker_pool
from dlbench.data import intel_files
from dlbench.paths import data_folder
from dlbench.records.store import Store


@dataclass(frozen=True)
class Effort:
    """How much is measured: ``pairs`` of windows of ``steps`` training steps, and a ``few`` pairs of what takes long.

    Each worker makes ``warmup`` steps before. The plain loop draws samples for so many ``words``; matrix products of
    ``matrix_sizes`` give a core's peak; ``whole`` tells whether every case is measured or only each part's first. The
    ``overrides`` are every run's: by default real data where they are, else synthetic.
    """

    pairs: int
    few: int
    steps: int
    warmup: int
    words: int
    matrix_sizes: tuple[int, ...]
    whole: bool = True
    overrides: tuple[str, ...] = ()

    def chosen(self, cases: Sequence[str]) -> Sequence[str]:
        """All cases, or only the first."""
        return cases if self.whole else cases[:1]

    @property
    def peak(self) -> str:
        """A core's peak in words."""
        return f"best rate of torch.mm of squares of {', '.join(map(str, self.matrix_sizes))}"


FULL = Effort(pairs=16, few=8, steps=40, warmup=20, words=150, matrix_sizes=(1024, 1536, 2048))
SYNTHETIC = ("data.source=synthetic", "data.synthetic_sizes=[64,24,24]")
QUICK = Effort(2, 1, steps=2, warmup=1, words=8, matrix_sizes=(128,), whole=False, overrides=SYNTHETIC)

# A case is an experiment, and its precision where that is not fp32; so it is printed.
BN_GAP, VANILLA, P2G = "cnn_bn_gap", "cnn_vanilla", "p2g_attention"
BF16 = ", bf16-mixed"


def overrides(effort: Effort, case: str, *more: str) -> tuple[str, ...]:
    """A case's configuration as on a command line; on the CPU, silent, without pictures."""
    experiment, _, precision = case.partition(", ")
    chosen = (f"+experiment={experiment}", f"trainer.precision={precision or '32-true'}", "trainer.device=cpu")
    return (*chosen, "trainer.progress=none", "callbacks=none", *effort.overrides, *more)


def job(effort: Effort, case: str, cores: Sequence[int], *more: str, **details: Any) -> Job:
    """The case's run without end on some cores; with ``kind="plain"`` the plain loop, which knows fp32 alone."""
    endless = overrides(effort, case, "trainer.epochs=1000000", *more)
    return Job(endless, cores, **{"warmup": effort.warmup, **details})


# training steps


def threads2(effort: Effort) -> Part:
    """One run in a hurry, on two threads."""
    goals = {BN_GAP: "at least 1.2", VANILLA: "at least 1.2"}
    return _throughput("One run with trainer.threads=2, fp32", effort, [all_cores()], 2, goals)


def sweep(effort: Effort) -> Part:
    """As many runs side by side as there are cores, one thread each, each on a core of its own."""
    title = f"A sweep: {len(all_cores())} runs side by side, one pinned core and thread each; their speeds added"
    goals = {BN_GAP: "at least 2.1", VANILLA: "at least 1.85", BN_GAP + BF16: "at least 2.5"}
    return _throughput(title, effort, [[core] for core in all_cores()], 1, goals)


def _throughput(
    title: str, effort: Effort, places: Sequence[Sequence[int]], threads: int, goals: Mapping[str, str]
) -> Part:
    """Runs of ours together, one in each place (a set of cores), against the plain loop on all cores."""
    rows = []
    for case in effort.chosen([*goals]):
        jobs = {str(cores): job(effort, case, cores, f"trainer.threads={threads}") for cores in places}
        with worker_pool(plain=job(effort, case, all_cores(), kind="plain"), **jobs) as workers:
            plain = workers.pop("plain")
            sides = {"ours": [*workers.values()], "plain": [plain]}
            taken = in_turns(effort.pairs, {side: partial(speed, of, effort.steps) for side, of in sides.items()})
        rows.append(compared(case, "steps/s", taken["ours"], taken["plain"], goals[case]))
    on = f"plain loop: fp32, {plain.facts['threads']} threads on {len(all_cores())} cores"
    return Part(title, "plain loop", rows, [f"data: {plain.facts['data']}", on])


STEPS_PER_EPOCH = 1500
"""Steps over which an epoch's end is spread: 12,000 pictures in batches of 8."""

LAYERS: dict[str, dict[str, Any]] = {
    "bare loop, one thread": {"command": "bare", "checks_loss": False, "reseeds": False},
    "+ loss.item() and its check": {"command": "bare", "checks_loss": True, "reseeds": False},
    "+ reseeding before each step": {"command": "bare", "checks_loss": True, "reseeds": True},
    "+ Lightning's loop and hooks": {"command": "step", "logged": False},
    "+ TensorBoard logger, by the step": {"command": "step"},
}
"""What is measured, each with one thing more than the one before; the last is the real step."""

EPOCH_ENDS = {
    f"+ Lightning's end of an epoch, / {STEPS_PER_EPOCH}": "lightning",
    f"+ record, TensorBoard, checkpoint, / {STEPS_PER_EPOCH}": "recorder",
}
BARE, *_, REAL = LAYERS


def overhead(effort: Effort) -> Part:
    """A real step over a bare one, and layer by layer."""
    rows, first, last = [], all_cores()[:1], all_cores()[-1:]
    for case in effort.chosen([BN_GAP, VANILLA]):
        with worker_pool(
            run=job(effort, case, first),
            with_bar=job(effort, case, last, "trainer.progress=bar"),
            short_epochs=job(effort, case, last, "trainer.limit_train_batches=2", warmup=1),
        ) as workers:
            data = workers["run"].facts["data"]
            times, barred = (
                in_turns(
                    effort.pairs,
                    {layer: partial(_milliseconds, workers[name], effort.steps, **LAYERS[layer]) for layer in layers},
                )
                for name, layers in (("run", LAYERS), ("with_bar", (BARE, REAL)))
            )
            # Two steps pass one end of an epoch; the first end opens files.
            _, *ends = [workers["short_epochs"].ask("step", steps=2) for _ in range(1 + effort.few)]
        of_ends = {
            what: 1000 * median(end[phase] for end in ends) / STEPS_PER_EPOCH for what, phase in EPOCH_ENDS.items()
        }
        for what, taken, target in ((case, times, "at most 1.03"), (f"{case}, with a live bar", barred, "")):
            whole = [step + sum(of_ends.values()) for step in taken[REAL]]
            rows.append(compared(what, "ms/step", whole, taken[BARE], target))
        layers = itertools.pairwise(times.items())
        rows += [compared(f"{case}: {layer}", "ms/step", now, before) for (_, before), (layer, now) in layers]
        rows += [Row(f"{case}: {what}", "ms/step", adds) for what, adds in of_ends.items()]
    notes = [
        f"data: {data}; a pinned core",
        "all layers are measured in turns in one process, on the run's own network, optimiser and batches; the live "
        "bar, which only a terminal gets, in a process of its own against the bare loop there",
        "a line with + is held against the loop without it, which the line before tells (the first: the bare loop); of "
        "an epoch's end, what it adds to a step",
        "validation is work, not overhead, and left out; the record lies in the system's temporary folder",
    ]
    return Part("What Lightning, records and logging add to a step, fp32", "bare loop", rows, notes)


def _seconds(workers: Sequence[Worker], steps: int, **details: Any) -> float:
    """How long workers side by side take for the work of so many steps; see `speed`."""
    return steps / speed(workers, steps, **details)


def _milliseconds(worker: Worker, steps: int, **details: Any) -> float:
    return 1000 * _seconds([worker], steps, **details) / steps


def limits(effort: Effort) -> Part:
    """A real step over its operations divided by the core's best matrix product, taken right beside it."""
    rows = []
    targets = {BN_GAP: "at most 1.45", BN_GAP + BF16: "", VANILLA: "at most 1.7", VANILLA + BF16: ""}
    for case in effort.chosen([*targets]):
        with worker_pool(run=job(effort, case, all_cores()[:1])) as workers:
            run = workers["run"]
            flops = run.ask("flops")["flops"]
            dtype = "bfloat16" if case.endswith(BF16) else "float32"
            measures = {"step": partial(_milliseconds, run, effort.steps), "rate": partial(_rate, run, effort, dtype)}
            taken = in_turns(effort.pairs, measures)
        limit = [1000 * flops / rate for rate in taken["rate"]]
        rows.append(compared(case, "ms/step", taken["step"], limit, targets[case]))
        rows += [Row(f"{case}, operations", "MFLOP/step", flops / 1e6), _peak(case, taken["rate"])]
    notes = [
        f"data: {run.facts['data']}; one pinned core and thread, batch 8",
        f"limit = operations of forward and backward (torch's FlopCounterMode) / {effort.peak}",
    ]
    return Part("How far a step is from its arithmetic limit", "limit", rows, notes)


def _peak(case: str, rates: Sequence[float]) -> Row:
    return Row(f"{case}, best matrix product on a core", "GFLOP/s", median(rates) / 1e9)


def _rate(worker: Worker, effort: Effort, dtype: str = "float32") -> float:
    return float(worker.ask("rate", sizes=effort.matrix_sizes, dtype=dtype)["rate"])


def _rows(taken: Mapping[str, Sequence[float]], *table: tuple[str, str, str, str], **options: bool) -> list[Row]:
    """Rows of seconds: what they tell, ours, the reference, and a target; without those that were not taken."""
    return [
        compared(what, "s", taken[ours], taken[reference], target, **options)
        for what, ours, reference, target in table
        if {ours, reference} <= taken.keys()
    ]


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
    commands: dict[str, Callable[[], Usage]] = {
        "help": partial(measure, "-m", "dlbench", "--help"),
        "torch": partial(measure, "-c", "import torch"),
        "first step": partial(_first_step, effort),
        # Left as abruptly as the first step: what Python tears down is no part of starting.
        "imports": partial(measure, "-c", f"import {IMPORTS}, os; os._exit(0)"),
    }
    if effort.whole:
        in_turns(1, commands)  # does not count: it reads the files from the disk
    taken: dict[str, list[float]] = {}
    for name, usages in in_turns(effort.few, commands).items():
        taken |= {name: [usage.wall for usage in usages], f"{name}, cpu": [usage.cpu for usage in usages]}
    rows = _rows(
        taken,
        ("--help (over import torch)", "help", "torch", ""),
        ("first training step", "first step", "imports", "at most 1.3"),
        ("first training step, processor time", "first step, cpu", "imports, cpu", "at most 1.3"),
        of_medians=True,
    )
    rows.append(Row("--help", "s", median(taken["help"]), target="below 0.5"))
    notes = [
        "ratios of medians over alternating process starts, after one that does not count",
        f"imports: {IMPORTS}; first step: +experiment={BN_GAP}, from launch, reading and checking the data included",
    ]
    return Part("Starting", "imports", rows, notes)


def _first_step(effort: Effort) -> Usage:
    with TemporaryDirectory() as runs:
        usage = measure("-c", FIRST_STEP, *overrides(effort, BN_GAP), f"paths.runs={json.dumps(runs)}")
    if "first step done" not in usage.output:
        raise BenchError(f"the run ended without a training step: {usage.output.strip()[-500:]}")
    return usage


def memory(effort: Effort) -> Part:
    """Peak resident memory of a short run; nothing without the real pictures."""
    title = "Peak memory of a run on the real pictures"
    if intel_files.find(data_folder()) is None:
        return Part(title, "", [], ["left out: no real pictures at hand (set DLBENCH_DATA)"])
    batches, shift = (50, 1) if effort.whole else (5, 0)
    short = ("trainer.epochs=1", f"trainer.limit_train_batches={batches}", f"evaluation.max_shift={shift}")
    rows = []
    for case in effort.chosen([BN_GAP, VANILLA]):
        with TemporaryDirectory() as folder:
            # Not the effort's overrides: they may ask for synthetic pictures.
            chosen = (f"+experiment={case}", "trainer.device=cpu", "trainer.progress=none", *short)
            usage = measure("-m", "dlbench", *chosen, f"paths.runs={json.dumps(folder)}")
            (record,) = Store(Path(folder)).all()
            trained = record.closed()["peak_memory_bytes"]
        for what, peak in (("training (its record's peak)", trained), ("the whole process", usage.peak_bytes)):
            rows.append(Row(f"{case}, {what}", "GB", peak / 1e9, target="below 1.5"))
    return Part(title, "", rows, [f"real pictures, fp32, one thread, a short epoch: {' '.join(short)}"])


# sequences

ONE, ALL = "plain on one core", "plain on all cores"


def sequences(effort: Effort) -> Part:
    """Training on sequences and decoding them, P2G with attention; the targets are against the loop on all cores."""
    first, last = all_cores()[:1], all_cores()[-1:]
    random, bucketed = "data.bucket_batches=1", "data.bucket_batches=20"
    jobs = {
        "ours": job(effort, P2G, first, bucketed),
        "beside": job(effort, P2G, last, bucketed),
        ONE: job(effort, P2G, first, random, kind="plain"),
    }
    sides = {"ours": ["ours"], ONE: [ONE], "together": ["ours", "beside"]}
    if effort.whole:
        jobs["random"] = job(effort, P2G, first, random)
        jobs["random beside"] = job(effort, P2G, last, random)
        jobs[ALL] = job(effort, P2G, all_cores(), random, kind="plain")
        sides |= {"random": ["random"], ALL: [ALL], "random together": ["random", "random beside"]}
    with worker_pool(**jobs) as workers:
        run = workers["ours"]
        words, symbols = run.facts["words"], run.facts["symbols"]

        def epoch(names: Sequence[str]) -> float:
            return float(symbols / speed([workers[name] for name in names], effort.steps, unit="symbols"))

        measures = {side: partial(epoch, names) for side, names in sides.items()}
        taken = in_turns(effort.pairs, {**measures, "rate": partial(_rate, run, effort)})
        counted = run.ask("flops", steps=effort.steps)
        decoded, agreeing = _decodings(workers, effort)
    flops = counted["flops"] / counted["symbols"] * symbols
    taken |= decoded | {"limit": [flops / rate for rate in taken["rate"]]}
    rows = [
        *_rows(
            taken,
            (f"training epoch / {ONE}", "ours", ONE, ""),
            (f"training epoch / {ALL}", "ours", ALL, "at least 3"),
            (f"random batches / {ONE}", "random", ONE, ""),
            (f"random batches / {ALL}", "random", ALL, "at least 1.9"),
            (f"random batches, two runs side by side / {ALL}", "random together", ALL, "at least 3.4"),
            ("two runs side by side / one", "together", "ours", "at least 1.8"),
            faster=True,
        ),
        *_rows(taken, ("training epoch / its arithmetic limit", "ours", "limit", "at most 2.3")),
        *_rows(
            taken,
            (f"greedy / {ONE}", "greedy", f"greedy, {ONE}", ""),
            (f"greedy / {ALL}", "greedy", f"greedy, {ALL}", "at least 20"),
            (f"nucleus, 3 samples / {ONE}", "nucleus", f"nucleus, {ONE}", ""),
            (f"nucleus, 3 samples / {ALL}", "nucleus", f"nucleus, {ALL}", "at least 20"),
            faster=True,
        ),
        *_rows(taken, ("beam search, width 5 / greedy", "beam", "greedy", "at most 4")),
        Row("operations", "GFLOP/epoch", flops / 1e9),
        _peak(P2G, taken["rate"]),
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
        "limit = operations of forward and backward, what is computed of padding included (torch's FlopCounterMode, "
        f"LSTMs without oneDNN, which it cannot see into) / {effort.peak}",
    ]
    return Part("Sequences: P2G with attention", "reference", rows, notes)


def _decodings(workers: Mapping[str, Worker], effort: Effort) -> tuple[dict[str, list[float]], int]:
    """Seconds to decode all test words, and on how many the greedy output of ours and the plain loop's agree."""
    run, plain = workers["ours"], {name: workers[name] for name in (ONE, ALL) if name in workers}
    with TemporaryDirectory() as folder:
        weights = f"{folder}/weights.pt"
        run.ask("save", path=weights)
        for worker in plain.values():
            worker.ask("load", path=weights)

    def seconds(worker: Worker, decoder: str, scale: float = 1.0, **details: Any) -> float:
        return scale * float(worker.ask("decode", decoder=decoder, **details)["seconds"])

    words = run.facts["words"]
    measures = {decoder: partial(seconds, run, decoder) for decoder in ("greedy", "nucleus", "beam")} | {
        f"{decoder}, {name}": partial(seconds, worker, decoder, words / count, words=count)
        for decoder, count in (("greedy", words), ("nucleus", min(effort.words, words)))
        for name, worker in plain.items()
    }
    # The comparison also warms up.
    ours, theirs = run.ask("decode", decoder="greedy"), plain[ONE].ask("decode", decoder="greedy", words=words)
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
    step = LAYERS["+ reseeding before each step"]  # Lightning's own adds nothing to a step so long
    rows = []
    for case in effort.chosen(["asr_lstm_spoken", "asr_attention_spoken"]):
        own = partial(job, effort, case, all_cores()[:1], *small, warmup=1)
        with worker_pool(masked=own(), published=own(*published)) as workers:
            measures = {name: partial(_milliseconds, worker, 1, **step) for name, worker in workers.items()}
            taken = in_turns(min(effort.pairs, effort.few), measures)
            data = workers["masked"].facts["data"]
        rows.append(compared(f"{case}, training step", "ms", taken["masked"], taken["published"], faster=True))
    notes = [data, "The ratio tells how many times as fast it is to leave padding out."]
    return Part("Padding of speech", "padded as published", rows, notes)


P2G_STEPS = 157
"""Of an epoch: 10,000 pairs in batches of 64."""


def yoyodyne(effort: Effort) -> Part:
    """Whole epochs of P2G, validation included, against those of yoyodyne, of which another Python has to be told."""
    title, python, pairs = "P2G beside yoyodyne", os.environ.get("DLBENCH_YOYODYNE"), data_folder() / "p2g"
    if not effort.whole or not python or not (pairs / "train.tsv").exists():
        needs = "the real p2g data, in DLBENCH_YOYODYNE a Python that has yoyodyne, and no --quick"
        return Part(title, "", [], [f"left out: it takes {needs}"])
    if not shutil.which(python):
        raise BenchError(f"DLBENCH_YOYODYNE={python}: cannot be started; name a Python that has yoyodyne")
    theirs = python, str(Path(__file__).with_name("yoyodyne_worker.py")), str(pairs)
    cores = all_cores()
    orders = {"random batches": "data.bucket_batches=1", "batches of like length": "data.bucket_batches=20"}
    jobs = {
        f"{order}, core {core}": job(effort, P2G, [core], override, warmup=P2G_STEPS)
        for order, override in orders.items()
        for core in cores
    }
    jobs |= {side: Job(theirs, on, 1, "program") for side, on in ((ONE, cores[:1]), (ALL, cores))}
    with worker_pool(**jobs) as workers:
        measures = {side: partial(_seconds, [workers[side]], 1) for side in (ONE, ALL)}
        for order in orders:
            runs = [workers[f"{order}, core {core}"] for core in cores]
            # From an epoch's last step to the next one's.
            epoch = partial(_seconds, steps=P2G_STEPS, phases=("seconds", "validation", "lightning", "recorder"))
            measures |= {f"{order}, one core": partial(epoch, runs[:1]), order: partial(epoch, runs)}
        taken = in_turns(min(effort.few, 4), measures)
        metrics = workers[f"random batches, core {cores[0]}"].ask("metrics")
        facts = workers[ONE].facts | workers[ONE].ask("metrics")
    together = f"a run on each of {len(cores)} cores / yoyodyne on all"
    rows = [
        row
        for order, target in zip(orders, ("", "at least 8"), strict=True)
        for row in _rows(
            taken,
            (f"{order}, one core each", f"{order}, one core", ONE, ""),
            (f"{order}, {together}", order, ALL, target),
            faster=True,
        )
    ]
    notes = [
        "an epoch with its validation; ours writes its record and a checkpoint too, and its validation writes words "
        "freely, where yoyodyne's is told the symbols before",
        f"words right on validation after {len(taken[ONE])} epochs: ours "
        f"{1 - metrics['val/wer']:.3f} (random batches), yoyodyne {facts['accuracy']:.3f}",
        f"yoyodyne {facts['version']}: its attentive LSTM of the same sizes, {facts['parameters']:,} "
        f"parameters to our {metrics['model/parameters']:,}; its attention stands before the decoder's LSTM, so "
        "that it trains symbol by symbol",
    ]
    return Part(title, "yoyodyne", rows, notes)


PARTS: dict[str, Callable[[Effort], Part]] = {
    part.__name__: part for part in (threads2, sweep, overhead, startup, memory, limits, sequences, speech, yoyodyne)
}
