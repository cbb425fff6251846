"""Classifying pictures: cross-entropy and accuracy."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from dlbench.components import component
from dlbench.errors import ConfigError
from dlbench.metrics.best_epoch import Monitor
from dlbench.models.cost import forward_once
from dlbench.tasks.base import OptimizerFactory, SchedulerFactory, Task, mean_loss

Batch = tuple[Tensor, Tensor]

AT_ONCE = 50
"""Pictures that a CPU evaluates at once, whatever the batch: what lies between layers then fits its caches."""


@component("image_classification", "1.1")
class ImageClassification(Task):
    """Train with cross-entropy; validate and test with cross-entropy and micro accuracy over all pictures.

    A batch is a pair of images (batch, channels, height, width) and labels (batch,).

    Args (beside those of `Task`):
        model: A network with an attribute ``outputs``, the width of its logits.
        channels_last: Keep weights and pictures in channels-last memory order, which is faster on CPUs and on tensor
            cores; it changes the order of additions, so it belongs to a run's identity.
    """

    monitor = Monitor("val/accuracy", "max")

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory,
        seed: int = 0,
        channels_last: bool = True,
    ) -> None:
        super().__init__(model, optimizer, scheduler, seed)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model.to(memory_format=self.memory_format)
        outputs = int(model.outputs)  # type: ignore[arg-type]
        self.val_loss, self.test_loss = mean_loss(), mean_loss()
        self.val_accuracy, self.test_accuracy = (MulticlassAccuracy(outputs, average="micro") for _ in range(2))

    def check_data(self, data: Any) -> None:
        """See that the network takes the pictures, has an output for every class, and never normalises a batch of one.

        Raises:
            ConfigError: One of these does not hold, or the optimiser or schedule refuses its settings.
        """
        train = data.tensors("train")
        shape, examples, classes = tuple(train.images.shape[1:]), len(train), len(data.class_names)
        try:
            answer, _ = forward_once(self.model, shape)
        except RuntimeError as error:
            remedy = "choose a model for this data, or set model.in_channels and model.image_size"
            raise ConfigError(f"model: does not take pictures of shape {shape} ({error}); {remedy}") from error
        outputs = int(self.model.outputs)  # type: ignore[arg-type]
        if tuple(answer.shape) != (1, outputs):
            given = f"gives {tuple(answer.shape)} for one picture, but its outputs={outputs} promise {(1, outputs)}"
            raise ConfigError(f"model: {given}; correct one of them")
        if outputs < classes:
            raise ConfigError(f"model.classes={outputs}: the data has {classes} classes")
        super().check_data(data)
        has_batch_norm = any(isinstance(layer, nn.BatchNorm1d) for layer in self.model.modules())
        if has_batch_norm and (data.batch_size == 1 or examples % data.batch_size == 1):
            why = f"{examples} training examples leave a batch of one, which batch normalisation cannot train on"
            raise ConfigError(f"data.batch_size={data.batch_size}: {why}; choose another batch size")

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (batch, outputs)."""
        images = images.contiguous(memory_format=self.memory_format)
        if self.training or images.device.type != "cpu":
            logits: Tensor = self.model(images)
            return logits
        return torch.cat([self.model(part) for part in torch.split(images, AT_ONCE)])

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy, averaged over the batch."""
        images, labels = batch
        return functional.cross_entropy(self(images), labels)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Accumulate ``val/loss`` and ``val/accuracy``; the logits."""
        return self._measure(batch, "val", self.val_loss, self.val_accuracy)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Accumulate ``test/loss`` and ``test/accuracy``."""
        self._measure(batch, "test", self.test_loss, self.test_accuracy)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities of shape (batch, outputs)."""
        logits: Tensor = self(batch[0])
        return logits.float().softmax(dim=1)

    def _measure(self, batch: Batch, split: str, loss: MeanMetric, accuracy: MulticlassAccuracy) -> Tensor:
        images, labels = batch
        logits: Tensor = self(images).float()
        loss.update(functional.cross_entropy(logits, labels, reduction="none"))
        accuracy.update(logits, labels)
        self.log_dict({f"{split}/loss": loss, f"{split}/accuracy": accuracy}, logger=False)
        return logits
