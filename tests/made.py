"""Results without a training, for what is made of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlbench import components, identity
from dlbench.config import composed
from dlbench.records.store import Record
from dlbench.report.jobs import data_set
from dlbench.report.results import Result


def made(
    experiment: str,
    *overrides: str,
    metrics: Mapping[str, float],
    seed: int = 42,
    provenance: str = "verified",
    fingerprint: str = "f" * 64,
    versions: Mapping[str, str] | None = None,
    curves: Path | None = None,
    stand_in: Mapping[str, Any] | None = None,
) -> Result:
    """An evaluation as `dlbench.report.results.collect` would read it from a record of that experiment.

    ``versions`` are those of components that were others than today's.
    """
    config = {**composed(experiment, overrides), "seed": seed}
    meaning = identity.training(config, fingerprint, "cpu")
    run = identity.digest(meaning)
    evaluated = config["evaluation"]
    versions = {**components.versions(config), **(versions or {})}
    record = Record((curves or Path("nowhere")) / run)
    evaluation = record.evaluation(identity.digest(identity.evaluation(run, evaluated)))
    data: dict[str, Any] = {"name": data_set(config), "provenance": provenance}
    data |= {"source": "synthetic" if provenance == "synthetic" else "files", "fingerprint": fingerprint}
    data["sizes"] = {"train": 800, "val": 100, "test": 200}
    data |= {"stand_in": dict(stand_in)} if stand_in else {}
    manifest = {
        "run": run,
        "experiment": experiment,
        "data": data,
        "versions": versions,
        "code": {"commit": "c" * 40, "dirty": False},
        "numerics": {"torch": "2", "device": "cpu", "cpu_capability": "none", "threads": 1},
        "environment": {"processor": "made"},
    }
    finished = "2026-01-01T00:00:00+00:00"
    training = {"epochs": 2, "seconds": 60.0, "peak_memory_bytes": 10**9, "finished": finished, "weights": "w"}
    result = {"evaluation": evaluation.id, "experiment": experiment, "metrics": dict(metrics)}
    result |= {"weights": "w", "versions": versions}
    training["seal"], result["seal"] = run, identity.digest({"run": run, **result})
    configuration = identity.compared_id(meaning, evaluated)
    return Result(record, config, meaning, manifest, evaluation, training, result, evaluated, configuration)
