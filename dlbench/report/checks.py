"""What a claim comes to: each check judged by our runs or by computing, with the numbers that decided."""

import math
import statistics
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from dlbench.report.blocks import Verdict
from dlbench.report.judgements import Judgement
from dlbench.report.metrics import is_exact, spoken
from dlbench.report.numbers import format_value, mean_and_spread
from dlbench.report.published import Check, Claim, Comparison, Curve, Part, Statement
from dlbench.report.results import Result, ResultsOf
from dlbench.report.statements import judge_statement
from dlbench.report.statistics import Interval, difference_interval, of_curve, permutation_p


def judge_claim(claim: Claim, results_of: ResultsOf, planned: Container[str] = ()) -> tuple[Verdict, list[Judgement]]:
    """A claim's verdict, and that of each of its checks; ``planned`` are the configurations that cannot run yet."""
    judgements = [
        Judgement(Verdict.PLANNED, describe(check), "no such experiment yet")
        if isinstance(check, Comparison) and (check.of in planned or check.other in planned)
        else judge(check, results_of)
        for check in claim.checks
    ]
    verdicts = {judgement.verdict for judgement in judgements}
    decisive = (Verdict.PLANNED, Verdict.FAILS, Verdict.NOT_RUN, Verdict.UNDECIDED, Verdict.HOLDS)
    return next((verdict for verdict in decisive if verdict in verdicts), Verdict.READER), judgements


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
    name = f"{spoken(metric)} less {spoken(check.minus)}" if check.minus else spoken(metric)
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
    """A configuration in a comparison: what is measured of it, each seed's value, and how many are stand-ins."""

    name: str
    metric: str
    values: Mapping[int, float]
    unreached: int = 0

    @property
    def seeds(self) -> str:
        return f"{self.name} has {', '.join(map(str, sorted(self.values)))}"


def _side(name: str, metric: str, check: Comparison, results: Sequence[Result]) -> _Side:
    measured = {result.seed: _value(result, metric, check) for result in results}
    values = {seed: value for seed, value in measured.items() if value is not None and math.isfinite(value)}
    is_count = check.curve is not None and check.curve.epochs_to is not None
    unreached = sum(values.get(result.seed, 0) > len(result.curves) for result in results) if is_count else 0
    return _Side(name, _measured(metric, check), values, unreached)


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
    exact = is_exact(check.metric) and is_exact(than_metric)
    if exact:
        pairs = [(next(iter(ours.values.values())), next(iter(theirs.values.values())))]
    else:
        seeds = sorted(ours.values.keys() & theirs.values.keys())
        pairs = [(ours.values[seed], theirs.values[seed]) for seed in seeds]
    if not pairs:
        return Judgement(Verdict.UNDECIDED, said, f"no common seed: {ours.seeds}; {theirs.seeds}")
    return _judge_pairs(check, said, pairs, exact, ours.unreached + theirs.unreached)


def _judge_pairs(
    check: Comparison, said: str, pairs: Sequence[tuple[float, float]], exact: bool, unreached: int
) -> Judgement:
    ours, theirs = zip(*pairs, strict=True)
    margin = check.by * abs(statistics.fmean(theirs)) if isinstance(check.by, Part) else check.by
    wanted = _Wanted(check.relation.endswith("higher_than"), check.relation.startswith("not_"), margin)
    sign = 1 if wanted.is_higher else -1
    directed = [sign * (our - their) for our, their in pairs]
    low, high = _bounds(directed, exact)
    verdict, reason = wanted.verdict(low, high), wanted.reason(low, high)
    if exact:
        reason += ": computed, one run tells"
    if unreached:
        reason += f"; runs that never get there count as one epoch more than they have ({unreached})"
    interval, p, smallest_p = None, None, None
    if len(pairs) > 1:
        interval = (low, high) if wanted.is_higher else (-high, -low)
        p, smallest_p = permutation_p([margin - x if wanted.is_denied else x for x in directed])
    return Judgement(
        verdict,
        said,
        reason,
        mean_and_spread(ours),
        mean_and_spread(theirs) if isinstance(check.other, str) else f"{check.other:g}",
        sign * statistics.fmean(directed),
        interval,
        p,
        smallest_p,
        len(pairs),
    )


def _bounds(differences: Sequence[float], exact: bool) -> Interval:
    """Where the mean difference lies: anywhere, as far as one seed tells."""
    if exact:
        return differences[0], differences[0]
    return difference_interval(differences) if len(differences) > 1 else (-math.inf, math.inf)


@dataclass(frozen=True)
class _Wanted:
    """What a comparison wants of the difference, counted in the direction that it names.

    Args:
        is_higher: Whether that direction is upwards.
        is_denied: Whether a difference in it is denied, beyond the margin.
        margin: How large a difference is to be; 0: of any size.
    """

    is_higher: bool
    is_denied: bool
    margin: float

    def verdict(self, low: float, high: float) -> Verdict:
        """The verdict on this interval; no difference at all is none, so that a single point always decides."""
        if self.is_denied:
            holds, fails = high <= self.margin, low > self.margin
        else:
            holds, fails = low > 0 and high >= self.margin, high < self.margin or high <= 0
        return Verdict.HOLDS if holds else Verdict.FAILS if fails else Verdict.UNDECIDED

    def reason(self, low: float, high: float) -> str:
        """The verdict in words: how much of the interval lies where."""
        verdict, there = self.verdict(low, high), "higher" if self.is_higher else "lower"
        if math.isinf(high):
            return "one seed decides nothing"
        if self.margin and (self.is_denied or high > 0):
            there += f" by {'more than ' if self.is_denied else ''}{format_value(self.margin)}"
        if verdict == Verdict.UNDECIDED:
            return f"{there} in one part of the interval, not in the other"
        is_there = (verdict == Verdict.HOLDS) != self.is_denied
        if low == high:
            return f"{'' if is_there else 'not '}{there}, without spread"
        if not is_there:
            return f"not {there} anywhere in the interval"
        only_reaches = not self.is_denied and low < self.margin
        return (
            f"{there} in {'part of the interval, and nowhere the contrary' if only_reaches else 'the whole interval'}"
        )
