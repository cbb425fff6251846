"""Verifying a record: it is trained again from nothing, and every value that differs is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from dlbench.errors import RecordError
from dlbench.records import history
from dlbench.records.__main__ import main
from dlbench.records.confirmations import confirmations
from dlbench.records.files import read_json, write_json, write_text
from dlbench.records.store import Record
from dlbench.records.summary import summarise
from dlbench.run import run
from dlbench.verify import verify

PATHS = {"data": None, "cache": None}


@pytest.fixture(scope="module")
def original(
    compose: Callable[..., Any], tiny_in: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Record:
    """A real run, finished."""
    runs = tmp_path_factory.mktemp("verify") / "runs"
    return run(compose("+experiment=cnn_bn_gap", *tiny_in(runs, sizes=(24, 12, 12)))).record


@pytest.fixture
def record(original: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A copy of it as it is committed, without weights."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # set by the command; put back by the end of the test
    ignore = shutil.ignore_patterns("checkpoints", "tensorboard")
    return Record(shutil.copytree(original.folder, tmp_path / "runs" / original.id, ignore=ignore))


def verified(record: Record, *flags: str) -> int:
    return main(["verify", record.id, "--runs", str(record.folder.parent), *flags])


def test_the_first_epochs_confirm_a_record_made_by_other_source(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_json(record.manifest)
    write_json(record.manifest, {**manifest, "source": "f" * 64})
    assert summarise(record)[0].stale
    assert verified(record, "--epochs", "1") == 0
    assert "equal to the bit (epochs 1-1)" in capsys.readouterr().out
    (confirmation,) = confirmations(record)
    assert (confirmation["source"], confirmation["epochs"]) == (manifest["source"], 1)
    assert not summarise(record)[0].stale
    assert verified(record) == 0
    assert confirmations(record) == [confirmation]


def test_other_bits_confirm_nothing(record: Record) -> None:
    write_json(record.manifest, {**read_json(record.manifest), "source": "f" * 64})
    alter_curve(record)
    assert verified(record, "--epochs", "1") == 1
    assert confirmations(record) == []
    assert summarise(record)[0].stale


def test_a_fresh_record_needs_no_confirmation(record: Record) -> None:
    assert verified(record, "--epochs", "1") == 0
    assert not record.confirmations.exists()


def test_damaged_confirmations_are_named(record: Record) -> None:
    write_json(record.manifest, {**read_json(record.manifest), "source": "f" * 64})
    write_json(record.confirmations, {"confirmations": [3]})
    problem = summarise(record)[0].problem
    assert problem
    assert "confirmations.json: damaged" in problem


@pytest.mark.parametrize("epochs", ["0", "-1", "many"])
def test_epochs_to_verify_are_counted_from_one(record: Record, epochs: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        verified(record, "--epochs", epochs)


def alter_curve(record: Record) -> str:
    rows = history.read(record.metrics)
    rows[0]["val/loss"] += 1e-6
    write_text(record.metrics, "".join(json.dumps(row) + "\n" for row in rows))
    return "epoch 1 val/loss"


def drop_an_epoch(record: Record) -> str:
    history.cut_back(record.metrics, 1)
    return "epochs recorded"


def alter_result(record: Record) -> str:
    (evaluation,) = record.evaluations()
    result = read_json(evaluation.result)
    result["metrics"]["test/accuracy"] += 1e-6
    write_json(evaluation.result, result)
    return f"evaluation {evaluation.id} test/accuracy"


def invent_a_metric(record: Record) -> str:
    (evaluation,) = record.evaluations()
    result = read_json(evaluation.result)
    result["metrics"]["test/flair"] = 1.0
    write_json(evaluation.result, result)
    return f"evaluation {evaluation.id} test/flair"


def alter_weights(record: Record) -> str:
    training = read_json(record.training)
    write_json(record.training, {**training, "weights": training["weights"][::-1]})
    return "training weights"


def alter_best_epoch(record: Record) -> str:
    training = read_json(record.training)
    write_json(record.training, {**training, "best_epoch": 3 - training["best_epoch"]})
    return "training best_epoch"


def test_a_true_record_is_equal_in_every_value(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    assert verified(record, "--json") == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["run"], verdict["differences"], verdict["numerics"]) == (record.id, [], [])
    (evaluation,) = record.evaluations()
    rows = history.read(record.metrics)
    curves = sum(not name.startswith("time/") for row in rows for name in row)
    training = len(("state", "step", "epochs", "best_epoch", "weights"))
    assert verdict["compared"] == training + 1 + curves + len(read_json(evaluation.result)["metrics"])


def test_verifying_a_record_changes_nothing_in_it(record: Record) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in record.folder.parent.rglob("*") if path.is_file()}

    before = content()
    assert verify(record, PATHS).is_reproduced
    assert content() == before


@pytest.mark.parametrize(
    "alter", [alter_curve, drop_an_epoch, alter_result, invent_a_metric, alter_weights, alter_best_epoch]
)
def test_an_altered_value_is_named_and_fails(
    alter: Callable[[Record], str], record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    name = alter(record)
    assert verified(record) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if ": recorded " in line]
    assert line.startswith(f"{name}: recorded ")
    equal, compared = (int(word) for word in last.split() if word.isdigit() and word != record.id)
    assert equal == compared - 1
    assert last.startswith(f"{record.id}: ")


def test_differences_on_other_numerics_are_reported_and_no_failure(
    record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    name = alter_curve(record)
    manifest = read_json(record.manifest)
    manifest["numerics"]["torch"] = "1.0.0"
    write_json(record.manifest, manifest)
    assert verified(record) == 0
    lines = capsys.readouterr().out.splitlines()
    first, second = [line for line in lines if line.startswith("numerics ") or ": recorded " in line]
    assert first.startswith("numerics differ: torch was 1.0.0, here ")
    assert first.endswith("equal bits are not promised")
    assert second.startswith(f"{name}: recorded ")


def test_other_data_is_told_from_other_results(record: Record) -> None:
    config = OmegaConf.load(record.config)
    config.data.embedded_sizes = [24, 12, 13]
    write_text(record.config, OmegaConf.to_yaml(config))
    with pytest.raises(RecordError, match=rf"record {record.id} was made with other data \(embedded, .*--data FOLDER"):
        verify(record, PATHS)


def test_an_altered_configuration_is_told_from_other_data(record: Record) -> None:
    config = OmegaConf.load(record.config)
    config.seed = 7
    write_text(record.config, OmegaConf.to_yaml(config))
    with pytest.raises(RecordError, match=rf"record {record.id}: its configuration has another identity"):
        verify(record, PATHS)


def test_an_unfinished_record_cannot_be_verified(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    record.training.unlink()
    with pytest.raises(SystemExit) as exit_:
        verified(record)
    assert exit_.value.code == 1
    expected = f"dlbench: record {record.id} is interrupted; only a finished one can be verified\n"
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize("file", ["manifest.json", "config.yaml"])
def test_a_record_with_a_damaged_file_cannot_be_verified(
    file: str, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    (record.folder / file).write_text("{")
    with pytest.raises(SystemExit) as exit_:
        verified(record)
    assert exit_.value.code == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert file in err
