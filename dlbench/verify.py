"""Train a recorded run again from nothing, or its first epochs, and hold every number and file against the record's.

Today's code does it where it is of the record's versions; else the record's own commit does, checked out beside.
"""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dlbench import components, paths
from dlbench.environment import interrupted_by_signals
from dlbench.errors import RecordError
from dlbench.files import from_cell
from dlbench.numerics import Difference, differences, untold
from dlbench.paths import cache_folder, data_folder
from dlbench.records import history
from dlbench.records.files import read_config, read_json
from dlbench.records.store import DATA_COLUMNS, Evaluation, Record, State
from dlbench.run import execute
from dlbench.run.plan import prepare, with_evaluation
from dlbench.run.training import ensure_trained
from dlbench.terminal import say


@dataclass(frozen=True)
class _Asked:
    """What is to be made again: the record, how many of its epochs, and where the data lies."""

    record: Record
    manifest: Mapping[str, Any]
    paths: Mapping[str, Any]
    epochs: int
    is_whole: bool

    def overrides(self) -> dict[str, Any]:
        """What the record resolved ``auto`` to must hold here too."""
        device = read_json(self.record.identity)["trainer"]["device"]
        found: dict[str, Any] = {"trainer": {"device": device}, "rerun": "never"}
        if self.manifest["data"]["source"] == "synthetic":
            found["data"] = {"source": "synthetic"}
        return found

    def evaluations(self) -> list[Evaluation]:
        """Those to make again."""
        return self.record.evaluations() if self.is_whole else []


Made = tuple[Record, Mapping[str, Evaluation]]
"""A run made again: its training, and its evaluations by the recorded ones' ids."""


@dataclass(frozen=True)
class Verdict:
    """What came of verifying a record.

    ``differences`` holds (what, recorded, now); ``numerics`` the same for the numerics fingerprint, and ``untold`` what
    an older record does not tell of it: only where both are empty are bits promised to be equal. ``compared`` counts
    the values and files compared, over ``epochs`` epochs; ``commit`` is the one checked out for it, if one was;
    ``left_out`` are evaluations that no commit can make again.
    """

    run: str
    epochs: int
    compared: int
    differences: list[Difference] = field(default_factory=list)
    numerics: list[Difference] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    commit: str | None = None
    left_out: list[str] = field(default_factory=list)

    @property
    def is_failure(self) -> bool:
        """Whether values differ that were promised to be equal."""
        return bool(self.differences) and not self.numerics and not self.untold


@interrupted_by_signals()
def verify(
    record: Record,
    paths: Mapping[str, Any],
    progress: str | None = None,
    epochs: int | None = None,
    own_commit: bool = False,
    *,
    trust: bool = False,
) -> Verdict:
    """Train and evaluate again in a temporary folder, then compare curves, weights, metrics, predictions, artifacts.

    Args:
        record: A finished record, with or without its checkpoints.
        paths: ``data`` and ``cache``, as in the configuration.
        progress: How to show progress; None: as the record says.
        epochs: Train only the first so many epochs and compare only their curves, which start from the initial weights
            and hold losses and validation accuracies to the last bit; None: all, and every evaluation.
        own_commit: Have the record's commit do it even where today's code is of the same versions.
        trust: Whether the record may name code that is not the suite's.

    Raises:
        RecordError: The record is damaged or not finished, the data here is not what it was made with, or its commit
            cannot be had.
    """
    if (state := record.state()) == State.CORRUPT:
        record.read(whole=True)
    if state not in (State.FINISHED, State.DIVERGED):
        raise RecordError(f"record {record.id} is {state}; only a finished one can be verified")
    contents = record.read(whole=True)
    if not trust:
        named = [contents.config, *contents.settings.values()]
        components.check_trusted(named, f"record {record.id} (--trust takes own code)", RecordError)
    manifest, recorded_epochs = contents.manifest, int(contents.config["trainer"]["epochs"])
    chosen = min(epochs or recorded_epochs, recorded_epochs)
    is_whole = chosen == recorded_epochs
    versions = dict(manifest["versions"])
    for result in contents.results.values() if is_whole else ():
        versions |= result["versions"]
    outdated = components.outdated(versions)
    commit = manifest["code"]["commit"] if outdated or own_commit else None
    if outdated:
        changes = components.in_words(outdated)
        say(f"record {record.id} is of other versions ({changes}): its commit {str(commit)[:8]} makes it again")
    with tempfile.TemporaryDirectory(prefix="dlbench-verify-") as scratch:
        asked = _Asked(record, manifest, paths, chosen, is_whole)
        if outdated or own_commit:
            made, numerics = _by_commit(asked, Path(scratch))
        else:
            made, numerics = _by_today(asked, progress, Path(scratch))
        pairs = list(_pairs(record, made, chosen, is_whole))
    return Verdict(
        record.id,
        chosen,
        len(pairs),
        [(name, old, new) for name, old, new in pairs if old != new],
        differences(manifest["numerics"], numerics),
        untold(manifest["numerics"], numerics),
        commit,
        [each.id for each in asked.evaluations() if each.id not in made[1]],
    )


