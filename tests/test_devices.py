"""One training on several devices: of equal bits each time, with the mean of all gradients and an exact validation."""

import math
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from bits import ending, same_bits
from conftest import Compose, TinyIn
from diverging import loss_is_nan_from
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from processes import left, python, with_word
from torch import distributed
from torch.utils.data import DataLoader

from dlbench.callbacks.recorder import load
from dlbench.data.datamodule import Batches, Share
from dlbench.devices import check_shareable, group
from dlbench.errors import ConfigError, DeviceError
from dlbench.identity import configuration_id
from dlbench.records import history
from dlbench.records.files import read_json
from dlbench.records.store import State, Store
from dlbench.run import run
from dlbench.run.evaluation import read_weights
from dlbench.run.plan import build_task, prepare
from dlbench.sweep.job import Job
from dlbench.tasks.base import Task, read_metrics

Join = Callable[[], None]
CNN = ("+experiment=cnn_bn_gap", "evaluation.max_shift=0")
MLP = ("+experiment=kmnist_mlp", "optimizer=sgd", "data.batch_size=8", "model.hidden_dropout=[0,0]")
P2G = ("+experiment=p2g_attention", "data.batch_size=8", "model.size=16")


class Counted(Batches[int]):
    def draw(self, epoch: int) -> Sequence[int]:
        return [epoch + number for number in range(len(self))]


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(0, 3))
def test_devices_share_an_epoch_evenly_and_leave_nothing_out(size: int, batch: int, count: int, epoch: int) -> None:
    order = Counted(size, batch, seed=0)
    shares = [Share(order, rank, count) for rank in range(count)]
    for share in shares:
        share.set_epoch(epoch)
    drawn = [list(share) for share in shares]
    assert {len(each) for each in drawn} == {len(shares[0])} == {math.ceil(len(order) / count)}
    in_turns = [batch for step in zip(*drawn, strict=True) for batch in step]
    whole = list(order.draw(epoch))
    assert in_turns[: len(whole)] == whole
    assert set(in_turns[len(whole) :]) <= set(whole)


@pytest.mark.parametrize("experiment", [CNN, P2G], ids=["pictures", "words"])
def test_two_runs_on_two_devices_are_of_equal_bits_and_not_those_of_one(
    experiment: Sequence[str], compose: Compose, tiny_in: TinyIn, tmp_path: Path
) -> None:
    one, first, again = (
        run(compose(*experiment, *tiny_in(tmp_path / name), f"trainer.devices={devices}"))
        for name, devices in (("one", 1), ("first", 2), ("again", 2))
    )
    assert same_bits(again, first)
    assert again.record.id == first.record.id != one.record.id
    identities = [read_json(each.record.identity) for each in (one, first, again)]
    assert len(set(map(configuration_id, identities))) == 2
    steps = [history.read(each.record.metrics)[-1]["step"] for each in (one, first)]
    assert steps[0] == 2 * steps[1]


