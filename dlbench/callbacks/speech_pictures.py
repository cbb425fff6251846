"""What a recogniser hears and writes on the validation split, in TensorBoard at chosen epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
from annotated_types import Gt
from torch import Tensor

from dlbench.callbacks.base import DecodedPictures, about, folder, writers
from dlbench.callbacks.image_pictures import Image, blank, pixels
from dlbench.callbacks.sequence_pictures import NOTHING, escaped, font_size, visible
from dlbench.components import component
from dlbench.data.recordings import HOP, RATE
from dlbench.evaluation.speech import PLACE_SECONDS, Transcript, collect
from dlbench.metrics.similarities import DamerauLevenshtein
from dlbench.tasks.speech import SpeechRecognition
from dlbench.tasks.transduction import Decoded
from dlbench.tensorboard.events import text


def alignment(features: Tensor, transcript: Transcript, about: str) -> Image:
    """A spectrogram and, below it on the same scale of time, what each symbol written attended to.

    Args:
        features: Log-mel features of the utterance, (frames, mels).
        transcript: What was written for it; where nothing is attended to, the spectrogram stands alone.
        about: What the picture is of.
    """
    seconds = len(features) * HOP / RATE
    weights = transcript.attention
    if weights is not None and not len(weights):  # only padding was written
        weights = None
    figure = blank(8.0, 3.2 if weights is None else 7.5)
    upper, *lower = figure.subplots(1 if weights is None else 2, 1, sharex=True, squeeze=False)[:, 0]
    upper.imshow(
        features.numpy().T, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, features.shape[1])
    )
    upper.set_ylabel("mel band")
    title = f"{about}: {transcript.id}\nreference: {transcript.text}\nwritten: {transcript.hypotheses[0] or NOTHING}"
    upper.set_title(title.replace("$", r"\$"), fontsize=10, loc="left", wrap=True)
    if weights is not None:
        rows, places = weights.shape
        shown = [*transcript.hypotheses[0], "<eos>"][:rows]
        lower[0].imshow(
            (weights / weights.amax(dim=1, keepdim=True)).numpy(),
            aspect="auto",
            cmap="Blues",
            extent=(0, places * PLACE_SECONDS, rows, 0),
        )
        lower[0].set_yticks(np.arange(rows) + 0.5, visible(shown), fontsize=font_size(shown))
        lower[0].set_ylabel("symbol written")
        lower[0].set_title("attention, mean of the heads, each row scaled to its largest weight", fontsize=9)
        lower[0].set_xlim(0, seconds)
    (lower or [upper])[0].set_xlabel("seconds")
    return pixels(figure)


def transcript_table(transcripts: Sequence[Transcript], about: str) -> str:
    """Utterance, reference, what was written, and their Damerau-Levenshtein similarity, in Markdown."""
    rows = ["| utterance | reference | written | similarity |", "|---|---|---|---|"]
    for each in transcripts:
        guess = each.hypotheses[0]
        similarity = DamerauLevenshtein.of(guess, each.text) if guess or each.text else 1.0
        rows.append(f"| {' | '.join(map(escaped, (each.id, each.text, guess)))} | {similarity:.3f} |")
    return "\n".join([f"{about}", "", *rows])


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
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        transcripts = collect(heard, data.utterances("val"), data.vocabulary)
        facts = {"source": data.speech.source, "provenance": data.speech.provenance}
        epoch = trainer.current_epoch + 1
        place, title = folder(facts), about(trainer, facts)
        shown = list(enumerate(transcripts[: self.examples]))
        images = {f"utterance_{at}": alignment(data.features("val", at), each, title) for at, each in shown}
        table = transcript_table(transcripts[: self.samples], title)
        for writer in writers(trainer):
            for name, image in images.items():
                writer.add_image(f"{place}/{name}", image, epoch, dataformats="HWC")
            writer.file_writer.add_summary(text(f"{place}/transcripts", table), epoch)
            for at, _ in [] if self._played else shown:
                writer.add_audio(f"{place}/sound_{at}", data.waveform("val", at)[0][None], epoch, sample_rate=RATE)
        self._played = True
