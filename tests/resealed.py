"""Records changed on purpose and sealed again, as if they had been recorded so."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dlbench import identity
from dlbench.files import digest
from dlbench.records import schema, seal
from dlbench.records.files import read_config, read_json, write_json
from dlbench.records.store import OUTPUTS, Evaluation, Record

OUTSIDE_THE_SEAL = ("evaluations", "training.json", "failure.json")


def copied(record: Record, runs: Path) -> Record:
    """The same record in another folder of records, where it can be changed."""
    return Record(Path(shutil.copytree(record.folder, runs / record.id)))


def read(path: Path) -> Any:
    """A file of a record, whatever its seal says."""
    return read_config(path) if path.suffix == ".yaml" else read_json(path)


def change(path: Path, **keys: Any) -> None:
    """Give a file of a record other values, and leave the seal as it is."""
    path.write_text(json.dumps({**read(path), **keys}), encoding="utf-8")  # JSON is YAML too


def change_and_seal(path: Path, **keys: Any) -> None:
    """Give a closing file of a record other values, and seal that file alone."""
    content = {**read(path), **keys}
    _close(path, content, content["files"])


def reseal(record: Record, /, **keys: Any) -> Record:
    """Seal a training and its evaluations as they lie there now; ``keys`` are changes to the closing file.

    If ``identity.json`` is another one now, all is renamed and told after it.
    """
    run = identity.digest(read_json(record.identity))
    if record.id != run:
        record = Record(record.folder.rename(record.folder.with_name(run)))
        write_json(record.manifest, {**read_json(record.manifest), "run": run})
    if "seal" in (manifest := read_json(record.manifest)) or not record.training.exists():
        _close(record.manifest, manifest, {path.name: digest(path) for path in (record.identity, record.config)})
    if record.training.exists():
        content = {**read_json(record.training), **keys, "run": run}
        _close(record.training, content, seal.hashes(record.folder, without=OUTSIDE_THE_SEAL))
    for evaluation in record.evaluations():
        if read_json(evaluation.result)["run"] != run:
            _rename(evaluation, run)
        else:
            reseal_evaluation(evaluation)
    return record


def reseal_evaluation(evaluation: Evaluation, /, **keys: Any) -> None:
    """Seal an evaluation as it lies there now; ``keys`` are changes to its result."""
    files = seal.hashes(evaluation.folder, without=(evaluation.result.name,))
    _close(evaluation.result, {**read_json(evaluation.result), **keys}, files)


def put(evaluation: Evaluation, name: str, content: str) -> None:
    """Give one of the files that are packed together another content, and leave the seal as it is."""
    packed = evaluation.folder / OUTPUTS
    with zipfile.ZipFile(packed) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(packed, "w") as archive:
        for each, old in files.items():
            archive.writestr(each, content if each == name else old)


def made_by(record: Record, versions: dict[str, str]) -> None:
    """Let a record, and all of its evaluations, be made by other versions of some components."""
    manifest = read_json(record.manifest)
    write_json(record.manifest, {**manifest, "versions": {**manifest["versions"], **versions}})
    reseal(record)
    for evaluation in record.evaluations():
        reseal_evaluation(evaluation, versions={**read_json(evaluation.result)["versions"], **versions})


def renamed(record: Record, told: Callable[[dict[str, Any]], None]) -> Record:
    """The record of another identity: ``told`` changes what is hashed."""
    content = read_json(record.identity)
    told(content)
    write_json(record.identity, content)
    return reseal(record)


def _rename(evaluation: Evaluation, run: str) -> None:
    content = read_json(evaluation.result)
    told = {**content["identity"], "training": run}
    name = identity.digest(told)
    moved = Evaluation(evaluation.folder.rename(evaluation.folder.with_name(name)))
    reseal_evaluation(moved, run=run, evaluation=name, identity=told)


def _close(path: Path, content: dict[str, Any], files: dict[str, str]) -> None:
    """See `dlbench.records.seal.close`; numbers that are none are written too."""
    kept = {key: value for key, value in content.items() if key not in ("schema", "files", "seal")}
    sealed = {"schema": schema.VERSION, **kept, "files": files}
    path.write_text(json.dumps({**sealed, "seal": seal._seal(sealed)}), encoding="utf-8")
