"""Our runs, whatever was published: leaderboards, what they cost, what is on other data, and where each comes from."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dlbench import components
from dlbench.errors import ConfigError
from dlbench.identity import TRAINING_SECTIONS
from dlbench.metrics.names import HEADINGS, display_name, is_better_higher, ranked_by
from dlbench.records.files import ODD
from dlbench.records.labels import settings
from dlbench.report.command import preparation, seedless, with_seeds
from dlbench.report.document import Cell, Grid, Paragraph, Section, numbers, texts
from dlbench.report.results import Collection, Evidence, Result, Runs, alike
from dlbench.report.statistics import prediction_interval
from dlbench.terminal import format_value, mean_and_spread

MARK, OTHER_SPLIT_MARK = "*", "†"
OUTDATED_NOTE = f"{MARK} made by earlier MINOR versions: comparable, but only its own commit gives its bits."
NOTES = {
    MARK: "seeds made by different MINOR versions: all count; only those of equal versions are paired.",
    OTHER_SPLIT_MARK: "on other examples than the published value, of the same kind and number.",
}
"""What the marks of cells mean."""
OTHER_DATA = {
    "other split": "Real data, but not the published split of it: comparable with no report's values",
    "stand-in": "Stand-ins for data that is not at hand, as speech of a machine is: comparable with no report's values",
    "synthetic": "Synthetic data: drawn or invented, comparable with no report",
    "user copy": "Your own copies of data, content unknown: comparable with no report",
}

MOST_ROWS = 500
"""So many rows of our own runs has a grid: more are not read there, but out of ``numbers.csv``."""
Row = TypeVar("Row")


def shortened(rows: Sequence[Row], note: str | None = None) -> tuple[Sequence[Row], str | None]:
    """The first rows, `MOST_ROWS` of them, and a grid's note, which says so where there are more."""
    if len(rows) <= MOST_ROWS:
        return rows, note
    told = f"The first {MOST_ROWS:,} of {len(rows):,} rows; every run and its metrics: numbers.csv."
    return rows[:MOST_ROWS], f"{told} {note}" if note else told


def ours(runs: Runs, metric: str, *, is_other_split: bool = False) -> Cell:
    """Mean, standard deviation and number of our runs, and how many diverged; with the marks that `NOTES` explains."""
    found, lost = runs.measured(metric), runs.lost
    said = f"{len(lost)} diverged" if lost else ""
    if not found:
        return Cell(said or "-")
    is_mixed = any(components.unlike(result.versions, runs.first.versions) for result in runs.results)
    marks = [MARK] * is_mixed + [OTHER_SPLIT_MARK] * is_other_split
    seeds = ", ".join(str(result.seed) for result in runs.results if metric in result.metrics)
    hint = f"seeds {seeds}" + (f"; diverged: seeds {', '.join(map(str, lost))}" if lost else "")
    text = ", ".join(filter(None, (mean_and_spread(found), said)))
    return Cell(text, sum(found) / len(found), hint=hint, marks=tuple(marks))


def number(value: float | None) -> Cell:
    """A number as the reports print it, or a dash."""
    return Cell("-") if value is None else Cell(format_value(value), value)


def probability(p: float | None) -> Cell:
    """A p to two digits, or a dash."""
    if p is None:
        return Cell("-")
    # A half is rounded up, so that .125, the least p of three permuted pairs, is not told as less.
    return Cell("<.0001" if p < 0.0001 else f"{p:.2g}" if p < 0.1 else f"{math.floor(100 * p + 0.5) / 100:.2f}", p)


def interval(bounds: tuple[float, float] | None) -> Cell:
    """``low to high``."""
    if bounds is None:
        return Cell("-")
    return Cell(f"{format_value(bounds[0])} to {format_value(bounds[1])}", bounds[0])


def by_metric(
    id: str, title: str, groups: Iterable[Runs], metrics: Mapping[str, str], *, has_data: bool = False
) -> Grid:
    """A row a configuration, by experiment: settings, perhaps the hash of the data, and metrics by their heading."""
    labels = ("experiment", "settings", "data") if has_data else ("experiment", "settings")

    def row(runs: Runs) -> tuple[Cell, ...]:
        what = (runs.first.experiment, runs.first.settings, runs.first.fingerprint[:12])
        return (*map(Cell, what[: len(labels)]), *(ours(runs, metric) for metric in metrics.values()))

    shown, note = shortened(sorted(groups, key=lambda runs: runs.first.experiment))
    columns = (*texts(*labels), *numbers(*metrics))
    return Grid(id, title, columns, tuple(map(row, shown)), note, labels=len(labels))


def leaderboards(groups: Iterable[Runs]) -> Section:
    """For each data set every configuration run on it, the best first; another kind of task has a board of its own.

    Retrieval has none: its settings are how hard it is.
    """
    boards: dict[tuple[str, str], list[Runs]] = defaultdict(list)
    for runs in groups:
        tested = [name for name in HEADINGS if name.startswith("test/") and runs.measured(name)]
        if not tested or "test/retrieval_accuracy" in tested:
            continue
        if runs.measured(metric := ranked_by(runs.first.data, tested)):
            boards[runs.first.data, metric].append(runs)
    grids = tuple(_board(data, metric, found) for (data, metric), found in sorted(boards.items()))
    return Section("leaderboards", "Leaderboards", grids)


