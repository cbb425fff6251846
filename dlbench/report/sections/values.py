"""A report's tables: every published value beside ours, with its verdict."""

from collections.abc import Sequence

from dlbench.metrics.names import spoken
from dlbench.report.blocks import Cell, Column, Grid
from dlbench.report.results import Result
from dlbench.report.schema import Report, Table
from dlbench.report.verdicts import Value, measured
from dlbench.terminal import format_value, mean_and_spread, sentence

COLUMNS = (
    Column("metric"),
    Column("verdict"),
    Column("published", is_number=True),
    Column("ours", is_number=True),
    Column("95% prediction interval", is_number=True),
)
OUTDATED = "*"
OUTDATED_NOTE = f"{OUTDATED} comparable, but of other MINOR versions: its own commit gives its bits, not today's code."


def grids(name: str, report: Report, values: Sequence[Value]) -> tuple[Grid, ...]:
    """A grid for each table of the report."""
    return tuple(
        _grid(f"{name}-table-{number}", report, table, [value for value in values if value.table is table])
        for number, table in enumerate(report.tables, start=1)
    )


def _grid(identity: str, report: Report, table: Table, values: Sequence[Value]) -> Grid:
    variants = [variant for variant in report.variants if any(variant in value.variants for value in values)]
    substitutes = {value.substituted.heading: value.substituted.substitute for value in values if value.substituted}
    columns = (
        Column("row"),
        *COLUMNS,
        *(Column(f"ours, {variant}", is_number=True) for variant in variants),
        *(Column(f"{used.provenance}, not compared: {name}", is_number=True) for name, used in substitutes.items()),
    )
    rows = tuple(
        (
            Cell(value.row.label),
            *row(value),
            *(ours(value.variants.get(variant, []), value.metric) for variant in variants),
            *(ours(_stood_in(value, name), value.metric) for name in substitutes),
        )
        for value in values
    )
    shown = [result for value in values for result in (*value.results, *_stood_in(value))]
    is_outdated = any(result.is_outdated for result in shown)
    notes = [sentence(table.note)] if table.note else []
    notes += [OUTDATED_NOTE] if is_outdated else []
    notes += [used.note(name) for name, used in substitutes.items()]
    return Grid(identity, table.title, columns, rows, " ".join(notes) or None, labels=2)


def _stood_in(value: Value, substitute: str | None = None) -> Sequence[Result]:
    """The results of what stands in, if it is this substitute, or whichever it is."""
    used = value.substituted
    return used.results if used and substitute in (None, used.heading) else ()


def row(value: Value) -> tuple[Cell, ...]:
    """What `COLUMNS` names."""
    return (
        Cell(spoken(value.metric), hint=value.metric),
        Cell(value.judged.reason, verdict=value.judged.verdict),
        Cell(format_value(value.published), value.published),
        ours(value.results, value.metric),
        interval(value.judged.interval),
    )


def ours(results: Sequence[Result], metric: str) -> Cell:
    """Mean, standard deviation and number of our runs; marked where one of them was made by other versions."""
    found = measured(results, metric)
    if not found:
        return Cell("-")
    mark = OUTDATED if any(result.is_outdated for result in results) else ""
    seeds = ", ".join(str(result.seed) for result in results if metric in result.metrics)
    return Cell(mean_and_spread(found) + mark, sum(found) / len(found), hint=f"seeds {seeds}")


def interval(bounds: tuple[float, float] | None) -> Cell:
    """``low to high``."""
    if bounds is None:
        return Cell("-")
    return Cell(f"{format_value(bounds[0])} to {format_value(bounds[1])}", bounds[0])
