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
    Expected,
    Judgement,
    holm,
    judge_published,
    mean_interval,
    of_curve,
    one_more,
    permutation_p,
    prediction_interval,
    with_holm,
)

CER, SIZE = "test/cer", "model/parameters"

THOUSANDTHS = st.integers(-1000, 1000).map(lambda value: value / 1000)
VALUES = st.lists(THOUSANDTHS, min_size=2, max_size=10)


# --- intervals -------------------------------------------------------------------------------------------------------


def test_a_prediction_interval_holds_one_more_value_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(3).normal(0.7, 0.02, (4000, 4))
    held = [low <= more <= high for *seen, more in drawn.tolist() for low, high in [prediction_interval(seen)]]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)


@given(values=VALUES)
def test_a_mean_difference_holds_0_where_scipys_t_test_does_not_reject(values: list[float]) -> None:
    low, high = mean_interval(values)
    if min(values) < max(values):
        found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (low, high) == pytest.approx((found.low, found.high), abs=1e-9)
    else:
        assert (low, high) == pytest.approx((values[0], values[0]))


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 31.5, 1e6, math.inf])
def test_quantiles_and_tails_of_t_are_those_of_the_library_to_the_bit(freedom: float) -> None:
    assert Expected(0.0, 1.0, freedom).interval[1] == stats.t.ppf(0.975, freedom)
    for value in (0.0, 1e-9, 0.7, -2.5, 40.0, 1e9):
        assert Expected(0.0, 1.0, freedom).p(value) == 2 * stats.t.sf(abs(value), freedom)


@pytest.mark.parametrize("interval", [prediction_interval, mean_interval])
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
    for computed in (prediction_interval, mean_interval, permutation_p):
        assert computed(shuffled) == pytest.approx(computed(values), abs=1e-12)


@pytest.mark.parametrize("computed", [prediction_interval, mean_interval, permutation_p])
@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_value_tells_no_interval(computed: type, values: list[float]) -> None:
    with pytest.raises(ValueError, match=f"two .* or more, not {len(values)}"):
        computed(values)


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


@given(values=st.lists(st.integers(-1000, 1000), min_size=2, max_size=12))
def test_p_is_scipys_where_every_flip_is_tried(values: list[int]) -> None:
    found = stats.permutation_test((values,), np.sum, permutation_type="samples", alternative="greater")
    assert permutation_p(values)[0] == pytest.approx(found.pvalue)


def test_p_is_about_scipys_where_flips_are_random() -> None:
    values = np.random.default_rng(3).normal(0.2, 1, 40)
    rng = np.random.default_rng(1)
    found = stats.permutation_test((values,), np.mean, permutation_type="samples", alternative="greater", rng=rng)
    assert permutation_p(values.tolist())[0] == pytest.approx(found.pvalue, abs=0.02)  # 5 standard errors of each p


@pytest.mark.parametrize("count", [3, 13, 14, 20])
def test_the_smallest_p_is_that_of_differences_all_of_one_sign(count: int) -> None:
    p, smallest = permutation_p([1.0 + place for place in range(count)])
    assert p == pytest.approx(smallest, rel=0.01, abs=1.1e-4)
    assert p >= smallest > 0
    assert permutation_p([-1.0 - place for place in range(count)])[0] == pytest.approx(1)


# --- curves ----------------------------------------------------------------------------------------------------------

LOSSES = [1.6, 1.2, 0.9, 0.7, 0.75, 0.5]
POINTS = dict(enumerate(LOSSES, start=1))


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
    assert of_curve(POINTS, curve, 6) == (value if value is None else pytest.approx(value))
    assert of_curve({}, curve, 6) is None


# --- published values ------------------------------------------------------------------------------------------------


