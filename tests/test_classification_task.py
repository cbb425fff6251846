"""What a training reports of itself, held against the same numbers computed from outside."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from sklearn.metrics import accuracy_score, log_loss
from torch.optim.lr_scheduler import ConstantLR

from dlbench.data.image_datamodules import IntelDataModule
from dlbench.models.cnn import ConvNet
from dlbench.seeding import reseed_global
from dlbench.tasks.base import DivergedError, read_metrics
from dlbench.tasks.image_classification import AT_ONCE, ImageClassification
from dlbench.tasks.optim import sgd
from dlbench.trainer import TrainerSettings

EPOCHS, STEPS = 3, 5
CONSTANT = partial(ConstantLR, factor=1.0, total_iters=0)


class Watcher(Checkpoint):
    """Keep each batch's loss and each epoch's metrics; as a `Checkpoint` it comes after the task itself."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.metrics: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.metrics.append(read_metrics(trainer))


@dataclass
class Fit:
    """A small network trained on 36 drawn scenes in batches of 8.

    It is evaluated on splits of unequal classes, in batches that do not divide them.
    """

    folder: Path
    epochs: int = EPOCHS
    lr: float = 0.05
    classes: int | None = 6
    scheduler: Callable[..., Any] = CONSTANT
    watcher: Watcher = field(default_factory=Watcher)

    def __post_init__(self) -> None:
        reseed_global(0, "init")
        head: dict[str, Any] = {"hidden": (16,), "hidden_bn": (True,), "hidden_dropout": (0.2,)}
        model = ConvNet(channels=(4, 8, 8), gap=True, classes=self.classes, **head)
        self.task = ImageClassification(model, partial(sgd, lr=self.lr), self.scheduler, seed=1)
        self.data = IntelDataModule(source="synthetic", synthetic_sizes=(36, 10, 16), eval_batch_size=7, seed=1)
        settings = TrainerSettings(self.epochs, device="cpu")
        self.trainer = settings.trainer(self.folder, False, [self.watcher])

    def run(self, checkpoint: Path | None = None) -> "Fit":
        self.trainer.fit(self.task, self.data, ckpt_path=checkpoint, weights_only=True)
        return self

    def probabilities(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Of all pictures at once, with labels; nothing of Lightning or of the task is in the way."""
        pictures = self.data.pictures.splits()[split]
        images = torch.from_numpy(pictures.images.transpose(0, 3, 1, 2) / np.float32(256))
        with torch.inference_mode():
            return self.task.model.eval()(images).double().softmax(dim=1).numpy(), pictures.labels


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    return Fit(tmp_path_factory.mktemp("fit")).run()


# --- accuracy and loss -----------------------------------------------------------------------------------------------


def agrees_with_scikit_learn(metrics: dict[str, float], fit: Fit, split: str) -> bool:
    probabilities, labels = fit.probabilities(split)
    expected = {
        f"{split}/accuracy": accuracy_score(labels, probabilities.argmax(axis=1)),
        f"{split}/loss": log_loss(labels, probabilities, labels=range(probabilities.shape[1])),
    }
    return {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [6, None])
def test_accuracy_and_loss_are_those_of_scikit_learn(classes: int | None, tmp_path: Path) -> None:
    fit = Fit(tmp_path, epochs=1, classes=classes).run()
    assert agrees_with_scikit_learn(fit.watcher.metrics[-1], fit, "val")
    fit.trainer.test(fit.task, fit.data, verbose=False)
    assert agrees_with_scikit_learn(read_metrics(fit.trainer), fit, "test")


def test_the_test_split_is_not_the_validation_split(fit: Fit) -> None:
    fit.trainer.test(fit.task, fit.data, verbose=False)
    assert read_metrics(fit.trainer)["test/loss"] != fit.watcher.metrics[-1]["val/loss"]


# --- the training loss -----------------------------------------------------------------------------------------------


def test_both_training_losses_are_means_of_the_batches_losses(fit: Fit) -> None:
    losses = np.array(fit.watcher.losses).reshape(EPOCHS, STEPS)
    logged = fit.watcher.metrics
    assert [row["train/loss"] for row in logged] == pytest.approx(losses.mean(axis=1), rel=1e-6)
    running = [losses[: epoch + 1].mean() for epoch in range(EPOCHS)]
    assert [row["train/loss_running_mean"] for row in logged] == pytest.approx(running, rel=1e-6)


def test_a_loss_is_recorded_as_the_shortest_decimal_of_its_single_precision_value(fit: Fit) -> None:
    values = [value for row in fit.watcher.metrics for value in row.values()]
    assert values == [float(str(np.float32(value))) for value in values]


# --- randomness ------------------------------------------------------------------------------------------------------


def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(fit: Fit, tmp_path: Path) -> None:
    first = Fit(tmp_path, epochs=1).run()
    first.trainer.save_checkpoint(tmp_path / "after-1.ckpt")
    torch.rand(17)
    second = Fit(tmp_path).run(tmp_path / "after-1.ckpt")
    assert first.watcher.losses + second.watcher.losses == fit.watcher.losses
    assert first.watcher.metrics + second.watcher.metrics == fit.watcher.metrics
    torch.testing.assert_close(second.task.state_dict(), fit.task.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_takes_pictures_in_parts_and_training_all_at_once(training: bool) -> None:
    """In training batch normalisation must see the whole batch."""
    model = ConvNet(channels=(4,), image_size=8, dropout=0, gap=True, hidden=(), hidden_bn=(), hidden_dropout=())
    task = ImageClassification(model, partial(sgd, lr=0.1), partial(ConstantLR, factor=1.0)).train(training)
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    pictures = torch.randn(2 * AT_ONCE + 7, 3, 8, 8)
    logits = task(pictures)
    assert sizes == ([len(pictures)] if training else [AT_ONCE, AT_ONCE, 7])
    torch.testing.assert_close(logits, model(pictures))


def test_dropout_is_drawn_anew_at_every_step(tmp_path: Path) -> None:
    fit = Fit(tmp_path, lr=1e-30)  # no weight moves, so only dropout can change a batch's loss
    in_order = fit.data.val_dataloader()
    fit.trainer.fit(fit.task, in_order, in_order)
    first_batch = fit.watcher.losses[:: len(in_order)]
    assert len(set(first_batch)) == EPOCHS


# --- divergence ------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_ends_the_training_with_its_step(tmp_path: Path) -> None:
    fit = Fit(tmp_path, lr=1e30)
    with pytest.raises(DivergedError, match=r"the training loss is not finite at step \d+") as caught:
        fit.run()
    assert caught.value.step == len(fit.watcher.losses) > 0
    assert all(map(math.isfinite, fit.watcher.losses))


def test_a_network_broken_from_the_start_ends_at_step_0(tmp_path: Path) -> None:
    fit = Fit(tmp_path)
    next(fit.task.parameters()).data.fill_(math.nan)
    with pytest.raises(DivergedError) as caught:
        fit.run()
    assert caught.value.step == 0
