"""Every published value, claim and slip with its verdict: what the report's sections and files are written from."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from dlbench.config import composed
from dlbench.errors import ConfigError
from dlbench.metrics.names import is_exact
from dlbench.report.checks import judge_claim, judge_elsewhere
from dlbench.report.document import Verdict
from dlbench.report.evidence import Evidence, Substituted
from dlbench.report.networks import parameters
from dlbench.report.results import Result
from dlbench.report.schema import Claim, Configuration, Row, Slip, Table
from dlbench.report.statements import Judgement, SlipJudgement, judge_slip
from dlbench.report.statistics import Judged, judge_published
from dlbench.terminal import mean_and_spread


@dataclass(frozen=True)
class Value:
    """A published value, and what ours came to.

    ``variants`` holds the results of each variant that concerns it, ``substituted`` what stands in where there are no
    ``results``: shown beside, never judged against it.
    """

    report: str
    table: Table
    row: Row
    metric: str
    published: float
    results: Sequence[Result]
    judged: Judged
    variants: Mapping[str, Sequence[Result]]
    substituted: Substituted | None = None

    @property
    def ours(self) -> list[float]:
        """The metric in each of our runs that has it, by seed."""
        return measured(self.results, self.metric)

    @property
    def stood_in(self) -> list[float]:
        """The metric in each run of what stands in, by seed."""
        return measured(self.substituted.results, self.metric) if self.substituted else []


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim as judged, and in each variant that concerns all that it speaks of.

    ``substitutes`` holds what each substitute says that stands in for all that it speaks of: no verdict on the claim.
    """

    report: str
    claim: Claim
    verdict: Verdict
    judgements: list[Judgement]
    variants: Mapping[str, tuple[Verdict, list[Judgement]]] = field(default_factory=dict)
    substitutes: Mapping[str, tuple[Verdict, list[Judgement]]] = field(default_factory=dict)

    @property
    def made_by(self) -> tuple[str, ...]:
        """The reports that make it."""
        return self.claim.reports or (self.report,)


@dataclass(frozen=True)
class SlipVerdict:
    """A slip as judged."""

    report: str
    slip: Slip
    judged: SlipJudgement


def measured(results: Iterable[Result], metric: str) -> list[float]:
    """A metric in each result that has it."""
    return [result.metrics[metric] for result in results if metric in result.metrics]


def tally(verdicts: Iterable[Verdict]) -> Counter[Verdict]:
    """How many there are of each."""
    return Counter(verdicts)


@dataclass(frozen=True)
class Verdicts:
    """All verdicts on the reports, from the evidence."""

    evidence: Evidence

    @cached_property
    def values(self) -> list[Value]:
        """Every published value, report by report."""
        return list(self._values())

    @cached_property
    def claims(self) -> list[ClaimVerdict]:
        """Every claim, report by report."""
        return list(self._claims())

    @cached_property
    def slips(self) -> list[SlipVerdict]:
        """Every slip, report by report."""
        return list(self._slips())

    def _slips(self) -> Iterator[SlipVerdict]:
        for name, report in self.evidence.reports.items():
            for slip in report.slips:
                with _named(name, slip.id):
                    yield SlipVerdict(name, slip, judge_slip(slip))

    def _values(self) -> Iterator[Value]:
        for name, report in self.evidence.reports.items():
            ours = self.evidence.results_of(name)
            others = {variant: self.evidence.results_of(name, variant) for variant in report.variants}
            for table in report.tables:
                for row in table.rows:
                    results = ours(row.of)
                    variants = {
                        variant: results_of(row.of)
                        for variant, results_of in others.items()
                        if self.evidence.concerned(name, variant, row.of)
                    }
                    substituted = self.evidence.substituted(name, row.of)
                    is_planned = report.configurations[row.of].planned
                    for metric, published in row.published.items():
                        judged = judge_published(published, measured(results, metric), is_exact(metric))
                        if is_planned:
                            judged = Judged(Verdict.PLANNED, None, "there is no such experiment yet")
                        elif judged.verdict == Verdict.NOT_RUN:
                            judged = _without_runs(report.configurations[row.of], metric, published, substituted)
                        yield Value(name, table, row, metric, published, results, judged, variants, substituted)

    def _claims(self) -> Iterator[ClaimVerdict]:
        for name, report in self.evidence.reports.items():
            planned = {key for key, configuration in report.configurations.items() if configuration.planned}
            for claim in report.claims:
                with _named(name, claim.id):
                    verdict, judgements = judge_claim(claim, self.evidence.results_of(name), planned)
                    spoken_of = claim.configurations
                    variants = {
                        variant: judge_claim(claim, self.evidence.results_of(name, variant), planned)
                        for variant in report.variants
                        if spoken_of and all(self.evidence.concerned(name, variant, key) for key in spoken_of)
                    }
                yield ClaimVerdict(name, claim, verdict, judgements, variants, self._elsewhere(name, claim))

    def _elsewhere(self, name: str, claim: Claim) -> dict[str, tuple[Verdict, list[Judgement]]]:
        """What substitutes say of a claim that lacks results, each alone: data is never mixed."""
        if all(map(self.evidence.results_of(name), claim.configurations)):
            return {}
        found = {
            heading: judge_elsewhere(claim, self.evidence.substitutes_of(name, heading))
            for heading, substitute in self.evidence.reports[name].substitutes.items()
            if claim.configurations <= {*substitute.of}
        }
        return {heading: judged for heading, judged in found.items() if judged}


def _without_runs(
    configuration: Configuration, metric: str, published: float, substituted: Substituted | None
) -> Judged:
    """What can be told of a value that no run gave: a picture network's parameters are known without one."""
    experiment, overrides = configuration.experiment, configuration.overrides
    if metric == "model/parameters" and "in_channels" in composed(experiment, overrides)["model"]:
        judged = judge_published(published, [parameters(experiment, *overrides)], exact=True)
        return replace(judged, reason=f"{judged.reason}, computed without a run")
    if substituted and (values := measured(substituted.results, metric)):
        elsewhere = f"{mean_and_spread(values)} on other data ({substituted.substitute.provenance}), not compared"
        return Judged(Verdict.NOT_RUN, None, f"not on the published data; {elsewhere}")
    return Judged(Verdict.NOT_RUN, None, "no record of it yet; PROFILE=full makes one")


@contextlib.contextmanager
def _named(report: str, identity: str) -> Iterator[None]:
    """An expression's error with the file and the claim or slip that it stands in."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{report}/report.yaml: {identity}: {error}") from error
