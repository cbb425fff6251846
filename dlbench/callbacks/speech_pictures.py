"""What a recogniser hears and writes on the validation split, in TensorBoard at chosen epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

import pytorch_lightning as pl
from annotated_types import Gt

from dlbench.callbacks.chosen_epochs import about, folder, writers
from dlbench.callbacks.overheard import DecodedPictures
from dlbench.components import component
from dlbench.data.log_mel import RATE
from dlbench.tasks.speech import SpeechRecognition
from dlbench.tasks.speech_evaluation import collect
from dlbench.tasks.transduction import Decoded
from dlbench.tensorboard.events import text


@component("speech_pictures", "1.0", display_only=True)
class SpeechPictures(DecodedPictures):
    """Spectrograms above their alignments, the sound itself, and a table of transcripts beside the reference.

    Args:
        epochs: See `ChosenEpochs`.
        examples: How many utterances to show in pictures and to play.
        samples: How many to show in the table.
    """

    shows = SpeechRecognition

    def __init__(
        self,
        epochs: Sequence[Annotated[int, Gt(0)]] = (1, 5, 10, 20, 40),
        examples: Annotated[int, Gt(0)] = 3,
        samples: Annotated[int, Gt(0)] = 20,
    ) -> None:
        super().__init__(epochs)
        self.examples, self.samples = examples, samples
        self._played = False

    def show(self, trainer: pl.Trainer, heard: Sequence[Decoded]) -> None:
        """Log the pictures, the table and, once a training, the sound."""
        from dlbench.callbacks import speech_figures as figures  # matplotlib takes a while to import

        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        transcripts = collect(heard, data.utterances("val"), data.vocabulary)
        facts = {"source": data.speech.source, "provenance": data.speech.provenance}
        epoch = trainer.current_epoch + 1
        place, title = folder(facts), about(trainer, facts)
        shown = list(enumerate(transcripts[: self.examples]))
        images = {f"utterance_{at}": figures.alignment(data.features("val", at), each, title) for at, each in shown}
        table = figures.transcript_table(transcripts[: self.samples], title)
        for writer in writers(trainer):
            for name, image in images.items():
                writer.add_image(f"{place}/{name}", image, epoch, dataformats="HWC")
            writer.file_writer.add_summary(text(f"{place}/transcripts", table), epoch)
            for at, _ in [] if self._played else shown:
                writer.add_audio(f"{place}/sound_{at}", data.waveform("val", at)[0][None], epoch, sample_rate=RATE)
        self._played = True
