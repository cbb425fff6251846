"""What is measured of a classifier of grey pictures, rotated and scaled ones too (REPORTS sections 3 and 5)."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms
from torchvision.utils import make_grid, save_image

from dlbench.components import component
from dlbench.records import history
from dlbench.tasks.base import read_metrics
from dlbench.tasks.image_classification import ImageClassification
from dlbench.tasks.image_evaluation import ImageEvaluation, Weights, write_confusion, write_predictions

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
            accuracies = [_accuracy(trainer, task, data, angle=sign * angle) for sign in (1, -1)]
            metrics[f"test/accuracy_rotation_{angle:g}"] = sum(accuracies) / len(accuracies)
        for scale in self.scales:
            accuracies = [_accuracy(trainer, task, data, scale=factor) for factor in (scale, 1 / scale)]
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


def _accuracy(
    trainer: pl.Trainer, task: ImageClassification, data: Any, *, angle: float = 0, scale: float = 1
) -> float:
    """Test accuracy on pictures turned or scaled."""
    transformed = partial(transform, angle=angle, scale=scale)
    trainer.test(task, data.transformed_dataloader("test", transformed), verbose=False)
    return read_metrics(trainer)["test/accuracy"]
