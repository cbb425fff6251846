"""Error rates against jiwer, rapidfuzz and values worked out by hand."""

from typing import Any

import jiwer
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from torchmetrics import Metric

from dlbench.metrics.sequences import (
    CharacterErrorRate,
    Edits,
    MacroErrorRate,
    WordErrorRate,
    WordErrorRateAtK,
    edits,
)

WORDS = st.text("abcé", max_size=8)
PAIRS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=12)
Examples = list[tuple[Any, Any]]


def rate(metric: Metric, pairs: Examples) -> float:
    """The metric over (hypothesis, reference) pairs, in two batches."""
    half = len(pairs) // 2
    for part in (pairs[:half], pairs[half:]):
        metric.update([guess for guess, _ in part], [truth for _, truth in part])
    return metric.compute().item()


@given(pairs=PAIRS)
def test_character_error_rate_is_jiwers_and_rapidfuzzs(pairs: Examples) -> None:
    found = rate(CharacterErrorRate(), pairs)
    distances = sum(Levenshtein.distance(guess, truth) for guess, truth in pairs)
    assert found == pytest.approx(distances / max(sum(len(truth) for _, truth in pairs), 1))
    guesses, truths = map(list, zip(*pairs, strict=True))
    assert found == pytest.approx(jiwer.cer(truths, guesses))


SPACED = st.lists(st.tuples(*[st.text("ab  é\u0301\x1f😀", max_size=8)] * 2), max_size=12)


@given(pairs=SPACED)
def test_edits_are_as_many_as_rapidfuzz_counts_and_spaces_are_symbols(pairs: Examples) -> None:
    guesses, truths = [guess for guess, _ in pairs], [truth for _, truth in pairs]
    found = edits(guesses, truths)
    operations = found.substitutions + found.deletions + found.insertions
    assert operations == sum(Levenshtein.distance(guess, truth) for guess, truth in pairs)
    assert found.symbols == sum(map(len, truths))
    assert found.insertions - found.deletions == sum(len(guess) - len(truth) for guess, truth in pairs)
    if pairs:
        assert found.rate == pytest.approx(rate(CharacterErrorRate(), pairs))
        assert sum(found.named("test/cer").values()) == pytest.approx(found.rate)
    assert edits(map(list, guesses), map(tuple, truths)) == found


@given(pairs=st.lists(st.tuples(*[st.lists(st.sampled_from(["one", "two", "t wo", ""]), max_size=5)] * 2), max_size=6))
def test_a_symbol_may_be_a_word(pairs: Examples) -> None:
    letters = {"one": "a", "two": "b", "t wo": "c", "": "d"}
    spelled = [tuple("".join(letters[word] for word in side) for side in pair) for pair in pairs]
    sides, spelled_sides = ([[pair[side] for pair in found] for side in (0, 1)] for found in (pairs, spelled))
    assert edits(*sides) == edits(*spelled_sides)


def test_each_kind_of_edit_is_told() -> None:
    assert edits(["abc", "ab", "", "xabc"], ["axc", "abc", "", "abc"]) == Edits(1, 1, 1, 9)
    assert edits([["a", "b"]], [["a b"]]) == Edits(1, 0, 1, 1)
    assert Edits(1, 2, 3, 12).named("test/wer") == {
        "test/wer_substitutions": 1 / 12,
        "test/wer_deletions": 2 / 12,
        "test/wer_insertions": 3 / 12,
    }
    with pytest.raises(ValueError, match=r"shorter|longer"):
        edits(["a"], [])


@given(pairs=PAIRS)
def test_macro_error_rate_is_the_mean_of_jiwers_and_rapidfuzzs(pairs: Examples) -> None:
    found = rate(MacroErrorRate(), pairs)
    assert found == pytest.approx(sum(jiwer.cer(truth, guess) for guess, truth in pairs) / len(pairs))
    rates = [Levenshtein.distance(guess, truth) / max(len(truth), 1) for guess, truth in pairs]
    assert found == pytest.approx(sum(rates) / len(pairs))


@given(pairs=st.lists(st.tuples(*[st.text("ab", min_size=1, max_size=3)] * 2), min_size=1, max_size=12))
def test_word_error_rate_is_jiwers_of_one_word_an_example(pairs: Examples) -> None:
    guesses, truths = map(list, zip(*pairs, strict=True))
    assert rate(WordErrorRate(), pairs) == pytest.approx(jiwer.wer(truths, guesses))