def test_a_step_takes_the_mean_gradient_of_a_batch_from_each_device(compose: Compose, tiny: list[str]) -> None:
    plan = prepare(compose(*MLP, *tiny, "trainer.epochs=1", "trainer.devices=3", "data.synthetic_sizes=[90,8,8]"))
    task = build_task(plan).train()
    optimizer = task.configure_optimizers()["optimizer"]
    batches = list(plan.data.train_dataloader())  # type: ignore[attr-defined]
    batches += batches[: -len(batches) % 3]
    losses = []
    for first in range(0, len(batches), 3):
        loss = torch.stack([task.loss(batch) for batch in batches[first : first + 3]]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    run(compose(*MLP, *tiny, "trainer.epochs=1", "trainer.devices=3", "data.synthetic_sizes=[90,8,8]"))
    got = read_weights(plan).last
    for name, value in task.state_dict().items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-6)
    (row,) = history.read(plan.record.metrics)
    assert row["train/loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert row["step"] == len(losses)


def test_two_devices_train_as_one_does_that_accumulates_two_batches(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path
) -> None:
    # Dropout drops the same: only the order of additions differs.
    ways = {"devices": "trainer.devices=2", "accumulate": "trainer.accumulate=2"}
    runs = {name: compose(*P2G, "optimizer=sgd", *tiny_in(tmp_path / name), way) for name, way in ways.items()}
    curves = {name: history.read(run(config).record.metrics) for name, config in runs.items()}
    weights = {name: read_weights(prepare(config)).last for name, config in runs.items()}
    for name, value in weights["accumulate"].items():
        torch.testing.assert_close(weights["devices"][name], value, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(curves["devices"], curves["accumulate"], strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["train/loss"] == pytest.approx(theirs["train/loss"], rel=1e-5)


@pytest.mark.parametrize("experiment", [CNN, P2G], ids=["pictures", "words"])
def test_what_is_validated_is_the_whole_split_once(
    experiment: Sequence[str], compose: Compose, tiny_in: TinyIn, tmp_path: Path
) -> None:
    # A split that neither devices nor batches divide.
    overrides = [*experiment, *tiny_in(tmp_path, sizes=(48, 23, 8)), "data.eval_batch_size=5", "trainer.devices=3"]
    outcome, plan = run(compose(*overrides)), prepare(compose(*overrides))
    task = build_task(plan)
    task.load_state_dict(read_weights(plan).last)
    trainer = plan.settings.trainer(tmp_path, False, [])
    trainer.validate(task, plan.data, verbose=False)  # type: ignore[arg-type]
    alone, last = read_metrics(trainer), history.read(outcome.record.metrics)[-1]
    assert "val/loss" in alone
    assert {name: last[name] for name in alone} == alone


def test_a_loss_that_is_lost_on_one_device_ends_the_run_as_diverged(compose: Compose, tiny: list[str]) -> None:
    with loss_is_nan_from(4):  # here alone: the other device's process has its own code
        outcome = run(compose(*CNN, *tiny, "trainer.devices=2"))
    assert (outcome.result["state"], outcome.result["step"]) == (State.DIVERGED, 4)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_device_that_dies_leaves_no_process_and_the_run_goes_on_in_the_same_bits(
    rank: int, compose: Compose, tiny_in: TinyIn, tmp_path: Path
) -> None:
    def overrides(runs: str, once: str) -> list[str]:
        deadly = f"+callbacks.own={{_target_: own_callbacks.Deadly, seed: 42, rank: {rank}, once: {tmp_path / once}}}"
        return [*CNN, *tiny_in(tmp_path / runs, epochs=3), "trainer.devices=3", deadly]

    (tmp_path / "dead").touch()
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ended = python("-m", "dlbench", *overrides("killed", "died"), environment=path)
    if rank:
        assert ended.returncode == 1
        assert "the process of device 1 was killed; is there enough memory? The same command goes on" in ended.stderr
        assert len([line for line in ended.stderr.splitlines() if line.startswith("dlbench: ")]) == 1
    else:
        assert ended.returncode == -signal.SIGKILL
    assert not left(lambda: with_word(str(tmp_path)))
    (record,) = Store(tmp_path / "killed").all()
    assert record.state() == State.INTERRUPTED
    assert python("-m", "dlbench", *overrides("killed", "died"), environment=path).returncode == 0
    run(compose(*overrides("whole", "died")))
    (whole,) = Store(tmp_path / "whole").all()
    assert ending(record)[:3] == ending(whole)[:3]


def test_ctrl_c_ends_all_devices_and_the_run_goes_on(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(*CNN, *tiny_in(tmp_path / "ended", epochs=3), "trainer.devices=2")
    epochs: list[int] = []

    def on_train_epoch_start(*_: Any) -> None:
        epochs.append(len(epochs))
        if len(epochs) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pl.Callback, "on_train_epoch_start", on_train_epoch_start)
        run(config)
    assert not distributed.is_initialized()
    whole = run(compose(*CNN, *tiny_in(tmp_path / "whole", epochs=3), "trainer.devices=2"))
    assert same_bits(run(config), whole)


def _fails(join: Join, rank: int) -> None:
    raise ValueError("no luck")


def _leaves(join: Join, rank: int) -> None:
    join()
    if rank == 2:
        os._exit(3)
    distributed.barrier()


@pytest.mark.parametrize(
    ("follow", "said"),
    [(_fails, r"device 1 failed \(ValueError: no luck\)"), (_leaves, "device 2 ended with code 3; the same command")],
)
def test_what_became_of_a_device_is_told_in_a_line(follow: Callable[..., None], said: str) -> None:
    with pytest.raises(DeviceError, match=f"^trainer.devices=3: the process of {said}"), group("cpu", 3, follow):
        distributed.barrier()
    assert not distributed.is_initialized()


def _tidy(join: Join, rank: int, folder: Path, times: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder):
        join()
        for _ in range(times):
            distributed.barrier()


@pytest.mark.parametrize("times", [1, 2], ids=["at the end", "left alone"])
def test_further_devices_clear_up_after_themselves(times: int, tmp_path: Path) -> None:
    with group("cpu", 3, _tidy, tmp_path, times):
        assert len(list(tmp_path.iterdir())) == 2
        distributed.barrier()
    assert list(tmp_path.iterdir()) == []


def test_batches_that_cannot_be_shared_are_refused(compose: Compose, tiny: list[str]) -> None:
    plan = prepare(compose(*CNN, *tiny))
    loader = plan.data.train_dataloader()  # type: ignore[attr-defined]
    plan.data.train_dataloader = lambda: DataLoader(loader.dataset)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"trainer\.devices=2: Intel\w* has no shuffled batches to share"):
        check_shareable(plan.data, 2)


def test_what_goes_wrong_in_the_first_device_is_not_laid_to_another() -> None:
    with pytest.raises(ZeroDivisionError), group("cpu", 2, _leaves):
        _ = 1 / 0


def test_a_checkpoint_that_does_not_fit_is_set_aside_and_the_one_before_goes_on(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path
) -> None:
    overrides = [*CNN, "trainer.devices=2"]
    whole = run(compose(*overrides, *tiny_in(tmp_path / "whole", epochs=3)))
    config = compose(*overrides, *tiny_in(tmp_path / "spoiled", epochs=3))
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "on_train_epoch_start", _interrupt_the_third(Task.on_train_epoch_start))
        run(config)
    (record,) = Store(tmp_path / "spoiled").all()
    newest = record.checkpoints.whole()[-1]
    content = load(newest)
    name, weights = next(iter(content["state_dict"].items()))
    content["state_dict"][name] = weights[:1].clone()
    newest.path.unlink()
    record.checkpoints.save(newest.epoch, lambda path: torch.save(content, path))
    assert same_bits(run(config), whole)
    assert len(list(record.checkpoints.folder.glob("*.aside-*"))) == 1


def _interrupt_the_third(original: Callable[[Task], None]) -> Callable[[Task], None]:
    def on_train_epoch_start(task: Task) -> None:
        if task.current_epoch == 2:
            raise KeyboardInterrupt
        original(task)

    return on_train_epoch_start


def test_a_folder_for_temporary_files_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "ä b%20c").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with group("cpu", 2, _tidy, tmp_path, 1):
        assert list(folder.iterdir())
        distributed.barrier()


def test_odd_numbers_of_devices_are_refused(compose: Compose, tiny: list[str]) -> None:
    for devices in (0, -1, 1.5):
        with pytest.raises(ConfigError, match=r"trainer\.devices"):
            run(compose(*CNN, *tiny, f"trainer.devices={devices}"))
    retrieval = compose("+experiment=hopfield_retrieval", *tiny[2:4], tiny[-1], "trainer.devices=2")
    with pytest.raises(ConfigError, match=r"trainer\.devices=2: \w+ does not take gradient steps"):
        run(retrieval)


def test_a_sweep_counts_a_core_for_each_thread_of_each_device(compose: Compose, tiny: list[str]) -> None:
    config = OmegaConf.to_container(compose(*CNN, *tiny, "trainer.devices=2", "trainer.threads=3"), resolve=True)
    assert Job.of(0, [], config).threads == 6  # type: ignore[arg-type]
