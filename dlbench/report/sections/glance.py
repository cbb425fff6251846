"""Did it reproduce? Each report in a line, and every claim."""

from collections.abc import Iterable, Sequence

from dlbench.report.blocks import Block, Cell, Column, Grid, Paragraph, Section, Verdict
from dlbench.report.checks import ELSEWHERE
from dlbench.report.sections import values
from dlbench.report.sections.claims import claim_id
from dlbench.report.statements import Judgement
from dlbench.report.verdicts import ClaimVerdict, Verdicts, tally

VALUES = (Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.UNDECIDED, Verdict.NOT_RUN, Verdict.PLANNED)
CLAIMS = (Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED, Verdict.READER, Verdict.NOT_RUN, Verdict.PLANNED)


def section(verdicts: Verdicts) -> Section:
    """How many values of each report reproduce, and what became of every claim."""
    reports = verdicts.evidence.reports
    counts = tuple(
        (
            Cell(name, link=name),
            *_counts(value.judged.verdict for value in verdicts.values if value.report == name),
        )
        for name in reports
    )
    claims = tuple(
        (
            Cell(judged.claim.text, link=claim_id(judged.claim.id)),
            Cell(", ".join(judged.made_by)),
            Cell(_why(judged), verdict=judged.verdict),
        )
        for judged in verdicts.claims
    )
    counted = tally(judged.verdict for judged in verdicts.claims)
    said = ", ".join(f"{verdict.word}: {counted[verdict]}" for verdict in CLAIMS if counted[verdict])
    return Section(
        "glance",
        "Did it reproduce?",
        (
            headlines(verdicts),
            Grid("glance-values", "All published values", (Column("report"), *_columns(VALUES)), counts),
            Paragraph(f"{len(claims)} claims. {said.capitalize()}."),
            Grid("glance-claims", "Claims", (Column("claim"), Column("made by"), Column("verdict")), claims),
            *_elsewhere(verdicts),
        ),
    )


def _elsewhere(verdicts: Verdicts) -> tuple[Block, ...]:
    """What other data says of claims whose own is not at hand: told, and counted nowhere."""
    rows = tuple(
        (
            Cell(judged.claim.text, link=claim_id(judged.claim.id)),
            Cell(f"{verdicts.evidence.reports[judged.report].substitutes[heading].provenance}: {heading}"),
            Cell(_decided(judgements, verdict), verdict=verdict),
        )
        for judged in verdicts.claims
        for heading, (verdict, judgements) in judged.substitutes.items()
        if verdict in ELSEWHERE.values()
    )
    if not rows:
        return ()
    told = (
        f"Where the published data is not at hand, other data says something of {len(rows)} of these claims. That is "
        "no verdict on them: it is counted in none of the numbers above."
    )
    columns = (Column("claim"), Column("data"), Column("what it says"))
    return Paragraph(told), Grid("glance-elsewhere", "Claims on other data, counted nowhere", columns, rows)


def headlines(verdicts: Verdicts) -> Grid:
    """The main table: of each report the values that its file calls headlines."""
    columns = (Column("report"), Column("what"), *values.COLUMNS)
    rows = tuple(
        (
            Cell(value.report),
            Cell(f"{value.table.title}, {value.row.label}"),
            *values.row(value),
        )
        for value in verdicts.values
        if value.metric == value.row.headline
    )
    note = "Ours: mean ± standard deviation (number of runs)."
    elsewhere = [
        f"{value.report}, {value.table.title}, {value.row.label}: {value.judged.reason}"
        for value in verdicts.values
        if value.metric == value.row.headline and value.stood_in
    ]
    if elsewhere:
        note += f" What was not run on the published data: {'; '.join(elsewhere)}."
    return Grid("glance-headlines", "Published against reproduced", columns, rows, note, labels=2)


def _columns(kinds: Iterable[Verdict]) -> tuple[Column, ...]:
    return tuple(Column(kind.word, is_number=True) for kind in kinds)


def _counts(found: Iterable[Verdict]) -> tuple[Cell, ...]:
    counted = tally(found)
    return tuple(Cell(str(counted[kind]) if counted[kind] else "-", counted[kind]) for kind in VALUES)


def _why(judged: ClaimVerdict) -> str:
    """What decided, in words."""
    return _decided(judged.judgements, judged.verdict)


def _decided(judgements: Sequence[Judgement], verdict: Verdict) -> str:
    if verdict in (Verdict.HOLDS, Verdict.HOLDS_ELSEWHERE):
        return f"all {len(judgements)} checks hold"
    deciding = [judgement for judgement in judgements if judgement.verdict == verdict]
    return f"{deciding[0].said}: {deciding[0].reason}" if deciding else ""
