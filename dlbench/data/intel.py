"""Intel scenes, 48x48 RGB, six classes (REPORTS section 1), or drawn stand-ins where the real pictures are not."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt
from torch import Tensor

from dlbench.components import component
from dlbench.data import intel_files
from dlbench.data.batches import BatchOrder, Layout, to_network
from dlbench.data.embedded import scenes
from dlbench.data.folders import check_cache
from dlbench.data.picture_module import PictureDataModule
from dlbench.data.pictures import PictureSet

Source = Literal["auto", "npz", "folder", "embedded"]


@component("intel", "1.0", outside=("source", "embedded_sizes"), uses=(BatchOrder,))
class IntelDataModule(PictureDataModule):
    """The Intel scenes in memory: 117 MB for the real set, batches gathered by index.

    Args:
        source: ``npz`` (the course's keys), ``folder`` (official seg_train/seg_test), ``embedded`` (drawn scenes), or
            ``auto``: real pictures if the data folder has them, else embedded ones with a notice.
        layout: ``chw`` (correct) or ``scrambled`` (as published; see `dlbench.data.batches.to_network`).
        batch_size: Pictures a training step.
        eval_batch_size: Pictures a validation or test step.
        embedded_sizes: Pictures to draw for train, val and test when the source is ``embedded``.
        folder: The data folder; default: see `dlbench.data.folders.data_folder`.
        cache: Where resized pictures are kept; default: see `dlbench.data.folders.cache_folder`.
        seed: The run's seed, from which the order of training pictures comes.
    """

    name, title, drawn = "intel", "Intel", "scenes"
    generate = staticmethod(scenes.generate)
    source: Source

    def __init__(
        self,
        *,
        source: Source = "auto",
        layout: Layout = "chw",
        batch_size: Annotated[int, Gt(0)] = 8,
        eval_batch_size: Annotated[int, Gt(0)] = 250,
        embedded_sizes: Sequence[int] = (1200, 240, 480),
        folder: str | None = None,
        cache: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            source=source,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            embedded_sizes=embedded_sizes,
            folder=folder,
            cache=cache,
            seed=seed,
        )
        self.layout: Layout = layout

    def find(self) -> tuple[intel_files.Kind, Path] | None:
        """See `dlbench.data.intel_files.find`."""
        return intel_files.find(self.folder, self.source if self.source in ("npz", "folder") else None)

    def load(self, found: tuple[intel_files.Kind, Path]) -> PictureSet:
        """Read the npz file, or the official folders by way of the cache.

        Raises:
            DataError: See `dlbench.data.intel_files`; or the cache lies in the data folder.
        """
        check_cache(self.cache, self.folder)
        kind, path = found
        return _read_npz(path, path.stat().st_mtime_ns) if kind == "npz" else intel_files.load_folder(path, self.cache)

    def arrange(self, pictures: Tensor) -> Tensor:
        """Pictures (N, height, width, channels) in the layout chosen, (N, channels, height, width)."""
        return to_network(pictures, self.layout)


# The runs of a sweep share a process, and its pictures with it.
@lru_cache(maxsize=1)
def _read_npz(path: Path, _changed_ns: int) -> PictureSet:
    return intel_files.load_npz(path)
