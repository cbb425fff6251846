"""One run, read top to bottom: plan -> train or resume -> evaluate -> record."""

import contextlib
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger

from dlbench import components, resources
from dlbench.callbacks.progress import progress
from dlbench.callbacks.recorder import EpochRecorder
from dlbench.environment import alone
from dlbench.errors import ConfigError, DlbenchError, RecordError
from dlbench.evaluating import LostCheckpointError, Weights, ensure_evaluated, read_weights, usable_result
from dlbench.interruption import interrupted_by_sigterm
from dlbench.messages import say
from dlbench.plan import Plan, build_task, clear_the_way, prepare, write_plan
from dlbench.records import seal
from dlbench.records.files import read_json, write_json
from dlbench.records.lock import still_held
from dlbench.records.manifest import forget_peak_memory, now, peak_memory_bytes
from dlbench.records.resume import load, recorder_state, resume_point
from dlbench.records.store import Evaluation, Record, State
from dlbench.settings import build, callbacks
from dlbench.tasks.base import DivergedError, Task
from dlbench.tensorboard import events
from dlbench.training import weights_hash


@dataclass(frozen=True)
class Outcome:
    """What a run gives back: its record and evaluation, the result, and whether anything had to be trained."""

    record: Record
    evaluation: Evaluation
    result: dict[str, Any]
    trained: bool


def run(config: DictConfig) -> Outcome:
    """Make, resume, or look up the run a composed configuration describes.

    Raises:
        DlbenchError: The configuration, the data or the disk do not allow it.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same run goes on from its last checkpoint.
    """
    return execute(prepare(config))


@interrupted_by_sigterm()
def execute(plan: Plan) -> Outcome:
    """See `run`."""
    with plan.record.lock():
        trained = ensure_trained(plan)
    # Each under its own lock alone, so that two ensembles of the same runs never wait for each other.
    members = [] if usable_result(plan) else [ensure_weights(member) for member in plan.members]
    with plan.record.lock():
        try:
            result = ensure_evaluated(plan, members)
        except LostCheckpointError as error:
            say(str(error))
            trained = ensure_trained(plan)
            result = ensure_evaluated(plan, members)
    return Outcome(plan.record, plan.evaluation, result, trained)


def ensure_weights(plan: Plan) -> Weights:
    """The weights of a run that another one's evaluation needs, trained if need be.

    Raises:
        RecordError: It diverged.
    """
    with plan.record.lock():
        ensure_trained(plan)
        if plan.record.state_on_disk() == State.DIVERGED:
            raise RecordError(f"record {plan.record.id} (seed {plan.seed}) diverged; remove it from evaluation.members")
        try:
            return read_weights(plan)
        except LostCheckpointError as error:
            say(str(error))
            ensure_trained(plan)
            return read_weights(plan)


def ensure_trained(plan: Plan) -> bool:
    """Leave the record with a closed training; say whether anything had to be trained."""
    clear_the_way(plan)
    if plan.record.state_on_disk() in (State.FINISHED, State.DIVERGED):
        return False
    train(plan)
    return True


def train(plan: Plan) -> None:
    """Train from the start or from the newest whole checkpoint, and close the training."""
    with alone() as root:
        _train(plan, root)


def _train(plan: Plan, root: Path) -> None:
    record = plan.record
    forget_peak_memory()
    task = build_task(plan)
    shown = [*progress(plan.settings.progress), *build_callbacks(plan, task)]
    events.discard_final(record)
    checkpoint = resume_point(record)
    began = now() if checkpoint is None else recorder_state(load(checkpoint))["started"]
    write_plan(plan, began)
    record.failure.unlink(missing_ok=True)  # of an earlier try, which goes on here
    if checkpoint and not any(record.tensorboard.glob("*tfevents*")):
        events.rebuild(record, record.tensorboard, events.EARLIER)
    logger = tensorboard_logger(plan)
    if checkpoint is None:
        logger.experiment.file_writer.add_summary(events.description(read_json(record.manifest), plan.config), 0)
    recorder = EpochRecorder(record, task.monitor, began)
    trainer = plan.settings.trainer(root, logger, [*shown, recorder])
    closing: dict[str, Any] = {"state": State.FINISHED}
    try:
        trainer.fit(task, plan.data, ckpt_path=checkpoint.path if checkpoint else None, weights_only=True)
    except DivergedError as error:
        closing = {"state": State.DIVERGED, "step": error.step}
    except (DlbenchError, OSError):
        raise
    except Exception as error:
        failure = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        with contextlib.suppress(RecordError):
            write_json(record.failure, failure)
        raise
    recorder.check_curves()
    record.checkpoints.prune({recorder.best_epoch}, keep=1)
    still_held(record.metrics)
    record.metrics.touch()  # there is none where the loss was lost in the first epoch
    logger.finalize("success")  # its file is complete before it is hashed
    closing |= {
        "run": record.id,
        "epochs": trainer.current_epoch,
        "best_epoch": recorder.best_epoch,
        "steps": trainer.global_step,
        "weights": weights_hash(task.model),
        "seconds": round(recorder.seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(),
        "finished": now(),
    }
    without = ("evaluations", record.training.name, record.failure.name)
    seal.close(record.training, closing, seal.hashes(record.folder, without=without))


def build_callbacks(plan: Plan, task: Task) -> list[pl.Callback]:
    """What is shown of a training beside its record, as chosen in ``callbacks``.

    Raises:
        ConfigError: One of them is not for this kind of task.
    """
    built = {name: build(f"callbacks.{name}", node) for name, node in callbacks(plan.config).items()}
    for name, callback in built.items():
        if not isinstance(task, getattr(callback, "shows", Task)):
            fitting = " or ".join([*_fitting_callbacks(task), "none"])
            raise ConfigError(
                f"callbacks.{name}: {type(callback).__name__} is not for {type(task).__name__}; choose "
                f"callbacks={fitting}"
            )
    return list(built.values())


def _fitting_callbacks(task: Task) -> list[str]:
    """The choices of ``callbacks`` that show something of such a task."""
    groups = {path.stem: OmegaConf.load(path) for path in sorted((resources.conf() / "callbacks").glob("*.yaml"))}
    shown: Any = {name: [components.locate(node._target_) for node in group.values()] for name, group in groups.items()}
    return [name for name, kinds in shown.items() if kinds and all(isinstance(task, kind.shows) for kind in kinds)]


def tensorboard_logger(plan: Plan) -> TensorBoardLogger:
    """A logger into the record, without Lightning's placeholder metric."""
    return TensorBoardLogger(plan.record.folder, name="", version="tensorboard", default_hp_metric=False)
