"""Claims and slips judged: comparisons by results, paired by seed; statements and slips by computing."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import made
from scipy import stats

from dlbench.config import configuration_of
from dlbench.errors import ConfigError
from dlbench.records import history
from dlbench.records.store import Record
from dlbench.report.checks import Verdicts, held_against, judge, judge_claim, judge_slip
from dlbench.report.document import Verdict
from dlbench.report.results import Diverged, Result, Runs, by_configuration
from dlbench.report.schema import Claim, Comparison, Report, Slip, Statement
from dlbench.report.statistics import Judgement

CER = "test/cer"
HOLDS, FAILS, UNDECIDED, NOT_RUN = Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED, Verdict.NOT_RUN
ThousandthsBySeed = dict[int, int]
BY_SEED = st.dictionaries(st.integers(1, 6), st.integers(-30, 30), min_size=1)
RELATIONS = st.sampled_from(["higher_than", "lower_than", "not_higher_than", "not_lower_than"])


@cache
def any_result() -> Result:
    return made("p2g_lstm", metrics={})


def result(
    seed: int, metrics: Mapping[str, float], folder: Path = Path("none"), versions: Mapping[str, str] | None = None
) -> Result:
    """An evaluation of a run of this seed, with its curves in a folder."""
    told = {**any_result().result, "metrics": metrics, "versions": versions or {}}
    return replace(any_result(), record=Record(folder / str(seed)), config={"seed": seed}, result=told)


def lost(seed: int) -> Diverged:
    """A run of this seed that diverged."""
    return Diverged(Record(Path("none")), {"seed": seed}, {}, {}, 7)


def results(values: Mapping[int, float], metric: str = CER) -> list[Result]:
    return [result(seed, {metric: value}) for seed, value in values.items()]


def compare(ours: Sequence[Result], theirs: Sequence[Result] = (), **check: Any) -> Judgement:
    return judge(Comparison(**{"of": "a", "metric": CER, **check}), {"a": Runs(ours), "b": Runs(theirs)}.__getitem__)


def judged(ours: Mapping[int, float], theirs: Mapping[int, float], relation: str, **check: Any) -> Judgement:
    return compare(results(ours), results(theirs), **{relation: "b"}, **check)


# --- comparisons -----------------------------------------------------------------------------------------------------


@given(ours=BY_SEED, theirs=BY_SEED, relation=RELATIONS)
def test_a_comparison_is_a_paired_t_test(ours: ThousandthsBySeed, theirs: ThousandthsBySeed, relation: str) -> None:
    found = judged(ours, theirs, relation)
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 3 <= min(len(ours), len(theirs)):
        assert "unpaired" in found.reason
        return
    assert found.n == len(seeds)
    if len(seeds) < 2:
        assert (found.verdict, found.interval, found.p, found.smallest_p) == (UNDECIDED, None, None, None)
        assert found.permutation_p is None
        return
    pairs = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    differences = [our - their for our, their in zip(*pairs, strict=True)]
    if max(differences) - min(differences) < 1e-9:
        assert found.verdict == UNDECIDED
        return
    interval = stats.ttest_rel(*pairs).confidence_interval(0.95)
    low, high = interval.low, interval.high
    assert found.interval == pytest.approx((low, high), abs=1e-9)
    assert found.difference == pytest.approx((low + high) / 2, abs=1e-9)
    is_not_higher, is_not_lower = high <= 0, low >= 0
    holds, fails = {
        "higher_than": (low > 0, is_not_higher),
        "lower_than": (high < 0, is_not_lower),
        "not_higher_than": (is_not_higher, low > 0),
        "not_lower_than": (is_not_lower, high < 0),
    }[relation]
    assert not (holds and fails)
    if len(seeds) < 3:
        assert (found.verdict, found.p) == (UNDECIDED, None)
        return
    assert found.verdict == (HOLDS if holds else FAILS if fails else UNDECIDED)


@given(ours=BY_SEED, theirs=BY_SEED, by=st.sampled_from([0, 0.5, 4, "10%"]), seed=st.integers(0, 9))
def test_a_claim_its_contrary_and_its_denial(
    ours: ThousandthsBySeed, theirs: ThousandthsBySeed, by: float | str, seed: int
) -> None:
    higher = judged(ours, theirs, "higher_than", by=by)
    swapped = judged(theirs, ours, "lower_than", by=by if isinstance(by, float | int) else 0)
    lower, denied = judged(ours, theirs, "lower_than", by=by), judged(ours, theirs, "not_higher_than", by=by)
    assert HOLDS not in {higher.verdict} & {lower.verdict}
    if higher.verdict == HOLDS:
        assert lower.verdict == FAILS
        assert denied.verdict != HOLDS or by != 0
    if by != "10%":
        assert (swapped.verdict, swapped.permutation_p) == (higher.verdict, higher.permutation_p)
        assert swapped.p == pytest.approx(higher.p)
    if by == 0 and UNDECIDED in (higher.verdict, denied.verdict):
        assert denied.verdict == higher.verdict
    shuffled = random.Random(seed).sample(list(ours.items()), len(ours))
    assert judged(dict(shuffled), theirs, "higher_than", by=by) == higher


NEAR = {1: 0.31, 2: 0.29, 3: 0.30}
FAR = {1: 0.21, 2: 0.20, 3: 0.20}


@pytest.mark.parametrize(
    ("relation", "by", "verdict"),
    [
        ("lower_than", 0, HOLDS),
        ("lower_than", 0.05, HOLDS),
        ("lower_than", 0.1, UNDECIDED),  # 0.1 lies in the interval
        ("lower_than", 0.2, FAILS),  # lower, but far from so much
        ("lower_than", "20%", HOLDS),
        ("lower_than", "30%", UNDECIDED),
        ("lower_than", "60%", FAILS),
        ("higher_than", 0, FAILS),
        ("higher_than", 0.1, FAILS),
        ("not_lower_than", 0, FAILS),
        ("not_lower_than", 0.1, UNDECIDED),
        ("not_lower_than", 0.2, HOLDS),
        ("not_lower_than", "60%", HOLDS),
        ("not_higher_than", 0, HOLDS),
    ],
)
def test_how_large_a_difference_is_wanted(relation: str, by: float | str, verdict: Verdict) -> None:
    found = judged(FAR, NEAR, relation, by=by)
    assert found.verdict == verdict
    assert found.interval is not None
    assert found.interval[0] < -0.1 < found.interval[1] < 0
    assert ("by" in found.said) == bool(by)


def test_the_words_and_numbers_beside_a_verdict() -> None:
    found = judged(FAR, NEAR, "lower_than")
    assert found.said == "test CER of a lower than of b"
    assert (found.permutation_p, found.smallest_p, found.n) == (0.125, 0.125, 3)
    assert found.reason == "so in the whole interval"
    assert judged(FAR, NEAR, "lower_than", by=0.2).permutation_p == 1
    assert judged(FAR, NEAR, "higher_than").permutation_p == 1
    assert judged(FAR, NEAR, "not_higher_than").permutation_p == 0.125
    oracle = stats.ttest_rel(list(FAR.values()), list(NEAR.values()))
    assert (found.distance, found.p) == pytest.approx((-oracle.statistic, oracle.pvalue))
    assert judged(FAR, NEAR, "higher_than").distance == pytest.approx(oracle.statistic)


@pytest.mark.parametrize("relation", ["higher_than", "lower_than", "not_higher_than", "not_lower_than"])
def test_differences_that_never_vary_do_not_tell_how_much_they_would(relation: str) -> None:
    same = dict.fromkeys((1, 2, 3), 0.1743)
    for other in (same, dict.fromkeys(same, 0.1)):
        found = judged(same, other, relation)
        assert (found.verdict, found.reason[:20]) == (UNDECIDED, "the same in all 3 pa")


def test_two_measures_of_the_same_runs_may_be_equal() -> None:
    """Here nothing varies that ought to: what a shuffle leaves as it was, it leaves in every run."""
    ours = [result(seed, {CER: value, "test/wer": value}) for seed, value in NEAR.items()]
    found = compare(ours, not_higher_than="a", than_metric="test/wer", by=0.001)
    assert (found.verdict, found.reason) == (HOLDS, "the same in each of 3 runs")
    rounded = [result(seed, {CER: value, "test/wer": value + 1e-15}) for seed, value in NEAR.items()]
    assert compare(rounded, not_higher_than="a", than_metric="test/wer", by=0.001).verdict == HOLDS
    assert compare(ours, higher_than="a", than_metric="test/wer").verdict == UNDECIDED
    assert compare(ours[:1], not_higher_than="a", than_metric="test/wer", by=0.001).verdict == UNDECIDED


def test_a_number_is_compared_with_each_seed() -> None:
    found = compare(results(NEAR), lower_than=0.4)
    assert (found.verdict, found.n) == (HOLDS, 3)
    assert found.difference == pytest.approx(-0.1)
    assert found.said == "test CER of a lower than 0.4"
    assert compare(results(NEAR), lower_than=0.3).verdict == UNDECIDED


def test_another_metric_may_be_compared_with() -> None:
    ours = [result(seed, {CER: value, "test/wer": value + 0.4 + seed / 100}) for seed, value in NEAR.items()]
    found = compare(ours, lower_than="a", than_metric="test/wer")
    assert (found.verdict, found.said) == (HOLDS, "test CER of a lower than test WER of a")
    assert found.difference == pytest.approx(-0.42)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "reason"),
    [
        ({}, NEAR, NOT_RUN, "no run of a gives test CER"),
        (NEAR, {}, NOT_RUN, "no run of b gives test CER"),
        ({}, {}, NOT_RUN, "no run of a gives test CER; no run of b gives test CER"),
        ({1: 0.2, 4: 0.3}, {2: 0.3}, UNDECIDED, "no common seed: a has 1, 4; b has 2"),
        ({1: 0.2, 4: 0.3}, {4: 0.3}, UNDECIDED, "one pair of runs decides nothing"),
        ({1: 0.2, 4: 0.201}, {1: 0.3, 4: 0.301}, UNDECIDED, "2 pairs of runs decide nothing"),
    ],
)
def test_too_few_runs_are_told(
    ours: Mapping[int, float], theirs: Mapping[int, float], verdict: Verdict, reason: str
) -> None:
    found = judged(ours, theirs, "lower_than")
    assert (found.verdict, found.reason) == (verdict, reason)


def test_runs_that_lack_the_metric_do_not_count() -> None:
    other = result(3, {"test/wer": 0.5})
    near = {**NEAR, 4: 0.3}
    found = compare([*results({1: 0.21, 2: 0.195, 4: 0.2}), other], results(near), lower_than="b")
    assert (found.verdict, found.n) == (HOLDS, 3)
    assert compare([other], results(NEAR), lower_than="b").reason == "no run of a gives test CER"


@pytest.mark.parametrize(
    ("relation", "ours", "verdict"),
    [
        ("lower_than", 755_718, HOLDS),
        ("lower_than", 5_340_742, FAILS),
        ("higher_than", 755_718, FAILS),
        ("not_higher_than", 5_340_742, HOLDS),
        ("not_lower_than", 5_340_742, HOLDS),
    ],
)
def test_what_is_computed_needs_one_run_and_no_common_seed(relation: str, ours: int, verdict: Verdict) -> None:
    metric = "model/parameters"
    theirs = results({2: 5_340_742.0}, metric)
    found = compare(results({1: float(ours)}, metric), theirs, metric=metric, **{relation: "b"})
    assert (found.verdict, found.p, found.interval) == (verdict, None, None)


def test_what_is_computed_of_networks_that_differ_by_seed_is_compared_by_seed() -> None:
    """Of part of the data the symbols, and so the embeddings, are those that were drawn."""
    metric = "model/parameters"
    ours, theirs = results({1: 100.0, 2: 300.0}, metric), results({1: 200.0, 2: 200.0}, metric)
    for each in (ours, ours[::-1]):
        assert compare(each, theirs, metric=metric, lower_than="b").verdict == UNDECIDED


def test_a_seed_whose_value_is_not_finite_is_named() -> None:
    found = compare(results({**FAR, 4: math.inf}), results({**NEAR, 4: 0.3}), lower_than="b")
    assert (found.verdict, found.n) == (HOLDS, 3)
    assert found.reason.endswith("a is not finite with seed 4")
    most = dict.fromkeys((4, 5, 6, 7), math.nan)
    assert compare(results({**FAR, **most}), results(NEAR), lower_than="b").verdict == UNDECIDED
    assert compare(results(most), results(NEAR), lower_than="b").verdict == UNDECIDED


def test_other_data_of_the_same_name_is_not_compared() -> None:
    def on(fingerprint: str, name: str, values: Mapping[int, float]) -> list[Result]:
        data = {**any_result().manifest["data"], "fingerprint": fingerprint * 64, "name": name}
        return [replace(each, manifest={**each.manifest, "data": data}) for each in results(values)]

    found = compare(on("a", "p2g", FAR), on("b", "p2g", NEAR), lower_than="b")
    reason = "on different data of one name and settings (p2g: aaaaaaaaaaaa and bbbbbbbbbbbb)"
    assert (found.verdict, found.reason) == (UNDECIDED, reason)
    lacking = compare(on("a", "p2g", {}), on("b", "p2g", NEAR), lower_than="b")
    assert lacking.verdict == NOT_RUN
    stripped = [replace(each, config={**each.config, "data": {"strip": True}}) for each in on("b", "p2g", NEAR)]
    assert compare(on("a", "p2g", FAR), stripped, lower_than="b").verdict == HOLDS
    for theirs in (on("a", "p2g", NEAR), on("b", "cmudict", NEAR)):  # of which a claim may well speak
        assert compare(on("a", "p2g", FAR), theirs, lower_than="b").verdict == HOLDS


# --- curves ----------------------------------------------------------------------------------------------------------


def with_curves(folder: Path, curves: Mapping[int, Sequence[float]]) -> list[Result]:
    """Runs with these training losses, and a validation loss of 1."""
    for seed, losses in curves.items():
        (folder / str(seed)).mkdir(parents=True)
        for epoch, loss in enumerate(losses, start=1):
            history.append(folder / str(seed) / "metrics.jsonl", {"epoch": epoch, "train/loss": loss, "val/loss": 1.0})
    return [result(seed, {}, folder) for seed in curves]


def test_curves_are_compared(tmp_path: Path) -> None:
    ours = with_curves(tmp_path / "a", {1: [1.0, 0.5, 0.3, 0.2], 2: [1.1, 0.6, 0.31, 0.2], 3: [1.05, 0.55, 0.3, 0.21]})
    theirs = with_curves(tmp_path / "b", {1: [1.0, 0.9, 0.9, 1.0], 2: [1.0, 0.9, 0.5, 0.9], 3: [1.0, 0.9, 0.7, 0.95]})

    def verdict(relation: str, curve: dict[str, float]) -> Verdict:
        return compare(ours, theirs, metric="train/loss", curve=curve, **{relation: "b"}).verdict

    assert verdict("lower_than", {"at": 4}) == HOLDS
    assert verdict("lower_than", {"at": 1}) == UNDECIDED
    assert verdict("lower_than", {"at": 5}) == NOT_RUN
    assert verdict("higher_than", {"at": 4}) == FAILS
    rising = compare(theirs, metric="train/loss", curve={"slope_after": 2}, higher_than=0)
    assert (rising.said, rising.verdict) == ("slope of training loss after epoch 2 of a higher than 0", UNDECIDED)
    assert rising.difference == pytest.approx((0.1 + 0.4 + 0.25) / 3)
    assert compare(ours, metric="train/loss", curve={"slope_after": 2}, higher_than=0).verdict == FAILS


def test_a_run_that_never_reaches_the_threshold_counts_one_epoch_more(tmp_path: Path) -> None:
    ours = with_curves(tmp_path / "a", {1: [1.0, 0.5, 0.3], 2: [1.0, 0.5, 0.3], 3: [1.0, 0.6, 0.4]})
    theirs = with_curves(tmp_path / "b", {1: [1.0, 0.9, 0.9], 2: [1.0, 0.9, 0.5], 3: [1.0, 0.9, 0.9]})
    found = compare(ours, theirs, metric="train/loss", curve={"epochs_to": 0.5}, lower_than="b")
    assert found.difference == pytest.approx(((2 - 4) + (2 - 3) + (3 - 4)) / 3)
    assert found.reason.endswith("a run that never reaches the threshold counts as one epoch more than it has")
    assert found.said == "epochs to training loss at most 0.5 of a lower than of b"


def test_of_two_metrics_the_curve_of_their_difference_is_compared(tmp_path: Path) -> None:
    ours = with_curves(tmp_path, {1: [2.0, 1.6, 1.5], 2: [2.0, 1.6, 1.6]})
    found = compare(ours, metric="train/loss", minus="val/loss", curve={"epochs_to": 0.5}, lower_than=3.5)
    assert found.difference == pytest.approx((3 + 4) / 2 - 3.5)
    assert found.said == "epochs to training loss less validation loss at most 0.5 of a lower than 3.5"


def test_a_run_that_ended_early_says_nothing_of_later_epochs(tmp_path: Path) -> None:
    """As by early stopping: it may have needed more epochs than the other."""
    short = with_curves(tmp_path / "a", {seed: [1.0, 0.9, 0.9] for seed in range(5)})
    late, early = [1.0, 0.9, 0.8, 0.5], [1.0, 0.4, 0.4, 0.4]
    long = with_curves(tmp_path / "b", {0: early, 1: early, 2: [1.0, 0.9, 0.4, 0.4], 3: late, 4: late})
    curve = {"epochs_to": 0.5}
    for relation in ("lower_than", "higher_than"):
        found = compare(short, long, metric="train/loss", curve=curve, **{relation: "b"})
        assert (found.verdict, found.reason) == (UNDECIDED, "seeds 3, 4: a run ended too early to tell")
        found = compare(short[:3], long[:3], metric="train/loss", curve=curve, **{relation: "b"})
        assert (found.verdict, found.n) == (HOLDS if relation == "higher_than" else FAILS, 3)
        found = compare(short[:3], long[:3], metric="train/loss", curve=curve, by=1, **{relation: "b"})
        assert (found.verdict, found.reason) == (UNDECIDED, "seeds 0, 1, 2: a run ended too early to tell")
    assert compare(short, metric="train/loss", curve=curve, lower_than=9).verdict == UNDECIDED


def test_pairs_that_both_never_reach_the_threshold_tell_nothing(tmp_path: Path) -> None:
    ours = with_curves(tmp_path / "a", {1: [1.0, 0.9], 2: [1.0, 0.9], 3: [1.0, 0.4]})
    theirs = with_curves(tmp_path / "b", {1: [1.0, 0.8], 2: [0.9, 0.8], 3: [0.4, 0.3]})
    curve = {"epochs_to": 0.5}
    found = compare(ours, theirs, metric="train/loss", curve=curve, lower_than="b")
    assert (found.n, found.difference, found.verdict) == (1, 1, UNDECIDED)
    assert found.reason.endswith("neither run reaches the threshold with seed 1, 2")
    found = compare(ours[:2], theirs[:2], metric="train/loss", curve=curve, lower_than="b")
    assert (found.verdict, found.reason) == (UNDECIDED, "neither run reaches the threshold with seed 1, 2")


# --- statements and slips --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "over", "verdict", "reason"),
    [
        ("2 * 3**2 < 5**2", {}, HOLDS, "18 against 25"),
        ("a + b == 5", {"a": (1, 2), "b": (4, 3)}, HOLDS, "5 against 5 for a = 1, b = 4"),
        ("a + b == 5", {"a": (1, 2.5), "b": (4, 3)}, FAILS, "5.5 against 5 for a = 2.5, b = 3"),
        ("a > 0 and a < 0", {"a": (1,)}, FAILS, "false for a = 1"),
        ("1 < 2 or 1 > 2", {}, HOLDS, "true"),
    ],
)
def test_a_statement_holds_where_it_is_true_for_all_values(
    statement: str, over: dict[str, tuple[float, ...]], verdict: Verdict, reason: str
) -> None:
    found = judge(Statement(statement=statement, over=over), lambda _: Runs())
    assert (found.verdict, found.reason, found.said) == (verdict, reason, statement)
    assert found.n == max(map(len, over.values()), default=1)


@pytest.mark.parametrize(
    ("statement", "over", "message"),
    [
        ("a + 1", {"a": (1,)}, "a \\+ 1: is a number, no statement"),
        ("a < b", {"a": (1, 2), "b": (1,)}, "over a, b: give each variable a value or more"),
        ("a < 1", {"a": ()}, "over a: give each variable a value or more"),
        ("a < c", {"a": (1,)}, "a < c: c: no such name"),
    ],
)
def test_a_statement_that_cannot_be_judged_is_named(
    statement: str, over: dict[str, tuple[float, ...]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        judge(Statement(statement=statement, over=over), lambda _: Runs())


@pytest.mark.parametrize(
    ("stated", "computes", "over", "verdict", "reason"),
    [
        ("46084", "128 * 6**2", {}, Verdict.WRONG, "46,084 stated, 4,608 computed"),
        ("18", "2 * 3**2", {}, Verdict.RIGHT, "computed"),
        ("0.3", "0.1 + 0.2", {}, Verdict.RIGHT, "computed"),
        (
            "(n - f + 1) / s",
            "(n - f) // s + 1",
            {"n": (48,), "f": (2,), "s": (2,)},
            Verdict.WRONG,
            "23.5 stated, 24 computed for n = 48, f = 2, s = 2",
        ),
        (
            "1 + factorial(D) / factorial(D - 1)",
            "comb(D + K - 1, K - 1)",
            {"D": (64, 64), "K": (2, 3)},
            Verdict.WRONG,
            "65 stated, 2,145 computed for D = 64, K = 3",
        ),
    ],
)
def test_a_slip_is_what_is_stated_against_what_is_computed(
    stated: str, computes: str, over: dict[str, tuple[float, ...]], verdict: Verdict, reason: str
) -> None:
    found = judge_slip("r", Slip(id="i", text="t", stated=stated, computes=computes, over=over))
    assert (found.verdict, found.reason) == (verdict, reason)


def test_a_slip_shows_expressions_with_their_values() -> None:
    found = judge_slip("r", Slip(id="i", text="t", stated="7", computes="n + 1", over={"n": (5, 6)}))
    assert (found.stated, found.computed) == ("7, 7", "n + 1 = 6, 7")


# --- claims ----------------------------------------------------------------------------------------------------------

LOWER = Comparison(of="a", metric=CER, lower_than="b")
HIGHER = Comparison(of="a", metric=CER, higher_than="b")
CLOSE = Comparison(of="a", metric=CER, lower_than=0.205)
OPEN = Comparison(of="c", metric=CER, lower_than="b")
TRUE, FALSE = Statement(statement="1 < 2"), Statement(statement="2 < 1")


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ((), Verdict.READER),
        ((LOWER, TRUE), HOLDS),
        ((LOWER, CLOSE), UNDECIDED),
        ((LOWER, OPEN, CLOSE), NOT_RUN),
        ((OPEN, CLOSE, FALSE), FAILS),
        ((LOWER, HIGHER), FAILS),
    ],
)
def test_a_claim_holds_where_every_check_does(checks: tuple[Comparison | Statement, ...], verdict: Verdict) -> None:
    found = {"a": Runs(results(FAR)), "b": Runs(results(NEAR)), "c": Runs()}.__getitem__
    for order in (checks, checks[::-1]):
        claim = Claim(id="i", text="t", checks=order)
        whole, each = judge_claim(claim, found)
        assert whole == verdict
        assert [replace(one, holm=None) for one in each] == [judge(check, found) for check in order]


def test_a_check_that_is_one_of_several_must_tell_more() -> None:
    """A p of .03 by itself is .06 beside one of .04: neither tells anything then."""
    steady = {seed: 0.3 + difference for seed, difference in enumerate((-0.0185, -0.020, -0.031))}
    checks = [Comparison(of="a", metric=CER, lower_than=0.3, by=by) for by in (0.0, 0.003)]
    alone = [judge(check, lambda _: Runs(results(steady))) for check in checks]
    assert [one.verdict for one in alone] == [HOLDS, HOLDS]
    assert all(0.025 < (one.p or 0) < 0.05 for one in alone)
    whole, together = judge_claim(Claim(id="i", text="t", checks=tuple(checks)), lambda _: Runs(results(steady)))
    smaller, larger = sorted(one.p or 0 for one in alone)
    assert sorted(one.holm or 0 for one in together) == pytest.approx([min(1, 2 * smaller), max(2 * smaller, larger)])
    assert whole == UNDECIDED
    assert any("Holm" in one.reason for one in together)
    whole, (one,) = judge_claim(Claim(id="i", text="t", checks=tuple(checks[:1])), lambda _: Runs(results(steady)))
    assert (whole, one.holm) == (HOLDS, one.p)


def test_runs_that_diverged_are_named() -> None:
    check, theirs = Comparison(of="a", metric=CER, lower_than="b"), Runs(results(NEAR))
    diverged = [lost(43), lost(44)]
    found = judge(check, {"a": Runs(results(FAR), diverged), "b": theirs}.__getitem__)
    assert (found.verdict, found.n) == (HOLDS, 3)
    assert found.reason == "so in the whole interval; a diverged with seed 43, 44"
    found = judge(check, {"a": Runs((), diverged), "b": theirs}.__getitem__)
    assert found.verdict == UNDECIDED
    assert found.reason == "no run of a gives test CER; a diverged with seed 43, 44"
    found = judge(check, {"a": Runs((), diverged), "b": Runs()}.__getitem__)
    assert found.verdict == NOT_RUN
    found = judge(check, {"a": Runs(results(FAR), [*diverged, lost(45), lost(46)]), "b": theirs}.__getitem__)
    assert found.verdict == UNDECIDED  # more diverged than did not
    # One that diverged here, and ended well under other numerics, has its value.
    both = {43: 0.2, 44: 0.21, 45: 0.2}
    others = Runs(results(dict.fromkeys(both, 0.3)))
    found = judge(check, {"a": Runs(results(both), diverged), "b": others}.__getitem__)
    assert (found.n, found.reason) == (3, "so in the whole interval")


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"), [((), (), 3), ((), (2,), 2), ((), (1, 2, 3), 0), ((1, 2, 3), (1, 2, 3), 3)]
)
def test_only_seeds_of_equal_versions_are_paired_and_that_is_said(
    ours: tuple[int, ...], theirs: tuple[int, ...], pairs: int
) -> None:
    """Two versions of a component draw other random numbers from one seed."""

    def made_by(values: Mapping[int, float], earlier: tuple[int, ...]) -> list[Result]:
        versions = {seed: {"convnet": "1.7" if seed in earlier else "1.8"} for seed in values}
        return [result(seed, {CER: value}, versions=versions[seed]) for seed, value in values.items()]

    for seeds in ((1, 2), (1, 2, 3)):
        far, near = ({seed: values[seed] for seed in seeds} for values in (FAR, NEAR))
        found = compare(made_by(far, ours), made_by(near, theirs), lower_than="b")
        assert ("not paired: other versions of convnet" in found.reason) == bool(({*ours} ^ {*theirs}) & {*seeds})
        left = len({*seeds} - ({*ours} ^ {*theirs}))
        assert (found.n, found.verdict) == ((left, UNDECIDED) if len(seeds) < 3 else (3, HOLDS))
    assert ("unpaired, 3 runs against 3" in found.reason) == (pairs < 3)


@pytest.mark.parametrize(("decimals", "verdict"), [(4, Verdict.WORSE), (2, Verdict.REPRODUCED)])
def test_a_value_is_read_with_as_many_decimals_as_its_report_prints(decimals: int, verdict: Verdict) -> None:
    report = Report.model_validate({"title": "t", "data": "d", "decimals": decimals, "configurations": {}})
    found = held_against(0.2, CER, Runs(results({1: 0.2041, 2: 0.2042, 3: 0.2042})), report)
    assert found.verdict == verdict


SEVERAL = st.lists(st.integers(-30, 30), min_size=3, max_size=6)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(ours=SEVERAL, theirs=SEVERAL, relation=RELATIONS, by=st.sampled_from([0.0, 0.5, "25%"]))
def test_runs_of_no_common_seed_are_compared_by_welchs_test(
    ours: list[float], theirs: list[float], relation: str, by: float | str
) -> None:
    found = compare(results(dict(enumerate(ours))), results(dict(enumerate(theirs, 100))), by=by, **{relation: "b"})
    assert (found.n, found.permutation_p) == (min(len(ours), len(theirs)), None)
    assert f"unpaired, {len(ours)} runs against {len(theirs)} (no common seed" in found.reason
    assert found.difference == pytest.approx(np.mean(ours) - np.mean(theirs))
    if found.p is None:
        assert found.verdict == UNDECIDED and "neither varies" in found.reason
        return
    sign = 1 if relation.endswith("higher_than") else -1
    beyond = [sign * their + (abs(their) / 4 if isinstance(by, str) else by) for their in theirs]
    oracle = stats.ttest_ind([sign * our for our in ours], beyond, equal_var=False)
    turned = -1 if relation.startswith("not_") else 1
    assert (found.distance, found.p) == pytest.approx((turned * oracle.statistic, oracle.pvalue), rel=1e-5, abs=1e-9)
    claimed = oracle.confidence_interval(0.95)
    low, high = (claimed.low, claimed.high) if turned == 1 else (-claimed.high, -claimed.low)
    if min(abs(low), abs(high)) > 1e-9:
        assert found.verdict == (HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED)


def test_what_rounding_alone_tells_apart_has_no_distance() -> None:
    found = judged({1: 0.3, 2: 0.4, 3: 0.9}, {1: 0.2, 2: 0.3, 3: 0.8}, "higher_than")
    assert (found.verdict, found.distance, found.p) == (UNDECIDED, None, None)


@pytest.mark.parametrize("planned", [{"c"}, {"c", "b"}])
def test_a_claim_of_what_is_planned_is_planned_unless_it_fails_already(planned: set[str]) -> None:
    whole, (comparison,) = judge_claim(
        Claim(id="i", text="t", checks=(OPEN,)), lambda _: Runs(results(NEAR)), planned=planned
    )
    assert whole == comparison.verdict == Verdict.PLANNED
    whole, _ = judge_claim(
        Claim(id="i", text="t", checks=(FALSE, OPEN)), lambda _: Runs(results(NEAR)), planned=planned
    )
    assert whole == FAILS


# --- our runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        ({"of": "p2g_attention", "metric": CER, "lower_than": "p2g_lstm"}, HOLDS),
        ({"of": "p2g_lstm", "metric": CER, "lower_than": "p2g_attention"}, FAILS),
        ({"of": "p2g_lstm", "metric": CER, "lower_than": "p2g_lstm", "than_metric": "test/wer"}, HOLDS),
        ({"of": "p2g_lstm", "metric": "train/loss", "curve": {"slope_after": 1}, "lower_than": 0}, HOLDS),
        ({"of": "p2g_attention", "metric": "val/cer", "curve": {"epochs_to": 0.35}, "lower_than": "p2g_lstm"}, HOLDS),
    ],
)
def test_our_records_are_judged(check: dict[str, Any], verdict: Verdict, committed: Verdicts) -> None:
    recorded = by_configuration(committed.evidence.collection.results)
    found = judge(Comparison(**check), lambda experiment: recorded[configuration_of(experiment, ())])
    assert found.n >= 3
    assert (found.verdict, found.smallest_p) == (verdict, 2.0**-found.n)
