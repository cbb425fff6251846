"""Verifying a record: it is trained again from nothing, and every value that differs is named."""

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from PIL import Image
from resealed import change, made_by, reseal

from dlbench import commands, paths
from dlbench import verify as verifying
from dlbench.components import by_name
from dlbench.errors import RecordError
from dlbench.records import history
from dlbench.records.files import read_json, write_json, write_text
from dlbench.records.store import Record
from dlbench.run import run
from dlbench.verify import verify

PATHS = {"data": None, "cache": None}


@pytest.fixture(scope="module")
def original(
    compose: Callable[..., Any], tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Record:
    """A real run, finished."""
    runs = tmp_path_factory.mktemp("verify") / "runs"
    fast = ["+experiment=cnn_bn_gap", "evaluation.max_shift=1"]
    return run(compose(*fast, *tiny_in(runs, sizes=(24, 12, 12)))).record


@pytest.fixture
def record(original: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A copy of it as it is committed, without weights."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # set by the command; put back by the end of the test
    ignore = shutil.ignore_patterns("checkpoints", "tensorboard")
    return Record(shutil.copytree(original.folder, tmp_path / "runs" / original.id, ignore=ignore))


def verified(record: Record, *flags: str) -> int:
    return commands.call("records", ["verify", record.id, "--runs", str(record.folder.parent), *flags])


def test_the_first_epochs_alone_can_be_verified(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    assert verified(record, "--epochs", "1") == 0
    assert "equal to the bit (epochs 1-1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ({"commit": "f" * 40, "dirty": True}, "was made by code that no commit holds"),
        ({"commit": None, "dirty": None}, "was made by code that no commit holds"),
        ({"commit": "f" * 40, "dirty": False}, f"commit {'f' * 40} cannot be checked out"),
    ],
)
@pytest.mark.parametrize("is_outdated", [True, False])
def test_a_record_of_other_versions_needs_its_own_commit(
    code: dict[str, Any], told: str, is_outdated: bool, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    change(record.manifest, code=code)
    made_by(record, {"convnet": "1.9"} if is_outdated else {})
    assert verified(record, "--epochs", "1", *([] if is_outdated else ["--own-commit"])) == 1
    said = capsys.readouterr().err
    assert told in said
    assert (f"is of other versions (convnet 1.9, now {by_name()['convnet'].version})" in said) == is_outdated


def test_outside_a_git_checkout_it_is_said_which_commit_to_install(
    record: Record, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "checkout", lambda: None)
    change(record.manifest, code={"commit": "f" * 40, "dirty": False})
    made_by(record, {"convnet": "1.9"})
    assert verified(record) == 1
    *_, last = capsys.readouterr().err.splitlines()
    needed = f"record {record.id} needs the code of commit {'f' * 40}; install that, or use a git checkout"
    assert last == f"dlbench: {needed}"


@pytest.mark.parametrize("epochs", ["0", "-1", "many"])
def test_epochs_to_verify_are_counted_from_one(record: Record, epochs: str) -> None:
    assert verified(record, "--epochs", epochs) == 2


def alter_curve(record: Record) -> str:
    rows = history.read(record.metrics)
    rows[0]["val/loss"] += 1e-6
    write_text(record.metrics, "".join(json.dumps(row) + "\n" for row in rows))
    return "epoch 1 val/loss"


def drop_an_epoch(record: Record) -> None:
    history.cut_back(record.metrics, 1)


def alter_result(record: Record) -> str:
    (evaluation,) = record.evaluations()
    metrics = read_json(evaluation.result)["metrics"]
    change(evaluation.result, metrics={**metrics, "test/accuracy": metrics["test/accuracy"] + 1e-6})
    return f"evaluation {evaluation.id} test/accuracy"


def invent_a_metric(record: Record) -> str:
    (evaluation,) = record.evaluations()
    change(evaluation.result, metrics={**read_json(evaluation.result)["metrics"], "test/flair": 1.0})
    return f"evaluation {evaluation.id} test/flair"


def alter_weights(record: Record) -> str:
    change(record.training, weights=read_json(record.training)["weights"][::-1])
    return "training weights"


def alter_best_epoch(record: Record) -> str:
    change(record.training, best_epoch=3 - read_json(record.training)["best_epoch"])
    return "training best_epoch"


def test_a_true_record_is_equal_in_every_value(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    assert verified(record, "--json") == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["run"], verdict["differences"], verdict["numerics"]) == (record.id, [], [])
    (evaluation,) = record.evaluations()
    rows = history.read(record.metrics)
    curves = sum(not name.startswith("time/") for row in rows for name in row)
    training = len(("state", "step", "epochs", "best_epoch", "weights"))
    outputs = evaluation.outputs()
    assert {"predictions.csv", "artifacts/confusion_matrix.csv", "artifacts/activation_maps.png"} <= {*outputs}
    metrics = read_json(evaluation.result)["metrics"]
    assert verdict["compared"] == training + 1 + curves + len(metrics) + len(outputs)
    assert (verdict["untold"], verdict["commit"]) == ([], None)


def test_verifying_a_record_changes_nothing_in_it(record: Record) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in record.folder.parent.rglob("*") if path.is_file()}

    before = content()
    assert not verify(record, PATHS).differences
    assert content() == before


def alter_prediction(record: Record) -> str:
    (evaluation,) = record.evaluations()
    path = evaluation.folder / "predictions.csv"
    *rows, last = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*rows, last.replace("0.", "0.9")]), encoding="utf-8")
    return f"evaluation {evaluation.id} predictions.csv"


