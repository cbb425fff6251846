"""Runs with pictures, held against the same runs without."""

import random
from collections.abc import Callable, Collection, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from bits import same_bits
from board import accumulated
from conftest import Compose
from PIL import Image

from dlbench.records.checkpoints import CheckpointFolder
from dlbench.records.store import Record
from dlbench.run import Outcome, run

FOLDER = "pictures (synthetic data)"
EPOCHS = 4


class Drawn(NamedTuple):
    """A run of `EPOCHS` with pictures after epochs 2 and 4, and the same without pictures, never stopped.

    The first was killed after the pictures of epoch 2 and before its checkpoint. ``watched`` is what a training depends
    on, before and after each validation's end.
    """

    outcome: Outcome
    undrawn: Outcome
    watched: list[tuple[Any, Any]]

    def check_unchanged(self) -> None:
        """See that the pictures changed no bit and no state."""
        assert self.outcome.record.id == self.undrawn.record.id
        assert same_bits(self.outcome, self.undrawn)
        # Dropout is reseeded every step, so a draw from a global generator would not show in the bits.
        assert len(self.watched) > EPOCHS
        for before, after in self.watched:
            assert before == after
        assert not accumulated(self.undrawn.record.tensorboard).Tags()["images"]


def drawn_and_not(compose: Compose, overrides: Callable[[Path], list[str]], pictures: Any, folder: Path) -> Drawn:
    """Both runs; ``overrides`` are those of a run in a folder, ``pictures`` is the callback that draws."""
    config = compose(*overrides(folder / "drawn"), "callbacks.pictures.epochs=[2]")
    save, show, watched = CheckpointFolder.save, pictures.on_validation_end, []

    def draw_watched(self: Any, trainer: Any, task: Any) -> None:
        before = state_of(task)
        show(self, trainer, task)
        watched.append((before, state_of(task)))

    def killed_at_two(self: CheckpointFolder, epoch: int, write: Callable[[Path], None]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        save(self, epoch, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "on_validation_end", draw_watched)
        with pytest.MonkeyPatch.context() as death:
            death.setattr(CheckpointFolder, "save", killed_at_two)
            with pytest.raises(KeyboardInterrupt):
                run(config)
        outcome = run(config)
    return Drawn(outcome, run(compose(*overrides(folder / "undrawn"))), watched)


def state_of(task: Any) -> Any:
    """What the next step depends on."""
    modes = [(name, module.training) for name, module in task.named_modules()]
    grads = [
        (name, None if weight.grad is None else weight.grad.sum().item()) for name, weight in task.named_parameters()
    ]
    generators = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    others = torch.is_grad_enabled(), torch.get_num_threads(), getattr(task, "decoder", None)
    return modes, grads, generators, others


def check_pictures(record: Record, names: Collection[str], steps: Sequence[int], side: int = 480) -> None:
    """See that a record's events hold these pictures alone, each once after each epoch, large and with something on."""
    found = accumulated(record.tensorboard)
    assert set(found.Tags()["images"]) == {f"{FOLDER}/{name}" for name in names}
    for tag in found.Tags()["images"]:
        images = found.Images(tag)
        assert [image.step for image in images] == steps
        for image in images:
            picture = Image.open(BytesIO(image.encoded_image_string))
            assert min(picture.size) >= side
            assert len(picture.getcolors(maxcolors=1 << 20) or ()) > 100


def table_of(record: Record, name: str, steps: Sequence[int]) -> list[str]:
    """The lines of a table's last version, of which there is one for each of these epochs."""
    tables = accumulated(record.tensorboard).Tensors(f"{FOLDER}/{name}")
    assert [table.step for table in tables] == steps
    lines: list[str] = tables[-1].tensor_proto.string_val[0].decode().splitlines()
    return lines
