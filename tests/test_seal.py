"""Sealed records: no damage and no forgery goes unnoticed, and a resumed training carries none along."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bits import same_bits
from damage import copied, damage

from dlbench import identity
from dlbench.errors import RecordError
from dlbench.records import history, seal
from dlbench.records.files import read_json, write_json
from dlbench.records.store import Record, State, Store
from dlbench.records.summary import summarise
from dlbench.report.results import collect
from dlbench.run import Outcome, execute, prepare, run, train

FAST = ("model.least_parameters=2000", "model.hidden=[4]", "data.batch_size=16", "evaluation.rotations=[10]")
EPOCHS = 3


@pytest.fixture(scope="module")
def overrides(tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    runs = tmp_path_factory.mktemp("sealed") / "runs"
    return ["+experiment=kmnist_mlp", *tiny_in(runs, epochs=EPOCHS), *FAST, "evaluation.scales=[1.2]"]


@pytest.fixture(scope="module")
def finished(compose: Callable[..., Any], overrides: list[str]) -> Outcome:
    return run(compose(*overrides))


@pytest.fixture(scope="module")
def trained(compose: Callable[..., Any], overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record whose training is done, and not yet evaluated."""
    plan = prepare(compose(*overrides, f"paths.runs={tmp_path_factory.mktemp('trained')}"))
    with plan.record.lock():
        train(plan)
    return plan.record.folder


