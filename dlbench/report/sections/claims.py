"""A report's claims: each with its verdict, and the numbers that it rests on."""

from collections.abc import Sequence

from dlbench.report.blocks import Block, Cell, Column, Grid, Paragraph, Section
from dlbench.report.schema import Configuration, Report
from dlbench.report.sections.values import interval
from dlbench.report.statements import Judgement
from dlbench.report.verdicts import ClaimVerdict
from dlbench.terminal import format_value, sentence

COLUMNS = (
    Column("what is checked"),
    Column("verdict"),
    Column("mean difference", is_number=True),
    Column("95% interval", is_number=True),
    Column("n", is_number=True),
    Column("p", is_number=True),
    Column("smallest p", is_number=True),
)


def section(judged: ClaimVerdict, report: Report) -> Section:
    """A claim of a report: what it says, who makes it, and a grid of its checks, one a variant, one a substitute."""
    identity = claim_id(judged.claim.id)
    made_by = ", ".join(judged.made_by)
    blocks: list[Block] = [Paragraph(f"Claimed by {made_by} (`{judged.claim.id}`).")]
    if judged.claim.note:
        blocks.append(Paragraph(sentence(judged.claim.note)))
    if judged.judgements:
        blocks.append(_grid(identity, "Checks", judged.judgements))
    if used := judged.claim.configurations:
        blocks.append(Paragraph(" ".join(_definition(name, report.configurations[name]) for name in sorted(used))))
    for number, (variant, (verdict, judgements)) in enumerate(judged.variants.items(), start=1):
        blocks.append(_grid(f"{identity}-{number}", f"Checks, {variant}: {verdict.word}", judgements))
    for number, (heading, (verdict, judgements)) in enumerate(judged.substitutes.items(), start=1):
        substitute = report.substitutes[heading]
        title = f"On other data ({substitute.provenance}), no verdict on the claim: {verdict.word}"
        blocks.append(_grid(f"{identity}-elsewhere-{number}", title, judgements, substitute.note(heading)))
    return Section(identity, judged.claim.text, tuple(blocks), verdict=judged.verdict)


def _definition(name: str, configuration: Configuration) -> str:
    """What a configuration's name stands for."""
    return f"{name}: `{' '.join((configuration.experiment, *configuration.overrides))}`."


def claim_id(claim: str) -> str:
    """The id of a claim's section."""
    return "claim-" + claim.replace(".", "-").replace("_", "-")


def _grid(identity: str, title: str, judgements: Sequence[Judgement], note: str | None = None) -> Grid:
    rows = tuple(
        (
            Cell(judgement.said),
            Cell(judgement.reason, verdict=judgement.verdict),
            _number(judgement.difference),
            interval(judgement.interval),
            Cell(str(judgement.n), judgement.n) if judgement.n else Cell("-"),
            _number(judgement.p),
            _number(judgement.smallest_p),
        )
        for judgement in judgements
    )
    return Grid(f"{identity}-checks", title, COLUMNS, rows, note)


def _number(value: float | None) -> Cell:
    return Cell("-") if value is None else Cell(format_value(value), value)
