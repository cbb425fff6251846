"""A run made ready: its configuration checked, its data read, its identity known; nothing computed yet."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from dlbench import components, identity
from dlbench.data.folders import DEFAULT
from dlbench.data.notice import DataNotice
from dlbench.errors import ConfigError, RecordError
from dlbench.messages import say
from dlbench.paths import folder, started_in
from dlbench.randomness import reseed_global
from dlbench.records.files import read_json, set_aside, write_json, write_text
from dlbench.records.manifest import describe_code, describe_environment
from dlbench.records.store import Evaluation, Record, State, Store
from dlbench.settings import build, check
from dlbench.tasks.base import Task
from dlbench.training import TrainerSettings


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
    data: Any
    facts: dict[str, Any]
    settings: TrainerSettings
    record: Record
    evaluation: Evaluation
    members: tuple["Plan", ...] = ()

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["seed"])


def prepare(config: DictConfig) -> Plan:
    """Check a composed configuration, read the data, and find out what this run is.

    Raises:
        ConfigError: A key, value or combination that cannot be run.
        DataError: The data is missing, altered, or cannot be read.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    check(plain)
    build("evaluation", plain["evaluation"])  # what it refuses is to be known before anything is trained
    plain["paths"] = paths = _settled(plain["paths"])
    settings: TrainerSettings = build("trainer", plain["trainer"])
    if (scheduled := plain["scheduler"].get("epochs", settings.epochs)) != settings.epochs:
        say(f"scheduler.epochs={scheduled}, but trainer.epochs={settings.epochs}: the schedule is made for the former")
    data = build("data", plain["data"], folder=paths["data"], cache=paths["cache"], seed=plain["seed"])
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
    found = {name: str(folder(path)) if path else None for name, path in named.items()}
    if not found["data"] and started_in() != Path.cwd() and (usual := folder(DEFAULT)).is_dir():
        found["data"] = str(usual)
    return found


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
    evaluation: Any = components.locate(plan.config["evaluation"]["_target_"])
    evaluated: type[Task] = get_type_hints(evaluation.__call__)["task"]
    if not isinstance(task, evaluated):
        raise ConfigError(
            f"evaluation: {evaluation.__name__} is not for {type(task).__name__}; choose the one of its kind"
        )
    task.check_data(plan.data)
    if check_length := getattr(task, "check_length", None):  # what is to be decoded is known before the training
        check_length("evaluation.decoding.max_length", plan.config["evaluation"]["decoding"]["max_length"])
    return task


def with_evaluation(plan: Plan, settings: dict[str, Any]) -> Plan:
    """The same training, evaluated by other settings."""
    config = {**plan.config, "evaluation": settings}
    return replace(
        plan,
        config=config,
        evaluation=plan.record.evaluation(identity.digest(identity.evaluation(plan.record.id, settings))),
        members=_members(OmegaConf.create(config), config, plan.facts),
    )


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


def clear_the_way(plan: Plan) -> None:
    """Set aside an existing record that can be neither used nor gone on from; say why in a line."""
    if reason := _unusable(plan, plan.record.state_on_disk()):
        aside = set_aside(plan.record.folder)
        say(f"record {plan.record.id}: {reason}; set aside as {aside.name}, training from the start")


def write_plan(plan: Plan, started: str) -> None:
    """Write what is known before the first step: ``identity.json``, ``config.yaml``, ``manifest.json``.

    They are written again when a training goes on, so that no damage is carried along. This machine's folders and what
    was only shown beside the training are no part of the record.
    """
    shown = {name: node for name, node in plan.config.items() if name not in ("paths", "callbacks")}
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
        "numerics": plan.settings.numerics(),
        "environment": describe_environment(),
        "started": started,
    }
    write_json(plan.record.manifest, manifest)


def _unusable(plan: Plan, state: State) -> str | None:
    """Why an existing record must make way, if it must."""
    if state == State.ABSENT:
        return None
    if state == State.CORRUPT:
        return f"it is damaged ({_damage(plan.record)})"
    manifest = _manifest(plan.record)
    done = state in (State.FINISHED, State.DIVERGED)
    versions, recorded = plan.versions, manifest.get("versions")
    here = plan.settings.numerics()
    if done and (rebound := _rebound(plan, manifest)):
        return rebound
    reasons = {
        "rerun=always": plan.config["rerun"] == "always",
        "its manifest.json is missing or damaged": not manifest,
        f"it is of other versions ({_other_versions(recorded, versions)})": recorded != versions
        and (not done or plan.config["rerun"] == "outdated"),
        "it was begun on other numerics": not done and manifest.get("numerics") != here,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _other_versions(recorded: Any, versions: Mapping[str, str]) -> str:
    then = recorded if isinstance(recorded, dict) else {}
    pairs = {name: (then.get(name, "none"), versions.get(name, "none")) for name in sorted({*then, *versions})}
    return components.in_words({name: pair for name, pair in pairs.items() if pair[0] != pair[1]})


def _rebound(plan: Plan, manifest: Mapping[str, Any]) -> str | None:
    """Whether a library fills an argument that the configuration leaves open with another default than then."""
    now = components.bound(plan.config)
    for target, then in manifest.get("bound", {}).items():
        for name, value in then.items():
            if name in now.get(target, {}) and now[target][name] != value:
                return f"{target} has another default of {name} now, {now[target][name]}, where it was {value}"
    return None


def _damage(record: Record) -> str:
    try:
        record.closed()
    except RecordError as error:
        return str(error).replace(f"{record.folder}/", "")
    return "its state is unknown"


def _manifest(record: Record) -> dict[str, Any]:
    try:
        return read_json(record.manifest)
    except RecordError:
        return {}
