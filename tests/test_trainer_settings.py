"""What Lightning users expect of a trainer: clipping, accumulation, early stopping, 16 bits, compiled, profiled."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from bits import same_bits
from conftest import Compose, TinyIn
from pytorch_lightning.plugins import MixedPrecision
from test_resume import killed
from torch import nn

from dlbench.errors import ConfigError
from dlbench.records import history, seal
from dlbench.run import run
from dlbench.run.evaluation import read_weights
from dlbench.run.plan import Plan, build_task, prepare
from dlbench.run.training import train
from dlbench.trainer import TrainerSettings, weights_hash

PLAIN = ("+experiment=kmnist_mlp", "optimizer=sgd", "evaluation.rotations=[]", "evaluation.scales=[]")


@pytest.fixture
def plan_of(compose: Compose, tiny_in: TinyIn, tmp_path: Path) -> Callable[..., Plan]:
    """The plan of a small run without dropout and batch normalisation, in a folder of its own."""

    def made(*overrides: str, epochs: int = 1) -> Plan:
        return prepare(compose(*PLAIN, *tiny_in(tmp_path, epochs=epochs), "model.hidden_dropout=[0,0]", *overrides))

    return made


def trained(plan: Plan) -> dict[str, torch.Tensor]:
    """The network's weights after a training, by name."""
    train(plan)
    return {name.removeprefix("model."): value for name, value in read_weights(plan).last.items()}


# --- accumulation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accumulate", "steps"), [(2, 3), (4, 2)], ids=["in pairs", "two batches left at the end"])
def test_batches_of_one_step_are_one_large_batch(plan_of: Callable[..., Plan], accumulate: int, steps: int) -> None:
    double = ("trainer.precision=64-true", "optimizer.lr=0.5")
    parts = plan_of(*double, "data.batch_size=8", f"trainer.accumulate={accumulate}", epochs=2)
    whole = plan_of(*double, f"data.batch_size={8 * accumulate}", epochs=2)
    plain = plan_of(*double, "data.batch_size=8", epochs=2)
    assert len({plan.record.id for plan in (parts, whole, plain)}) == 3
    found, expected, other = trained(parts), trained(whole), trained(plain)
    assert seal.read(parts.record.training)["steps"] == seal.read(whole.record.training)["steps"] == 2 * steps
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-12)
    name = next(iter(found))
    assert not torch.allclose(found[name], other[name])


def test_each_batch_of_a_step_has_a_random_stream_of_its_own_and_the_first_that_of_the_step(
    plan_of: Callable[..., Plan],
) -> None:
    task = build_task(plan_of())

    def drawn(accumulate: int, batch: int) -> float:
        task.accumulate = accumulate
        task.on_train_batch_start(None, batch)
        return torch.rand(()).item()

    assert drawn(2, 0) == drawn(2, 2) == drawn(1, 0) == drawn(1, 1)  # of one step
    assert drawn(2, 1) == drawn(2, 3) != drawn(2, 0)


# --- clipping ---------------------------------------------------------------------------------------------------------


def test_a_clipped_step_is_as_long_as_the_largest_norm_allows(plan_of: Callable[..., Plan]) -> None:
    one_step = ("trainer.limit_train_batches=1", "optimizer.lr=0.5", "trainer.precision=64-true")
    lengths = []
    for clip in ("null", "0.125", "1e6"):
        plan = plan_of(*one_step, f"trainer.gradient_clip={clip}")
        before = {name: value.double() for name, value in build_task(plan).model.state_dict().items()}
        changes = [(trained(plan)[name] - value).flatten() for name, value in before.items()]
        lengths.append(torch.cat(changes).norm().item())
    assert lengths[1] == pytest.approx(0.5 * 0.125, rel=1e-5)
    assert lengths[0] == lengths[2] > 2 * lengths[1]


# --- early stopping ---------------------------------------------------------------------------------------------------


