"""The Intel scenes from disk: the 48x48 npz file, or the official folders of 150x150 pictures.

Sources: Intel Image Classification (Kaggle, puneet6060/intel-image-classification); the npz has the keys and sizes of
the coursework's file, and its validation split is a tenth of the official training files sorted by class and number.
"""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from dlbench.data import folders, npz_files, registry
from dlbench.data.pictures import Pictures, PictureSet
from dlbench.errors import DataError
from dlbench.files import atomic_path, digest
from dlbench.messages import first_line

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SPLITS = ("seg_train", "seg_test")
SIDE = 48
_GET = "get it again with python -m dlbench.data fetch intel"
_FORM = npz_files.Form(
    picture=(SIDE, SIDE, 3), stored=((SIDE, SIDE, 3), (SIDE * SIDE * 3,)), label=(), classes=len(CLASSES), remedy=_GET
)

Kind = Literal["npz", "folder"]


def find(folder: Path, kind: Kind | None = None) -> tuple[Kind, Path] | None:
    """Where the Intel scenes lie below a data folder: an npz file before a folder, or only the kind asked for.

    An npz is looked for as ``intel/intel_landscapes.npz``, any single ``intel/*.npz``, then ``intel_landscapes.npz``;
    official folders in ``intel_folder/``, ``intel/`` and the data folder itself, whose path is then returned.

    Raises:
        DataError: the data folder does not exist and is not just the default; or ``intel/`` holds several npz files
            none of which has the usual name.
    """
    folders.require(folder)
    if kind != "folder" and (npz := _find_npz(folder)):
        return "npz", npz
    if kind != "npz" and (base := find_folder(folder)):
        return "folder", base
    return None


def _find_npz(folder: Path) -> Path | None:
    usual = [path for path in (folder / "intel" / registry.INTEL_NPZ, folder / registry.INTEL_NPZ) if path.is_file()]
    others = sorted((folder / "intel").glob("*.npz"))
    if not usual and len(others) > 1:
        names = ", ".join(path.name for path in others)
        raise DataError(f"{folder / 'intel'}: several npz files ({names}); name the right one {registry.INTEL_NPZ}")
    return next(iter(usual + others), None)


def find_folder(folder: Path) -> Path | None:
    """The folder at or below the data folder that holds ``seg_train`` or ``seg_test``."""
    bases = (folder / "intel_folder", folder / "intel", folder)
    return next((base for base in bases if any((base / name).is_dir() for name in SPLITS)), None)


def split_folder(base: Path, name: str) -> Path:
    """The folder of class folders of ``seg_train`` or ``seg_test``, which Kaggle's archive nests in one of its name."""
    nested = base / name / name
    return nested if nested.is_dir() else base / name


