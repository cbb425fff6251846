"""What callbacks share that show what a validation decodes."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from dlbench.callbacks.chosen_epochs import ChosenEpochs
from dlbench.decoding.hypotheses import Decoder, Hypotheses, StepModel
from dlbench.tasks.transduction import Decoded


class DecodedPictures(ChosenEpochs):
    """Keeps what the task's decoder writes in a validation, and shows it.

    Args:
        epochs: See `ChosenEpochs`.
    """

    def __init__(self, epochs: Sequence[int]) -> None:
        super().__init__(epochs)
        self._decoder: Any = None
        self._heard: list[Decoded] = []

    @abstractmethod
    def show(self, trainer: pl.Trainer, heard: Sequence[Decoded]) -> None:
        """Log what was decoded, with the epoch as step."""

    def listen(self, task: Any) -> None:
        """Keep what validation decodes."""
        self._heard = []
        self._decoder, task.decoder = task.decoder, overheard(task.decoder, self._heard)

    def stop(self, task: Any) -> None:
        """Give the task its own decoder back."""
        task.decoder = self._decoder

    def draw(self, trainer: pl.Trainer, task: Any) -> None:
        """Show what was heard, and forget it."""
        heard, self._heard = self._heard, []
        if all(hypotheses.log_probs.isfinite().all() for _, hypotheses in heard):  # else the run ends as diverged
            self.show(trainer, heard)


def overheard(decoder: Decoder, heard: list[Decoded]) -> Decoder:
    """The same decoder, whose results also go into ``heard``."""

    def decode(model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        hypotheses = decoder(model, source, lengths, index, seed)
        on_cpu = Hypotheses(*(None if part is None else part.cpu() for part in hypotheses))  # type: ignore[arg-type]
        heard.append(Decoded(index.cpu(), on_cpu))
        return hypotheses

    return decode
