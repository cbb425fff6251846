"""OctMNIST from disk: MedMNIST's npz file, and the course's cut of its test split (REPORTS section 5).

Source: Yang et al. (2023), "MedMNIST v2", Scientific Data 10, 41.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from dlbench import paths
from dlbench.data import npz_files, registry
from dlbench.data.images import Pictures, PictureSet
from dlbench.errors import DataError
from dlbench.files import digest

TestCut = Literal["course529", "official"]

CLASSES = ("CNV", "DME", "drusen", "normal")
"""Choroidal neovascularisation, diabetic macular oedema, drusen, and none of these."""

COURSE_CUT = (182, 55, 42, 250)
"""How many pictures of each class the course left in the test split, the first of each (e2324)."""

_FILE = registry.get("octmnist").files[0]
_GET = "get it again with python -m dlbench data fetch octmnist"
_FORM = npz_files.Form(picture=(28, 28, 1), stored=((28, 28),), label=(1,), classes=len(CLASSES), remedy=_GET)


def find(folder: Path) -> Path | None:
    """The npz file below a data folder, if it is there.

    Raises:
        DataError: See `dlbench.paths.require`.
    """
    paths.require(folder)
    return registry.locate(_FILE, folder)


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
    places = [np.flatnonzero(test.labels == label)[:count] for label, count in enumerate(COURSE_CUT)]
    kept = np.sort(np.concatenate(places))
    return Pictures(test.images[kept], test.labels[kept])
