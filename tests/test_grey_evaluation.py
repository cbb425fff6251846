"""What is measured of a classifier of grey pictures and shown of it, recomputed; and whole runs of one."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from board import accumulated
from conftest import Compose, TinyIn
from drawing import EPOCHS, Drawn, check_pictures, drawn_and_not
from PIL import Image
from scipy import ndimage
from test_evaluation import tuned
from test_pictures import NAMES
from torch import nn
from torch.optim.lr_scheduler import ConstantLR

from dlbench.callbacks import image_pictures
from dlbench.callbacks.image_pictures import ClassifierPictures
from dlbench.commands.outcome import show
from dlbench.data.image_datamodules import KmnistDataModule
from dlbench.evaluation.images import GreyEvaluation, ImageEvaluation, transform
from dlbench.models.lenet import LeNet
from dlbench.models.mlp import MLP
from dlbench.records.files import read_json
from dlbench.records.labels import data_caveat, run_name
from dlbench.run import execute, run
from dlbench.run.plan import prepare
from dlbench.seeding import reseed_global
from dlbench.tasks.image_classification import ImageClassification
from dlbench.tasks.optim import sgd
from dlbench.trainer import TrainerSettings

EXPERIMENT = "+experiment=kmnist_cnn"
PICTURES = 60


# --- turning and scaling ---------------------------------------------------------------------------------------------


def smooth(n: int, height: int, width: int, channels: int) -> torch.Tensor:
    noise = np.random.default_rng(0).random((n, height, width, channels))
    blurred = ndimage.gaussian_filter(noise, (0, 1.5, 1.5, 0))
    return torch.from_numpy(((blurred - blurred.min()) / np.ptp(blurred) * 255).astype(np.uint8))


@pytest.mark.parametrize("shape", [(28, 28, 1), (27, 31, 3)])
def test_a_rotation_by_nothing_at_scale_1_leaves_every_pixel(shape: tuple[int, int, int]) -> None:
    pictures = torch.randint(256, (20, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = pictures.clone()
    assert torch.equal(transform(pictures), pictures)
    transform(pictures, angle=9, scale=1.5)
    assert torch.equal(pictures, before)


@pytest.mark.parametrize(("angle", "turns"), [(90, -1), (-90, 1), (180, 2)])
def test_a_quarter_turn_is_clockwise(angle: float, turns: int) -> None:
    pictures = smooth(3, 28, 28, 1)
    np.testing.assert_allclose(transform(pictures, angle=angle), np.rot90(pictures, turns, (1, 2)), atol=1)


@pytest.mark.parametrize(("angle", "scale"), [(7, 1), (-20, 1), (0, 1.3), (0, 1 / 1.3), (0, 0.5), (45, 1.1)])
def test_pictures_are_moved_as_scipy_moves_them_with_a_repeated_rim(angle: float, scale: float) -> None:
    pictures = smooth(4, 28, 24, 1)
    radians = np.deg2rad(angle)
    inverse = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]) / scale
    centre = (np.array(pictures.shape[1:3]) - 1) / 2
    expected = [
        ndimage.affine_transform(
            picture[..., 0].numpy().astype(float), inverse, centre - inverse @ centre, order=1, mode="nearest"
        )
        for picture in pictures
    ]
    found = transform(pictures, angle=angle, scale=scale)[..., 0].numpy().astype(float)
    np.testing.assert_allclose(found, expected, atol=1.5)


# --- metrics and pictures --------------------------------------------------------------------------------------------


class Evaluated:
    """An evaluation of a network as both the last and the best epoch's."""

    def __init__(self, folder: Path, model: nn.Module, **settings: Any) -> None:
        self.folder, self.model = folder, model
        self.data = KmnistDataModule(source="synthetic", synthetic_sizes=(9, 6, PICTURES), **settings)
        task = ImageClassification(model, partial(sgd, lr=0.1), partial(ConstantLR, factor=1.0))
        trainer = TrainerSettings(1, device="cpu").trainer(folder, False, [])
        weights = {name: tensor.clone() for name, tensor in task.state_dict().items()}
        evaluation = GreyEvaluation(max_shift=1, rotations=(10, 22.5), scales=(1.25,))
        self.metrics, probabilities = evaluation(trainer, task, self.data, weights, weights)
        (folder / "artifacts").mkdir()
        evaluation.write(folder, task, self.data, probabilities)

    def accuracy(self, **moved: float) -> float:
        pictures = self.data.pictures.test
        moved_pictures = transform(torch.from_numpy(pictures.images), **moved)
        with torch.inference_mode():
            guesses = self.model(self.data.arrange(moved_pictures) / 256).argmax(dim=1).numpy()
        return float((guesses == pictures.labels).mean())


