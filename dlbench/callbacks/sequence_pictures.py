"""What a transducer or a speech recogniser writes on the validation split, in TensorBoard at chosen epochs."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
from annotated_types import Ge, Gt
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from dlbench.callbacks.base import ChosenEpochs, Image, blank, caption, log, pixels
from dlbench.components import component
from dlbench.data.ljspeech import RATE
from dlbench.data.recordings import HOP
from dlbench.evaluation.speech import PLACE_SECONDS, transcripts
from dlbench.evaluation.transduction import END, Prediction, collect
from dlbench.metrics.sequences import DamerauLevenshtein
from dlbench.tasks.speech import SpeechRecognition
from dlbench.tasks.transduction import Decoded, Transduction

COLUMNS = 3
BARS = 24
"""Longer ranges of lengths are drawn in classes of equal width, at most so many."""

NOTHING = "(nothing)"
"""Stands for an empty text."""


def without_formulas(text: str) -> str:
    """Text for matplotlib, which reads what stands between dollar signs as a formula."""
    return text.replace("$", r"\$")


def label_symbols(axis: Any, places: Any, symbols: Sequence[str]) -> None:
    """Label an axis with symbols, spaces as boxes, small enough to stand beside each other."""
    size = 9.0 if len(symbols) <= 14 else max(5.0, 126 / len(symbols))
    axis.set_ticks(places, [without_formulas(each.replace(" ", "\N{OPEN BOX}")) for each in symbols], fontsize=size)


def escaped(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    return "".join(mark if mark.isalnum() or mark.isspace() else f"&#{ord(mark)};" for mark in text) or NOTHING


def markdown_table(title: str, header: str, rows: Sequence[Sequence[str]]) -> str:
    """A title and, below it, a table in Markdown, whose cells hold Markdown."""
    rule = "|---" * (header.count("|") - 1) + "|"
    return "\n".join([title, "", header, rule, *(f"| {' | '.join(row)} |" for row in rows)])


# --- transduction ----------------------------------------------------------------------------------------------------


def edit_distance(prediction: Prediction) -> int:
    """Edit operations between the first hypothesis and the reference, symbol by symbol."""
    return Levenshtein.distance(prediction.texts[0], prediction.pair.target)


def attention_maps(predictions: Sequence[Prediction], about: str, *, joiner: str = "") -> Image:
    """A heat map each: a column a symbol read, a row a symbol written, shaded by the weight from 0 to 1."""
    rows, columns = math.ceil(len(predictions) / COLUMNS), min(COLUMNS, len(predictions))
    figure = blank(3.6 * columns, 3.3 * rows + 0.6)
    figure.suptitle(f"{about}\na column a symbol read, a row a symbol written", fontsize=11)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for axes, each in zip(grid.flat, predictions, strict=False):
        assert each.attention is not None
        text = each.texts[0]
        image = axes.imshow(each.attention.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        label_symbols(axes.xaxis, range(len(each.pair.source)), each.pair.source)
        written = [*text, END][: len(each.attention)]
        label_symbols(axes.yaxis, range(len(written)), written)
        axes.xaxis.tick_top()
        verdict = f"wrong, should be {joiner.join(each.pair.target)}" if edit_distance(each) else "right"
        label = f"{joiner.join(text) or NOTHING}: {verdict}"
        axes.set_xlabel(without_formulas(textwrap.fill(label, 40)), fontsize=9)
    for axes in grid.flat[len(predictions) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=grid, shrink=0.6, label="weight")
    return pixels(figure)


def error_by_length(predictions: Sequence[Prediction], about: str) -> Image:
    """Character error rate (micro) by length of the reference, in symbols, above the number of such examples."""
    lengths = np.array([len(each.pair.target) for each in predictions])
    errors = np.array([edit_distance(each) for each in predictions])
    width = math.ceil((lengths.max() - lengths.min() + 1) / BARS)
    groups = (lengths - lengths.min()) // width
    counts = np.bincount(groups)
    rates = np.bincount(groups, weights=errors) / np.bincount(groups, weights=lengths).clip(min=1)
    shown, places = counts > 0, np.arange(len(counts))
    starts = lengths.min() + width * places
    labels = [str(start) if width == 1 else f"{start}-{start + width - 1}" for start in starts]
    overall = errors.sum() / max(lengths.sum(), 1)

    figure = blank(max(5.0, 0.36 * len(counts) + 1.2), 4.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    upper.bar(places[shown], rates[shown], color="tab:blue")
    upper.axhline(overall, color="black", linestyle="--", linewidth=1, label=f"all lengths: {overall:.4f}")
    upper.set(ylabel="character error rate")
    upper.set_ylim(bottom=0)
    upper.legend(fontsize=9)
    upper.set_title(f"{about}\nerror rate by length", fontsize=11)
    bars = lower.bar(places, counts, color="tab:gray")
    lower.bar_label(bars, [str(count) if count else "" for count in counts], fontsize=8)
    lower.margins(y=0.3)
    lower.set(xlabel="length of the reference, in symbols", ylabel="examples")
    lower.set_xticks(places, labels, fontsize=9, rotation=0 if width == 1 else 60)
    return pixels(figure)


def sample_table(predictions: Sequence[Prediction], about: str, joiners: tuple[str, str]) -> str:
    """Source, reference, prediction, whether it is right, and its edit distance, a row an example, in Markdown."""
    rows = []
    for each in predictions:
        texts = joiners[0].join(each.pair.source), *map(joiners[1].join, (each.pair.target, each.texts[0]))
        distance = edit_distance(each)
        rows.append([*map(escaped, texts), "**wrong**" if distance else "right", str(distance)])
    return markdown_table(about, "| source | reference | prediction | | edit distance |", rows)


@component("transduction_pictures", "1.0", display_only=True)
@dataclass(eq=False)
class TransductionPictures(ChosenEpochs):
    """Attention of the first validation pairs, a table of predictions, and the error rate by length.

    A model without attention gets no attention maps.

    Args (beside those of `ChosenEpochs`):
        attention: How many pairs' attention to show.
        samples: How many pairs to show in the table.
    """

    shows = Transduction

    attention: Annotated[int, Ge(0)] = 6
    samples: Annotated[int, Gt(0)] = 20

    def draw(self, trainer: pl.Trainer, task: Transduction, outputs: list[Decoded]) -> None:
        """Log the pictures and the table."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        symbols, pairs = data.target_vocabulary.symbols, data.pair_set
        predictions = collect(outputs, data.pairs("val"), symbols, reverse_source=data.reverse_source)
        title, joiners = caption(trainer, pairs), (pairs.source_joiner, pairs.target_joiner)
        images = {"error_by_length": error_by_length(predictions, title)}
        if attended := [each for each in predictions[: self.attention] if each.attention is not None]:
            images["attention"] = attention_maps(attended, title, joiner=joiners[1])
        tables = {"sample_predictions": sample_table(predictions[: self.samples], title, joiners)}
        log(trainer, pairs, images, tables=tables)


