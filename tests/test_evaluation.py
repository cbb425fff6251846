"""What is measured of a trained classifier and kept of it, recomputed from its weights."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR

from dlbench.data.image_datamodules import IntelDataModule
from dlbench.evaluation.images import ImageEvaluation, write_confusion, write_predictions
from dlbench.models.cnn import ConvNet
from dlbench.models.cost import count_parameters, receptive_field
from dlbench.run import run
from dlbench.seeding import reseed_global
from dlbench.tasks.image_classification import ImageClassification
from dlbench.tasks.optim import sgd
from dlbench.trainer import TrainerSettings

NAMES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
PICTURES = 60


def tuned(kind: Callable[[], Any], seed: int, *shape: int) -> Any:
    """Untrained, but tuned to what differs from place to place, so that it predicts many classes and feels a shift.

    ``shape`` is that of the only linear layer's weights: outputs, maps, places.
    """
    reseed_global(seed, "init")
    model, weights = kind(), torch.randn(shape)
    torch.nn.init.zeros_(model.head[0].bias)
    model.head[0].weight.data = (weights - weights.mean(dim=2, keepdim=True)).flatten(1)
    return model.eval()


def network(seed: int) -> ConvNet:
    return tuned(lambda: ConvNet(channels=(4, 8, 8), hidden=(), hidden_bn=(), hidden_dropout=()), seed, 6, 8, 36)


def probabilities_of(model: ConvNet, images: np.ndarray) -> np.ndarray:
    """Of pictures (N, height, width, channels), in correct layout."""
    dtype = next(model.parameters()).dtype
    with torch.inference_mode():
        return model(torch.from_numpy(images.transpose(0, 3, 1, 2) / 256).to(dtype)).double().softmax(dim=1).numpy()


@dataclass
class Evaluated:
    """An evaluation of two networks as the last and the best epoch's weights of one training."""

    folder: Path
    precision: Any = "32-true"

    def __post_init__(self) -> None:
        self.last, self.best = network(seed=1), network(seed=2)
        self.data = IntelDataModule(source="synthetic", synthetic_sizes=(6, 6, PICTURES), eval_batch_size=25)
        task = ImageClassification(network(seed=3), partial(sgd, lr=0.1), partial(ConstantLR, factor=1.0))
        trainer = TrainerSettings(1, device="cpu", precision=self.precision).trainer(self.folder, False, [])
        last, best = (
            {f"model.{name}": tensor for name, tensor in model.state_dict().items()} for model in (self.last, self.best)
        )
        evaluation = ImageEvaluation(max_shift=2)
        self.metrics, self.probabilities = evaluation(trainer, task, self.data, last, best)
        (self.folder / "artifacts").mkdir()
        evaluation.write(self.folder, task, self.data, self.probabilities)

    @property
    def images(self) -> np.ndarray:
        return self.data.pictures.test.images

    @property
    def labels(self) -> np.ndarray:
        return self.data.pictures.test.labels


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return Evaluated(tmp_path_factory.mktemp("evaluated"))


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


# --- metrics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "suffix"), [("last", ""), ("best", "_best_val")])
def test_both_the_last_and_the_best_epoch_are_tested(evaluated: Evaluated, weights: str, suffix: str) -> None:
    probabilities = probabilities_of(getattr(evaluated, weights), evaluated.images)
    expected = {
        f"test/accuracy{suffix}": accuracy_score(evaluated.labels, probabilities.argmax(axis=1)),
        f"test/loss{suffix}": log_loss(evaluated.labels, probabilities, labels=range(6)),
    }
    assert {name: evaluated.metrics[name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pixels", [0, 1, 2])
def test_accuracy_under_shifts_is_the_mean_over_four_directions(evaluated: Evaluated, pixels: int) -> None:
    accuracies = []
    for direction in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)):
        moved = ndimage.shift(evaluated.images, (0, *direction, 0), order=0, mode="nearest")
        guesses = probabilities_of(evaluated.last, moved).argmax(axis=1)
        accuracies.append(accuracy_score(evaluated.labels, guesses))
    assert evaluated.metrics[f"test/accuracy_shift_{pixels}"] == pytest.approx(np.mean(accuracies))
    assert len(set(accuracies)) > 1 or not pixels


def test_unmoved_pictures_are_the_test_itself_and_no_further_shift_is_measured(evaluated: Evaluated) -> None:
    assert evaluated.metrics["test/accuracy_shift_0"] == pytest.approx(evaluated.metrics["test/accuracy"])
    shifts = [name for name in evaluated.metrics if "shift" in name]
    assert shifts == [f"test/accuracy_shift_{pixels}" for pixels in (0, 1, 2)]


