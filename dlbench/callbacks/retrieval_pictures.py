"""What a Hopfield network retrieves, as pictures in TensorBoard at chosen epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

import pytorch_lightning as pl
from annotated_types import Gt

from dlbench.callbacks.chosen_epochs import ChosenEpochs, about, folder, writers
from dlbench.components import component
from dlbench.tasks.retrieval import PictureRetrieval
from dlbench.tasks.retrieval_evaluation import before_after


@component("retrieval_pictures", "1.0", display_only=True)
class RetrievalPictures(ChosenEpochs):
    """Stored pictures, their corrupted copies, and what was retrieved.

    Args:
        epochs: See `ChosenEpochs`.
        examples: How many queries to show.
    """

    shows = PictureRetrieval

    def __init__(self, epochs: Sequence[Annotated[int, Gt(0)]] = (1,), examples: Annotated[int, Gt(0)] = 8) -> None:
        super().__init__(epochs)
        self.examples = examples

    def listen(self, task: Any) -> None:
        """The task keeps what it recalls."""

    def stop(self, task: Any) -> None:
        """There is nothing to undo."""

    def draw(self, trainer: pl.Trainer, task: PictureRetrieval) -> None:
        """Log the picture."""
        from dlbench.callbacks import retrieval_figures as figures  # matplotlib takes a while to import

        recalled = task.recalled
        assert recalled is not None
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        facts = {"source": data.pictures.source, "provenance": data.pictures.provenance}
        retrieved = recalled.retrieved(task.tolerance)
        title = (
            f"{about(trainer, facts, of='stored pictures')}\n"
            f"{task.model.patterns} patterns, {task.corruption} {task.amount:g}: {int(retrieved.sum())} of "
            f"{len(retrieved)} retrieved"
        )
        marks = retrieved[: self.examples].tolist()
        image = figures.before_after(before_after(recalled, self.examples), marks, title)
        for writer in writers(trainer):
            writer.add_image(f"{folder(facts)}/before_after", image, trainer.current_epoch + 1, dataformats="HWC")
