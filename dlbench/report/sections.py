"""The report in its order: did it reproduce, each published report, findings, our own runs, the method."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from dlbench import components
from dlbench.metrics.names import LAST_EPOCHS, display_name, is_exact
from dlbench.report import listings
from dlbench.report.checks import ELSEWHERE, ClaimVerdict, Value, Verdicts
from dlbench.report.document import (
    Alert,
    Block,
    Cell,
    Document,
    Grid,
    Paragraph,
    Section,
    Verdict,
    numbers,
    texts,
)
from dlbench.report.figures.plots import draw, published_against_ours
from dlbench.report.listings import MARK, MIXED_NOTE, Group, by_metric, interval, number, ours
from dlbench.report.results import OTHER_SPLIT, REAL, STAND_IN, Result, measured
from dlbench.report.schema import Report, Table
from dlbench.report.statistics import Judgement, difference_interval
from dlbench.terminal import format_value, sentence

METHOD = (
    "A published value is one run, so it is held against the 95% prediction interval for one more run of ours, "
    "mean ± t s sqrt(1 + 1/n): inside, it is reproduced, outside, it differs. One run of ours gives no interval, so "
    "the value stays undecided. What does not vary, such as a number of parameters, is equal or not.",
    "A claim holds where each of its checks does, and fails where one does. A check compares two configurations, "
    "paired by seed: it holds where the 95% confidence interval of the mean difference (Student's t) lies wholly on "
    "the claimed side, beyond the margin where there is one; it fails where the interval lies wholly on the other; "
    "else it is undecided. Beside it stands p, that of a one-sided permutation test of the same pairs (against the "
    "margin where there is one), and the smallest p that it could have reached with so many: with three pairs it "
    "never falls below .125, whatever they say.",
    "No correction is made for the number of values and claims: of a hundred values that reproduce, five are expected "
    "outside their intervals.",
    "Only runs on the verified data sets are held against published values. Where there are none, but runs on another "
    "split of the same files or on stand-in data, claims are checked on these as well, in the same way: what comes of "
    "it stands apart, is called after its data, and is counted nowhere. The interval assumes that runs scatter "
    "normally; with few seeds it is wide, and what lies in a wide interval is not thereby precise.",
)


def build(verdicts: Verdicts) -> Document:
    """The whole report, from verdicts on the evidence."""
    evidence, collection = verdicts.evidence, verdicts.evidence.collection
    real, results = list(evidence.real.values()), collection.results
    sections = (
        glance(verdicts),
        *(_report(name, verdicts) for name in evidence.reports),
        _findings(verdicts, real),
        listings.leaderboards(real),
        listings.costs(real),
        listings.other_data(results),
        listings.runs(results),
        listings.left_out(collection),
        Section("method", "How verdicts are reached", tuple(map(Paragraph, METHOD))),
    )
    contradictions = tuple(f"{found.run}: {', '.join(found.differing)}" for found in collection.contradictions)
    alert = Alert("Reproducibility failure: records of one run, made under the same numerics, differ", contradictions)
    return Document(
        "Published results, reproduced",
        _about(results),
        (alert,) if contradictions else (),
        tuple(_explained(section) for section in sections if section),
    )


def _explained(section: Section) -> Section:
    """The section, each grid in which a cell is marked with a note on what the mark means."""

    def explained(block: Block) -> Block:
        if isinstance(block, Grid) and any(cell.text.endswith(f"){MARK}") for row in block.rows for cell in row):
            return replace(block, note=f"{block.note or ''} {MIXED_NOTE}".strip())
        return block

    blocks, within = map(explained, section.blocks), map(_explained, section.sections)
    return replace(section, blocks=tuple(blocks), sections=tuple(within))


def _about(results: Sequence[Result]) -> str:
    """What the report was made from; no date but the newest record's, so that the same records give the same report."""
    if not results:
        return "There are no finished runs yet."
    runs = {result.run: result for result in results}
    newest = max(str(result.training["finished"]) for result in results)[:10]
    counted = Counter(result.provenance for result in runs.values())
    places = {REAL: "on the real data", OTHER_SPLIT: "on another split of it", STAND_IN: "on stand-in data"}
    told = [f"{counted[provenance]} {place}" for provenance, place in places.items() if counted[provenance]]
    of_them = f" ({', '.join(told)})" if told else ""
    made_from = f"{len(runs)} runs{of_them} with {len(results)} evaluations"
    earlier = len({result.run for result in results if result.is_outdated})
    versions = f" By earlier MINOR versions: {earlier} of the runs, comparable, made to the bit by their own commit."
    return f"Made from {made_from}; the newest was finished on {newest}.{versions if earlier else ''}"


