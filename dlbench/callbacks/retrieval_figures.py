"""Pictures of what a Hopfield network retrieves, each an array (height, width, 3) of uint8."""

from torch import Tensor
from torchvision.utils import make_grid

from dlbench.callbacks.figures import INCHES, Image, blank, pixels

ROWS = ("stored", "corrupted", "retrieved")


def before_after(shown: Tensor, marks: list[bool], about: str) -> Image:
    """A column a query: the stored pattern, its corrupted copy, what was retrieved, and whether that is right.

    Args:
        shown: (3, queries, channels, height, width), 0 to 1.
        marks: For each query, whether it was retrieved.
        about: What the picture is of.
    """
    _, count, _, height, width = shown.shape
    gap = 2
    grid = make_grid(shown.flatten(0, 1), nrow=count, padding=gap, pad_value=1.0)
    figure = blank(INCHES * max(count, 3) + 0.9, INCHES * 3 * height / width + 0.9)
    axes = figure.add_subplot()
    axes.imshow(grid.permute(1, 2, 0).numpy())
    axes.set_yticks([gap + (row + 0.5) * (height + gap) for row in range(3)], ROWS)
    columns = [gap + (column + 0.5) * (width + gap) for column in range(count)]
    axes.set_xticks(columns, ["right" if mark else "wrong" for mark in marks])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    axes.set_title(about, fontsize=11)
    return pixels(figure)
