"""Checkpoints that carry their own checksum in their name, so that a damaged one is known before it is loaded."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from dlbench.files import digest
from dlbench.records.files import atomic_path, set_aside
from dlbench.records.lock import still_held

NAME = re.compile(r"epoch-(?P<epoch>\d{4})\.(?P<digest>[0-9a-f]{16})\.ckpt")
KEEP = 2
"""How many of the newest are kept while training: if the last is damaged, one epoch is lost, not the run."""


@dataclass(frozen=True)
class Checkpoint:
    """A file that claims to hold the state after ``epoch`` epochs."""

    path: Path
    epoch: int
    digest: str

    def is_whole(self) -> bool:
        """Whether its content is what its name says."""
        return self.path.is_file() and digest(self.path).startswith(self.digest)


class CheckpointFolder:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Checkpoint]:
        """Every checkpoint by name, oldest first; whole or not."""
        matches = ((path, NAME.fullmatch(path.name)) for path in self.folder.glob("epoch-*.ckpt"))
        found = [Checkpoint(path, int(match["epoch"]), match["digest"]) for path, match in matches if match]
        return sorted(found, key=lambda checkpoint: checkpoint.epoch)

    def save(self, epoch: int, write: Callable[[Path], None]) -> None:
        """Have ``write`` fill a temporary file; give it its name once it is whole.

        Raises:
            RecordError: It cannot be written.
        """
        stem = f"epoch-{epoch:04d}"
        with atomic_path(self.folder / stem, name=lambda path: f"{stem}.{digest(path)[:16]}.ckpt") as temporary:
            write(temporary)

    def prune(self, best: Collection[int], keep: int = KEEP) -> None:
        """Delete all but the newest ``keep`` and the epochs in ``best``; their weights are of no more use."""
        checkpoints = self.all()
        for checkpoint in checkpoints[:-keep]:
            if checkpoint.epoch not in best:
                still_held(checkpoint.path)
                checkpoint.path.unlink()

    def whole(self) -> list[Checkpoint]:
        """The checkpoints whose content is what their name says, oldest first; damaged ones are set aside."""
        found = []
        for checkpoint in self.all():
            if checkpoint.is_whole():
                found.append(checkpoint)
            else:
                set_aside(checkpoint.path)
        return found

    def discard_after(self, epoch: int) -> None:
        """Set aside what is newer than ``epoch``, before training goes on from there."""
        for checkpoint in self.all():
            if checkpoint.epoch > epoch:
                set_aside(checkpoint.path)