# --- did it reproduce? -----------------------------------------------------------------------------------------------

VALUES = (Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.UNDECIDED, Verdict.NOT_RUN, Verdict.PLANNED)
CLAIMS = (Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED, Verdict.READER, Verdict.NOT_RUN, Verdict.PLANNED)


def glance(verdicts: Verdicts) -> Section:
    """How many values of each report reproduce, and what became of every claim."""
    reports = verdicts.evidence.reports
    counts = []
    for name in reports:
        counted = Counter(value.judged.verdict for value in verdicts.values if value.report == name)
        counts.append((Cell(name, link=name), *(Cell(str(counted[kind] or "-"), counted[kind]) for kind in VALUES)))
    claims = tuple(
        (_claim_link(judged), Cell(", ".join(judged.made_by)), _decision(judged.verdict, judged.judgements))
        for judged in verdicts.claims
    )
    elsewhere = tuple(
        (
            _claim_link(judged),
            Cell(f"{reports[judged.report].substitutes[heading].provenance}: {heading}"),
            _decision(verdict, judgements),
        )
        for judged in verdicts.claims
        for heading, (verdict, judgements) in judged.substitutes.items()
        if verdict in ELSEWHERE.values()
    )
    counted = Counter(judged.verdict for judged in verdicts.claims)
    said = ", ".join(f"{verdict.word}: {counted[verdict]}" for verdict in CLAIMS if counted[verdict])
    columns = (*texts("report"), *numbers(*(kind.word for kind in VALUES)))
    blocks: list[Block] = [
        headlines(verdicts),
        Grid("glance-values", "All published values", columns, tuple(counts)),
        Paragraph(f"{len(claims)} claims. {said.capitalize()}."),
        Grid("glance-claims", "Claims", texts("claim", "made by", "verdict"), claims),
    ]
    if elsewhere:
        told = (
            f"Where the published data is not at hand, other data says something of {len(elsewhere)} of these claims. "
            "That is no verdict on them: it is counted in none of the numbers above."
        )
        title, columns = "Claims on other data, counted nowhere", texts("claim", "data", "what it says")
        blocks += [Paragraph(told), Grid("glance-elsewhere", title, columns, elsewhere)]
    return Section("glance", "Did it reproduce?", tuple(blocks))


def headlines(verdicts: Verdicts) -> Grid:
    """The main table: of each report the values that its file calls headlines."""
    values = [value for value in verdicts.values if value.metric == value.row.headline]
    named = [(value, f"{value.table.title}, {value.row.label}") for value in values]
    rows = tuple((Cell(value.report), Cell(name), *_value(value)) for value, name in named)
    note = "Ours: mean ± standard deviation (number of runs)."
    if elsewhere := [f"{value.report}, {name}: {value.judged.reason}" for value, name in named if value.stood_in]:
        note += f" What was not run on the published data: {'; '.join(elsewhere)}."
    columns = (*texts("report", "what"), *VALUE_COLUMNS)
    return Grid("glance-headlines", "Published against reproduced", columns, rows, note, labels=2)


def _claim_link(judged: ClaimVerdict) -> Cell:
    """The claim's text, leading to its section."""
    return Cell(judged.claim.text, link=_claim_id(judged))


def _claim_id(judged: ClaimVerdict) -> str:
    return "claim-" + judged.claim.id.replace(".", "-").replace("_", "-")


def _decision(verdict: Verdict, judgements: Sequence[Judgement]) -> Cell:
    """A claim's verdict, and what decided."""
    if verdict in (Verdict.HOLDS, Verdict.HOLDS_ELSEWHERE):
        return Cell(f"all {len(judgements)} checks hold", verdict=verdict)
    decisive = (f"{found.said}: {found.reason}" for found in judgements if found.verdict == verdict)
    return Cell(next(decisive, ""), verdict=verdict)


# --- a published report ----------------------------------------------------------------------------------------------

VALUE_COLUMNS = (*texts("metric", "verdict"), *numbers("published", "ours", "95% prediction interval"))
CHECK_COLUMNS = (
    *texts("what is checked", "verdict"),
    *numbers("mean difference", "95% interval", "n", "p", "smallest p"),
)


