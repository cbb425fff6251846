"""Lists of our runs: leaderboards, what they cost, what is not on the real data, and where each comes from."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dlbench.identity import configuration_id
from dlbench.metrics.names import HEADINGS, is_better_higher, ranked_by, spoken
from dlbench.records.labels import settings
from dlbench.report.blocks import Alert, Cell, Column, Grid, Paragraph, Section
from dlbench.report.command import command, preparation
from dlbench.report.results import Collection, Result, by_configuration
from dlbench.report.sections.values import OUTDATED, OUTDATED_NOTE, interval, ours
from dlbench.report.statistics import prediction_interval
from dlbench.report.verdicts import measured
from dlbench.terminal import format_value

Group = Sequence[Result]
RETRIEVED = "test/retrieval_accuracy"
OTHER_DATA = {
    "other split": "Real data, but not the published split of it: comparable with no report's values",
    "stand-in": "Stand-ins for data that is not at hand, as speech of a machine is: comparable with no report's values",
    "embedded": "Embedded data: drawn or invented, comparable with no report",
    "user copy": "Your own copies of data, content unknown: comparable with no report",
}


def leaderboards(groups: Iterable[Group]) -> Section:
    """For each data set every configuration run on it, the best first; another kind of task has a board of its own.

    Retrieval has none: its settings are how hard it is.
    """
    boards: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        tested = [name for name in HEADINGS if name.startswith("test/") and measured(group, name)]
        if not tested or RETRIEVED in tested:
            continue
        if measured(group, metric := ranked_by(group[0].data, tested)):
            boards[group[0].data, metric].append(group)
    grids = tuple(_board(data, metric, found) for (data, metric), found in sorted(boards.items()))
    return Section("leaderboards", "Leaderboards", grids)


def _board(data: str, metric: str, groups: Sequence[Group]) -> Grid:
    others = [name for name in HEADINGS if name != metric and any(measured(group, name) for group in groups)]
    ranked = sorted(
        groups, key=lambda group: statistics.fmean(measured(group, metric)), reverse=is_better_higher(metric)
    )
    rows = tuple(
        (
            Cell(str(place), place),
            Cell(group[0].experiment),
            Cell(group[0].settings),
            ours(group, metric),
            interval(_interval(measured(group, metric))),
            *(ours(group, name) for name in others),
        )
        for place, group in enumerate(ranked, start=1)
    )
    columns = (
        Column("place", is_number=True),
        Column("experiment"),
        Column("settings"),
        Column(spoken(metric), is_number=True),
        Column("95% prediction interval", is_number=True),
        *(Column(HEADINGS[name], is_number=True) for name in others),
    )
    place = f"board-{data}-{metric.removeprefix('test/')}".replace("_", "-")
    return Grid(place, f"{data}, by {spoken(metric)}", columns, rows, labels=3)


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    return prediction_interval(values) if len(values) > 1 else None


def costs(groups: Iterable[Group]) -> Section:
    """Time, memory, parameters and operations of every configuration."""
    columns = (
        Column("experiment"),
        Column("settings"),
        Column("runs", is_number=True),
        Column("minutes", is_number=True),
        Column("seconds an epoch", is_number=True),
        Column("peak memory, GB", is_number=True),
        Column("parameters", is_number=True),
        Column("MFLOP forward, an example", is_number=True),
    )
    trained: dict[str, dict[str, Result]] = defaultdict(dict)
    for result in (result for group in groups for result in group if not result.evaluated.get("members")):
        # Decodings of one training cost it once; an ensemble costs what its members do.
        trained[configuration_id(result.identity)].setdefault(result.run, result)
    found = [list(runs.values()) for runs in trained.values()]
    rows = tuple(_cost(group) for group in sorted(found, key=lambda group: str(group[0].manifest["experiment"])))
    note = (
        "Median over the runs, each on one thread of a machine that was busy with another run beside it, or more: what "
        "a run takes there, not a benchmark (see docs/benchmarks.md for that)."
    )
    grid = Grid("costs-grid", "What a training takes", columns, rows, note, labels=2)
    return Section("costs", "Cost", (grid,))


def _cost(group: Group) -> tuple[Cell, ...]:
    manifest = group[0].manifest
    seconds = [float(result.training["seconds"]) for result in group]
    epochs = int(group[0].training["epochs"])
    memory = statistics.median(float(result.training["peak_memory_bytes"]) for result in group) / 1e9
    return (
        Cell(manifest["experiment"]),
        Cell(settings(manifest["experiment"], group[0].config)),
        Cell(str(len(group)), len(group)),
        _decimal(statistics.median(seconds) / 60, 1),
        _decimal(statistics.median(seconds) / epochs, 1),
        _decimal(memory, 2),
        _metric(group, "model/parameters"),
        _metric(group, "model/flops", 1e-6),
    )


def _metric(group: Group, name: str, scale: float = 1.0) -> Cell:
    found = sorted(measured(group, name))
    if not found:
        return Cell("-")
    # A part of the data may have a smaller vocabulary, in another seed's part another one.
    ends = dict.fromkeys((found[0], found[-1]))
    return Cell(" to ".join(format_value(end * scale) for end in ends), found[0])


def _decimal(value: float, places: int) -> Cell:
    return Cell(f"{value:.{places}f}", value)


def other_data(results: Iterable[Result]) -> Section | None:
    """What is not on the real data, apart and labelled."""
    results = list(results)
    grids = tuple(
        _other(provenance, title, list(by_configuration(found).values()))
        for provenance, title in OTHER_DATA.items()
        if (found := [result for result in results if result.provenance == provenance])
    )
    if not grids:
        return None
    about = (
        "These runs are held against nothing that was published. Those on drawn or invented data show that everything "
        "works; those on another split or on stand-ins are compared with each other, where a report's claims stand."
    )
    return Section("other-data", "Runs on other data", (Paragraph(about), *grids))


def _other(provenance: str, title: str, groups: Sequence[Group]) -> Grid:
    metrics = [name for name in HEADINGS if any(measured(group, name) for group in groups)]
    columns = (
        Column("experiment"),
        Column("settings"),
        *(Column(HEADINGS[name], is_number=True) for name in metrics),
    )
    rows = tuple(
        (Cell(group[0].experiment), Cell(group[0].settings), *(ours(group, name) for name in metrics))
        for group in sorted(groups, key=lambda group: group[0].experiment)
    )
    return Grid(f"other-{provenance.replace(' ', '-')}", title, columns, rows, labels=2)


def runs(results: Iterable[Result]) -> Section:
    """Every evaluation: what it is, what made it, and the command that makes it again."""
    headings = ("name, as in TensorBoard", "command", "run/evaluation", "data", "commit", "machine", "finished")
    columns = tuple(map(Column, headings))
    ordered = sorted(results, key=lambda result: (result.experiment, result.settings, result.seed))
    rows = tuple(_run(result) for result in ordered)
    about = (
        "A run is named by the hash of everything that decides its result, an evaluation of it by a second one, the "
        "data by the hash of its content."
    )
    first = dict.fromkeys(spoken for result in ordered if (spoken := preparation(result)))
    told = [Paragraph(f"What stand-in data is made with, before its runs: {', '.join(f'`{x}`' for x in first)}.")]
    grid = Grid("runs-grid", f"{len(rows)} evaluations", columns, rows, OUTDATED_NOTE)
    return Section("runs", "Runs", (Paragraph(about), *(told if first else ()), grid))


def _run(result: Result) -> tuple[Cell, ...]:
    manifest = result.manifest
    code, numerics, environment = manifest["code"], manifest["numerics"], manifest["environment"]
    commit = f"{(code['commit'] or 'none')[:8]}{', changed' if code['dirty'] else ''}"
    machine = f"{environment['processor']}, {numerics['device']}, torch {numerics['torch']}"
    return (
        Cell(result.name),
        _command(result),
        Cell(f"{result.run}/{result.evaluation.id}{OUTDATED if result.is_outdated else ''}"),
        Cell(f"{result.data}, {result.provenance}, {result.fingerprint[:12]}", hint=result.fingerprint),
        Cell(commit),
        Cell(machine, hint=f"{numerics['cpu_capability']}, {numerics['threads']} thread(s)"),
        Cell(str(result.training["finished"])[:10], str(result.training["finished"])),
    )


def _command(result: Result) -> Cell:
    try:
        return Cell(command(result), is_code=True)
    except (HydraException, OmegaConfBaseException):
        return Cell("-", hint="it has parts that this version does not have")


def alerts(collection: Collection) -> tuple[Alert, ...]:
    """What must be seen first: records that contradict each other."""
    lines = tuple(f"{found.run}: {', '.join(found.differing)}" for found in collection.contradictions)
    title = "Reproducibility failure: records of one run, made under the same numerics, differ"
    return (Alert(title, lines),) if lines else ()


def left_out(collection: Collection) -> Section | None:
    """Records that could not be used."""
    if not collection.left_out:
        return None
    rows = tuple((Cell(found.run), Cell(found.reason)) for found in collection.left_out)
    grid = Grid("left-out-grid", "Not among the results", (Column("record"), Column("why")), rows)
    return Section("left-out", "Records left out", (grid,))
