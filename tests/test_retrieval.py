"""Retrieval as an experiment: what is recorded, what the metrics mean, when networks fail, bad input."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from bits import rows, same_bits
from board import accumulated
from conftest import Compose, TinyIn
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from dlbench import commands
from dlbench.callbacks.recorder import load
from dlbench.config import check
from dlbench.data.image_datamodules import KmnistDataModule
from dlbench.errors import ConfigError
from dlbench.evaluation.images import queries_beside_patterns
from dlbench.models.hopfield import ClassicalHopfield, HopfieldNetwork, ModernHopfield
from dlbench.records.store import Record
from dlbench.records.summary import summarise
from dlbench.run import Outcome, run
from dlbench.tasks.retrieval import PictureRetrieval, RetrievalResult, corrupt, retrieve

EXPERIMENT = "+experiment=hopfield_retrieval"
PATTERNS, PIXELS = 20, 28 * 28
OWN = {"retrieval_accuracy", "nearest_before", "steps", "distance"}


@pytest.fixture(scope="module")
def overrides(tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small experiment on drawn glyphs, with pictures."""
    runs = tmp_path_factory.mktemp("retrieval") / "runs"
    small = ["data=kmnist", f"model.patterns={PATTERNS}", "task.amount=0.9", "callbacks.pictures.epochs=[1]"]
    return [EXPERIMENT, *tiny_in(runs, epochs=1), *small]


@pytest.fixture(scope="module")
def made(compose: Compose, overrides: list[str]) -> Outcome:
    return run(compose(*overrides))


def test_what_is_exported_holds_no_pictures(made: Outcome, tmp_path: Path) -> None:
    assert (made.evaluation.artifacts / "before_after.png").exists()
    assert (
        commands.call("records", ["export", str(tmp_path), made.record.id, "--runs", str(made.record.folder.parent)])
        == 0
    )
    (exported,) = Record(tmp_path / made.record.id).evaluations()
    assert "predictions.csv" in exported.outputs()
    assert not [name for name in exported.outputs() if name.endswith(".png")]
    assert not list(tmp_path.rglob("*.png"))


def test_it_is_recorded_like_any_run(made: Outcome) -> None:
    assert made.trained
    assert made.result["state"] == "finished"
    metrics = made.result["metrics"]
    summary = {"val/best_epoch", "val/retrieval_accuracy_best", "val/retrieval_accuracy_last10_mean"}
    assert metrics.keys() == {f"{split}/{name}" for split in ("val", "test") for name in OWN} | summary | {"model/load"}
    assert metrics["model/load"] == PATTERNS / PIXELS
    (line,) = summarise(made.record)
    assert line.problem is None
    assert (line.experiment, line.data) == ("hopfield_retrieval", "kmnist, synthetic")
    assert "lr" not in line.settings


def test_the_checkpoint_holds_the_first_pictures_of_the_epoch(made: Outcome) -> None:
    (checkpoint,) = made.record.checkpoints.whole()
    memory = load(checkpoint)["state_dict"]["model.memory"].flatten(1).double()
    data = KmnistDataModule(source="synthetic", synthetic_sizes=(48, 24, 24), batch_size=48, seed=42)
    pictures, _ = next(iter(data.train_dataloader()))
    raw = pictures[:PATTERNS].flatten(1).double()
    centred = raw - raw.mean(dim=1, keepdim=True)
    torch.testing.assert_close(memory, centred / centred.norm(dim=1, keepdim=True), atol=1e-6, rtol=0)


def test_metrics_are_those_of_the_predictions(made: Outcome) -> None:
    found = rows(made)
    assert [int(row["index"]) for row in found] == list(range(PATTERNS))
    metrics = made.result["metrics"]
    right = [
        row["nearest"] == row["index"] and float(row["distance"]) <= 0.3 and row["converged"] == "1" for row in found
    ]
    assert [row["retrieved"] == "1" for row in found] == right
    assert 0 < sum(right) < PATTERNS
    assert metrics["test/retrieval_accuracy"] == sum(right) / PATTERNS
    assert metrics["test/nearest_before"] == sum(row["nearest_before"] == row["index"] for row in found) / PATTERNS
    assert metrics["test/steps"] == pytest.approx(sum(int(row["steps"]) for row in found) / PATTERNS)
    assert metrics["test/distance"] == pytest.approx(sum(float(row["distance"]) for row in found) / PATTERNS, abs=1e-6)


