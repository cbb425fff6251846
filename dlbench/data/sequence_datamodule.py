"""What data sets of sequences share: training batches by (seed, epoch), all others by length."""

from abc import abstractmethod
from typing import Any

import pytorch_lightning as pl

from dlbench.data.pairs import Loader, Split, loader


class SequenceDataModule(pl.LightningDataModule):
    """A subclass says how a split becomes tensors."""

    batch_size: int
    eval_batch_size: int
    bucket_batches: int
    seed: int

    @abstractmethod
    def tensors(self, split: str) -> Split[Any]:
        """A split, ready for batches."""

    def train_tensors(self) -> Split[Any]:
        """The training split as training gets it."""
        return self.tensors("train")

    def train_dataloader(self) -> Loader[Any]:
        """In batches of like length, or random ones, by (seed, epoch)."""
        return loader(self.train_tensors(), self.batch_size, self.bucket_batches, self.seed)

    def val_dataloader(self) -> Loader[Any]:
        """By length."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> Loader[Any]:
        """By length."""
        return self.evaluation_dataloader("test")

    def evaluation_dataloader(self, split: str) -> Loader[Any]:
        """A split by length; each batch's ``index`` says where its examples stand in the split."""
        return loader(self.tensors(split), self.eval_batch_size)
