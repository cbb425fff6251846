"""Callbacks of a user's own that end badly; given by name to processes that have this folder on their path."""

import os
import signal
from pathlib import Path

import pytorch_lightning as pl


class Deadly(pl.Callback):
    """Kill the process of a run of a given seed when its second epoch begins, once or always.

    Args:
        seed: Whose.
        rank: Which of its devices.
        once: A file that is made at the first death and keeps the process alive from then on; None: it dies always.
    """

    def __init__(self, seed: int, once: str | None = None, rank: int = 0) -> None:
        self.seed, self.once, self.rank = seed, once, rank

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Kill."""
        if pl_module.seed != self.seed or trainer.global_rank != self.rank or trainer.current_epoch < 1:
            return
        if self.once is None or not Path(self.once).exists():
            if self.once:
                Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
