"""OctMNIST, 28x28 grey, four classes (REPORTS section 5), or drawn scans where the real pictures are not."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt

from dlbench.components import component
from dlbench.data import octmnist_files
from dlbench.data.batches import BatchOrder
from dlbench.data.embedded import retina
from dlbench.data.octmnist_files import TestCut
from dlbench.data.picture_module import PictureDataModule
from dlbench.data.pictures import PictureSet

Source = Literal["auto", "npz", "embedded"]


@component("octmnist", "1.0", outside=("source", "embedded_sizes"), uses=(BatchOrder,))
class OctmnistDataModule(PictureDataModule):
    """OctMNIST in memory: 86 MB for the real set.

    Args:
        source: ``npz`` (MedMNIST's file), ``embedded`` (drawn scans), or ``auto``: the real pictures if they are there,
            else embedded ones with a notice.
        test_cut: ``course529`` (529 of the test pictures: see `dlbench.data.octmnist_files.COURSE_CUT`) or ``official``
            (all 1000). Embedded pictures are not cut.
        batch_size: See `dlbench.data.picture_module.PictureDataModule`, for this and for those that follow.
        eval_batch_size: See there.
        embedded_sizes: See there.
        folder: See there.
        seed: See there.
    """

    name, title, drawn = "octmnist", "OctMNIST", "scans"
    generate = staticmethod(retina.generate)
    shown = "train", 4

    def __init__(
        self,
        *,
        source: Source = "auto",
        test_cut: TestCut = "course529",
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
        self.test_cut: TestCut = test_cut

    def find(self) -> Path | None:
        """See `dlbench.data.octmnist_files.find`."""
        return octmnist_files.find(self.folder)

    def load(self, found: Path) -> PictureSet:
        """See `dlbench.data.octmnist_files.load_npz`."""
        return _read(found, self.test_cut, found.stat().st_mtime_ns)


# The runs of a sweep share a process, and its pictures with it.
@lru_cache(maxsize=1)
def _read(path: Path, test_cut: TestCut, _changed_ns: int) -> PictureSet:
    return octmnist_files.load_npz(path, test_cut)
