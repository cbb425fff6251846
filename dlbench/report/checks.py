"""Every published value, claim and slip judged, with the numbers that decided: by our runs, or by computing."""

import contextlib
import math
import statistics
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any

from dlbench import components
from dlbench.config import composed
from dlbench.errors import ConfigError
from dlbench.metrics.names import display_name, is_exact, is_share_of_examples
from dlbench.report.document import Verdict
from dlbench.report.expressions import Number, evaluate, network, operands
from dlbench.report.results import Evidence, Result, Runs, RunsOf, Substituted, in_variant
from dlbench.report.schema import (
    Check,
    Claim,
    Comparison,
    Configuration,
    OtherSplit,
    Part,
    Report,
    Row,
    Slip,
    Statement,
    Table,
)
from dlbench.report.statistics import (
    ENOUGH_RUNS,
    LEVEL,
    Expected,
    Judgement,
    difference_of_means,
    is_constant,
    judge_published,
    mean_difference,
    mean_interval,
    of_curve,
    permutation_p,
    with_holm,
)
from dlbench.terminal import format_value, mean_and_spread


def judge(check: Check, runs_of: RunsOf) -> Judgement:
    """A comparison by our runs, or a statement by computing it for all values of its variables.

    Raises:
        ConfigError: A statement is none, or cannot be computed.
    """
    if isinstance(check, Comparison):
        return _judge_comparison(check, runs_of)
    cases = _cases(check.over)
    values = [evaluate(check.statement, **case) for case in cases]
    if not all(isinstance(value, bool) for value in values):
        raise ConfigError(f"{check.statement}: is a number, no statement; compare it with something")
    holds = all(values)
    telling = cases[0 if holds else values.index(False)]
    compared = [_number(evaluate(operand, **telling)) for operand in operands(check.statement)]
    reason = (" against ".join(compared) or str(holds).lower()) + _where(telling)
    return Judgement(Verdict.HOLDS if holds else Verdict.FAILS, reason, check.statement, n=len(cases))


# --- comparisons, by our runs -----------------------------------------------------------------------------------------


def describe(check: Check) -> str:
    """A check in words: ``val/accuracy of plain higher than of deep, by 0.01 or more``."""
    if isinstance(check, Statement):
        return check.statement
    other = f"{check.other:g}" if isinstance(check.other, float) else f"of {check.other}"
    if check.than_metric:
        other = f"{_in_words(check.than_metric, check)} {other}"
    size = f"{check.by:.0%}" if isinstance(check.by, Part) else f"{check.by:g}"
    by = f" by {'more than ' if 'not' in check.relation else ''}{size}" if check.by else ""
    return f"{_in_words(check.metric, check)} of {check.of} {check.relation.replace('_', ' ')} {other}{by}"


def _in_words(metric: str, check: Comparison) -> str:
    """What a check measures of a run."""
    name = f"{display_name(metric)} less {display_name(check.minus)}" if check.minus else display_name(metric)
    if check.curve is None:
        return name
    (kind,) = check.curve.model_fields_set
    return {
        "at": f"{name} after epoch {check.curve.at}",
        "slope_after": f"slope of {name} after epoch {check.curve.slope_after}",
        "roughness": f"roughness of {name} after epoch {check.curve.roughness}",
        "epochs_to": f"epochs to {name} at most {check.curve.epochs_to}",
    }[kind]


@dataclass(frozen=True)
class _Side:
    """A configuration in a comparison: each seed's value, its components' versions, and which seeds never get there.

    ``lost`` are the seeds whose runs diverged, and have no value, ``infinite`` those whose value is not finite.
    A number that is compared with has values alone.
    """

    name: str
    metric: str
    values: Mapping[int, float]
    versions: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    unreached: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    infinite: frozenset[int] = frozenset()

    @property
    def told(self) -> str:
        """Which runs diverged, or gave no finite value, in words."""
        found = {"diverged with": self.lost, "is not finite with": self.infinite}
        return "; ".join(
            f"{self.name} {what} seed {', '.join(map(str, sorted(seeds)))}" for what, seeds in found.items() if seeds
        )