def _board(data: str, metric: str, groups: Iterable[Runs]) -> Grid:
    ranked = sorted(groups, key=lambda runs: statistics.fmean(runs.measured(metric)), reverse=is_better_higher(metric))
    others = [name for name in HEADINGS if name != metric and any(runs.measured(name) for runs in ranked)]
    shown, note = shortened(ranked)
    rows = []
    for place, runs in enumerate(shown, start=1):
        values = runs.measured(metric)
        expected = prediction_interval(values) if len(values) > 1 else None
        what = Cell(str(place), place), Cell(runs.first.experiment), Cell(runs.first.settings)
        rows.append((*what, ours(runs, metric), interval(expected), *(ours(runs, name) for name in others)))
    columns = (
        *numbers("place"),
        *texts("experiment", "settings"),
        *numbers(display_name(metric), "95% prediction interval", *(HEADINGS[name] for name in others)),
    )
    id = f"board-{data}-{metric.removeprefix('test/')}".replace("_", "-")
    return Grid(id, f"{data}, by {display_name(metric)}", columns, tuple(rows), note, labels=3)


def costs(groups: Iterable[Runs]) -> Section:
    """Time, memory, parameters and operations of every configuration."""
    columns = (
        *texts("experiment", "settings"),
        *numbers("runs", "minutes", "seconds an epoch", "peak memory, GB", "parameters", "MFLOP forward, an example"),
    )
    trained: dict[str, dict[str, Result]] = defaultdict(dict)
    for result in (each for runs in groups for each in runs.results if not each.evaluated.get("members")):
        # Decodings of one training cost it once; an ensemble costs what its members do.
        trained[result.trained].setdefault(result.run, result)
    found = [Runs(list(runs.values())) for runs in trained.values()]
    about = (
        "Median over the runs, each on one thread of a machine that was busy with another run beside it, or more: what "
        "a run takes there, not a benchmark (see docs/benchmarks.md for that)."
    )
    shown, note = shortened(sorted(found, key=lambda runs: str(runs.first.manifest["experiment"])), about)
    grid = Grid("costs-grid", "What a training takes", columns, tuple(map(_cost, shown)), note, labels=2)
    return Section("costs", "Cost", (grid,))


def _cost(runs: Runs) -> tuple[Cell, ...]:
    def median(of: str, unit: float, places: int) -> Cell:
        found = [float(result.training[of]) for result in runs.results if result.training[of] is not None]
        value = statistics.median(found) / unit if found else None
        return Cell("-") if value is None else Cell(f"{value:.{places}f}", value)

    def extent(metric: str, unit: float) -> Cell:
        found = runs.measured(metric)
        if not found:
            return Cell("-")
        # A part of the data may have a smaller vocabulary, in another seed's part another one.
        ends = dict.fromkeys((min(found), max(found)))
        return Cell(" to ".join(format_value(end * unit) for end in ends), min(found))

    experiment = str(runs.first.manifest["experiment"])
    return (
        Cell(experiment),
        Cell(settings(experiment, runs.first.config)),
        Cell(str(len(runs.results)), len(runs.results)),
        median("seconds", 60, 1),
        median("seconds", int(runs.first.training["epochs"]), 1),
        median("peak_memory_bytes", 1e9, 2),
        extent("model/parameters", 1),
        extent("model/flops", 1e-6),
    )


def other_data(evidence: Evidence) -> Section | None:
    """What is neither on the real data nor on a report's own, apart and labelled."""
    grids, collection = [], evidence.collection
    own = tuple(chain.from_iterable(report.own_data for report in evidence.reports.values()))
    others = [each for each in collection.results if not each.fingerprint.startswith(own)]
    for provenance, title in OTHER_DATA.items():
        groups = alike((result for result in others if result.provenance == provenance), collection.diverged)
        if not groups:
            continue
        metrics = {HEADINGS[name]: name for name in HEADINGS if any(runs.measured(name) for runs in groups)}
        grids.append(by_metric(f"other-{provenance.replace(' ', '-')}", title, groups, metrics, has_data=True))
    about = Paragraph(
        "These runs are held against nothing that was published. Those on drawn or invented data show that everything "
        "works; those on another split or on stand-ins are compared with each other, where a report's claims stand. "
        "Each row is on the data of one hash: where a version changed what is drawn, runs before and after stand apart."
    )
    return Section("other-data", "Runs on other data", (about, *grids)) if grids else None