@pytest.fixture(scope="module", params=[False, True], ids=["in-place", "permuted"])
def evaluated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return Evaluated(
        tmp_path_factory.mktemp("evaluated"),
        tuned(lambda: LeNet(hidden=(), hidden_dropout=()), 1, 10, 16, 36),
        permute_pixels=request.param,
    )


def test_accuracies_under_rotation_and_scaling_are_means_over_both_ways(evaluated: Evaluated) -> None:
    found = {name: value for name, value in evaluated.metrics.items() if "rotation" in name or "scale" in name}
    expected = {
        "test/accuracy_rotation_0": evaluated.accuracy(),
        "test/accuracy_rotation_10": np.mean([evaluated.accuracy(angle=angle) for angle in (10, -10)]),
        "test/accuracy_rotation_22.5": np.mean([evaluated.accuracy(angle=angle) for angle in (22.5, -22.5)]),
        "test/accuracy_scale_1": evaluated.accuracy(),
        "test/accuracy_scale_1.25": np.mean([evaluated.accuracy(scale=scale) for scale in (1.25, 1 / 1.25)]),
    }
    assert found == pytest.approx(expected)
    assert evaluated.metrics["test/accuracy_rotation_0"] == pytest.approx(evaluated.metrics["test/accuracy"])
    assert len(set(expected.values())) > 2
    assert {"test/accuracy_shift_1", "test/accuracy_best_val", "model/receptive_field"} <= evaluated.metrics.keys()


def test_activation_maps_stand_beside_the_training_picture_at_index_4(evaluated: Evaluated) -> None:
    with Image.open(evaluated.folder / "artifacts" / "activation_maps.png") as file:
        image = np.asarray(file)
    tile, gap = 140, 2
    assert image.shape == (2 * (tile + gap) + gap, 2 * tile + 6 + 4 * (tile + gap) + gap, 3)
    assert (image == image[..., :1]).all()
    original = evaluated.data.pictures.train.images[4, ..., 0]
    np.testing.assert_array_equal(image[3 + 5 : 3 + 280 : 10, 3 + 5 : 3 + 280 : 10, 0], original)
    convolution: Any = evaluated.model.features[0]  # type: ignore[index]
    with torch.inference_mode():
        maps = convolution(evaluated.data.tensors("train").images[4:5] / 256)[0].numpy()
    for number, one in enumerate(maps):
        top, left = gap + number // 4 * (tile + gap), 286 + gap + number % 4 * (tile + gap)
        shown = image[top : top + tile, left : left + tile, 0][2::5, 2::5]
        np.testing.assert_allclose(shown, (one - one.min()) / np.ptp(one) * 255, atol=1)


def test_grey_pictures_may_be_evaluated_as_coloured_ones_are(tmp_path: Path) -> None:
    data = KmnistDataModule(source="synthetic", synthetic_sizes=(9, 6, 6))
    ImageEvaluation().write_maps(tmp_path / "maps.png", LeNet().features[0], data)
    with Image.open(tmp_path / "maps.png") as file:
        assert file.size == (3 * 146 + 2, 3 * 146 + 2)


def test_a_network_without_convolutions_has_no_maps_and_no_receptive_field(tmp_path: Path) -> None:
    reseed_global(0, "init")
    found = Evaluated(tmp_path, MLP(least_parameters=10_000).eval())
    assert "model/receptive_field" not in found.metrics
    assert {"model/parameters", "model/flops", "test/accuracy_rotation_10"} <= found.metrics.keys()
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["confusion_matrix.csv", "predictions.csv"]


# --- TensorBoard -----------------------------------------------------------------------------------------------------


