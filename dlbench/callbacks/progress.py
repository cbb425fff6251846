"""How far a training is: one plain line an epoch, and on a terminal a live bar of the current one."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from dlbench.terminal import ProgressKind, clock, suited

DRAWN_A_SECOND = 3
"""How often the bar is drawn. At Lightning's default, 100, a CNN's step takes 1.12 to 1.19 times as long as without."""


class EpochBar(RichProgressBar):
    """Lightning's live bar, with epochs counted from 1; `EpochLines` prints the metrics."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """No metrics beside the bar."""
        return {}

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


class EpochLines(pl.Callback):
    """One line after each epoch."""

    def __init__(self) -> None:
        self._began, self._first_epoch = 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began, self._first_epoch = time.monotonic(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the validation metrics and the time left."""
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
        per_epoch = (time.monotonic() - self._began) / (epoch - self._first_epoch)
        known = sorted(trainer.callback_metrics.items())
        metrics = "  ".join(f"{name} {float(value):.4f}" for name, value in known if name.startswith("val/"))
        left = f", {clock(per_epoch * (epochs - epoch))} left" if epoch < epochs else ""
        print(f"epoch {epoch}/{epochs}  {metrics}  {per_epoch:.1f} s an epoch{left}", flush=True)


def progress(kind: ProgressKind) -> list[pl.Callback]:
    """The callbacks that show progress as asked for."""
    lines = EpochLines()
    shown: dict[str, list[pl.Callback]] = {"bar": [lines, EpochBar(DRAWN_A_SECOND)], "lines": [lines], "none": []}
    return shown[suited(kind)]
