"""What a worker does: train, and between two steps whatever else it is told, with a clock beside it.

An order is the name of a method of `Ours` or `Plain` and its arguments, the answer what it returns. A further thing to
measure is a method here and a few lines in `dlbench.bench.parts`.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from dlbench import paths, run
from dlbench.bench import plain
from dlbench.config import build
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.vocabulary import PAD
from dlbench.decoding.beam import Beam
from dlbench.decoding.sampling import Greedy, Nucleus
from dlbench.protocols import Decoder
from dlbench.run import Plan, prepare
from dlbench.seeding import reseed_global
from dlbench.tasks.base import Task
from dlbench.tasks.transduction import symbols

Answer = dict[str, Any]
Orders = Iterator[tuple[str, dict[str, Any]]]

SAMPLES = 3
DECODERS: dict[str, Decoder] = {
    "greedy": Greedy(),
    "nucleus": Nucleus(p=0.8, samples=SAMPLES),
    "beam": Beam(5, nbest=5),
}


class Over(BaseException):
    """No more orders. No Exception, so that the run does not take it for a failure."""


def serve(
    kind: Literal["ours", "plain"],
    overrides: Sequence[str],
    cores: int,
    orders: Orders,
    answer: Callable[[Answer], None],
) -> None:
    """Train on so many cores and obey until there are no orders. The first answer comes when a step could be made."""
    torch.set_num_threads(min(cores, torch.get_num_threads()))  # torch's default, had it been imported on these cores
    plan = plan_of(overrides)
    if kind == "ours":
        with attached(Gate(plan, orders, answer)), contextlib.suppress(Over):
            run.train(plan)
        return
    trainer = Plain(plan)
    answer(facts_of(plan))
    for name, details in orders:
        answer(getattr(trainer, name)(**details))


def plan_of(overrides: Sequence[str]) -> Plan:
    """The plan of the run that a command line with these overrides would make."""
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        return prepare(compose("config", overrides=list(overrides)))


def facts_of(plan: Plan) -> Answer:
    """A worker's first answer: the data in words, its threads, and for sequences the ``symbols`` that an epoch reads
    and writes, as `symbols_in` counts, and the test ``words``."""
    facts, data = plan.facts, plan.data
    things = "recordings" if "seconds" in facts else "pairs" if "vocabularies" in facts else "pictures"
    described = (
        f"{facts['name']}: {facts['source']}, {facts['provenance']}, {facts['sizes']['train']} training {things}"
    )
    answer: Answer = {"data": described, "threads": torch.get_num_threads()}
    if isinstance(data, TransductionDataModule):
        answer["symbols"] = sum(len(pair.source) + len(pair.target) + 1 for pair in data.pairs("train"))
        answer["words"] = len(data.pairs("test"))
    return answer


@contextlib.contextmanager
def attached(callback: pl.Callback) -> Iterator[None]:
    """Have every task bring a callback, by Lightning's hook for that: the run needs no door for the benchmark."""
    every_task: Any = Task
    original = every_task.configure_callbacks
    every_task.configure_callbacks = lambda task: [*original(task), callback]
    try:
        yield
    finally:
        every_task.configure_callbacks = original


def endless(data: Any) -> Iterator[Any]:
    """Training batches in the orders of epoch 0, 1, 2, ..."""
    loader = data.train_dataloader()
    for epoch in itertools.count():
        loader.sampler.set_epoch(epoch)
        yield from loader


def symbols_in(batch: Any) -> int:
    """Symbols a training step of transduction reads and writes, EOS included, padding not; 0 for pictures."""
    if len(batch) < 3:
        return 0
    _, lengths, target, *_ = batch
    return int(lengths.sum()) + int((target[:, 1:] != PAD).sum())


