"""What a classifier does on the validation split, as pictures in TensorBoard at chosen epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from dlbench.data.pictures import Pictures
from dlbench.records.labels import EMBEDDED


class ClassifierPictures(pl.Callback):
    """The confusion matrix, the most confident mistakes, and the first layer's maps beside their input.

    It listens to the validation that Lightning makes anyway, so it costs no pass over the data and no random number;
    a training is the same to the bit with it and without. Another kind of task brings a callback of its own, in a
    file of ``conf/callbacks``.

    Args:
        epochs: After which epochs, counted from 1. The last epoch is always one of them, unless there are none.
        mistakes: How many mistakes to show.
        maps: How many of the first layer's maps to show.
    """

    def __init__(
        self,
        epochs: Sequence[Annotated[int, Gt(0)]] = (1, 5, 10, 20, 40),
        mistakes: Annotated[int, Gt(0)] = 12,
        maps: Annotated[int, Ge(0)] = 16,
    ) -> None:
        self.epochs, self.mistakes, self.maps = frozenset(epochs), mistakes, maps
        self._hook: Any = None
        self._logits: list[Tensor] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to listen, if this epoch is one to show."""
        epoch = trainer.current_epoch + 1
        if self.epochs and trainer.loggers and (epoch in self.epochs or epoch == trainer.max_epochs):
            self._logits = []
            model: nn.Module = pl_module.model  # type: ignore[assignment]
            self._hook = model.register_forward_hook(lambda _model, _images, logits: self._hear(logits))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, and log with the epoch as step."""
        if self._hook is None:
            return
        self._stop()
        probabilities = torch.cat(self._logits).softmax(dim=1)
        self._logits = []
        if probabilities.isfinite().all():  # else the run ends as diverged
            self._draw(trainer, pl_module, probabilities)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the network without the hook."""
        self._stop()

    def _hear(self, logits: Tensor) -> None:
        self._logits.append(logits.detach().float().cpu())

    def _stop(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    def _draw(self, trainer: pl.Trainer, task: pl.LightningModule, probabilities: Tensor) -> None:
        from dlbench.callbacks import figures  # matplotlib takes a while to import

        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        pictures: Pictures = data.pictures.splits()["val"]
        is_embedded = data.pictures.source == "embedded"
        model: nn.Module = task.model  # type: ignore[assignment]
        epoch = trainer.current_epoch + 1
        about = f"validation, epoch {epoch}" + (f", {EMBEDDED}" if is_embedded else "")
        labels = torch.from_numpy(pictures.labels)
        shown = {
            "confusion_matrix": figures.confusion_matrix(probabilities, labels, data.class_names, about),
            "most_confident_mistakes": figures.mistakes(
                probabilities, labels, pictures.images, data.class_names, about, count=self.mistakes
            ),
        }
        convolution = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
        if convolution is not None and self.maps:
            example = data.tensors("val")[torch.tensor([0])][0]
            with torch.inference_mode():
                maps = convolution(example.to(task.device, convolution.weight.dtype)).float().cpu()[0, : self.maps]
            shown["first_layer"] = figures.activation_maps(pictures.images[0], example[0], maps, about)
        folder = "pictures (embedded data)" if is_embedded else "pictures"
        for logger in trainer.loggers:
            if isinstance(logger, pl.loggers.TensorBoardLogger):
                for name, image in shown.items():
                    logger.experiment.add_image(f"{folder}/{name}", image, epoch, dataformats="HWC")