def _report(name: str, verdicts: Verdicts) -> Section:
    """One published report: its tables, figures and claims."""
    report, results_of = verdicts.evidence.reports[name], verdicts.evidence.results_of(name)
    substituted = partial(verdicts.evidence.substituted, name)
    overview = published_against_ours(report, results_of, f"{name}-overview")
    tables = [
        _table(f"{name}-table-{place}", report, table, [value for value in verdicts.values if value.table is table])
        for place, table in enumerate(report.tables, start=1)
    ]
    figures = [
        draw(figure, report, results_of, f"{name}-figure-{place}", substituted)
        for place, figure in enumerate(report.figures, start=1)
    ]
    claims = tuple(_claim(judged, report) for judged in verdicts.claims if judged.report == name)
    shared = tuple(
        (_claim_link(judged), Cell("", verdict=judged.verdict))
        for judged in verdicts.claims
        if name in judged.made_by and judged.report != name
    )
    title = "Claims that other reports make too, judged there"
    judged_there = (Grid(f"{name}-shared-claims", title, texts("claim", "verdict"), shared),) if shared else ()
    parts = (
        Section(f"{name}-values", "Values", (*([overview] if overview else ()), *tables)),
        Section(f"{name}-figures", "Figures, redrawn", tuple(figure for figure in figures if figure)),
        Section(f"{name}-claims", "Claims", judged_there, claims),
    )
    about = (Paragraph(report.data),) if report.data else ()
    return Section(name, report.title, about, tuple(part for part in parts if part.blocks or part.sections))


def _table(id: str, report: Report, table: Table, values: Sequence[Value]) -> Grid:
    """Every published value of a table beside ours, with its verdict."""
    variants = [variant for variant in report.variants if any(variant in value.variants for value in values)]
    substituted = [value.substituted for value in values if value.substituted]
    substitutes = {used.heading: used.substitute for used in substituted}
    further = [f"ours, {variant}" for variant in variants]
    further += [f"{used.provenance}, not compared: {name}" for name, used in substitutes.items()]

    def cells(value: Value) -> tuple[Cell, ...]:
        used = value.substituted
        others = [value.variants.get(variant, ()) for variant in variants]
        others += [used.results if used and used.heading == name else () for name in substitutes]
        return Cell(value.row.label), *_value(value), *(ours(results, value.metric) for results in others)

    notes = [sentence(table.note)] if table.note else []
    notes += [used.note(name) for name, used in substitutes.items()]
    columns = (*texts("row"), *VALUE_COLUMNS, *numbers(*further))
    return Grid(id, table.title, columns, tuple(map(cells, values)), " ".join(notes) or None, labels=2)


def _value(value: Value) -> tuple[Cell, ...]:
    """What `VALUE_COLUMNS` names."""
    return (
        Cell(display_name(value.metric), hint=value.metric),
        Cell(value.judged.reason, verdict=value.judged.verdict),
        number(value.published),
        ours(value.results, value.metric),
        interval(value.judged.interval),
    )


def _claim(judged: ClaimVerdict, report: Report) -> Section:
    """A claim of a report: what it says, who makes it, and a grid of its checks, one a variant, one a substitute."""
    id = _claim_id(judged)
    blocks: list[Block] = [Paragraph(f"Claimed by {', '.join(judged.made_by)} (`{judged.claim.id}`).")]
    if judged.claim.implied:
        blocks.append(Paragraph(f"Implied: {sentence(judged.claim.implied)}"))
    if judged.claim.quotes:
        words = (f"\u201c{quote.text}\u201d ({quote.report}, {quote.place})" for quote in judged.claim.quotes)
        blocks.append(Paragraph(f"In their words: {'; '.join(words)}."))
    if judged.claim.note:
        blocks.append(Paragraph(sentence(judged.claim.note)))
    if judged.judgements:
        blocks.append(_checks(id, "Checks", judged.judgements))
    used = {name: report.configurations[name] for name in sorted(judged.claim.configurations)}
    if used:
        names = (f"{name}: `{' '.join((own.experiment, *own.overrides))}`." for name, own in used.items())
        blocks.append(Paragraph(" ".join(names)))
    for place, (variant, (verdict, judgements)) in enumerate(judged.variants.items(), start=1):
        blocks.append(_checks(f"{id}-{place}", f"Checks, {variant}: {verdict.word}", judgements))
    for place, (heading, (verdict, judgements)) in enumerate(judged.substitutes.items(), start=1):
        substitute = report.substitutes[heading]
        title = f"On other data ({substitute.provenance}), no verdict on the claim: {verdict.word}"
        blocks.append(_checks(f"{id}-elsewhere-{place}", title, judgements, substitute.note(heading)))
    return Section(id, judged.claim.text, tuple(blocks), verdict=judged.verdict)


def _checks(id: str, title: str, judgements: Sequence[Judgement], note: str | None = None) -> Grid:
    rows = tuple(
        (
            Cell(judgement.said),
            Cell(judgement.reason, verdict=judgement.verdict),
            number(judgement.difference),
            interval(judgement.interval),
            Cell(str(judgement.n), judgement.n) if judgement.n else Cell("-"),
            number(judgement.p),
            number(judgement.smallest_p),
        )
        for judgement in judgements
    )
    return Grid(f"{id}-checks", title, CHECK_COLUMNS, rows, note)