class Ours:
    """A run's own network, optimiser and data, and what can be measured of them beside its steps.

    Args:
        task: The task; its methods are called as Lightning would.
        optimizer: The run's optimiser.
        data: The run's DataModule.
        batches: Training batches without end; default: the data's.
    """

    def __init__(self, task: Any, optimizer: Optimizer, data: Any, batches: Iterator[Any] | None = None) -> None:
        self.task, self.optimizer, self.data = task, optimizer, data
        self.batches = endless(data) if batches is None else batches

    def bare(self, steps: int, checks_loss: bool, reseeds: bool) -> Answer:
        """So many steps in a loop without Lightning.

        Args:
            steps: How many.
            checks_loss: Read each loss and check that it is finite (`Task.training_step`).
            reseeds: Seed the global generator before each step (`Task.on_train_batch_start`).
        """
        task = self.task
        began = time.perf_counter()
        for batch in itertools.islice(self.batches, steps):
            if reseeds:
                task.on_train_batch_start(batch, 0)
            loss = task.training_step(batch, 0) if checks_loss else task.loss(batch)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return {"seconds": time.perf_counter() - began}

    def flops(self, steps: int = 1) -> Answer:
        """Operations of so many training steps, and the symbols of their batches; see `step_flops`."""
        batches = list(itertools.islice(self.batches, steps))
        flops = sum(step_flops(partial(self.task.loss, batch)) for batch in batches)
        return {"flops": flops, "symbols": sum(map(symbols_in, batches))}

    def rate(self, sizes: Sequence[int], dtype: str) -> Answer:
        """Operations a second of square matrix products on torch's current threads: the best of the sizes."""
        rates = []
        for size in sizes:
            left, right = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
            product = torch.mm(left, right)  # the first one sets up buffers
            began = time.perf_counter()
            torch.mm(left, right, out=product)
            rates.append(2 * size**3 / (time.perf_counter() - began))
        return {"rate": max(rates)}

    def decode(self, decoder: str) -> Answer:
        """Seconds from the test split in memory to lists of symbols, and the lists, by word and then by hypothesis."""
        task, loader = self.task, self.data.test_dataloader()
        task.decoder, kept = DECODERS[decoder], task.decoder
        task.eval()
        began = time.perf_counter()
        written: dict[int, list[Any]] = {}
        for batch in loader:
            tokens = task.decode(batch).tokens
            rows = iter(symbols(tokens.flatten(0, 1)))
            for place in batch.index.tolist():
                written[place] = list(itertools.islice(rows, tokens.shape[1]))
        seconds = time.perf_counter() - began
        task.train()
        task.decoder = kept
        return {"seconds": seconds, "written": [written[place] for place in range(len(written))]}

    def save(self, path: str) -> Answer:
        """Write the weights to a file."""
        torch.save(self.task.model.state_dict(), path)
        return {}


def step_flops(loss: Callable[[], Tensor]) -> int:
    """Floating-point operations of a loss and its gradients, by torch's own counter.

    A multiplication and an addition count as two; only matrix products and convolutions are counted. oneDNN is left
    out: its one operation for a whole LSTM is unknown to the counter.
    """
    was_enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        with FlopCounterMode(display=False) as counter:
            loss().backward()  # type: ignore[no-untyped-call]
    finally:
        torch.backends.mkldnn.enabled = was_enabled
    return int(counter.get_total_flops())


