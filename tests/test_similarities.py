"""The similarities against textdistance, from which the report has them."""

from typing import Any

import pytest
import textdistance
from hypothesis import given
from hypothesis import strategies as st

from dlbench.metrics.sequences import Cosine, DamerauLevenshtein, Jaccard, Similarity

ORACLES: list[tuple[type[Similarity], Any]] = [
    (Jaccard, textdistance.Jaccard(external=False)),
    (Cosine, textdistance.Cosine(external=False)),
    (DamerauLevenshtein, textdistance.DamerauLevenshtein(restricted=True, external=False)),
]
against_textdistance = pytest.mark.parametrize(("metric", "oracle"), ORACLES)
texts = st.text("abc ", max_size=12)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=8)


@against_textdistance
@given(pairs=pairs)
def test_means_are_those_of_textdistance(metric: type[Similarity], oracle: Any, pairs: list[tuple[str, str]]) -> None:
    ours = metric()
    for hypothesis, reference in pairs:  # batch by batch
        ours.update([hypothesis], [reference])
    expected = sum(oracle.normalized_similarity(*pair) for pair in pairs) / len(pairs)
    assert float(ours.compute()) == pytest.approx(expected)


@against_textdistance
@given(first=texts, second=texts)
def test_symmetric_within_bounds_and_blind_to_the_kind_of_sequence(
    metric: type[Similarity], oracle: Any, first: str, second: str
) -> None:
    one, other, numbers = metric(), metric(), metric()
    one.update([first], [second])
    other.update([second], [first])
    numbers.update([[ord(mark) for mark in first]], [[ord(mark) for mark in second]])
    assert 0 <= float(one.compute()) <= 1
    assert one.compute() == other.compute() == numbers.compute()
    assert (float(one.compute()) == 1) >= (first == second)


@given(text=st.text("abc", max_size=8), order=st.randoms(use_true_random=False))
def test_only_damerau_levenshtein_sees_order(text: str, order: Any) -> None:
    shuffled = "".join(order.sample(text, len(text)))
    for metric in (Jaccard(), Cosine()):
        metric.update([shuffled], [text])
        assert float(metric.compute()) == pytest.approx(1)
    seen = DamerauLevenshtein()
    seen.update([shuffled], [text])
    assert (float(seen.compute()) == 1) == (shuffled == text)


def test_a_neighbouring_swap_costs_one() -> None:
    metric = DamerauLevenshtein()
    metric.update(["abdc"], ["abcd"])
    assert float(metric.compute()) == 0.75


@pytest.mark.parametrize("metric", [Jaccard, Cosine, DamerauLevenshtein])
def test_uneven_lists_and_no_examples(metric: type[Similarity]) -> None:
    with pytest.raises(ValueError, match="shorter"):
        metric().update(["a"], [])
    with pytest.warns(UserWarning, match="compute"):
        assert float(metric().compute()) == 0