def test_grey_maps_stand_beside_the_picture_and_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(image_pictures, "_grid", lambda tiles, _title, columns: kept.append((tiles, columns)))
    picture, example = KmnistDataModule(source="synthetic", synthetic_sizes=(9, 6, 6)).example()
    for maps in (3, 8, 10):
        image_pictures.activation_maps(picture.numpy(), example[0], torch.rand(maps, 14, 14), "about")
        tiles, columns = kept.pop()
        rows = [
            [tile and tile[0] for tile in tiles[start : start + columns]] for start in range(0, len(tiles), columns)
        ]
        assert [row[0] for row in rows[:2]] == ["picture", "input 0"]
        assert all(row[0] is None for row in rows[2:])
        beside = [label for row in rows for label in row[1:]]
        assert beside[:maps] == [f"map {number}" for number in range(maps)]
        assert set(beside[maps:]) <= {None}


def test_a_grey_picture_is_drawn_in_its_own_shades() -> None:
    picture = np.full((28, 28, 1), 100, np.uint8)
    drawn = image_pictures.mistakes(
        torch.eye(2), torch.tensor([1, 1]), np.stack([picture] * 2), ["a", "b"], "about", count=1
    )
    shades = {tuple(colour) for colour in drawn.reshape(-1, 3)}
    assert (100, 100, 100) in shades


@pytest.mark.parametrize(
    ("source", "provenance", "said"),
    [
        ("idx", "verified", ""),
        ("test10k", "other split", " (other split)"),
        ("npz", "user copy", " (user copy)"),
        ("synthetic", "synthetic", " (synthetic data)"),
    ],
)
def test_what_must_be_said_of_data(source: str, provenance: str, said: str) -> None:
    assert data_caveat({"source": source, "provenance": provenance}) == said


@pytest.mark.real_data
def test_another_split_is_named_wherever_a_result_is_shown(
    compose: Compose, tiny: list[str], real_data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = [
        "data.source=test10k",
        f"paths.data={real_data_folder}",
        "trainer.epochs=1",
        "trainer.limit_train_batches=2",
    ]
    plan = prepare(compose(EXPERIMENT, *tiny, *real, "evaluation.max_shift=0", "callbacks.pictures.epochs=[1]"))
    shown = execute(plan)
    assert shown.result["data"]["provenance"] == "other split"
    assert shown.result["data"]["sizes"] == {"train": 8000, "val": 1000, "test": 1000}
    events = accumulated(shown.record.tensorboard)
    assert {tag.partition("/")[0] for tag in events.Tags()["images"]} == {"pictures (other split)"}
    assert b"kmnist (other split)" in events.Tensors("run")[0].tensor_proto.string_val[0]
    assert run_name(read_json(shown.record.manifest), shown.record.settings()).startswith("kmnist_cnn (other split)/")
    show(plan, shown)
    assert "kmnist_cnn on kmnist (other split): finished" in capsys.readouterr().out


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    folder = tmp_path_factory.mktemp("grey")
    return drawn_and_not(compose, lambda runs: [EXPERIMENT, *tiny_in(runs, epochs=EPOCHS)], ClassifierPictures, folder)


def test_a_killed_run_with_pictures_ends_in_the_same_bits(drawn: Drawn) -> None:
    drawn.check_unchanged()
    check_pictures(drawn.outcome.record, NAMES, [2, 4], side=300)


def test_permuted_pixels_are_another_training_of_the_same_data(drawn: Drawn, compose: Compose, tiny: list[str]) -> None:
    other = run(compose(EXPERIMENT, *tiny, "data.permute_pixels=true", "trainer.epochs=1"))
    assert other.record.id != drawn.undrawn.record.id
    assert other.result["data"] == drawn.undrawn.result["data"]
    assert "permute_pixels=true" in run_name(read_json(other.record.manifest), other.record.settings())


def test_the_networks_of_a_report_are_held_against_pictures_they_do_not_fit(compose: Compose, tiny: list[str]) -> None:
    from dlbench.errors import ConfigError

    with pytest.raises(ConfigError, match=r"model: does not take pictures of shape \(3, 48, 48\)"):
        run(compose(EXPERIMENT, *tiny, "data=intel"))
    with pytest.raises(ConfigError, match=r"model\.classes=4: the data has 10 classes"):
        run(compose(EXPERIMENT, *tiny, "model.classes=4"))
