"""Labelled pictures from files: npz archives and IDX files, the splits of Kuzushiji-MNIST and of OctMNIST; no torch.

Sources: Clanuwat et al. (2018), "Deep Learning for Classical Japanese Literature", https://github.com/rois-codh/kmnist;
Yang et al. (2023), "MedMNIST v2", Scientific Data 10, 41. The Intel scenes: `dlbench.data.intel_files`.
"""

import gzip
import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from dlbench.data import SPLITS, Splits, registry
from dlbench.errors import DataError
from dlbench.files import digest, regular
from dlbench.terminal import first_line, printable

SIDE = 28
"""Pixels a side of the grey pictures."""


@dataclass(frozen=True)
class Pictures:
    """One split: ``images`` is uint8 of shape (N, height, width, channels), ``labels`` int64 of shape (N,)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, positions: npt.NDArray[Any]) -> "Pictures":
        return Pictures(self.images[positions], self.labels[positions])


@dataclass(frozen=True)
class PictureSet(Splits[Pictures]):
    """A data set of pictures with the names of its classes, in the order of their labels."""

    classes: tuple[str, ...] = field(kw_only=True)

    def fingerprint(self) -> str:
        """SHA-256 over every split's images and labels, with names, shapes and types; wherever they were read from."""
        found = hashlib.sha256()
        for split, pictures in self.splits().items():
            for kind, array in (("images", pictures.images), ("labels", pictures.labels)):
                found.update(f"{split}/{kind} {array.shape} {array.dtype.str}\n".encode())
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


# --- npz -------------------------------------------------------------------------------------------------------------

