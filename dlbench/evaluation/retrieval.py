"""What is measured of a filled Hopfield network, and what is kept of its retrieval."""

from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torchvision.utils import make_grid, save_image

from dlbench.components import component
from dlbench.evaluation import write_table
from dlbench.protocols import Weights
from dlbench.records import history
from dlbench.tasks.retrieval import PictureRetrieval, RetrievalResult


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
    ) -> tuple[dict[str, float], RetrievalResult]:
        """`dlbench.tasks.retrieval.RetrievalResult.metrics` and ``model/load``, the patterns a neuron; and the result.

        Neither the data nor the best epoch's weights are asked for.
        """
        task.load_state_dict(last, assign=True)  # in the precision it was stored in
        task.to(trainer.strategy.root_device).eval()
        with torch.inference_mode():
            result = task.retrieve("test")
        return result.metrics("test", task.tolerance) | {"model/load": task.model.load}, result

    def write(self, folder: Path, task: PictureRetrieval, data: Any, result: RetrievalResult) -> None:
        """Write ``predictions.csv`` and ``artifacts/before_after.png``.

        The table has one row a query, in the order of storing, with distances to six decimals: see `RetrievalResult`.
        The picture has one column a query, at twice its size: see `before_after`.
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
            shown = before_after(result, self.examples)
            enlarged = nn.functional.interpolate(shown.flatten(0, 1), scale_factor=2, mode="nearest-exact")
            grid = make_grid(enlarged, nrow=shown.shape[1], pad_value=1)
            save_image(grid, folder / "artifacts" / "before_after.png")


def before_after(result: RetrievalResult, count: int) -> Tensor:
    """Stored patterns, their corrupted copies, and what was retrieved, (3, queries, channels, height, width).

    The three are shown on the scale of the first, from its darkest pixel, 0, to its brightest, 1; the rest is cut off.

    Args:
        result: What was retrieved.
        count: How many queries, at most, the first ones.
    """
    shown = torch.stack([result.patterns, result.queries, result.states])[:, :count].float().cpu()
    low, high = shown[0].amin(dim=(1, 2, 3), keepdim=True), shown[0].amax(dim=(1, 2, 3), keepdim=True)
    return ((shown - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
