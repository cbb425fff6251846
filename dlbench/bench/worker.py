"""What a worker does: train, and between two steps whatever else it is told.

A command is the name of a method of `Ours` or `Plain` and its arguments, or ``step``; the answer is what it returns,
and how many ``seconds`` it took. A further thing to measure is a method here and a few lines in `dlbench.bench.parts`.
"""

import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from dlbench.bench import plain
from dlbench.bench.workers import Job
from dlbench.config import build, composition
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.vocabulary import PAD
from dlbench.decoding.beam import Beam
from dlbench.decoding.sampling import Greedy, Nucleus
from dlbench.models.cost import count_parameters
from dlbench.protocols import Decoder
from dlbench.run.plan import Plan, prepare
from dlbench.run.training import train
from dlbench.seeding import reseed_global
from dlbench.tasks.base import Task, read_metrics
from dlbench.tasks.transduction import symbols

Answer = dict[str, Any]

SAMPLES = 3
DECODERS: dict[str, Decoder] = {
    "greedy": Greedy(),
    "nucleus": Nucleus(p=0.8, samples=SAMPLES),
    "beam": Beam(5, nbest=5),
}


def serve(job: Job, folder: Path, connection: Connection) -> None:
    """Train at the driver's command until it is gone; a run's record goes into ``folder``.

    The first answer, `facts_of`, comes when a step could be made.
    """
    # Torch's default, had it been imported on these cores.
    torch.set_num_threads(min(len(job.cores), torch.get_num_threads()))
    plan = plan_of([*job.words, f"paths.runs={json.dumps(str(folder))}"])
    if job.kind == "plain":
        loop = Plain(plan)
        connection.send(facts_of(plan))
        handle(connection, loop)
    else:
        # Lightning's hook for callbacks that a task brings: the run needs no door for the benchmark.
        gate = Gate(plan, connection)
        brought = Task.configure_callbacks
        Task.configure_callbacks = lambda task: [*brought(task), gate]  # type: ignore[method-assign, assignment, misc]
        train(plan)


def handle(connection: Connection, target: Any) -> Answer:
    """Carry out commands, which are methods of ``target``.

    A ``step`` that it has no method for is somebody else's to make: its details are returned.

    Raises:
        SystemExit: The driver is gone. A run does not take this for its failure.
    """
    while True:
        try:
            command, details = connection.recv()
        except EOFError:
            raise SystemExit from None
        if command == "step" and not hasattr(target, "step"):
            return details  # type: ignore[no-any-return]
        began = time.perf_counter()
        answer = getattr(target, command)(**details) or {}
        connection.send({"seconds": time.perf_counter() - began, **answer})


def plan_of(overrides: Sequence[str]) -> Plan:
    """The plan of the run that a command line with these overrides would make."""
    return prepare(OmegaConf.create(composition(tuple(overrides))))


def facts_of(plan: Plan) -> Answer:
    """The data in words, and torch's threads; for sequences the ``symbols`` (`symbols_in`) of an epoch and the test
    ``words`` too."""
    facts, data = plan.facts, plan.data
    things = "recordings" if "seconds" in facts else "pairs" if "vocabularies" in facts else "pictures"
    described = f"{facts['name']}: {facts['source']}, {facts['provenance']}, {facts['sizes']['train']} training"
    answer: Answer = {"data": f"{described} {things}", "threads": torch.get_num_threads()}
    if isinstance(data, TransductionDataModule):
        answer["symbols"] = sum(len(pair.source) + len(pair.target) + 1 for pair in data.pairs("train"))
        answer["words"] = len(data.pairs("test"))
    return answer


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
    """What can be measured of a run's own task, optimiser, DataModule and training ``batches`` beside its steps."""

    def __init__(self, task: Any, optimizer: Optimizer, data: Any, batches: Iterator[Any]) -> None:
        self.task, self.optimizer, self.data, self.batches = task, optimizer, data, batches

    def bare(self, steps: int, checks_loss: bool, reseeds: bool) -> None:
        """So many steps in a loop without Lightning.

        With ``checks_loss`` each loss is read and checked (`Task.training_step`), with ``reseeds`` the global generator
        is seeded before each step (`Task.on_train_batch_start`).
        """
        for batch in itertools.islice(self.batches, steps):
            if reseeds:
                self.task.on_train_batch_start(batch, 0)
            self._step(batch, checks_loss)

    def _step(self, batch: Any, checks_loss: bool = False) -> None:
        loss = self.task.training_step(batch, 0) if checks_loss else self.task.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def flops(self, steps: int = 1) -> Answer:
        """Operations of so many training steps, and the symbols of their batches; see `flops_of`."""
        batches = list(itertools.islice(self.batches, steps))
        flops = sum(flops_of(partial(self._step, batch)) for batch in batches)
        return {"flops": flops, "symbols": sum(map(symbols_in, batches))}

    def rate(self, sizes: Sequence[int], dtype: str) -> Answer:
        """Operations a second of square matrix products on torch's current threads: the best of the sizes."""
        rates = []
        for size in sizes:
            left, right, out = torch.randn(3, size, size).to(getattr(torch, dtype))
            timer = Timer("torch.mm(left, right, out=out)", globals=locals(), num_threads=torch.get_num_threads())
            rates.append(2 * size**3 / timer.timeit(1).mean)
        return {"rate": max(rates)}

    def decode(self, decoder: str) -> Answer:
        """Decode the test split, from memory to lists of symbols, by word and then by hypothesis."""
        task = self.task
        task.decoder, kept = DECODERS[decoder], task.decoder
        task.eval()
        written: dict[int, list[Any]] = {}
        for batch in self.data.test_dataloader():
            tokens = task.predict_step(batch, 0).hypotheses.tokens
            rows = iter(symbols(tokens.flatten(0, 1)))
            written |= {place: list(itertools.islice(rows, tokens.shape[1])) for place in batch.index.tolist()}
        task.train()
        task.decoder = kept
        return {"written": [written[place] for place in range(len(written))]}

    def metrics(self) -> Answer:
        """Those of the last validation, and ``model/parameters``."""
        return {**read_metrics(self.task.trainer), "model/parameters": count_parameters(self.task.model)}

    def save(self, path: str) -> None:
        """Write the weights to a file."""
        torch.save(self.task.model.state_dict(), path)


