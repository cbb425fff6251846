"""The report in its order: did it reproduce, each published report, findings, our own runs, the method."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from itertools import chain

from dlbench.config import composed
from dlbench.data.registry import REGISTRY
from dlbench.metrics.best_epoch import LAST_EPOCHS
from dlbench.metrics.names import display_name, is_exact, is_share_of_examples
from dlbench.report import listings
from dlbench.report.checks import ELSEWHERE, ClaimVerdict, Tried, Value, Verdicts
from dlbench.report.document import (
    Alert,
    Block,
    Cell,
    Column,
    Document,
    Grid,
    Paragraph,
    Points,
    Section,
    Verdict,
    numbers,
    texts,
)
from dlbench.report.figures.plots import draw, published_against_ours
from dlbench.report.jobs import data_set
from dlbench.report.listings import NOTES, OTHER_SPLIT_MARK, by_metric, interval, number, ours, probability
from dlbench.report.results import OTHER_SPLIT, REAL, STAND_IN, Result, Runs, paired
from dlbench.report.schema import Report, Table
from dlbench.report.statistics import ENOUGH_RUNS, Judgement, mean_interval
from dlbench.terminal import format_value, mean_and_spread, sentence


def build(verdicts: Verdicts) -> Document:
    """The whole report, from verdicts on the evidence."""
    evidence, collection = verdicts.evidence, verdicts.evidence.collection
    real, results = list(evidence.real.values()), collection.results
    sections = (
        *(_report(name, verdicts) for name in evidence.reports),
        _findings(verdicts, real),
        listings.leaderboards(real),
        listings.costs(real),
        listings.other_data(evidence),
        listings.runs(results),
        listings.diverged(collection),
        listings.left_out(collection),
        _method(),
    )
    contradictions = tuple(f"{found.run}: {', '.join(found.differing)}" for found in collection.contradictions)
    alert = Alert("Reproducibility failure: records of one run, made under the same numerics, differ", contradictions)
    shown = (glance(verdicts), *(replace(section, is_folded=True) for section in sections if section))
    return Document(
        "Published results, reproduced",
        "The experiments of published reports on deep learning, run again, and their claims checked with statistics. "
        f"{_about(results, len(collection.diverged))}",
        (alert,) if contradictions else (),
        tuple(map(_explained, shown)),
    )


def _method() -> Section:
    text = (resources.files("dlbench.report") / "templates" / "method.txt").read_text(encoding="utf-8")
    told = text.strip().format(enough_runs=ENOUGH_RUNS, other_split_mark=OTHER_SPLIT_MARK)
    return Section("method", "How verdicts are reached", tuple(map(Paragraph, told.split("\n\n"))))


def _explained(section: Section) -> Section:
    """The section, each grid in it with notes on its marks."""
    blocks = (with_notes(block) if isinstance(block, Grid) else block for block in section.blocks)
    return replace(section, blocks=tuple(blocks), sections=tuple(map(_explained, section.sections)))


def with_notes(grid: Grid) -> Grid:
    """The grid, its note telling what the marks in its cells mean."""
    used = {mark for row in grid.rows for cell in row for mark in cell.marks}
    notes = [f"{mark} {note}" for mark, note in NOTES.items() if mark in used]
    return replace(grid, note=" ".join([*filter(None, [grid.note]), *notes]) or None)


def summary(verdicts: Verdicts) -> str:
    """What became of all published values and claims, in two sentences."""
    values = Counter(value.judged.verdict for value in verdicts.values)
    claims = Counter(judged.verdict for judged in verdicts.claims)

    def told(what: str, kinds: Sequence[Verdict], counted: Counter[Verdict]) -> str:
        found = {kind: counted[kind] for kind in kinds if counted[kind]}
        words = {kind: kind.word if count == 1 else kind.word.removesuffix("s") for kind, count in found.items()}
        counts = (f"{count} {words[kind]}" for kind, count in found.items())
        total = counted.total()
        return f"{total} {what if total == 1 else f'{what}s'}{': ' * bool(total)}{', '.join(counts)}."

    return f"{told('published value', VALUES, values)} {told('claim', CLAIMS, claims)}"


def _about(results: Sequence[Result], diverged: int) -> str:
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
    versions = f" {earlier} of the runs were made by earlier versions of the code that mean the same."
    lost = f" {diverged} more diverged." if diverged else ""
    return f"Made from {made_from}; the newest was finished on {newest}.{lost}{versions if earlier else ''}"


# --- did it reproduce? -----------------------------------------------------------------------------------------------

VALUES = (
    *(Verdict.REPRODUCED, Verdict.BETTER, Verdict.WORSE, Verdict.DIFFERS, Verdict.IMPRECISE),
    *(Verdict.UNDECIDED, Verdict.NOT_RUN, Verdict.PLANNED),
)
VALUES_NOTE = "Better and worse say what ours is where the published value lies outside our 95% prediction interval."
CLAIMS = (Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED, Verdict.READER, Verdict.NOT_RUN, Verdict.PLANNED)


def glance(verdicts: Verdicts) -> Section:
    """How many values and claims of each report reproduce, what else was found, and the main values and all claims."""
    reports = verdicts.evidence.reports
    values = {name: [value.judged.verdict for value in verdicts.values if value.report == name] for name in reports}
    claimed = {name: [claim.verdict for claim in verdicts.claims if claim.report == name] for name in reports}
    counts = [
        (Cell(report.title, link=name), _counts(VALUES, values[name]), _counts(CLAIMS, claimed[name]))
        for name, report in reports.items()
    ]
    every = [list(chain.from_iterable(of.values())) for of in (values, claimed)]
    if len(reports) > 1:
        counts.append((Cell("all"), _counts(VALUES, every[0]), _counts(CLAIMS, every[1])))
    signs = [
        ", ".join(f"{kind.sign} {kind.word}" for kind in kinds if kind in found)
        for kinds, found in zip((VALUES, CLAIMS), every, strict=True)
    ]
    claims = tuple(
        (_claim_link(judged), Cell(", ".join(judged.judged_for)), _decision(judged.verdict, judged.judgements))
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
    columns = texts("report", f"published values ({len(verdicts.values)})", f"claims ({len(verdicts.claims)})")
    note = f"Values: {signs[0] or 'none'}. Claims: {signs[1] or 'none'}. {VALUES_NOTE}"
    blocks: list[Block] = [Grid("glance-counts", "Values and claims by report", columns, tuple(counts), note)]
    if points := _points(verdicts):
        blocks.append(Points(points))
    blocks += [
        headlines(verdicts),
        Grid("glance-claims", "Every claim", texts("claim", "made by", "verdict"), claims, is_folded=True),
    ]
    if elsewhere:
        about = (
            f"Where the published data is not at hand, other data says something of {len(elsewhere)} of these claims. "
            "That is no verdict on them: it is counted in none of the numbers above."
        )
        title, columns = "Claims on other data, counted nowhere", texts("claim", "data", "what it says")
        blocks.append(Grid("glance-elsewhere", title, columns, elsewhere, about, is_folded=True))
    return Section("glance", "Did it reproduce?", tuple(blocks))


def _counts(kinds: Sequence[Verdict], found: Sequence[Verdict]) -> Cell:
    """How many there are of each kind: ``✓ 18  ▲ 15  ? 12``; sorted by the share of the first kind."""
    counts = tuple((kind, found.count(kind)) for kind in kinds if kind in found)
    share = found.count(kinds[0]) / max(len(found), 1)
    return Cell("  ".join(f"{kind.sign} {count}" for kind, count in counts) or "-", share, counts=counts)


def headlines(verdicts: Verdicts) -> Grid:
    """The main table: of each report the values that its file calls headlines."""
    values = [value for value in verdicts.values if value.metric == value.row.headline]
    rows = []
    for value in values:
        metric, verdict, published, ours, _, distance = _value(value, beside=True)
        what = f"{value.report}: {value.table.title}, {value.row.label}: {metric.text}"
        rows.append((Cell(what), verdict, published, ours, distance))
    note = (
        "CER: character error rate; of it and of the macro error rate less is better. Ours: mean ± standard deviation "
        "(number of seeds). Distance: the published value minus our mean, in standard deviations (SD) of one further "
        "run of ours; p: how likely chance alone takes it that far. Better and worse say what our result is."
    )
    if any(value.stood_in for value in values):
        note += " In brackets: on other data than the published, not compared."
    detail = Column("distance in SD (p)", is_number=True, is_detail=True)
    columns = (*texts("what", "verdict"), *numbers("published", "ours"), detail)
    return Grid("glance-headlines", "Published against reproduced", columns, tuple(rows), note)


def _claim_link(judged: ClaimVerdict) -> Cell:
    """The claim's text, leading to its section."""
    return Cell(judged.claim.text, link=_claim_id(judged))


