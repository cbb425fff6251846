"""The Intel scenes from disk: the 48x48 npz file, or the official folders of 150x150 pictures; no torch.

Sources: Intel Image Classification (Kaggle, puneet6060/intel-image-classification); the npz has the keys and sizes of
the coursework's file, and its validation split is a tenth of the official training files sorted by class and number.
"""

import os
from pathlib import Path
from typing import Literal

from dlbench import paths
from dlbench.data import registry
from dlbench.data.image_files import NpzForm, PictureSet, from_npz
from dlbench.data.image_folders import ClassFolders, tenth
from dlbench.errors import DataError

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SPLITS = ("seg_train", "seg_test")
SIDE = 48
NPZ = "intel_landscapes.npz"
_GET = "get it again with python -m dlbench data fetch intel"
_FORM = NpzForm((SIDE, SIDE, 3), ((SIDE, SIDE, 3), (SIDE * SIDE * 3,)), (), len(CLASSES), 30_000, _GET)

Kind = Literal["npz", "folder"]


def find(folder: Path, kind: Kind | None = None) -> tuple[Kind, Path] | None:
    """Where the Intel scenes lie below a data folder: an npz file before a folder, or only the kind asked for.

    An npz is looked for as ``intel/intel_landscapes.npz``, any single ``intel/*.npz``, then ``intel_landscapes.npz``;
    official folders in ``intel_folder/``, ``intel/``, the data folder itself, or wherever Kaggle's archive was unpacked
    up to two folders below it; the path of the folder that holds them is then returned.

    Raises:
        DataError: The data folder does not exist and is not just the default; or see `find_npz` and `find_folder`.
    """
    paths.require(folder)
    if kind != "folder" and (path := find_npz(folder)):
        return "npz", path
    if kind != "npz" and (base := find_folder(folder)):
        return "folder", base
    return None


def find_npz(folder: Path) -> Path | None:
    """The npz file below a data folder.

    Raises:
        DataError: ``intel/`` holds several npz files none of which has the usual name.
    """
    usual, others = registry.get("intel").files[0].find(folder), sorted((folder / "intel").glob("*.npz"))
    if not usual and len(others) > 1:
        names = ", ".join(path.name for path in others)
        raise DataError(f"{folder / 'intel'}: several npz files ({names}); name the right one {NPZ}")
    return usual or (others[0] if others else None)


def find_folder(folder: Path) -> Path | None:
    """The folder at or below the data folder that holds ``seg_train`` or ``seg_test``.

    Raises:
        DataError: Several do, all of them unpacked in places of their own.
    """
    part = registry.get("intel_folder").folders[0]
    usual = str(Path(part.path).parent)
    for place in (usual, *part.also):
        bases = [folder / place] if "*" not in place else sorted(folder.glob(place))
        # What is hidden is unfinished, and macOS puts no pictures into __MACOSX.
        bases = [
            base for base in bases if not any(name.startswith((".", "__")) for name in base.relative_to(folder).parts)
        ]
        found = [base for base in bases if any(os.path.lexists(base / name) for name in SPLITS)]
        if len(found) > 1:
            names = ", ".join(base.relative_to(folder).as_posix() for base in found)
            text = f"{folder}: several folders with {' or '.join(SPLITS)} ({names})"
            raise DataError(f"{text}; name the right one {usual}")
        if found:
            return found[0]
    return None


def split_folder(base: Path, name: str) -> Path:
    """The folder of class folders of ``seg_train`` or ``seg_test``, which Kaggle's archive nests in one of its name."""
    nested = base / name / name
    return nested if nested.is_dir() else base / name


def load_npz(path: Path) -> PictureSet:
    """Read ``{train,val,test}_{images,labels}`` from an npz file.

    Images are uint8 of shape (N, 48, 48, 3), or flattened to (N, 6912) in the same order; labels are integers 0-5 of
    shape (N,). A file with the registered SHA-256 is ``verified``; any other that fits is a ``user copy``.

    Raises:
        DataError: The file is missing, damaged, holds pickled objects, or an array is missing or of another form.
    """
    return from_npz(path, _FORM.read(path), CLASSES, registry.get("intel").files[0])


def folders(base: Path) -> ClassFolders:
    """The official folders ``seg_train`` and ``seg_test`` at ``base``."""
    return ClassFolders(base, {name: split_folder(base, name) for name in SPLITS}, CLASSES, SIDE, _GET)


def load_folder(path: Path, cache: Path) -> PictureSet:
    """Read the official folders, every picture resized to 48x48; in each, the order is that of the npz file.

    Raises:
        DataError: See `dlbench.data.image_folders.ClassFolders.load`.
    """
    splits, files = folders(path).load(cache, "intel")
    official = splits["seg_train"]
    train, val = (official[chosen] for chosen in tenth(len(official)))
    return PictureSet(train, val, splits["seg_test"], "folder", "user copy", files, classes=CLASSES)