def _by_today(asked: _Asked, progress: str | None, scratch: Path) -> tuple[Made, dict[str, Any]]:
    """Today's code makes it again."""
    record, overrides = asked.record, asked.overrides() | {"paths": {**asked.paths, "runs": str(scratch)}}
    if progress:
        overrides["trainer"]["progress"] = progress
    config = {**record.settings(), "evaluation": _alone(record.settings()["evaluation"])}
    again = prepare(OmegaConf.merge(OmegaConf.create(config), overrides))  # type: ignore[arg-type]
    if again.record.id != record.id:
        raise RecordError(_why_another(again.record.id, again.facts, asked.manifest))
    ensure_trained(replace(again, settings=replace(again.settings, epochs=asked.epochs)))
    evaluations = {}
    for evaluation in asked.evaluations():
        evaluations[evaluation.id] = execute(with_evaluation(again, evaluation.settings())).evaluation
    return (again.record, evaluations), again.numerics


def _alone(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation's settings without the members of an ensemble."""
    return {**evaluation, **({"members": []} if "members" in evaluation else {})}


def _by_commit(asked: _Asked, scratch: Path) -> tuple[Made, dict[str, Any]]:
    """The record's commit makes it again, from the configuration as it stands in the record.

    An evaluation that another commit made of it later is made by that one; one that no commit holds is left out.
    """
    record, code = asked.record, asked.manifest["code"]
    commit, root = code["commit"], paths.checkout()
    if not commit or code["dirty"]:
        raise RecordError(f"record {record.id} was made by code that no commit holds; it cannot be made again")
    if root is None:
        raise RecordError(f"record {record.id} needs the code of commit {commit}; install that, or use a git checkout")
    config, overrides = read_config(record.config), asked.overrides()
    if "data" in overrides:  # in the words of its day
        overrides["data"]["source"] = read_json(record.manifest)["data"]["source"]
    to_make: dict[str, list[Evaluation | None]] = {commit: []}
    for each in asked.evaluations():
        of = each.read().get("code") or code  # older ones tell none: the training's
        if of.get("commit") and of.get("dirty") is False:
            to_make.setdefault(of["commit"], []).append(each)
        else:
            say(f"evaluation {each.id} was made by code that no commit holds: left out")
    to_make[commit] = to_make[commit] or [None]  # which only trains
    made: Record | None = None
    evaluations: dict[str, Evaluation] = {}
    for by, asked_of_it in to_make.items():
        with worktree(root, by, scratch / by) as tree:
            for evaluation in asked_of_it:
                settings = evaluation.recorded_settings() if evaluation else _alone(config["evaluation"])
                whole = OmegaConf.merge(OmegaConf.create({**config, "evaluation": settings}), overrides)
                whole.trainer.epochs, whole.trainer.progress = asked.epochs, "none"
                folders = data_folder(asked.paths["data"]).absolute(), cache_folder(asked.paths["cache"])
                whole.paths = {"data": str(folders[0]), "cache": str(folders[1]), "runs": str(scratch / "runs")}
                trained = made and made.training.read_bytes()
                before = {found.id for found in made.evaluations()} if made else set()
                _run_elsewhere(tree, whole, scratch / f"conf-{evaluation.id if evaluation else by}")
                made = made or _of_seed(scratch / "runs", int(config["seed"]))
                if trained and made.training.read_bytes() != trained:
                    raise RecordError(f"record {record.id}: commit {by} does not take the training of commit {commit}")
                new = [found for found in made.evaluations() if found.id not in before]
                if evaluation and not new:
                    raise RecordError(f"record {record.id}: commit {by} made no evaluation like {evaluation.id}")
                if evaluation:
                    evaluations[evaluation.id] = new[0]
                else:  # another commit makes those
                    shutil.rmtree(made.folder / "evaluations", ignore_errors=True)
    assert made is not None
    return (made, evaluations), made.read_manifest()["numerics"]


def _of_seed(runs: Path, seed: int) -> Record:
    """The run itself; those of the other seeds are an ensemble's members."""
    folders = sorted(path.parent for path in runs.glob("*/training.json"))
    return next(Record(folder) for folder in folders if read_config(folder / "config.yaml")["seed"] == seed)


def _run_elsewhere(code: Path, config: Any, folder: Path) -> None:
    """``python -m dlbench`` of another checkout, with a whole configuration in place of its own.

    Raises:
        RecordError: It failed; the last line that it said is told.
    """
    folder.mkdir()
    quiet = {"defaults": [{"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}, "_self_"]}
    here = {"hydra": {"output_subdir": None, "run": {"dir": "."}, "job": {"chdir": False}}}
    OmegaConf.save(OmegaConf.create({**OmegaConf.to_container(config), **quiet, **here}), folder / "record.yaml")  # type: ignore[dict-item]
    command = [sys.executable, "-m", "dlbench", "--config-path", str(folder), "--config-name", "record"]
    # A user's own modules lie where they did: in the folder that this was started in, or on the path.
    path = os.pathsep.join([str(code), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RecordError(f"its commit could not make the run again: {said[-1] if said else 'it said nothing'}")


@contextlib.contextmanager
def worktree(root: Path, commit: str, folder: Path) -> Iterator[Path]:
    """Another commit of the checkout at ``root`` in a folder of its own, for as long as it is needed.

    Raises:
        RecordError: It is not in this checkout's history.
    """
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise RecordError(f"{commit!r} is no commit; the record is damaged")
    add = ["git", "-C", str(root), "worktree", "add", "--quiet", "--detach", str(folder), commit]
    done = subprocess.run(add, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RecordError(f"commit {commit} cannot be checked out ({done.stderr.strip()}); fetch it, then try again")
    try:
        yield folder
    finally:
        remove = ["git", "-C", str(root), "worktree", "remove", "--force", str(folder)]
        if subprocess.run(remove, capture_output=True, check=False).returncode:
            shutil.rmtree(folder, ignore_errors=True)


def _pairs(record: Record, made: Made, epochs: int, is_whole: bool) -> Iterator[tuple[str, Any, Any]]:
    again, evaluations = made
    yield from _curve_pairs(record, again, epochs)
    if not is_whole:
        return
    old, new = (read_json(each.training) for each in (record, again))
    for key in ("state", "step", "epochs", "best_epoch", "weights"):
        yield f"training {key}", old.get(key), new.get(key)
    for identity, other in evaluations.items():
        evaluation = record.evaluation(identity)
        metrics, new_metrics = (read_json(each.result)["metrics"] for each in (evaluation, other))
        for name, value in sorted(metrics.items()):  # what only today's code measures is no difference
            yield f"evaluation {identity} {name}", value, new_metrics.get(name)
        for name in evaluation.outputs():
            content, new_content = evaluation.output(name), other.output(name)
            yield f"evaluation {identity} {name}", *_comparable(name, content, new_content)


def _curve_pairs(old: Record, new: Record, epochs: int) -> Iterator[tuple[str, Any, Any]]:
    rows, new_rows = history.read(old.metrics), history.read(new.metrics)
    yield "epochs recorded", min(len(rows), epochs), len(new_rows)
    for row, new_row in zip(rows, new_rows, strict=False):
        for name in sorted({*row, *new_row}):
            if not name.startswith("time/"):
                yield f"epoch {row['epoch']} {name}", row.get(name), new_row.get(name)


def _comparable(name: str, old: bytes | None, new: bytes | None) -> tuple[Any, Any]:
    """Two files as values to compare; of different ones only the first place where they differ."""
    if old is None or new is None:
        return old and "there", new and "there"
    if name.endswith(".png"):
        pixels = [_pixels(content) for content in (old, new)]
        return ("some pixels", "others") if pixels[0] != pixels[1] else (None, None)
    if name == "predictions.csv":
        tables = [list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))) for content in (old, new)]
        rows: list[list[Any]] = [
            [{key: from_cell(row[key] or "") for key in row if key not in DATA_COLUMNS} for row in table]
            for table in tables
        ]
    elif name.endswith(".json"):
        rows = [json.loads(content) for content in (old, new)]
    else:
        rows = [content.decode("utf-8").splitlines() for content in (old, new)]
    if len(rows[0]) != len(rows[1]):
        return f"{len(rows[0])} rows", f"{len(rows[1])} rows"
    return next(((one, other) for one, other in zip(*rows, strict=True) if one != other), (None, None))


def _pixels(content: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return picture.convert("RGB").tobytes()


def _why_another(identity: str, facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    recorded = manifest["data"]
    if recorded["fingerprint"] != facts["fingerprint"] and recorded["source"] == facts["source"] == "synthetic":
        return f"record {manifest['run']} is on synthetic data as an older version made it; --own-commit makes it again"
    if recorded["fingerprint"] != facts["fingerprint"]:
        other = f"{recorded['source']}, {recorded['provenance']}; here {facts['source']}, {facts['provenance']}"
        remedy = "name the right data folder with --data FOLDER"
        if recorded["source"] == facts["source"] == "folder":
            remedy += "; own pictures as an older version read them, --own-commit reads again"
        return f"record {manifest['run']} was made with other data ({other}); {remedy}"
    another = f"what its configuration names means something else today (identity {identity})"
    return f"record {manifest['run']}: {another}; own code must be as it was then"