def _side(name: str, metric: str, check: Comparison, runs: Runs) -> _Side:
    def difference(row: Mapping[str, Any]) -> float | None:
        value, less = row.get(metric), row.get(check.minus) if check.minus else 0
        return None if value is None or less is None else value - less

    def measured(result: Result) -> float | None:
        if check.curve is None:
            return difference(result.metrics)
        points = {row["epoch"]: value for row in result.curves if (value := difference(row)) is not None}
        return of_curve(points, check.curve, len(result.curves))

    found = {result.seed: measured(result) for result in runs.results}
    values = {seed: value for seed, value in found.items() if value is not None and math.isfinite(value)}
    is_count = check.curve is not None and check.curve.epochs_to is not None
    unreached = (result.seed for result in runs.results if is_count and values.get(result.seed, 0) > len(result.curves))
    versions = {result.seed: result.versions for result in runs.results}
    infinite = frozenset(seed for seed, value in found.items() if value is not None and seed not in values)
    return _Side(name, _in_words(metric, check), values, versions, frozenset(unreached), frozenset(runs.lost), infinite)


def _judge_comparison(check: Comparison, runs_of: RunsOf) -> Judgement:
    ours = _side(check.of, check.metric, check, runs_of(check.of))
    if isinstance(check.other, str):
        theirs = _side(check.other, check.than_metric or check.metric, check, runs_of(check.other))
    else:
        theirs = _Side("", "", dict.fromkeys(ours.values, check.other))
    judged = _judge_sides(check, ours, theirs)
    if judged.verdict != Verdict.NOT_RUN and (mixed := _mixed_data(check, runs_of)):
        judged = Judgement(Verdict.UNDECIDED, mixed, judged.said)
    is_most_lost = any(len(side.lost | side.infinite) > len(side.values) for side in (ours, theirs))
    if judged.verdict != Verdict.NOT_RUN and is_most_lost:
        judged = replace(judged, verdict=Verdict.UNDECIDED)  # by those that happened to end
    reasons = dict.fromkeys((judged.reason, ours.told, theirs.told))
    return replace(judged, reason="; ".join(filter(None, reasons)))


def _mixed_data(check: Comparison, runs_of: RunsOf) -> str | None:
    """What is wrong where one data set was meant and both sides have another; None if nothing is.

    Settings that differ say that a report compares kinds of data. What is computed needs none.
    """
    if not isinstance(check.other, str) or is_exact(check.metric):
        return None
    both = [runs_of(name) for name in (check.of, check.other)]
    if not all(runs.results for runs in both):
        return None
    one, other = (runs.first for runs in both)
    is_meant = (one.data, one.config.get("data")) != (other.data, other.config.get("data"))
    if is_meant or one.fingerprint == other.fingerprint:
        return None
    hashes = f"{one.fingerprint[:12]} and {other.fingerprint[:12]}"
    return f"on different data of one name and settings ({one.data}: {hashes})"


def _judge_sides(check: Comparison, ours: _Side, theirs: _Side) -> Judgement:
    said, than_metric = describe(check), check.than_metric or check.metric
    lacking = [side for side in (ours, theirs) if not side.values and side.name]
    if lacking:
        reason = "; ".join(f"no run of {side.name} gives {side.metric}" for side in lacking)
        is_run = all(side.lost | side.infinite for side in lacking)
        return Judgement(Verdict.UNDECIDED if is_run else Verdict.NOT_RUN, reason, said)
    # Less data may have other symbols, and so other networks: then each seed counts.
    all_equal = is_constant([*ours.values.values()]) and is_constant([*theirs.values.values()])
    if is_exact(check.metric) and is_exact(than_metric) and all_equal:
        one, other = (next(iter(side.values.values())) for side in (ours, theirs))
        (claimed,) = _excesses(check, [(one, other)])
        holds = claimed > 0 or (claimed == 0 and _allows_none(check))
        verdict = Verdict.HOLDS if holds else Verdict.FAILS
        return Judgement(verdict, "computed: one run tells", said, difference=one - other, n=1)
    seeds, remark = _pairs(ours, theirs)
    unreached = ours.unreached | theirs.unreached
    if untold := [seed for seed in seeds if seed in unreached and not _tells(check, seed, ours, theirs)]:
        which = f"seed{'s' if len(untold) > 1 else ''} {', '.join(map(str, untold))}"
        return Judgement(Verdict.UNDECIDED, f"{which}: a run ended too early to tell", said)
    if len(seeds) < ENOUGH_RUNS <= min(len(ours.values), len(theirs.values)) and not unreached:
        return _judge_unpaired(check, said, ours, theirs, remark or f"common seeds: {', '.join(map(str, seeds))}")
    if not seeds:
        return Judgement(Verdict.UNDECIDED, remark, said)
    judged = _judge_pairs(check, said, [(ours.values[seed], theirs.values[seed]) for seed in seeds])
    one_more = "a run that never reaches the threshold counts as one epoch more than it has"
    told = (judged.reason, one_more if unreached & {*seeds} else "", remark)
    return replace(judged, reason="; ".join(filter(None, told)))


