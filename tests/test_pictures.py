"""Pictures of a training: there at the chosen epochs, right in content, and without a trace in the training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from board import accumulated
from conftest import Compose, TinyIn
from diverging import loss_is_nan_from
from drawing import EPOCHS, Drawn, check_pictures, drawn_and_not
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from dlbench.callbacks import image_pictures
from dlbench.callbacks.image_pictures import ClassifierPictures
from dlbench.config import callbacks, check
from dlbench.data.synthetic.images import scenes
from dlbench.errors import ConfigError
from dlbench.identity import training
from dlbench.run import Outcome, run
from dlbench.tasks.image_classification import ImageClassification

FAST = ("+experiment=cnn_bn_gap", "evaluation.max_shift=1")
NAMES = ("confusion_matrix", "most_confident_mistakes", "first_layer")


@pytest.fixture(scope="module")
def drawn(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    folder = tmp_path_factory.mktemp("pictures")
    return drawn_and_not(compose, lambda runs: [*FAST, *tiny_in(runs, epochs=EPOCHS)], ClassifierPictures, folder)


@pytest.fixture(scope="module")
def diverged(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run whose loss is NaN in its second epoch, when it also had pictures to draw."""
    with loss_is_nan_from(step=8):
        overrides = [*tiny_in(tmp_path_factory.mktemp("diverged")), "callbacks.pictures.epochs=[1,2]"]
        return run(compose(*FAST, *overrides, "data.layout=scrambled", "model.classes=null"))


def test_pictures_are_there_once_after_the_chosen_epochs_and_the_last(drawn: Drawn) -> None:
    check_pictures(drawn.outcome.record, NAMES, [2, 4])


def test_nothing_is_there_twice_after_a_kill(drawn: Drawn) -> None:
    found = accumulated(drawn.outcome.record.tensorboard)
    for tag in found.Tags()["scalars"]:
        steps = [event.step for event in found.Scalars(tag)]
        assert steps in ([EPOCHS], [*range(1, EPOCHS + 1)]), tag
    assert all(len(found.Tensors(tag)) == 1 for tag in found.Tags()["tensors"])


def test_pictures_change_no_bit(drawn: Drawn) -> None:
    drawn.check_unchanged()


class Silent(ImageClassification):
    """An own task whose validation tells nobody what the network gave."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        super().validation_step(batch, batch_idx)


def test_a_task_that_gives_nothing_to_show_is_told_once(
    compose: Compose, tiny_in: TinyIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*tiny_in(tmp_path), "callbacks.pictures.epochs=[1,2]", f"task._target_={__name__}.Silent"]
    outcome = run(compose(*FAST, *overrides))
    assert not accumulated(outcome.record.tensorboard).Tags()["images"]
    assert capsys.readouterr().err.count("no pictures: Silent.validation_step returns nothing to show") == 1


def test_a_diverging_epoch_is_not_drawn(diverged: Outcome) -> None:
    check_pictures(diverged.record, NAMES, [1])


def test_pictures_are_no_part_of_the_record(drawn: Drawn) -> None:
    assert OmegaConf.load(drawn.outcome.record.config).callbacks == {}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("callbacks.pictures.epochs=[5,0]", r"callbacks.pictures.epochs\[1\]=0: Input should be greater than 0"),
        ("callbacks.pictures.epochs=often", "callbacks.pictures.epochs='often': 'str' instances are not allowed"),
        ("+callbacks.pictures.epoch=[1]", "callbacks.pictures.epoch: no such key of .*; did you mean epochs?"),
        ("callbacks.pictures=5", "callbacks.pictures._target_: missing"),
        ("+callbacks.more._target_=dlbench.nope", "callbacks.more._target_=dlbench.nope: no such class"),
    ],
)
def test_a_wrong_callback_is_named_in_one_line(compose: Compose, override: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        check(plain(compose(*FAST, override)))


def test_callbacks_are_a_group_that_can_be_turned_off(compose: Compose) -> None:
    usual = plain(compose(*FAST))
    assert list(callbacks(usual)) == ["pictures"]
    for override in ("callbacks=none", "callbacks.pictures=null", "~callbacks"):
        without = plain(compose(*FAST, override))
        check(without)
        assert callbacks(without) == {}
        assert training(usual, "", "") == training(without, "", "")


def plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def test_the_confusion_matrix_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Figure] = []
    monkeypatch.setattr(image_pictures, "pixels", kept.append)
    probabilities = torch.rand(50, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 3
    image_pictures.confusion_matrix(probabilities, labels, ["ant", "bee", "cat"], "validation")
    (axes,) = kept[0].axes
    predicted = probabilities.argmax(dim=1).clamp(max=3)
    counts = [[int(((labels == i) & (predicted == j)).sum()) for j in range(4)] for i in range(3)]
    assert [int(text.get_text()) for text in axes.texts] == [count for row in counts for count in row]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["ant", "bee", "cat", "no class"]
    assert axes.get_title().startswith("validation\n")


def test_the_most_confident_mistakes_come_first_as_a_person_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(image_pictures, "_grid", lambda tiles, title, **_: kept.append((tiles, title)))
    images = scenes(sizes=[6, 6, 6]).val.images
    twos = [[0.9, 0.1, 0], [0.6, 0.4, 0], [0.3, 0.7, 0], [0.2, 0.8, 0], [0.95, 0.05, 0], [0, 0, 1]]
    probabilities = torch.tensor(twos)
    labels = torch.tensor([1, 1, 0, 1, 1, 0])
    image_pictures.mistakes(probabilities, labels, images, ["ant", "bee"], "validation", count=3)
    ((tiles, title),) = kept
    assert title.startswith("validation\n5 mistakes of 6")
    assert [label for label, _ in tiles] == ["ant ->\nno class 1.00", "bee ->\nant 0.95", "bee ->\nant 0.90"]
    for index, (_, picture) in zip([5, 4, 0], tiles, strict=True):
        assert np.array_equal(picture, images[index])


def test_no_mistake_is_a_picture_too() -> None:
    images = scenes(sizes=[6, 6, 6]).val.images
    shown = image_pictures.mistakes(torch.eye(6), torch.arange(6), images, list("abcdef"), "validation", count=3)
    assert shown.dtype == np.uint8
    assert shown.shape[2] == 3
