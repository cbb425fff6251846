"""One run, read top to bottom: configuration -> data -> identity -> train -> evaluate -> record."""

import contextlib
import datetime
import hashlib
import resource
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from dlbench import identity
from dlbench.callbacks.progress import progress
from dlbench.callbacks.recorder import EpochRecorder
from dlbench.data.intel import EmbeddedDataNotice
from dlbench.errors import DlbenchError, RecordError
from dlbench.randomness import reseed_global
from dlbench.records import history
from dlbench.records.checkpoints import Checkpoint
from dlbench.records.files import read_json, set_aside, write_json, write_text
from dlbench.records.manifest import describe_code, describe_environment
from dlbench.records.store import Evaluation, Record, State, Store, read_done, write_done
from dlbench.settings import build, check
from dlbench.source import source_hash
from dlbench.tasks.base import DivergedError, Task
from dlbench.training import TrainerSettings

LAST_EPOCHS = 10
"""A last-epoch value is noisy at batch 8: the spread over this many last epochs stands beside it."""


@dataclass(frozen=True)
class Outcome:
    """What a run gives back: its record and evaluation, the result, and whether anything had to be trained."""

    record: Record
    evaluation: Evaluation
    result: dict[str, Any]
    trained: bool


@dataclass(frozen=True)
class Plan:
    """A run made ready: everything decided, nothing computed."""

    config: dict[str, Any]
    scientific: dict[str, Any]
    data: Any
    facts: dict[str, Any]
    settings: TrainerSettings
    source: str
    record: Record
    evaluation: Evaluation

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.config["seed"])


def run(config: DictConfig) -> Outcome:
    """Make, resume, or look up the run a composed configuration describes.

    Raises:
        DlbenchError: The configuration, the data or the disk do not allow it.
    """
    plan = prepare(config)
    with plan.record.lock():
        trained = ensure_trained(plan)
        result = ensure_evaluated(plan)
    return Outcome(plan.record, plan.evaluation, result, trained)


