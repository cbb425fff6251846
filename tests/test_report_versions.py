"""Runs of other versions in a report: they are compared, but not paired with those whose random streams differ."""

import pytest
from made import made

from dlbench.report.checks import judge
from dlbench.report.document import Verdict
from dlbench.report.results import Result, Runs, by_configuration
from dlbench.report.schema import Comparison

CHECK = Comparison(metric="val/accuracy", of="gap", higher_than="plain")


def runs(experiment: str, level: float, *, outdated: tuple[int, ...] = ()) -> list[Result]:
    return [
        made(
            experiment,
            metrics={"val/accuracy": level + seed / 1000},
            seed=seed,
            versions={"image_classification": "1.7"} if seed in outdated else None,
        )
        for seed in (42, 43, 44)
    ]


def test_a_mean_counts_every_version() -> None:
    (group,) = by_configuration(runs("cnn_vanilla", 0.5, outdated=(43,))).values()
    assert [result.is_outdated for result in group.results] == [False, True, False]


def test_a_seed_made_by_todays_versions_goes_before_one_of_others() -> None:
    old, new = runs("cnn_vanilla", 0.5, outdated=(42,))[0], runs("cnn_vanilla", 0.6)[0]
    for results in ([old, new], [new, old]):
        (chosen,) = by_configuration(results).values()
        assert chosen.first is new


@pytest.mark.parametrize(("outdated", "pairs"), [((), 3), ((43,), 2), ((42, 43, 44), 0)])
def test_seeds_of_other_versions_are_not_paired_and_that_is_said(outdated: tuple[int, ...], pairs: int) -> None:
    results = {"gap": runs("cnn_bn_gap", 0.7), "plain": runs("cnn_vanilla", 0.5, outdated=outdated)}
    judged = judge(CHECK, lambda name: Runs(results[name]))
    assert (judged.n or 0) == pairs
    assert ("not paired: other versions of image_classification" in judged.reason) == bool(outdated)
    if not pairs:
        assert judged.verdict == Verdict.UNDECIDED


def test_both_sides_of_the_same_other_versions_are_paired() -> None:
    every = (42, 43, 44)
    results = {"gap": runs("cnn_bn_gap", 0.7, outdated=every), "plain": runs("cnn_vanilla", 0.5, outdated=every)}
    assert judge(CHECK, lambda name: Runs(results[name])).n == 3