def test_pictures_before_and_after_are_kept_and_shown(made: Outcome) -> None:
    with Image.open(made.evaluation.artifacts / "before_after.png") as kept:
        assert kept.size == (4 * 58 + 2, 3 * 58 + 2)
    found = accumulated(made.record.tensorboard)
    (shown,) = found.Images("pictures (synthetic data)/before_after")
    assert shown.step == 1
    assert len(Image.open(BytesIO(shown.encoded_image_string)).getcolors(maxcolors=1 << 20) or ()) > 100


def test_the_same_again_is_looked_up_and_made_anew_the_same(
    compose: Compose, overrides: list[str], made: Outcome
) -> None:
    again = run(compose(*overrides))
    assert (again.trained, again.result) == (False, made.result)
    anew = run(compose(*overrides, "callbacks.pictures.epochs=[]", f"paths.runs={made.record.folder.parent / 'anew'}"))
    assert anew.trained
    assert same_bits(anew, made)
    assert rows(anew) == rows(made)


def test_another_seed_stores_other_pictures(compose: Compose, overrides: list[str], made: Outcome) -> None:
    other = run(compose(*overrides, "seed=43"))
    assert not same_bits(other, made)


def test_the_classical_network_in_double_precision(compose: Compose, overrides: list[str]) -> None:
    settings = ["model=hopfield_classical", "model.patterns=3", "trainer.precision=64-true", "evaluation.examples=0"]
    made = run(compose(*overrides, *settings))
    (checkpoint,) = made.record.checkpoints.whole()
    memory = load(checkpoint)["state_dict"]["model.memory"]
    assert memory.dtype == torch.float64
    assert memory.abs().eq(1).all()
    assert made.result["metrics"]["model/load"] == 3 / PIXELS
    assert not (made.evaluation.artifacts / "before_after.png").exists()


def test_an_epoch_that_is_too_short_is_named(compose: Compose, overrides: list[str], tmp_path: Path) -> None:
    short = ["data.batch_size=8", "trainer.limit_train_batches=2", f"paths.runs={tmp_path}"]
    with pytest.raises(ConfigError, match=r"^trainer.limit_train_batches=2: only 16 pictures .* model.patterns=20"):
        run(compose(*overrides, *short))


