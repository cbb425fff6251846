"""What a recogniser gets and writes on the validation split, in TensorBoard at chosen epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
from annotated_types import Gt
from torch import Tensor

from dlbench.callbacks.base import (
    NOTHING,
    DecodedPictures,
    Image,
    blank,
    caption,
    escaped,
    label_symbols,
    log,
    markdown_table,
    pixels,
    without_formulas,
)
from dlbench.components import component
from dlbench.data.recordings import HOP, RATE
from dlbench.evaluation.speech import PLACE_SECONDS, transcripts
from dlbench.evaluation.transduction import END, Prediction
from dlbench.metrics.sequences import DamerauLevenshtein
from dlbench.tasks.speech import SpeechRecognition
from dlbench.tasks.transduction import Decoded


def texts(transcript: Prediction) -> tuple[str, str, str]:
    """The utterance's name, its true text, and what was written for it."""
    return transcript.pair.source[0], "".join(transcript.pair.target), "".join(transcript.texts[0])


def alignment(features: Tensor, transcript: Prediction, about: str) -> Image:
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
    extent = (0, seconds, 0, features.shape[1])
    upper.imshow(features.numpy().T, origin="lower", aspect="auto", cmap="magma", extent=extent)
    upper.set_ylabel("mel band")
    name, reference, written = texts(transcript)
    title = f"{about}: {name}\nreference: {reference}\nwritten: {written or NOTHING}"
    upper.set_title(without_formulas(title), fontsize=10, loc="left", wrap=True)
    if weights is not None:
        rows, places = weights.shape
        shares = weights / weights.amax(dim=1, keepdim=True)
        lower[0].imshow(shares.numpy(), aspect="auto", cmap="Blues", extent=(0, places * PLACE_SECONDS, rows, 0))
        label_symbols(lower[0].yaxis, np.arange(rows) + 0.5, [*written, END][:rows])
        lower[0].set_ylabel("symbol written")
        lower[0].set_title("attention, mean of the heads, each row scaled to its largest weight", fontsize=9)
        lower[0].set_xlim(0, seconds)
    (lower or [upper])[0].set_xlabel("seconds")
    return pixels(figure)


def transcript_table(shown: Sequence[Prediction], about: str) -> str:
    """Utterance, reference, what was written, and their Damerau-Levenshtein similarity, in Markdown."""
    rows = []
    for name, reference, written in map(texts, shown):
        similarity = DamerauLevenshtein.of(written, reference) if written or reference else 1.0
        rows.append([*map(escaped, (name, reference, written)), f"{similarity:.3f}"])
    return markdown_table(about, "| utterance | reference | written | similarity |", rows)


@component("speech_pictures", "1.0", display_only=True)
class SpeechPictures(DecodedPictures):
    """Spectrograms above their alignments, the sound itself, and a table of transcripts beside the reference.

    Args (beside those of `ChosenEpochs`):
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

    def show(self, trainer: pl.Trainer, decoded: Sequence[Decoded]) -> None:
        """Log the pictures, the table and, once a training, the sound."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        found, title = transcripts(decoded, data, "val"), caption(trainer, data.speech)
        shown = range(min(self.examples, len(found)))
        images = {f"utterance_{at}": alignment(data.features("val", at), found[at], title) for at in shown}
        tables = {"transcripts": transcript_table(found[: self.samples], title)}
        sounds = {f"sound_{at}": (data.waveform("val", at)[0], RATE) for at in ([] if self._played else shown)}
        log(trainer, data.speech, images, tables=tables, sounds=sounds)
        self._played = True
