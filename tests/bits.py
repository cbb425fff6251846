"""Runs held against each other, bit for bit, and their predictions."""

import csv
from pathlib import Path
from typing import Any

from dlbench.records import history, seal
from dlbench.records.store import Record, Store
from dlbench.run import Outcome


def rows(outcome: Outcome) -> list[dict[str, str]]:
    """The predictions that an evaluation has kept."""
    with (outcome.evaluation.folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same_bits(outcome: Outcome, expected: Outcome) -> bool:
    """Whether weights, curves (speed apart) and metrics are the same."""

    def curves(made: Outcome) -> list[dict[str, float]]:
        rows = history.read(made.record.metrics)
        return [{name: row[name] for name in row if not name.startswith("time/")} for row in rows]

    weights = [seal.read(made.record.training)["weights"] for made in (outcome, expected)]
    same_metrics = outcome.result["metrics"] == expected.result["metrics"]
    return weights[0] == weights[1] and curves(outcome) == curves(expected) and same_metrics


def ending(record: Record) -> tuple[Any, ...]:
    """State, step, weights and metrics of a closed record; to be equal to the bit."""
    training = seal.read(record.training)
    metrics = [seal.read(evaluation.result)["metrics"] for evaluation in record.evaluations()]
    return training["state"], training.get("step"), training["weights"], metrics


def endings(runs: Path) -> dict[str, tuple[Any, ...]]:
    """The `ending` of every closed record in a folder, by its name."""
    return {record.id: ending(record) for record in Store(runs).all() if record.training.exists()}