def filled(network: HopfieldNetwork, stored: str = "pictures", seed: int = 0) -> HopfieldNetwork:
    """A network that has stored random pictures, or random signs, of 12 x 12 pixels."""
    drawn = torch.rand(network.patterns, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    network.make_room((1, 12, 12))
    task = PictureRetrieval(model=network, seed=seed, stored=stored)  # type: ignore[arg-type]
    task.training_step((drawn, torch.zeros(len(drawn))), 0)
    return network


def copies(network: HopfieldNetwork, amount: float, kind: Any = "mask", purpose: str = "test") -> Tensor:
    return corrupt(network.memory, kind, amount, seed=0, purpose=purpose)


def test_without_corruption_separated_patterns_stay() -> None:
    network = filled(ModernHopfield(patterns=30, beta=200.0))
    metrics = retrieve(network, copies(network, 0.0)).metrics("test", tolerance=0.01)
    assert metrics["test/retrieval_accuracy"] == metrics["test/nearest_before"] == metrics["test/steps"] == 1
    assert metrics["test/distance"] < 1e-5


def test_with_tiny_beta_all_go_to_the_mean() -> None:
    network = filled(ModernHopfield(patterns=30, beta=1e-3))
    result = retrieve(network, copies(network, 0.0))
    assert result.converged.all()
    mean = network.memory.mean(dim=0).expand_as(result.states)
    torch.testing.assert_close(result.states, mean, atol=1e-4, rtol=0)
    metrics = result.metrics("test", tolerance=0.3)
    assert (metrics["test/retrieval_accuracy"], metrics["test/nearest_before"]) == (0, 1)


def test_in_between_it_depends_on_beta() -> None:
    accuracies = []
    for beta in (2.0, 20.0, 200.0):
        network = filled(ModernHopfield(patterns=30, beta=beta))
        accuracies.append(retrieve(network, copies(network, 0.5)).metrics("test", 0.3)["test/retrieval_accuracy"])
    assert accuracies[0] == 0
    assert accuracies == sorted(accuracies)
    assert accuracies[-1] == 1


def test_the_classical_network_collapses_above_its_critical_load() -> None:
    accuracy = {}  # at loads of 0.05 and 0.3
    for patterns in (7, 43):
        network = filled(ClassicalHopfield(patterns=patterns), stored="random")
        assert network.memory.abs().eq(1).all()
        accuracy[patterns] = retrieve(network, copies(network, 0.0)).metrics("test", 0.3)["test/retrieval_accuracy"]
    assert accuracy[7] == 1
    assert accuracy[43] < 0.2


def test_the_classical_network_restores_what_is_masked_or_in_noise() -> None:
    network = filled(ClassicalHopfield(patterns=3), stored="random")
    for kind in ("mask", "noise"):
        result = retrieve(network, copies(network, 0.4, kind))
        assert (result.distance_before > 0.2).all()
        assert (result.queries.unique().tolist() == [-1, 0, 1]) == (kind == "mask")
        assert (result.distance == 0).all()


def test_nearest_and_distance_are_euclidean() -> None:
    network = filled(ModernHopfield(patterns=30, beta=15.0))
    result = retrieve(network, copies(network, 0.8, "noise")[:20])
    stored, queries, states = (kind.flatten(1) for kind in (network.memory, result.queries, result.states))
    for points, nearest, distance in (
        (queries, result.nearest_before, result.distance_before),
        (states, result.nearest, result.distance),
    ):
        distances = torch.cdist(points, stored, compute_mode="donot_use_mm_for_euclid_dist")
        assert torch.equal(nearest, distances.argmin(dim=1))
        torch.testing.assert_close(distance, distances.diagonal()[:20])


def test_a_picture_stored_twice_is_right_in_both_places() -> None:
    network = ModernHopfield(patterns=4, beta=100.0)
    network.make_room((1, 12, 12))
    once = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    network.store(torch.cat([once, once]))
    result = retrieve(network, network.memory)
    assert result.nearest.tolist() == result.nearest_before.tolist() == [0, 1, 2, 3]


def test_what_never_stands_still_is_not_retrieved() -> None:
    network = filled(ModernHopfield(patterns=30, beta=20.0, max_steps=1))
    result = retrieve(network, copies(network, 0.3))
    assert not result.converged.any()
    assert result.metrics("test", tolerance=10.0)["test/retrieval_accuracy"] == 0


def test_coloured_pictures_are_stored_in_colour_or_grey() -> None:
    pictures = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    networks = ModernHopfield(patterns=5), ModernHopfield(patterns=5, grey=True)
    for network in networks:
        network.make_room(pictures.shape[1:])
        network.store(pictures)
    assert [network.memory.shape[1] for network in networks] == [3, 1]
    of_grey = ModernHopfield(patterns=5).encode(pictures.mean(dim=1, keepdim=True))
    torch.testing.assert_close(networks[1].memory, of_grey)


def test_pictures_are_stored_as_far_as_there_is_room_and_forgotten() -> None:
    pictures = torch.rand(7, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    network = ModernHopfield(patterns=5)
    network.make_room((1, 4, 4))
    for _ in range(2):
        for batch in pictures.split(3):
            network.store(batch)
        assert network.stored == 5
        torch.testing.assert_close(network.memory, network.encode(pictures[:5]))
        network.forget()
        assert network.stored == network.memory.abs().sum() == 0


def test_pictures_of_one_colour_are_no_nan() -> None:
    for network in (ModernHopfield(patterns=3), ClassicalHopfield(patterns=3)):
        network.make_room((1, 4, 4))
        network.store(torch.cat([torch.zeros(1, 1, 4, 4), torch.rand(2, 1, 4, 4)]))
        result = retrieve(network, corrupt(network.memory, "noise", 0.2, seed=0, purpose="test"))
        assert result.distance.isfinite().all()
        assert queries_beside_patterns(result, 3).isfinite().all()


@given(st.floats(0, 1), st.integers(1, 9), st.integers(0, 100))
def test_a_mask_is_a_band_of_rows(amount: float, count: int, seed: int) -> None:
    patterns = torch.ones(count, 2, 10, 3)
    masked = corrupt(patterns, "mask", amount, seed, "test")
    is_masked = masked == 0
    assert torch.equal(is_masked, is_masked[:, :1, :, :1].expand_as(is_masked))
    for rows_masked in is_masked[:, 0, :, 0]:
        places = rows_masked.nonzero()[:, 0].tolist()
        assert len(places) == round(10 * amount)
        assert places == list(range(places[0], places[0] + len(places))) if places else True


@given(st.floats(0.01, 1), st.integers(0, 100))
def test_noise_has_the_size_of_the_pattern(amount: float, seed: int) -> None:
    patterns = torch.randn(3, 1, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    patterns *= torch.tensor([0.1, 1.0, 10.0]).reshape(-1, 1, 1, 1)
    noise = corrupt(patterns, "noise", amount, seed, "test") - (1 - amount) * patterns
    sizes = [each.flatten(1).norm(dim=1) for each in (noise, patterns)]
    torch.testing.assert_close(sizes[0], amount * sizes[1], rtol=0.2, atol=0)


@pytest.mark.parametrize("kind", ["mask", "noise"])
def test_corruption_is_a_function_of_seed_purpose_and_place(kind: Any) -> None:
    patterns = torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    whole = corrupt(patterns, kind, 0.5, 0, "test")
    assert torch.equal(corrupt(patterns[:4], kind, 0.5, 0, "test"), whole[:4])
    assert not torch.equal(corrupt(patterns, kind, 0.5, 1, "test"), whole)
    assert not torch.equal(corrupt(patterns, kind, 0.5, 0, "val"), whole)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.patterns=0", "model.patterns=0: Input should be greater than 0"),
        ("model.patterns=1.5", "model.patterns=1.5: Input should be a valid integer"),
        ("model.beta=0", "model.beta=0: Input should be greater than 0"),
        ("model.beta=-1.0", "model.beta=-1.0: Input should be greater than 0"),
        ("model.max_steps=0", "model.max_steps=0: Input should be greater than 0"),
        ("task.amount=1.1", "task.amount=1.1: Input should be less than or equal to 1"),
        ("task.amount=-0.1", "task.amount=-0.1: Input should be greater than or equal to 0"),
        ("task.corruption=blur", "task.corruption='blur': Input should be 'mask' or 'noise'"),
        ("task.stored=both", "task.stored='both': Input should be 'pictures' or 'random'"),
        ("task.queries=0", "task.queries=0: Input should be greater than 0"),
        ("task.tolerance=0", "task.tolerance=0: Input should be greater than 0"),
        ("evaluation.examples=-1", "evaluation.examples=-1: Input should be greater than or equal to 0"),
        ("+optimizer.lr=0.1", "optimizer.lr: no such key of dlbench.tasks.retrieval.no_optimizer"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(compose: Compose, override: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        check(OmegaConf.to_container(compose(EXPERIMENT, override), resolve=True))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.patterns=49", "model.patterns=49: there are 48 training pictures to store; choose fewer patterns"),
        ("optimizer=sgd", "task: nothing is learned by gradient; choose optimizer=none scheduler=none"),
        ("scheduler=constant", "task: nothing is learned by gradient"),
        ("model=cnn", "task: retrieval is of a Hopfield network; choose model=hopfield or model=hopfield_classical"),
        ("evaluation=images", "evaluation: ImageEvaluation is not for PictureRetrieval; choose the one of its kind"),
        ("data=p2g", "model._target_=dlbench.models.hopfield.ModernHopfield: has no argument source_symbols"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(compose: Compose, tiny: list[str], override: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}") as caught:
        run(compose(EXPERIMENT, *tiny, override))
    assert "\n" not in str(caught.value)


def test_metrics_of_a_made_up_recall() -> None:
    nothing = torch.zeros(4, 1, 2, 2)
    result = RetrievalResult(
        nothing,
        nothing,
        nothing,
        nearest_before=torch.tensor([0, 1, 0, 0]),
        nearest=torch.tensor([0, 1, 2, 0]),
        distance_before=torch.ones(4),
        distance=torch.tensor([0.0, 0.5, 0.25, 0.25]),
        steps=torch.tensor([1, 2, 3, 4]),
        converged=torch.tensor([True, True, False, True]),
    )
    assert result.metrics("val", tolerance=0.4) == {
        "val/retrieval_accuracy": 0.25,
        "val/nearest_before": 0.5,
        "val/steps": 2.5,
        "val/distance": 0.25,
    }
