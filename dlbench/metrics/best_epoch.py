"""The best epoch: the metric that picks it, the rule, and what of a run's curves is told beside a last epoch.

It imports no torch, so that reports and tables can be made without.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from dlbench.components import component

LAST_EPOCHS = 10
"""A last-epoch value is noisy at batch 8: the spread over so many epochs stands beside it."""


class Monitor(NamedTuple):
    """The validation metric that decides which epoch is the best, the first of its best value."""

    name: str
    mode: Literal["max", "min"]

    @property
    def worst(self) -> float:
        """What every value is better than."""
        return -math.inf if self.mode == "max" else math.inf

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value beats another; equal ones do not."""
        return value > than if self.mode == "max" else value < than


@component("curve_summary", "1.0")
def summarise_curves(rows: Sequence[dict[str, Any]], monitor: Monitor) -> dict[str, float]:
    """The last epoch's metrics, the monitored one's best value and its epoch, and its spread over the last epochs.

    What tells of speed (``time/``) is left out.

    Args:
        rows: The curves, one an epoch: see `dlbench.records.history.read`.
        monitor: The task's.
    """
    if not rows:
        return {}
    metrics = {name: value for name, value in rows[-1].items() if "/" in name and not name.startswith("time/")}
    values = [row[monitor.name] for row in rows]
    best = max(values) if monitor.mode == "max" else min(values)
    last = values[-LAST_EPOCHS:]
    metrics[f"{monitor.name}_best"] = best
    metrics["val/best_epoch"] = rows[values.index(best)]["epoch"]
    metrics[f"{monitor.name}_last{LAST_EPOCHS}_mean"] = statistics.fmean(last)
    if len(last) > 1:
        metrics[f"{monitor.name}_last{LAST_EPOCHS}_std"] = statistics.stdev(last)
    return metrics
