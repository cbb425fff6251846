"""One run from configuration to record: what it holds, that it repeats, and what becomes of a bad end."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bits import same_bits
from board import accumulated
from conftest import Compose, TinyIn
from diverging import weights_are_nan
from omegaconf import OmegaConf
from PIL import Image
from resealed import change, copied, made_by, reseal

from dlbench.components import by_name
from dlbench.errors import ConfigError, RecordError
from dlbench.evaluation.images import ImageEvaluation
from dlbench.records import history, seal
from dlbench.records.files import read_json
from dlbench.records.manifest import forget_peak_memory, peak_memory_bytes
from dlbench.records.store import State, Store
from dlbench.run import Outcome, run
from dlbench.tasks.base import Task

FAST = ("+experiment=cnn_bn_gap", "evaluation.max_shift=1")


@pytest.fixture(scope="module")
def finished(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(compose(*FAST, *tiny_in(tmp_path_factory.mktemp("finished"))))


def test_a_record_holds_what_the_design_says(finished: Outcome) -> None:
    record, evaluation = finished.record, finished.evaluation
    assert finished.trained
    assert record.state() == State.FINISHED
    for path in (record.identity, record.config, record.manifest, record.metrics, record.training, record.tensorboard):
        assert path.exists()
    for name in ("config.yaml", "result.json", "predictions.csv", "artifacts/confusion_matrix.csv"):
        assert (evaluation.folder / name).stat().st_size > 0
    assert Image.open(evaluation.artifacts / "activation_maps.png").size[0] > 3 * 144
    result = seal.read(evaluation.result)
    assert result["run"] == record.id
    assert result["evaluation"] == evaluation.id
    assert result["experiment"] == "cnn_bn_gap"
    assert result["state"] == "finished"
    assert result["data"]["source"] == result["data"]["provenance"] == "synthetic"
    expected = {"test/accuracy", "test/loss", "test/accuracy_best_val", "val/accuracy", "val/accuracy_last10_mean"}
    expected |= {"train/loss", "train/loss_running_mean", "test/accuracy_shift_0", "test/accuracy_shift_1"}
    expected |= {"val/accuracy_last10_std", "model/parameters", "model/flops", "model/receptive_field"}
    assert expected <= result["metrics"].keys()
    assert all(math.isfinite(value) for value in result["metrics"].values())


def test_the_metrics_agree_with_the_predictions(finished: Outcome) -> None:
    with (finished.evaluation.folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    accuracy = sum(row["label"] == row["predicted"] for row in rows) / len(rows)
    metrics = finished.result["metrics"]
    assert metrics["test/accuracy"] == pytest.approx(accuracy, abs=1e-7)
    assert metrics["test/accuracy_shift_0"] == pytest.approx(accuracy, abs=1e-12)


def test_a_record_names_no_folder_and_no_host(finished: Outcome) -> None:
    import socket

    record = finished.record
    for path in (record.identity, record.config, record.manifest, record.training, finished.evaluation.result):
        text = path.read_text()
        assert str(finished.record.folder.parent) not in text
        assert str(Path.home()) not in text
        assert f'"{socket.gethostname()}"' not in text
    assert "paths" not in OmegaConf.load(finished.record.config)


def test_the_manifest_says_where_a_result_comes_from(finished: Outcome) -> None:
    manifest = json.loads(finished.record.manifest.read_text())
    assert {"commit", "dirty"} <= manifest["code"].keys()
    assert {"torch", "device", "cpu_capability", "threads", "cpu", "limits"} == manifest["numerics"].keys()
    assert {"torch", "pytorch-lightning", "hydra-core"} <= manifest["environment"]["packages"].keys()
    assert len(manifest["data"]["fingerprint"]) == 64
    assert manifest["versions"].items() <= {name: each.version for name, each in by_name().items()}.items()
    assert {"convnet", "intel", "sgd", "trainer", "training_loss"} <= manifest["versions"].keys()


def test_tensorboard_says_what_the_record_says(finished: Outcome) -> None:
    events = accumulated(finished.record.tensorboard)
    names = {"train/loss", "train/loss_running_mean", "val/loss", "val/accuracy", "test/accuracy", "optimizer/lr"}
    assert names | {"time/examples_per_second"} <= set(events.Tags()["scalars"])
    assert "hp_metric" not in events.Tags()["scalars"]
    rows = history.read(finished.record.metrics)
    for name in ("train/loss", "val/accuracy"):
        curve = [(event.step, event.value) for event in events.Scalars(name)]
        assert curve == [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in rows]


def test_a_finished_run_is_looked_up(finished: Outcome, compose: Compose, tiny_in: TinyIn) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.record.folder.rglob("*") if path.is_file()}
    again = run(compose(*FAST, *tiny_in(finished.record.folder.parent)))
    assert not again.trained
    assert again.result == finished.result
    assert before == {path: path.stat().st_mtime_ns for path in finished.record.folder.rglob("*") if path.is_file()}


def test_another_evaluation_does_not_train_again(finished: Outcome, compose: Compose, tiny_in: TinyIn) -> None:
    overrides = [*tiny_in(finished.record.folder.parent), "evaluation.max_shift=0"]
    other = run(compose(*FAST, *overrides))
    assert not other.trained
    assert other.evaluation.id != finished.evaluation.id
    assert other.result["metrics"]["test/accuracy"] == finished.result["metrics"]["test/accuracy"]


def test_two_runs_are_the_same_to_the_bit_and_another_seed_is_not(
    finished: Outcome, compose: Compose, tiny: list[str]
) -> None:
    again = run(compose(*FAST, *tiny))
    assert again.trained
    assert same_bits(again, finished)
    other = run(compose(*FAST, *tiny, "seed=43"))
    assert other.record.id != finished.record.id
    losses = [[row["train/loss"] for row in history.read(made.record.metrics)] for made in (other, finished)]
    assert losses[0] != losses[1]


@pytest.mark.slow
@pytest.mark.real_data
def test_the_real_pictures_train(compose: Compose, tiny: list[str], real_data_folder: Path) -> None:
    real = ["data.source=npz", f"paths.data={real_data_folder}", "trainer.epochs=1", "trainer.limit_train_batches=3"]
    outcome = run(compose(*FAST, *tiny, *real, "evaluation.max_shift=0"))
    assert outcome.result["data"]["provenance"] == "verified"
    assert outcome.result["data"]["sizes"] == {"train": 12630, "val": 1404, "test": 3000}
    assert (outcome.result["metrics"]["test/accuracy"] * 3000) % 1 == pytest.approx(0, abs=1e-3)


@pytest.mark.real_data
def test_npz_and_folder_of_the_same_pictures_would_be_one_run(
    compose: Compose, tiny: list[str], real_data_folder: Path
) -> None:
    from dlbench.run.plan import prepare

    def identity(*overrides: str) -> str:
        return prepare(
            compose("+experiment=cnn_vanilla", *tiny, f"paths.data={real_data_folder}", *overrides)
        ).record.id

    assert identity("data.source=npz") == identity("data.source=auto")
    assert identity("data.source=npz") != identity("data.source=synthetic")


def test_a_loss_that_is_no_number_ends_as_diverged(compose: Compose, tiny: list[str]) -> None:
    config = compose("+experiment=cnn_vanilla", *tiny, "optimizer.lr=1e30")
    outcome = run(config)
    assert outcome.record.state() == State.DIVERGED
    assert outcome.result["state"] == "diverged"
    assert 0 < outcome.result["step"] < 12
    assert not run(config).trained


def test_validation_examples_without_a_finite_loss_are_not_left_out(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path
) -> None:
    """Outputs overflow on some pictures only: the mean of the others is finite."""
    tiny = tiny_in(tmp_path, epochs=1, sizes=(64, 60, 60))
    overflowing = ["trainer.limit_train_batches=1", "optimizer.lr=1e9"]
    outcome = run(compose("+experiment=octmnist_cnn_maxpool", *tiny, *overflowing))
    assert outcome.record.state() == State.DIVERGED


def test_a_test_metric_that_is_no_number_is_no_result(compose: Compose, tiny: list[str]) -> None:
    config = compose(*FAST, *tiny, "trainer.epochs=1")
    said = r"^test/loss is not finite, so the run has no result; where"
    with weights_are_nan(ImageEvaluation), pytest.raises(RecordError, match=said):
        run(config)
    assert math.isfinite(run(config).result["metrics"]["test/loss"])


def test_double_precision_ends_near_single_precision(compose: Compose, tiny: list[str]) -> None:
    runs = [run(compose(*FAST, *tiny, f"trainer.precision={name}")) for name in ("32-true", "64-true")]
    single, double = (history.read(made.record.metrics)[0]["train/loss"] for made in runs)
    assert single != double
    assert single == pytest.approx(double, rel=1e-3)


def test_the_learning_rate_recorded_is_the_one_the_epoch_was_run_with(compose: Compose, tiny: list[str]) -> None:
    halved_for_two_epochs = ["scheduler.factor=0.5", "scheduler.total_iters=2", "trainer.epochs=3"]
    outcome = run(compose(*FAST, *tiny, *halved_for_two_epochs, "optimizer.lr=0.08"))
    rates = [row["optimizer/lr"] for row in history.read(outcome.record.metrics)]
    assert rates == pytest.approx([0.04, 0.04, 0.08])


def test_a_failed_run_without_a_checkpoint_says_why_and_starts_again(
    compose: Compose, tiny: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose(*FAST, *tiny)

    def out_of_order(*_: object) -> None:
        raise RuntimeError("the machine is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(Task, "on_train_epoch_start", out_of_order)
        with pytest.raises(RuntimeError, match="on fire"):
            run(config)
    (record,) = Store(Path(config.paths.runs)).all()
    assert record.state() == State.FAILED
    assert "on fire" in record.failure.read_text()
    assert run(config).trained
    assert record.state() == State.FINISHED
    assert "no checkpoint to go on from" in capsys.readouterr().err
    (aside,) = record.folder.parent.glob("*.aside-*")
    assert aside.name == f"{record.id}.aside-1"
    assert "on fire" in (aside / "failure.json").read_text()


def test_a_training_that_failed_goes_on_and_ends_in_the_same_bits(
    compose: Compose,
    tiny_in: TinyIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    undisturbed = run(compose(*FAST, *tiny_in(tmp_path / "undisturbed", epochs=4)))
    config = compose(*FAST, *tiny_in(tmp_path / "runs", epochs=4))
    step = Task.training_step

    def fail(task: Task, *arguments: Any) -> Any:
        if task.current_epoch == 2:
            raise RuntimeError(f"try {len(tries)} is on fire")
        return step(task, *arguments)

    for tries in ([], [1]):
        with monkeypatch.context() as patch:
            patch.setattr(Task, "training_step", fail)
            with pytest.raises(RuntimeError, match="on fire"):
                run(config)
        (record,) = Store(Path(config.paths.runs)).all()
        assert record.state() == State.FAILED
        assert f"try {len(tries)} is on fire" in record.failure.read_text()
        assert [checkpoint.epoch for checkpoint in record.checkpoints.all()] == [1, 2]
    capsys.readouterr()
    outcome = run(config)
    assert capsys.readouterr().err == f"dlbench: record {record.id}: going on after epoch 2\n"
    assert same_bits(outcome, undisturbed)
    assert record.state() == State.FINISHED
    assert not record.failure.exists()
    assert not list(record.folder.parent.rglob("*.aside-*"))


def test_a_record_of_other_versions_is_used_with_a_warning_or_made_again(
    compose: Compose, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(compose(*FAST, *tiny))
    made_by(outcome.record, {"convnet": "1.9"})
    now = by_name()["convnet"].version
    capsys.readouterr()
    assert not run(compose(*FAST, *tiny)).trained
    assert capsys.readouterr().err.count(f"made by convnet 1.9, now {now}; rerun=outdated makes it again") == 1
    again = run(compose(*FAST, *tiny, "rerun=outdated"))
    assert again.trained
    assert again.result["metrics"] == outcome.result["metrics"]
    assert len(list(again.record.folder.parent.glob("*.aside-1"))) == 1
    assert not run(compose(*FAST, *tiny, "rerun=outdated")).trained


@pytest.mark.parametrize(("key", "value"), [("torch", "1.0.0"), ("limits", {"MKL_CBWR": "AVX"})])
def test_what_was_begun_on_other_numerics_starts_anew(  # noqa: PLR0917
    key: str, value: Any, finished: Outcome, compose: Compose, tiny_in: TinyIn, tmp_path: Path, capsys: Any
) -> None:
    record = copied(finished.record, tmp_path)
    record.training.unlink()  # as if interrupted after its last epoch
    change(record.manifest, numerics={**read_json(record.manifest)["numerics"], key: value})
    reseal(record)
    assert record.checkpoints.whole()
    again = run(compose(*FAST, *tiny_in(tmp_path)))
    aside = f"set aside as {record.id}.aside-1, training from the start"
    assert capsys.readouterr().err == f"dlbench: record {record.id}: it was begun on other numerics; {aside}\n"
    assert same_bits(again, finished)
    assert read_json(record.manifest)["numerics"] == read_json(finished.record.manifest)["numerics"]


@pytest.mark.parametrize("content", ["", "{", '{"schema": 99}', "[]"])
def test_damaged_closing_files_are_set_aside(content: str, compose: Compose, tiny: list[str]) -> None:
    config = compose(*FAST, *tiny, "trainer.epochs=1", "trainer.limit_train_batches=2")
    outcome = run(config)
    outcome.evaluation.result.write_text(content)
    evaluated = run(config)
    assert not evaluated.trained
    assert evaluated.result["metrics"] == outcome.result["metrics"]
    outcome.record.training.write_text(content)
    retrained = run(config)
    assert retrained.trained
    assert retrained.result["metrics"] == outcome.result["metrics"]
    aside = [path.name for path in outcome.record.folder.parent.rglob("*.aside-1")]
    assert len(aside) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.in_channels=1", "model: does not take"),
        ("model.classes=3", "model.classes=3: the data has 6 classes"),
        ("data.synthetic_sizes=[49,6,6]", "leave a batch of one"),
        ("scheduler.factor=7", "optimizer or scheduler: "),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    override: str, message: str, compose: Compose, tiny: list[str]
) -> None:
    config = compose(*FAST, *tiny, override)
    with pytest.raises(ConfigError, match=message):
        run(config)
    assert Store(Path(config.paths.runs)).all() == []


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_peak_memory_is_that_of_one_run_also_in_a_process_that_made_others() -> None:
    before = peak_memory_bytes()
    torch.ones(200_000_000, dtype=torch.uint8)
    assert peak_memory_bytes() > before + 100_000_000
    forget_peak_memory()
    assert peak_memory_bytes() < before + 100_000_000


def test_a_search_goes_by_a_metric_of_the_validation(compose: Compose, tiny: list[str]) -> None:
    assert run(compose(*FAST, *tiny)).objective == run(compose(*FAST, *tiny)).result["metrics"]["val/accuracy_best"]
    assert run(compose(*FAST, *tiny, "objective=val/loss")).objective < 100
    for name, problem in {
        "val/los": r"no such metric; did you mean val/loss",
        "test/loss": "choose by validation",
    }.items():
        with pytest.raises(ConfigError, match=rf"^objective={name}: {problem}"):
            run(compose(*FAST, *tiny, f"objective={name}"))
