"""The training of a run: gone on with or begun, watched, and closed with the hash of every file."""

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import OmegaConf
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.loggers.logger import DummyLogger

from dlbench import components, devices, identity, paths
from dlbench.callbacks.early_stopping import early_stopping
from dlbench.callbacks.loggers import TENSORBOARD, chosen_loggers, loggers_beside, profiles_of
from dlbench.callbacks.progress import progress
from dlbench.callbacks.recorder import EpochRecorder, recorder_state, refuse, resume_point
from dlbench.config import build, callbacks
from dlbench.environment import alone
from dlbench.errors import ConfigError, DlbenchError, RecordError, is_out_of_memory
from dlbench.files import digest
from dlbench.numerics import emulates_bf16
from dlbench.protocols import Shown
from dlbench.records import seal
from dlbench.records.files import read_json, set_aside, write_json, write_text
from dlbench.records.lock import still_held
from dlbench.records.manifest import describe_code, describe_environment, forget_peak_memory, now, peak_memory_bytes
from dlbench.records.store import PLAN, State
from dlbench.records.summary import rebound
from dlbench.run.plan import Plan, build_task, prepare
from dlbench.tasks.base import DivergedError, Task
from dlbench.tensorboard import events
from dlbench.terminal import first_line, say
from dlbench.trainer import TrainerSettings, weights_hash

NOT_RECORDED = ("paths", "callbacks", "objective", "logger")
"""This machine's folders, and what only looks at a training; of the callbacks those stay that may change it."""


def ensure_trained(plan: Plan) -> bool:
    """Leave the record with a closed training; say whether anything had to be trained.

    An existing record that can be neither used nor gone on from is set aside; a line says why.
    """
    if reason := next(obstacles(plan), None):
        aside = set_aside(plan.record.folder)
        say(f"record {plan.record.id}: {reason}; set aside as {aside.name}, training from the start")
    if plan.record.state_on_disk() in (State.FINISHED, State.DIVERGED):
        return False
    train(plan)
    return True


def obstacles(plan: Plan) -> Iterator[str]:
    """Why an existing record must make way, if it must."""
    record, state = plan.record, plan.record.state_on_disk()
    if state == State.ABSENT:
        return
    done = state in (State.FINISHED, State.DIVERGED)
    try:
        if state == State.CORRUPT:
            record.closed()
            yield "it is damaged (its state is unknown)"
        manifest = read_json(record.manifest) if done else seal.read(record.manifest)
    except RecordError as error:
        yield f"it is damaged ({str(error).replace(f'{record.folder}/', '')})"
        return
    if done and (other := rebound(manifest)):
        yield other
    if plan.config["rerun"] == "always":
        yield "rerun=always"
    then, now = manifest["versions"], plan.versions
    if then != now and (not done or plan.config["rerun"] == "outdated"):
        pairs = {name: (then.get(name, "none"), now.get(name, "none")) for name in sorted({*then, *now})}
        others = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        yield f"it is of other versions ({components.in_words(others)})"
    if not done and manifest["numerics"] != plan.numerics:
        yield "it was begun on other numerics"


def train(plan: Plan) -> None:
    """Train from the start or from the newest whole checkpoint, and close the training.

    Raises:
        ConfigError: The network cannot be compiled, as was asked for.
    """
    try:
        with alone() as root:
            while not _train(plan, root):
                pass
    except Exception as error:
        if plan.settings.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            remedy = "trainer.compile=false trains without"
            raise ConfigError(f"trainer.compile=true: {first_line(error)}; {remedy}") from error
        raise


def _train(plan: Plan, root: Path) -> bool:
    """See `train`; false if the newest checkpoint was not this run's and was set aside, so that another is tried."""
    record = plan.record
    forget_peak_memory()
    task = build_task(plan)
    stopping = early_stopping(plan.settings, task.monitor)  # what it refuses is to be known before anything is written
    shown = [*progress(plan.settings.progress), *build_callbacks(plan, task)]
    events.discard_final(record)
    checkpoint = resume_point(record)
    began = now() if checkpoint is None else recorder_state(checkpoint)["started"]
    write_plan(plan, began)
    if plan.settings.precision == "bf16-mixed" and plan.settings.device_kind() == "cpu" and emulates_bf16():
        say("trainer.precision=bf16-mixed: this processor has no bf16 instructions; 32-true would be faster")
    record.failure.unlink(missing_ok=True)  # of an earlier try, which goes on here
    loggers = [*_tensorboard(plan, is_new=checkpoint is None), *loggers_beside(record, plan.config)]
    recorder = EpochRecorder(record, task.monitor, began)
    trainer = plan.settings.trainer(root, loggers, [*shown, *stopping, recorder], profiles_of(record), rank=0)
    plan.settings.prepare_network(task.model)
    path = checkpoint.path if checkpoint else None
    closing: dict[str, Any] = {"state": State.FINISHED}
    settings = plan.settings
    try:
        with devices.group(settings.device_kind(), settings.devices, _follow, plan.config, settings, path):
            trainer.fit(task, plan.data, ckpt_path=path, weights_only=True)
    except DivergedError as error:
        closing = {"state": State.DIVERGED, "step": error.step}
    except (DlbenchError, OSError):
        raise
    except Exception as error:
        if checkpoint and _is_of_restoring(error):
            for logger in loggers:
                logger.finalize("failed")
            refuse(checkpoint, RecordError(f"{checkpoint.path}: does not fit this run ({first_line(error)})"))
            return False
        failure = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        with contextlib.suppress(RecordError):
            write_json(record.failure, failure)
        raise
    recorder.check_curves()
    record.checkpoints.prune({recorder.best_epoch}, keep=1)
    still_held(record.metrics)
    record.metrics.touch()  # there is none where the loss was lost in the first epoch
    for logger in loggers:
        # TensorBoard's file is complete before it is hashed.
        logger.finalize("failed" if closing["state"] == State.DIVERGED else "success")
    if trainer.current_epoch < plan.settings.epochs and any(each.wait_count >= each.patience for each in stopping):
        say(f"early stopping: ended after epoch {trainer.current_epoch} of {plan.settings.epochs}")
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
    return True


