"""One run, read top to bottom: plan -> train or resume -> evaluate -> record."""

import contextlib
import pydoc
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from dlbench.callbacks.progress import progress
from dlbench.callbacks.recorder import EpochRecorder
from dlbench.errors import DlbenchError, RecordError
from dlbench.messages import say
from dlbench.plan import Plan, clear_the_way, prepare, start_record
from dlbench.randomness import reseed_global
from dlbench.records import history
from dlbench.records.files import read_json, set_aside, write_json, write_text
from dlbench.records.manifest import describe_code, forget_peak_memory, now, peak_memory_bytes
from dlbench.records.resume import load, resume_point
from dlbench.records.store import Evaluation, Record, State, read_done, write_done
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


class Weights(NamedTuple):
    """A training's weights by name, after its last and its best epoch."""

    last: dict[str, Tensor]
    best: dict[str, Tensor]


class LostCheckpointError(RecordError):
    """A finished training's weights are not all there; its record is open again."""


def run(config: DictConfig) -> Outcome:
    """Make, resume, or look up the run a composed configuration describes.

    Raises:
        DlbenchError: The configuration, the data or the disk do not allow it.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same run goes on from its last checkpoint.
    """
    return execute(prepare(config))


def execute(plan: Plan) -> Outcome:
    """See `run`."""
    try:
        # One after the other, each under its own lock alone: two ensembles of the same runs never wait for each other.
        members = [] if plan.evaluation.result.exists() else [ensure_weights(member) for member in plan.members]
        with plan.record.lock():
            trained = ensure_trained(plan)
            try:
                result = ensure_evaluated(plan, members)
            except LostCheckpointError as error:
                say(str(error))
                trained = ensure_trained(plan)
                result = ensure_evaluated(plan, members)
    except SystemExit:  # Lightning's answer to Ctrl-C and SIGTERM
        raise KeyboardInterrupt from None
    return Outcome(plan.record, plan.evaluation, result, trained)


def ensure_weights(plan: Plan) -> Weights:
    """The weights of another run that this one's evaluation needs, trained if need be.

    Raises:
        RecordError: It diverged.
    """
    with plan.record.lock():
        ensure_trained(plan)
        if plan.record.state_on_disk() == State.DIVERGED:
            raise RecordError(
                f"record {plan.record.id} (seed {plan.seed}) diverged; leave it out of evaluation.members"
            )
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
    record = plan.record
    forget_peak_memory()
    task = build_task(plan)
    shown = [*progress(plan.settings.progress), *build_callbacks(plan)]
    events.discard_final(record)
    checkpoint = resume_point(record)
    logger = tensorboard_logger(plan)
    if checkpoint is None:
        start_record(plan)
        logger.experiment.file_writer.add_summary(events.description(read_json(record.manifest)), 0)
    recorder = EpochRecorder(record, task.monitor)
    trainer = plan.settings.trainer(record.folder, logger, [*shown, recorder])
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
    record.checkpoints.prune({recorder.best_epoch}, keep=1)
    write_done(
        record.training,
        {
            "run": record.id,
            **closing,
            "epochs": trainer.current_epoch,
            "best_epoch": recorder.best_epoch,
            "steps": trainer.global_step,
            "weights": weights_hash(task.model),
            "seconds": round(recorder.seconds, 3),
            "peak_memory_bytes": peak_memory_bytes(),
            "finished": now(),
        },
    )


def build_task(plan: Plan) -> Task:
    """The network, initialised from (seed, "init"), and the task around it.

    Raises:
        ConfigError: The parts do not fit each other or the data.
    """
    plan.settings.pin()
    reseed_global(plan.seed, "init")
    parts: dict[str, Any] = {
        "model": build("model", plan.config["model"], **plan.data.model_arguments()),
        "optimizer": build("optimizer", plan.config["optimizer"]),
        "scheduler": build("scheduler", plan.config["scheduler"]),
    }
    task: Task = build("task", plan.config["task"], **parts, seed=plan.seed)
    task.check_data(plan.data)
    return task


