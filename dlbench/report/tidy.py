"""Every number of the report in one tidy table: a row a number."""

import csv
import io
import statistics
from collections.abc import Iterator
from typing import Any

from dlbench.report.results import Result
from dlbench.report.statistics import mean_interval, prediction_interval
from dlbench.report.verdicts import Verdicts, measured

COLUMNS = (
    "source",
    "report",
    "table",
    "row",
    "experiment",
    "settings",
    "data",
    "provenance",
    "decoding",
    "run",
    "evaluation",
    "seed",
    "stale",
    "metric",
    "statistic",
    "value",
)
"""``source`` is published or ours; ``statistic`` says what of the metric the ``value`` is: a single run's value, or the
mean, standard deviation, n, and bounds over the seeds of a configuration."""


def csv_text(verdicts: Verdicts) -> str:
    """The table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(verdicts))
    return text.getvalue()


def rows(verdicts: Verdicts) -> Iterator[dict[str, Any]]:
    """Published values, then every run's, then what configurations with several seeds come to."""
    for value in verdicts.values:
        place = {"report": value.report, "table": value.table.title, "row": value.row.label}
        yield {"source": "published", **place, "metric": value.metric, "statistic": "value", "value": value.published}
    for result in verdicts.evidence.collection.results:
        about = {**_about(result), "run": result.run, "evaluation": result.evaluation.id, "seed": result.seed}
        about["stale"] = int(result.is_stale)
        for metric, number in result.metrics.items():
            yield {**about, "metric": metric, "statistic": "value", "value": number}
    for group in verdicts.evidence.real.values():
        for metric in group[0].metrics:
            values = measured(group, metric)
            if len(values) > 1:
                for statistic, number in _statistics(values).items():
                    yield {**_about(group[0]), "metric": metric, "statistic": statistic, "value": number}


def _about(result: Result) -> dict[str, Any]:
    return {
        "source": "ours",
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
