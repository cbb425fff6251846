"""A report with everything in it that a report can hold, and with every sign that some format takes for its own."""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from dlbench.report.document import Alert, Cell, Column, Document, Grid, Paragraph, Picture, Points, Section, Verdict
from dlbench.report.figures import style

WEIRD = r"""<b>&amp; "x" 'y'</b> | a\|b \_%#$^~{}[]* -- ‘ɪŋˈɡlɪʃ’ ʃtʁ 🙂 ± ✓ → – <script>alert(1)</script>"""  # noqa: RUF001
COMMAND = (
    "python -m dlbench +experiment=cnn_bn_gap 'seed=range(42,47)' optimizer.lr=0.01 data.layout=scrambled | tee log"
)
NUMBERS = (10.0, 9.0, None, -1.5, 1000.0, 0.25)


def picture(id: str, title: str, *, is_wide: bool = False) -> Picture:
    """A drawing of ours, with glyphs and an embedded bitmap."""
    with style.styled():
        figure = Figure(figsize=(11 if is_wide else 6, 3.5), layout="constrained")
        curves, pixels = figure.subplots(1, 2)
        curves.plot(np.arange(20), np.sqrt(np.arange(20)), label="validation")
        curves.set(xlabel="epoch", ylabel="accuracy")
        curves.legend()
        pixels.imshow(np.arange(12).reshape(3, 4))
        svg = style.svg(figure)
    return Picture(id, title, svg, f'{title} with <, & and "quotes"', note="The `band` is over seeds.")


def _counts() -> Grid:
    counts = ((Verdict.REPRODUCED, 3), (Verdict.WORSE, 9), (Verdict.UNDECIDED, 60))
    rows = ((Cell("all"), Cell("  ".join(f"{verdict.sign} {n}" for verdict, n in counts), counts=counts)),)
    return Grid("counts", "How many", (Column("report"), Column("values", is_detail=True)), rows)


def _verdicts() -> Grid:
    rows = tuple(
        (
            Cell(f"row {number}", link="fig-curves"),
            Cell("test/accuracy"),
            Cell(f"0.{number}123", value=0.1 * number),
            Cell("0.7100 ± 0.0042 (5)", value=0.71, hint="the mean, its standard deviation and the number of seeds"),
            Cell("[0.6971, 0.7229]"),
            Cell("the interval for one more run is [0.6971, 0.7229]", verdict=verdict),
        )
        for number, verdict in enumerate(Verdict)
    )
    columns = ("row", "metric", "published", "ours", "interval", "verdict")
    numbers = {"published", "ours"}
    return Grid(
        "verdicts", "Plain CNN", tuple(Column(x, x in numbers) for x in columns), rows, "Another split, `chw`.", 2
    )


def _sortable() -> Grid:
    names = ("item 10", "item 9", "Übung", "apple", "item 9", "-")
    rows = tuple(
        (Cell(str(place)), Cell(name), Cell("-" if number is None else f"{number:,.2f}", value=number))
        for place, (name, number) in enumerate(zip(names, NUMBERS, strict=True))
    )
    return Grid("sortable", "To sort", (Column("place", True), Column("name"), Column("value", True)), rows)


def _long() -> Grid:
    rows = tuple(
        (
            Cell(f"{place * 7919 % 65521:08x}", is_code=True),
            Cell(f"[{place}] {WEIRD}"),
            Cell(f"{place / 7:.4f}", value=place / 7),
            Cell(COMMAND, is_code=True),
        )
        for place in range(60)
    )
    return Grid(
        "runs_all", f"Runs {WEIRD}", (Column("run"), Column("about"), Column("hours", True), Column("command")), rows
    )


def rich_document() -> Document:
    """The report."""
    at_a_glance = Section("glance", "Did it reproduce?", (_counts(), Points((Cell(WEIRD, link="slips"),)), _verdicts()))
    claims = tuple(
        Section(
            f"claim-{verdict.name.lower()}",
            f"Claim about `dropout` {number}",
            (Paragraph(WEIRD), replace(_sortable(), id=f"checks-{number}", is_folded=True)),
            verdict=verdict,
            is_folded=True,
        )
        for number, verdict in enumerate(Verdict)
    )
    findings = Section(
        "findings",
        "Findings",
        (Paragraph("What the layout did to the published conclusions, measured both ways."), _sortable()),
        (Section("claims", "Claims", (Paragraph("In our words."),), claims), Section("slips", f"Slips {WEIRD}")),
    )
    pictures = (picture("fig-curves", "Learning curves"), picture("fig-maps", "Attention", is_wide=True))
    blocks = (
        Paragraph("1. Everything below is computed."),
        Alert("Two records disagree", (WEIRD, "run `abc`: 0.1, 0.2")),
    )
    sections = (
        at_a_glance,
        findings,
        Section("figures", "Figures", pictures),
        Section("runs", "Runs", (_long(),)),
    )
    return Document(f"Published and reproduced {WEIRD}", "Coursework results, recomputed and judged.", blocks, sections)
