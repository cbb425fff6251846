"""What the reports could not know: what a variant changes, the noise of a last epoch, their slips."""

import statistics
from collections.abc import Sequence

from dlbench.metrics.names import is_exact, spoken
from dlbench.records.history import LAST_EPOCHS
from dlbench.report.blocks import Block, Cell, Column, Grid, Paragraph, Section, Verdict
from dlbench.report.results import Result
from dlbench.report.sections.claims import claim_id
from dlbench.report.sections.listings import Group
from dlbench.report.sections.values import interval, ours
from dlbench.report.statistics import difference_interval
from dlbench.report.verdicts import Value, Verdicts, measured
from dlbench.terminal import format_value

LAST = "val/accuracy"
MEAN, SPREAD = f"{LAST}_last{LAST_EPOCHS}_mean", f"{LAST}_last{LAST_EPOCHS}_std"


def section(verdicts: Verdicts, groups: Sequence[Group]) -> Section:
    """All findings."""
    parts = (_variants(verdicts), _noise(groups), _slips(verdicts))
    return Section("findings", "Findings", sections=tuple(part for part in parts if part))


def _variants(verdicts: Verdicts) -> Section | None:
    """What each variant does to values and claims: measured both ways, side by side."""
    abouts = {
        name: variant.about
        for report in verdicts.evidence.reports.values()
        for name, variant in report.variants.items()
    }
    grids: list[Block] = []
    for variant, about in abouts.items():
        found = [grid for grid in (_values_in(variant, verdicts), _claims_in(variant, verdicts)) if grid]
        grids += [Paragraph(about), *found] if found else []
    return Section("variants", "What the variants do", tuple(grids)) if grids else None


def _values_in(variant: str, verdicts: Verdicts) -> Grid | None:
    # Reports share configurations: what was measured counts once.
    pairs = {
        (value.row.of, value.metric, tuple(result.evaluation.id for result in value.results)): value
        for value in verdicts.values
        if value.results and value.variants.get(variant) and not is_exact(value.metric)
    }
    columns = (
        Column("configuration"),
        Column("metric"),
        Column("as published", is_number=True),
        Column(variant, is_number=True),
        Column("mean difference (pairs)", is_number=True),
        Column("95% interval", is_number=True),
    )
    rows = tuple(_both(value, value.variants[variant]) for value in pairs.values())
    title = f"As published, and {variant}"
    return Grid(f"variant-{_slug(variant)}", title, columns, rows, labels=2) if rows else None


def _claims_in(variant: str, verdicts: Verdicts) -> Grid | None:
    columns = (Column("claim"), Column("as published"), Column(variant))
    rows = tuple(
        (
            Cell(judged.claim.text, link=claim_id(judged.claim.id)),
            Cell("", verdict=judged.verdict),
            Cell("", verdict=judged.variants[variant][0]),
        )
        for judged in verdicts.claims
        if variant in judged.variants
    )
    title = f"Claims as published, and {variant}"
    return Grid(f"variant-{_slug(variant)}-claims", title, columns, rows) if rows else None


def _slug(variant: str) -> str:
    return variant.replace(" ", "-")


def _both(value: Value, others: Sequence[Result]) -> tuple[Cell, ...]:
    here = {result.seed: result.metrics.get(value.metric) for result in value.results}
    differences = [
        result.metrics[value.metric] - before
        for result in others
        if (before := here.get(result.seed)) is not None and value.metric in result.metrics
    ]
    mean = statistics.fmean(differences) if differences else None
    return (
        Cell(value.row.of),
        Cell(spoken(value.metric)),
        ours(value.results, value.metric),
        ours(others, value.metric),
        Cell("-") if mean is None else Cell(f"{mean:+.4f} ({len(differences)})", mean),
        interval(difference_interval(differences) if len(differences) > 1 else None),
    )


def _noise(groups: Sequence[Group]) -> Section | None:
    """How much of a last-epoch accuracy is that epoch's own."""
    # In a shorter training the last epochs are most of it, and what they differ by is learning.
    found = [group for group in groups if measured(group, SPREAD) and group[0].training["epochs"] >= 2 * LAST_EPOCHS]
    if not found:
        return None
    columns = (
        Column("experiment"),
        Column("settings"),
        Column("last epoch", is_number=True),
        Column(f"mean of the last {LAST_EPOCHS}", is_number=True),
        Column(f"standard deviation over the last {LAST_EPOCHS}", is_number=True),
        Column("test accuracy, last epoch", is_number=True),
        Column("test accuracy, best validation epoch", is_number=True),
    )
    rows = tuple(
        (
            Cell(group[0].experiment),
            Cell(group[0].settings),
            *(ours(group, metric) for metric in (LAST, MEAN, SPREAD, "test/accuracy", "test/accuracy_best_val")),
        )
        for group in sorted(found, key=lambda group: group[0].experiment)
    )
    spreads = [value for group in found for value in measured(group, SPREAD)]
    about = (
        "Reports state the last epoch's accuracy of one run. At batch 8 and a constant learning rate it swings from "
        f"epoch to epoch: over the last {LAST_EPOCHS} epochs the standard deviation within one run is "
        f"{format_value(min(spreads))} to {format_value(max(spreads))}, {format_value(statistics.median(spreads))} in "
        "the middle. A difference of that size between two published numbers tells nothing. (Trainings of fewer than "
        f"{2 * LAST_EPOCHS} epochs are left out.)"
    )
    grid = Grid("noise-grid", "Validation accuracy over the last epochs", columns, rows, labels=2)
    return Section("noise", "How much of it is the last epoch's noise", (Paragraph(about), grid))


def _slips(verdicts: Verdicts) -> Section | None:
    """The reports' arithmetic, computed."""
    if not verdicts.slips:
        return None
    columns = (Column("report"), Column("what it states"), Column("verdict"), Column("stated"), Column("computed"))
    rows = tuple(
        (
            Cell(slip.report, link=slip.report),
            Cell(slip.slip.text),
            Cell(slip.judged.reason, verdict=slip.judged.verdict),
            Cell(slip.judged.stated, is_code=True),
            Cell(slip.judged.computed, is_code=True),
        )
        for slip in verdicts.slips
    )
    wrong = sum(slip.judged.verdict == Verdict.WRONG for slip in verdicts.slips)
    about = Paragraph(f"Computed from the formulas and networks themselves: {wrong} of {len(rows)} are wrong.")
    return Section("slips", "Slips", (about, Grid("slips-grid", "Arithmetic", columns, rows)))