def test_a_training_ends_after_so_many_epochs_without_a_better_metric(
    compose: Compose, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    still = (*PLAIN, *tiny, "trainer.epochs=9", "optimizer.lr=1e-12")  # nothing gets better
    outcome = run(compose(*still, "trainer.early_stopping=2"))
    closed = outcome.record.closed()
    assert (closed["state"], closed["epochs"], closed["best_epoch"]) == ("finished", 3, 1)
    assert [row["epoch"] for row in history.read(outcome.record.metrics)] == [1, 2, 3]
    assert [each.epoch for each in outcome.record.checkpoints.all()] == [1, 3]
    assert outcome.result["metrics"]["val/best_epoch"] == 1
    assert "test/accuracy_best_val" in outcome.result["metrics"]
    assert "early stopping: ended after epoch 3 of " in capsys.readouterr().err
    outcome.record.read(whole=True)
    assert not run(compose(*still, "trainer.early_stopping=2")).trained


def test_it_goes_by_another_metric_in_its_own_direction(compose: Compose, tiny: list[str]) -> None:
    rising = (*PLAIN, *tiny, "trainer.epochs=4", "optimizer.lr=0.05", "trainer.early_stopping=1")
    record = run(compose(*rising, "trainer.early_stopping_metric=val/loss")).record
    losses = [row["val/loss"] for row in history.read(record.metrics)]
    better = [later < min(losses[: place + 1]) for place, later in enumerate(losses[1:])]
    assert all(better[:-1])
    assert len(losses) == 4 or not better[-1]
    assert len(losses) > 2  # it falls at first; were it taken for an accuracy, the second epoch would be the last


# --- one line ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["trainer.gradient_clip=0"], r"trainer.gradient_clip=0: .*greater than 0"),
        (["trainer.accumulate=0"], r"trainer.accumulate=0: .*greater than 0"),
        (["trainer.early_stopping=0"], r"trainer.early_stopping=0: .*greater than 0"),
        (["trainer.early_stopping_metric=val/loss"], r"trainer: early_stopping_metric=val/loss does nothing without"),
        (
            ["trainer.early_stopping=1", "trainer.early_stopping_metric=a/b"],
            "early_stopping_metric=a/b: no metric of which it is known",
        ),
        (
            ["trainer.early_stopping=1", "trainer.early_stopping_metric=val/los_loss"],
            "no such metric; did you mean val/l",
        ),
        (
            ["trainer.precision=16-mixed"],
            r"trainer.precision=16-mixed: needs a CUDA GPU, but this run is on cpu; choose",
        ),
        (["trainer.profiler=line"], r"trainer.profiler='line': .*'simple', 'advanced' or 'pytorch'"),
        (
            ["+experiment=hopfield_retrieval", "trainer.accumulate=2"],
            "trainer.accumulate=2: PictureRetrieval does not take gradient steps",
        ),
        (["+experiment=hopfield_retrieval", "trainer.gradient_clip=1"], "trainer.gradient_clip=1: PictureRetrieval"),
        (
            ["+experiment=hopfield_retrieval", "trainer.compile=true"],
            "trainer.compile=True: PictureRetrieval does not take gradient steps",
        ),
    ],
)
def test_what_cannot_be_is_named(compose: Compose, tiny: list[str], overrides: list[str], problem: str) -> None:
    experiment = () if "experiment" in overrides[0] else PLAIN
    with pytest.raises(ConfigError, match=problem) as raised:
        run(compose(*experiment, *overrides[:1], *tiny, *overrides[1:]))
    assert "\n" not in str(raised.value)


# --- 16 bits ----------------------------------------------------------------------------------------------------------


class Saved(pl.Callback):
    """A checkpoint after each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save."""
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_scale_of_the_loss_goes_on_from_a_checkpoint_and_gradients_are_clipped(
    plan_of: Callable[..., Plan], tmp_path: Path, optimizer: str
) -> None:
    """A CPU computes in 16 bits too, slowly: the same plugin of Lightning's, with torch's scaler for CPUs."""
    plan = plan_of(f"optimizer={optimizer}", "trainer.gradient_clip=0.5", "data.batch_size=8", epochs=3)

    def fitted(folder: Path, checkpoint: Path | None) -> tuple[str, dict[str, Any]]:
        task = build_task(plan)
        trainer = plan.settings.trainer(tmp_path / "root", False, [Saved(folder)])
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=2)  # the first steps overflow
        plugin = MixedPrecision("16-mixed", "cpu", scaler)
        trainer.strategy.precision_plugin = plugin
        trainer.fit(task, plan.data, ckpt_path=checkpoint, weights_only=True)
        return weights_hash(task.model), plugin.state_dict()

    weights, scale = fitted(tmp_path / "whole", None)
    assert weights != weights_hash(build_task(plan).model)
    assert 1 < scale["scale"] < 2**24
    assert (weights, scale) == fitted(tmp_path / "again", tmp_path / "whole/0.ckpt")
    content = torch.load(tmp_path / "whole/0.ckpt", weights_only=True)
    content["MixedPrecision"]["scale"] = 2.0**40
    torch.save(content, tmp_path / "other.ckpt")
    assert fitted(tmp_path / "other", tmp_path / "other.ckpt")[0] != weights  # so it is the state that matters


