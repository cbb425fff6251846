"""Pictures and tables of a transducer's training: there at the chosen epochs, right, and without a trace in it."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from board import accumulated
from conftest import Compose, TinyIn
from diverging import loss_is_nan_from
from drawing import EPOCHS, Drawn, check_pictures, drawn_and_not, table_of
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from dlbench.callbacks import sequence_pictures as figures
from dlbench.callbacks.sequence_pictures import TransductionPictures
from dlbench.data.pairs import Pair
from dlbench.evaluation.transduction import END, Prediction
from dlbench.metrics.sequences import CharacterErrorRate
from dlbench.records import history
from dlbench.run import run
from dlbench.tasks.transduction import Transduction

SMALL = ["model.size=16", "data.batch_size=16"]
WORDS = st.text("abc", max_size=5)


def written(source: Sequence[str], reference: str, hypothesis: str, attention: Any = None) -> Prediction:
    return Prediction(Pair(tuple(source), tuple(reference)), ((*hypothesis, END),), (0.0,), attention)


PAIRS = st.lists(st.builds(written, st.just(()), WORDS, WORDS), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def drawn(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    def overrides(runs: Path) -> list[str]:
        return ["+experiment=p2g_attention", *tiny_in(runs, epochs=EPOCHS, sizes=(200, 30, 40)), *SMALL]

    return drawn_and_not(compose, overrides, TransductionPictures, tmp_path_factory.mktemp("pictures"))


# --- in a training ---------------------------------------------------------------------------------------------------


def test_pictures_and_table_are_there_once_after_the_chosen_epochs_and_the_last(drawn: Drawn) -> None:
    check_pictures(drawn.outcome.record, ("attention", "error_by_length"), [2, 4])
    title, _, head, rule, *rows = table_of(drawn.outcome.record, "sample_predictions", [2, 4])
    assert title == "validation, epoch 4, synthetic data"
    assert head.count("|") == rule.count("|") == 6
    assert len(rows) == 20
    assert all(row.count("|") == 6 for row in rows)


def test_pictures_change_no_bit_and_without_epochs_nothing_is_drawn(drawn: Drawn) -> None:
    drawn.check_unchanged()
    assert accumulated(drawn.undrawn.record.tensorboard).Tags()["tensors"] == ["run"]


def test_without_attention_there_are_no_attention_maps_and_a_diverging_epoch_is_not_drawn(
    compose: Compose, tiny: list[str]
) -> None:
    overrides = [*tiny, *SMALL, "data.synthetic_sizes=[64,30,40]", "callbacks.pictures.epochs=[1,2]"]
    with loss_is_nan_from(step=4, task=Transduction):
        outcome = run(compose("+experiment=p2g_lstm", *overrides))
    assert outcome.result["state"] == "diverged"
    check_pictures(outcome.record, ["error_by_length"], [1])


def test_what_is_drawn_is_what_was_validated(
    compose: Compose, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[list[Prediction]] = []
    monkeypatch.setattr(figures, "error_by_length", lambda found, _: kept.append(found) or np.zeros((9, 9, 3)))
    overrides = [*tiny, *SMALL, "data.reverse_source=true", "data.eval_batch_size=7", "callbacks.pictures.epochs=[1]"]
    outcome = run(compose("+experiment=p2g_attention", *overrides))
    rows = history.read(outcome.record.metrics)
    assert len(kept) == len(rows) == 2
    for predictions, row in zip(kept, rows, strict=True):
        rate = CharacterErrorRate()
        rate.update([each.texts[0] for each in predictions], [each.pair.target for each in predictions])
        assert float(rate.compute()) == pytest.approx(row["val/cer"], abs=1e-6)
        for each in predictions:
            assert each.attention is not None
            assert each.attention.shape == (len(each.hypotheses[0]), len(each.pair.source))


# --- the figures -----------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures, instead of their pixels."""
    kept: list[Figure] = []
    monkeypatch.setattr(figures, "pixels", kept.append)
    return kept


