"""Records as pandas frames, for notebooks: evaluations of finished runs, and their curves (extra: `notebooks`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dlbench import paths
from dlbench.errors import ConfigError
from dlbench.records.labels import DECODED_BY
from dlbench.records.store import Store
from dlbench.report.results import Result, collect
from dlbench.terminal import say

COLUMNS = (
    "run",
    "evaluation",
    "experiment",
    "settings",
    "data",
    "provenance",
    "seed",
    "decoding",
    "outdated",
    "minutes",
    "peak_memory_gb",
    "configuration",
)
CURVE_COLUMNS = ("run", "experiment", "settings", "data", "provenance", "seed", "epoch", "metric", "value")


def frame(*folders: Path) -> pd.DataFrame:
    """A row an evaluation of a finished run: `COLUMNS`, then one for each metric, empty where it was not measured.

    ``settings`` tells an experiment's configurations apart in words, ``configuration`` is the same for runs that differ
    in their seed or data alone; ``minutes`` and ``peak_memory_gb`` are the training's. What cannot be read is left out
    and named on standard error.

    Args:
        folders: Of records; default: the user's (``$DLBENCH_RUNS`` or ``runs``) and the committed ones.

    Raises:
        ConfigError: A folder that was asked for is not there.
    """
    results = _collected(folders)
    metrics = sorted({metric for result in results for metric in result.metrics})
    return pd.DataFrame(map(_row, results), columns=pd.Index([*COLUMNS, *metrics]))


def curves(*folders: Path) -> pd.DataFrame:
    """A row a run, epoch (from 1) and metric: `CURVE_COLUMNS`. A run counts once, however often it was evaluated.

    Args:
        folders: As in `frame`.

    Raises:
        ConfigError: As in `frame`.
    """
    trainings = {result.run: result for result in _collected(folders)}
    rows = (row for result in trainings.values() for row in _curves(result))
    return pd.DataFrame(rows, columns=pd.Index(CURVE_COLUMNS))


def _collected(folders: tuple[Path, ...]) -> list[Result]:
    """In order of what they are, then of seeds."""
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder; name one that holds records, such as runs")
    usual = (paths.runs(), paths.experiments() / "results")
    collection = collect(map(Store, folders or usual))
    for left in collection.left_out:
        say(f"record {left.run} is left out: {left.reason}")
    for found in collection.contradictions:
        say(f"two records of {found.run} differ in {', '.join(found.differing)}; the first counts")
    return sorted(
        collection.results,
        key=lambda result: (result.experiment, result.settings, result.seed, result.run, result.evaluation.id),
    )


def _row(result: Result) -> dict[str, Any]:
    training = result.training
    return {
        "run": result.run,
        "evaluation": result.evaluation.id,
        "experiment": result.experiment,
        "settings": result.settings,
        "data": result.data,
        "provenance": result.provenance,
        "seed": result.seed,
        "decoding": result.decoding,
        "outdated": result.is_outdated,
        "minutes": training["seconds"] / 60,
        "peak_memory_gb": training["peak_memory_bytes"] / 1e9,
        "configuration": result.configuration,
        **result.metrics,
    }


def _curves(result: Result) -> Iterator[tuple[Any, ...]]:
    about = (
        result.run,
        str(result.manifest["experiment"]),
        result.settings.partition(DECODED_BY)[0],
        result.data,
        result.provenance,
        result.seed,
    )
    for row in result.curves:
        yield from ((*about, row["epoch"], metric, value) for metric, value in row.items() if "/" in metric)
