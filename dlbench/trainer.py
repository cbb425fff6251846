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
from dlbench.terminal import ProgressKind

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32-true", "64-true", "bf16-mixed"]


@component("trainer", "1.0", outside=("progress",), uses=(Task, derive_seed))
@dataclass(frozen=True)
class TrainerSettings:
    """Execution settings; all but ``progress`` belong to a run's identity.

    Args:
        epochs: Passes over the training data.
        device: ``auto`` takes a GPU where there is one.
        devices: How many of them train one network (see `dlbench.devices`), each with ``threads``: a step takes so many
            batches. Testing takes one.
        precision: Lightning's name of the arithmetic.
        threads: CPU threads of torch; they change the order of additions, so they are pinned.
        limit_train_batches: Stop an epoch after so many batches (for trials); None: all.
        progress: A live bar, plain lines, nothing, or whichever suits the terminal.
    """

    epochs: Annotated[int, Gt(0)]
    device: Device = "auto"
    devices: Annotated[int, Gt(0)] = 1
    precision: Precision = "32-true"
    threads: Annotated[int, Gt(0)] = 1
    limit_train_batches: Annotated[int, Gt(0)] | None = None
    progress: ProgressKind = "auto"

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

    def check_devices(self) -> None:
        """See that there are as many devices as were asked for; of processors there are.

        Raises:
            ConfigError: There are not.
        """
        kind = self.device_kind()
        most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, self.devices)
        if self.devices > most:
            raise ConfigError(f"trainer.devices={self.devices}: this machine has {most} of kind {kind}")

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

    def trainer(self, root: Path, logger: Any, callbacks: Sequence[pl.Callback], rank: int | None = None) -> pl.Trainer:
        """A Trainer that saves, logs and shows only what its callbacks do; see `dlbench.environment.alone`.

        Args:
            root: An empty folder; Lightning loads checkpoints that it finds in it.
            logger: Lightning's loggers, or False.
            callbacks: Its callbacks.
            rank: Which of the `devices` this process has, from 0, in training; None: it is the only one.
        """
        quiet_lightning()
        is_alone = rank is None or self.devices == 1
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
