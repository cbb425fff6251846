"""One run, read top to bottom: plan -> train or resume -> evaluate -> record."""

import contextlib
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.loggers.logger import DummyLogger
from torch import Tensor

from dlbench import components, devices, identity, paths
from dlbench.callbacks.early_stopping import early_stopping
from dlbench.callbacks.loggers import TENSORBOARD, chosen_loggers, loggers_beside, profiles_of
from dlbench.callbacks.progress import progress
from dlbench.callbacks.recorder import EpochRecorder, recorder_state, refuse, resume_point, weights_of
from dlbench.config import build, callbacks, check
from dlbench.environment import alone, interrupted_by_signals
from dlbench.errors import ConfigError, DataNotice, DlbenchError, RecordError, is_out_of_memory
from dlbench.files import digest
from dlbench.metrics.best_epoch import summarise_curves
from dlbench.metrics.names import has_direction, is_better_higher
from dlbench.numerics import emulates_bf16
from dlbench.own_code import PACKAGE
from dlbench.paths import DEFAULT, folder, started_in
from dlbench.protocols import DataModule, Shown
from dlbench.records import history, seal
from dlbench.records.files import filled, read_json, set_aside, write_json, write_text
from dlbench.records.lock import UnwritableError, still_held
from dlbench.records.manifest import describe_code, describe_environment, forget_peak_memory, now, peak_memory_bytes
from dlbench.records.store import PLAN, Evaluation, Record, State, Store
from dlbench.records.summary import rebound
from dlbench.seeding import reseed_global
from dlbench.tasks.base import DivergedError, Task
from dlbench.tensorboard import events
from dlbench.terminal import first_line, nearest, say, watched
from dlbench.trainer import TrainerSettings, weights_hash


@dataclass(frozen=True)
class Plan:
    """Everything a run needs.

    ``config`` is the resolved configuration, ``identity`` what is hashed of it (see `dlbench.identity.training`),
    ``versions`` those of its components by name, ``data`` the DataModule, ``facts`` what it says of itself, ``members``
    the runs of other seeds that the evaluation averages with this one.
    """

    config: dict[str, Any]
    identity: dict[str, Any]
    versions: dict[str, str]
    data: DataModule
    facts: dict[str, Any]
    settings: TrainerSettings
    record: Record
    evaluation: Evaluation
    members: tuple["Plan", ...] = ()

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["seed"])

    def lock(self, wait: bool = True) -> contextlib.AbstractContextManager[None]:
        """Hold the record: see `dlbench.records.lock.hold`."""
        return self.record.lock(self.config["paths"]["lock"], wait)

    @cached_property
    def numerics(self) -> dict[str, Any]:
        """What must match here for results to be the same to the bit."""
        return self.settings.numerics()


class Weights(NamedTuple):
    """A training's weights by name, after its last and its best epoch."""

    last: dict[str, Tensor]
    best: dict[str, Tensor]


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


NOT_RECORDED = ("paths", "callbacks", "objective", "logger")
"""This machine's folders, and what only looks at a training; of the callbacks those stay that may change it."""


class LostCheckpointError(RecordError):
    """A finished training's weights are not all there; its record is open again."""


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
        found = None if any(obstacles(plan)) else _look_up(plan)[0]
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
    is_there = _look_up(plan)[0] is not None
    members = [] if is_there else [ensure_weights(member) for member in plan.members]
    with plan.lock():
        try:
            result = ensure_evaluated(plan, members)
        except LostCheckpointError as error:
            say(str(error))
            trained = ensure_trained(plan)
            result = ensure_evaluated(plan, members)
    return trained, not is_there, result