def _follow(
    join: Callable[[], None], rank: int, config: dict[str, Any], settings: TrainerSettings, checkpoint: Path | None
) -> None:
    """What the process of a further device does: train beside the first, with all that changes a training."""
    with alone() as root:
        plan = replace(prepare(OmegaConf.create(config)), settings=settings)
        task = build_task(plan)
        changing = [build(f"callbacks.{name}", node) for name, node in identity.changing_callbacks(plan.config)]
        changing += early_stopping(plan.settings, task.monitor)
        trainer = plan.settings.trainer(root, DummyLogger(), [*changing, devices.Follower()], rank=rank)
        plan.settings.prepare_network(task.model)
        join()
        trainer.fit(task, plan.data, ckpt_path=checkpoint, weights_only=True)


def _tensorboard(plan: Plan, is_new: bool) -> list[Logger]:
    """The logger of the record's own events, if it is chosen or the training began with it."""
    record = plan.record
    has_events = any(record.tensorboard.glob("*tfevents*"))
    if not has_events and TENSORBOARD not in chosen_loggers(plan.config):
        return []
    if not is_new and not has_events:
        events.rebuild(record, record.tensorboard, events.EARLIER)
    # Without Lightning's placeholder metric.
    logger = TensorBoardLogger(record.folder, name="", version="tensorboard", default_hp_metric=False)
    if is_new:
        logger.experiment.file_writer.add_summary(events.description(record.read_manifest(), plan.config), 0)
    return [logger]


def _is_of_restoring(error: Exception) -> bool:
    """Whether an error came while a checkpoint's content was taken over, and is of that content."""
    # Lightning's module of this name saves, too.
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "checkpoint_connector" in f.filename]
    is_restoring = any(frame.name.startswith(("restore", "_restore", "resume")) for frame in frames)
    return is_restoring and not is_out_of_memory(error)


def write_plan(plan: Plan, started: str) -> None:
    """Write what is known before the first step: ``identity.json``, ``config.yaml``, ``manifest.json``.

    The manifest holds the hashes of the others and its own, so that damage is named also before the training is done.
    They are written again when a training goes on, so that no damage is carried along. This machine's folders and what
    was only shown beside the training are no part of the record.
    """
    shown = {name: node for name, node in plan.config.items() if name not in NOT_RECORDED}
    config = {**shown, "callbacks": dict(identity.changing_callbacks(plan.config))}
    write_json(plan.record.identity, plan.identity)
    write_text(plan.record.config, OmegaConf.to_yaml(OmegaConf.create(config)))
    manifest = {
        "run": plan.record.id,
        "experiment": plan.config["name"],
        "data": plan.facts,
        "versions": plan.versions,
        "bound": components.bound(plan.config),
        "code": describe_code(),
        "numerics": plan.numerics,
        "environment": describe_environment(),
        "started": started,
    }
    seal.close(plan.record.manifest, manifest, {name: digest(plan.record.folder / name) for name in PLAN})


def build_callbacks(plan: Plan, task: Task) -> list[pl.Callback]:
    """What is shown of a training beside its record, as chosen in ``callbacks``.

    Raises:
        ConfigError: One of them is not for this kind of task.
    """
    built = {name: build(f"callbacks.{name}", node) for name, node in callbacks(plan.config).items()}
    for name, callback in built.items():
        if isinstance(callback, Shown) and not isinstance(task, callback.shows):
            fitting = []
            for path in sorted((paths.conf() / "callbacks").glob("*.yaml")):
                kinds: Any = [components.locate(node._target_) for node in OmegaConf.load(path).values()]
                if kinds and all(isinstance(task, kind.shows) for kind in kinds):
                    fitting.append(path.stem)
            raise ConfigError(
                f"callbacks.{name}: {type(callback).__name__} is not for {type(task).__name__}; choose "
                f"callbacks={' or '.join([*fitting, 'none'])}"
            )
    return list(built.values())
