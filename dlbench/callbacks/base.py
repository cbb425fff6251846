"""What callbacks share that show a validation after chosen epochs, and how they draw."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
from annotated_types import Gt
from lightning_fabric.utilities import move_data_to_device
from tensorboard.plugins.text.summary_v2 import text_pb
from torch import Tensor
from torch.utils._pytree import tree_leaves

from dlbench.records.labels import SYNTHETIC, data_caveat
from dlbench.terminal import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # takes a while to import, and few runs draw

Image = npt.NDArray[np.uint8]


@dataclass(eq=False)
class ChosenEpochs(pl.Callback):
    """Shows what the steps of the validation give that Lightning makes anyway.

    So it costs no pass over the data and no random number: a training is the same to the bit with it and without. Where
    something given is not finite nothing is shown: the run ends as diverged.

    Args:
        epochs: After which epochs, counted from 1. The last epoch is always one of them, unless there are none.
    """

    shows: ClassVar[type[pl.LightningModule]]
    """The kind of task it is for."""

    needs_outputs: ClassVar[bool] = True
    """Whether it shows what the steps give."""

    epochs: Sequence[Annotated[int, Gt(0)]] = (1, 5, 10, 20, 40)
    _outputs: list[Any] | None = field(default=None, init=False, repr=False)
    _has_told: bool = field(default=False, init=False, repr=False)

    @abstractmethod
    def draw(self, trainer: pl.Trainer, task: Any, outputs: list[Any]) -> None:
        """Show, with `log`, what the task's ``validation_step`` gave for each batch, on the CPU."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to keep, if this epoch is one to show."""
        epoch = trainer.current_epoch + 1
        is_chosen = self.epochs and (epoch in self.epochs or epoch == trainer.max_epochs)
        is_chosen = is_chosen and any(isinstance(logger, pl.loggers.TensorBoardLogger) for logger in trainer.loggers)
        self._outputs = [] if is_chosen else None

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Keep what the step gave."""
        if self._outputs is not None and outputs is not None:
            self._outputs.append(move_data_to_device(outputs, "cpu"))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show."""
        outputs, self._outputs = self._outputs, None
        tensors = [part for part in tree_leaves(outputs) if isinstance(part, Tensor)]
        if outputs == [] and self.needs_outputs:
            if not self._has_told:
                say(f"no pictures: {type(pl_module).__name__}.validation_step returns nothing to show")
            self._has_told = True
        elif outputs is not None and all(part.isfinite().all() for part in tensors):
            self.draw(trainer, pl_module, outputs)


def caption(trainer: pl.Trainer, data: Any, of: str = "validation") -> str:
    """What a picture is of, after which epoch, and of what data, where that is not the verified one."""
    caveat = f", {SYNTHETIC}" if data.source == "synthetic" else _caveat(data)
    return f"{of}, epoch {trainer.current_epoch + 1}{caveat}"


def log(
    trainer: pl.Trainer,
    data: Any,
    images: Mapping[str, Image],
    *,
    tables: Mapping[str, str] | None = None,
    sounds: Mapping[str, tuple[Tensor, int]] | None = None,
) -> None:
    """Write to TensorBoard, with the epoch as step and in a folder that names the data where it is not the verified.

    Tables are in Markdown; sounds are samples (count,) and how many make a second.
    """
    epoch, folder = trainer.current_epoch + 1, f"pictures{_caveat(data)}"
    for logger in trainer.loggers:
        if isinstance(logger, pl.loggers.TensorBoardLogger):
            writer: Any = logger.experiment
            for name, image in images.items():
                writer.add_image(f"{folder}/{name}", image, epoch, dataformats="HWC")
            for name, table in (tables or {}).items():
                writer.file_writer.add_summary(text_pb(f"{folder}/{name}", table), epoch)
            for name, (samples, rate) in (sounds or {}).items():
                writer.add_audio(f"{folder}/{name}", samples[None], epoch, sample_rate=rate)


def _caveat(data: Any) -> str:
    return data_caveat({"source": data.source, "provenance": data.provenance})


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