@pytest.fixture(scope="module")
def interrupted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record as a kill leaves it after its last epoch, before it is closed."""
    folder = copied(trained, tmp_path_factory.mktemp("interrupted"))
    (folder / "training.json").unlink()
    return folder


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in seal.DERIVED)


def tries_on_finished(folder: Path, place: Path, tries: int, seed: int = 0) -> Counter[str]:
    """Damage a finished record so many times, one file each; how each was noticed."""
    truth = [dict(result.metrics) for result in collect([Store(folder.parent)]).results]
    counts: Counter[str] = Counter()
    for number in range(tries):
        chance = random.Random(f"{seed} {number}")
        record = Record(copied(folder, place))
        path = chance.choice(files_of(record.folder))
        before = path.read_bytes()
        done = damage(path, chance)
        if path.is_file() and path.read_bytes() == before:
            counts["no damage"] += 1
            continue
        listed = summarise(record, whole=True)
        collection = collect([Store(record.folder.parent)])
        is_optional = path.relative_to(record.folder).as_posix().startswith(seal.OPTIONAL)
        if done == "deleted" and is_optional:
            counts["cleaned away"] += 1  # as with a committed record
        elif done == "deleted" and path.name == "result.json":
            counts["not evaluated"] += not collection.results and bool(collection.left_out)
        elif done == "deleted" and path.name == "training.json":
            counts["not finished"] += record.state() == State.INTERRUPTED and not collection.results
        elif all(line.problem or line.state == State.CORRUPT for line in listed) or not record.config.is_file():
            assert [dict(result.metrics) for result in collection.results] in ([], truth)
            counts["named"] += 1
        else:
            counts[f"silent: {path.relative_to(record.folder)} {done}"] += 1
    return counts


def tries_on_begun(
    folder: Path, place: Path, again: Callable[[Path], Outcome], truth: Outcome, *, tries: int, seed: int = 0
) -> Counter[str]:
    """Damage a record that is not done so many times, and run it again; whether it came to the same bits."""
    counts: Counter[str] = Counter()
    for number in range(tries):
        chance = random.Random(f"{seed} {number}")
        damaged = copied(folder, place)
        path = chance.choice(files_of(damaged))
        done = damage(path, chance)
        outcome = again(place)
        try:
            outcome.record.check()
        except RecordError as error:  # what a closed training keeps, but is not made of, is named when it is looked at
            counts["same bits, and named"] += 1
            assert path.name in str(error)
        is_right = same_bits(outcome, truth) and outcome.record.settings() == truth.record.settings()
        is_right &= read_json(outcome.record.identity) == read_json(truth.record.identity)
        for key in ("data", "versions", "bound", "numerics"):
            is_right &= read_json(outcome.record.manifest)[key] == read_json(truth.record.manifest)[key]
        counts["same bits" if is_right else f"silent: {path.relative_to(damaged)} {done}"] += 1
    return counts


def no_silence(counts: Counter[str]) -> bool:
    return not [name for name in counts if name.startswith("silent")]


def test_every_damage_of_a_finished_record_is_named(finished: Outcome, tmp_path: Path) -> None:
    counts = tries_on_finished(finished.record.folder, tmp_path / "runs", 80)
    assert no_silence(counts), counts
    assert counts["named"] > 50


@pytest.mark.slow
def test_a_damaged_interrupted_record_comes_to_the_same_bits(
    compose: Callable[..., Any], overrides: list[str], finished: Outcome, interrupted: Path, tmp_path: Path
) -> None:
    def again(runs: Path) -> Outcome:
        return run(compose(*overrides, f"paths.runs={runs}"))

    counts = tries_on_begun(interrupted, tmp_path / "runs", again, finished, tries=16)
    assert no_silence(counts), counts


@pytest.mark.slow
def test_a_damaged_trained_record_comes_to_the_same_bits(
    compose: Callable[..., Any], overrides: list[str], finished: Outcome, trained: Path, tmp_path: Path
) -> None:
    def again(runs: Path) -> Outcome:
        return execute(prepare(compose(*overrides, f"paths.runs={runs}")))

    counts = tries_on_begun(trained, tmp_path / "runs", again, finished, tries=12)
    assert no_silence(counts), counts


def forge_learning_rate(folder: Path) -> None:
    """Another learning rate, in the configuration as in the identity."""
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("lr: 0.0005", "lr: 0.001"))
    content = read_json(folder / "identity.json")
    write_json(folder / "identity.json", {**content, "optimizer": {**content["optimizer"], "lr": 0.001}})


def forge_seed(folder: Path) -> None:
    content = read_json(folder / "identity.json")
    write_json(folder / "identity.json", {**content, "seed": 43})


def forge_run(folder: Path) -> None:
    content = json.loads((folder / "training.json").read_text())
    seal.close(folder / "training.json", {**content, "run": "0" * 12}, content["files"])


def forge_metric(folder: Path) -> None:
    path = next(folder.glob("evaluations/*/result.json"))
    content = json.loads(path.read_text())
    content["metrics"]["test/accuracy"] = 0.99
    path.write_text(json.dumps(content))


def forge_evaluation(folder: Path) -> None:
    path = next(folder.glob("evaluations/*/result.json"))
    content = json.loads(path.read_text())
    about = {**content["identity"]["evaluation"], "max_shift": 2}
    identity_of = {**content["identity"], "evaluation": about}
    seal.close(path, {**content, "identity": identity_of}, content["files"])


def forge_folder(folder: Path) -> None:
    folder.rename(folder.with_name("0" * 12))


def forge_hashes(folder: Path) -> None:
    """A file with its hash, but without the seal."""
    (folder / "metrics.jsonl").write_text("{}\n")
    content = json.loads((folder / "training.json").read_text())
    content["files"]["metrics.jsonl"] = seal.hashes(folder)["metrics.jsonl"]
    (folder / "training.json").write_text(json.dumps(content))


def forge_weights(folder: Path) -> None:
    path = next(folder.glob("evaluations/*/result.json"))
    content = json.loads(path.read_text())
    seal.close(path, {**content, "weights": "0" * 64}, content["files"])


@pytest.mark.parametrize(
    "forge",
    [
        *(forge_learning_rate, forge_seed, forge_run, forge_metric, forge_evaluation, forge_folder, forge_hashes),
        forge_weights,
    ],
)
def test_a_forged_record_counts_for_nothing(finished: Outcome, tmp_path: Path, forge: Callable[[Path], None]) -> None:
    folder = copied(finished.record.folder, tmp_path / "runs")
    forge(folder)
    collection = collect([Store(tmp_path / "runs")])
    assert not collection.results
    assert len(collection.left_out) == 1


def test_a_forged_identity_of_a_record_that_is_not_done_is_named(interrupted: Path, tmp_path: Path) -> None:
    folder = copied(interrupted, tmp_path / "runs")
    assert not summarise(Record(folder))[0].problem
    forge_seed(folder)
    for whole in (False, True):
        (line,) = summarise(Record(folder), whole=whole)
        assert line.state == State.CORRUPT
        assert "identity.json" in str(line.problem)


def test_curves_that_are_damaged_while_the_training_runs_are_not_sealed(
    compose: Callable[..., Any],
    overrides: list[str],
    finished: Outcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append = history.append

    def damaged(path: Path, row: dict[str, Any]) -> bytes:
        written = append(path, row)
        if row["epoch"] == 2:
            path.write_bytes(path.read_bytes().replace(b'"epoch": 1', b'"epoch": 7', 1))
        return written

    monkeypatch.setattr(history, "append", damaged)
    with pytest.raises(RecordError, match="damaged while the training ran"):
        run(compose(*overrides, f"paths.runs={tmp_path}"))
    monkeypatch.setattr(history, "append", append)
    assert same_bits(run(compose(*overrides, f"paths.runs={tmp_path}")), finished)


def test_a_record_of_a_newer_schema_is_named(finished: Outcome, tmp_path: Path) -> None:
    path = Path(copied(finished.record.folder, tmp_path / "runs")) / "training.json"
    write_json(path, {**json.loads(path.read_text()), "schema": 3})
    with pytest.raises(RecordError, match="schema 3, but this version reads 2; update dlbench"):
        Record(path.parent).closed()
    (line,) = summarise(Record(path.parent))
    assert line.state == State.CORRUPT


def test_a_closing_file_is_named_by_its_own_content(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    seal.close(path, {"state": "finished"}, {"a": "b"})
    assert seal.read(path)["files"] == {"a": "b"}
    path.write_text(path.read_text().replace("finished", "diverged"))
    with pytest.raises(RecordError, match="its seal does not fit"):
        seal.read(path)


def test_what_is_cleaned_away_is_no_damage(finished: Outcome, tmp_path: Path) -> None:
    folder = copied(finished.record.folder, tmp_path / "runs")
    for name in ("checkpoints", "tensorboard"):
        for path in (folder / name).iterdir():
            path.unlink()
    Record(folder).check()
    assert identity.digest(read_json(folder / "identity.json")) == folder.name