def alter_picture(record: Record) -> str:
    (evaluation,) = record.evaluations()
    path = evaluation.artifacts / "activation_maps.png"
    picture = Image.open(path).convert("RGB")
    picture.putpixel((0, 0), (1, 2, 3))
    picture.save(path)
    return f"evaluation {evaluation.id} artifacts/activation_maps.png"


def lose_an_artifact(record: Record) -> str:
    (evaluation,) = record.evaluations()
    path = evaluation.artifacts / "confusion_matrix.csv"
    path.rename(path.with_name("other_matrix.csv"))
    return f"evaluation {evaluation.id} artifacts/other_matrix.csv"


ALTERATIONS = [
    *(alter_curve, alter_result, invent_a_metric, alter_weights, alter_best_epoch),
    *(alter_prediction, alter_picture, lose_an_artifact),
]


@pytest.mark.parametrize("alter", [*ALTERATIONS, drop_an_epoch])
def test_an_altered_file_is_refused(
    alter: Callable[[Record], str], record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    alter(record)
    assert verified(record) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


@pytest.mark.parametrize("alter", ALTERATIONS)
def test_an_altered_value_is_named_and_fails(
    alter: Callable[[Record], str], record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    name = alter(record)
    reseal(record)
    assert verified(record) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if ": recorded " in line]
    assert line.startswith(f"{name}: recorded ")
    equal, compared = (int(word) for word in last.split() if word.isdigit() and word != record.id)
    assert equal == compared - 1
    assert last.startswith(f"{record.id}: ")


def test_a_lost_epoch_is_named(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    drop_an_epoch(record)
    reseal(record)
    assert verified(record) == 1
    assert re.search(r"metrics.jsonl: holds other epochs than 1 to \d+$", capsys.readouterr().err.strip())


@pytest.mark.parametrize(
    ("numerics", "told"),
    [
        ({"torch": "1.0.0"}, r"numerics differ: torch was 1\.0\.0, here .*; equal bits are not promised"),
        ({"cpu": None}, "the record does not tell its cpu: on another machine bits may differ"),
    ],
)
def test_differences_from_a_record_of_another_machine_or_of_none_are_no_failure(
    numerics: dict[str, str | None], told: str, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    name = alter_curve(record)
    found = read_json(record.manifest)["numerics"] | numerics
    change(record.manifest, numerics={key: value for key, value in found.items() if value is not None})
    reseal(record)
    assert verified(record) == 0
    first, second, _ = capsys.readouterr().out.splitlines()
    assert re.fullmatch(told, first)
    assert second.startswith(f"{name}: recorded ")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"data": {"synthetic_sizes": [24, 12, 13]}}, " is on synthetic data as an older version made it; --own-"),
        ({"seed": 7}, ": what its configuration names means something else today"),
    ],
)
def test_other_data_and_an_altered_configuration_are_told_from_other_results(
    changed: dict[str, Any], problem: str, record: Record
) -> None:
    config = OmegaConf.merge(OmegaConf.load(record.config), changed)
    write_text(record.config, OmegaConf.to_yaml(config))
    reseal(record)
    with pytest.raises(RecordError, match=f"record {record.id}{problem}"):
        verify(record, PATHS)