def _verdict_for(name: str, judged: ClaimVerdict) -> Cell:
    """A claim's verdict for one of the reports that make it, or why it has none."""
    if why := judged.claim.unjudged.get(name):
        return Cell(f"no verdict: {why}")
    return Cell("", verdict=judged.verdict)


def _claim_id(judged: ClaimVerdict) -> str:
    return "claim-" + judged.claim.id.replace(".", "-").replace("_", "-")


def _decision(verdict: Verdict, judgements: Sequence[Judgement]) -> Cell:
    """A claim's verdict, and what decided."""
    if verdict in (Verdict.HOLDS, Verdict.HOLDS_ELSEWHERE):
        return Cell(f"all {len(judgements)} checks hold", verdict=verdict)
    decisive = (f"{found.said}: {found.reason}" for found in judgements if found.verdict == verdict)
    return Cell(next(decisive, ""), verdict=verdict)


# --- a published report ----------------------------------------------------------------------------------------------

VALUE_COLUMNS = (
    *texts("metric", "verdict"),
    *numbers("published", "ours", "95% prediction interval", "distance in SD (p)"),
)
CHECK_COLUMNS = (
    *texts("what is checked", "verdict"),
    *numbers("mean difference", "95% interval", "n", "distance in SE (p)", "p, Holm", "permutation p"),
)


