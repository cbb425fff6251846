"""What a run is: its settings checked, its data read, its record found, its network built."""

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from dlbench import components, devices, identity
from dlbench.callbacks.loggers import chosen_loggers
from dlbench.config import build, check
from dlbench.errors import ConfigError, DataNotice
from dlbench.own_code import PACKAGE
from dlbench.paths import DEFAULT, folder, started_in
from dlbench.protocols import DataModule
from dlbench.records.store import Evaluation, Record, Store
from dlbench.seeding import reseed_global
from dlbench.tasks.base import Task
from dlbench.terminal import say
from dlbench.trainer import TrainerSettings


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
