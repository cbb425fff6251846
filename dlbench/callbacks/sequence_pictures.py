"""What a transducer writes on the validation split, as pictures and a table in TensorBoard at chosen epochs."""

import math
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
from annotated_types import Ge, Gt
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from dlbench.callbacks.base import DecodedPictures, about, folder, writers
from dlbench.callbacks.image_pictures import Image, blank, pixels
from dlbench.components import component
from dlbench.data.pairs import PairSet
from dlbench.evaluation.transduction import END, Prediction, collect
from dlbench.tasks.transduction import Decoded, Transduction
from dlbench.tensorboard.events import text

COLUMNS = 3
BARS = 24
"""Longer ranges of lengths are drawn in classes of equal width, at most so many."""

WRAPPED_AT = 40
NOTHING = "(nothing)"


class Written(NamedTuple):
    """One pair and what was written for it.

    ``source``, ``reference`` and ``hypothesis`` are symbols, the last without its end; ``attention`` holds weights
    (symbols written and perhaps an end, symbols read), or None.
    """

    source: Sequence[str]
    reference: Sequence[str]
    hypothesis: Sequence[str]
    attention: Tensor | None = None

    @property
    def distance(self) -> int:
        """Edit operations between hypothesis and reference, symbol by symbol."""
        return Levenshtein.distance(self.hypothesis, self.reference)


def attention_maps(examples: Sequence[Written], about: str, *, joiner: str = "", end: str = "<eos>") -> Image:
    """A heat map each: a column a symbol read, a row a symbol written, shaded by the weight from 0 to 1.

    Args:
        examples: At least one, each with its attention.
        about: What the picture is of.
        joiner: Between the symbols of what is written.
        end: Labels the row of the end, where it was reached.
    """
    rows = math.ceil(len(examples) / COLUMNS)
    figure = blank(3.6 * min(COLUMNS, len(examples)), 3.3 * rows + 0.6)
    figure.suptitle(f"{about}\na column a symbol read, a row a symbol written", fontsize=11)
    grid: Any = figure.subplots(rows, min(COLUMNS, len(examples)), squeeze=False)
    for axes, example in zip(grid.flat, examples, strict=False):
        assert example.attention is not None
        written = [*example.hypothesis, end][: len(example.attention)]
        image = axes.imshow(example.attention.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(example.source)), visible(example.source), fontsize=font_size(example.source))
        axes.set_yticks(range(len(written)), visible(written), fontsize=font_size(written))
        axes.xaxis.tick_top()
        verdict = "right" if not example.distance else f"wrong, should be {joiner.join(example.reference)}"
        label = f"{joiner.join(example.hypothesis) or NOTHING}: {verdict}"
        # matplotlib reads what stands between dollar signs as a formula.
        axes.set_xlabel(textwrap.fill(label, WRAPPED_AT).replace("$", r"\$"), fontsize=9)
    for axes in grid.flat[len(examples) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=grid, shrink=0.6, label="weight")
    return pixels(figure)


def error_by_length(examples: Sequence[Written], about: str) -> Image:
    """Character error rate by length of the reference, in symbols, above the number of examples of that length.

    The rate is the micro average within each length, as `dlbench.metrics.error_rates.CharacterErrorRate`.

    Args:
        examples: At least one.
        about: What the picture is of.
    """
    lengths = np.array([len(example.reference) for example in examples])
    errors = np.array([example.distance for example in examples])
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


def sample_table(examples: Sequence[Written], about: str, joiners: tuple[str, str]) -> str:
    """Source, reference, prediction, whether it is right, and its edit distance, a row an example, in Markdown.

    Args:
        examples: What to show.
        about: What the table is of.
        joiners: Between the symbols of a source, and of a reference or prediction.
    """
    rows = ["| source | reference | prediction | | edit distance |", "|---|---|---|---|---|"]
    for example in examples:
        texts = (joiners[0].join(example.source), joiners[1].join(example.reference))
        cells = [*map(escaped, texts), escaped(joiners[1].join(example.hypothesis))]
        verdict = "right" if not example.distance else "**wrong**"
        rows.append(f"| {' | '.join(cells)} | {verdict} | {example.distance} |")
    return "\n".join([f"{about}", "", *rows])


def visible(symbols: Sequence[str]) -> list[str]:
    """Symbols as labels: spaces as boxes, and no formulas."""
    return [symbol.replace(" ", "\N{OPEN BOX}").replace("$", r"\$") for symbol in symbols]


def font_size(symbols: Sequence[str]) -> float:
    """A font size at which so many labels stand beside each other."""
    return 9.0 if len(symbols) <= 14 else max(5.0, 126 / len(symbols))


def escaped(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    return "".join(mark if mark.isalnum() or mark.isspace() else f"&#{ord(mark)};" for mark in text) or NOTHING


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
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        predictions = collect(heard, data.pairs("val"), data.target_vocabulary, data.reverse_source)
        pairs: PairSet = data.pair_set
        facts, epoch = {"source": pairs.source, "provenance": pairs.provenance}, trainer.current_epoch + 1
        place, title = folder(facts), about(trainer, facts)
        joiners = pairs.source_joiner, pairs.target_joiner
        written = [Written(*_written(prediction)) for prediction in predictions]
        shown = {"error_by_length": error_by_length(written, title)}
        attended = [example for example in written[: self.attention] if example.attention is not None]
        if attended:
            shown["attention"] = attention_maps(attended, title, joiner=joiners[1], end=END)
        table = sample_table(written[: self.samples], title, joiners)
        for writer in writers(trainer):
            for name, image in shown.items():
                writer.add_image(f"{place}/{name}", image, epoch, dataformats="HWC")
            writer.file_writer.add_summary(text(f"{place}/sample_predictions", table), epoch)


def _written(prediction: Prediction) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Tensor | None]:
    """Source, reference, hypothesis without its end, and attention."""
    return prediction.pair.source, prediction.pair.target, prediction.texts[0], prediction.attention
