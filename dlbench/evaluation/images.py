"""What is measured of a trained image classifier or a Hopfield network, and kept of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms
from torchvision.utils import make_grid, save_image

from dlbench.components import component
from dlbench.data.image_datamodules import PictureDataModule, shift
from dlbench.evaluation import tested, write_table
from dlbench.metrics.best_epoch import summarise_curves
from dlbench.models.cost import count_flops, count_parameters, receptive_field
from dlbench.protocols import Weights
from dlbench.tasks.image_classification import ImageClassification
from dlbench.tasks.retrieval import PictureRetrieval, RetrievalResult
from dlbench.terminal import doing

NO_CLASS = "no class"
"""What outputs beyond the classes are called."""

TILE = 140
"""Side in pixels of an activation map in the ``activation_maps.png`` of `GreyEvaluation`."""


@component("image_evaluation", "1.0", uses=(summarise_curves,))
@dataclass
class ImageEvaluation:
    """Test a classifier after its last epoch (the published protocol) and after its best validation epoch.

    Args:
        max_shift: Largest shift in pixels that the test accuracy is measured under. The accuracy at shift d is the mean
            over four directions (up, down, left, right); the rim repeats the nearest pixel.
    """

    max_shift: Annotated[int, Ge(0), Le(16)] = 4

    def __call__(
        self, trainer: pl.Trainer, task: ImageClassification, data: PictureDataModule, last: Weights, best: Weights
    ) -> tuple[dict[str, float], Tensor]:
        """Metrics by name, and the last epoch's class probabilities on the test split, (pictures, outputs)."""
        doing("testing after the best epoch")
        task.load_state_dict(best)
        at_best = tested(trainer, task, data.evaluation_dataloader("test"))
        doing("testing after the last epoch")
        task.load_state_dict(last)
        metrics = tested(trainer, task, data.evaluation_dataloader("test"))
        metrics |= {f"{name}_best_val": value for name, value in at_best.items()}
        labels = torch.from_numpy(data.pictures.test.labels)

        def predict(down: int = 0, right: int = 0) -> tuple[Tensor, float]:
            moved = partial(shift, down=down, right=right)
            batches: Any = trainer.predict(task, data.evaluation_dataloader("test", moved))
            probabilities = torch.cat(batches).cpu()
            return probabilities, (probabilities.argmax(dim=1) == labels).double().mean().item()

        probabilities, metrics["test/accuracy_shift_0"] = predict()
        for pixels in range(1, self.max_shift + 1):
            doing(f"testing: shifted by {pixels} of {self.max_shift} pixels")
            directions = ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels))
            metrics[f"test/accuracy_shift_{pixels}"] = sum(predict(*direction)[1] for direction in directions) / 4
        picture = next(iter(data.evaluation_dataloader("test")))[0][0]
        metrics["model/parameters"] = count_parameters(task.model)
        metrics["model/flops"] = count_flops(task.model, picture.shape)
        metrics["model/receptive_field"] = receptive_field(task.model.features)  # type: ignore[arg-type]
        return metrics, probabilities

    def write(self, folder: Path, task: ImageClassification, data: PictureDataModule, probabilities: Tensor) -> None:
        """Write ``predictions.csv``, ``artifacts/confusion_matrix.csv`` and ``artifacts/activation_maps.png``."""
        labels = torch.from_numpy(data.pictures.test.labels)
        write_predictions(folder / "predictions.csv", probabilities, labels, data.class_names)
        write_confusion(folder / "artifacts" / "confusion_matrix.csv", probabilities, labels, data.class_names)
        if convolution := first_convolution(task.model):
            self.write_maps(folder / "artifacts" / "activation_maps.png", convolution, data)

    def write_maps(self, path: Path, convolution: nn.Conv2d, data: PictureDataModule) -> None:
        """The first test picture as the network sees it, then the convolution's first eight maps (before ReLU).

        Each is scaled to 0-1.
        """
        picture = next(iter(data.evaluation_dataloader("test")))[0][:1]
        tiles = [tile.expand(3, -1, -1) for tile in (picture[0], *first_maps(convolution, picture, 8)[:, None])]
        tiles = [nn.functional.interpolate(tile[None], size=144, mode="nearest")[0] for tile in tiles]
        save_image(make_grid(tiles, nrow=3, normalize=True, scale_each=True), path)


