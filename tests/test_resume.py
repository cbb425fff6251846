"""Killed at any moment and started again, a run ends in the same bits; two starts at once make one run."""

import json
import resource
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from bits import same_bits
from board import accumulated
from conftest import QUICK_EPOCHS, Compose, TinyIn
from processes import Forked, next_epoch, python
from resealed import copied

from dlbench.callbacks.recorder import EpochRecorder
from dlbench.files import digest
from dlbench.records import history, seal
from dlbench.records.checkpoints import Checkpoint
from dlbench.records.store import Record, State, Store
from dlbench.run import Outcome, run


@pytest.fixture
def overrides(quick: TinyIn, tmp_path: Path) -> list[str]:
    """The command line of `quick`, recorded in the test's own folder, which is ``tmp_path``."""
    return quick(tmp_path)


def killed(moment: Sequence[str], overrides: list[str], runs: Path) -> Record:
    """A record whose maker was killed at a moment, as die_at.py takes it."""
    process = python(str(Path(__file__).with_name("die_at.py")), *moment, *overrides)
    assert process.returncode == -signal.SIGKILL, process.stderr
    (made,) = Store(runs).all()
    return made


@pytest.fixture(scope="module")
def killed_once(quick: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Record:
    runs = tmp_path_factory.mktemp("killed")
    return killed(("dlbench.tasks.base:Task.training_step", "20", "before"), quick(runs), runs)


@pytest.fixture
def half(killed_once: Record, tmp_path: Path) -> Record:
    """A record in the test's own folder whose maker was killed after some checkpoints."""
    return copied(killed_once, tmp_path)


@pytest.fixture
def whole(undisturbed: Outcome, tmp_path: Path) -> Record:
    """The record of the undisturbed run in the test's own folder."""
    return copied(undisturbed.record, tmp_path)


def steps(record: Record, name: str) -> list[int]:
    return [event.step for event in accumulated(record.tensorboard).Scalars(name)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(("dlbench.tasks.base:Task.training_step", "2", "before"), id="before any checkpoint"),
        pytest.param(("dlbench.tasks.base:Task.training_step", "15", "after"), id="within the third epoch"),
        pytest.param(("dlbench.records.history:append", "2", "after"), id="between curve and checkpoint"),
        pytest.param(("os:fsync", "4", "before"), id="while a checkpoint is written"),
        pytest.param(
            ("dlbench.records.checkpoints:CheckpointFolder.save", str(QUICK_EPOCHS), "after"), id="before the closing"
        ),
        pytest.param(("dlbench.records.seal:close", "1", "after"), id="before the evaluation"),
        pytest.param(("torch:load", "1", "after"), id="within the evaluation"),
    ],
)
def test_a_killed_run_ends_in_the_same_bits(
    moment: tuple[str, str, str], undisturbed: Outcome, compose: Compose, overrides: list[str], tmp_path: Path
) -> None:
    record = killed(moment, overrides, tmp_path)
    assert not record.training.exists() or record.state() == State.FINISHED
    assert record.evaluations() == []
    outcome = run(compose(*overrides))
    assert outcome.record == record
    assert same_bits(outcome, undisturbed)
    assert steps(record, "val/accuracy") == [*range(1, QUICK_EPOCHS + 1)]
    assert seal.read(record.training)["epochs"] == QUICK_EPOCHS


