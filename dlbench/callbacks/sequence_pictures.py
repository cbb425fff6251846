"""What a transducer writes on the validation split, as pictures and a table in TensorBoard at chosen epochs."""

import math
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
from annotated_types import Ge, Gt
from rapidfuzz.distance import Levenshtein

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
from dlbench.evaluation.transduction import END, Prediction, collect
from dlbench.tasks.transduction import Decoded, Transduction

COLUMNS = 3
BARS = 24
"""Longer ranges of lengths are drawn in classes of equal width, at most so many."""


def edit_distance(prediction: Prediction) -> int:
    """Edit operations between the first hypothesis and the reference, symbol by symbol."""
    return Levenshtein.distance(prediction.texts[0], prediction.pair.target)


def attention_maps(predictions: Sequence[Prediction], about: str, *, joiner: str = "") -> Image:
    """A heat map each: a column a symbol read, a row a symbol written, shaded by the weight from 0 to 1.

    Args:
        predictions: At least one, each with its attention.
        about: What the picture is of.
        joiner: Between the symbols of what is written.
    """
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
    """Character error rate by length of the reference, in symbols, above the number of examples of that length.

    The rate is the micro average within each length, as `dlbench.metrics.sequences.CharacterErrorRate`.

    Args:
        predictions: At least one.
        about: What the picture is of.
    """
    lengths = np.array([len(each.pair.target) for each in predictions])
    errors = np.array([edit_distance(each) for each in predictions])
    width = math.ceil((lengths.max() - lengths.min() + 1) / BARS)
    groups = (lengths - lengths.min()) // width
    counts = np.bincount(groups)
    rates = np.bincount(groups, weights=errors) / np.bincount(groups, weights=lengths).clip(min=1)
    shown = counts > 0
    starts = lengths.min() + width * np.arange(len(counts))
    labels = [str(start) if width == 1 else f"{start}-{start + width - 1}" for start in starts]
    overall = errors.sum() / max(lengths.sum(), 1)

    figure = blank(max(5.0, 0.36 * len(counts) + 1.2), 4.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    places = np.arange(len(counts))
    upper.bar(places[shown], rates[shown], color="tab:blue")
    upper.axhline(overall, color="black", linestyle="--", linewidth=1, label=f"all lengths: {overall:.4f}")
    upper.set_ylabel("character error rate")
    upper.set_ylim(bottom=0)
    upper.legend(fontsize=9)
    upper.set_title(f"{about}\nerror rate by length", fontsize=11)
    bars = lower.bar(places, counts, color="tab:gray")
    lower.bar_label(bars, [str(count) if count else "" for count in counts], fontsize=8)
    lower.margins(y=0.3)
    lower.set_ylabel("examples")
    lower.set_xticks(places, labels, fontsize=9, rotation=0 if width == 1 else 60)
    lower.set_xlabel("length of the reference, in symbols")
    return pixels(figure)


def sample_table(predictions: Sequence[Prediction], about: str, joiners: tuple[str, str]) -> str:
    """Source, reference, prediction, whether it is right, and its edit distance, a row an example, in Markdown.

    Args:
        predictions: What to show.
        about: What the table is of.
        joiners: Between the symbols of a source, and of a reference or prediction.
    """
    rows = []
    for each in predictions:
        texts = joiners[0].join(each.pair.source), *map(joiners[1].join, (each.pair.target, each.texts[0]))
        distance = edit_distance(each)
        rows.append([*map(escaped, texts), "**wrong**" if distance else "right", str(distance)])
    return markdown_table(about, "| source | reference | prediction | | edit distance |", rows)


@component("transduction_pictures", "1.0", display_only=True)
class TransductionPictures(DecodedPictures):
    """Attention of the first validation pairs, a table of predictions, and the error rate by length.

    A model without attention gets no attention maps.

    Args (beside those of `ChosenEpochs`):
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

    def show(self, trainer: pl.Trainer, decoded: Sequence[Decoded]) -> None:
        """Log the pictures and the table."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        symbols, pairs = data.target_vocabulary.symbols, data.pair_set
        predictions = collect(decoded, data.pairs("val"), symbols, reverse_source=data.reverse_source)
        title, joiners = caption(trainer, pairs), (pairs.source_joiner, pairs.target_joiner)
        images = {"error_by_length": error_by_length(predictions, title)}
        attended = [each for each in predictions[: self.attention] if each.attention is not None]
        if attended:
            images["attention"] = attention_maps(attended, title, joiner=joiners[1])
        tables = {"sample_predictions": sample_table(predictions[: self.samples], title, joiners)}
        log(trainer, pairs, images, tables=tables)
