"""What a Hopfield network retrieves, as pictures in TensorBoard at chosen epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

import pytorch_lightning as pl
from annotated_types import Gt
from torch import Tensor
from torchvision.utils import make_grid

from dlbench.callbacks.base import ChosenEpochs, Image, blank, caption, log, pixels
from dlbench.callbacks.image_pictures import INCHES
from dlbench.components import component
from dlbench.evaluation import retrieval
from dlbench.tasks.retrieval import PictureRetrieval


def before_after(shown: Tensor, marks: list[bool], about: str) -> Image:
    """A column a query: the stored pattern, its corrupted copy, what was retrieved, and whether that is right.

    Args:
        shown: (3, queries, channels, height, width), 0 to 1.
        marks: For each query, whether it was retrieved.
        about: What the picture is of.
    """
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
class RetrievalPictures(ChosenEpochs):
    """Stored pictures, their corrupted copies, and what was retrieved.

    Args (beside those of `ChosenEpochs`):
        examples: How many queries to show.
    """

    shows = PictureRetrieval

    def __init__(self, epochs: Sequence[Annotated[int, Gt(0)]] = (1,), examples: Annotated[int, Gt(0)] = 8) -> None:
        super().__init__(epochs)
        self.examples = examples

    def draw(self, trainer: pl.Trainer, task: PictureRetrieval) -> None:
        """Log the picture."""
        result = task.last_result
        assert result is not None
        pictures: Any = trainer.datamodule.pictures  # type: ignore[attr-defined]
        retrieved = result.retrieved(task.tolerance)
        title = (
            f"{caption(trainer, pictures, of='stored pictures')}\n"
            f"{task.model.patterns} patterns, {task.corruption} {task.amount:g}: {int(retrieved.sum())} of "
            f"{len(retrieved)} retrieved"
        )
        marks = retrieved[: self.examples].tolist()
        image = before_after(retrieval.before_after(result, self.examples), marks, title)
        log(trainer, pictures, {"before_after": image})