@pytest.mark.slow
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(
    undisturbed: Outcome,
    compose: Compose,
    overrides: list[str],
    half: Record,
    capsys: pytest.CaptureFixture[str],
) -> None:
    *_, earlier, newest = half.checkpoints.all()
    content = bytearray(newest.path.read_bytes())
    content[len(content) // 2] ^= 1
    newest.path.write_bytes(content)
    outcome = run(compose(*overrides))
    assert f"going on after epoch {earlier.epoch}" in capsys.readouterr().err
    assert same_bits(outcome, undisturbed)
    aside = newest.path.with_name(newest.path.name + ".aside-1")
    assert aside.read_bytes() == bytes(content)
    assert steps(half, "train/loss") == [*range(1, QUICK_EPOCHS + 1)]


class Planted:
    """What leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def rename_weights(content: dict[str, Any]) -> None:
    content["state_dict"] = {f"{name}x": value for name, value in content["state_dict"].items()}


def reshape_weights(content: dict[str, Any]) -> None:
    content["state_dict"] = {name: value[None] for name, value in content["state_dict"].items()}


def shrink_optimizer(content: dict[str, Any]) -> None:
    content["optimizer_states"][0]["param_groups"][0]["params"] = [0]


CONTENTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "other names": rename_weights,
    "other shapes": reshape_weights,
    "weights that are none": lambda content: content.update(state_dict={"a": "b"}),
    "no weights": lambda content: content.pop("state_dict"),
    "no optimiser": lambda content: content.pop("optimizer_states"),
    "an empty optimiser": lambda content: content.update(optimizer_states=[{}]),
    "an optimiser of fewer weights": shrink_optimizer,
    "no schedule": lambda content: content.pop("lr_schedulers"),
    "no loops": lambda content: content.pop("loops"),
    "no recorder": lambda content: content["callbacks"].clear(),
    "a recorder of other types": lambda content: content["callbacks"]["EpochRecorder"].update(best_epoch="1"),
    "no running mean": lambda content: content.pop("training_loss"),
    "another type": lambda content: [1, 2],
}


def forge(checkpoint: Checkpoint, told: Callable[[dict[str, Any]], Any], mark: Path) -> Path:
    """Give a checkpoint another content, and the name that goes with it."""
    content = torch.load(checkpoint.path, weights_only=True)
    other = told(content)
    torch.save(Planted(mark) if other is mark else other if isinstance(other, list) else content, checkpoint.path)
    name = f"epoch-{checkpoint.epoch:04d}.{digest(checkpoint.path)[:16]}.ckpt"
    return checkpoint.path.rename(checkpoint.path.with_name(name))


@pytest.mark.slow
def test_a_checkpoint_of_other_content_is_named_in_a_line_and_the_one_before_it_used(  # noqa: PLR0917
    undisturbed: Outcome,
    compose: Compose,
    quick: TinyIn,
    killed_once: Record,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mark = tmp_path / "mark"
    for number, (name, told) in enumerate({**CONTENTS, "code": lambda content: mark}.items()):
        runs = tmp_path / f"forged{number}"
        forged = forge(copied(killed_once, runs).checkpoints.all()[-1], told, mark)
        outcome = run(compose(*quick(runs)))
        said = [line for line in capsys.readouterr().err.splitlines() if str(forged) in line]
        assert len(said) == 1 and said[0].endswith(f"set aside as {forged.name}.aside-1"), name
        assert same_bits(outcome, undisturbed), name
        assert not mark.exists()
        outcome.record.read(whole=True)


@pytest.mark.slow
def test_a_finished_runs_checkpoint_of_other_content_is_trained_again(
    undisturbed: Outcome, compose: Compose, overrides: list[str], whole: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    for told in (rename_weights, reshape_weights, CONTENTS["another type"]):
        forged = forge(whole.checkpoints.all()[-1], told, whole.folder)
        shutil.rmtree(whole.folder / "evaluations")
        assert same_bits(run(compose(*overrides)), undisturbed)
        assert f"{forged}: " in capsys.readouterr().err


@pytest.mark.slow
def test_a_gap_in_the_curves_is_trained_again(
    undisturbed: Outcome, compose: Compose, overrides: list[str], half: Record
) -> None:
    first, _, *rest = half.metrics.read_text().splitlines(keepends=True)
    half.metrics.write_text("".join([first, *rest]))
    outcome = run(compose(*overrides))
    assert same_bits(outcome, undisturbed)
    assert steps(half, "val/accuracy") == [*range(1, QUICK_EPOCHS + 1)]


@pytest.mark.slow
def test_changed_curves_are_never_gone_on_from(
    undisturbed: Outcome, compose: Compose, overrides: list[str], half: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *rest = history.read(half.metrics)
    changed = [{**first, "val/loss": first["val/loss"] + 1e-6}, *rest]
    half.metrics.write_text("".join(json.dumps(row) + "\n" for row in changed))
    outcome = run(compose(*overrides))
    assert "no checkpoint to go on from; set aside" in capsys.readouterr().err
    assert same_bits(outcome, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["identity.json", "config.yaml", "manifest.json"])
def test_a_damaged_description_of_a_killed_run_is_not_carried_along(
    name: str, undisturbed: Outcome, compose: Compose, overrides: list[str], half: Record
) -> None:
    before = (half.folder / name).read_bytes()
    (half.folder / name).write_text("{")
    outcome = run(compose(*overrides))
    assert same_bits(outcome, undisturbed)
    half.read(whole=True)
    if name != "manifest.json":
        assert (half.folder / name).read_bytes() == before


@pytest.mark.slow
def test_checkpoints_damaged_after_the_end_are_trained_again(
    undisturbed: Outcome, compose: Compose, overrides: list[str], whole: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    for checkpoint in whole.checkpoints.all():
        checkpoint.path.write_bytes(b"damaged")
    outcome = run(compose(*overrides, "evaluation.max_shift=2"))
    assert outcome.trained
    assert "a checkpoint is damaged or missing; training what is lost" in capsys.readouterr().err
    assert same_bits(run(compose(*overrides)), undisturbed)


def no_file_beyond_a_hundred_kilobytes() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def little_memory() -> None:
    """Thirty megabytes more than the modules have taken."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + 30_000_000
    resource.setrlimit(resource.RLIMIT_AS, (taken, taken))


@pytest.mark.slow
@pytest.mark.parametrize("before", [no_file_beyond_a_hundred_kilobytes, little_memory])
def test_where_room_or_memory_ends_is_one_line(before: Callable[[], None], quick: TinyIn, tmp_path: Path) -> None:
    process = Forked("-m", "dlbench", *quick(tmp_path), before=before)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if not line.startswith(("epoch ", "dlbench: no "))]
    assert len(lines) == 1, errors
    assert lines[0].startswith(("dlbench: cannot write", "dlbench: cannot read or write", "dlbench: out of memory"))


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError(5, "Input/output error"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_a_whole_checkpoint_is_kept_where_reading_it_fails(  # noqa: PLR0917
    error: Exception,
    undisturbed: Outcome,
    compose: Compose,
    overrides: list[str],
    whole: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is wrong then is the machine, not the file."""
    whole.training.unlink()
    before = [checkpoint.path for checkpoint in whole.checkpoints.all()]

    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "load", failing)
    with pytest.raises(type(error)):
        run(compose(*overrides))
    assert [checkpoint.path for checkpoint in whole.checkpoints.all()] == before
    monkeypatch.undo()
    assert same_bits(run(compose(*overrides)), undisturbed)


def test_a_checkpoint_is_kept_where_writing_the_next_one_fails(
    undisturbed: Outcome, compose: Compose, overrides: list[str], half: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [checkpoint.path for checkpoint in half.checkpoints.all()]

    def failing(*_: object) -> None:
        raise RuntimeError("cannot be saved")

    monkeypatch.setattr(EpochRecorder, "state_dict", failing)
    with pytest.raises(RuntimeError, match="cannot be saved"):
        run(compose(*overrides))
    monkeypatch.undo()
    assert {*before} >= {checkpoint.path for checkpoint in half.checkpoints.all()}
    assert not list(half.folder.rglob("*.aside-*"))
    assert same_bits(run(compose(*overrides)), undisturbed)


def no_file_beyond_two_megabytes() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))


@pytest.mark.slow
def test_a_full_disk_is_named_and_loses_nothing(
    undisturbed: Outcome, compose: Compose, overrides: list[str], tmp_path: Path
) -> None:
    process = Forked("-m", "dlbench", *overrides, before=no_file_beyond_two_megabytes)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert errors.startswith("dlbench: cannot write ")
    (record,) = Store(tmp_path).all()
    assert record.state() == State.INTERRUPTED
    assert record.checkpoints.all() == []
    assert not list(record.folder.rglob("*.tmp"))
    assert same_bits(run(compose(*overrides)), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_ends_in_a_line_and_the_run_goes_on(
    name: str, undisturbed: Outcome, compose: Compose, overrides: list[str]
) -> None:
    process = Forked("-m", "dlbench", *overrides)
    assert next_epoch(process.stdout)
    process.send_signal(signal.Signals[name])
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "dlbench: interrupted; the same command goes on where it was\n"
    assert same_bits(run(compose(*overrides)), undisturbed)


@pytest.mark.slow
def test_two_starts_at_once_make_one_run(undisturbed: Outcome, overrides: list[str], tmp_path: Path) -> None:
    starts = [Forked("-m", "dlbench", *overrides) for _ in range(2)]
    outputs = [process.communicate() for process in starts]
    assert [process.returncode for process in starts] == [0, 0], outputs
    epochs = sorted(output.count(f"/{QUICK_EPOCHS}  val/") for output, _ in outputs)
    assert epochs == [0, QUICK_EPOCHS]
    (record,) = Store(tmp_path).all()
    assert seal.read(record.training)["weights"] == seal.read(undisturbed.record.training)["weights"]