# --- the profiler -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profiler", "told"), [("simple", "training_step"), ("advanced", "training_step"), ("pytorch", "aten::")]
)
def test_a_profile_lies_beside_the_record_and_changes_nothing(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path, profiler: str, told: str
) -> None:
    plain, profiled = (
        run(compose(*PLAIN, *tiny_in(tmp_path / kind, epochs=1), f"trainer.profiler={kind}"))
        for kind in ("null", profiler)
    )
    assert profiled.record.id == plain.record.id
    assert same_bits(profiled, plain)
    profiled.record.read(whole=True)
    reports = [*(tmp_path / profiler / ".profiles" / profiled.record.id).glob("fit-profile*.txt")]
    assert any(told in report.read_text() for report in reports)
    assert not (tmp_path / "null/.profiles").exists()
    files = [{path.name for path in each.record.folder.iterdir()} for each in (plain, profiled)]
    assert files[0] == files[1]


def test_a_profile_that_cannot_be_written_costs_a_line(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".profiles").write_text("a file", encoding="utf-8")
    outcome = run(compose(*PLAIN, *tiny_in(tmp_path, epochs=1), "trainer.profiler=simple"))
    assert outcome.result["state"] == "finished"
    assert re.search(
        r"^dlbench: trainer\.profiler=simple: .*; nothing is profiled$", capsys.readouterr().err, re.MULTILINE
    )


# --- compiled ---------------------------------------------------------------------------------------------------------

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")


@needs_compiler
def test_a_compiled_network_keeps_its_names_and_gives_what_it_gave(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    names, inputs = list(network.state_dict()), torch.rand(5, 3)
    expected, eager = network(inputs), torch._dynamo.utils.counters["stats"]["unique_graphs"]
    TrainerSettings(epochs=1).prepare_network(network)
    assert torch.equal(network(inputs), expected)  # not asked for
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == eager
    TrainerSettings(epochs=1, compile=True).prepare_network(network)
    torch.testing.assert_close(network(inputs), expected)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == eager + 1
    assert list(network.state_dict()) == names
    torch._dynamo.config.recompile_limit = 1
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        network(inputs[:4])  # never uncompiled without a word


# --- killed -----------------------------------------------------------------------------------------------------------

STEP, SAVE = "dlbench.tasks.base:Task.training_step", "dlbench.records.checkpoints:CheckpointFolder.save"
KILLED = {
    "clipped, within a step of several batches": (
        (STEP, "14", "after"),
        ("trainer.accumulate=4", "trainer.gradient_clip=0.3", "optimizer=adam", "data.batch_size=8"),
    ),
    "compiled, for batches of two shapes": ((STEP, "7", "after"), ("trainer.compile=true", "data.batch_size=20")),
    "stopping early": ((STEP, "15", "after"), ("trainer.early_stopping=2", "optimizer.lr=1e-12")),
    "stopped early, before the closing": ((SAVE, "3", "after"), ("trainer.early_stopping=2", "optimizer.lr=1e-12")),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[needs_compiler] if "compiled" in case else []) for case in KILLED]
)
def test_a_killed_run_ends_in_the_same_bits(case: str, compose: Compose, tiny_in: TinyIn, tmp_path: Path) -> None:
    moment, more = KILLED[case]
    parts = {name: [*PLAIN, *tiny_in(tmp_path / name, epochs=6), *more] for name in ("whole", "killed")}
    record = killed(moment, parts["killed"], tmp_path / "killed")
    assert record.checkpoints.all()
    whole, resumed = run(compose(*parts["whole"])), run(compose(*parts["killed"]))
    assert resumed.record == record
    assert same_bits(resumed, whole)
    for key in ("epochs", "best_epoch", "steps"):
        assert resumed.record.closed()[key] == whole.record.closed()[key]