def prepare(config: DictConfig) -> Plan:
    """Check a composed configuration, read the data, and find out what this run is.

    Raises:
        ConfigError: A key, value or combination that cannot be run.
        DataError: The data is missing, altered, or cannot be read.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    plain = components.today(plain)  # a record's may be in the words of its day
    check(plain)
    build("evaluation", plain["evaluation"])  # what it refuses is to be known before anything is trained
    plain["paths"] = paths = _settled(plain["paths"])
    chosen_loggers(plain)
    settings: TrainerSettings = build("trainer", plain["trainer"])
    settings.check()
    if (scheduled := plain["scheduler"].get("epochs", settings.epochs)) != settings.epochs:
        say(f"scheduler.epochs={scheduled}, but trainer.epochs={settings.epochs}: the schedule is made for the former")
    data: DataModule = build("data", plain["data"], folder=paths["data"], cache=paths["cache"], seed=plain["seed"])
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always", DataNotice)
        facts = data.describe()
    for notice in notices:
        say(str(notice.message))
    meaning = identity.training(plain, facts["fingerprint"], settings.device_kind())
    record = Store(Path(str(paths["runs"]))).record(identity.digest(meaning))
    evaluation = record.evaluation(identity.digest(identity.evaluation(record.id, plain["evaluation"])))
    parts = {name: plain[name] for name in identity.TRAINING_SECTIONS} | dict(identity.changing_callbacks(plain))
    versions = components.versions(parts)
    members = _members(config, plain, facts)
    return Plan(plain, meaning, versions, data, facts, settings, record, evaluation, members)


def _settled(named: Mapping[str, str | None]) -> dict[str, str | None]:
    """The folders, absolute: see `dlbench.paths`. Where Hydra moved the job, ``./data`` is that of the command."""
    places = {name: path for name, path in named.items() if name != "lock"}
    found = {name: str(folder(path)) if path else None for name, path in places.items()}
    if not found["data"] and started_in() != Path.cwd() and (usual := folder(DEFAULT)).is_dir():
        found["data"] = str(usual)
    return {**found, "lock": named.get("lock", "flock")}


def _members(config: DictConfig, plain: dict[str, Any], facts: dict[str, Any]) -> tuple[Plan, ...]:
    """The same run of each seed in ``evaluation.members``.

    Raises:
        ConfigError: A seed stands there twice or is the run's own, or its data gives another vocabulary.
    """
    seeds = plain["evaluation"].get("members") or []
    if len({plain["seed"], *seeds}) <= len(seeds):
        raise ConfigError(f"evaluation.members={seeds}: name each other seed once (the run's own is {plain['seed']})")
    members = tuple(
        prepare(OmegaConf.merge(config, {"seed": seed, "evaluation": {"members": []}}))  # type: ignore[arg-type]
        for seed in seeds
    )
    for member in members:
        if member.facts.get("vocabularies") != facts.get("vocabularies"):
            raise ConfigError(
                f"evaluation.members: seed {member.seed} has another vocabulary than seed {plain['seed']}, so "
                "they cannot be averaged; leave it out or use data.fraction=1"
            )
    return members


def with_evaluation(plan: Plan, settings: dict[str, Any]) -> Plan:
    """The same training, evaluated by other settings."""
    config = {**plan.config, "evaluation": settings}
    return replace(
        plan,
        config=config,
        evaluation=plan.record.evaluation(identity.digest(identity.evaluation(plan.record.id, settings))),
        members=_members(OmegaConf.create(config), config, plan.facts),
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
    are_ours = all(plan.config[name]["_target_"].startswith(f"{PACKAGE}.") for name in ("task", "model", "optimizer"))
    own = any(identity.changing_callbacks(plan.config))
    task.needs_no_gradients = are_ours and not own and not plan.settings.gradient_settings
    task.accumulate = plan.settings.accumulate
    if plan.settings.gradient_settings and not task.automatic_optimization:
        why = f"{type(task).__name__} does not take gradient steps of Lightning's; leave it out"
        raise ConfigError(f"{plan.settings.gradient_settings[0]}: {why}")
    evaluation: Any = components.locate(plan.config["evaluation"]["_target_"])
    if not isinstance(task, _evaluated_by(evaluation)):
        raise ConfigError(
            f"evaluation: {evaluation.__name__} is not for {type(task).__name__}; choose the one of its kind"
        )
    task.check_data(plan.data)
    if plan.settings.devices > 1:
        devices.check_shareable(plan.data, plan.settings.devices)
    task.check_evaluation(plan.config["evaluation"])
    return task


def _evaluated_by(evaluation: type) -> type:
    """The kind of task that an evaluation, or else what it extends, says that it is for; where none does, any."""
    calls = (vars(each)["__call__"] for each in evaluation.__mro__ if "__call__" in vars(each))
    kinds = (get_type_hints(call).get("task") for call in calls)
    return next((kind for kind in kinds if isinstance(kind, type)), object)


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


def ensure_weights(plan: Plan) -> Weights:
    """The weights of a run that another one's evaluation needs, trained if need be.

    Raises:
        RecordError: It diverged.
    """
    with plan.lock():
        ensure_trained(plan)
        if plan.record.state_on_disk() == State.DIVERGED:
            raise RecordError(f"record {plan.record.id} (seed {plan.seed}) diverged; remove it from evaluation.members")
        try:
            return read_weights(plan)
        except LostCheckpointError as error:
            say(str(error))
            ensure_trained(plan)
            return read_weights(plan)


def read_weights(plan: Plan) -> Weights:
    """The weights of a finished training.

    Raises:
        LostCheckpointError: A checkpoint is damaged or gone; the training is open again, for what is lost.
        RecordError: All checkpoints were cleaned away.
    """
    if not plan.record.checkpoints.folder.exists():
        raise RecordError(f"{plan.record.folder}: its weights were cleaned away; rerun=always trains it again")
    checkpoints = {checkpoint.epoch: checkpoint for checkpoint in plan.record.checkpoints.whole()}
    training = plan.record.closed()
    epochs = [training.get(key, 0) for key in ("epochs", "best_epoch")]
    like, found = build_task(plan).state_dict(), []
    for epoch in epochs:
        try:
            found.append(weights_of(checkpoints[epoch], like))
        except KeyError as error:
            set_aside(plan.record.training)
            text = f"record {plan.record.id}: a checkpoint is damaged or missing; training what is lost"
            raise LostCheckpointError(text) from error
        except RecordError as error:
            refuse(checkpoints[epoch], error)
            set_aside(plan.record.training)
            raise LostCheckpointError(f"record {plan.record.id}: training what is lost") from error
    return Weights(*found)


def ensure_evaluated(plan: Plan, members: Sequence[Weights] = ()) -> dict[str, Any]:
    """The evaluation's result: read, or made from the record's checkpoints and the ``members``' weights.

    What cannot be used is set aside only once the weights to make it again are known to be there.

    Raises:
        LostCheckpointError: See `read_weights`.
        RecordError: See `read_weights`; or members are missing.
    """
    result, problem = _look_up(plan)
    if result is not None:
        if problem:
            say(f"{problem}; rerun=outdated makes it again")
        return result
    training = plan.record.closed()
    weights = read_weights(plan) if training["state"] == State.FINISHED else None
    if weights and len(members) != len(plan.members):
        raise RecordError(f"evaluation {plan.evaluation.id}: changed by another process; run the same command again")
    if problem:
        aside = set_aside(plan.evaluation.folder)
        say(f"{problem}; set aside as {aside.name}, evaluating again")
    began = time.perf_counter()
    metrics: dict[str, float] = {}
    if not plan.members:  # an ensemble has no curves of its own
        task_class: Any = components.locate(plan.config["task"]["_target_"])
        metrics |= summarise_curves(history.read(plan.record.metrics), task_class.monitor)
    if weights:
        metrics |= _evaluate(plan, weights, members)
    result = {
        "run": plan.record.id,
        "evaluation": plan.evaluation.id,
        "identity": identity.evaluation(plan.record.id, plan.config["evaluation"]),
        "weights": training["weights"],
        "experiment": plan.config["name"],
        "data": plan.facts,
        **{key: training[key] for key in ("state", "step") if key in training},
        "metrics": metrics,
        **({"members": _members_weights(plan)} if plan.members else {}),
        "versions": {**_trained_by(plan), **components.versions(plan.config["evaluation"])},
        "code": describe_code(),
        "numerics": plan.numerics,
        "seconds": round(time.perf_counter() - began, 3),
        "finished": now(),
    }
    write_text(plan.evaluation.config, OmegaConf.to_yaml(OmegaConf.create(plan.config["evaluation"])))
    events.write_final(plan.record, result)
    files = seal.hashes(plan.evaluation.folder, without=(plan.evaluation.result.name,))
    seal.close(plan.evaluation.result, result, files)
    return plan.evaluation.read()


def _look_up(plan: Plan) -> tuple[dict[str, Any] | None, str | None]:
    """The result, if it can be used, and what is wrong with it or with one that cannot."""
    if not plan.evaluation.result.exists():
        return None, None
    try:
        result = plan.evaluation.check()
    except RecordError as error:
        return None, str(error)
    if plan.record.training.exists() and result["weights"] != plan.record.closed()["weights"]:
        return None, f"evaluation {plan.evaluation.id}: is of other weights than the training's"
    if plan.members and result.get("members") != _members_weights(plan):
        return None, f"evaluation {plan.evaluation.id}: a member was trained again"
    recorded, own = result["versions"], components.versions(plan.config["evaluation"])  # own code's among them
    outdated = {name: (recorded[name], now) for name, now in own.items() if recorded.get(name, now) != now}
    outdated |= components.outdated(recorded)
    if not outdated:
        return result, None
    then = components.in_words(outdated)
    return (result if plan.config["rerun"] != "outdated" else None), f"evaluation {plan.evaluation.id}: made by {then}"


def _trained_by(plan: Plan) -> dict[str, str]:
    """The versions that trained what is evaluated, which may be others than today's."""
    versions: dict[str, str] = plan.record.read_manifest()["versions"]
    for member in plan.members:
        theirs = member.record.read_manifest()["versions"]
        versions |= {name: theirs[name] for name in components.outdated(theirs)}
    return versions


def _members_weights(plan: Plan) -> dict[str, str | None]:
    """Each member's record, with the hash of its weights; None where it is not trained."""
    found: dict[str, str | None] = {member.record.id: None for member in plan.members}
    for member in plan.members:
        with contextlib.suppress(RecordError):  # it is to be trained, or trained again
            found[member.record.id] = member.record.closed()["weights"]
    return found


def _evaluate(plan: Plan, weights: Weights, members: Sequence[Weights]) -> dict[str, float]:
    """Measure the weights of the last and of the best epoch; write predictions and artifacts."""
    task = build_task(plan)
    evaluation = build("evaluation", plan.config["evaluation"])
    others = {"members": members} if members else {}
    with alone() as root, watched(plan.settings.progress):
        trainer = plan.settings.trainer(root, False, [])
        metrics, outputs = evaluation(trainer, task, plan.data, weights.last, weights.best, **others)
    with filled(plan.evaluation.folder) as folder:
        (folder / plan.evaluation.artifacts.name).mkdir()
        evaluation.write(folder, task, plan.data, outputs)
    return dict(metrics)
