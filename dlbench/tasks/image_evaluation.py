"""What is measured of a trained image classifier, and the pictures and tables kept of it."""

import csv
from pathlib import Path
from typing import Annotated, Protocol

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchvision.utils import make_grid, save_image

from dlbench.components import component
from dlbench.models.cost import count_flops, count_parameters, receptive_field
from dlbench.records import history
from dlbench.tasks.base import read_metrics
from dlbench.tasks.image_classification import ImageClassification

Weights = dict[str, Tensor]


class PictureData(Protocol):
    """What an evaluation asks of a DataModule."""

    class_names: tuple[str, ...]

    def evaluation_dataloader(self, split: str, down: int = 0, right: int = 0) -> DataLoader[tuple[Tensor, Tensor]]:
        """A split in order, its pictures moved by whole pixels."""


@component("image_evaluation", "1.0", uses=(history.summarise,))
class ImageEvaluation:
    """Test a classifier after its last epoch (the published protocol) and after its best validation epoch.

    Args:
        max_shift: Largest shift in pixels that the test accuracy is measured under. The accuracy at shift d is the mean
            over four directions (up, down, left, right); the rim repeats the nearest pixel.
    """

    def __init__(self, max_shift: Annotated[int, Ge(0), Le(16)] = 4) -> None:
        self.max_shift = max_shift

    def __call__(
        self, trainer: pl.Trainer, task: ImageClassification, data: PictureData, last: Weights, best: Weights
    ) -> tuple[dict[str, float], Tensor]:
        """Metrics by name, and the last epoch's class probabilities on the test split, (pictures, outputs)."""
        task.load_state_dict(best)
        metrics = {f"{name}_best_val": value for name, value in self._test(trainer, task, data).items()}
        task.load_state_dict(last)
        metrics = self._test(trainer, task, data) | metrics
        probabilities = _predict(trainer, task, data.evaluation_dataloader("test"))
        metrics |= self._under_shifts(trainer, task, data, probabilities)
        return metrics | describe_model(task.model, data), probabilities

    def _test(self, trainer: pl.Trainer, task: ImageClassification, data: PictureData) -> dict[str, float]:
        trainer.test(task, data.evaluation_dataloader("test"), verbose=False)
        return read_metrics(trainer)

    def _under_shifts(
        self, trainer: pl.Trainer, task: ImageClassification, data: PictureData, unmoved: Tensor
    ) -> dict[str, float]:
        labels = _labels(data)
        metrics = {"test/accuracy_shift_0": _accuracy(unmoved, labels)}
        for pixels in range(1, self.max_shift + 1):
            directions = ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))
            accuracies = [
                _accuracy(_predict(trainer, task, data.evaluation_dataloader("test", down, right)), labels)
                for down, right in directions
            ]
            metrics[f"test/accuracy_shift_{pixels}"] = sum(accuracies) / len(accuracies)
        return metrics

    def write(self, folder: Path, task: ImageClassification, data: PictureData, probabilities: Tensor) -> None:
        """Write ``predictions.csv``, ``artifacts/confusion_matrix.csv`` and ``artifacts/activation_maps.png``."""
        labels = _labels(data)
        write_predictions(folder / "predictions.csv", probabilities, labels, data.class_names)
        write_confusion(folder / "artifacts" / "confusion_matrix.csv", probabilities, labels, data.class_names)
        write_activation_maps(folder / "artifacts" / "activation_maps.png", task, _first_picture(data))


def describe_model(model: nn.Module, data: PictureData) -> dict[str, float]:
    """Parameters, FLOPs of one picture's forward pass, and the receptive field of the last convolution block."""
    return {
        "model/parameters": count_parameters(model),
        "model/flops": count_flops(model, _first_picture(data).shape[1:]),
        "model/receptive_field": receptive_field(model.features),  # type: ignore[arg-type]
    }


def write_predictions(path: Path, probabilities: Tensor, labels: Tensor, names: tuple[str, ...]) -> None:
    """One row a test picture: position, true class, predicted class, its probability."""
    confidence, predicted = probabilities.max(dim=1)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["index", "label", "predicted", "probability"])
        for index, (label, guess, value) in enumerate(
            zip(labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True)
        ):
            table.writerow([index, names[label], _class_name(guess, names), f"{value:.4f}"])


def write_confusion(path: Path, probabilities: Tensor, labels: Tensor, names: tuple[str, ...]) -> None:
    """Counts, a row a true class and a column a predicted one; outputs that stand for no class get a last column."""
    predicted = probabilities.argmax(dim=1).clamp(max=len(names))
    counts = multiclass_confusion_matrix(predicted, labels, num_classes=len(names) + 1)[: len(names)]
    shown = len(names) + bool(counts[:, -1].any())
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["label \\ predicted", *(_class_name(index, names) for index in range(shown))])
        for name, row in zip(names, counts.tolist(), strict=True):
            table.writerow([name, *row[:shown]])


def write_activation_maps(path: Path, task: ImageClassification, picture: Tensor, maps: int = 8) -> None:
    """The picture as the network sees it, then the first convolution's first maps (before ReLU), each scaled to 0-1."""
    convolution = next(layer for layer in task.model.modules() if isinstance(layer, nn.Conv2d))
    with torch.inference_mode():
        outputs = convolution(picture.to(convolution.weight)).float().cpu()[0, :maps]
    tiles = [picture[0], *(channel.expand(3, *channel.shape) for channel in outputs)]
    tiles = [nn.functional.interpolate(tile[None], size=144, mode="nearest")[0] for tile in tiles]
    save_image(make_grid(tiles, nrow=3, normalize=True, scale_each=True), path)


def _class_name(index: int, names: tuple[str, ...]) -> str:
    return names[index] if index < len(names) else "no class"


def _predict(trainer: pl.Trainer, task: ImageClassification, loader: DataLoader[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.cat(trainer.predict(task, loader)).cpu()  # type: ignore[arg-type]


def _accuracy(probabilities: Tensor, labels: Tensor) -> float:
    return (probabilities.argmax(dim=1) == labels).double().mean().item()


def _labels(data: PictureData) -> Tensor:
    return torch.cat([labels for _, labels in data.evaluation_dataloader("test")])


def _first_picture(data: PictureData) -> Tensor:
    images, _ = next(iter(data.evaluation_dataloader("test")))
    first: Tensor = images[:1]
    return first
