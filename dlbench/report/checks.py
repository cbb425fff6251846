"""What a claim comes to: each check judged by our runs or by computing, with the numbers that decided."""

import math
import statistics
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from dlbench.metrics.names import display_name, is_exact
from dlbench.report.document import Verdict
from dlbench.report.results import Result, ResultsOf
from dlbench.report.schema import Check, Claim, Comparison, Curve, Part, Statement
from dlbench.report.statements import Judgement, judge_statement
from dlbench.report.statistics import difference_interval, of_curve, permutation_p
from dlbench.terminal import mean_and_spread


def judge_claim(claim: Claim, results_of: ResultsOf, planned: Container[str] = ()) -> tuple[Verdict, list[Judgement]]:
    """A claim's verdict, and that of each of its checks; ``planned`` are the configurations that cannot run yet."""
    if not claim.checks:
        return (Verdict.READER if all(map(results_of, claim.of)) else Verdict.NOT_RUN), []
    judgements = [
        Judgement(Verdict.PLANNED, describe(check), "no such experiment yet")
        if isinstance(check, Comparison) and (check.of in planned or check.other in planned)
        else judge(check, results_of)
        for check in claim.checks
    ]
    verdicts = {judgement.verdict for judgement in judgements}
    decisive = (Verdict.FAILS, Verdict.PLANNED, Verdict.NOT_RUN, Verdict.UNDECIDED, Verdict.HOLDS)
    return next(verdict for verdict in decisive if verdict in verdicts), judgements


def judge_elsewhere(claim: Claim, results_of: ResultsOf) -> tuple[Verdict, list[Judgement]] | None:
    """A claim judged by results on other data than it is about, in verdicts that say so; None where nothing was run.

    Its statements, which no data decides, are left out.
    """
    comparisons = tuple(check for check in claim.checks if isinstance(check, Comparison))
    whole, judgements = judge_claim(claim.model_copy(update={"checks": comparisons}), results_of)
    if not any(judged.n for judged in judgements):
        return None
    found = [replace(judged, verdict=ELSEWHERE.get(judged.verdict, judged.verdict)) for judged in judgements]
    return ELSEWHERE.get(whole, whole), found


ELSEWHERE = {
    Verdict.HOLDS: Verdict.HOLDS_ELSEWHERE,
    Verdict.FAILS: Verdict.FAILS_ELSEWHERE,
    Verdict.UNDECIDED: Verdict.UNDECIDED_ELSEWHERE,
}
"""What a verdict is called that other data gave."""


def judge(check: Check, results_of: ResultsOf) -> Judgement:
    """A comparison by our runs, or a statement by computing it.

    Raises:
        ConfigError: A statement is none, or cannot be computed.
    """
    return judge_statement(check) if isinstance(check, Statement) else _judge_comparison(check, results_of)


def describe(check: Check) -> str:
    """A check in words: ``val/accuracy of plain higher than of deep, by 0.01 or more``."""
    if isinstance(check, Statement):
        return check.statement
    other = f"{check.other:g}" if isinstance(check.other, float) else f"of {check.other}"
    if check.than_metric:
        other = f"{_measured(check.than_metric, check)} {other}"
    size = f"{check.by:.0%}" if isinstance(check.by, Part) else f"{check.by:g}"
    by = f" by {'more than ' if 'not' in check.relation else ''}{size}" if check.by else ""
    relation = check.relation.replace("_", " ")
    return f"{_measured(check.metric, check)} of {check.of} {relation} {other}{by}"


def _measured(metric: str, check: Comparison) -> str:
    name = f"{display_name(metric)} less {display_name(check.minus)}" if check.minus else display_name(metric)
    return name if check.curve is None else _of_curve(name, check.curve)


def _of_curve(metric: str, curve: Curve) -> str:
    phrases = {
        "at": f"{metric} after epoch {curve.at}",
        "slope_after": f"slope of {metric} after epoch {curve.slope_after}",
        "roughness": f"roughness of {metric} after epoch {curve.roughness}",
        "epochs_to": f"epochs to {metric} at most {curve.epochs_to}",
    }
    (kind,) = curve.model_fields_set
    return phrases[kind]


@dataclass(frozen=True)
class _Side:
    """A configuration in a comparison: what is measured of it, each seed's value, and which seeds never got there.

    ``versions`` are those of each seed's components, where it is a run's.
    """

    name: str
    metric: str
    values: Mapping[int, float]
    versions: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    unreached: frozenset[int] = frozenset()

    @property
    def seeds(self) -> str:
        return f"{self.name} has {', '.join(map(str, sorted(self.values)))}"


def _side(name: str, metric: str, check: Comparison, results: Sequence[Result]) -> _Side:
    measured = {result.seed: _value(result, metric, check) for result in results}
    values = {seed: value for seed, value in measured.items() if value is not None and math.isfinite(value)}
    is_count = check.curve is not None and check.curve.epochs_to is not None
    unreached = (result.seed for result in results if is_count and values.get(result.seed, 0) > len(result.curves))
    versions = {result.seed: result.versions for result in results}
    return _Side(name, _measured(metric, check), values, versions, frozenset(unreached))


