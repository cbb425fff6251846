"""The evaluation of a run: looked up, or made from the weights that its training left."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from torch import Tensor

from dlbench import components, identity
from dlbench.callbacks.recorder import refuse, weights_of
from dlbench.config import build
from dlbench.environment import alone
from dlbench.errors import RecordError
from dlbench.evaluation import finite
from dlbench.metrics.best_epoch import summarise_curves
from dlbench.records import history, seal
from dlbench.records.files import filled, set_aside, write_text
from dlbench.records.manifest import describe_code, now
from dlbench.records.store import State
from dlbench.run.plan import Plan, build_task
from dlbench.run.training import ensure_trained
from dlbench.tensorboard import events
from dlbench.terminal import say, watched


class LostCheckpointError(RecordError):
    """A finished training's weights are not all there; its record is open again."""


class Weights(NamedTuple):
    """A training's weights by name, after its last and its best epoch."""

    last: dict[str, Tensor]
    best: dict[str, Tensor]


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
    result, problem = look_up(plan)
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


def look_up(plan: Plan) -> tuple[dict[str, Any] | None, str | None]:
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
    found = finite(metrics)
    with filled(plan.evaluation.folder) as folder:
        (folder / plan.evaluation.artifacts.name).mkdir()
        evaluation.write(folder, task, plan.data, outputs)
    return found
