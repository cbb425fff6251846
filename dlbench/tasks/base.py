"""What every training here shares: optimiser, per-step randomness, and an honest account of the training loss."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanMetric

from dlbench.components import component
from dlbench.errors import ConfigError
from dlbench.metrics.best_epoch import Monitor
from dlbench.models.wide_linear import WideSGD
from dlbench.seeding import reseed_global

OptimizerFactory = Callable[[Any], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


class DivergedError(Exception):
    """A loss is no longer a number; ``step`` counts optimiser steps from 0."""

    def __init__(self, step: int, metric: str = "the training loss") -> None:
        super().__init__(f"{metric} is not finite at step {step}")
        self.step = step


def read_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """What the task has logged, each as the shortest decimal that is the same single-precision number."""
    return {name: float(str(value.float().cpu().numpy())) for name, value in sorted(trainer.callback_metrics.items())}


def mean_loss() -> MeanMetric:
    """A mean that a single NaN makes infinite; torchmetrics would leave such examples out, and the mean looks well."""
    return MeanMetric(nan_strategy=math.inf)


@component("training_loss", "1.0")
class Task(pl.LightningModule):
    """A LightningModule whose training depends on (seed, step) alone, and on a batch's place in a step of several.

    It logs ``train/loss``, the mean over this epoch's batches, ``train/loss_running_mean``, the mean over all batches
    since the first epoch (what the reports on pictures plot as "training loss").

    Args:
        model: The network.
        optimizer: Makes the optimiser from the parameters.
        scheduler: Makes the learning-rate schedule, stepped once an epoch.
        seed: The run's seed.
    """

    monitor: ClassVar[Monitor]
    needs_no_gradients = False
    """Whether nothing but the optimiser reads gradients, so that some need not be computed: see `WideSGD`."""

    accumulate = 1
    """Batches of one step of the optimiser: see `dlbench.trainer.TrainerSettings`."""

    def __init__(
        self, model: nn.Module, optimizer: OptimizerFactory, scheduler: SchedulerFactory, seed: int = 0
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.seed = seed
        self.epoch_losses: list[float] = []
        self.loss_sum, self.loss_count = 0.0, 0

    def check_data(self, data: Any) -> None:
        """See that the optimiser and the schedule take their settings; a subclass sees that the network fits the data.

        Raises:
            ConfigError: They do not.
        """
        try:
            found = self.configure_optimizers()
        except (ValueError, TypeError, KeyError) as error:
            lacking = f"the optimiser's groups of parameters have no {error}" if isinstance(error, KeyError) else error
            raise ConfigError(f"optimizer or scheduler: {lacking}") from error
        if isinstance(found, dict) and isinstance(found.get("lr_scheduler"), ReduceLROnPlateau):
            why = "goes by a metric, where schedules here go by the epoch"
            raise ConfigError(f"scheduler: ReduceLROnPlateau {why}; choose another, or trainer.early_stopping")

    def check_evaluation(self, settings: Mapping[str, Any]) -> None:
        """See `dlbench.protocols.Task.check_evaluation`; any will do."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The scalar training loss of a batch."""

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule."""
        optimizer = self.optimizer_factory(self.parameters())
        if isinstance(optimizer, WideSGD) and self.needs_no_gradients:
            optimizer.use_factors()
        # With a gradient scaler a fused optimiser would unscale in its step, after gradients are clipped.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        return {"optimizer": optimizer, "lr_scheduler": self.scheduler_factory(optimizer)}

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's own mean; note the learning rate, which Lightning changes before the epoch's end."""
        self.epoch_losses = []
        self.epoch_lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make whatever draws from the global generator (dropout) a function of (seed, step, place of the batch in it).

        A step of several batches draws the same, whether one device takes all of them or each takes some.
        """
        place = batch_idx % self.accumulate * self.devices + self.global_rank
        reseed_global(self.seed, "step", self.global_step, *([place] if place else []))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """A batch's loss; in the last step of an epoch, if fewer batches than usual are left for it, as much larger.

        What is recorded is its mean over the devices.

        Raises:
            DivergedError: The loss is NaN or infinite, on whichever device.
        """
        loss = self.loss(batch)
        value = self._over_devices(loss).item()
        if not math.isfinite(value):
            raise DivergedError(self.global_step)
        self.epoch_losses.append(value)
        if self.accumulate == 1:
            return loss
        # Lightning divides by `accumulate` however few batches are left.
        left = self.trainer.num_training_batches - batch_idx + batch_idx % self.accumulate
        return loss if left >= self.accumulate else loss * (self.accumulate / left)

    @property
    def devices(self) -> int:
        """How many devices train it."""
        return self._trainer.world_size if self._trainer else 1

    def _over_devices(self, loss: Tensor) -> Tensor:
        if self.devices == 1:
            return loss
        mean: Tensor = self.trainer.strategy.reduce(loss.detach().clone(), reduce_op="mean")
        return mean

    def on_train_epoch_end(self) -> None:
        """Log both means of the training loss and the learning rate the epoch was run with."""
        self.loss_sum += math.fsum(self.epoch_losses)
        self.loss_count += len(self.epoch_losses)
        self.log_dict(
            {
                "train/loss": math.fsum(self.epoch_losses) / len(self.epoch_losses),
                "train/loss_running_mean": self.loss_sum / self.loss_count,
                "optimizer/lr": self.epoch_lr,
            },
            logger=False,
        )

    def on_fit_end(self) -> None:
        """Whoever goes on with the network has its gradients."""
        for optimizer in self.trainer.optimizers:
            if isinstance(optimizer, WideSGD):
                optimizer.write_gradients()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The running mean goes on where it was."""
        checkpoint["training_loss"] = {"sum": self.loss_sum, "count": self.loss_count}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `on_save_checkpoint`."""
        self.loss_sum = checkpoint["training_loss"]["sum"]
        self.loss_count = checkpoint["training_loss"]["count"]