class Gate(pl.Callback):
    """Holds a real run, `dlbench.run.train` and nothing else, between two steps until told to go on.

    Two orders make Lightning go on, and are answered when it comes to the next step; the others are those of `Ours`:

    - ``step``: so many ``steps``, with the logger or without (``logged``); what stands between epochs is not counted.
    - ``epoch_end``: go on past the end of an epoch and time that, validation left out, in two parts.
    """

    def __init__(self, plan: Plan, orders: Orders, answer: Callable[[Answer], None]) -> None:
        self.plan, self.orders, self.answer = plan, orders, answer
        self.order, self.left, self.symbols, self.began = "", 0, 0, 0.0
        self.marks: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that the run is ready, and wait."""
        self.trainer, self.loggers = trainer, trainer.loggers
        self.ours = Ours(pl_module, trainer.optimizers[0], self.plan.data)
        self.answer(facts_of(self.plan))
        self._wait()

    def on_train_batch_start(self, *_: Any) -> None:
        """The end of an epoch's end."""
        if self.order == "epoch_end" and "recorder" in self.marks:
            now, marks = time.perf_counter(), self.marks
            recorder = now - marks["recorder"]
            validation = marks["after_validation"] - marks["validation"]
            self.answer({"recorder": recorder, "lightning": now - marks["last_step"] - validation - recorder})
            self._wait()

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Count down; at nought answer, and wait."""
        self.marks["last_step"] = time.perf_counter()
        self.left -= 1
        self.symbols += symbols_in(batch)
        if self.order == "step" and self.left == 0:
            self.answer({"seconds": time.perf_counter() - self.began, "symbols": self.symbols})
            self._wait()

    def on_validation_start(self, *_: Any) -> None:
        """Only a mark; the clock stands still from here."""
        self.marks["validation"] = time.perf_counter()

    def on_validation_end(self, *_: Any) -> None:
        """Only a mark."""
        self.marks["after_validation"] = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        """Only a mark: the recorder, a `Checkpoint`, comes after every other callback."""
        self.marks["recorder"] = time.perf_counter()

    def on_train_epoch_start(self, *_: Any) -> None:
        """Let the clock run on."""
        self.began += time.perf_counter() - self.marks.get("validation", self.began)

    def _wait(self) -> None:
        """Obey orders until one needs Lightning to go on."""
        self.trainer.loggers = self.loggers
        bar = getattr(self.trainer.progress_bar_callback, "progress", None)
        if bar:
            bar.stop()  # its thread would run on, and disturb others' measurements
        for order, details in self.orders:
            if order in ("step", "epoch_end"):
                break
            self.answer(getattr(self.ours, order)(**details))
        else:
            raise Over
        if bar:
            bar.start()
        if not details.get("logged", True):
            self.trainer.loggers = []
        self.order, self.left, self.symbols, self.began = order, details.get("steps", 0), 0, time.perf_counter()
        self.marks = {"last_step": self.began}


class Plain:
    """The plain loop on a run's data, from the run's initial weights. Its public methods are orders."""

    def __init__(self, plan: Plan) -> None:
        reseed_global(plan.seed, "init")
        data: Any = plan.data
        model = build("model", plan.config["model"], **data.model_arguments())
        lr, loading = plan.config["optimizer"]["lr"], {"batch_size": data.batch_size, "shuffle": True}
        batches: DataLoader[Any]
        if isinstance(data, TransductionDataModule):
            self._decoding = plain.PlainSeq2Seq(model).eval()
            self._test = [source for source, _ in plain.id_pairs(data, "test")]
            self.model = plain.PlainSeq2Seq(model)
            batches = DataLoader(plain.id_pairs(data, "train"), collate_fn=plain.collate, **loading)  # type: ignore[arg-type]
            adam = torch.optim.Adam(self.model.parameters(), lr=lr)
            self._training = plain.train(self.model, batches, adam, plain.sequence_loss)
        else:
            batches = DataLoader(plain.as_floats(data.tensors("train")), **loading)
            sgd = torch.optim.SGD(model.parameters(), lr=lr)
            self._training = plain.train(model, batches, sgd, plain.picture_loss)

    def step(self, steps: int) -> Answer:
        """So many training steps."""
        began = time.perf_counter()
        done = sum(symbols_in(batch) for _, batch in itertools.islice(self._training, steps))
        return {"seconds": time.perf_counter() - began, "symbols": done}

    def load(self, path: str) -> Answer:
        """Take the weights in a file, for decoding."""
        self._decoding.load_state_dict(torch.load(path, weights_only=True))
        return {}

    def decode(self, decoder: Literal["greedy", "nucleus"], words: int) -> Answer:
        """Write so many test words (`spread`), one by one, as often each as ours does."""
        choose, times = (plain.greedy, 1) if decoder == "greedy" else (plain.nucleus, SAMPLES)
        began = time.perf_counter()
        sources = spread(self._test, words)
        written = [[plain.decode(self._decoding, source, choose) for _ in range(times)] for source in sources]
        return {"seconds": time.perf_counter() - began, "written": written}


def spread(sources: Sequence[Tensor], count: int) -> list[Tensor]:
    """So many of the sources, evenly out of all by length, in their order."""
    by_length = sorted(range(len(sources)), key=lambda place: len(sources[place]))
    places = (by_length[(2 * number + 1) * len(sources) // (2 * count)] for number in range(count))
    return [sources[place] for place in sorted(places)]