def test_an_unfinished_record_cannot_be_verified(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    record.training.unlink()
    assert verified(record) == 1
    expected = f"dlbench: record {record.id} is interrupted; only a finished one can be verified\n"
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize("file", ["identity.json", "manifest.json", "config.yaml", "metrics.jsonl"])
def test_a_record_with_a_damaged_file_cannot_be_verified(
    file: str, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    (record.folder / file).write_text("{")
    assert verified(record) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert file in err


@pytest.mark.parametrize(
    ("code", "made_by_them", "said"),
    [
        ({"commit": "a" * 40, "dirty": False}, ["a"], ""),
        ({"commit": "b" * 40, "dirty": False}, ["a", "b"], ""),
        ({"commit": "b" * 40, "dirty": True}, ["a"], "was made by code that no commit holds: left out"),
        ({"commit": None, "dirty": None}, ["a"], "was made by code that no commit holds: left out"),
        (None, ["a"], ""),  # an older one: the training's,
    ],
)
def test_an_evaluation_is_made_again_by_the_commit_that_made_it(  # noqa: PLR0917
    code: dict[str, Any] | None,
    made_by_them: list[str],
    said: str,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    used: list[str] = []

    @contextlib.contextmanager
    def worktree(_root: Path, commit: str, folder: Path) -> Iterator[Path]:
        used.append(commit[0])
        yield folder

    monkeypatch.setattr(verifying, "worktree", worktree)
    monkeypatch.setattr(verifying, "_run_elsewhere", lambda _tree, config, _folder: run(config))
    monkeypatch.setattr(paths, "checkout", Path)
    change(record.manifest, code={"commit": "a" * 40, "dirty": False})
    (evaluation,) = record.evaluations()
    result = {key: value for key, value in read_json(evaluation.result).items() if key != "code"}
    write_json(evaluation.result, result | ({"code": code} if code else {}))
    reseal(record)
    verdict = verify(record, PATHS, own_commit=True)
    assert not verdict.differences
    assert verdict.left_out == ([evaluation.id] if said else [])
    assert used == made_by_them
    assert said in capsys.readouterr().err
    of_training = len(("state", "step", "epochs", "best_epoch", "weights", "epochs recorded"))
    of_training += sum(not name.startswith("time/") for row in history.read(record.metrics) for name in row)
    of_evaluation = len(read_json(evaluation.result)["metrics"]) + len(evaluation.outputs())
    assert verdict.compared == of_training + (0 if said else of_evaluation)


@pytest.mark.slow
def test_a_record_of_other_versions_is_made_again_by_its_own_commit(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    root = paths.checkout()
    head = root and subprocess.run(
        ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if not head or head.returncode:
        pytest.skip("no git checkout")
    code = {"commit": head.stdout.strip(), "dirty": False}
    change(record.manifest, code=code)
    (evaluation,) = record.evaluations()
    metrics = {**read_json(evaluation.result)["metrics"], "test/accuracy": 0.123}
    change(evaluation.result, code=code, metrics=metrics)
    made_by(record, {"sgd": "1.97"})
    assert verified(record) == 1
    said = capsys.readouterr()
    assert f"of other versions (sgd 1.97, now 1.0): its commit {head.stdout[:8]} makes it again" in said.err
    assert "test/accuracy: recorded 0.123" in said.out
    equal, _, compared = said.out.split(": ")[-1].partition(" of ")
    assert int(equal) == int(compared.split()[0]) - 1
    worktrees = subprocess.run(["git", "-C", root, "worktree", "list"], capture_output=True, text=True, check=True)
    assert "dlbench-verify" not in worktrees.stdout