@given(values=VALUES, published=THOUSANDTHS)
def test_a_published_value_is_held_against_the_prediction_interval(values: list[float], published: float) -> None:
    low, high = prediction_interval(values)
    judged = judge_published(published, values, CER)
    assert judged.interval == (low, high)
    assert judged.n == len(values)
    if min(abs(published - low), abs(published - high)) <= 1e-4:
        return  # the printed digits do not tell
    side = "inside" if low <= published <= high else "above" if published > high else "below"
    assert judged.reason.startswith(f"published {side} ")
    if side != "inside" and judged.p is None:  # nothing varies
        assert judged.verdict == Verdict.UNDECIDED
        return
    within = Verdict.REPRODUCED if len(values) >= 3 and high - low <= 0.06 else Verdict.IMPRECISE
    assert judged.verdict == {"inside": within, "above": Verdict.BETTER, "below": Verdict.WORSE}[side]
    if judged.p is None or judged.distance is None:
        assert min(values) == max(values)
        return
    assert (judged.p < 0.05) == (side != "inside")
    assert (judged.distance > 0) == (published > np.mean(values)) or judged.distance == pytest.approx(0)
    # A t test of two samples, one of them a single value, is the same test.
    with np.errstate(all="ignore"):
        oracle = stats.ttest_ind([published], values)
    assert (judged.distance, judged.p) == pytest.approx((oracle.statistic, oracle.pvalue), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("metric", "published", "verdict"),
    [
        ("test/accuracy", 0.5, Verdict.BETTER),
        ("test/accuracy", 0.9, Verdict.WORSE),
        ("test/cer", 0.5, Verdict.WORSE),
        ("val/loss", 0.9, Verdict.BETTER),
        ("test/damerau_levenshtein", 0.5, Verdict.BETTER),
        ("val/accuracy_last10_std", 0.5, Verdict.DIFFERS),
        ("val/best_epoch", 0.9, Verdict.DIFFERS),
        ("test/retrieval_accuracy", 0.5, Verdict.BETTER),
    ],
)
def test_what_differs_is_better_or_worse(metric: str, published: float, verdict: Verdict) -> None:
    assert judge_published(published, [0.7, 0.701, 0.702], metric).verdict == verdict


@pytest.mark.parametrize(
    ("metric", "scale", "spread", "verdict"),
    [
        ("test/accuracy", 1, 0.006, Verdict.REPRODUCED),  # ±.0298
        ("test/accuracy", 1, 0.0061, Verdict.IMPRECISE),  # ±.0303
        ("test/error_rate_macro", 1, 0.0061, Verdict.IMPRECISE),
        ("val/loss", 1, 0.0061, Verdict.REPRODUCED),  # 10% of .7 is .07
        ("val/loss", 1, 0.0145, Verdict.IMPRECISE),
        ("val/loss", 100, 0.0061, Verdict.REPRODUCED),
        ("test/cosine", 1, 0.0061, Verdict.REPRODUCED),
    ],
)
def test_a_wide_interval_reproduces_nothing(metric: str, scale: float, spread: float, verdict: Verdict) -> None:
    ours = [scale * (0.7 + spread * step) for step in (-1, 0, 1)]
    judged = judge_published(scale * 0.7, ours, metric)
    assert judged.verdict == verdict
    assert ("is more than" in judged.reason) == (verdict == Verdict.IMPRECISE)


def test_two_runs_may_tell_that_a_value_differs_but_reproduce_none() -> None:
    judged = judge_published(0.7, [0.7, 0.7001], "test/accuracy")
    assert judged.verdict == Verdict.IMPRECISE
    assert judged.reason.endswith("but of 2 runs only")
    assert judge_published(0.8, [0.7, 0.7001], "test/accuracy").verdict == Verdict.WORSE


def test_a_value_is_held_as_printed() -> None:
    constant = [416 / 529] * 3  # .78638...: all of one class; the report prints .7864
    for ours in (constant, [*constant, 416 / 529 + 1e-16]):  # what rounding alone tells apart has no distance
        judged = judge_published(0.7864, ours, "test/accuracy")
        assert (judged.verdict, judged.distance, judged.p) == (Verdict.REPRODUCED, None, None)
    differs = judge_published(0.7866, constant, "test/accuracy")
    assert differs.verdict == Verdict.UNDECIDED
    assert differs.reason.startswith("published above [0.7864, 0.7864] by 0.0002; ours is the same in all 3 runs")
    ours = [0.2143, 0.2144, 0.2144]  # whose interval ends above .2139
    assert judge_published(0.21, ours, CER).verdict == Verdict.WORSE
    assert judge_published(0.21, ours, CER, decimals=2).verdict == Verdict.REPRODUCED
    assert judge_published(42.0, [42.3, 42.31, 42.32], "val/loss", decimals=0).verdict == Verdict.REPRODUCED
    constant_on_other_split = judge_published(0.9, constant, "test/accuracy", is_other_split=True, examples=(300, 300))
    assert constant_on_other_split.verdict == Verdict.UNDECIDED


