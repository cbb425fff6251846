"""What a classifier does on the validation split, as pictures in TensorBoard at chosen epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt
from torch import Tensor

from dlbench.callbacks.chosen_epochs import ChosenEpochs, about, folder, writers
from dlbench.components import component
from dlbench.data.pictures import Pictures
from dlbench.tasks.grey_evaluation import first_convolution
from dlbench.tasks.image_classification import ImageClassification


@component("classifier_pictures", "1.0", display_only=True)
class ClassifierPictures(ChosenEpochs):
    """The confusion matrix, the most confident mistakes, and the first layer's maps beside their input.

    Another kind of task brings a callback of its own, in a file of ``conf/callbacks``.

    Args:
        epochs: See `ChosenEpochs`.
        mistakes: How many mistakes to show.
        maps: How many of the first layer's maps to show.
    """

    shows = ImageClassification

    def __init__(
        self,
        epochs: Sequence[Annotated[int, Gt(0)]] = (1, 5, 10, 20, 40),
        mistakes: Annotated[int, Gt(0)] = 12,
        maps: Annotated[int, Ge(0)] = 16,
    ) -> None:
        super().__init__(epochs)
        self.mistakes, self.maps = mistakes, maps
        self._hook: Any = None
        self._logits: list[Tensor] = []

    def listen(self, task: Any) -> None:
        """Keep the network's outputs."""
        self._logits = []
        self._hook = task.model.register_forward_hook(lambda _model, _images, logits: self._hear(logits))

    def stop(self, task: Any) -> None:
        """Leave the network without the hook."""
        self._hook.remove()

    def draw(self, trainer: pl.Trainer, task: Any) -> None:
        """Log the pictures."""
        probabilities = torch.cat(self._logits).softmax(dim=1)
        self._logits = []
        if probabilities.isfinite().all():  # else the run ends as diverged
            self._draw(trainer, task, probabilities)

    def _hear(self, logits: Tensor) -> None:
        self._logits.append(logits.detach().float().cpu())

    def _draw(self, trainer: pl.Trainer, task: ImageClassification, probabilities: Tensor) -> None:
        from dlbench.callbacks import figures  # matplotlib takes a while to import

        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        pictures: Pictures = data.pictures.splits()["val"]
        facts = {"source": data.pictures.source, "provenance": data.pictures.provenance}
        title, labels = about(trainer, facts), torch.from_numpy(pictures.labels)
        shown = {
            "confusion_matrix": figures.confusion_matrix(probabilities, labels, data.class_names, title),
            "most_confident_mistakes": figures.mistakes(
                probabilities, labels, pictures.images, data.class_names, title, count=self.mistakes
            ),
        }
        convolution = first_convolution(task.model)
        if convolution is not None and self.maps:
            picture, example = data.example()
            with torch.inference_mode():
                maps = convolution(example.to(task.device, convolution.weight.dtype)).float().cpu()[0, : self.maps]
            split, position = data.shown
            of = about(trainer, facts, "validation" if split == "val" else f"training picture {position}")
            shown["first_layer"] = figures.activation_maps(picture.numpy(), example[0], maps, of)
        for writer in writers(trainer):
            for name, image in shown.items():
                writer.add_image(f"{folder(facts)}/{name}", image, trainer.current_epoch + 1, dataformats="HWC")
