"""One training on several devices of a machine: a process each, which sees every so-many-th batch.

The process of the run is the first of them. It alone keeps the record; the others only compute gradients, of which
every step takes the mean (torch's DistributedDataParallel, by Lightning). Parameters stay equal to the bit.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed
from torch.utils.data import DataLoader
from torchmetrics import Metric

from dlbench.data.datamodule import Batches, Share, batch_loader
from dlbench.environment import PROCESSES, end_with_parent, start_process
from dlbench.errors import ConfigError, DeviceError, DlbenchError
from dlbench.tasks.base import DivergedError
from dlbench.terminal import first_line

SECONDS_TO_END = 10.0
"""What the process of a further device gets to end by itself."""


class Rank(LightningEnvironment):
    """Which of the processes this is, from 0; they are started here, not by Lightning."""

    creates_processes_externally = True

    def __init__(self, rank: int) -> None:
        super().__init__()
        self._rank = rank

    def local_rank(self) -> int:
        """See Lightning."""
        return self._rank


class Replicas(DDPStrategy):
    """A network on each device; gradients are averaged. Each validates the whole split, so nothing counts twice."""

    def __init__(self) -> None:
        # With it, torch keeps the order in which gradients are added, which it otherwise changes after the first step:
        # a training that goes on would add in another order than one that was never interrupted.
        super().__init__(find_unused_parameters=True)

    def process_dataloader(self, dataloader: object) -> object:
        """Of the shuffled batches, which are those of training, this device's share."""
        order = getattr(dataloader, "sampler", None)
        if isinstance(dataloader, DataLoader) and isinstance(order, Batches) and order.seed is not None:
            return batch_loader(dataloader.dataset, Share(order, self.global_rank, self.world_size))
        return dataloader

    def setup(self, trainer: pl.Trainer) -> None:
        """See Lightning. Metrics are those of one device, which has seen everything."""
        super().setup(trainer)
        for module in trainer.lightning_module.modules():
            if isinstance(module, Metric):
                module.sync_on_compute = False


class Follower(pl.callbacks.Checkpoint):
    """What the further devices have in place of `dlbench.callbacks.recorder.EpochRecorder`."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for the checkpoint, as Lightning does after saving it."""
        trainer.strategy.barrier()


def check_shareable(data: Any, devices: int) -> None:
    """See that devices can share the batches of a DataModule.

    Raises:
        ConfigError: They are not drawn by `dlbench.data.datamodule.Batches`.
    """
    order = getattr(data.train_dataloader(), "sampler", None)
    if not (isinstance(order, Batches) and order.seed is not None):
        raise ConfigError(
            f"trainer.devices={devices}: {type(data).__name__} has no shuffled batches to share; use "
            "trainer.devices=1, or make its train_dataloader with dlbench.data.datamodule.batch_loader"
        )


@contextmanager
def group(kind: str, devices: int, follow: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Have a process for each further device, and all of them in torch's default process group; none for one device.

    Args:
        kind: Of device: ``cpu`` or ``cuda``.
        devices: How many, this process's included.
        follow: What a further process does: called with a function that joins the group, once it is ready to, the
            process's rank, and ``arguments``, which are pickled.
        arguments: What it is called with besides.

    Raises:
        DeviceError: One of the processes has failed or died.
    """
    if devices == 1:
        yield
        return
    pairs: list[tuple[BaseProcess, Connection]] = []
    with tempfile.TemporaryDirectory(prefix="dlbench-group-") as folder:
        meeting = str(Path(folder) / "meeting"), kind, devices
        try:
            for rank in range(1, devices):
                ours, theirs = multiprocessing.Pipe(duplex=False)
                process = PROCESSES.Process(target=_be, args=(theirs, meeting, follow, rank, arguments))
                start_process(process)
                theirs.close()
                pairs.append((process, ours))
            for rank, (process, pipe) in enumerate(pairs, start=1):
                wait([pipe, process.sentinel])
                if problem := _problem(process, pipe)[1]:
                    raise DeviceError(f"trainer.devices={devices}: the process of device {rank} {problem}")
            _join(0, *meeting)
            try:
                yield
            except RuntimeError as error:
                if not _is_of_group(error):
                    raise
                for process, _ in pairs:
                    process.join(1)
                # The first one to fail: the others may have for lack of it.
                found = sorted((_problem(*pair), rank) for rank, pair in enumerate(pairs, start=1))
                if failed := [(problem, rank) for (_, problem), rank in found if problem]:
                    problem, rank = failed[0]
                    raise DeviceError(f"trainer.devices={devices}: the process of device {rank} {problem}") from error
                raise
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()
                for process, _ in pairs:  # at their end, too, or losing the group, they clear up after themselves
                    process.join(SECONDS_TO_END)
            for process, pipe in pairs:
                process.kill()
                process.join()
                pipe.close()


def _is_of_group(error: RuntimeError) -> bool:
    """Whether torch tells by it that another process has left the group."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def _problem(process: BaseProcess, pipe: Connection) -> tuple[float, str]:
    """When a process failed, and what it told, or how it ended; no text where it is ready or at work."""
    if pipe.poll():
        try:
            told: tuple[float, str] = pipe.recv()
            return told
        except EOFError:  # its end is closed, and so will be its life
            process.join()
    if not process.exitcode:
        return 0, ""
    ended = "was killed; is there enough memory?" if process.exitcode < 0 else f"ended with code {process.exitcode}"
    return 0, f"{ended} The same command goes on" if process.exitcode < 0 else f"{ended}; the same command goes on"


def _join(rank: int, meeting: str, kind: str, devices: int) -> None:
    if kind == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if kind == "cuda" else "gloo"
    store = distributed.FileStore(meeting, devices)  # type: ignore[attr-defined]
    try:
        distributed.init_process_group(backend, store=store, rank=rank, world_size=devices)
    except RuntimeError as error:  # where the machine's network is odd
        text = f"trainer.devices={devices}: {backend} does not connect the processes ({first_line(error)})"
        raise DeviceError(f"{text}; does GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME name another interface?") from error


def _be(pipe: Connection, meeting: tuple[str, str, int], follow: Callable[..., None], rank: int, rest: Any) -> None:
    """What the process of a further device does: it ends with the run's, which alone writes and hears signals."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())

    def join() -> None:
        pipe.send((0, ""))
        _join(rank, *meeting)

    try:
        follow(join, rank, *rest)
    except DivergedError:
        pass  # so has the run
    except BaseException as error:
        told = str(error) if isinstance(error, DlbenchError) else f"{type(error).__name__}: {first_line(error)}"
        pipe.send((time.monotonic(), f"failed ({told})"))
