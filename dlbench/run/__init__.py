"""One run: plan -> train or resume -> evaluate -> record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from dlbench import components
from dlbench.environment import interrupted_by_signals
from dlbench.errors import ConfigError
from dlbench.metrics.names import has_direction, is_better_higher
from dlbench.records.lock import UnwritableError
from dlbench.records.store import Evaluation, Record, State
from dlbench.run.evaluation import LostCheckpointError, ensure_evaluated, ensure_weights, look_up
from dlbench.run.plan import Plan, prepare
from dlbench.run.training import ensure_trained, obstacles
from dlbench.terminal import nearest, say


@dataclass(frozen=True)
class Outcome:
    """What a run gives back: its record and evaluation, the result, whether it was trained or evaluated just now.

    ``objective`` is what a search goes by (see ``objective`` in ``conf/config.yaml``): the value of ``metric``, of
    which the highest (``mode`` is ``max``) or the lowest (``min``) is the best; None where it was not measured.
    """

    record: Record
    evaluation: Evaluation
    result: dict[str, Any]
    trained: bool
    evaluated: bool
    metric: str
    mode: str | None
    objective: float | None


def run(config: DictConfig) -> Outcome:
    """Make, resume, or look up the run a composed configuration describes.

    Raises:
        DlbenchError: The configuration, the data or the disk do not allow it.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same run goes on from its last checkpoint.
    """
    return execute(prepare(config))


@interrupted_by_signals()
def execute(plan: Plan, wait: bool = True) -> Outcome:
    """See `run`. Where nothing can be written, a finished run is looked up all the same.

    Raises:
        BusyError: Another process makes this run, and ``wait`` is false.
        ConfigError: There is no such ``objective``, or no best value of it.
    """
    try:
        trained, evaluated, result = _execute(plan, wait)
    except UnwritableError:
        found = None if any(obstacles(plan)) else look_up(plan)[0]
        if found is None:
            raise
        trained, evaluated, result = False, False, found
    return Outcome(plan.record, plan.evaluation, result, trained, evaluated, *_objective(plan, result))


def _objective(plan: Plan, result: Mapping[str, Any]) -> tuple[str, str | None, float | None]:
    """The metric that a search goes by, its mode, and its value."""
    task_class: Any = components.locate(plan.config["task"]["_target_"])
    metrics, monitor = result["metrics"], task_class.monitor
    metric = plan.config.get("objective") or f"{monitor.name}_best"
    if result["state"] != State.FINISHED:
        return metric, None, None
    if metric in (monitor.name, f"{monitor.name}_best"):
        return metric, monitor.mode, metrics.get(metric)
    if metric not in metrics:
        raise ConfigError(f"objective={metric}: no such metric; {nearest(metric, metrics)}")
    if not has_direction(metric):
        raise ConfigError(f"objective={metric}: it is not known whether more of it is better; choose another")
    return metric, "max" if is_better_higher(metric) else "min", metrics[metric]


def _execute(plan: Plan, wait: bool) -> tuple[bool, bool, dict[str, Any]]:
    with plan.lock(wait):
        trained = ensure_trained(plan)
    # Each under its own lock alone, so that two ensembles of the same runs never wait for each other.
    is_there = look_up(plan)[0] is not None
    members = [] if is_there else [ensure_weights(member) for member in plan.members]
    with plan.lock():
        try:
            result = ensure_evaluated(plan, members)
        except LostCheckpointError as error:
            say(str(error))
            trained = ensure_trained(plan)
            result = ensure_evaluated(plan, members)
    return trained, not is_there, result
