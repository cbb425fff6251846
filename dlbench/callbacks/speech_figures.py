"""What a recogniser heard and wrote, drawn: a picture as an array (height, width, 3) of uint8, a table in Markdown."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dlbench.callbacks.figures import Image, blank, pixels
from dlbench.callbacks.sequence_figures import NOTHING, escaped, font_size, visible
from dlbench.data.log_mel import HOP, RATE
from dlbench.metrics.similarities import DamerauLevenshtein
from dlbench.tasks.speech_evaluation import PLACE_SECONDS, Transcript


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
