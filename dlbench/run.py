"""One run, read top to bottom: plan -> train or resume -> evaluate -> record."""

import contextlib
import time
import traceback
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger

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
from dlbench.training import check_task, weights_hash


@dataclass(frozen=True)
class Outcome:
    """What a run gives back: its record and evaluation, the result, and whether anything had to be trained."""

    record: Record
    evaluation: Evaluation
    result: dict[str, Any]
    trained: bool


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
        with plan.record.lock():
            trained = ensure_trained(plan)
            try:
                result = ensure_evaluated(plan)
            except LostCheckpointError as error:
                say(str(error))
                trained = ensure_trained(plan)
                result = ensure_evaluated(plan)
    except SystemExit:  # Lightning's answer to Ctrl-C and SIGTERM
        raise KeyboardInterrupt from None
    return Outcome(plan.record, plan.evaluation, result, trained)


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
    recorder = EpochRecorder(record, monitor="val/accuracy")
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
        section: build(section, plan.config[section]) for section in ("model", "optimizer", "scheduler")
    }
    task: Task = build("task", plan.config["task"], **parts, seed=plan.seed)
    train, classes = plan.data.tensors("train"), len(plan.data.class_names)
    check_task(task, train.images.shape[1:], classes, len(train), plan.data.batch_size)
    return task


def build_callbacks(plan: Plan) -> list[pl.Callback]:
    """What is shown of a training beside its record, as chosen in ``callbacks``."""
    return [build(f"callbacks.{name}", node) for name, node in callbacks(plan.config).items()]


def tensorboard_logger(plan: Plan) -> TensorBoardLogger:
    """A logger into the record, without Lightning's placeholder metric."""
    return TensorBoardLogger(plan.record.folder, name="", version="tensorboard", default_hp_metric=False)


def ensure_evaluated(plan: Plan) -> dict[str, Any]:
    """The evaluation's result: read, or made from the record's checkpoints."""
    if plan.evaluation.result.exists():
        try:
            return read_done(plan.evaluation.result)
        except RecordError as error:
            aside = set_aside(plan.evaluation.folder)
            say(f"{error}; set aside as {aside.name}, evaluating again")
    training = read_done(plan.record.training)
    began = time.perf_counter()
    metrics = history.summarise(history.read(plan.record.metrics))
    if training["state"] == State.FINISHED:
        metrics |= evaluate(plan, training["best_epoch"])
    result: dict[str, Any] = {
        "run": plan.record.id,
        "evaluation": plan.evaluation.id,
        "experiment": plan.config["name"],
        "data": plan.facts,
        **{key: training[key] for key in ("state", "step") if key in training},
        "metrics": metrics,
        "source": plan.source,
        "code": describe_code(),
        "numerics": plan.settings.numerics(),
        "seconds": round(time.perf_counter() - began, 3),
        "finished": now(),
    }
    write_text(plan.evaluation.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plan.config["evaluation"])))
    events.write_final(plan.record, result)
    write_done(plan.evaluation.result, result)
    return read_done(plan.evaluation.result)


def evaluate(plan: Plan, best_epoch: int) -> dict[str, float]:
    """Measure the weights of the last and of the best epoch; write predictions and artifacts.

    Raises:
        LostCheckpointError: A checkpoint is damaged or gone; the training is open again, for what is lost.
        RecordError: All checkpoints were cleaned away.
    """
    if not plan.record.checkpoints.folder.exists():
        raise RecordError(f"{plan.record.folder}: its weights were cleaned away; rerun=always trains it again")
    checkpoints = {checkpoint.epoch: checkpoint for checkpoint in plan.record.checkpoints.whole()}
    last_epoch = read_done(plan.record.training)["epochs"]
    if not {last_epoch, best_epoch} <= checkpoints.keys():
        set_aside(plan.record.training)
        raise LostCheckpointError(f"record {plan.record.id}: a checkpoint is damaged or missing; training what is lost")
    last, best = (load(checkpoints[epoch])["state_dict"] for epoch in (last_epoch, best_epoch))
    task = build_task(plan)
    trainer = plan.settings.trainer(plan.record.folder, False, [])
    evaluation = build("evaluation", plan.config["evaluation"])
    metrics, outputs = evaluation(trainer, task, plan.data, last, best)
    plan.evaluation.artifacts.mkdir(parents=True, exist_ok=True)
    evaluation.write(plan.evaluation.folder, task, plan.data, outputs)
    return dict(metrics)
