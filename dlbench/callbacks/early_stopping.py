"""Early stopping: Lightning's, by the metric and in the direction that are the suite's own, and resumed to its end."""

import pytorch_lightning as pl

from dlbench.errors import ConfigError
from dlbench.metrics.best_epoch import Monitor
from dlbench.metrics.names import has_direction, is_better_higher
from dlbench.terminal import nearest
from dlbench.trainer import TrainerSettings


class EarlyStop(pl.callbacks.EarlyStopping):
    """End a training after ``trainer.early_stopping`` epochs in a row without a better metric; equal is not better.

    What it has counted is in every checkpoint: a run that was killed after its last epoch ends at once.

    Args:
        metric: The metric, and whether more or less of it is better.
        patience: The epochs.
    """

    def __init__(self, metric: Monitor, patience: int) -> None:
        super().__init__(metric.name, patience=patience, mode=metric.mode, check_on_train_epoch_end=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End here, if the training that goes on had come to its end."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the epoch.

        Raises:
            ConfigError: There is no such metric.
        """
        if self.monitor not in trainer.callback_metrics:
            problem = f"no such metric; {nearest(self.monitor, trainer.callback_metrics)}"
            raise ConfigError(f"trainer.early_stopping_metric={self.monitor}: {problem}")
        super().on_train_epoch_end(trainer, pl_module)


def early_stopping(settings: TrainerSettings, monitor: Monitor) -> list[EarlyStop]:
    """The callback that settings ask for, if they do.

    Args:
        settings: They name a metric, or none.
        monitor: What is taken where they name none: the metric by which the task's best epoch is chosen.

    Raises:
        ConfigError: It is not known whether more or less of the metric is better, or it is the task's own, which would
            be the same training under another identity.
    """
    if settings.early_stopping is None:
        return []
    if name := settings.early_stopping_metric:
        if name == monitor.name:
            raise ConfigError(f"trainer.early_stopping_metric={name}: it is taken anyway; leave it out")
        if not has_direction(name):
            why = "no metric of which it is known whether more is better; choose another, such as val/loss"
            raise ConfigError(f"trainer.early_stopping_metric={name}: {why}")
        monitor = Monitor(name, "max" if is_better_higher(name) else "min")
    return [EarlyStop(monitor, settings.early_stopping)]