KEYS = tuple(f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels"))


@dataclass(frozen=True)
class NpzForm:
    """What the arrays of an npz file must be like.

    ``picture`` is (height, width, channels), ``stored`` the shapes in which a file may hold one, all in that order of
    values; ``label`` is the shape of one label, ``classes`` how many there are, ``most`` how many pictures a split may
    have, ``remedy`` how a right file is had.
    """

    picture: tuple[int, int, int]
    stored: tuple[tuple[int, ...], ...]
    label: tuple[int, ...]
    classes: int
    most: int
    remedy: str

    def read(self, path: Path) -> dict[str, Pictures]:
        """The three splits of ``{train,val,test}_{images,labels}``; no array is unpacked before its header is right.

        Raises:
            DataError: The file is missing, damaged, holds pickled objects, or an array is missing or of another form.
        """
        try:
            with regular(path).open("rb") as file:
                if file.read(6) == np.lib.format.MAGIC_PREFIX:
                    raise self._wrong(f"{path}: a single array, not an npz archive of {', '.join(KEYS)}")
            with zipfile.ZipFile(path) as archive:
                members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
                if members.keys() != set(KEYS):
                    found, expected = (", ".join(sorted(keys)) or "none" for keys in (members, KEYS))
                    raise self._wrong(f"{path}: has the keys {found}, expected {expected}")
                return {split: self._pictures(path, archive, split, members) for split in SPLITS}
        except DataError:
            raise
        except FileNotFoundError as error:
            raise self._wrong(f"{path}: no such file") from error
        except Exception as error:  # zipfile, zlib and numpy's header parser meet damaged bytes with a dozen kinds
            raise self._wrong(f"{path}: cannot be read, truncated or altered ({first_line(error)})") from error

    def _pictures(
        self, path: Path, archive: zipfile.ZipFile, split: str, members: Mapping[str, zipfile.ZipInfo]
    ) -> Pictures:
        def array(kind: str, expected: str, is_right: Callable[[np.dtype[Any], tuple[int, ...]], bool]) -> Any:
            key = f"{split}_{kind}"
            if members[key].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{key} is packed otherwise than numpy does")  # which zipfile unpacks without a limit
            with archive.open(members[key]) as packed:
                if np.lib.format.read_magic(packed) != (1, 0):
                    raise ValueError(f"{key} is an array of a version that numpy does not write for numbers")
                shape, _, dtype = np.lib.format.read_array_header_1_0(packed)
                if dtype.hasobject:
                    text = f"{path}: {key} contains pickled objects, which can run code, and is not read"
                    raise DataError(f"{text}; save plain arrays (uint8 images, integer labels) instead")
                if not is_right(dtype, shape):
                    raise self._wrong(f"{path}: {key} is {dtype} {shape}, expected {expected}")
                packed.seek(0)
                found = np.lib.format.read_array(packed, allow_pickle=False)
                if packed.read(1):
                    raise ValueError(f"{key} is longer than its header says")
            return found

        shapes = " or ".join(f"(N, {', '.join(map(str, shape))})" for shape in self.stored)
        images = array(
            "images",
            f"uint8 {shapes} with N from 1 to {self.most}",
            lambda dtype, shape: dtype == np.uint8 and shape[1:] in self.stored and 0 < shape[0] <= self.most,
        )
        one_each = (len(images), *self.label)
        labels = array(
            "labels",
            f"integers {one_each}",
            lambda dtype, shape: np.issubdtype(dtype, np.integer) and shape == one_each,
        )
        low, high = labels.min(), labels.max()
        if low < 0 or high >= self.classes:
            raise self._wrong(f"{path}: {split}_labels is in {low}..{high}, expected 0..{self.classes - 1}")
        return Pictures(images.reshape(-1, *self.picture), labels.reshape(-1).astype(np.int64))

    def _wrong(self, what: str) -> DataError:
        return DataError(f"{what}; {self.remedy}")


def from_npz(
    path: Path, splits: dict[str, Pictures], classes: tuple[str, ...], registered: registry.File
) -> PictureSet:
    """The data set of an npz file: ``verified`` if it is the registered one, any other that fits a ``user copy``."""
    sha256 = digest(path)
    found = sha256 if registered.sha256 else digest(path, registered.algorithm)
    provenance = "verified" if found == registered.known_hash else "user copy"
    train, val, test = (splits[name] for name in SPLITS)
    return PictureSet(train, val, test, "npz", provenance, {printable(path.name): sha256}, classes=classes)


# --- OctMNIST (report e2324) ------------------------------------------------------------------------------------------

TestCut = Literal["course529", "official"]

OCTMNIST_CLASSES = ("CNV", "DME", "drusen", "normal")
"""Choroidal neovascularisation, diabetic macular oedema, drusen, and none of these."""

COURSE_CUT = (182, 55, 42, 250)
"""How many pictures of each class the course left in the test split, the first of each (e2324)."""

OCTMNIST = registry.get("octmnist").files[0]
_GET_OCTMNIST = "get it again with python -m dlbench data fetch octmnist"
_OCTMNIST_FORM = NpzForm((SIDE, SIDE, 1), ((SIDE, SIDE),), (1,), 4, 200_000, _GET_OCTMNIST)


def load_octmnist(path: Path, test_cut: TestCut = "official") -> PictureSet:
    """Read MedMNIST's file: images uint8 (N, 28, 28), labels integers 0-3 (N, 1), the test split cut if asked for.

    A file with the official MD5 is ``verified``; any other that fits is a ``user copy``.

    Raises:
        DataError: See `NpzForm.read`; or the test split is smaller than the cut.
    """
    splits = _OCTMNIST_FORM.read(path)
    if test_cut == "course529":
        labels = splits["test"].labels
        counts = np.bincount(labels, minlength=len(COURSE_CUT))
        if (counts < COURSE_CUT).any():
            text = f"{path}: test_labels has {counts.tolist()} of the classes, fewer than the cut of {list(COURSE_CUT)}"
            raise DataError(f"{text}; use data.test_cut=official")
        kept = [np.flatnonzero(labels == label)[:count] for label, count in enumerate(COURSE_CUT)]
        splits["test"] = splits["test"][np.sort(np.concatenate(kept))]
    return from_npz(path, splits, OCTMNIST_CLASSES, OCTMNIST)


# --- Kuzushiji-MNIST (report d2223) -----------------------------------------------------------------------------------

KMNIST_CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
KmnistPart = Literal["train", "t10k"]


def _wrong(what: str) -> DataError:
    return DataError(f"{what}; get it again with python -m dlbench data fetch kmnist")


def find_kmnist(folder: Path, *parts: KmnistPart) -> tuple[Path, ...] | None:
    """Images and labels of ``train``, ``t10k`` or both below a data folder; None if the first part's images are not.

    Raises:
        DataError: Only some of the files are there.
    """
    wanted = [file for part in parts for file in registered_kmnist(part)]
    found = [file.find(folder) for file in wanted]
    if found[0] is None:
        return None
    if missing := [file for file, path in zip(wanted, found, strict=True) if path is None]:
        text = f"{folder / missing[0].path}: no such file, though {found[0].name} is there"
        raise _wrong(f"{text}; {registry.get('kmnist').absence(folder, missing[0])}")
    return tuple(path for path in found if path is not None)


def registered_kmnist(part: str) -> list[registry.File]:
    """Images and labels of a part, as registered."""
    return [file for file in registry.get("kmnist").files if Path(file.path).name.startswith(part)]


def load_kmnist(*files: Path) -> PictureSet:
    """Read Kuzushiji-MNIST in the published split, or in another one of the official test pictures alone.

    The published split: 50,000 and 10,000 of the first 60,000 as d2223 drew them, and the last 10,000 as test. The
    other one: the official 10,000 test pictures, 8,000/1,000/1,000.

    Args:
        files: Images and labels, of training and test for the published split, of the test pictures for the other one.

    Raises:
        DataError: See `read_idx`; or there are too few pictures to split.
    """
    known = read_idx(*files[:2])
    is_published = len(files) == 4
    held_out, words = (10_000, "10000") if is_published else (2000, "twice 1000")
    if len(known) <= held_out:
        raise _wrong(f"{files[0]}: {len(known)} pictures, too few to split off {words}")
    order = shuffled(len(known))
    train = known[order[held_out:]]
    if is_published:
        val, test = known[order[:held_out]], read_idx(*files[2:])
    else:
        val, test = known[order[:1000]], known[order[1000:held_out]]
    hashes = [digest(path) for path in files]
    registered = [*registered_kmnist("train"), *registered_kmnist("t10k")][-len(files) :]
    is_registered = all(file.has(found) for file, found in zip(registered, hashes, strict=True))
    source, trusted = ("idx", "verified") if is_published else ("test10k", "other split")
    provenance = trusted if is_registered else "user copy"
    named = {path.name: found for path, found in zip(files, hashes, strict=True)}
    return PictureSet(train, val, test, source, provenance, named, classes=KMNIST_CLASSES)


def shuffled(n: int) -> npt.NDArray[np.int64]:
    """Positions in the order of scikit-learn's ``train_test_split(random_state=42)``: test first, then training."""
    # numpy has frozen the streams of RandomState, so this is the same for ever.
    return np.random.RandomState(42).permutation(n).astype(np.int64)


def check_kmnist(path: Path, folder: Path) -> None:
    """Load one of the files; labels together with their pictures, if these are in the data folder and whole.

    Raises:
        DataError: See `read_idx`.
    """
    if "images" in path.name:
        _read_pictures(path)
        return
    _read_labels(path)
    images = registered_kmnist("train" if path.name.startswith("train") else "t10k")[0].find(folder)
    if images is None:
        return
    try:
        _read_pictures(images)
    except DataError:
        return
    read_idx(images, path)


def read_idx(images: Path, labels: Path) -> Pictures:
    """Pictures (N, 28, 28, 1) and their labels (N,), from 0 to 9, of two IDX files.

    Raises:
        DataError: A file is damaged, cut short, or no IDX file of its kind; or the numbers of both differ.
    """
    pictures, numbers = _read_pictures(images), _read_labels(labels)
    if len(numbers) != len(pictures):
        raise _wrong(f"{labels}: {len(numbers)} labels for the {len(pictures)} pictures in {images.name}")
    return Pictures(pictures, numbers)


def _read_pictures(path: Path) -> npt.NDArray[np.uint8]:
    return _read_array(path, "pictures", SIDE, SIDE)[..., None]


def _read_labels(path: Path) -> npt.NDArray[np.int64]:
    found = _read_array(path, "labels")
    if found.max() >= len(KMNIST_CLASSES):
        raise _wrong(f"{path}: a label is {found.max()}, expected 0..{len(KMNIST_CLASSES) - 1}")
    return found.astype(np.int64)


_MOST = 70_000
"""Pictures of Kuzushiji-MNIST, all together: no file of it has more."""


def _read_array(path: Path, kind: str, *size: int) -> npt.NDArray[np.uint8]:
    """The bytes of an IDX file, gzipped or not, of which no more is unpacked than its header promises.

    An IDX file is 0, 0, type 8, the number of dimensions, their sizes as ``>i4``, the values.

    Args:
        path: The file, whatever its name.
        kind: What it holds, for people.
        size: The shape of one item.
    """
    dimensions = 1 + len(size)
    try:
        with regular(path).open("rb") as file, _unpacked(file) as content:
            header = content.read(4 + 4 * dimensions)
            shape = tuple(np.frombuffer(header[4:].ljust(4 * dimensions, b"\0"), ">i4").tolist())
            if header[:4] != bytes((0, 0, 8, dimensions)) or min(shape) < 1:
                begins = f"(begins with {header.hex(' ') or 'nothing'})"
                raise _wrong(f"{path}: no IDX file of {kind}, or cut short, or empty {begins}")
            if shape[1:] != size or shape[0] > _MOST:
                expected = f"({', '.join(map(str, ('N', *size)))}) with N up to {_MOST}"
                raise _wrong(f"{path}: holds uint8 {shape}, expected uint8 {expected}")
            values = content.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _wrong(f"{path}: cannot be read, truncated or altered ({first_line(error)})") from error
    if len(values) != math.prod(shape):
        than = "more" if len(values) > math.prod(shape) else "fewer"
        raise _wrong(f"{path}: has {than} bytes than its header says ({math.prod(shape)} of {kind})")
    return np.frombuffer(values, np.uint8).reshape(shape).copy()


def _unpacked(file: io.BufferedReader) -> IO[bytes]:
    """What a file holds, gzipped or not: browsers unpack some files and leave them their names."""
    return gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == b"\x1f\x8b" else file  # type: ignore[return-value]
