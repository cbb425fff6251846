"""What a classifier does with pictures, and what a Hopfield network retrieves, in TensorBoard at chosen epochs."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torchvision.utils import make_grid

from dlbench.callbacks.base import ChosenEpochs, Image, blank, caption, log, pixels
from dlbench.components import component
from dlbench.evaluation.images import (
    confusion,
    first_convolution,
    first_maps,
    names_of_outputs,
    queries_beside_patterns,
)
from dlbench.tasks.image_classification import ImageClassification
from dlbench.tasks.retrieval import PictureRetrieval

Tile = tuple[str, npt.NDArray[Any]] | None
"""A label, and a picture (height, width), (height, width, 1) or (height, width, 3); or an empty place."""

INCHES = 1.3
"""Side of a picture."""


def confusion_matrix(probabilities: Tensor, labels: Tensor, names: Sequence[str], about: str) -> Image:
    """Counts, a row a true class and a column a predicted one, shaded by the share of the row; see `confusion`."""
    counted, columns = confusion(probabilities, labels, names)
    counts = counted.numpy()
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    accuracy = (probabilities.argmax(dim=1) == labels).double().mean().item()

    figure = blank(5.0, 4.9)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, count, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{about}\naccuracy {accuracy:.4f}, rows shaded by share", fontsize=11)
    return pixels(figure)


def mistakes(
    probabilities: Tensor, labels: Tensor, pictures: Image, names: Sequence[str], about: str, *, count: int
) -> Image:
    """Of the wrong predictions the ``count`` that the network gave the highest probability.

    Probabilities are (examples, outputs), labels (examples,), pictures (examples, height, width, channels).
    """
    confidence, predicted = probabilities.max(dim=1)
    wrong = (predicted != labels).nonzero()[:, 0]
    called = names_of_outputs(names, probabilities.shape[1])
    tiles = [
        (f"{names[int(labels[at])]} ->\n{called[int(predicted[at])]} {confidence[at]:.2f}", pictures[at])
        for at in wrong[confidence[wrong].argsort(descending=True, stable=True)][:count].tolist()
    ]
    return _grid(tiles, f"{about}\n{len(wrong)} mistakes of {len(labels)}, the most confident first", label_lines=2)


def activation_maps(picture: Image, example: Tensor, maps: Tensor, about: str) -> Image:
    """A picture (height, width, channels), the input (channels, height, width) made of it, and the first layer's maps.

    Maps are (maps, height, width); those of a grey picture stand beside it, four in a row, those of a coloured one
    below. Each has a grey scale of its own.
    """
    inputs = [(f"input {number}", channel) for number, channel in enumerate(example.numpy())]
    outputs: list[Tile] = [(f"map {number}", channel) for number, channel in enumerate(maps.numpy())]
    tiles: list[Tile] = [("picture", picture), *inputs]
    columns = len(tiles)
    if len(inputs) == 1:
        columns = 5
        rows = itertools.zip_longest(tiles, *(outputs[place::4] for place in range(4)))
        tiles = [tile for row in rows for tile in row]
    else:
        tiles += outputs
    return _grid(tiles, f"{about}\nfirst layer, before its nonlinearity", columns=columns)


def _grid(tiles: Sequence[Tile], title: str, *, columns: int = 4, label_lines: int = 1) -> Image:
    """Pictures in rows, each under its label, all in one set of axes: a set each would take five times as long."""
    height = 1 + 0.2 * label_lines
    rows = max(1, math.ceil(len(tiles) / columns))
    header = 0.55
    body = INCHES * height * rows
    figure = blank(INCHES * columns, body + header, constrained=False)
    axes = figure.add_axes((0.0, 0.0, 1.0, body / (body + header)))
    figure.suptitle(title, fontsize=11)
    for number, (label, tile) in ((number, tile) for number, tile in enumerate(tiles) if tile):
        left, bottom = number % columns, height * (number // columns + 1)
        white = 255 if tile.dtype == np.uint8 else None  # what is no picture has a grey scale of its own
        shown = tile[..., 0] if tile.ndim == 3 and tile.shape[2] == 1 else tile
        place = (left + 0.03, left + 0.97, bottom, bottom - 0.94)
        axes.imshow(shown, cmap="gray", vmin=0 if white else None, vmax=white, extent=place)
        axes.text(left + 0.5, bottom - 0.97, label, ha="center", va="bottom", fontsize=10)
    axes.set(xlim=(0, columns), ylim=(height * rows, 0))
    axes.set_axis_off()
    return pixels(figure)


@component("classifier_pictures", "1.0", display_only=True)
@dataclass(eq=False)
class ClassifierPictures(ChosenEpochs):
    """The confusion matrix, the most confident mistakes, and the first layer's maps beside their input.

    Another kind of task brings a callback of its own, in a file of ``conf/callbacks``.

    Args (beside those of `ChosenEpochs`):
        mistakes: How many mistakes to show.
        maps: How many of the first layer's maps to show.
    """

    shows = ImageClassification

    mistakes: Annotated[int, Gt(0)] = 12
    maps: Annotated[int, Ge(0)] = 16

    def draw(self, trainer: pl.Trainer, task: ImageClassification, outputs: list[Tensor]) -> None:
        """Log the pictures."""
        probabilities = torch.cat(outputs).softmax(dim=1)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        title, pictures = caption(trainer, data.pictures), data.pictures.splits()["val"]
        labels, names = torch.from_numpy(pictures.labels), data.class_names
        wrong = mistakes(probabilities, labels, pictures.images, names, title, count=self.mistakes)
        matrix = confusion_matrix(probabilities, labels, names, title)
        shown = {"confusion_matrix": matrix, "most_confident_mistakes": wrong}
        if self.maps and (convolution := first_convolution(task.model)):
            picture, example = data.example()
            split, position = data.shown
            of = caption(trainer, data.pictures, "validation" if split == "val" else f"training picture {position}")
            maps = first_maps(convolution, example, self.maps)
            shown["first_layer"] = activation_maps(picture.numpy(), example[0], maps, of)
        log(trainer, data.pictures, shown)


# --- retrieval --------------------------------------------------------------------------------------------------------


def before_after(shown: Tensor, marks: list[bool], about: str) -> Image:
    """A column a query: pattern, corrupted copy and what was retrieved (`queries_beside_patterns`); right or wrong."""
    _, count, _, height, width = shown.shape
    gap = 2  # pixels
    grid = make_grid(shown.flatten(0, 1), nrow=count, padding=gap, pad_value=1.0)
    figure = blank(INCHES * max(count, 3) + 0.9, INCHES * 3 * height / width + 0.9)
    axes = figure.add_subplot()
    axes.imshow(grid.permute(1, 2, 0).numpy())
    axes.set_yticks([gap + (row + 0.5) * (height + gap) for row in range(3)], ["stored", "corrupted", "retrieved"])
    columns = [gap + (column + 0.5) * (width + gap) for column in range(count)]
    axes.set_xticks(columns, ["right" if mark else "wrong" for mark in marks])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    axes.set_title(about, fontsize=11)
    return pixels(figure)


@component("retrieval_pictures", "1.0", display_only=True)
@dataclass(eq=False)
class RetrievalPictures(ChosenEpochs):
    """Stored pictures, their corrupted copies, and what was retrieved.

    Args (beside those of `ChosenEpochs`):
        examples: How many queries to show.
    """

    shows = PictureRetrieval
    needs_outputs = False

    epochs: Sequence[Annotated[int, Gt(0)]] = (1,)
    examples: Annotated[int, Gt(0)] = 8

    def draw(self, trainer: pl.Trainer, task: PictureRetrieval, outputs: list[Any]) -> None:
        """Log the picture."""
        result = task.last_result
        assert result is not None
        pictures: Any = trainer.datamodule.pictures  # type: ignore[attr-defined]
        retrieved = result.retrieved(task.tolerance)
        right = f"{int(retrieved.sum())} of {len(retrieved)} retrieved"
        title = f"{caption(trainer, pictures, of='stored pictures')}\n"
        title += f"{task.model.patterns} patterns, {task.corruption} {task.amount:g}: {right}"
        shown = queries_beside_patterns(result, self.examples)
        log(trainer, pictures, {"before_after": before_after(shown, retrieved[: self.examples].tolist(), title)})