def _pairs(ours: _Side, theirs: _Side) -> tuple[list[int], str]:
    """The seeds whose runs are pairs that tell something, and why others are not, if there are others."""
    common = sorted(ours.values.keys() & theirs.values.keys())
    if not common:
        seeds = [f"{side.name} has {', '.join(map(str, sorted(side.values)))}" for side in (ours, theirs)]
        return [], f"no common seed: {'; '.join(seeds)}"
    # Two versions of a component draw other random numbers from the same seed: such runs are not a pair.
    differing = {seed: components.unlike(ours.versions.get(seed, {}), theirs.versions.get(seed, {})) for seed in common}
    unlike = [seed for seed in common if differing[seed]]
    names = ", ".join(sorted({*chain(*differing.values())}))
    which = f"seed{'s' if len(unlike) > 1 else ''} {', '.join(map(str, unlike))}"
    remark = f"{which} not paired: other versions of {names}" if unlike else ""
    paired = [seed for seed in common if seed not in unlike]
    reaching = [seed for seed in paired if seed not in ours.unreached & theirs.unreached]
    if neither := [seed for seed in paired if seed not in reaching]:
        told = f"neither run reaches the threshold with seed {', '.join(map(str, neither))}"
        remark = "; ".join(filter(None, (remark, told)))
    return reaching, remark


def _tells(check: Comparison, seed: int, ours: _Side, theirs: _Side) -> bool:
    """Whether a run that never reaches a threshold is as long as the other took to it: what it lacks is not known."""
    late, early = (ours, theirs) if seed in ours.unreached else (theirs, ours)
    return not check.by and late.values[seed] > early.values[seed]


def _excesses(check: Comparison, pairs: Iterable[tuple[float, float]]) -> list[float]:
    """By how much each pair is on the claimed side of the margin; a denial claims the contrary."""
    sign = 1 if check.relation.endswith("higher_than") else -1
    found = (
        sign * (our - their) - (check.by * abs(their) if isinstance(check.by, Part) else check.by)
        for our, their in pairs
    )
    return [-excess for excess in found] if check.relation.startswith("not_") else list(found)


def _allows_none(check: Comparison) -> bool:
    """Whether no excess at all is enough."""
    return check.relation.startswith("not_") or check.by > 0


def _judge_pairs(check: Comparison, said: str, pairs: Sequence[tuple[float, float]]) -> Judgement:
    differences = [our - their for our, their in pairs]
    claimed, count = _excesses(check, pairs), len(pairs)
    pairs_decide = "one pair of runs decides" if count == 1 else f"{count} pairs of runs decide"
    judged = Judgement(Verdict.UNDECIDED, f"{pairs_decide} nothing", said, n=count)
    judged = replace(judged, difference=statistics.fmean(differences))
    if count == 1:
        return judged
    permuted, smallest_p = permutation_p(claimed)
    judged = replace(judged, interval=mean_interval(differences), permutation_p=permuted, smallest_p=smallest_p)
    if count < ENOUGH_RUNS:
        return judged
    is_same = all(math.isclose(difference, 0, abs_tol=1e-12) for difference in differences)
    if check.relation.startswith("not_") and check.of == check.other and is_same:
        return replace(judged, verdict=Verdict.HOLDS, reason=f"the same in each of {count} runs")
    if is_constant(claimed):
        return replace(judged, reason=f"the same in all {count} pairs, which does not tell how much it varies")
    return _decided(check, judged, mean_difference(claimed))