def build_callbacks(plan: Plan) -> list[pl.Callback]:
    """What is shown of a training beside its record, as chosen in ``callbacks``."""
    return [build(f"callbacks.{name}", node) for name, node in callbacks(plan.config).items()]


def tensorboard_logger(plan: Plan) -> TensorBoardLogger:
    """A logger into the record, without Lightning's placeholder metric."""
    return TensorBoardLogger(plan.record.folder, name="", version="tensorboard", default_hp_metric=False)


def ensure_evaluated(plan: Plan, members: Sequence[Weights] = ()) -> dict[str, Any]:
    """The evaluation's result: read, or made from the record's checkpoints and the ``members``' weights."""
    if plan.evaluation.result.exists():
        try:
            result = read_done(plan.evaluation.result)
        except RecordError as error:
            reason = str(error)
        else:
            if result.get("evaluation_source", plan.evaluation_source) == plan.evaluation_source:
                return result
            reason = f"evaluation {plan.evaluation.id} is stale (made by other source)"
            if plan.config["rerun"] == "never":
                say(f"{reason}; rerun=stale makes it again")
                return result
        aside = set_aside(plan.evaluation.folder)
        say(f"{reason}; set aside as {aside.name}, evaluating again")
    training = read_done(plan.record.training)
    began = time.perf_counter()
    task_class: Any = pydoc.locate(plan.config["task"]["_target_"])
    metrics = history.summarise(history.read(plan.record.metrics), task_class.monitor)
    if training["state"] == State.FINISHED:
        metrics |= evaluate(plan, members)
    result = {
        "run": plan.record.id,
        "evaluation": plan.evaluation.id,
        "experiment": plan.config["name"],
        "data": plan.facts,
        **{key: training[key] for key in ("state", "step") if key in training},
        "metrics": metrics,
        **({"members": [member.record.id for member in plan.members]} if plan.members else {}),
        "source": plan.source,
        "evaluation_source": plan.evaluation_source,
        "code": describe_code(),
        "numerics": plan.settings.numerics(),
        "seconds": round(time.perf_counter() - began, 3),
        "finished": now(),
    }
    write_text(plan.evaluation.config, OmegaConf.to_yaml(OmegaConf.create(plan.config["evaluation"])))
    events.write_final(plan.record, result)
    write_done(plan.evaluation.result, result)
    return read_done(plan.evaluation.result)


def evaluate(plan: Plan, members: Sequence[Weights] = ()) -> dict[str, float]:
    """Measure the weights of the last and of the best epoch; write predictions and artifacts.

    Raises:
        LostCheckpointError: See `read_weights`.
        RecordError: See `read_weights`.
    """
    weights = read_weights(plan)
    task = build_task(plan)
    trainer = plan.settings.trainer(plan.record.folder, False, [])
    evaluation = build("evaluation", plan.config["evaluation"])
    others = {"members": members} if members else {}
    metrics, outputs = evaluation(trainer, task, plan.data, weights.last, weights.best, **others)
    plan.evaluation.artifacts.mkdir(parents=True, exist_ok=True)
    evaluation.write(plan.evaluation.folder, task, plan.data, outputs)
    return dict(metrics)


def read_weights(plan: Plan) -> Weights:
    """The weights of a finished training.

    Raises:
        LostCheckpointError: A checkpoint is damaged or gone; the training is open again, for what is lost.
        RecordError: All checkpoints were cleaned away.
    """
    if not plan.record.checkpoints.folder.exists():
        raise RecordError(f"{plan.record.folder}: its weights were cleaned away; rerun=always trains it again")
    checkpoints = {checkpoint.epoch: checkpoint for checkpoint in plan.record.checkpoints.whole()}
    training = read_done(plan.record.training)
    epochs = training["epochs"], training["best_epoch"]
    if not {*epochs} <= checkpoints.keys():
        set_aside(plan.record.training)
        raise LostCheckpointError(f"record {plan.record.id}: a checkpoint is damaged or missing; training what is lost")
    return Weights(*(load(checkpoints[epoch])["state_dict"] for epoch in epochs))