def runs(results: Iterable[Result]) -> Section:
    """What every evaluation is, what made it, and the command that makes it again; a row for all seeds."""
    columns = texts(
        "experiment", "settings", "command", "seed: run/evaluation", "data", "commit", "machine", "finished"
    )
    ordered = sorted(results, key=lambda result: (result.experiment, result.settings, result.seed))
    rows: dict[tuple[Any, ...], list[Result]] = defaultdict(list)
    # A command takes a while to find, and most runs differ in their seed alone.
    known: dict[str, tuple[str, ...] | None] = {}
    begun: set[tuple[str, ...]] = set()
    for result in ordered:
        made_by = [result.config.get(section) for section in TRAINING_SECTIONS]
        # The configuration tells, as these do not, what callbacks changed the training.
        told = [result.experiment, result.provenance, result.configuration, made_by, result.evaluated]
        key = json.dumps(told, sort_keys=True)
        made_of = (result.experiment, result.settings, result.configuration, result.provenance, result.fingerprint)
        if key not in known:
            if len(rows) >= MOST_ROWS and made_of not in begun:
                continue
            known[key] = _seedless(result)
        begun.add(made_of)
        rows[*made_of, known[key] or key].append(result)
    about = [
        "A run is named by the hash of everything that decides its result, an evaluation of it by a second one, the "
        "data by the hash of its content. Runs that differ only in their seed share a row, and a command that makes "
        "them all. `python -m dlbench records show RUN` tells more of one."
    ]
    if first := dict.fromkeys(filter(None, (preparation(group[0]) for group in rows.values()))):
        about.append(f"What stand-in data is made with, before its runs: {', '.join(f'`{x}`' for x in first)}.")
    shown = tuple(_row(group, words) for (*_, words), group in rows.items())
    title, count = f"{len(ordered)} evaluations", sum(map(len, rows.values()))
    title = title if count == len(ordered) else f"{title}, of which {count} are told here, and all in numbers.csv"
    grid = Grid("runs-grid", title, columns, shown, OUTDATED_NOTE)
    return Section("runs", "Runs", (*map(Paragraph, about), grid))


def _seedless(result: Result) -> tuple[str, ...] | None:
    """See `dlbench.report.command.seedless`; None where it has parts that no command of this version names."""
    try:
        has_callbacks = any(key.startswith("callbacks.") for key in result.identity)
        return None if has_callbacks else tuple(seedless(result))
    except (HydraException, OmegaConfBaseException, ConfigError, *ODD):
        return None


def _row(group: Sequence[Result], words: tuple[str, ...] | str) -> tuple[Cell, ...]:
    """``words`` are those of `_seedless`; a text where there are none."""
    first = group[0]
    gone = Cell("-", hint="it has parts that this version does not have, or callbacks that change the training")
    again = gone if isinstance(words, str) else Cell(with_seeds(words, group), is_code=True)
    named = [f"{each.seed}: {each.run}/{each.evaluation.id}{MARK if each.is_outdated else ''}" for each in group]
    finished = sorted(str(each.training["finished"]) for each in group)
    return (
        Cell(first.experiment),
        Cell(first.settings),
        again,
        Cell(", ".join(named)),
        Cell(f"{first.data}, {first.provenance}, {first.fingerprint[:12]}", hint=first.fingerprint),
        _all(group, _commit),
        _all(group, _machine),
        Cell(" to ".join(dict.fromkeys(day[:10] for day in (finished[0], finished[-1]))), finished[-1]),
    )


def _all(group: Iterable[Result], told: Callable[[Result], str]) -> Cell:
    """What is told of results, each thing once."""
    return Cell(", ".join(dict.fromkeys(map(told, group))))


def _commit(result: Result) -> str:
    code = result.manifest["code"]
    return f"{(code['commit'] or 'none')[:8]}{' (changed)' if code['dirty'] else ''}"


def _machine(result: Result) -> str:
    numerics, environment = result.manifest["numerics"], result.manifest["environment"]
    threads = f"{numerics['threads']} thread{'s' * (numerics['threads'] != 1)}"
    how = (numerics["cpu_capability"], threads, numerics["device"], f"torch {numerics['torch']}")
    return f"{environment['processor']} ({', '.join(how)})"


def diverged(collection: Collection) -> Section | None:
    """The runs that diverged, by name."""
    rows = tuple(
        (
            Cell(run.run),
            Cell(run.name),
            Cell(f"{run.data}, {run.provenance}"),
            Cell(str(run.step), run.step),
        )
        for run in sorted(collection.diverged, key=lambda run: (run.name, run.run))
    )
    about = Paragraph(
        "Their loss left the finite numbers. They have no result, so each mean is one of the runs beside them."
    )
    columns = (*texts("record", "name, as in TensorBoard", "data"), *numbers("step"))
    grid = Grid("diverged-grid", "No result", columns, rows)
    return Section("diverged", "Runs that diverged", (about, grid)) if rows else None


def left_out(collection: Collection) -> Section | None:
    """Records that could not be used."""
    rows = tuple((Cell(found.run), Cell(found.reason)) for found in collection.left_out)
    grid = Grid("left-out-grid", "Not among the results", texts("record", "why"), rows)
    return Section("left-out", "Records left out", (grid,)) if rows else None