def test_what_has_no_direction_is_not_worse_where_all_runs_diverged() -> None:
    for metric in ("val/best_epoch", SIZE):
        judged = judge_published(3, [], metric, diverged=3)
        assert (judged.verdict, judged.reason) == (Verdict.UNDECIDED, "3 of 3 runs diverged")


@pytest.mark.parametrize(
    ("published", "ours", "metric", "verdict", "reason"),
    [
        (0.7, [], CER, Verdict.NOT_RUN, "not run"),
        (0.7, [], SIZE, Verdict.NOT_RUN, "not run"),
        (0.7, [0.7], CER, Verdict.UNDECIDED, "one run gives no interval"),
        (0.7, [0.7, math.nan], CER, Verdict.UNDECIDED, "a value is not finite"),
        (math.inf, [0.7, 0.71], CER, Verdict.UNDECIDED, "a value is not finite"),
        (5340742, [5340742.0], SIZE, Verdict.REPRODUCED, "equal"),
        (5340742, [5340742.0, 5340742.0], SIZE, Verdict.REPRODUCED, "equal"),
        (756742, [755718], SIZE, Verdict.DIFFERS, "ours is 755,718"),
        (755718, [756742], SIZE, Verdict.DIFFERS, "ours is 756,742"),
    ],
)
def test_few_and_exact_values(published: float, ours: list[float], metric: str, verdict: Verdict, reason: str) -> None:
    judged = judge_published(published, ours, metric)
    assert (judged.verdict, judged.reason, judged.interval) == (verdict, reason, None)


@pytest.mark.parametrize(
    ("ours", "diverged", "verdict", "reason"),
    [
        ([], 1, Verdict.UNDECIDED, "1 of 1 runs diverged"),
        ([], 3, Verdict.WORSE, "all 3 runs diverged"),
        ([0.3], 2, Verdict.UNDECIDED, "one run gives no interval; 2 of 3 runs diverged"),
        ([0.3, 0.301, 0.302], 4, Verdict.UNDECIDED, "published inside [0.2960, 0.3060]; 4 of 7 runs diverged"),
        ([0.3, 0.301, 0.302], 3, Verdict.REPRODUCED, "published inside [0.2960, 0.3060]; 3 of 6 runs diverged"),
        ([0.3, 0.301, 0.302], 1, Verdict.REPRODUCED, "published inside [0.2960, 0.3060]; 1 of 4 runs diverged"),
    ],
)
def test_runs_that_diverged_are_counted(ours: list[float], diverged: int, verdict: Verdict, reason: str) -> None:
    judged = judge_published(0.301, ours, CER, diverged=diverged)
    assert (judged.verdict, judged.reason) == (verdict, reason)


# --- another split ---------------------------------------------------------------------------------------------------


def test_equal_networks_on_other_examples_reproduce_as_often_as_the_interval_says() -> None:
    """Networks of one accuracy, each tested on examples of its own: ours share theirs, the published one has others."""
    draw, right, seeds = np.random.default_rng(4), 0.7, 4
    held = held_without = 0
    for _ in range(4000):
        # A network's accuracy is its own; how it does on a set of examples is also that of the set.
        networks = right + 0.005 * draw.normal(size=seeds + 1)
        sets = draw.binomial(3000, right, 2) / 3000 - right
        ours, published = (networks[:-1] + sets[0]).tolist(), float(networks[-1] + sets[1])
        judged = judge_published(published, ours, "test/accuracy", is_other_split=True, examples=(3000, 3000))
        held += judged.verdict in (Verdict.REPRODUCED, Verdict.IMPRECISE)
        low, high = prediction_interval(ours)
        held_without += low <= published <= high
    assert held / 4000 == pytest.approx(0.95, abs=0.02)
    assert held_without / 4000 < 0.9


