"""Every number of the report in one tidy table: a row a number."""

import csv
import io
import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from dlbench.config import configuration_of
from dlbench.report.results import Result
from dlbench.report.statements import Judgement
from dlbench.report.statistics import mean_interval, prediction_interval
from dlbench.report.verdicts import Verdicts, measured

COLUMNS = (
    "source",
    "report",
    "table",
    "row",
    "configuration",
    "experiment",
    "settings",
    "data",
    "provenance",
    "decoding",
    "run",
    "evaluation",
    "seed",
    "outdated",
    "metric",
    "statistic",
    "value",
    "verdict",
)
"""``source``: published, ours, claim or slip. ``configuration`` is the same for what is compared, whatever the seed.

``provenance`` says on what data: ``verified`` is the published; of a claim it stands only where other data stood in.

``statistic`` says what of the metric the ``value`` is: a single run's value, the mean, standard deviation, n and bounds
over the seeds of a configuration, what a claim's check came to, or what a slip's expression gave (as text).
"""

Row = dict[str, Any]


def csv_text(verdicts: Verdicts) -> str:
    """The table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(verdicts))
    return text.getvalue()


def rows(verdicts: Verdicts) -> Iterator[Row]:
    """Published values, every run's, what configurations with several seeds come to, claims and slips."""
    yield from _published(verdicts)
    yield from _ours(verdicts)
    yield from _judged(verdicts)


def _published(verdicts: Verdicts) -> Iterator[Row]:
    for value in verdicts.values:
        configuration = verdicts.evidence.reports[value.report].configurations[value.row.of]
        about = {"report": value.report, "table": value.table.title, "row": value.row.label}
        about["experiment"] = configuration.experiment
        if not configuration.planned:
            about["configuration"] = configuration_of(configuration.experiment, configuration.overrides)
        of = {"metric": value.metric, "statistic": "value", "value": value.published}
        yield {"source": "published", **about, **of, "verdict": value.judged.verdict.word}


def _ours(verdicts: Verdicts) -> Iterator[Row]:
    for result in verdicts.evidence.collection.results:
        about = {**_about(result), "run": result.run, "evaluation": result.evaluation.id, "seed": result.seed}
        about["outdated"] = int(result.is_outdated)
        for metric, number in result.metrics.items():
            yield {**about, "metric": metric, "statistic": "value", "value": number}
    evidence = verdicts.evidence
    for group in (group for found in (evidence.real, *evidence.others.values()) for group in found.values()):
        for metric in dict.fromkeys(metric for result in group for metric in result.metrics):
            values = measured(group, metric)
            if len(values) > 1:
                for statistic, number in _statistics(values).items():
                    yield {**_about(group[0]), "metric": metric, "statistic": statistic, "value": number}


def _judged(verdicts: Verdicts) -> Iterator[Row]:
    for claim in verdicts.claims:
        about = {"source": "claim", "report": claim.report, "table": claim.claim.id}
        yield from _checks(about, claim.judgements)
        for heading, (_, judgements) in claim.substitutes.items():
            provenance = verdicts.evidence.reports[claim.report].substitutes[heading].provenance
            yield from _checks({**about, "provenance": provenance}, judgements)
    for slip in verdicts.slips:
        about = {"source": "slip", "report": slip.report, "table": slip.slip.id, "verdict": slip.judged.verdict.word}
        yield {**about, "statistic": "stated", "value": slip.judged.stated}
        yield {**about, "statistic": "computed", "value": slip.judged.computed}


def _checks(about: Row, judgements: Iterable[Judgement]) -> Iterator[Row]:
    for judgement in judgements:
        numbers = {"difference": judgement.difference, "n": judgement.n or None, "p": judgement.p}
        numbers |= {"smallest_p": judgement.smallest_p}
        numbers |= dict(zip(("interval_low", "interval_high"), judgement.interval or (), strict=False))
        for statistic, number in numbers.items():
            if number is not None:
                found = {"row": judgement.said, "statistic": statistic, "value": number}
                yield {**about, **found, "verdict": judgement.verdict.word}


def _about(result: Result) -> Row:
    return {
        "source": "ours",
        "configuration": result.configuration,
        "experiment": result.experiment,
        "settings": result.settings,
        "data": result.data,
        "provenance": result.provenance,
        "decoding": result.decoding,
    }


def _statistics(values: list[float]) -> dict[str, float]:
    low, high = prediction_interval(values)
    found = {"n": len(values), "mean": statistics.fmean(values), "sd": statistics.stdev(values)}
    found |= {"prediction_low": low, "prediction_high": high}
    if bounds := mean_interval(values):
        found |= {"mean_low": bounds[0], "mean_high": bounds[1]}
    return found
