"""A real run of the suite, `dlbench.run.train` and nothing else, that is held between two steps until told to go on."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from torch.optim import Optimizer

from dlbench import paths, run
from dlbench.bench.arithmetic import matmul_rate, step_flops
from dlbench.bench.sequence_orders import describe_sequences, obey, symbols_in
from dlbench.run import Plan, prepare
from dlbench.tasks.base import Task
from dlbench.tasks.transduction import Transduction

Order = Mapping[str, Any]
Answer = Callable[[dict[str, Any]], None]

BARE = {
    "bare": {"checks_loss": False, "reseeds": False},
    "checked": {"checks_loss": True, "reseeds": False},
    "reseeded": {"checks_loss": True, "reseeds": True},
}
"""The bare loops by name: each does a little more of what a real step does."""


class Over(BaseException):
    """No more orders. No Exception, so that the run does not take it for a failure."""


def plan_of(overrides: Sequence[str]) -> Plan:
    """The plan of the run that a command line with these overrides would make."""
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        return prepare(compose("config", overrides=list(overrides)))


def describe(plan: Plan) -> str:
    """The data in words."""
    facts = plan.facts
    things = "recordings" if "seconds" in facts else "pairs" if "vocabularies" in facts else "pictures"
    return f"{facts['name']}: {facts['source']}, {facts['provenance']}, {facts['sizes']['train']} training {things}"


def facts_of(plan: Plan) -> dict[str, Any]:
    """A worker's first answer."""
    return {"data": describe(plan), "threads": torch.get_num_threads(), **describe_sequences(plan.data)}


def serve(overrides: Sequence[str], orders: Iterator[Order], answer: Answer) -> None:
    """Start the run and obey orders until there are none. The first answer comes when the first step could be made."""
    plan = plan_of(overrides)
    gate = Gate(plan, orders, answer)
    with _attached(gate), contextlib.suppress(Over):
        run.train(plan)


@contextlib.contextmanager
def _attached(callback: pl.Callback) -> Iterator[None]:
    """Have every task bring a callback, by Lightning's hook for that: the run needs no door for the benchmark."""
    every_task: Any = Task
    original = every_task.configure_callbacks

    def configure_callbacks(task: pl.LightningModule) -> list[pl.Callback]:
        return [*original(task), callback]

    every_task.configure_callbacks = configure_callbacks
    try:
        yield
    finally:
        every_task.configure_callbacks = original


def bare_steps(
    task: Task, optimizer: Optimizer, batches: Iterator[Any], steps: int, *, checks_loss: bool, reseeds: bool
) -> float:
    """Seconds of so many steps in a loop without Lightning, on the run's own network, optimiser and batches.

    Args:
        task: The task; its methods are called as Lightning would.
        optimizer: The run's optimiser.
        batches: Batches without end.
        steps: How many steps.
        checks_loss: Read each loss and check that it is finite (`Task.training_step`).
        reseeds: Seed the global generator before each step (`Task.on_train_batch_start`).
    """
    began = time.perf_counter()
    for batch in itertools.islice(batches, steps):
        if reseeds:
            task.on_train_batch_start(batch, 0)
        loss = task.training_step(batch, 0) if checks_loss else task.loss(batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - began


class Gate(pl.Callback):
    """Holds a training between steps, obeys the orders that come in, and answers with seconds.

    With sequences it also answers how many ``symbols`` the steps read and wrote, and obeys
    `dlbench.bench.sequence_orders`. Orders are ``{"do": NAME, ...}``:

    - ``step``: ``steps`` real steps; what stands between two epochs is not counted.
    - ``unlogged``: the same with the logger taken off.
    - ``epoch_end``: go on past the end of an epoch and time that, validation left out, in two parts.
    - ``bare``, ``checked``, ``reseeded``: ``steps`` steps of a bare loop (`BARE`), made while Lightning waits.
    - ``flops``: count the operations of a step.
    - ``matmul``: operations a second of a matrix product of ``sizes`` in ``dtype``.
    """

    def __init__(self, plan: Plan, orders: Iterator[Order], answer: Answer) -> None:
        self.plan, self.orders, self.answer = plan, orders, answer
        self.order: Order = {}
        self.left, self.symbols = 0, 0
        self.seconds, self.running_since = 0.0, 0.0
        self.marks: dict[str, float] = {}
        self.batches = endless(plan.data)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that the run is ready, and wait."""
        self.loggers = trainer.loggers
        self.answer(facts_of(self.plan))
        self._wait(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The end of an epoch's end."""
        if self.order["do"] == "epoch_end" and "recorder" in self.marks:
            now, marks = time.perf_counter(), self.marks
            validation = marks["after_validation"] - marks["validation"]
            recorder = now - marks["recorder"]
            self.answer({"recorder": recorder, "lightning": now - marks["last_step"] - validation - recorder})
            self._wait(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count down; at nought answer, and wait."""
        self.marks["last_step"] = time.perf_counter()
        if self.order["do"] == "epoch_end":
            return
        self.left -= 1
        self.symbols += symbols_in(batch)
        if self.left == 0:
            seconds = self.seconds + time.perf_counter() - self.running_since
            self.answer({"seconds": seconds, "symbols": self.symbols})
            trainer.loggers = self.loggers
            self._wait(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        self.marks["validation"] = time.perf_counter()
        self.seconds += time.perf_counter() - self.running_since

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Only a mark."""
        self.marks["after_validation"] = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Only a mark: the recorder, a `Checkpoint`, comes after every other callback."""
        self.marks["recorder"] = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the clock run on."""
        self.running_since = time.perf_counter()

    def _wait(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Obey orders until one needs Lightning to go on."""
        assert isinstance(pl_module, Task)
        bar = getattr(trainer.progress_bar_callback, "progress", None)
        if bar:
            bar.stop()  # its thread would run on, and disturb others' measurements
        for order in self.orders:
            if result := self._aside(order, trainer, pl_module):
                self.answer(result)
                continue
            if bar:
                bar.start()
            if order["do"] == "unlogged":
                trainer.loggers = []
            self.order, self.left, self.symbols, self.seconds = order, order.get("steps", 0), 0, 0.0
            self.running_since = time.perf_counter()
            self.marks = {"last_step": self.running_since}
            return
        raise Over

    def _aside(self, order: Order, trainer: pl.Trainer, task: Task) -> dict[str, Any] | None:
        """What an order gives that Lightning has no part in; None if it has."""
        what = order["do"]
        if what in BARE:
            optimizer = trainer.optimizers[0]
            return {"seconds": bare_steps(task, optimizer, self.batches, order["steps"], **BARE[what])}
        if isinstance(task, Transduction) and (result := obey(order, task, self.plan.data, self.batches)):
            return result
        if what == "flops":
            batch = next(self.batches)
            return {"flops": step_flops(lambda: task.loss(batch))}
        if what == "matmul":
            return {"rate": matmul_rate(order["sizes"], getattr(torch, order["dtype"]))}
        return None


def endless(data: Any) -> Iterator[Any]:
    """Training batches in the orders of epoch 0, 1, 2, ..."""
    loader = data.train_dataloader()
    for epoch in itertools.count():
        loader.sampler.set_epoch(epoch)
        yield from loader