# --- speech ----------------------------------------------------------------------------------------------------------


def texts(transcript: Prediction) -> tuple[str, str, str]:
    """The utterance's name, its true text, and what was written for it."""
    return transcript.pair.source[0], "".join(transcript.pair.target), "".join(transcript.texts[0])


def alignment(features: Tensor, transcript: Prediction, about: str) -> Image:
    """The spectrogram of log-mel features (frames, mels) and, below it, what each symbol attended to, if any did."""
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
        lower[0].set(ylabel="symbol written", xlim=(0, seconds))
        lower[0].set_title("attention, mean of the heads, each row scaled to its largest weight", fontsize=9)
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
@dataclass(eq=False)
class SpeechPictures(ChosenEpochs):
    """Spectrograms above their alignments, the sound itself, and a table of transcripts beside the reference.

    Args (beside those of `ChosenEpochs`):
        examples: How many utterances to show in pictures and to play.
        samples: How many to show in the table.
    """

    shows = SpeechRecognition

    examples: Annotated[int, Gt(0)] = 3
    samples: Annotated[int, Gt(0)] = 20
    _played: bool = field(default=False, init=False, repr=False)

    def draw(self, trainer: pl.Trainer, task: SpeechRecognition, outputs: list[Decoded]) -> None:
        """Log the pictures, the table and, once a training, the sound."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        found, title = transcripts(outputs, data, "val"), caption(trainer, data.speech)
        shown = range(min(self.examples, len(found)))
        images = {f"utterance_{at}": alignment(data.features("val", at), found[at], title) for at in shown}
        tables = {"transcripts": transcript_table(found[: self.samples], title)}
        sounds = {f"sound_{at}": (data.waveform("val", at)[0], RATE) for at in ([] if self._played else shown)}
        log(trainer, data.speech, images, tables=tables, sounds=sounds)
        self._played = True