def test_the_model_is_described(evaluated: Evaluated) -> None:
    assert evaluated.metrics["model/parameters"] == count_parameters(evaluated.last)
    assert evaluated.metrics["model/receptive_field"] == receptive_field(evaluated.last.features) == 22
    convolutions = 48**2 * 3 * 9 * 4 + 24**2 * 4 * 9 * 8 + 12**2 * 8 * 9 * 8
    assert evaluated.metrics["model/flops"] == 2 * (convolutions + 8 * 36 * 6)


def test_half_precision_can_be_evaluated(evaluated: Evaluated, tmp_path: Path) -> None:
    other = Evaluated(tmp_path, "bf16-mixed")
    np.testing.assert_allclose(other.probabilities, evaluated.probabilities, atol=0.05)
    assert other.metrics["model/flops"] == evaluated.metrics["model/flops"]


# --- tables and pictures ---------------------------------------------------------------------------------------------


def test_predictions_are_those_of_the_last_epoch(evaluated: Evaluated) -> None:
    expected = probabilities_of(evaluated.last, evaluated.images)
    np.testing.assert_allclose(evaluated.probabilities, expected, atol=1e-5)
    header, *rows = rows_of(evaluated.folder / "predictions.csv")
    assert header == ["index", "label", "predicted", "probability"]
    assert [int(row[0]) for row in rows] == list(range(PICTURES))
    assert [row[1] for row in rows] == [NAMES[label] for label in evaluated.labels]
    assert [row[2] for row in rows] == [NAMES[guess] for guess in expected.argmax(axis=1)]
    assert [float(row[3]) for row in rows] == pytest.approx(expected.max(axis=1), abs=6e-5)
    assert np.mean([row[1] == row[2] for row in rows]) == pytest.approx(evaluated.metrics["test/accuracy"])


def logits(outputs: int) -> tuple[Tensor, Tensor]:
    """Random outputs that prefer a right class in half of the cases, and labels."""
    numbers = torch.Generator().manual_seed(outputs)
    labels = torch.randint(6, (200,), generator=numbers)
    values = torch.rand(200, outputs, generator=numbers)
    values[torch.arange(0, 200, 2), labels[::2]] += 1
    return values.softmax(dim=1), labels


@pytest.mark.parametrize("outputs", [6, 512])
def test_the_confusion_matrix_is_that_of_scikit_learn(tmp_path: Path, outputs: int) -> None:
    probabilities, labels = logits(outputs)
    write_confusion(tmp_path / "confusion.csv", probabilities, labels, NAMES)
    (_, *columns), *rows = rows_of(tmp_path / "confusion.csv")
    names = [*NAMES, "no class"] if outputs > 6 else list(NAMES)
    assert columns == names
    assert [row[0] for row in rows] == list(NAMES)
    guesses = [names[min(guess, len(names) - 1)] for guess in probabilities.argmax(dim=1).tolist()]
    expected = confusion_matrix([NAMES[label] for label in labels], guesses, labels=names)[:6]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], int), expected)
    if outputs > 6:
        assert expected[:, -1].sum() > 0


def test_a_prediction_beyond_the_classes_is_no_class(tmp_path: Path) -> None:
    probabilities, labels = logits(512)
    write_predictions(tmp_path / "predictions.csv", probabilities, labels, NAMES)
    _, *rows = rows_of(tmp_path / "predictions.csv")
    beyond = (probabilities.argmax(dim=1) >= 6).tolist()
    assert [row[2] == "no class" for row in rows] == beyond
    assert any(beyond)


def test_activation_maps_show_the_picture_and_eight_tiles_at_most(evaluated: Evaluated) -> None:
    with Image.open(evaluated.folder / "artifacts" / "activation_maps.png") as file:
        picture = np.asarray(file)
    tile, gap = 144, 2  # the picture and four maps, three in a row, a gap around each
    assert picture.shape == (2 * (tile + gap) + gap, 3 * (tile + gap) + gap, 3)
    shown = picture[gap : gap + tile : 3, gap : gap + tile : 3].astype(float)
    original = evaluated.images[0].astype(float)
    scaled = (original - original.min()) / (original.max() - original.min()) * 255
    np.testing.assert_allclose(shown, scaled, atol=1)


def test_a_finished_run_keeps_what_its_evaluation_wrote(compose: Callable[..., Any], tiny: list[str]) -> None:
    outcome = run(compose("+experiment=cnn_bn_gap", *tiny, "trainer.epochs=1", "model.classes=null"))
    _, *rows = rows_of(outcome.evaluation.folder / "predictions.csv")
    assert len(rows) == 24
    accuracy = np.mean([row[1] == row[2] for row in rows])
    assert accuracy == pytest.approx(outcome.result["metrics"]["test/accuracy"])
    _, *counts = rows_of(outcome.evaluation.artifacts / "confusion_matrix.csv")
    assert sum(int(count) for row in counts for count in row[1:]) == 24