def test_attention_stands_between_what_was_read_and_what_was_written(kept: list[Figure]) -> None:
    sources = [("t͡ʃ", "æ", "p"), ("a", " "), ("$", "b"), ("c",)]
    examples = [written(source, "ch", "c$", torch.rand(3, len(source))) for source in sources]
    examples[3] = written(("c",), "ch", "ch", torch.rand(2, 1))  # cut off before an end
    figures.attention_maps(examples, "validation, epoch 1")
    axes = [axes for axes in kept[0].axes if axes.images and axes.axison]
    for example, ax in zip(examples, axes, strict=False):
        assert example.attention is not None
        assert np.array_equal(ax.images[0].get_array(), example.attention.numpy())
        assert ax.images[0].get_clim() == (0, 1)
    read = [[tick.get_text() for tick in ax.get_xticklabels()] for ax in axes[:4]]
    assert read == [["t͡ʃ", "æ", "p"], ["a", "␣"], [r"\$", "b"], ["c"]]
    rows = [[tick.get_text() for tick in ax.get_yticklabels()] for ax in axes[:4]]
    assert rows == [["c", r"\$", "<eos>"]] * 3 + [["c", "h"]]
    assert [ax.get_xlabel() for ax in axes[2:4]] == [r"c\$: wrong, should be ch", "ch: right"]


def test_every_symbol_of_the_phonetic_alphabet_is_drawn() -> None:
    symbols = ["t͡ʃ", "æ", "ɹ̩", "ɝ", "ə", "ɔː", "kʰ", "ŋ", "ɫ", "ð", "θ", "ɬ", "ʉ"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a glyph that its font does not have
        image = figures.attention_maps([written(symbols, "ab", "ab", torch.rand(3, len(symbols)))], "validation")
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


@given(PAIRS)
def test_error_rates_by_length_are_those_of_the_metric(examples: list[Prediction]) -> None:
    kept: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "pixels", kept.append)
        figures.error_by_length(examples, "validation")
    upper, lower = kept[0].axes
    by_length: dict[int, list[Prediction]] = defaultdict(list)
    for example in examples:
        by_length[len(example.pair.target)].append(example)
    expected = []
    for _, group in sorted(by_length.items()):
        rate = CharacterErrorRate()
        rate.update([each.texts[0] for each in group], [each.pair.target for each in group])
        expected.append(float(rate.compute()))
    assert [bar.get_height() for bar in upper.patches] == pytest.approx(expected)
    labels = [int(tick.get_text()) for tick in lower.get_xticklabels()]
    counts = {length: int(bar.get_height()) for length, bar in zip(labels, lower.patches, strict=True)}
    assert {length: count for length, count in counts.items() if count} == {
        length: len(group) for length, group in by_length.items()
    }


def test_many_lengths_are_drawn_in_classes(kept: list[Figure]) -> None:
    examples = [written((), "a" * length, "a" * length) for length in range(3, 63)]
    figures.error_by_length(examples, "validation")
    _, lower = kept[0].axes
    labels = [tick.get_text() for tick in lower.get_xticklabels()]
    assert len(labels) == 20
    assert labels[:2] == ["3-5", "6-8"]
    assert {bar.get_height() for bar in lower.patches} == {3}


def test_the_table_says_what_is_wrong_and_by_how_much() -> None:
    examples = [written(("a", "b"), "xy", "xy"), written(("<", "|"), "*xy*", ""), written(("ʃ",), "é b", "e b")]
    title, _, _, _, *rows = figures.sample_table(examples, "validation, epoch 1", (" ", "")).splitlines()
    assert title == "validation, epoch 1"
    assert rows == [
        "| a b | xy | xy | right | 0 |",
        "| &#60; &#124; | &#42;xy&#42; | (nothing) | **wrong** | 4 |",
        "| ʃ | é b | e b | **wrong** | 1 |",
    ]
