"""OctMNIST, 28x28 grey, four classes (REPORTS section 5), or drawn scans where the real pictures are not.

Source: Yang et al. (2023), "MedMNIST v2", Scientific Data 10, 41.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Gt

from dlbench.data import npz_files, registry
from dlbench.data.embedded import retina
from dlbench.data.picture_module import PictureDataModule
from dlbench.data.pictures import Pictures, PictureSet
from dlbench.errors import DataError
from dlbench.files import digest

Source = Literal["auto", "npz", "embedded"]
TestCut = Literal["course529", "official"]

CLASSES = retina.CLASSES
COURSE_CUT = (182, 55, 42, 250)
"""How many pictures of each class the course left in the test split, the first of each (e2324)."""

_FILE = registry.get("octmnist").files[0]
_GET = "get it again with python -m dlbench.data fetch octmnist"
_FORM = npz_files.Form(picture=(28, 28, 1), stored=((28, 28),), label=(1,), classes=len(CLASSES), remedy=_GET)


class OctmnistDataModule(PictureDataModule):
    """OctMNIST in memory: 86 MB for the real set.

    Args:
        source: ``npz`` (MedMNIST's file), ``embedded`` (drawn scans), or ``auto``: the real pictures if they are there,
            else embedded ones with a notice.
        test_cut: ``course529`` (see `COURSE_CUT`) or ``official``: all 1000. Embedded pictures are not cut.
        batch_size: See `dlbench.data.picture_module.PictureDataModule`, for this and for those that follow.
        eval_batch_size: See there.
        embedded_sizes: See there.
        folder: See there.
        cache: Not used; every data set here takes one.
        seed: See there.
    """

    name, title, drawn = "octmnist", "OctMNIST", "scans"
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
        self.test_cut: TestCut = test_cut

    def find(self) -> Path | None:
        """The npz file."""
        return registry.locate(_FILE, self.folder)

    def load(self, found: Path) -> PictureSet:
        """See `load_npz`."""
        return _read(found, self.test_cut, found.stat().st_mtime_ns)

    def draw(self, sizes: tuple[int, ...]) -> PictureSet:
        """See `dlbench.data.embedded.retina`."""
        return _draw(sizes)


def load_npz(path: Path, test_cut: TestCut = "official") -> PictureSet:
    """Read MedMNIST's file: images uint8 (N, 28, 28), labels integers 0-3 (N, 1), the test split cut if asked for.

    A file with the official MD5 is ``verified``; any other that fits is a ``user copy``.

    Raises:
        DataError: See `dlbench.data.npz_files.load`; or the test split is smaller than the cut.
    """
    splits = npz_files.load(path, _FORM)
    if test_cut == "course529":
        splits["test"] = _cut(splits["test"], path)
    is_official = digest(path, _FILE.algorithm) == _FILE.known_hash
    provenance = "verified" if is_official else "user copy"
    return PictureSet(**splits, classes=CLASSES, source="npz", provenance=provenance, files={path.name: digest(path)})


def _cut(test: Pictures, path: Path) -> Pictures:
    """The first pictures of each class, as many as `COURSE_CUT` says, in their order."""
    counts = np.bincount(test.labels, minlength=len(CLASSES))
    if (counts < COURSE_CUT).any():
        text = f"{path}: test_labels has {counts.tolist()} of the classes, fewer than the cut of {list(COURSE_CUT)}"
        raise DataError(f"{text}; use data.test_cut=official")
    places: list[npt.NDArray[np.int64]] = [
        np.flatnonzero(test.labels == label)[:count] for label, count in enumerate(COURSE_CUT)
    ]
    kept = np.sort(np.concatenate(places))
    return Pictures(test.images[kept], test.labels[kept])


# The runs of a sweep share a process, and its pictures with it.
@lru_cache(maxsize=1)
def _draw(sizes: tuple[int, ...]) -> PictureSet:
    return retina.generate(sizes=sizes)


@lru_cache(maxsize=1)
def _read(path: Path, test_cut: TestCut, _changed_ns: int) -> PictureSet:
    return load_npz(path, test_cut)