def _value(result: Result, metric: str, check: Comparison) -> float | None:
    """What a check measures of a run; None where the run does not have it."""
    value, less = (
        result.metrics.get(name) if check.curve is None else of_curve(result.curves, name, check.curve)
        for name in (metric, check.minus or metric)
    )
    if check.minus is None or value is None:
        return value
    return None if less is None else value - less


def _judge_comparison(check: Comparison, results_of: ResultsOf) -> Judgement:
    said = describe(check)
    than_metric = check.than_metric or check.metric
    ours = _side(check.of, check.metric, check, results_of(check.of))
    if isinstance(check.other, str):
        theirs = _side(check.other, than_metric, check, results_of(check.other))
    else:
        theirs = _Side("", "", dict.fromkeys(ours.values, check.other))
    lacking = [side for side in (ours, theirs) if not side.values and side.name]
    if lacking:
        reason = "; ".join(f"no run of {side.name} gives {side.metric}" for side in lacking)
        return Judgement(Verdict.NOT_RUN, said, reason)
    if is_exact(check.metric) and is_exact(than_metric):
        pair = next(iter(ours.values.values())), next(iter(theirs.values.values()))
        return _judge_pairs(check, said, [pair], exact=True)
    seeds = sorted(ours.values.keys() & theirs.values.keys())
    if not seeds:
        return Judgement(Verdict.UNDECIDED, said, f"no common seed: {ours.seeds}; {theirs.seeds}")
    # Two versions draw other random numbers from the same seed: such runs are not a pair.
    unlike = {seed: found for seed in seeds if (found := _other_versions(ours, theirs, seed))}
    names = ", ".join(sorted({*chain(*unlike.values())}))
    not_paired = f"seed {', '.join(map(str, unlike))} not paired: other versions of {names}"
    seeds = [seed for seed in seeds if seed not in unlike]
    if not seeds:
        return Judgement(Verdict.UNDECIDED, said, not_paired)
    told = [seed for seed in seeds if seed not in ours.unreached & theirs.unreached]
    if not told:
        return Judgement(Verdict.UNDECIDED, said, "neither ever gets there")
    judged = _judge_pairs(check, said, [(ours.values[seed], theirs.values[seed]) for seed in told])
    if (ours.unreached | theirs.unreached) & set(told):
        reason = f"{judged.reason}; a run that never gets there counts as one epoch more than it has"
        judged = replace(judged, reason=reason)
    return replace(judged, reason=f"{judged.reason}; {not_paired}") if unlike else judged


def _other_versions(ours: _Side, theirs: _Side, seed: int) -> list[str]:
    """The components that both runs of a seed are made of, but in different versions."""
    one, other = ours.versions.get(seed, {}), theirs.versions.get(seed, {})
    return sorted(name for name in one.keys() & other.keys() if one[name] != other[name])


def _judge_pairs(
    check: Comparison, said: str, pairs: Sequence[tuple[float, float]], *, exact: bool = False
) -> Judgement:
    sign = 1 if check.relation.endswith("higher_than") else -1
    is_denied = check.relation.startswith("not_")
    differences = [our - their for our, their in pairs]
    # By how much each pair is on the claimed side of the margin.
    beyond = [sign * (our - their) - _margin(check, their) for our, their in pairs]
    claimed = [-excess for excess in beyond] if is_denied else beyond
    is_same = all(math.isclose(difference, 0, abs_tol=1e-12) for difference in differences)
    if is_denied and check.of == check.other and len(pairs) > 1 and is_same:
        verdict, reason = Verdict.HOLDS, f"the same in each of {len(pairs)} runs"
    else:
        verdict, reason = _decide(claimed, exact, allows_none=is_denied or check.by > 0)
    has_many = len(pairs) > 1
    p, smallest_p = permutation_p(claimed) if has_many else (None, None)
    ours, theirs = zip(*pairs, strict=True)
    return Judgement(
        verdict,
        said,
        reason,
        mean_and_spread(ours),
        mean_and_spread(theirs) if isinstance(check.other, str) else f"{check.other:g}",
        statistics.fmean(differences),
        difference_interval(differences) if has_many else None,
        p,
        smallest_p,
        len(pairs),
    )


def _margin(check: Comparison, their: float) -> float:
    return check.by * abs(their) if isinstance(check.by, Part) else check.by


def _decide(claimed: Sequence[float], exact: bool, *, allows_none: bool) -> tuple[Verdict, str]:
    """Whether the mean of what is claimed to be positive is so, and why; ``allows_none``: 0 is enough."""
    if exact:
        holds = claimed[0] > 0 or (allows_none and claimed[0] == 0)
        return (Verdict.HOLDS if holds else Verdict.FAILS), "computed: one run tells"
    if len(claimed) == 1:
        return Verdict.UNDECIDED, "one seed decides nothing"
    if math.isclose(min(claimed), max(claimed), rel_tol=1e-9, abs_tol=1e-12):
        return Verdict.UNDECIDED, f"the same in all {len(claimed)} pairs, which does not tell how much it varies"
    low, high = difference_interval(claimed)
    if low > 0 or (allows_none and low == 0):
        return Verdict.HOLDS, "so in the whole interval"
    if high < 0 or (not allows_none and high == 0):
        return Verdict.FAILS, "the contrary in the whole interval"
    return Verdict.UNDECIDED, "so in one part of the interval, not in the other"