@pytest.mark.parametrize("runs", [2, 3, 5])
@pytest.mark.parametrize("split", [0.2, 0.5, 1.0, 2.0])
def test_an_interval_with_a_split_holds_one_more_at_least_as_often_as_it_says(runs: int, split: float) -> None:
    drawn = np.random.default_rng(5).normal(size=(2000, runs + 2))
    ours, others = drawn[:, :runs].tolist(), (drawn[:, -2] + split * drawn[:, -1]).tolist()
    ps = [one_more(values, split**2).p(other) or 0 for values, other in zip(ours, others, strict=True)]
    assert np.mean([p >= 0.05 for p in ps]) >= 0.94


@given(ours=VALUES, split=st.floats(0.001, 1))
def test_a_split_makes_an_interval_wider_and_p_larger(ours: list[float], split: float) -> None:
    without, whole, normal = one_more(ours), one_more(ours, split**2), stats.norm(0, split)
    (low, high), middle = whole.interval, whole.mean
    reach = high - middle
    assert middle - low == pytest.approx(reach)
    assert reach >= (without.interval[1] - middle) * (1 - 1e-6)
    assert reach >= normal.ppf(0.975) * (1 - 1e-6)
    assert reach <= (without.interval[1] - middle + normal.ppf(0.975)) * (1 + 1e-6)
    assert whole.p(high) == pytest.approx(0.05, abs=1e-5)
    for far in (0.5, 2.0):
        value = middle + far * reach
        assert whole.p(value) >= max(without.p(value) or 0, 2 * normal.sf(far * reach)) - 1e-5


@given(estimated=st.floats(0.01, 10), known=st.floats(0.01, 10), freedom=st.integers(1, 20), far=st.floats(0, 8))
def test_p_of_both_errors_is_that_of_their_sum(estimated: float, known: float, freedom: int, far: float) -> None:
    expected = Expected(0.0, estimated, freedom, known)
    reach = far * expected.deviation
    # Of the normal error as drawn, the t beyond what is left.
    normal = np.linspace(-9, 9, 20_001)
    beyond = stats.t.sf((reach - known * normal) / estimated, freedom) @ stats.norm.pdf(normal) * (18 / 20_000)
    assert expected.p(reach) == pytest.approx(2 * beyond, abs=1e-5)


def test_the_binomial_error_of_both_sets_is_added() -> None:
    ours, published = [0.7, 0.7, 0.7], 0.7
    judged = judge_published(published, ours, "test/accuracy", is_other_split=True, examples=(3000, 1000))
    deviation = math.sqrt(0.7 * 0.3 / 3000 + 0.7 * 0.3 / 1000)
    assert judged.interval == pytest.approx(stats.norm.interval(0.95, 0.7, deviation))
    assert judged.verdict == Verdict.IMPRECISE  # ±.0328, however many runs
    varied = one_more([0.69, 0.7, 0.71], deviation**2)
    assert varied.deviation == pytest.approx(math.sqrt(0.01**2 * 4 / 3 + deviation**2))
    assert varied.interval[1] - 0.7 > one_more([0.69, 0.7, 0.71]).interval[1] - 0.7


def test_a_metric_whose_variation_is_not_known_can_neither_differ_nor_reproduce_on_another_split() -> None:
    ours = [1.4, 1.41, 1.42]
    inside, outside = (judge_published(value, ours, "val/loss", is_other_split=True).verdict for value in (1.41, 1.9))
    assert (inside, outside) == (Verdict.IMPRECISE, Verdict.UNDECIDED)
    assert judge_published(1.9, ours, "val/loss").verdict == Verdict.BETTER


# --- Holm's correction -----------------------------------------------------------------------------------------------


def test_holm_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@given(ps=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(ps: list[float]) -> None:
    """The definition: from the smallest p on, each is held against .05 / (those left), until the first that is not."""
    corrected = holm(ps)
    assert all(p <= after <= 1 for p, after in zip(ps, corrected, strict=True))
    rejected = set[int]()
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if ps[place] * (len(ps) - rank) >= 0.05:
            break
        rejected.add(place)
    assert {place for place, after in enumerate(corrected) if after < 0.05} == rejected


def test_only_what_was_tested_is_corrected() -> None:
    tested = [
        Judgement(Verdict.WORSE, "", p=0.02),
        Judgement(Verdict.NOT_RUN, ""),
        Judgement(Verdict.BETTER, "", p=0.03),
    ]
    assert [judgement.holm for judgement in with_holm(tested)] == [pytest.approx(0.04), None, pytest.approx(0.04)]