def _report(name: str, verdicts: Verdicts) -> Section:
    """One published report: its tables, figures and claims."""
    report = verdicts.evidence.reports[name]
    runs_of, substituted = partial(verdicts.evidence.runs, name), partial(verdicts.evidence.substituted, name)
    values = [value for value in verdicts.values if value.report == name]
    overview = published_against_ours(values, f"{name}-overview")
    tables = [
        _table(f"{name}-table-{place}", report, table, [value for value in values if value.table is table])
        for place, table in enumerate(report.tables, start=1)
    ]
    figures = [
        draw(figure, report, runs_of, f"{name}-figure-{place}", substituted)
        for place, figure in enumerate(report.figures, start=1)
    ]
    claims = tuple(_claim(judged, report) for judged in verdicts.claims if judged.report == name)
    shared = tuple(
        (_claim_link(judged), _verdict_for(name, judged))
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
    variants = {
        heading: f"ours, {variant.heading(heading)}"
        for heading, variant in report.variants.items()
        if any(heading in value.variants for value in values)
    }
    substituted = [value.substituted for value in values if value.substituted]
    substitutes = {used.heading: used.substitute for used in substituted}
    further = [*variants.values()]
    further += [f"{used.provenance}, not compared: {name}" for name, used in substitutes.items()]

    def cells(value: Value) -> tuple[Cell, ...]:
        used = value.substituted
        tried = [value.variants.get(variant) for variant in variants]
        beside = [each.runs if each else Runs() for each in tried]
        beside += [used.runs if used and used.heading == name else Runs() for name in substitutes]
        shown = (ours(runs, value.metric) for runs in beside)
        return Cell(value.row.label), *_value(value), probability(value.judged.holm), *shown

    notes = [sentence(table.note)] if table.note else []
    splits = {value.split.about for value in values if value.split and not is_exact(value.metric)}
    notes += [sentence(f"other split: {about}") for about in sorted(splits)]
    notes += [used.note(name) for name, used in substitutes.items()]
    columns = (*texts("row"), *VALUE_COLUMNS, *numbers("p, Holm", *further))
    is_lacking = all(value.judged.verdict in LACKING and not value.stood_in for value in values)
    title = f"{table.title}: not run yet{_needed(report, table)}" if is_lacking else table.title
    rows = tuple(map(cells, values))
    return Grid(id, title, columns, rows, " ".join(notes) or None, labels=2, is_folded=is_lacking)


LACKING = (Verdict.NOT_RUN, Verdict.PLANNED)
"""What is said of where there is no run."""


def _needed(report: Report, table: Table) -> str:
    """How to run what a table tells of, where it is on data of the suite's."""
    if report.own_data:
        return ""
    of = [report.configurations[name] for name in dict.fromkeys(row.of for row in table.rows)]
    names = dict.fromkeys(data_set(composed(one.experiment, one.overrides)) for one in of if not one.planned)
    fetched = ", ".join(f"`python -m dlbench data fetch {name}`" for name in names if name in REGISTRY)
    return f" ({fetched}, then `make reproduce-report PROFILE=full`)" if fetched else ""


def _value(value: Value, beside: bool = False) -> tuple[Cell, ...]:
    """What `VALUE_COLUMNS` names; with ``beside`` the results on other data, where there are only those."""
    judged, is_other_split = value.judged, value.split is not None and not is_exact(value.metric)
    is_elsewhere = beside and value.stood_in
    return (
        Cell(display_name(value.metric), hint=value.metric),
        Cell(judged.reason, verdict=judged.verdict),
        number(value.published),
        Cell(f"[{mean_and_spread(value.stood_in)}]")
        if is_elsewhere
        else ours(value.runs, value.metric, is_other_split=is_other_split),
        interval(judged.interval),
        _distance(judged),
    )


def _distance(judged: Judgement) -> Cell:
    """In standard deviations or standard errors, with its p."""
    if judged.distance is None:
        return Cell("-")
    return Cell(f"{judged.distance:+.1f} ({probability(judged.p).text})", judged.distance)


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
    for name, reason in judged.claim.unjudged.items():
        blocks.append(Paragraph(f"No verdict on what {name} says: {reason}."))
    if judged.judgements:
        blocks.append(_checks(id, "Checks", judged.judgements))
    used = {name: report.configurations[name] for name in sorted(judged.claim.configurations)}
    if used:
        names = (f"{name}: `{' '.join((own.experiment, *own.overrides))}`." for name, own in used.items())
        blocks.append(Paragraph(" ".join(names)))
    for place, (variant, (verdict, judgements)) in enumerate(judged.variants.items(), start=1):
        heading = report.variants[variant].heading(variant)
        checks = _checks(f"{id}-{place}", f"Checks, {heading}: {verdict.word}", judgements)
        blocks.append(replace(checks, is_folded=verdict in LACKING))
    for place, (heading, (verdict, judgements)) in enumerate(judged.substitutes.items(), start=1):
        substitute = report.substitutes[heading]
        title = f"On other data ({substitute.provenance}), no verdict on the claim: {verdict.word}"
        blocks.append(_checks(f"{id}-elsewhere-{place}", title, judgements, substitute.note(heading)))
    return Section(id, judged.claim.text, tuple(blocks), verdict=judged.verdict, is_folded=True)


def _checks(id: str, title: str, judgements: Sequence[Judgement], note: str | None = None) -> Grid:
    rows = tuple(
        (
            Cell(judgement.said),
            Cell(judgement.reason, verdict=judgement.verdict),
            number(judgement.difference),
            interval(judgement.interval),
            Cell(str(judgement.n), judgement.n) if judgement.n else Cell("-"),
            _distance(judgement),
            probability(judgement.holm),
            _permuted(judgement),
        )
        for judgement in judgements
    )
    return Grid(f"{id}-checks", title, CHECK_COLUMNS, rows, note)


def _permuted(judged: Judgement) -> Cell:
    """The p of the permutation test, and behind it the smallest that it can reach."""
    if judged.permutation_p is None or judged.smallest_p is None:
        return Cell("-")
    p, smallest = probability(judged.permutation_p), probability(judged.smallest_p)
    return Cell(f"{p.text} ({smallest.text})", p.value)


# --- findings --------------------------------------------------------------------------------------------------------


def _points(verdicts: Verdicts) -> tuple[Cell, ...]:
    """The findings in a sentence or two each: what a variant changes most, the noise of a last epoch, the slips."""
    points = []
    changed = [
        (abs(difference), value, name)
        for value in verdicts.values
        for name, tried in value.variants.items()
        if verdicts.evidence.reports[value.report].variants[name].kind == "change"
        if value.metric.startswith("test/") and is_share_of_examples(value.metric)
        if (difference := _change(value, tried)) is not None
    ]
    size, value, name = max(changed, key=lambda found: found[0], default=(0.0, None, ""))
    if size and value:
        about = verdicts.evidence.reports[value.report].variants[name].about.partition(". ")[0].removesuffix(".")
        both = value.ours, value.variants[name].runs.measured(value.metric)
        here, there = (f"{mean_and_spread(found)[:-1]} runs)" for found in both)
        what = f"{value.table.title}, {value.row.label}: {display_name(value.metric)}"
        text = f"{about}. What the {name} changes most is {what}, {there} instead of {here}."
        points.append(Cell(text, link="variants"))
    if noisy := _noisy(list(verdicts.evidence.real.values())):
        middle = format_value(statistics.median(_spreads(noisy)))
        text = (
            f"From one epoch to the next, validation accuracy swings by a standard deviation of {middle}. Reports "
            "compare the last epochs of single runs: differences of that size tell nothing."
        )
        points.append(Cell(text, link="noise"))
    if verdicts.slips:
        wrong = sum(slip.verdict == Verdict.WRONG for slip in verdicts.slips)
        text = f"{len(verdicts.slips)} formulas and numbers of the reports were computed again: {wrong} are wrong."
        points.append(Cell(text, link="slips"))
    return tuple(points)


def _change(value: Value, tried: Tried) -> float | None:
    """By how much a variant's metric is higher: of pairs, or where there are too few, of means; None of single runs."""
    pairs = paired(tried.runs.results, value.runs.results, value.metric)
    both = tried.runs.measured(value.metric), value.ours
    if len(pairs) > 1:
        return statistics.fmean(pairs)
    return statistics.fmean(both[0]) - statistics.fmean(both[1]) if min(map(len, both)) > 1 else None


LAST = "val/accuracy"
MEAN, SPREAD = f"{LAST}_last{LAST_EPOCHS}_mean", f"{LAST}_last{LAST_EPOCHS}_std"


def _findings(verdicts: Verdicts, groups: Sequence[Runs]) -> Section:
    """What the reports could not know: what a variant changes, the noise of a last epoch, their slips."""
    parts = (_variants(verdicts), _readings(verdicts), _noise(groups), _slips(verdicts))
    return Section("findings", "Findings", sections=tuple(part for part in parts if part))


def _variants(verdicts: Verdicts) -> Section | None:
    """What each variant does to values and claims: measured both ways, side by side."""
    variants = {
        name: variant for report in verdicts.evidence.reports.values() for name, variant in report.variants.items()
    }
    blocks: list[Block] = []
    for variant, given in variants.items():
        about, heading = given.about, given.heading(variant)
        # Reports share configurations: what was measured counts once.
        pairs = {
            (value.row.of, value.metric, tuple(result.evaluation.id for result in value.runs.results)): (value, tried)
            for value in verdicts.values
            if (tried := value.variants.get(variant)) and value.runs.results and tried.runs.results
            if not is_exact(value.metric)
        }
        values = tuple(_both_ways(value, tried.runs) for value, tried in pairs.values())
        claims = tuple(
            (_claim_link(judged), Cell("", verdict=judged.verdict), Cell("", verdict=judged.variants[variant][0]))
            for judged in verdicts.claims
            if variant in judged.variants
        )
        id = f"variant-{variant.replace(' ', '-')}"
        if values or claims:
            blocks.append(Paragraph(about))
        if values:
            measured_columns = numbers("as published", heading, "mean difference (pairs)", "95% interval")
            columns = (*texts("configuration", "metric"), *measured_columns)
            blocks.append(Grid(id, f"As published, and {heading}", columns, values, labels=2))
        if claims:
            columns = texts("claim", "as published", heading)
            blocks.append(Grid(f"{id}-claims", f"Claims as published, and {heading}", columns, claims))
    return Section("variants", "What the variants do", tuple(blocks)) if blocks else None


def _both_ways(value: Value, others: Runs) -> tuple[Cell, ...]:
    differences = paired(others.results, value.runs.results, value.metric)
    mean = statistics.fmean(differences) if differences else None
    return (
        Cell(value.row.of),
        Cell(display_name(value.metric)),
        ours(value.runs, value.metric),
        ours(others, value.metric),
        Cell("-") if mean is None else Cell(f"{mean:+.4f} ({len(differences)})", mean),
        interval(mean_interval(differences) if len(differences) > 1 else None),
    )


def _readings(verdicts: Verdicts) -> Section | None:
    """Which readings of the reports' protocols hold the published values: what these say about the protocols."""
    rows: list[tuple[Cell, ...]] = []
    abouts: dict[str, Block] = {}
    for value in verdicts.values:
        variants = verdicts.evidence.reports[value.report].variants
        readings = {heading: tried for heading, tried in value.variants.items() if variants[heading].kind != "change"}
        if not any(tried.runs.results or tried.runs.diverged for tried in readings.values()):
            continue
        rows.append(_reading(value, "as in the tables", value))
        for heading, tried in readings.items():
            rows.append(_reading(value, variants[heading].heading(heading), tried))
            text = f"{value.report}, {heading}: {variants[heading].about}"
            abouts[text] = Paragraph(text)
    columns = (*texts("value", "reading", "value inside?"), *numbers("published", "ours", "distance in SD (p)"))
    grid = Grid("readings-grid", "Readings of the protocols", columns, tuple(rows), labels=2)
    about = Paragraph(
        "Where a protocol does not say something, each reading of it was run. A reading whose prediction interval "
        "holds the published value may be the one that was published. One that was chosen after the values had been "
        "seen is post hoc: that it fits is no evidence, and it is counted nowhere."
    )
    blocks = (about, *abouts.values(), grid)
    return Section("readings", "What the published numbers say about the protocols", blocks) if rows else None


INSIDE = {Verdict.REPRODUCED: "yes", **dict.fromkeys((Verdict.BETTER, Verdict.WORSE, Verdict.DIFFERS), "no")}
"""Whether the interval holds the value; of other verdicts their word tells."""


def _reading(value: Value, heading: str, tried: Tried) -> tuple[Cell, ...]:
    """A row of the readings; whether the interval holds the value, with the reason as a hint."""
    return (
        Cell(f"{value.report}, {value.row.label}: {display_name(value.metric)}"),
        Cell(heading),
        Cell(INSIDE.get(tried.judged.verdict, tried.judged.verdict.word), hint=tried.judged.reason),
        number(value.published),
        ours(tried.runs, value.metric),
        _distance(tried.judged),
    )


def _noisy(groups: Sequence[Runs]) -> list[Runs]:
    """Runs whose last epochs tell of noise: in a shorter training, what these differ by is learning."""
    return [runs for runs in groups if runs.measured(SPREAD) and runs.first.training["epochs"] >= 2 * LAST_EPOCHS]


def _spreads(groups: Sequence[Runs]) -> list[float]:
    return [value for runs in groups for value in runs.measured(SPREAD)]


def _noise(groups: Sequence[Runs]) -> Section | None:
    """How much of a last-epoch accuracy is that epoch's own."""
    if not (found := _noisy(groups)):
        return None
    columns = {
        "last epoch": LAST,
        f"mean of the last {LAST_EPOCHS}": MEAN,
        f"standard deviation over the last {LAST_EPOCHS}": SPREAD,
        "test accuracy, last epoch": "test/accuracy",
        "test accuracy, best validation epoch": "test/accuracy_best_val",
    }
    spreads = _spreads(found)
    about = (
        "Reports state the last epoch's accuracy of one run. At batch 8 and a constant learning rate it swings from "
        f"epoch to epoch: over the last {LAST_EPOCHS} epochs the standard deviation within one run is "
        f"{format_value(min(spreads))} to {format_value(max(spreads))}, {format_value(statistics.median(spreads))} in "
        "the middle. A difference of that size between two published numbers tells nothing. (Trainings of fewer than "
        f"{2 * LAST_EPOCHS} epochs are left out.)"
    )
    title = "Validation accuracy over the last epochs"
    grid = by_metric("noise-grid", title, [Runs(runs.results) for runs in found], columns)
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
