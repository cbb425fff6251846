"""What a run leaves in its event files: settings beside the real final metrics, once; read by TensorBoard itself."""

import shutil
from pathlib import Path

import pytest
from board import Board, accumulated, measured
from conftest import Compose, TinyIn
from diverging import loss_is_nan_from
from resealed import copied
from tensorboard.plugins.hparams import api_pb2

from dlbench.records import seal
from dlbench.records.store import Record
from dlbench.run import Outcome, run
from dlbench.tensorboard import events

FAST = ("+experiment=cnn_bn_gap", "evaluation.max_shift=1")


@pytest.fixture(scope="module")
def finished(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run evaluated twice, and once more after its result was damaged."""
    overrides = [*FAST, *tiny_in(tmp_path_factory.mktemp("finished"))]
    first = run(compose(*overrides))
    assert run(compose(*overrides, "evaluation.max_shift=0")).evaluation.id != first.evaluation.id
    first.evaluation.result.write_text("damaged")
    again = run(compose(*overrides))
    assert not again.trained
    return again


@pytest.fixture(scope="module")
def diverged(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run whose loss is NaN in its second epoch."""
    with loss_is_nan_from(step=8):
        return run(compose(*FAST, *tiny_in(tmp_path_factory.mktemp("diverged")), "model.classes=null"))


def test_hparams_show_settings_beside_the_real_final_metrics(finished: Outcome) -> None:
    ((settings, metrics, status),) = Board(finished.record.folder).hparams().values()
    assert status == api_pb2.STATUS_SUCCESS
    expected = {"experiment": "cnn_bn_gap", "data": "synthetic data", "state": "finished", "seed": 42.0}
    expected |= {"optimizer": "sgd", "optimizer.lr": 0.01, "data.layout": "chw", "data.batch_size": 8.0}
    expected |= {"model.gap": True, "model.hidden_bn": "[true, false]", "model.parameters": 755718.0}
    expected |= {"trainer.epochs": 2.0, "trainer.precision": "32-true", "trainer.threads": 1.0}
    assert expected.items() <= settings.items()
    recorded = measured(finished.result["metrics"])
    assert {"test/accuracy", "test/loss", "val/accuracy", "val/accuracy_best", "train/loss"} <= recorded.keys()
    assert "val/accuracy_last10_mean" in recorded
    assert {name: metrics[name] for name in recorded} == pytest.approx(recorded, rel=1e-6)
    assert -1 not in metrics.values()


def test_metrics_of_an_earlier_evaluation_stay(finished: Outcome, compose: Compose, tiny_in: TinyIn) -> None:
    overrides = [*FAST, *tiny_in(finished.record.folder.parent), "evaluation.max_shift=0"]
    other = run(compose(*overrides)).evaluation.folder
    shutil.rmtree(other)
    assert "test/accuracy_shift_1" not in run(compose(*overrides)).result["metrics"]
    ((_, metrics, _),) = Board(finished.record.folder).hparams().values()
    assert metrics["test/accuracy_shift_1"] == pytest.approx(finished.result["metrics"]["test/accuracy_shift_1"])


def test_nothing_is_there_twice_however_often_a_run_is_evaluated(finished: Outcome) -> None:
    found = accumulated(finished.record.tensorboard)
    for tag in found.Tags()["scalars"]:
        assert [event.step for event in found.Scalars(tag)] in ([2], [1, 2]), tag
    assert set(found.Tags()["tensors"]) == {"_hparams_/session_start_info", "_hparams_/session_end_info", "run"}
    assert all(len(found.Tensors(tag)) == 1 for tag in found.Tags()["tensors"])


def test_the_description_says_that_data_is_synthetic(finished: Outcome) -> None:
    (text,) = accumulated(finished.record.tensorboard).Tensors("run")
    (table,) = text.tensor_proto.string_val
    assert "**synthetic data**: 48 train, 24 val, 24 test" in table.decode()
    assert f"| run | {finished.record.id} |" in table.decode()


def test_a_diverged_run_is_shown_with_the_metrics_it_has(diverged: Outcome) -> None:
    assert diverged.result["state"] == "diverged"
    ((settings, metrics, status),) = Board(diverged.record.folder).hparams().values()
    assert status == api_pb2.STATUS_FAILURE
    assert settings["state"] == "diverged"
    assert "model.classes" not in settings
    assert metrics["val/accuracy"] == pytest.approx(diverged.result["metrics"]["val/accuracy"])
    assert "test/accuracy" not in metrics


def test_a_training_that_goes_on_forgets_its_final_metrics(finished: Outcome, tmp_path: Path) -> None:
    record = copied(finished.record, tmp_path)
    for _ in range(2):
        events.discard_final(record)
        assert "test/accuracy" not in accumulated(record.tensorboard).Tags()["scalars"]
        assert Board(record.folder).hparams() == {}


# --- decodings -------------------------------------------------------------------------------------------------------


def test_every_decoding_of_a_training_is_a_row_with_its_own_metrics(decoded: Record) -> None:
    rows = Board(decoded.folder).hparams()
    assert rows.keys() == {f"evaluations/{evaluation.id}" for evaluation in decoded.evaluations()}
    by_decoding = {settings["decoding"]: (settings, status) for settings, _, status in rows.values()}
    assert by_decoding.keys() == {"greedy", "nucleus", "beam"}
    for settings, status in by_decoding.values():
        assert status == api_pb2.STATUS_SUCCESS
        assert (settings["model.attention"], settings["model.attention.layer_norm"]) == ("bahdanau", False)
        assert settings["evaluation.checkpoint"] == "best"
        assert (settings["trainer.precision"], settings["experiment"]) == ("32-true", "p2g_attention")
    assert by_decoding["beam"][0]["decoding.width"] == 5
    assert by_decoding["nucleus"][0]["decoding.p"] == 0.8
    for evaluation in decoded.evaluations():
        _, metrics, _ = rows[f"evaluations/{evaluation.id}"]
        recorded = measured(seal.read(evaluation.result)["metrics"])
        assert {"test/cer", "test/wer", "test/error_rate_macro", "val/cer", "val/cer_best"} <= recorded.keys()
        assert metrics == pytest.approx(recorded, rel=1e-6)


def test_a_decoding_made_again_replaces_its_own_row_alone(decoded: Record, tmp_path: Path) -> None:
    record = copied(decoded, tmp_path)
    before = Board(record.folder).hparams()
    events.discard_final(record)
    assert Board(record.folder).hparams() == {}
    newest = seal.read(record.evaluations()[1].result)
    for _ in range(2):
        events.write_final(record, newest)
        assert Board(record.folder).hparams() == before
    changed = newest | {"metrics": newest["metrics"] | {"test/cer": 7.0}}
    events.write_final(record, changed)
    after = Board(record.folder).hparams()
    (name,) = [name for name in before if before[name] != after[name]]
    assert name == f"evaluations/{newest['evaluation']}"
    assert after[name][1] == before[name][1] | {"test/cer": 7.0}
