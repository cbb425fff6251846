"""What is measured of a filled Hopfield network, and what is kept of its retrieval."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torchvision.utils import make_grid, save_image

from dlbench.components import component
from dlbench.records import history
from dlbench.tasks.retrieval import PictureRetrieval, Recall

Weights = Mapping[str, Tensor]

COLUMNS = ("index", "nearest_before", "distance_before", "nearest", "distance", "steps", "converged", "retrieved")


@component("retrieval_evaluation", "1.0", uses=(history.summarise,))
class RetrievalEvaluation:
    """Retrieve corrupted copies of what the last epoch stored.

    Args:
        examples: How many queries to show in ``before_after.png``.
    """

    def __init__(self, examples: Annotated[int, Ge(0)] = 4) -> None:
        self.examples = examples

    def __call__(
        self, trainer: pl.Trainer, task: PictureRetrieval, data: Any, last: Weights, best: Weights
    ) -> tuple[dict[str, float], Recall]:
        """`dlbench.tasks.retrieval.Recall.metrics` and ``model/load``, the patterns a neuron; and what was recalled.

        Args:
            trainer: Gives the device.
            task: The task; what it has stored is replaced.
            data: Not asked for anything.
            last: What was stored after the last epoch.
            best: Not asked for.
        """
        task.load_state_dict(last, assign=True)  # in the precision it was stored in
        task.to(trainer.strategy.root_device).eval()
        with torch.inference_mode():
            recalled = task.recall("test")
        return recalled.metrics("test", task.tolerance) | {"model/load": task.model.load}, recalled

    def write(self, folder: Path, task: PictureRetrieval, data: Any, recalled: Recall) -> None:
        """Write ``predictions.csv`` and ``artifacts/before_after.png``."""
        write_predictions(folder / "predictions.csv", recalled, task.tolerance)
        if self.examples:
            write_before_after(folder / "artifacts" / "before_after.png", recalled, self.examples)


def write_predictions(path: Path, recalled: Recall, tolerance: float) -> None:
    """One row a query, in the order of storing: see `dlbench.tasks.retrieval.Recall`; distances to six decimals."""
    columns = [
        range(len(recalled.steps)),
        recalled.nearest_before.tolist(),
        [f"{distance:.6f}" for distance in recalled.distance_before.tolist()],
        recalled.nearest.tolist(),
        [f"{distance:.6f}" for distance in recalled.distance.tolist()],
        recalled.steps.tolist(),
        recalled.converged.int().tolist(),
        recalled.retrieved(tolerance).int().tolist(),
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(zip(*columns, strict=True))


def write_before_after(path: Path, recalled: Recall, count: int) -> None:
    """A column a query, at twice its size: the stored pattern, its corrupted copy, what was retrieved."""
    shown = before_after(recalled, count)
    enlarged = nn.functional.interpolate(shown.flatten(0, 1), scale_factor=2, mode="nearest-exact")
    save_image(make_grid(enlarged, nrow=shown.shape[1], pad_value=1), path)


def before_after(recalled: Recall, count: int) -> Tensor:
    """Stored patterns, their corrupted copies, and what was retrieved, (3, queries, channels, height, width).

    The three are shown on the scale of the first, from its darkest pixel, 0, to its brightest, 1; the rest is cut off.

    Args:
        recalled: What was recalled.
        count: How many queries, at most, the first ones.
    """
    shown = torch.stack([recalled.patterns, recalled.queries, recalled.states])[:, :count].float().cpu()
    low, high = shown[0].amin(dim=(1, 2, 3), keepdim=True), shown[0].amax(dim=(1, 2, 3), keepdim=True)
    return ((shown - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
