"""Kuzushiji-MNIST from disk: the four gzip files in IDX format, and how they are split (REPORTS section 3).

Source: Clanuwat et al. (2018), "Deep Learning for Classical Japanese Literature", https://github.com/rois-codh/kmnist.
"""

import gzip
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dlbench import paths
from dlbench.data import registry
from dlbench.data.images import Pictures, PictureSet
from dlbench.errors import DataError
from dlbench.files import digest
from dlbench.terminal import first_line

Part = Literal["train", "t10k"]

CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
SIDE = 28
VALIDATION = 10_000
"""Pictures of the published validation split."""

OTHER_SPLIT = 1000
"""Pictures of the validation and of the test split made of the official test pictures."""

_SPLIT_SEED = 42
_GET = "get it again with python -m dlbench data fetch kmnist"


def find(folder: Path, *parts: Part) -> tuple[Path, ...] | None:
    """Images and labels of ``train``, ``t10k`` or both below a data folder; None if the first part's images are not.

    Raises:
        DataError: Only some of the files are there; or see `dlbench.paths.require`.
    """
    paths.require(folder)
    wanted = [file for part in parts for file in registry.get("kmnist").files if Path(file.path).name.startswith(part)]
    found = [registry.locate(file, folder) for file in wanted]
    if found[0] is None:
        return None
    if missing := [file.path for file, path in zip(wanted, found, strict=True) if path is None]:
        raise DataError(f"{folder / missing[0]}: no such file, though {found[0].name} is there; {_GET}")
    return tuple(path for path in found if path is not None)


def shuffled(n: int) -> npt.NDArray[np.int64]:
    """Positions in the order of scikit-learn's ``train_test_split(random_state=42)``: test first, then training."""
    # numpy has frozen the streams of RandomState, so this is the same for ever.
    order = np.random.RandomState(_SPLIT_SEED).permutation(n)
    return order.astype(np.int64)


def published(images: Path, labels: Path, test_images: Path, test_labels: Path) -> PictureSet:
    """The published split: 50,000 and 10,000 of the first 60,000 as d2223 drew them, and the last 10,000 as test.

    Raises:
        DataError: See `read`; or there are too few training pictures to split.
    """
    known, test = read(images, labels), read(test_images, test_labels)
    if len(known) <= VALIDATION:
        raise DataError(f"{images}: {len(known)} pictures, too few to split off {VALIDATION}; {_GET}")
    order = shuffled(len(known))
    splits = _chosen(known, order[VALIDATION:]), _chosen(known, order[:VALIDATION]), test
    return PictureSet(*splits, CLASSES, "idx", *_origin((images, labels, test_images, test_labels), "verified"))


def other_split(images: Path, labels: Path) -> PictureSet:
    """The official 10,000 test pictures alone in a split of their own, 8,000/1,000/1,000: not the published one.

    Raises:
        DataError: See `read`; or there are too few pictures to split.
    """
    whole = read(images, labels)
    if len(whole) <= 2 * OTHER_SPLIT:
        raise DataError(f"{images}: {len(whole)} pictures, too few to split off twice {OTHER_SPLIT}; {_GET}")
    val, test, train = np.split(shuffled(len(whole)), (OTHER_SPLIT, 2 * OTHER_SPLIT))
    splits = _chosen(whole, train), _chosen(whole, val), _chosen(whole, test)
    return PictureSet(*splits, CLASSES, "test10k", *_origin((images, labels), "other split"))


def read(images: Path, labels: Path) -> Pictures:
    """Pictures and their labels from two files.

    Raises:
        DataError: A file is damaged, cut short, or no IDX file of its kind; or the numbers of both differ.
    """
    pictures, numbers = read_pictures(images), read_labels(labels)
    if len(numbers) != len(pictures):
        raise DataError(f"{labels}: {len(numbers)} labels for the {len(pictures)} pictures in {images.name}; {_GET}")
    return Pictures(pictures, numbers)


def check(path: Path) -> None:
    """Load one of the files; labels together with their pictures, if these are beside them and whole.

    Raises:
        DataError: See `read`.
    """
    if "images" in path.name:
        read_pictures(path)
        return
    read_labels(path)
    images = path.with_name(path.name.replace("labels-idx1", "images-idx3"))
    try:
        read_pictures(images)
    except DataError:
        return
    read(images, path)


def read_pictures(path: Path) -> npt.NDArray[np.uint8]:
    """Pictures (N, 28, 28, 1) of an IDX file.

    Raises:
        DataError: It is damaged, cut short, or no IDX file of such pictures.
    """
    found = _read_idx(path, "pictures")
    if found.shape[1:] != (SIDE, SIDE) or not len(found):
        raise DataError(f"{path}: holds {found.dtype} {found.shape}, expected uint8 (N, {SIDE}, {SIDE}); {_GET}")
    return found.astype(np.uint8)[..., None]


def read_labels(path: Path) -> npt.NDArray[np.int64]:
    """Labels (N,) of an IDX file, from 0 to 9.

    Raises:
        DataError: It is damaged, cut short, or no IDX file of such labels.
    """
    found = _read_idx(path, "labels")
    if not len(found) or found.max() >= len(CLASSES):
        text = f"a label is {found.max()}" if len(found) else "has no labels"
        raise DataError(f"{path}: {text}, expected 0..{len(CLASSES) - 1}; {_GET}")
    return found.astype(np.int64)


def _read_idx(path: Path, kind: Literal["pictures", "labels"]) -> npt.NDArray[Any]:
    from torchvision.datasets import mnist

    try:
        with tempfile.TemporaryDirectory(prefix="dlbench-idx-") as scratch:
            unpacked = Path(scratch) / path.stem
            with gzip.open(path) as packed, unpacked.open("wb") as plain:
                shutil.copyfileobj(packed, plain)
            reader = mnist.read_image_file if kind == "pictures" else mnist.read_label_file
            array: npt.NDArray[Any] = reader(str(unpacked)).numpy()
            return array
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, truncated or altered ({first_line(error)}); {_GET}") from error
    except (AssertionError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no IDX file of {kind}, or cut short ({first_line(error)}); {_GET}") from error


def _chosen(pictures: Pictures, positions: npt.NDArray[np.int64]) -> Pictures:
    return Pictures(pictures.images[positions], pictures.labels[positions])


def _origin(paths: tuple[Path, ...], trusted: str) -> tuple[str, dict[str, str]]:
    """Provenance, ``trusted`` where every file is the registered one of its name, and the SHA-256 by name."""
    files = {path.name: digest(path) for path in paths}
    registered = {Path(file.path).name: file.sha256 for file in registry.get("kmnist").files}
    return trusted if files.items() <= registered.items() else "user copy", files
