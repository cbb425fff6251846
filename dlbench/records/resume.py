"""Where an interrupted training goes on."""

from typing import Any

import torch

from dlbench.callbacks.recorder import EpochRecorder
from dlbench.messages import say
from dlbench.records import history
from dlbench.records.checkpoints import Checkpoint
from dlbench.records.files import set_aside
from dlbench.records.store import Record


def resume_point(record: Record) -> Checkpoint | None:
    """The newest whole checkpoint whose best epoch and whose curves are whole too; what came after it is cut back.

    None means from the start; whatever was there is then set aside.
    """
    whole = record.checkpoints.whole()
    epochs = {checkpoint.epoch for checkpoint in whole}
    recorded = history.epochs_without_gap(record.metrics)
    for checkpoint in reversed(whole):
        if checkpoint.epoch > recorded:
            continue
        state = recorder_state(load(checkpoint))
        if state["best_epoch"] in epochs and state["curves"] == history.digest_of(record.metrics, checkpoint.epoch):
            record.checkpoints.discard_after(checkpoint.epoch)
            history.cut_back(record.metrics, checkpoint.epoch)
            history.cut_back_tensorboard(record.tensorboard, checkpoint.epoch)
            say(f"record {record.id}: going on after epoch {checkpoint.epoch}")
            return checkpoint
    if record.folder.exists():
        aside = set_aside(record.folder)
        say(f"record {record.id}: no checkpoint to go on from; set aside as {aside.name}, training from the start")
    return None


def load(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint's content: tensors and plain values only, nothing that could run code."""
    content: dict[str, Any] = torch.load(checkpoint.path, map_location="cpu", weights_only=True)
    return content


def recorder_state(content: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint's recorder knew: see `dlbench.callbacks.recorder.EpochRecorder.state_dict`."""
    state: dict[str, Any] = content["callbacks"][EpochRecorder.__qualname__]
    return state
