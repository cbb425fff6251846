"""A training whose loss stops being a number, or that is interrupted; an evaluation of weights that are none."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest
import torch

from dlbench.tasks.base import Task
from dlbench.tasks.image_classification import ImageClassification


@contextmanager
def loss_is_nan_from(step: int, task: type[Task] = ImageClassification) -> Iterator[None]:
    """Within, the loss of a kind of task is NaN from an optimiser step (counted from 0) on."""
    loss = task.loss

    def until_step(self: Task, batch: Any) -> torch.Tensor:
        return loss(self, batch) * (1.0 if self.global_step < step else float("nan"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "loss", until_step)
        yield


@contextmanager
def weights_are_nan(evaluation: type) -> Iterator[None]:
    """Within, a kind of evaluation is given networks whose every weight is NaN."""
    evaluate: Any = vars(evaluation)["__call__"]

    @wraps(evaluate)
    def broken(self: Any, *given: Any, **others: Any) -> Any:
        *parts, last, best = given
        last, best = (
            {name: value * float("nan") if value.is_floating_point() else value for name, value in weights.items()}
            for weights in (last, best)
        )
        return evaluate(self, *parts, last, best, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "__call__", broken)
        yield


@contextmanager
def interrupted_at(step: int, task: type[Task]) -> Iterator[None]:
    """What is inside trains a kind of task, and is interrupted before an optimiser step (counted from 0)."""
    training_step = task.training_step

    def until_step(self: Task, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == step:
            raise KeyboardInterrupt
        return training_step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(task, "training_step", until_step)
        yield