def flops_of(action: Callable[[], object]) -> int:
    """Floating-point operations, by torch's own counter.

    A multiplication and an addition count as two; only matrix products and convolutions are counted. oneDNN is left
    out: its one operation for a whole LSTM is unknown to the counter.
    """
    # TF32 stays as it is: without an Intel GPU torch warns of any other.
    without_onednn = torch.backends.mkldnn.flags(enabled=False, allow_tf32=None)
    with without_onednn, FlopCounterMode(display=False) as counter:
        action()
    return int(counter.get_total_flops())


class Gate(LambdaCallback):
    """Holds a real run, `dlbench.run.training.train` and nothing else, between two steps until told to go on.

    ``step`` makes Lightning go on: so many ``steps``, with the logger or without (``logged``). The answer has their
    ``symbols``, and apart from the ``seconds`` in them what went by between epochs: in ``validation``, in Lightning's
    own end of an epoch (``lightning``), and in that of the ``recorder``. Other commands are those of `Ours`.
    """

    def __init__(self, plan: Plan, connection: Connection) -> None:
        super().__init__(
            on_train_start=self._start,
            # An epoch's first step ends what stands between epochs.
            on_train_batch_start=partial(self._enter, "seconds"),
            on_train_batch_end=self._count,
            on_validation_start=partial(self._enter, "validation"),
            on_validation_end=partial(self._enter, "lightning"),
            # A `Checkpoint`, so it comes after every other callback.
            on_train_epoch_end=partial(self._enter, "recorder"),
        )
        self.plan, self.connection = plan, connection
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.phase, self.since = "", 0.0

    def _enter(self, phase: str, *_: Any) -> None:
        now = time.perf_counter()
        self.spent[self.phase] += now - self.since
        self.phase, self.since = phase, now

    def _start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self.loggers = trainer.loggers
        self.ours = Ours(task, trainer.optimizers[0], self.plan.data, endless(self.plan.data))
        self.connection.send(facts_of(self.plan))
        self._wait(trainer)

    def _count(self, trainer: pl.Trainer, _task: pl.LightningModule, _outputs: Any, batch: Any, index: int) -> None:
        self.left -= 1
        self.symbols += symbols_in(batch)
        if not self.left:
            self._enter("waiting")
            self.connection.send({**self.spent, "symbols": self.symbols})
            self._wait(trainer)
        if index + 1 == trainer.num_training_batches:
            self._enter("lightning")

    def _wait(self, trainer: pl.Trainer) -> None:
        trainer.loggers = self.loggers
        bar = getattr(trainer.progress_bar_callback, "progress", None)
        if bar:
            bar.stop()  # its thread would run on, and disturb others' measurements
        told = handle(self.connection, self.ours)
        if bar:
            bar.start()
        if not told.get("logged", True):
            trainer.loggers = []
        self.left, self.symbols = told["steps"], 0
        self.spent.clear()
        self.phase, self.since = "seconds", time.perf_counter()


class Plain:
    """The plain loop on a run's data, from the run's initial weights. Its public methods are commands."""

    def __init__(self, plan: Plan) -> None:
        reseed_global(plan.seed, "init")
        data: Any = plan.data
        self.model = build("model", plan.config["model"], **data.model_arguments())
        if isinstance(data, TransductionDataModule):
            self.model, self._decoding = plain.PlainSeq2Seq(self.model), plain.PlainSeq2Seq(self.model).eval()
            self._test = [source for source, _ in plain.id_pairs(data, "test")]
            kind: Any = plain.id_pairs(data, "train"), plain.collate, plain.sequence_loss, torch.optim.Adam
        else:
            plain.use_torch_dropout(self.model)
            kind = plain.as_floats(data.tensors("train")), None, plain.picture_loss, torch.optim.SGD
        examples, collate, loss_of, optimizer = kind
        batches: DataLoader[Any] = DataLoader(examples, data.batch_size, shuffle=True, collate_fn=collate)
        stepped = optimizer(self.model.parameters(), lr=plan.config["optimizer"]["lr"])
        self._training = plain.train(self.model, batches, stepped, loss_of)

    def step(self, steps: int) -> Answer:
        """So many training steps, and their symbols."""
        return {"symbols": sum(symbols_in(batch) for _, batch in itertools.islice(self._training, steps))}

    def load(self, path: str) -> None:
        """Take the weights in a file, for decoding."""
        self._decoding.load_state_dict(torch.load(path, weights_only=True))

    def decode(self, decoder: Literal["greedy", "nucleus"], words: int) -> Answer:
        """Write so many test words (`spread`), one by one, as often each as ours does."""
        choose, times = (plain.greedy, 1) if decoder == "greedy" else (plain.nucleus, SAMPLES)
        sources = spread(self._test, words)
        return {"written": [[plain.decode(self._decoding, each, choose) for _ in range(times)] for each in sources]}


def spread(sources: Sequence[Tensor], count: int) -> list[Tensor]:
    """So many of the sources, evenly out of all by length, in their order."""
    by_length = sorted(range(len(sources)), key=lambda place: len(sources[place]))
    places = (by_length[(2 * number + 1) * len(sources) // (2 * count)] for number in range(count))
    return [sources[place] for place in sorted(places)]
