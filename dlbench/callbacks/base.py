"""What callbacks share that show a validation after chosen epochs."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
from torch import Tensor

from dlbench.decoding.hypotheses import Decoder, Hypotheses, StepModel
from dlbench.records.labels import SYNTHETIC, reserve
from dlbench.tasks.transduction import Decoded


class ChosenEpochs(pl.Callback):
    """Listens to the validation that Lightning makes anyway, and shows what it heard.

    So it costs no pass over the data and no random number: a training is the same to the bit with it and without.

    Args:
        epochs: After which epochs, counted from 1. The last epoch is always one of them, unless there are none.
    """

    shows: ClassVar[type[pl.LightningModule]]
    """The kind of task it is for."""

    def __init__(self, epochs: Sequence[int]) -> None:
        self.epochs = frozenset(epochs)
        self._is_listening = False

    @abstractmethod
    def listen(self, task: Any) -> None:
        """Begin to keep what the validation gives."""

    @abstractmethod
    def stop(self, task: Any) -> None:
        """Leave the task as it was."""

    @abstractmethod
    def draw(self, trainer: pl.Trainer, task: Any) -> None:
        """Log what was heard, with the epoch as step, and forget it."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to listen, if this epoch is one to show."""
        epoch = trainer.current_epoch + 1
        if self.epochs and trainer.loggers and (epoch in self.epochs or epoch == trainer.max_epochs):
            self._is_listening = True
            self.listen(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show."""
        if self._is_listening:
            self._stop(pl_module)
            self.draw(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Stop listening."""
        if self._is_listening:
            self._stop(pl_module)

    def _stop(self, task: pl.LightningModule) -> None:
        self._is_listening = False
        self.stop(task)


def about(trainer: pl.Trainer, data: Mapping[str, Any], of: str = "validation") -> str:
    """What a picture is of, and of what data, where that is not the verified one.

    Args:
        trainer: It knows the epoch.
        data: See `dlbench.records.labels.reserve`.
        of: What is shown.
    """
    said = f", {SYNTHETIC}" if data["source"] == "synthetic" else reserve(data)
    return f"{of}, epoch {trainer.current_epoch + 1}{said}"


def folder(data: Mapping[str, Any]) -> str:
    """Under which name TensorBoard keeps the pictures together; see `dlbench.records.labels.reserve`."""
    return f"pictures{reserve(data)}"


def writers(trainer: pl.Trainer) -> Iterator[Any]:
    """The SummaryWriter of each TensorBoard logger."""
    for logger in trainer.loggers:
        if isinstance(logger, pl.loggers.TensorBoardLogger):
            yield logger.experiment


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