def split_indices(n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Training and validation indices into n files sorted by class and number: a tenth, rounded up, is validation.

    The draw is numpy's ``default_rng(42).permutation(n)``; both parts keep the sorted order, as in the npz file.
    """
    chosen = np.zeros(n, dtype=np.bool_)
    chosen[np.random.default_rng(42).permutation(n)[: -(-n // 10)]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def load_npz(path: Path) -> PictureSet:
    """Read ``{train,val,test}_{images,labels}`` from an npz file.

    Images are uint8 of shape (N, 48, 48, 3), or flattened to (N, 6912) in the same order; labels are integers 0-5 of
    shape (N,). A file with the registered SHA-256 is ``verified``; any other that fits is a ``user copy``.

    Raises:
        DataError: the file is missing, damaged, holds pickled objects, or an array is missing or of another form.
    """
    splits = npz_files.load(path, _FORM)
    sha256 = digest(path)
    provenance = "verified" if registry.is_known(sha256) else "user copy"
    return PictureSet(**splits, classes=CLASSES, source="npz", provenance=provenance, files={path.name: sha256})


def load_folder(path: Path, cache: Path) -> PictureSet:
    """Read the official folders ``seg_train`` and ``seg_test``, every picture resized to 48x48 RGB (PIL, bilinear).

    The resized pictures are kept in ``cache``. Their key is made of the contents of all pictures (with names and the
    Pillow version), not of times or sizes: the contents are hashed for the record in any case, a changed picture can
    then never be taken for the old one, and a copied or touched folder needs no second decoding. ``files`` holds for
    either split the SHA-256 of what ``sha256sum */*`` prints in it, sorted by class and name.

    Raises:
        DataError: a split or class is missing, a folder is no class, a picture does not decode, or the cache folder
            cannot be used or lies among the pictures.
    """
    if cache.resolve().is_relative_to(path.resolve()):
        raise DataError(f"{cache}: the cache may not lie in the data's own folder; set DLBENCH_CACHE to another one")
    files = {name: _manifest_hash(split_folder(path, name), path) for name in SPLITS}
    key = hashlib.sha256(f"{files} {SIDE} bilinear {PIL.__version__}".encode()).hexdigest()[:16]
    splits = _read_cache(cache, f"intel-{key}")
    if splits is None:
        splits = {name: read_split(path, name) for name in SPLITS}
        _write_cache(cache, f"intel-{key}", splits)
    official = splits["seg_train"]
    train, val = (Pictures(official.images[chosen], official.labels[chosen]) for chosen in split_indices(len(official)))
    return PictureSet(train, val, splits["seg_test"], CLASSES, "folder", "user copy", files)


def read_split(base: Path, name: str) -> Pictures:
    """Decode and resize every picture of ``seg_train`` or ``seg_test``: uint8 (N, 48, 48, 3).

    Pictures come by class, then by number (``801.jpg`` before ``1580.jpg``), which is the order of the npz file.

    Raises:
        DataError: a class is missing or empty, a folder is no class, or a picture does not decode.
    """
    from torchvision.datasets import ImageFolder

    folder = split_folder(base, name)
    _require_classes(folder, base)
    try:
        pictures = ImageFolder(str(folder), loader=lambda file: _thumbnail(Path(file), base))
    except FileNotFoundError as error:
        raise DataError(f"{name} in {base}: a class without pictures ({first_line(error)}); {_GET}") from error
    pictures.samples.sort(key=lambda sample: (sample[1], _by_number(Path(sample[0]))))
    images = np.stack([image for image, _ in pictures])
    return Pictures(images, np.asarray([label for _, label in pictures.samples], dtype=np.int64))


def _by_number(file: Path) -> tuple[bool, int, str]:
    is_number = file.stem.isascii() and file.stem.isdigit()
    return not is_number, int(file.stem) if is_number else 0, file.name


def _thumbnail(file: Path, base: Path) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(file) as picture:
            small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        text = f"{file.relative_to(base)} in {base}: cannot be read as a picture ({type(error).__name__})"
        raise DataError(f"{text}; replace it by the official one or remove it") from error
    return np.asarray(small, dtype=np.uint8)


def _require_classes(folder: Path, base: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder.relative_to(base)} in {base}: no such folder; {_GET}")
    found = {entry.name for entry in folder.iterdir() if entry.is_dir()}
    missing, extra = sorted(set(CLASSES) - found), sorted(found - set(CLASSES))
    if missing or extra:
        parts = [f"{what} {', '.join(names)}" for what, names in (("missing", missing), ("extra", extra)) if names]
        raise DataError(
            f"{folder.relative_to(base)} in {base}: expected exactly the six class folders; {', '.join(parts)}"
        )


def _manifest_hash(folder: Path, base: Path) -> str:
    """SHA-256 over the lines ``HASH  CLASS/NAME`` of all files, sorted by class and name."""
    _require_classes(folder, base)
    manifest = hashlib.sha256()
    try:
        for file in sorted(path for name in CLASSES for path in (folder / name).rglob("*") if path.is_file()):
            manifest.update(f"{digest(file)}  {file.relative_to(folder).as_posix()}\n".encode())
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); make it readable") from error
    return manifest.hexdigest()


def _read_cache(cache: Path, stem: str) -> dict[str, Pictures] | None:
    """The splits kept in a cache file, whose name holds its hash; ``None`` if it is missing or damaged."""
    for cached in sorted(cache.glob(f"{stem}.*.npz")):
        try:
            if cached.name == f"{stem}.{digest(cached)[:16]}.npz":
                with np.load(cached, allow_pickle=False) as archive:
                    return {name: npz_files.checked(cached, _FORM, name, archive) for name in SPLITS}
        except Exception:  # of whatever kind: the pictures are there to make it anew
            continue
    return None


def _write_cache(cache: Path, stem: str, splits: dict[str, Pictures]) -> None:
    """Write a cache file at once: readers see either nothing or all of it."""
    arrays = {f"{name}_{kind}": getattr(part, kind) for name, part in splits.items() for kind in ("images", "labels")}
    try:
        named = atomic_path(cache / stem, lambda path: f"{stem}.{digest(path)[:16]}.npz")
        with named as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        text = f"{cache}: the cache folder cannot be written ({error.strerror})"
        raise DataError(f"{text}; set DLBENCH_CACHE to a folder that can") from error
