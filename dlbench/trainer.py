"""How a training is executed: epochs, device, precision, threads; and the Lightning Trainer made from it."""

import hashlib
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from annotated_types import Gt
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import nn

from dlbench.components import component
from dlbench.devices import Rank, Replicas
from dlbench.errors import ConfigError
from dlbench.numerics import keep_freed_memory, numerics
from dlbench.seeding import derive_seed
from dlbench.tasks.base import Task
from dlbench.terminal import ProgressKind, say

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32-true", "64-true", "bf16-mixed", "16-mixed"]
Profiler = Literal["simple", "advanced", "pytorch"]

SHAPES = 64
"""Of batches that `torch.compile` makes code for, each by itself; more are an error, never trained uncompiled."""


@component("trainer", "1.0", outside=("progress", "profiler"), uses=(Task, derive_seed))
@dataclass(frozen=True)
class TrainerSettings:
    """Execution settings; all but ``progress`` and ``profiler`` belong to a run's identity.

    Args:
        epochs: Passes over the training data.
        device: ``auto`` takes a GPU where there is one.
        devices: How many of them train one network (see `dlbench.devices`), each with ``threads``: a step takes
            ``accumulate`` batches on each. Testing takes one.
        precision: Lightning's name of the arithmetic. ``16-mixed`` needs a CUDA GPU; it skips steps whose gradients
            overflow, and goes on with another scale of the loss.
        threads: CPU threads of torch; they change the order of additions, so they are pinned.
        limit_train_batches: Stop an epoch after so many batches (for trials); None: all.
        progress: A live bar, plain lines, nothing, or whichever suits the terminal.
        gradient_clip: The largest Euclidean norm of all gradients together; longer ones are scaled down to it.
        accumulate: Batches of one step. Its gradient is the mean of theirs, each a mean over its own examples or
            symbols, as over the batches of so many devices: of batches of equal size it is that of one large batch. The
            last step of an epoch takes the batches that are left.
        compile: Train the network by `torch.compile`, which orders additions otherwise; it is validated so, but tested
            as it is written.
        early_stopping: End after so many epochs in a row in which ``early_stopping_metric`` was not better than before.
        early_stopping_metric: A metric of the curves; None: the one by which the best epoch is chosen.
        profiler: Lightning's profiler of the training; its report is written beside the records.

    Raises:
        ValueError: A metric to stop by without early stopping.
    """

    epochs: Annotated[int, Gt(0)]
    device: Device = "auto"
    devices: Annotated[int, Gt(0)] = 1
    precision: Precision = "32-true"
    threads: Annotated[int, Gt(0)] = 1
    limit_train_batches: Annotated[int, Gt(0)] | None = None
    progress: ProgressKind = "auto"
    gradient_clip: Annotated[float, Gt(0)] | None = None
    accumulate: Annotated[int, Gt(0)] = 1
    compile: bool = False
    early_stopping: Annotated[int, Gt(0)] | None = None
    early_stopping_metric: str | None = None
    profiler: Profiler | None = None

    def __post_init__(self) -> None:
        if self.early_stopping_metric and self.early_stopping is None:
            metric = f"early_stopping_metric={self.early_stopping_metric}"
            raise ValueError(f"{metric} does nothing without early_stopping, a number of epochs")

    def device_kind(self) -> str:
        """The kind of device this machine gives.

        Raises:
            ConfigError: A kind was asked for that is not here.
        """
        present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if self.device == "auto":
            return next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
        if not present[self.device]:
            here = ", ".join(kind for kind, is_here in present.items() if is_here)
            raise ConfigError(f"trainer.device={self.device}: this machine has no such device; it has {here}")
        return self.device

    def check(self) -> None:
        """See that this machine has what was asked for.

        Raises:
            ConfigError: It has no such device, not so many, or none that the precision needs.
        """
        kind = self.device_kind()
        most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, self.devices)
        if self.devices > most:
            raise ConfigError(f"trainer.devices={self.devices}: this machine has {most} of kind {kind}")
        if self.precision == "16-mixed" and kind != "cuda":
            remedy = "choose trainer.precision=bf16-mixed or 32-true"
            raise ConfigError(f"trainer.precision=16-mixed: needs a CUDA GPU, but this run is on {kind}; {remedy}")

    @property
    def gradient_settings(self) -> list[str]:
        """What is set that reads, changes or keeps gradients between the backward pass and the optimiser."""
        asked = {
            "gradient_clip": self.gradient_clip is not None,
            "precision": self.precision == "16-mixed",
            "accumulate": self.accumulate > 1,
            "devices": self.devices > 1,
            "compile": self.compile,
        }
        return [f"trainer.{name}={getattr(self, name)}" for name, is_set in asked.items() if is_set]

    def prepare_network(self, model: nn.Module) -> None:
        """Compile it, if that is asked for; names of weights stay. Each shape of a batch has code of its own.

        So a step's bits do not depend on which shapes came before, and a resumed training has those of a whole one.
        """
        if self.compile:
            import torch._dynamo
            import torch._inductor.config

            torch._dynamo.reset()
            torch._dynamo.config.recompile_limit = SHAPES
            torch._dynamo.config.fail_on_recompile_limit_hit = True
            torch._inductor.config.deterministic = True
            model.compile(dynamic=False)

    def pin(self) -> None:
        """Pin threads, ask torch for deterministic algorithms, and the allocator not to give memory back."""
        keep_freed_memory()
        torch.set_num_threads(self.threads)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Nothing here reads memory before writing it, so that filling every new tensor would only cost time.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        # "32-true" means it: by default cuDNN rounds to TF32.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def trainer(
        self,
        root: Path,
        logger: Any,
        callbacks: Sequence[pl.Callback],
        profiles: Path | None = None,
        rank: int | None = None,
    ) -> pl.Trainer:
        """A Trainer that saves, logs and shows only what its callbacks do; see `dlbench.environment.alone`.

        Args:
            root: An empty folder; Lightning loads checkpoints that it finds in it.
            logger: Lightning's loggers, or False.
            callbacks: Its callbacks.
            profiles: Where a profiler writes; None: nothing is profiled.
            rank: Which of the `devices` this process has, from 0, in training; None: it is the only one.
        """
        quiet_lightning()
        is_alone = rank is None or self.devices == 1
        profiler = None
        if profiles and self.profiler:
            try:
                profiles.mkdir(parents=True, exist_ok=True)
                profiler = PROFILERS[self.profiler](profiles, "profile")
            except OSError as error:  # it only shows something
                say(f"trainer.profiler={self.profiler}: {profiles}: {error.strerror}; nothing is profiled")
        return pl.Trainer(
            default_root_dir=root,
            accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[self.device_kind()],
            plugins=[LightningEnvironment() if is_alone else Rank(rank or 0)],
            strategy="auto" if is_alone else Replicas(),
            devices=1 if is_alone else self.devices,
            use_distributed_sampler=False,
            precision=self.precision,
            max_epochs=self.epochs,
            log_every_n_steps=1,
            limit_train_batches=self.limit_train_batches,
            gradient_clip_val=self.gradient_clip,
            accumulate_grad_batches=self.accumulate,
            profiler=profiler,
            logger=logger,
            callbacks=list(callbacks),
            enable_checkpointing=True,
            enable_progress_bar=any(isinstance(callback, pl.callbacks.ProgressBar) for callback in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    def numerics(self) -> dict[str, Any]:
        """What must match for results to be the same to the bit."""
        return numerics(self.device_kind(), self.threads)


PROFILERS: dict[str, Any] = {
    "simple": pl.profilers.SimpleProfiler,
    "advanced": pl.profilers.AdvancedProfiler,
    "pytorch": pl.profilers.PyTorchProfiler,
}


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over a network's parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def quiet_lightning() -> None:
    """Silence remarks that do not apply: batches come from memory, and devices are chosen by configuration."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    said = (
        "does not have many workers",
        "GPU available but not used",
        "treespec, LeafSpec",
        "sync_dist=True",
        "`srun`",
    )
    for pattern in said:
        warnings.filterwarnings("ignore", message=f".*{pattern}.*")
