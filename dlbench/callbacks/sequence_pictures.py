"""What a transducer writes on the validation split, as pictures and a table in TensorBoard at chosen epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

import pytorch_lightning as pl
from annotated_types import Ge, Gt
from torch import Tensor

from dlbench.callbacks.chosen_epochs import about, folder, writers
from dlbench.callbacks.overheard import DecodedPictures
from dlbench.components import component
from dlbench.data.pairs import PairSet
from dlbench.tasks.transduction import Decoded, Transduction
from dlbench.tasks.transduction_evaluation import END, Prediction, collect
from dlbench.tensorboard.events import text


@component("transduction_pictures", "1.0", display_only=True)
class TransductionPictures(DecodedPictures):
    """Attention of the first validation pairs, a table of predictions, and the error rate by length.

    A model without attention gets no attention maps.

    Args:
        epochs: See `ChosenEpochs`.
        attention: How many pairs' attention to show.
        samples: How many pairs to show in the table.
    """

    shows = Transduction

    def __init__(
        self,
        epochs: Sequence[Annotated[int, Gt(0)]] = (1, 5, 10, 20, 40),
        attention: Annotated[int, Ge(0)] = 6,
        samples: Annotated[int, Gt(0)] = 20,
    ) -> None:
        super().__init__(epochs)
        self.attention, self.samples = attention, samples

    def show(self, trainer: pl.Trainer, heard: Sequence[Decoded]) -> None:
        """Log the pictures and the table."""
        from dlbench.callbacks import sequence_figures as figures  # matplotlib takes a while to import

        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        predictions = collect(heard, data.pairs("val"), data.target_vocabulary, data.reverse_source)
        pairs: PairSet = data.pair_set
        facts, epoch = {"source": pairs.source, "provenance": pairs.provenance}, trainer.current_epoch + 1
        place, title = folder(facts), about(trainer, facts)
        joiners = pairs.source_joiner, pairs.target_joiner
        written = [figures.Written(*_written(prediction)) for prediction in predictions]
        shown = {"error_by_length": figures.error_by_length(written, title)}
        attended = [example for example in written[: self.attention] if example.attention is not None]
        if attended:
            shown["attention"] = figures.attention_maps(attended, title, joiner=joiners[1], end=END)
        table = figures.sample_table(written[: self.samples], title, joiners)
        for writer in writers(trainer):
            for name, image in shown.items():
                writer.add_image(f"{place}/{name}", image, epoch, dataformats="HWC")
            writer.file_writer.add_summary(text(f"{place}/sample_predictions", table), epoch)


def _written(prediction: Prediction) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Tensor | None]:
    """Source, reference, hypothesis without its end, and attention."""
    return prediction.pair.source, prediction.pair.target, prediction.texts[0], prediction.attention
