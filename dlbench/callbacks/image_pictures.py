"""What a classifier does on the validation split, as pictures in TensorBoard at chosen epochs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from dlbench.callbacks.base import ChosenEpochs, about, folder, writers
from dlbench.components import component
from dlbench.data.image_files import Pictures
from dlbench.evaluation.images import first_convolution
from dlbench.tasks.image_classification import ImageClassification

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # takes a while to import, and few runs draw

Image = npt.NDArray[np.uint8]
Tile = tuple[str, npt.NDArray[Any]] | None
"""A label, and a picture (height, width), (height, width, 1) or (height, width, 3); or an empty place."""

NO_CLASS = "no class"
INCHES = 1.3


def confusion_matrix(probabilities: Tensor, labels: Tensor, names: Sequence[str], about: str) -> Image:
    """Counts, a row a true class and a column a predicted one, shaded by the share of the row.

    Args:
        probabilities: (examples, outputs); outputs that stand for no class share a last column, if any was predicted.
        labels: (examples,).
        names: The classes.
        about: What the picture is of.
    """
    predicted = probabilities.argmax(dim=1).clamp(max=len(names))
    counts = multiclass_confusion_matrix(predicted, labels, num_classes=len(names) + 1)[: len(names)].numpy()
    columns = [*names, NO_CLASS][: len(names) + bool(counts[:, -1].any())]
    counts = counts[:, : len(columns)]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    accuracy = (predicted == labels).double().mean().item()

    figure, axes = _figure(5.0, 4.9)
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
    """The wrong predictions that the network gave the highest probability, the most confident first.

    Args:
        probabilities: (examples, outputs).
        labels: (examples,).
        pictures: (examples, height, width, channels), as a person sees them.
        names: The classes.
        about: What the picture is of.
        count: How many to show at most.
    """
    confidence, predicted = probabilities.max(dim=1)
    wrong = (predicted != labels).nonzero()[:, 0]
    chosen = wrong[confidence[wrong].argsort(descending=True, stable=True)][:count].tolist()
    shown_names = [*names, *[NO_CLASS] * (probabilities.shape[1] - len(names))]
    tiles = [
        (
            f"{names[int(labels[index])]} ->\n{shown_names[int(predicted[index])]} {confidence[index]:.2f}",
            pictures[index],
        )
        for index in chosen
    ]
    return _grid(tiles, f"{about}\n{len(wrong)} mistakes of {len(labels)}, the most confident first", label_lines=2)


def activation_maps(picture: Image, example: Tensor, maps: Tensor, about: str) -> Image:
    """A picture, the network's input made from it, channel by channel, and the first convolution's outputs.

    Those of a grey picture stand beside it, four in a row; those of a coloured one below.

    Args:
        picture: (height, width, channels), as a person sees it.
        example: (channels, height, width), as the network gets it.
        maps: (maps, height, width), before the nonlinearity; each has a grey scale of its own.
        about: What the picture is of.
    """
    inputs = [(f"input {number}", channel) for number, channel in enumerate(example.numpy())]
    outputs: list[Tile] = [(f"map {number}", channel) for number, channel in enumerate(maps.numpy())]
    tiles: list[Tile] = [("picture", picture), *inputs]
    columns = len(tiles)
    if len(inputs) == 1:
        columns = 5
        rows = max(len(tiles), math.ceil(len(outputs) / 4))
        tiles += [None] * (rows - len(tiles))
        outputs += [None] * (4 * rows - len(outputs))
        tiles = [tile for row in range(rows) for tile in (tiles[row], *outputs[4 * row : 4 * row + 4])]
    else:
        tiles += outputs
    return _grid(tiles, f"{about}\nfirst layer, before its nonlinearity", columns=columns)


def _grid(tiles: Sequence[Tile], title: str, *, columns: int = 4, label_lines: int = 1) -> Image:
    """Pictures in rows, each under its label, all in one set of axes: a set each would take five times as long."""
    height = 1 + 0.2 * label_lines
    rows = max(1, math.ceil(len(tiles) / columns))
    header = 0.55
    body = INCHES * height * rows
    figure, axes = _figure(INCHES * columns, body + header, (0.0, 0.0, 1.0, body / (body + header)))
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


def blank(width: float, height: float, *, constrained: bool = True) -> "Figure":
    """A figure in inches of 100 pixels, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)
    return figure


def pixels(figure: "Figure") -> Image:
    """A figure drawn."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _figure(
    width: float, height: float, place: tuple[float, float, float, float] | None = None
) -> tuple["Figure", Any]:
    """A blank figure and its axes, at ``place`` or laid out."""
    figure = blank(width, height, constrained=place is None)
    return figure, figure.add_axes(place) if place else figure.add_subplot()


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
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        pictures: Pictures = data.pictures.splits()["val"]
        facts = {"source": data.pictures.source, "provenance": data.pictures.provenance}
        title, labels = about(trainer, facts), torch.from_numpy(pictures.labels)
        shown = {
            "confusion_matrix": confusion_matrix(probabilities, labels, data.class_names, title),
            "most_confident_mistakes": mistakes(
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
            shown["first_layer"] = activation_maps(picture.numpy(), example[0], maps, of)
        for writer in writers(trainer):
            for name, image in shown.items():
                writer.add_image(f"{folder(facts)}/{name}", image, trainer.current_epoch + 1, dataformats="HWC")
