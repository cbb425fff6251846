"""Pictures of a training: there at the chosen epochs, right in content, and without a trace in the training."""

import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bits import same_bits
from board import accumulated
from diverging import loss_is_nan_from
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from dlbench.callbacks import image_pictures
from dlbench.callbacks.image_pictures import ClassifierPictures
from dlbench.config import callbacks, check
from dlbench.data.synthetic.images import scenes
from dlbench.errors import ConfigError
from dlbench.identity import training
from dlbench.records.checkpoints import CheckpointFolder
from dlbench.run import Outcome, run
from dlbench.tasks.image_classification import ImageClassification

Compose = Callable[..., DictConfig]
TinyIn = Callable[..., list[str]]
FAST = ("+experiment=cnn_bn_gap", "evaluation.max_shift=1")
EPOCHS = 4
TAGS = {f"pictures (synthetic data)/{name}" for name in ("confusion_matrix", "most_confident_mistakes", "first_layer")}


@pytest.fixture(scope="module")
def watched() -> list[tuple[Any, Any]]:
    """What a training depends on, before and after each time the pictures are drawn."""
    return []


@pytest.fixture(scope="module")
def drawn(
    compose: Compose,
    tiny_in: TinyIn,
    watched: list[tuple[Any, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcome:
    """A run with pictures after epochs 2 and 4, killed after the pictures of epoch 2 and before its checkpoint."""
    runs = tmp_path_factory.mktemp("drawn") / "runs"
    config = compose(*FAST, *tiny_in(runs, epochs=EPOCHS), "callbacks.pictures.epochs=[2]")
    draw, save = ClassifierPictures.on_validation_end, CheckpointFolder.save

    def draw_watched(self: ClassifierPictures, trainer: Any, task: Any) -> None:
        before = state_of(task)
        draw(self, trainer, task)
        watched.append((before, state_of(task)))

    def killed_at_two(self: CheckpointFolder, epoch: int, write: Callable[[Path], None]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        save(self, epoch, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassifierPictures, "on_validation_end", draw_watched)
        with pytest.MonkeyPatch.context() as death:
            death.setattr(CheckpointFolder, "save", killed_at_two)
            with pytest.raises(KeyboardInterrupt):
                run(config)
        return run(config)


@pytest.fixture(scope="module")
def undrawn(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The same run without pictures, never stopped."""
    return run(compose(*FAST, *tiny_in(tmp_path_factory.mktemp("undrawn"), epochs=EPOCHS)))


@pytest.fixture(scope="module")
def diverged(compose: Compose, tiny_in: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run whose loss is NaN in its second epoch, when it also had pictures to draw."""
    with loss_is_nan_from(step=8):
        overrides = [*tiny_in(tmp_path_factory.mktemp("diverged")), "callbacks.pictures.epochs=[1,2]"]
        return run(compose(*FAST, *overrides, "data.layout=scrambled", "model.classes=null"))


def state_of(task: Any) -> Any:
    modes = [(name, module.training) for name, module in task.named_modules()]
    grads = [
        (name, None if weight.grad is None else weight.grad.sum().item()) for name, weight in task.named_parameters()
    ]
    generators = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    return modes, grads, generators, torch.is_grad_enabled(), torch.get_num_threads()


def test_pictures_are_there_once_after_the_chosen_epochs_and_the_last(drawn: Outcome) -> None:
    found = accumulated(drawn.record.tensorboard)
    assert set(found.Tags()["images"]) == TAGS
    for tag in found.Tags()["images"]:
        images = found.Images(tag)
        assert [image.step for image in images] == [2, 4]
        for image in images:
            picture = Image.open(BytesIO(image.encoded_image_string))
            assert min(picture.size) >= 480
            assert len(picture.getcolors(maxcolors=1 << 20) or ()) > 100


def test_nothing_is_there_twice_after_a_kill(drawn: Outcome) -> None:
    found = accumulated(drawn.record.tensorboard)
    for tag in found.Tags()["scalars"]:
        steps = [event.step for event in found.Scalars(tag)]
        assert steps in ([EPOCHS], [*range(1, EPOCHS + 1)]), tag
    assert all(len(found.Tensors(tag)) == 1 for tag in found.Tags()["tensors"])


def test_pictures_change_no_bit(drawn: Outcome, undrawn: Outcome, watched: list[tuple[Any, Any]]) -> None:
    assert drawn.record.id == undrawn.record.id
    assert same_bits(drawn, undrawn)
    # Dropout is reseeded every step, so a draw from a global generator would not show in the bits of this network.
    assert len(watched) > EPOCHS
    for before, after in watched:
        assert before == after


def test_without_epochs_nothing_is_drawn(undrawn: Outcome) -> None:
    assert not accumulated(undrawn.record.tensorboard).Tags()["images"]


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
    found = accumulated(diverged.record.tensorboard)
    assert set(found.Tags()["images"]) == TAGS
    assert all([image.step for image in found.Images(tag)] == [1] for tag in TAGS)


def test_pictures_are_no_part_of_the_record(drawn: Outcome) -> None:
    assert OmegaConf.load(drawn.record.config).callbacks == {}


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
