"""The report, put together: what it says, in order."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from dlbench.report.blocks import Block, Cell, Column, Document, Grid, Paragraph, Section
from dlbench.report.evidence import OTHER_SPLIT, REAL, STAND_IN
from dlbench.report.figures.bars import published_against_ours
from dlbench.report.figures.draw import draw
from dlbench.report.results import Result
from dlbench.report.sections import claims, findings, glance, listings, values
from dlbench.report.verdicts import ClaimVerdict, Verdicts

METHOD = (
    "A published value is one run, so it is held against the 95% prediction interval for one more run of ours, "
    "mean ± t s sqrt(1 + 1/n): inside, it is reproduced, outside, it differs. One run of ours decides nothing. What "
    "does not vary, such as a number of parameters, is equal or not.",
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
    evidence = verdicts.evidence
    real = list(evidence.real.values())
    results = evidence.collection.results
    sections = [
        glance.section(verdicts),
        *(_report(name, verdicts) for name in evidence.reports),
        findings.section(verdicts, real),
        listings.leaderboards(real),
        listings.costs(real),
        listings.other_data(results),
        listings.runs(results),
        listings.left_out(evidence.collection),
        Section("method", "How verdicts are reached", tuple(map(Paragraph, METHOD))),
    ]
    return Document(
        "Published results, reproduced",
        _about(results),
        listings.alerts(evidence.collection),
        tuple(section for section in sections if section),
    )


def _about(results: Sequence[Result]) -> str:
    """What the report was made from; no date but the newest record's, so that the same records give the same report."""
    if not results:
        return "There are no finished runs yet."
    runs = {result.run: result for result in results}
    newest = max(str(result.training["finished"]) for result in results)
    counted = Counter(result.provenance for result in runs.values())
    places = {REAL: "on the real data", OTHER_SPLIT: "on another split of it", STAND_IN: "on stand-in data"}
    told = [f"{counted[provenance]} {place}" for provenance, place in places.items() if counted[provenance]]
    of_them = f" ({', '.join(told)})" if told else ""
    return (
        f"Made from {len(runs)} runs{of_them} with {len(results)} evaluations; the newest was finished on "
        f"{newest[:10]}."
    )


def _report(name: str, verdicts: Verdicts) -> Section:
    """One published report: its tables, figures and claims."""
    report, results_of = verdicts.evidence.reports[name], verdicts.evidence.results_of(name)
    substituted = partial(verdicts.evidence.substituted, name)
    stated = [value for value in verdicts.values if value.report == name]
    overview = published_against_ours(report, results_of, f"{name}-overview")
    drawn = (
        draw(figure, report, results_of, f"{name}-figure-{n}", substituted)
        for n, figure in enumerate(report.figures, start=1)
    )
    figures = tuple(picture for picture in drawn if picture)
    judged = tuple(claims.section(claim, report) for claim in verdicts.claims if claim.report == name)
    elsewhere = [claim for claim in verdicts.claims if name in claim.made_by and claim.report != name]
    parts = (
        Section(f"{name}-values", "Values", (*([overview] if overview else ()), *values.grids(name, report, stated))),
        Section(f"{name}-figures", "Figures, redrawn", figures),
        Section(f"{name}-claims", "Claims", _shared(name, elsewhere), judged),
    )
    about = tuple(Paragraph(text) for text in (report.data,) if text)
    return Section(name, report.title, about, tuple(part for part in parts if part.blocks or part.sections))


def _shared(name: str, elsewhere: Sequence[ClaimVerdict]) -> tuple[Block, ...]:
    """Claims that it makes too and that are judged under another report."""
    if not elsewhere:
        return ()
    rows = tuple(
        (Cell(claim.claim.text, link=claims.claim_id(claim.claim.id)), Cell("", verdict=claim.verdict))
        for claim in elsewhere
    )
    columns = (Column("claim"), Column("verdict"))
    return (Grid(f"{name}-shared-claims", "Claims that other reports make too, judged there", columns, rows),)
