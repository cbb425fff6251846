"""Kuzushiji-MNIST, 28x28 grey, ten classes (REPORTS section 3), or drawn glyphs where the real pictures are not."""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt
from torch import Tensor

from dlbench.components import component
from dlbench.data import kmnist_files
from dlbench.data.batches import BatchOrder
from dlbench.data.embedded import glyphs
from dlbench.data.permutation import permute_pixels
from dlbench.data.picture_module import PictureDataModule
from dlbench.data.pictures import PictureSet
from dlbench.errors import DataError

Source = Literal["auto", "idx", "test10k", "embedded"]
Paths = tuple[Path, ...]


@component("kmnist", "1.0", outside=("source", "embedded_sizes"), uses=(BatchOrder,))
class KmnistDataModule(PictureDataModule):
    """Kuzushiji-MNIST in memory: 55 MB for the real set.

    Args:
        source: ``idx`` (the official files in the published split), ``test10k`` (the official test pictures alone in a
            split of their own: see `dlbench.data.kmnist_files.other_split`), ``embedded`` (drawn glyphs), or ``auto``:
            the published split if the training pictures are there, else embedded ones with a notice.
        permute_pixels: Whether the network gets all pixels in one fixed random order.
        batch_size: See `dlbench.data.picture_module.PictureDataModule`, for this and for those that follow.
        eval_batch_size: See there.
        embedded_sizes: See there.
        folder: See there.
        seed: See there.
    """

    name, title, drawn = "kmnist", "Kuzushiji-MNIST", "glyphs"
    generate = staticmethod(glyphs.generate)
    shown = "train", 4

    def __init__(
        self,
        *,
        source: Source = "auto",
        permute_pixels: bool = False,
        batch_size: Annotated[int, Gt(0)] = 8,
        eval_batch_size: Annotated[int, Gt(0)] = 250,
        embedded_sizes: Sequence[int] = (4000, 500, 1000),
        folder: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            source=source,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            embedded_sizes=embedded_sizes,
            folder=folder,
            seed=seed,
        )
        self.permute_pixels = permute_pixels

    def find(self) -> Paths | None:
        """See `dlbench.data.kmnist_files.find`."""
        return kmnist_files.find(self.folder, *(("t10k",) if self.source == "test10k" else ("train", "t10k")))

    def load(self, found: Paths) -> PictureSet:
        """See `dlbench.data.kmnist_files`."""
        return _read(found, tuple(path.stat().st_mtime_ns for path in found))

    def remedy(self) -> str:
        """How the real pictures are had, and whether those of the other split are there."""
        remedy = super().remedy()
        with suppress(DataError):
            if self.source == "auto" and kmnist_files.find(self.folder, "t10k"):
                remedy += "; the test pictures are there: data.source=test10k splits them"
        return remedy

    def arrange(self, pictures: Tensor) -> Tensor:
        """See `PictureDataModule.arrange`; pixels are permuted if that is asked for."""
        arranged = super().arrange(pictures)
        return permute_pixels(arranged) if self.permute_pixels else arranged


# The runs of a sweep share a process, and its pictures with it.
@lru_cache(maxsize=1)
def _read(paths: Paths, _changed_ns: tuple[int, ...]) -> PictureSet:
    return kmnist_files.other_split(*paths) if len(paths) == 2 else kmnist_files.published(*paths)