# --- findings --------------------------------------------------------------------------------------------------------

LAST = "val/accuracy"
MEAN, SPREAD = f"{LAST}_last{LAST_EPOCHS}_mean", f"{LAST}_last{LAST_EPOCHS}_std"


def _findings(verdicts: Verdicts, groups: Sequence[Group]) -> Section:
    """What the reports could not know: what a variant changes, the noise of a last epoch, their slips."""
    parts = (_variants(verdicts), _noise(groups), _slips(verdicts))
    return Section("findings", "Findings", sections=tuple(part for part in parts if part))


def _variants(verdicts: Verdicts) -> Section | None:
    """What each variant does to values and claims: measured both ways, side by side."""
    abouts = {
        name: variant.about
        for report in verdicts.evidence.reports.values()
        for name, variant in report.variants.items()
    }
    blocks: list[Block] = []
    for variant, about in abouts.items():
        # Reports share configurations: what was measured counts once.
        pairs = {
            (value.row.of, value.metric, tuple(result.evaluation.id for result in value.results)): value
            for value in verdicts.values
            if value.results and value.variants.get(variant) and not is_exact(value.metric)
        }
        values = tuple(_both_ways(value, value.variants[variant]) for value in pairs.values())
        claims = tuple(
            (_claim_link(judged), Cell("", verdict=judged.verdict), Cell("", verdict=judged.variants[variant][0]))
            for judged in verdicts.claims
            if variant in judged.variants
        )
        id = f"variant-{variant.replace(' ', '-')}"
        if values or claims:
            blocks.append(Paragraph(about))
        if values:
            measured_columns = numbers("as published", variant, "mean difference (pairs)", "95% interval")
            columns = (*texts("configuration", "metric"), *measured_columns)
            blocks.append(Grid(id, f"As published, and {variant}", columns, values, labels=2))
        if claims:
            columns = texts("claim", "as published", variant)
            blocks.append(Grid(f"{id}-claims", f"Claims as published, and {variant}", columns, claims))
    return Section("variants", "What the variants do", tuple(blocks)) if blocks else None


def _both_ways(value: Value, others: Sequence[Result]) -> tuple[Cell, ...]:
    here = {result.seed: result for result in value.results if value.metric in result.metrics}
    differences = [
        result.metrics[value.metric] - before.metrics[value.metric]
        for result in others
        if (before := here.get(result.seed)) and value.metric in result.metrics
        if not components.unlike(before.versions, result.versions)
    ]
    mean = statistics.fmean(differences) if differences else None
    return (
        Cell(value.row.of),
        Cell(display_name(value.metric)),
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
    columns = {
        "last epoch": LAST,
        f"mean of the last {LAST_EPOCHS}": MEAN,
        f"standard deviation over the last {LAST_EPOCHS}": SPREAD,
        "test accuracy, last epoch": "test/accuracy",
        "test accuracy, best validation epoch": "test/accuracy_best_val",
    }
    spreads = [value for group in found for value in measured(group, SPREAD)]
    about = (
        "Reports state the last epoch's accuracy of one run. At batch 8 and a constant learning rate it swings from "
        f"epoch to epoch: over the last {LAST_EPOCHS} epochs the standard deviation within one run is "
        f"{format_value(min(spreads))} to {format_value(max(spreads))}, {format_value(statistics.median(spreads))} in "
        "the middle. A difference of that size between two published numbers tells nothing. (Trainings of fewer than "
        f"{2 * LAST_EPOCHS} epochs are left out.)"
    )
    title = "Validation accuracy over the last epochs"
    grid = by_metric("noise-grid", title, found, columns)
    return Section("noise", "How much of it is the last epoch's noise", (Paragraph(about), grid))


def _slips(verdicts: Verdicts) -> Section | None:
    """The reports' arithmetic, computed."""
    if not verdicts.slips:
        return None
    rows = tuple(
        (
            Cell(slip.report, link=slip.report),
            Cell(slip.slip.text),
            Cell(slip.reason, verdict=slip.verdict),
            Cell(slip.stated, is_code=True),
            Cell(slip.computed, is_code=True),
        )
        for slip in verdicts.slips
    )
    wrong = sum(slip.verdict == Verdict.WRONG for slip in verdicts.slips)
    about = Paragraph(f"Computed from the formulas and networks themselves: {wrong} of {len(rows)} are wrong.")
    columns = texts("report", "what it states", "verdict", "stated", "computed")
    return Section("slips", "Slips", (about, Grid("slips-grid", "Arithmetic", columns, rows)))
