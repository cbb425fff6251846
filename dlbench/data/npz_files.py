"""Labelled pictures in an npz file: ``{train,val,test}_{images,labels}``, each array checked before it is used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dlbench.data.images import Pictures
from dlbench.errors import DataError
from dlbench.terminal import first_line

KEYS = tuple(f"{split}_{kind}" for split in ("train", "val", "test") for kind in ("images", "labels"))


class Form(NamedTuple):
    """What the arrays of a file must be like.

    ``picture`` is (height, width, channels), ``stored`` the shapes in which a file may hold one, all in that order of
    values; ``label`` is the shape of one label, ``classes`` how many there are, ``remedy`` how a right file is had.
    """

    picture: tuple[int, int, int]
    stored: tuple[tuple[int, ...], ...]
    label: tuple[int, ...]
    classes: int
    remedy: str


def load(path: Path, form: Form) -> dict[str, Pictures]:
    """The three splits.

    Raises:
        DataError: The file is missing, damaged, holds pickled objects, or an array is missing or of another form.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: a single array, not an npz archive of {', '.join(KEYS)}; {form.remedy}")
        with archive:
            if set(archive.files) != set(KEYS):
                raise DataError(f"{path}: has the keys {_list(archive.files)}, expected {_list(KEYS)}; {form.remedy}")
            arrays = {key: _read(path, archive, key) for key in KEYS}
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {form.remedy}") from error
    except Exception as error:  # zipfile, zlib and numpy's header parser meet damaged bytes with a dozen kinds
        raise DataError(f"{path}: cannot be read, truncated or altered ({first_line(error)}); {form.remedy}") from error
    return {split: checked(path, form, split, arrays) for split in ("train", "val", "test")}


def checked(path: Path, form: Form, split: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Pictures:
    """One split of a file's arrays.

    Raises:
        DataError: One of them is not as it must be.
    """
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]

    def expect(is_right: bool, kind: str, found: object, expected: str) -> None:
        if not is_right:
            raise DataError(f"{path}: {split}_{kind} is {found}, expected {expected}; {form.remedy}")

    shapes = " or ".join(f"(N, {', '.join(map(str, shape))})" for shape in form.stored)
    is_image = images.dtype == np.uint8 and images.shape[1:] in form.stored and len(images) > 0
    expect(is_image, "images", f"{images.dtype} {images.shape}", f"uint8 {shapes}")
    shape = (len(images), *form.label)
    is_label = np.issubdtype(labels.dtype, np.integer) and labels.shape == shape
    expect(is_label, "labels", f"{labels.dtype} {labels.shape}", f"integers {shape}")
    low, high = labels.min(), labels.max()
    expect(low >= 0 and high < form.classes, "labels", f"in {low}..{high}", f"0..{form.classes - 1}")
    return Pictures(images.reshape(-1, *form.picture), labels.reshape(-1).astype(np.int64))


def _read(path: Path, archive: Any, key: str) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = archive[key]
    except ValueError as error:
        if "allow_pickle" in str(error):
            text = f"{path}: {key} contains pickled objects, which can run code, and is not read; save plain arrays"
            raise DataError(f"{text} (uint8 images, integer labels) instead") from error
        raise
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{key} is no array")
    return array


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
