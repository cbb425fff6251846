"""The claims of the report files, held against what the reports that make them print themselves."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

import pytest

from dlbench.config import configuration_of
from dlbench.report.checks import describe
from dlbench.report.schema import Claim, Comparison, Configuration, Part, load_all

REPORTS = load_all()

CONTRADICTED = {
    ("b2425.bn_gap_speed", "b2425", "train/loss_running_mean"): "its own table shows .7161 with BN+GAP, .6459 without",
}
"""Comparisons that a report's own numbers do not bear out, by claim, report and metric, and why they stand."""


class Printed(NamedTuple):
    """A check of a claim, and both of its values as a report that makes the claim prints them."""

    claim: str
    report: str
    check: Comparison
    value: float
    other: float

    @property
    def key(self) -> tuple[str, str, str]:
        return self.claim, self.report, self.check.metric


@cache
def meaning(configuration: Configuration) -> str:
    """The same for all that make the same network in the same way, however they are written."""
    return configuration_of(configuration.experiment, configuration.overrides)


def printed_by(name: str) -> dict[str, dict[str, float]]:
    """What a report prints, by the meaning of configurations."""
    report, found = REPORTS[name], dict[str, dict[str, float]]()
    for row in (row for table in report.tables for row in table.rows):
        found.setdefault(meaning(report.configurations[row.of]), {}).update(row.published)
    return found


def printed(claim: Claim, configurations: Mapping[str, Configuration], reports: tuple[str, ...]) -> Iterator[Printed]:
    for check in claim.checks:
        if not isinstance(check, Comparison) or check.curve or check.minus or not isinstance(check.other, str):
            continue
        for name in reports:
            values = printed_by(name)
            value = values.get(meaning(configurations[check.of]), {}).get(check.metric)
            other = values.get(meaning(configurations[check.other]), {}).get(check.than_metric or check.metric)
            if value is not None and other is not None:
                yield Printed(claim.id, name, check, value, other)


PRINTED = [
    each
    for name, report in REPORTS.items()
    for claim in report.claims
    for each in printed(claim, report.configurations, claim.reports or (name,))
]


@pytest.mark.parametrize("case", [pytest.param(each, id=f"{each.report}-{describe(each.check)}") for each in PRINTED])
def test_a_claim_is_true_of_the_numbers_that_its_report_prints(case: Printed) -> None:
    check = case.check
    difference = case.value - case.other if check.relation.endswith("higher_than") else case.other - case.value
    margin = check.by * abs(case.other) if isinstance(check.by, Part) else check.by
    is_denied = check.relation.startswith("not_")
    is_true = difference <= margin if is_denied else difference >= margin and difference > 0
    assert is_true == (case.key not in CONTRADICTED)


def test_every_contradiction_is_between_printed_numbers() -> None:
    assert CONTRADICTED.keys() <= {each.key for each in PRINTED}


def test_claims_that_several_reports_make_are_held_against_each_that_prints_the_numbers() -> None:
    makers = {(each.claim, each.report) for each in PRINTED}
    assert makers >= {
        (f"a2425.{name}", report) for name in ("attention", "wer3") for report in REPORTS if "2425" in report
    }
    assert {("a2425.lr", "a2425"), ("a2425.lr", "b2425")} <= makers


def test_a_denied_difference_has_a_margin() -> None:
    """Without one no number of runs could show that there is none."""
    for report in REPORTS.values():
        for check in (check for claim in report.claims for check in claim.checks if isinstance(check, Comparison)):
            assert check.by > 0 or not check.relation.startswith("not_") or check.metric.startswith("model/")
