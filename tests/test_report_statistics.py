"""Intervals, the permutation test, and published values held against runs, each against another way to get there."""

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dlbench.report.document import Verdict
from dlbench.report.schema import Curve
from dlbench.report.statistics import (
    difference_interval,
    judge_published,
    mean_interval,
    of_curve,
    permutation_p,
    prediction_interval,
)

THOUSANDTHS = st.integers(-1000, 1000).map(lambda value: value / 1000)
VALUES = st.lists(THOUSANDTHS, min_size=2, max_size=10)


# --- intervals -------------------------------------------------------------------------------------------------------


def test_a_prediction_interval_holds_one_more_value_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(3).normal(0.7, 0.02, (4000, 4))
    held = [low <= more <= high for *seen, more in drawn.tolist() for low, high in [prediction_interval(seen)]]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)


@given(values=VALUES)
def test_a_difference_holds_0_where_scipys_t_test_does_not_reject(values: list[float]) -> None:
    low, high = difference_interval(values)
    if min(values) < max(values):
        found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (low, high) == pytest.approx((found.low, found.high), abs=1e-9)
    else:
        assert (low, high) == pytest.approx((values[0], values[0]))


@pytest.mark.parametrize("interval", [prediction_interval, difference_interval, mean_interval])
@given(values=VALUES, shift=THOUSANDTHS, scale=st.sampled_from([0.5, 3.0, 1000.0]))
def test_an_interval_moves_and_grows_with_its_values(
    interval: type, values: list[float], shift: float, scale: float
) -> None:
    low, high = interval(values)
    assert low <= np.mean(values) + 1e-12
    assert high >= np.mean(values) - 1e-12
    moved = interval([value * scale + shift for value in values])
    assert moved == pytest.approx((low * scale + shift, high * scale + shift), abs=1e-9 * scale)


@given(values=VALUES, seed=st.integers(0, 9))
def test_the_order_of_values_does_not_matter(values: list[float], seed: int) -> None:
    shuffled = random.Random(seed).sample(values, len(values))
    for computed in (prediction_interval, difference_interval, mean_interval, permutation_p):
        assert computed(shuffled) == pytest.approx(computed(values), abs=1e-12)


@pytest.mark.parametrize("computed", [prediction_interval, difference_interval, mean_interval, permutation_p])
@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_value_tells_no_interval(computed: type, values: list[float]) -> None:
    with pytest.raises(ValueError, match=f"two .* or more, not {len(values)}"):
        computed(values)


def test_the_bootstrap_of_a_mean_is_about_normal_for_many_values() -> None:
    values = np.random.default_rng(5).normal(0.3, 0.1, 400).tolist()
    interval = mean_interval(values)
    assert interval == mean_interval(values)
    assert interval == pytest.approx(stats.norm.interval(0.95, np.mean(values), stats.sem(values)), abs=0.001)


# --- permutation test ------------------------------------------------------------------------------------------------


@given(values=st.lists(st.integers(-50, 50), min_size=2, max_size=9))
def test_p_is_the_share_of_sign_flips_that_reach_the_mean(values: list[int]) -> None:
    flips = [
        sum(sign * value for sign, value in zip(signs, values, strict=True)) >= sum(values)
        for signs in product((1, -1), repeat=len(values))
    ]
    p, smallest = permutation_p(values)
    assert p == pytest.approx(sum(flips) / len(flips))
    assert smallest == 2.0 ** -len(values)


@pytest.mark.parametrize("count", [3, 13, 14, 20])
def test_the_smallest_p_is_that_of_differences_all_of_one_sign(count: int) -> None:
    p, smallest = permutation_p([1.0 + place for place in range(count)])
    assert p == pytest.approx(smallest, rel=0.01, abs=1.1e-4)
    assert p >= smallest > 0
    assert permutation_p([-1.0 - place for place in range(count)])[0] == pytest.approx(1)


# --- curves ----------------------------------------------------------------------------------------------------------

LOSSES = [1.6, 1.2, 0.9, 0.7, 0.75, 0.5]
ROWS = [{"epoch": epoch, "train/loss": loss} for epoch, loss in enumerate(LOSSES, start=1)]


@pytest.mark.parametrize(
    ("curve", "value"),
    [
        (Curve(at=1), 1.6),
        (Curve(at=6), 0.5),
        (Curve(at=7), None),
        (Curve(slope_after=2), np.polyfit([3, 4, 5, 6], LOSSES[2:], 1)[0]),
        (Curve(slope_after=0), np.polyfit(range(1, 7), LOSSES, 1)[0]),
        (Curve(slope_after=4), -0.25),
        (Curve(slope_after=5), None),
        (Curve(roughness=0), np.std(np.diff(LOSSES), ddof=1)),
        (Curve(roughness=3), np.std([0.05, -0.25], ddof=1)),
        (Curve(roughness=4), None),
        (Curve(epochs_to=0.9), 3),
        (Curve(epochs_to=2), 1),
        (Curve(epochs_to=0.1), 7),
    ],
)
def test_what_a_comparison_asks_of_a_curve(curve: Curve, value: float | None) -> None:
    assert of_curve(ROWS, "train/loss", curve) == (value if value is None else pytest.approx(value))
    assert of_curve(ROWS, "val/loss", curve) is None
    assert of_curve([], "train/loss", curve) is None


# --- published values ------------------------------------------------------------------------------------------------


@given(values=VALUES, published=THOUSANDTHS)
def test_a_published_value_is_reproduced_inside_the_prediction_interval(values: list[float], published: float) -> None:
    low, high = prediction_interval(values)
    judged = judge_published(published, values, exact=False)
    assert judged.interval == (low, high)
    if min(abs(published - low), abs(published - high)) > 1e-4:  # nearer, the printed digits do not tell
        assert (judged.verdict == Verdict.REPRODUCED) == (low <= published <= high)
        side = "inside" if low <= published <= high else "above" if published > high else "below"
        assert judged.reason.startswith(side)


def test_a_value_is_held_as_printed() -> None:
    constant = [416 / 529] * 3  # .78638...: all of one class; the report prints .7864
    assert judge_published(0.7864, constant, exact=False).verdict == Verdict.REPRODUCED
    differs = judge_published(0.7866, constant, exact=False)
    assert (differs.verdict, differs.reason) == (Verdict.DIFFERS, "above [0.7864, 0.7864] by 0.0002")
    assert judge_published(1.1828277518109578, [1.18281] * 3, exact=False).verdict == Verdict.DIFFERS


@pytest.mark.parametrize(
    ("published", "ours", "exact", "verdict", "reason"),
    [
        (0.7, [], False, Verdict.NOT_RUN, "not run"),
        (0.7, [], True, Verdict.NOT_RUN, "not run"),
        (0.7, [0.7], False, Verdict.UNDECIDED, "one run gives no interval"),
        (0.7, [0.7, math.nan], False, Verdict.UNDECIDED, "a value is not finite"),
        (math.inf, [0.7, 0.71], False, Verdict.UNDECIDED, "a value is not finite"),
        (5340742, [5340742.0], True, Verdict.REPRODUCED, "equal"),
        (5340742, [5340742.0, 5340742.0], True, Verdict.REPRODUCED, "equal"),
        (756742, [755718], True, Verdict.DIFFERS, "ours is 755,718"),
        (755718, [756742], True, Verdict.DIFFERS, "ours is 756,742"),
    ],
)
def test_few_and_exact_values(published: float, ours: list[float], exact: bool, verdict: Verdict, reason: str) -> None:
    judged = judge_published(published, ours, exact)
    assert (judged.verdict, judged.reason, judged.interval) == (verdict, reason, None)
