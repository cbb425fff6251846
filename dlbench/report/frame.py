"""Records as pandas frames, for notebooks: evaluations of finished runs, and their curves (extra: `notebooks`)."""

import math
from pathlib import Path

import pandas as pd

from dlbench import paths
from dlbench.errors import ConfigError
from dlbench.records.labels import DECODED_BY
from dlbench.records.store import Store
from dlbench.report.results import Result, collect
from dlbench.terminal import say

COLUMNS = (
    *("run", "evaluation", "experiment", "settings", "data", "provenance", "seed", "decoding", "outdated"),
    *("minutes", "peak_memory_gb", "configuration"),
)
CURVE_COLUMNS = ("run", "experiment", "settings", "data", "provenance", "seed", "epoch", "metric", "value")


def frame(*folders: Path) -> pd.DataFrame:
    """A row an evaluation of a finished run: `COLUMNS`, then one for each metric, empty where it was not measured.

    ``settings`` tells an experiment's configurations apart in words, ``configuration`` is the same for runs that differ
    in their seed or data alone; ``minutes`` and ``peak_memory_gb`` are the training's. What diverged or cannot be read
    is left out and named on standard error.

    Args:
        folders: Of records; default: the user's (``$DLBENCH_RUNS`` or ``runs``) and the committed ones.

    Raises:
        ConfigError: A folder that was asked for is not there.
    """
    results = _collected(folders)
    rows = [
        {
            **{name: getattr(result, name) for name in COLUMNS if hasattr(result, name)},
            "evaluation": result.evaluation.id,
            "outdated": result.is_outdated,
            "minutes": result.training["seconds"] / 60,
            "peak_memory_gb": (result.training["peak_memory_bytes"] or math.nan) / 1e9,
            **result.metrics,
        }
        for result in results
    ]
    metrics = sorted({metric for result in results for metric in result.metrics})
    return pd.DataFrame(rows, columns=pd.Index([*COLUMNS, *metrics]))


def curves(*folders: Path) -> pd.DataFrame:
    """A row a run, epoch (from 1) and metric: `CURVE_COLUMNS`. A run counts once, however often it was evaluated.

    Args:
        folders: As in `frame`.

    Raises:
        ConfigError: As in `frame`.
    """
    rows = []
    for result in {result.run: result for result in _collected(folders)}.values():
        experiment, settings = str(result.manifest["experiment"]), result.settings.partition(DECODED_BY)[0]
        about = (result.run, experiment, settings, result.data, result.provenance, result.seed)
        for row in result.curves:
            rows += [(*about, row["epoch"], metric, value) for metric, value in row.items() if "/" in metric]
    return pd.DataFrame(rows, columns=pd.Index(CURVE_COLUMNS))


def _collected(folders: tuple[Path, ...]) -> list[Result]:
    """In order of what they are, then of seeds."""
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder; name one that holds records, such as runs")
    collection = collect(map(Store, folders or (paths.runs(), paths.experiments() / "results")))
    for left in collection.left_out:
        say(f"record {left.run} is left out: {left.reason}")
    for lost in collection.diverged:
        say(f"record {lost.run} has no row: {lost.name} diverged in step {lost.step}")
    for found in collection.contradictions:
        say(f"two records of {found.run} differ in {', '.join(found.differing)}; the first counts")
    return sorted(
        collection.results,
        key=lambda result: (result.experiment, result.settings, result.seed, result.run, result.evaluation.id),
    )
