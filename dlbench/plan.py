"""A run made ready: its configuration checked, its data read, its identity known; nothing computed yet."""

import pydoc
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from dlbench import identity
from dlbench.data.notice import EmbeddedDataNotice
from dlbench.errors import ConfigError, RecordError
from dlbench.messages import say
from dlbench.randomness import reseed_global
from dlbench.records.confirmations import is_made_by
from dlbench.records.files import read_json, set_aside, write_json, write_text
from dlbench.records.manifest import describe_code, describe_environment, now
from dlbench.records.store import Evaluation, Record, State, Store
from dlbench.settings import build, check
from dlbench.source import evaluation_modules_of, modules_of, source_hash
from dlbench.tasks.base import Task
from dlbench.training import TrainerSettings


@dataclass(frozen=True)
class Plan:
    """Everything a run needs.

    ``config`` is the resolved configuration, ``scientific`` the part of it that is the run's identity, ``data`` the
    DataModule, ``facts`` what it says of itself, ``source`` and ``evaluation_source`` the hashes of the code that
    training and evaluation depend on, ``members`` the runs of other seeds that the evaluation averages with this one.
    """

    config: dict[str, Any]
    scientific: dict[str, Any]
    data: Any
    facts: dict[str, Any]
    settings: TrainerSettings
    source: str
    evaluation_source: str
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
    paths = plain["paths"]
    settings: TrainerSettings = build("trainer", plain["trainer"])
    if (scheduled := plain["scheduler"].get("epochs", settings.epochs)) != settings.epochs:
        say(f"scheduler.epochs={scheduled}, but trainer.epochs={settings.epochs}: the schedule is made for the former")
    data = build("data", plain["data"], folder=paths["data"], cache=paths["cache"], seed=plain["seed"])
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always", EmbeddedDataNotice)
        facts = data.describe()
    for notice in notices:
        say(str(notice.message))
    scientific = identity.canonical(plain, facts["fingerprint"], settings.device_kind())
    record = Store(Path(paths["runs"])).record(identity.training_id(scientific))
    evaluation = record.evaluation(identity.evaluation_id(record.id, plain["evaluation"]))
    return Plan(
        plain,
        scientific,
        data,
        facts,
        settings,
        source_hash(modules_of(plain)),
        source_hash(evaluation_modules_of(plain)),
        record,
        evaluation,
        _members(config, plain, facts),
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
    evaluation: Any = pydoc.locate(plan.config["evaluation"]["_target_"])
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
        evaluation_source=source_hash(evaluation_modules_of(config)),
        evaluation=plan.record.evaluation(identity.evaluation_id(plan.record.id, settings)),
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


def start_record(plan: Plan) -> None:
    """Write what is known before the first step: ``config.yaml``, ``manifest.json``.

    This machine's folders and what was shown beside the training are no part of the record.
    """
    config = {name: value for name, value in plan.config.items() if name not in ("paths", "callbacks")}
    write_text(plan.record.config, OmegaConf.to_yaml(OmegaConf.create(config)))
    manifest = {
        "run": plan.record.id,
        "experiment": plan.config["name"],
        "scientific": plan.scientific,
        "data": plan.facts,
        "source": plan.source,
        "code": describe_code(),
        "numerics": plan.settings.numerics(),
        "environment": describe_environment(),
        "started": now(),
    }
    write_json(plan.record.manifest, manifest)


def _unusable(plan: Plan, state: State) -> str | None:
    """Why an existing record must make way, if it must."""
    if state == State.ABSENT:
        return None
    manifest = _manifest(plan.record)
    done = state in (State.FINISHED, State.DIVERGED)
    same_source = is_made_by(plan.record, manifest, plan.source) if done else manifest.get("source") == plan.source
    same_numerics = manifest.get("numerics") == plan.settings.numerics()
    if done and manifest and not same_source and plan.config["rerun"] == "never":
        say(f"record {plan.record.id} is stale (made by other source); rerun=stale trains it again")
    reasons = {
        "its training.json is damaged": state == State.CORRUPT,
        "its last try failed": state == State.FAILED,
        "rerun=always": plan.config["rerun"] == "always",
        "its manifest.json is missing or damaged": not manifest,
        "it is stale (made by other source)": done and not same_source and plan.config["rerun"] == "stale",
        "it was begun by other source": not done and not same_source,
        "it was begun on other numerics": not done and not same_numerics,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _manifest(record: Record) -> dict[str, Any]:
    try:
        return read_json(record.manifest)
    except RecordError:
        return {}