def prepare(config: DictConfig) -> Plan:
    """Check the configuration, read the data, and find out what this run is."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    check(plain)
    paths = plain["paths"]
    settings: TrainerSettings = build("trainer", plain["trainer"])
    data = build("data", plain["data"], folder=paths["data"], cache=paths["cache"], seed=plain["seed"])
    with notices_as_lines():
        facts = data.describe()
    scientific = identity.canonical(plain, facts["fingerprint"], settings.device_kind())
    record = Store(Path(paths["runs"])).record(identity.training_id(scientific))
    evaluation = record.evaluation(identity.evaluation_id(record.id, plain["evaluation"]))
    source = source_hash(
        plain[section]["_target_"].rpartition(".")[0] for section in (*identity.TRAINING_SECTIONS, "evaluation")
    )
    return Plan(plain, scientific, data, facts, settings, source, record, evaluation)


def ensure_trained(plan: Plan) -> bool:
    """Leave the record with a finished training; say whether one had to be made."""
    clear_the_way(plan)
    if plan.record.state_on_disk() in (State.FINISHED, State.DIVERGED):
        return False
    train(plan)
    return True


def clear_the_way(plan: Plan) -> None:
    """Set aside what cannot be used or gone on from: nothing is overwritten, nothing deleted."""
    record, rerun = plan.record, plan.config["rerun"]
    reason: str | None = None
    state = record.state_on_disk()
    if state == State.ABSENT:
        return
    if state == State.CORRUPT:
        reason = "its training.json is damaged"
    elif state == State.FAILED:
        reason = "its last try failed"
    elif rerun == "always":
        reason = "rerun=always"
    else:
        reason = _outdated(plan, state)
    if reason:
        _say(f"record {record.id}: {reason}; set aside as {set_aside(record.folder).name}, training from the start")


def _outdated(plan: Plan, state: State) -> str | None:
    """Why an existing record cannot be used as it is; a finished one of other source only if asked."""
    try:
        manifest = read_json(plan.record.manifest)
    except RecordError:
        return "its manifest.json is missing or damaged"
    same_source = manifest.get("source") == plan.source
    if state in (State.FINISHED, State.DIVERGED):
        if same_source:
            return None
        if plan.config["rerun"] == "stale":
            return "it was made by other source"
        _say(f"record {plan.record.id} is stale: made by other source; rerun=stale trains it again")
        return None
    if not same_source:
        return "it was begun by other source"
    return None if manifest.get("numerics") == plan.settings.numerics() else "it was begun on other numerics"


def train(plan: Plan) -> None:
    """Train from nothing or from the newest whole checkpoint, and close the training."""
    record = plan.record
    checkpoint = resume_point(record)
    if checkpoint is None:
        start_record(plan)
    task = build_task(plan)
    recorder = EpochRecorder(record, monitor="val/accuracy")
    trainer = build_trainer(plan, recorder)
    closing: dict[str, Any] = {"state": State.FINISHED}
    try:
        trainer.fit(task, plan.data, ckpt_path=checkpoint.path if checkpoint else None)
    except DivergedError as error:
        closing = {"state": State.DIVERGED, "step": error.step}
    except DlbenchError:
        raise
    except Exception as error:
        with contextlib.suppress(RecordError):
            write_json(
                record.failure, {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            )
        raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    record.checkpoints.prune(recorder.best_epoch, keep=1)
    write_done(
        record.training,
        {
            "run": record.id,
            **closing,
            "epochs": trainer.current_epoch,
            "best_epoch": recorder.best_epoch,
            "steps": trainer.global_step,
            "weights": weights_hash(task),
            "seconds": round(recorder.seconds, 3),
            "peak_memory_bytes": peak_memory_bytes(),
            "finished": now(),
        },
    )


def resume_point(record: Record) -> Checkpoint | None:
    """The newest whole checkpoint whose best epoch is whole too; what came after it is cut back."""
    whole = record.checkpoints.whole()
    epochs = {checkpoint.epoch for checkpoint in whole}
    for checkpoint in reversed(whole):
        if best_epoch_of(load_checkpoint(checkpoint)) in epochs:
            record.checkpoints.discard_after(checkpoint.epoch)
            history.cut_back(record.metrics, checkpoint.epoch)
            history.cut_back_tensorboard(record.tensorboard, checkpoint.epoch)
            _say(f"record {record.id}: going on after epoch {checkpoint.epoch}")
            return checkpoint
    if record.folder.exists():
        set_aside(record.folder)
    return None


def start_record(plan: Plan) -> None:
    """Write what is known before the first step: configuration and manifest."""
    write_text(plan.record.config, OmegaConf.to_yaml(OmegaConf.create(_recorded(plan.config))))
    manifest = {
        "run": plan.record.id,
        "configuration": identity.configuration_id(plan.scientific),
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


def build_task(plan: Plan) -> Task:
    """The network, initialised from (seed, "init"), and the task around it."""
    plan.settings.pin()
    reseed_global(plan.seed, "init")
    model = build("model", plan.config["model"])
    optimizer = build("optimizer", plan.config["optimizer"])
    scheduler = build("scheduler", plan.config["scheduler"])
    task: Task = build(
        "task", plan.config["task"], model=model, optimizer=optimizer, scheduler=scheduler, seed=plan.seed
    )
    return task


def build_trainer(plan: Plan, *callbacks: pl.Callback) -> pl.Trainer:
    """A Lightning Trainer that writes into the record."""
    logger = TensorBoardLogger(plan.record.folder, name="", version="tensorboard", default_hp_metric=False)
    shown = progress(plan.settings.progress)
    return plan.settings.trainer(plan.record.folder, logger, [*shown, *callbacks])


def ensure_evaluated(plan: Plan) -> dict[str, Any]:
    """The evaluation's result: read, or made from the record's checkpoints."""
    if plan.evaluation.result.exists():
        try:
            return read_done(plan.evaluation.result)
        except RecordError:
            aside = set_aside(plan.evaluation.folder)
            _say(
                f"evaluation {plan.evaluation.id}: result.json is damaged; set aside as {aside.name}, evaluating again"
            )
    training = read_done(plan.record.training)
    began = time.perf_counter()
    metrics = summarise(history.read(plan.record.metrics))
    if training["state"] == State.FINISHED:
        metrics |= evaluate(plan, training["best_epoch"])
    result = {
        "run": plan.record.id,
        "evaluation": plan.evaluation.id,
        "experiment": plan.config["name"],
        "data": plan.facts,
        "state": training["state"],
        "metrics": metrics,
        "seconds": round(time.perf_counter() - began, 3),
        "finished": now(),
    }
    if training["state"] == State.DIVERGED:
        result["step"] = training["step"]
    write_text(plan.evaluation.folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plan.config["evaluation"])))
    write_done(plan.evaluation.result, result)
    return result


def evaluate(plan: Plan, best_epoch: int) -> dict[str, float]:
    """Measure the last and the best epoch's weights; write predictions and artifacts."""
    checkpoints = {checkpoint.epoch: checkpoint for checkpoint in plan.record.checkpoints.whole()}
    if not checkpoints or best_epoch not in checkpoints:
        set_aside(plan.record.training)
        raise RecordError(
            f"{plan.record.folder}: a checkpoint is damaged or missing; start again to train what is lost"
        )
    last, best = (load_checkpoint(checkpoints[epoch])["state_dict"] for epoch in (max(checkpoints), best_epoch))
    task = build_task(plan)
    trainer = plan.settings.trainer(plan.record.folder, False, [])
    evaluation = build("evaluation", plan.config["evaluation"])
    metrics, outputs = evaluation(trainer, task, plan.data, last, best)
    plan.evaluation.artifacts.mkdir(parents=True, exist_ok=True)
    evaluation.write(plan.evaluation.folder, task, plan.data, outputs)
    logger = TensorBoardLogger(plan.record.folder, name="", version="tensorboard", default_hp_metric=False)
    logger.log_metrics(metrics, step=max(checkpoints))
    logger.finalize("success")
    return dict(metrics)


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The last epoch's metrics, the best validation accuracy and its epoch, and the spread over the last epochs."""
    if not rows:
        return {}
    metrics = {name: value for name, value in rows[-1].items() if "/" in name and not name.startswith("time/")}
    accuracies = [row["val/accuracy"] for row in rows]
    last = accuracies[-LAST_EPOCHS:]
    metrics["val/accuracy_best"] = max(accuracies)
    metrics["val/best_epoch"] = rows[accuracies.index(max(accuracies))]["epoch"]
    metrics[f"val/accuracy_last{LAST_EPOCHS}_mean"] = statistics.fmean(last)
    if len(last) > 1:
        metrics[f"val/accuracy_last{LAST_EPOCHS}_std"] = statistics.stdev(last)
    return metrics


def load_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint's content: tensors and plain values only, nothing that could run code."""
    content: dict[str, Any] = torch.load(checkpoint.path, map_location="cpu", weights_only=True)
    return content


def best_epoch_of(content: Mapping[str, Any]) -> int:
    """The best epoch so far, as the checkpoint's recorder knew it."""
    return int(content["callbacks"][EpochRecorder.__qualname__]["best_epoch"])


def weights_hash(task: Task) -> str:
    """SHA-256 over the network's parameters and buffers, by name."""
    digest = hashlib.sha256()
    tensors: dict[str, Tensor] = task.model.state_dict()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def notices_as_lines() -> Iterator[None]:
    """Print a notice about embedded data as one line instead of a Python warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EmbeddedDataNotice)
        yield
    for warning in caught:
        if issubclass(warning.category, EmbeddedDataNotice):
            _say(str(warning.message))


def _recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without this machine's folders."""
    return {name: value for name, value in config.items() if name != "paths"}


def _say(line: str) -> None:
    print(f"dlbench: {line}", file=sys.stderr, flush=True)
