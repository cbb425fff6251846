"""After every epoch: curves, then a checkpoint; so a run can be killed at any moment and go on."""

import hashlib
import math
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from dlbench.errors import RecordError, is_out_of_memory
from dlbench.metrics.best_epoch import Monitor
from dlbench.records import history
from dlbench.records.checkpoints import Checkpoint
from dlbench.records.files import set_aside
from dlbench.records.store import Record
from dlbench.tasks.base import DivergedError, read_metrics
from dlbench.terminal import first_line, say


class _State(BaseModel):
    """What a run needs to go on: see `EpochRecorder.state_dict`."""

    model_config = ConfigDict(strict=True)

    best_epoch: int
    best_value: float
    seconds: float
    started: str
    curves: str


def resume_point(record: Record) -> Checkpoint | None:
    """The newest whole checkpoint whose best epoch and whose curves are whole too; what came after it is cut back.

    None means from the start; whatever was there is then set aside.
    """
    whole = record.checkpoints.whole()
    epochs = {checkpoint.epoch for checkpoint in whole}
    recorded = history.epochs_without_gap(record.metrics)
    for checkpoint in reversed(whole):
        if checkpoint.epoch > recorded:
            continue
        try:
            state = recorder_state(checkpoint)
        except RecordError as error:
            refuse(checkpoint, error)
            continue
        if state["best_epoch"] in epochs and state["curves"] == history.digest_of(record.metrics, checkpoint.epoch):
            record.checkpoints.discard_after(checkpoint.epoch)
            history.cut_back(record.metrics, checkpoint.epoch)
            history.cut_back_tensorboard(record.tensorboard, checkpoint.epoch)
            say(f"record {record.id}: going on after epoch {checkpoint.epoch}")
            return checkpoint
    if record.folder.exists():
        aside = set_aside(record.folder)
        say(f"record {record.id}: no checkpoint to go on from; set aside as {aside.name}, training from the start")
    return None


def load(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint's content: tensors and plain values only, nothing that could run code.

    Raises:
        RecordError: It holds something else, or no weights, whatever its checksum says.
    """
    try:
        content = torch.load(checkpoint.path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and zip files meet bytes of anybody's with kinds of their own
        if isinstance(error, OSError) or is_out_of_memory(error):
            raise  # that says nothing of the file
        if "weights_only" in str(error):  # by which torch would have people read it all the same
            why = "damaged, or it holds more than tensors and plain values, which can run code and is not read"
            raise RecordError(f"{checkpoint.path}: no checkpoint ({why})") from error
        raise RecordError(f"{checkpoint.path}: no checkpoint ({first_line(error)[:200]})") from error
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise RecordError(f"{checkpoint.path}: no checkpoint (it holds no weights by name)")
    found: dict[str, Any] = content
    return found


def weights_of(checkpoint: Checkpoint, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's weights by name.

    Raises:
        RecordError: See `load`; or they are not of the names and shapes of ``like``.
    """
    weights: dict[str, Tensor] = load(checkpoint)["state_dict"]
    odd = like.keys() ^ weights.keys() or {name for name in like if like[name].shape != weights[name].shape}
    if odd:
        raise RecordError(f"{checkpoint.path}: the weights of another network or vocabulary ({min(map(str, odd))})")
    return weights


def recorder_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint's recorder knew: see `dlbench.callbacks.recorder.EpochRecorder.state_dict`.

    Raises:
        RecordError: See `load`; or it knew nothing.
    """
    try:
        content = load(checkpoint)
        state: dict[str, Any] = content["callbacks"][EpochRecorder.__qualname__]
        _State.model_validate(state)
        # Without one of these Lightning would go on all the same, from another place.
        _ = content["optimizer_states"], content["lr_schedulers"], content["loops"]["fit_loop"]["epoch_progress"]
    except (KeyError, TypeError, ValidationError) as error:
        raise RecordError(f"{checkpoint.path}: no checkpoint of a run (it tells no epoch to go on from)") from error
    return state


def refuse(checkpoint: Checkpoint, error: RecordError) -> None:
    """Set aside a checkpoint that cannot be gone on from, and say why in a line."""
    say(f"{error}; set aside as {set_aside(checkpoint.path).name}")


class EpochRecorder(pl.callbacks.Checkpoint):
    """Write each epoch's metrics to ``metrics.jsonl`` and the loggers, then save a checkpoint.

    As a `Checkpoint` it runs after every other callback and the task itself. The step of every logged scalar is the
    epoch, counted from 1. Names that begin with ``time/`` tell of speed and are no part of a result.

    Args:
        record: The run's record.
        monitor: The validation metric that marks the best epoch.
        started: When the training began.
    """

    def __init__(self, record: Record, monitor: Monitor, started: str = "") -> None:
        self.record, self.monitor, self.started = record, monitor, started
        self.best_epoch, self.best_value = 0, monitor.worst
        self.seconds = 0.0
        self._epoch_began = 0.0
        # Of what was written, not of what lies on the disk: that may be damaged while the training runs.
        self._curves = self._on_disk()

    def _on_disk(self) -> Any:
        return hashlib.sha256(self.record.metrics.read_bytes() if self.record.metrics.is_file() else b"")

    def check_curves(self) -> None:
        """See that the curves on the disk are those that were written.

        Raises:
            RecordError: They are not.
        """
        if self._on_disk().hexdigest() != self._curves.hexdigest():
            remedy = "the same command goes on from what is whole"
            raise RecordError(f"{self.record.metrics}: damaged while the training ran; {remedy}")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self._epoch_began = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop it: throughput is that of training."""
        self._training_seconds = time.perf_counter() - self._epoch_began

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch.

        Raises:
            DivergedError: A metric is not finite.
        """
        epoch = trainer.current_epoch + 1
        metrics = read_metrics(trainer)
        if unfit := [name for name, value in metrics.items() if not math.isfinite(value)]:
            raise DivergedError(trainer.global_step, unfit[0])
        best_before = self.best_epoch
        value = metrics[self.monitor.name]
        if self.monitor.is_better(value, self.best_value):
            self.best_epoch, self.best_value = epoch, value
        batches = trainer.num_training_batches * trainer.world_size
        examples = batches * trainer.datamodule.batch_size  # type: ignore[attr-defined]
        metrics["time/examples_per_second"] = examples / self._training_seconds
        metrics["time/epoch_seconds"] = time.perf_counter() - self._epoch_began
        self.seconds += metrics["time/epoch_seconds"]

        line = history.append(self.record.metrics, {"epoch": epoch, "step": trainer.global_step, **metrics})
        self._curves.update(line)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=epoch)
            logger.save()
        checkpoints = self.record.checkpoints
        checkpoints.save(epoch, trainer.save_checkpoint)
        # The last best stays too: should this checkpoint turn out damaged, the one before it needs its own best.
        checkpoints.prune({best_before, self.best_epoch})

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know, and the hash of the curves so far, which are part of what it goes on from."""
        named = {name: getattr(self, name) for name in ("best_epoch", "best_value", "seconds", "started")}
        return {**named, "curves": self._curves.hexdigest()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.best_epoch, self.best_value = state_dict["best_epoch"], state_dict["best_value"]
        self.seconds, self.started = state_dict["seconds"], state_dict["started"]