def names_of_outputs(classes: Sequence[str], outputs: int) -> list[str]:
    """What so many outputs are called: the classes, and `NO_CLASS` for those beyond them."""
    return [*classes, *[NO_CLASS] * (outputs - len(classes))]


def write_predictions(path: Path, probabilities: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    """One row a test picture: position, true class, predicted class, its probability."""
    confidence, predicted = probabilities.max(dim=1)
    called = names_of_outputs(names, probabilities.shape[1])
    each = enumerate(zip(labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True))
    rows = ((index, names[label], called[guess], f"{value:.4f}") for index, (label, guess, value) in each)
    write_table(path, ["index", "label", "predicted", "probability"], rows)


def confusion(probabilities: Tensor, labels: Tensor, names: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Counts, a row a true class and a column a predicted one, and the columns' names.

    Of probabilities (examples, outputs) and labels (examples,). Outputs of no class share a last column, if they occur.
    """
    predicted = probabilities.argmax(dim=1).clamp(max=len(names))
    counts = multiclass_confusion_matrix(predicted, labels, num_classes=len(names) + 1)[: len(names)]
    columns = [*names, NO_CLASS][: len(names) + bool(counts[:, -1].any())]
    return counts[:, : len(columns)], columns


def write_confusion(path: Path, probabilities: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    """See `confusion`."""
    counts, columns = confusion(probabilities, labels, names)
    rows = [(name, *row) for name, row in zip(names, counts.tolist(), strict=True)]
    write_table(path, ["label \\ predicted", *columns], rows)


def first_convolution(model: nn.Module) -> nn.Conv2d | None:
    """The convolution that reads the picture; None for a network without."""
    return next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)


def first_maps(convolution: nn.Conv2d, example: Tensor, count: int) -> Tensor:
    """The first so many maps (count, height, width) of an example (1, channels, height, width), before ReLU."""
    with torch.inference_mode():
        maps: Tensor = convolution(example.to(convolution.weight))
    return maps.float().cpu()[0, :count]


@component("grey_image_evaluation", "1.0", uses=(summarise_curves,))
@dataclass
class GreyEvaluation(ImageEvaluation):
    """As `ImageEvaluation`, and under rotation and scaling; a network may also be without convolutions.

    ``test/accuracy_rotation_A`` is the mean over both directions, ``test/accuracy_scale_S`` over enlarging and reducing
    by S. Pictures are transformed before they are arranged for the network (see `transform`).

    Args (beside those of `ImageEvaluation`):
        rotations: Angles in degrees.
        scales: Factors above 1.
    """

    rotations: Sequence[Annotated[float, Gt(0), Le(45)]] = (5, 10, 15, 20)
    scales: Sequence[Annotated[float, Gt(1), Le(2)]] = (1.1, 1.2, 1.3)

    def __call__(
        self, trainer: pl.Trainer, task: ImageClassification, data: PictureDataModule, last: Weights, best: Weights
    ) -> tuple[dict[str, float], Tensor]:
        """Metrics by name, and the last epoch's class probabilities on the test split, (pictures, outputs)."""
        metrics, probabilities = super().__call__(trainer, task, data, last, best)

        def accuracy(angle: float = 0, scale: float = 1) -> float:
            loader = data.evaluation_dataloader("test", partial(transform, angle=angle, scale=scale))
            return tested(trainer, task, loader)["test/accuracy"]

        unmoved = metrics["test/accuracy_shift_0"]
        metrics |= {"test/accuracy_rotation_0": unmoved, "test/accuracy_scale_1": unmoved}
        for angle in self.rotations:
            doing(f"testing: rotated by {angle:g} degrees")
            both = accuracy(angle=angle), accuracy(angle=-angle)
            metrics[f"test/accuracy_rotation_{angle:g}"] = sum(both) / 2
        for scale in self.scales:
            doing(f"testing: scaled by {scale:g}")
            both = accuracy(scale=scale), accuracy(scale=1 / scale)
            metrics[f"test/accuracy_scale_{scale:g}"] = sum(both) / 2
        if first_convolution(task.model) is None:
            del metrics["model/receptive_field"]
        return metrics, probabilities

    def write_maps(self, path: Path, convolution: nn.Conv2d, data: PictureDataModule) -> None:
        """The picture of ``data.example()``, and beside it the first eight maps (before ReLU), four in a row.

        Each is scaled to 0-1.
        """
        picture, example = data.example()
        maps = _resized(first_maps(convolution, example, 8)[:, None], TILE)
        grid = make_grid(maps, nrow=4, normalize=True, scale_each=True)
        side = grid.shape[1] // TILE * TILE
        original = _resized(picture.permute(2, 0, 1)[None].float() / 255, side)[0].expand(3, -1, -1)
        save_image(torch.cat([nn.functional.pad(original, [(grid.shape[1] - side) // 2] * 4), grid], dim=2), path)


def _resized(pictures: Tensor, side: int) -> Tensor:
    return nn.functional.interpolate(pictures, size=(side, side), mode="nearest-exact")


def transform(pictures: Tensor, *, angle: float = 0, scale: float = 1) -> Tensor:
    """Pictures (N, height, width, channels) of uint8, turned clockwise by degrees and then enlarged, bilinearly.

    As under shifts, the rim repeats the nearest pixel.
    """
    size = list(pictures.shape[1:3])
    padded = transforms.pad(pictures.permute(0, 3, 1, 2), [side // 2 for side in reversed(size)], padding_mode="edge")
    moved = transforms.affine(
        padded, angle=angle, translate=[0, 0], scale=scale, shear=[0, 0], interpolation=InterpolationMode.BILINEAR
    )
    cropped: Tensor = transforms.center_crop(moved, size)
    return cropped.permute(0, 2, 3, 1)


# --- retrieval --------------------------------------------------------------------------------------------------------


@component("retrieval_evaluation", "1.0", uses=(summarise_curves,))
@dataclass
class RetrievalEvaluation:
    """Retrieve corrupted copies of what the last epoch stored.

    Args:
        examples: How many queries to show in ``before_after.png``.
    """

    examples: Annotated[int, Ge(0)] = 4

    def __call__(
        self, trainer: pl.Trainer, task: PictureRetrieval, data: Any, last: Weights, best: Weights
    ) -> tuple[dict[str, float], RetrievalResult]:
        """`dlbench.tasks.retrieval.RetrievalResult.metrics` and ``model/load``, the patterns a neuron; and the result.

        Neither the data nor the best epoch's weights are asked for.
        """
        doing("testing: retrieving")
        task.load_state_dict(last, assign=True)  # in the precision it was stored in
        task.to(trainer.strategy.root_device).eval()
        with torch.inference_mode():
            result = task.retrieve("test")
        return result.metrics("test", task.tolerance) | {"model/load": task.model.load}, result

    def write(self, folder: Path, task: PictureRetrieval, data: Any, result: RetrievalResult) -> None:
        """Write ``predictions.csv`` and ``artifacts/before_after.png``.

        The table has one row a query, in the order of storing, with distances to six decimals: see `RetrievalResult`.
        The picture has one column a query, at twice its size: see `queries_beside_patterns`.
        """
        columns: dict[str, Any] = {
            "index": range(len(result.steps)),
            "nearest_before": result.nearest_before.tolist(),
            "distance_before": [f"{distance:.6f}" for distance in result.distance_before.tolist()],
            "nearest": result.nearest.tolist(),
            "distance": [f"{distance:.6f}" for distance in result.distance.tolist()],
            "steps": result.steps.tolist(),
            "converged": result.converged.int().tolist(),
            "retrieved": result.retrieved(task.tolerance).int().tolist(),
        }
        write_table(folder / "predictions.csv", list(columns), zip(*columns.values(), strict=True))
        if self.examples:
            shown = queries_beside_patterns(result, self.examples)
            enlarged = nn.functional.interpolate(shown.flatten(0, 1), scale_factor=2, mode="nearest-exact")
            grid = make_grid(enlarged, nrow=shown.shape[1], pad_value=1)
            save_image(grid, folder / "artifacts" / "before_after.png")


def queries_beside_patterns(result: RetrievalResult, count: int) -> Tensor:
    """The first patterns, their corrupted copies, and what was retrieved, (3, queries, channels, height, width).

    The three are shown on the scale of the first, from its darkest pixel, 0, to its brightest, 1; the rest is cut off.
    """
    shown = torch.stack([result.patterns, result.queries, result.states])[:, :count].float().cpu()
    low, high = shown[0].amin(dim=(1, 2, 3), keepdim=True), shown[0].amax(dim=(1, 2, 3), keepdim=True)
    return ((shown - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