def _judge_unpaired(check: Comparison, said: str, ours: _Side, theirs: _Side, why: str) -> Judgement:
    """Two sets of runs of which too few are pairs, by Welch's test."""
    sides = [*ours.values.values()], [*theirs.values.values()]
    # An excess is what each side gives to it; ``none``, of 0 against 0, is the margin.
    (none,) = _excesses(check, [(0.0, 0.0)])
    own = _excesses(check, ((our, 0.0) for our in sides[0]))
    against = [none - excess for excess in _excesses(check, ((0.0, their) for their in sides[1]))]
    shown = difference_of_means(*sides)
    unpaired = f"unpaired, {len(sides[0])} runs against {len(sides[1])} ({why})"
    count = min(map(len, sides))
    judged = Judgement(Verdict.UNDECIDED, "", said, interval=shown.interval, difference=shown.mean, n=count)
    if is_constant(own) and is_constant(against):
        return replace(judged, reason=f"neither varies; {unpaired}")
    judged = _decided(check, judged, difference_of_means(own, against))
    return replace(judged, reason=f"{judged.reason}; {unpaired}")


def _decided(check: Comparison, judged: Judgement, claimed: Expected) -> Judgement:
    """The judgement by where the mean of what is claimed to be positive is expected."""
    low, high = claimed.interval
    verdict, reason = Verdict.UNDECIDED, "so in one part of the interval, not in the other"
    if low > 0 or (_allows_none(check) and low == 0):
        verdict, reason = Verdict.HOLDS, "so in the whole interval"
    elif high < 0 or (not _allows_none(check) and high == 0):
        verdict, reason = Verdict.FAILS, "the contrary in the whole interval"
    return replace(judged, verdict=verdict, reason=reason, distance=claimed.mean / claimed.deviation, p=claimed.p(0))


# --- statements and slips, by computing -------------------------------------------------------------------------------


