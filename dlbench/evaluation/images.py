"""What is measured of a trained image classifier (REPORTS sections 1, 3, 5), and the pictures and tables kept of it."""

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms
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


TILE = 140
"""Side in pixels of an activation map in ``activation_maps.png``."""


@component("grey_image_evaluation", "1.0", uses=(history.summarise,))
class GreyEvaluation(ImageEvaluation):
    """As `ImageEvaluation`, and under rotation and scaling; a network may also be without convolutions.

    ``test/accuracy_rotation_A`` is the mean over both directions, ``test/accuracy_scale_S`` over enlarging and reducing
    by S. Pictures are transformed before they are arranged for the network (see `transform`).

    Args:
        max_shift: See `ImageEvaluation`.
        rotations: Angles in degrees.
        scales: Factors above 1.
    """

    def __init__(
        self,
        max_shift: Annotated[int, Ge(0), Le(16)] = 4,
        rotations: Sequence[Annotated[float, Gt(0), Le(45)]] = (5, 10, 15, 20),
        scales: Sequence[Annotated[float, Gt(1), Le(2)]] = (1.1, 1.2, 1.3),
    ) -> None:
        super().__init__(max_shift)
        self.rotations, self.scales = rotations, scales

    def __call__(
        self, trainer: pl.Trainer, task: ImageClassification, data: Any, last: Weights, best: Weights
    ) -> tuple[dict[str, float], Tensor]:
        """Metrics by name, and the last epoch's class probabilities on the test split, (pictures, outputs)."""
        metrics, probabilities = super().__call__(trainer, task, data, last, best)
        unmoved = metrics["test/accuracy_shift_0"]
        metrics |= {"test/accuracy_rotation_0": unmoved, "test/accuracy_scale_1": unmoved}
        for angle in self.rotations:
            accuracies = [_accuracy_after(trainer, task, data, angle=sign * angle) for sign in (1, -1)]
            metrics[f"test/accuracy_rotation_{angle:g}"] = sum(accuracies) / len(accuracies)
        for scale in self.scales:
            accuracies = [_accuracy_after(trainer, task, data, scale=factor) for factor in (scale, 1 / scale)]
            metrics[f"test/accuracy_scale_{scale:g}"] = sum(accuracies) / len(accuracies)
        if first_convolution(task.model) is None:
            del metrics["model/receptive_field"]
        return metrics, probabilities

    def write(self, folder: Path, task: ImageClassification, data: Any, probabilities: Tensor) -> None:
        """As `ImageEvaluation.write`; the activation maps are those of ``data.example()``, if there are any."""
        labels = torch.from_numpy(data.pictures.test.labels)
        write_predictions(folder / "predictions.csv", probabilities, labels, data.class_names)
        write_confusion(folder / "artifacts" / "confusion_matrix.csv", probabilities, labels, data.class_names)
        if convolution := first_convolution(task.model):
            write_maps(folder / "artifacts" / "activation_maps.png", convolution, *data.example())


def transform(pictures: Tensor, *, angle: float = 0, scale: float = 1) -> Tensor:
    """Pictures (N, height, width, channels) of uint8, turned about their centre and then enlarged, bilinearly.

    As under shifts, the rim repeats the nearest pixel.

    Args:
        pictures: They stay as they are.
        angle: In degrees, clockwise.
        scale: Below 1 reduces.
    """
    size = list(pictures.shape[1:3])
    padded = transforms.pad(pictures.permute(0, 3, 1, 2), [side // 2 for side in reversed(size)], padding_mode="edge")
    moved = transforms.affine(
        padded, angle=angle, translate=[0, 0], scale=scale, shear=[0, 0], interpolation=InterpolationMode.BILINEAR
    )
    cropped: Tensor = transforms.center_crop(moved, size)
    return cropped.permute(0, 2, 3, 1)


def first_convolution(model: nn.Module) -> nn.Conv2d | None:
    """The convolution that reads the picture; None for a network without."""
    return next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)


def write_maps(path: Path, convolution: nn.Conv2d, picture: Tensor, example: Tensor, maps: int = 8) -> None:
    """The picture, and beside it the convolution's first maps (before ReLU), four in a row, each scaled to 0-1.

    Args:
        path: The PNG file.
        convolution: The first one.
        picture: (height, width, channels) of uint8, as a person sees it.
        example: (1, channels, height, width), as the network gets it.
        maps: How many to show at most.
    """
    with torch.inference_mode():
        outputs = convolution(example.to(convolution.weight)).float().cpu()[0, :maps, None]
    grid = make_grid(_resized(outputs, TILE), nrow=4, normalize=True, scale_each=True)
    side = grid.shape[1] // TILE * TILE
    original = _resized(picture.permute(2, 0, 1)[None].float() / 255, side)[0].expand(3, -1, -1)
    save_image(torch.cat([nn.functional.pad(original, [(grid.shape[1] - side) // 2] * 4), grid], dim=2), path)


def _resized(pictures: Tensor, side: int) -> Tensor:
    return nn.functional.interpolate(pictures, size=(side, side), mode="nearest-exact")


def _accuracy_after(
    trainer: pl.Trainer, task: ImageClassification, data: Any, *, angle: float = 0, scale: float = 1
) -> float:
    """Test accuracy on pictures turned or scaled."""
    transformed = partial(transform, angle=angle, scale=scale)
    trainer.test(task, data.transformed_dataloader("test", transformed), verbose=False)
    return read_metrics(trainer)["test/accuracy"]