@given(pairs=PAIRS, metric=st.sampled_from([CharacterErrorRate, MacroErrorRate, WordErrorRate]))
def test_strings_and_lists_of_symbols_are_the_same(pairs: Examples, metric: type[Metric]) -> None:
    lists = [(list(guess), tuple(truth)) for guess, truth in pairs]
    mixed = [(guess, list(truth)) for guess, truth in pairs]
    assert rate(metric(), lists) == rate(metric(), mixed) == rate(metric(), pairs)


def test_a_symbol_may_be_of_several_characters() -> None:
    pair = [(["tʃ", "i"], ["t", "ʃ", "i"])]
    assert rate(CharacterErrorRate(), pair) == pytest.approx(2 / 3)
    assert rate(WordErrorRate(), pair) == 1


def test_micro_and_macro_averages_differ() -> None:
    pairs = [("a", "b"), ("kitten", "sitting"), ("word", "word")]
    assert rate(CharacterErrorRate(), pairs) == pytest.approx(4 / 12)
    assert rate(MacroErrorRate(), pairs) == pytest.approx((1 + 3 / 7) / 3)
    assert rate(WordErrorRate(), pairs) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("guess", "truth", "expected"), [("", "", 0), ("", "abc", 1), ("abc", "", 3)], ids=["both", "hypothesis", "truth"]
)
@pytest.mark.parametrize("metric", [CharacterErrorRate, MacroErrorRate])
def test_nothing_is_a_sequence_too(metric: type[Metric], guess: str, truth: str, expected: float) -> None:
    assert rate(metric(), [(guess, truth)]) == expected
    assert rate(WordErrorRate(), [(guess, truth)]) == (guess != truth)
    assert rate(WordErrorRateAtK(1), [([guess], truth)]) == (guess != truth)


def test_the_last_symbol_is_dropped_whatever_it_is() -> None:
    pairs = [([*"cat", "<eos>"], "cat"), (list("dogs"), "dogs"), ([], "fox"), ([*"hen", "<eos>"], "hens")]
    assert rate(MacroErrorRate(drop_last_symbol=True), pairs) == pytest.approx((0 + 1 / 4 + 1 + 1 / 4) / 4)


# --- WER@k -----------------------------------------------------------------------------------------------------------


def test_one_right_sample_is_enough() -> None:
    pairs = [(["cat", "kat", "cat"], "cat"), (["kat", "ket", "cat"], "cat"), (["k", "ca", ""], "cat")]
    assert [rate(WordErrorRateAtK(k), pairs) for k in (1, 2, 3)] == pytest.approx([2 / 3, 2 / 3, 1 / 3])


@given(st.lists(st.tuples(st.lists(st.text("ab", max_size=2), min_size=4, max_size=4), st.text("ab", max_size=2))))
def test_it_falls_with_k_from_the_word_error_rate(pairs: Examples) -> None:
    rates = [rate(WordErrorRateAtK(k), pairs) for k in (1, 2, 3, 4)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == rate(WordErrorRate(), [(samples[0], truth) for samples, truth in pairs])


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="WER@3 needs 3 samples an example, not 2"):
        WordErrorRateAtK(3).update([["a", "b", "c"], ["a", "b"]], ["a", "b"])


# --- as torchmetrics -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [CharacterErrorRate, MacroErrorRate, WordErrorRate, WordErrorRateAtK])
def test_each_hypothesis_needs_a_reference(metric: type[Metric]) -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        metric().update([["a", "a", "a"], ["b", "b", "b"]], ["a"])


@given(pairs=PAIRS)
def test_batches_and_processes_add_up(pairs: Examples) -> None:
    for kind in (CharacterErrorRate, MacroErrorRate, WordErrorRate):
        parts = [kind(), kind()]
        for place, (guess, truth) in enumerate(pairs):
            parts[place % 2].update([guess], [truth])
        parts[0].merge_state(parts[1])
        assert parts[0].compute().item() == pytest.approx(rate(kind(), pairs))


def test_a_reset_metric_starts_again() -> None:
    metric = CharacterErrorRate()
    metric.update(["abc"], ["xyz"])
    metric.reset()
    metric.update(["abc"], ["abd"])
    assert metric.compute() == pytest.approx(1 / 3)
    assert metric.compute().dtype == torch.float64