def _cases(over: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """The variables' values, taken together; without variables a single case."""
    if not over:
        return [{}]
    if len(set(map(len, over.values()))) > 1 or not all(over.values()):
        raise ConfigError(f"over {', '.join(over)}: give each variable a value or more, and all of them as many")
    return [dict(zip(over, values, strict=True)) for values in zip(*over.values(), strict=True)]


def _where(case: Mapping[str, float]) -> str:
    """For which values of the variables, if there are any."""
    return f" for {', '.join(f'{name} = {_number(value)}' for name, value in case.items())}" if case else ""


def _number(value: Number) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


@dataclass(frozen=True)
class SlipVerdict:
    """What a report's number or formula comes to: what is ``stated`` and ``computed``, with values, as text."""

    report: str
    slip: Slip
    verdict: Verdict
    stated: str
    computed: str
    reason: str


def judge_slip(report: str, slip: Slip) -> SlipVerdict:
    """Whether what a report states is what its expression computes, for all values of the variables.

    Raises:
        ConfigError: An expression cannot be computed.
    """

    def worth(expression: str, values: Sequence[Number]) -> str:
        numbers = ", ".join(map(_number, values))
        return numbers if expression.replace(".", "").isalnum() else f"{expression} = {numbers}"

    cases = _cases(slip.over)
    stated = [evaluate(slip.stated, **case) for case in cases]
    computed = [evaluate(slip.computes, **case) for case in cases]
    verdict, reason = Verdict.RIGHT, "computed"
    for case, value, right in zip(cases, stated, computed, strict=True):
        if not math.isclose(value, right):
            verdict = Verdict.WRONG
            reason = f"{_number(value)} stated, {_number(right)} computed{_where(case)}"
            break
    return SlipVerdict(report, slip, verdict, worth(slip.stated, stated), worth(slip.computes, computed), reason)


# --- claims -----------------------------------------------------------------------------------------------------------

Outcome = tuple[Verdict, list[Judgement]]
"""A claim's verdict, and what each of its checks came to."""


def judge_claim(claim: Claim, runs_of: RunsOf, planned: Container[str] = ()) -> Outcome:
    """A claim's verdict, and that of each of its checks, after Holm's correction where several were tested.

    ``planned`` are the configurations that cannot run yet.
    """
    if not claim.checks:
        return (Verdict.READER if all(runs_of(name).results for name in claim.of) else Verdict.NOT_RUN), []
    judgements = [
        Judgement(Verdict.PLANNED, "no such experiment yet", describe(check))
        if isinstance(check, Comparison) and (check.of in planned or check.other in planned)
        else judge(check, runs_of)
        for check in claim.checks
    ]
    judgements = [_after_holm(judgement) for judgement in with_holm(judgements)]
    verdicts = {judgement.verdict for judgement in judgements}
    decisive = (Verdict.FAILS, Verdict.PLANNED, Verdict.NOT_RUN, Verdict.UNDECIDED, Verdict.HOLDS)
    return next(verdict for verdict in decisive if verdict in verdicts), judgements


def _after_holm(judgement: Judgement) -> Judgement:
    """The judgement, undecided where its p tells something by itself, but not among the other checks' of its claim."""
    p, corrected = judgement.p, judgement.holm
    if p is None or corrected is None or not p < LEVEL <= corrected:
        return judgement
    reason = f"{judgement.reason}, but with Holm's correction p is {format_value(corrected)}"
    return replace(judgement, verdict=Verdict.UNDECIDED, reason=reason)


ELSEWHERE = {
    Verdict.HOLDS: Verdict.HOLDS_ELSEWHERE,
    Verdict.FAILS: Verdict.FAILS_ELSEWHERE,
    Verdict.UNDECIDED: Verdict.UNDECIDED_ELSEWHERE,
}
"""What a verdict is called that other data gave."""


def judge_elsewhere(claim: Claim, runs_of: RunsOf) -> Outcome | None:
    """A claim judged by runs on other data than it is about, in verdicts that say so; None where nothing was run.

    Its statements, which no data decides, are left out.
    """
    comparisons = tuple(check for check in claim.checks if isinstance(check, Comparison))
    whole, judgements = judge_claim(claim.model_copy(update={"checks": comparisons}), runs_of)
    if not any(judged.n for judged in judgements):
        return None
    found = [replace(judged, verdict=ELSEWHERE.get(judged.verdict, judged.verdict)) for judged in judgements]
    return ELSEWHERE.get(whole, whole), found


# --- all verdicts: what the report's sections and files are written from ----------------------------------------------


@dataclass(frozen=True)
class Tried:
    """The runs of a configuration in a variant, and the published value judged by them."""

    runs: Runs
    judged: Judgement


@dataclass(frozen=True)
class Value(Tried):
    """A published value, and what our runs of its configuration came to.

    ``variants`` holds what each variant that concerns it came to, ``substituted`` what stands in where there are no
    results: shown beside, never judged against it. ``split`` says that the results are on other examples than the
    published value.
    """

    report: str
    table: Table
    row: Row
    metric: str
    published: float
    variants: Mapping[str, Tried]
    substituted: Substituted | None = None
    split: OtherSplit | None = None

    @property
    def ours(self) -> list[float]:
        """The metric in each of our runs that has it, by seed."""
        return self.runs.measured(self.metric)

    @property
    def stood_in(self) -> list[float]:
        """The metric in each run of what stands in, by seed."""
        return self.substituted.runs.measured(self.metric) if self.substituted else []


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim as judged, and in each variant that concerns all that it speaks of.

    ``substitutes`` holds what each substitute says that stands in for all that it speaks of: no verdict on the claim.
    """

    report: str
    claim: Claim
    verdict: Verdict
    judgements: list[Judgement]
    variants: Mapping[str, Outcome] = field(default_factory=dict)
    substitutes: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def made_by(self) -> tuple[str, ...]:
        """The reports that make it."""
        return self.claim.reports or (self.report,)

    @property
    def judged_for(self) -> tuple[str, ...]:
        """Those of them of whose part the checks speak."""
        return tuple(name for name in self.made_by if name not in self.claim.unjudged)


@dataclass(frozen=True)
class Verdicts:
    """All verdicts on the reports, from the evidence, report by report."""

    evidence: Evidence

    @cached_property
    def values(self) -> list[Value]:
        """Every published value, with Holm's correction over those of its report."""
        found = []
        for name in self.evidence.reports:
            values = list(self._values(name))
            corrected = with_holm([value.judged for value in values])
            found += [replace(value, judged=judged) for value, judged in zip(values, corrected, strict=True)]
        return found

    def _values(self, name: str) -> Iterator[Value]:
        evidence, report = self.evidence, self.evidence.reports[name]
        for table, row in ((each, row) for each in report.tables for row in each.rows):
            configuration, runs = report.configurations[row.of], evidence.runs(name, row.of)
            varied = {
                heading: evidence.runs(name, row.of, variant=heading)
                for heading, variant in report.variants.items()
                if in_variant(report, row.of, variant)
            }
            substituted = evidence.substituted(name, row.of)
            split = _split(runs, report.other_splits)
            for metric, published in row.published.items():
                judged = held_against(published, metric, runs, report)
                variants = {
                    heading: Tried(each, held_against(published, metric, each, report))
                    for heading, each in varied.items()
                }
                if configuration.planned:
                    judged = Judgement(Verdict.PLANNED, "there is no such experiment yet")
                elif judged.verdict == Verdict.NOT_RUN:
                    others = evidence.on_other_data(configuration)
                    judged = _without_runs(configuration, metric, published, substituted, others)
                yield Value(runs, judged, name, table, row, metric, published, variants, substituted, split)

    @cached_property
    def claims(self) -> list[ClaimVerdict]:
        """Every claim; what substitutes say of one that lacks results, each alone: data is never mixed."""
        evidence, found = self.evidence, []
        for name, report in evidence.reports.items():
            runs_of = partial(evidence.runs, name)
            planned = {key for key, configuration in report.configurations.items() if configuration.planned}
            for claim in report.claims:
                used = claim.configurations
                with _named(name, claim.id):
                    verdict, judgements = judge_claim(claim, runs_of, planned)
                    variants = {
                        heading: judge_claim(claim, partial(runs_of, variant=heading), planned)
                        for heading, variant in report.variants.items()
                        if used and all(in_variant(report, key, variant) for key in used)
                    }
                lacks_results = not all(runs_of(key).results for key in used)
                substitutes = {
                    heading: outcome
                    for heading, substitute in report.substitutes.items()
                    if lacks_results and used <= {*substitute.of}
                    if (outcome := judge_elsewhere(claim, partial(runs_of, substitute=heading)))
                }
                found.append(ClaimVerdict(name, claim, verdict, judgements, variants, substitutes))
        return found

    @cached_property
    def slips(self) -> list[SlipVerdict]:
        """Every slip."""
        found = []
        for name, slip in ((name, slip) for name, report in self.evidence.reports.items() for slip in report.slips):
            with _named(name, slip.id):
                found.append(judge_slip(name, slip))
        return found


def held_against(published: float, metric: str, runs: Runs, report: Report) -> Judgement:
    """A value that a report states held against the runs of its configuration; see `judge_published`."""
    split, examples = _split(runs, report.other_splits), tuple[int, ...]()
    if split and is_share_of_examples(metric):
        sizes = runs.first.manifest["data"]["sizes"]
        examples = next(
            ((theirs, sizes[part]) for part, theirs in split.examples.items() if metric.startswith(part)), ()
        )
    return judge_published(
        published,
        runs.measured(metric),
        metric,
        diverged=len(runs.lost),
        decimals=report.decimals,
        is_other_split=split is not None,
        examples=examples,
    )


def _split(runs: Runs, splits: Mapping[str, OtherSplit]) -> OtherSplit | None:
    return splits.get(runs.first.data) if runs.results else None


def _without_runs(
    configuration: Configuration,
    metric: str,
    published: float,
    substituted: Substituted | None,
    others: Sequence[Result],
) -> Judgement:
    """What can be told of a value that no run gave: a picture network's parameters are known without one.

    ``others`` are runs on data that the report does not judge by.
    """
    experiment, overrides = configuration.experiment, configuration.overrides
    if metric == "model/parameters" and "in_channels" in composed(experiment, overrides)["model"]:
        judged = judge_published(published, [network("parameters", experiment, *overrides)], metric)
        return replace(judged, reason=f"{judged.reason}, computed without a run")
    if substituted and (values := substituted.runs.measured(metric)):
        elsewhere = f"{mean_and_spread(values)} on other data ({substituted.substitute.provenance}), not compared"
        return Judgement(Verdict.NOT_RUN, f"not on the published data; {elsewhere}")
    if others:
        data = sorted({f"{other.data} ({other.provenance}, {other.fingerprint[:12]})" for other in others})
        return Judgement(Verdict.NOT_RUN, f"run on {', '.join(data)} alone, which is not the report's data")
    return Judgement(Verdict.NOT_RUN, "no record of it yet; PROFILE=full makes one")


@contextlib.contextmanager
def _named(report: str, identity: str) -> Iterator[None]:
    """An expression's error with the file and the claim or slip that it stands in."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{report}/report.yaml: {identity}: {error}") from error
