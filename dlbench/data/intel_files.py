"""The Intel scenes from disk: the 48x48 npz file, or the official folders of 150x150 pictures; no torch.

Sources: Intel Image Classification (Kaggle, puneet6060/intel-image-classification); the npz has the keys and sizes of
the coursework's file, and its validation split is a tenth of the official training files sorted by class and number.
"""

import hashlib
import os
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from dlbench import paths
from dlbench.data import registry
from dlbench.data.image_files import NpzForm, Pictures, PictureSet
from dlbench.errors import DataError, OddDataNotice
from dlbench.files import atomic_path, digest, regular
from dlbench.terminal import printable

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
SPLITS = ("seg_train", "seg_test")
SIDE = 48
NPZ = "intel_landscapes.npz"
_GET = "get it again with python -m dlbench data fetch intel"
_FORM = NpzForm((SIDE, SIDE, 3), ((SIDE, SIDE, 3), (SIDE * SIDE * 3,)), (), len(CLASSES), 30_000, _GET)

READ = frozenset((".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"))
"""Extensions of files that are read, those of torchvision's ImageFolder; in capitals too."""

_OTHERS = {
    *(".apng", ".avif", ".dng", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe"),
    *(".jxl", ".pbm", ".pnm", ".svg", ".tga"),
}
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cJXL ")

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


def split_indices(n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Training and validation indices into n files sorted by class and number: a tenth, rounded up, is validation.

    The draw is numpy's ``default_rng(42).permutation(n)``; both parts keep the sorted order, as in the npz file.
    """
    val, train = np.split(np.random.default_rng(42).permutation(n), [-(-n // 10)])
    return np.sort(train), np.sort(val)


def load_npz(path: Path) -> PictureSet:
    """Read ``{train,val,test}_{images,labels}`` from an npz file.

    Images are uint8 of shape (N, 48, 48, 3), or flattened to (N, 6912) in the same order; labels are integers 0-5 of
    shape (N,). A file with the registered SHA-256 is ``verified``; any other that fits is a ``user copy``.

    Raises:
        DataError: The file is missing, damaged, holds pickled objects, or an array is missing or of another form.
    """
    splits, sha256 = _FORM.read(path), digest(path)
    provenance = "verified" if sha256 == registry.get("intel").files[0].sha256 else "user copy"
    return PictureSet(
        **splits, classes=CLASSES, source="npz", provenance=provenance, files={printable(path.name): sha256}
    )


def load_folder(path: Path, cache: Path) -> PictureSet:
    """Read the official folders ``seg_train`` and ``seg_test``, every picture resized to 48x48 RGB (PIL, bilinear).

    The resized pictures are kept in ``cache``. Their key is made of the contents of all pictures (with names and the
    Pillow version), not of times or sizes: the contents are hashed for the record in any case, a changed picture can
    then never be taken for the old one, and a copied or touched folder needs no second decoding. ``files`` holds for
    either split the SHA-256 of what ``sha256sum */*`` prints in it, sorted by class and name. Pictures that are not
    read, for they are hidden or of another kind, are named in a notice.

    Raises:
        DataError: A split or class is missing, a folder is no class, a picture does not decode, or the cache folder
            cannot be used or lies among the pictures.
    """
    if paths.is_inside(cache, path):
        raise DataError(f"{cache}: the cache may not lie in the data's own folder; set DLBENCH_CACHE to another one")
    files = {name: _manifest_hash(split_folder(path, name), path) for name in SPLITS}
    if notice := left_out(path):
        warnings.warn(notice, OddDataNotice, stacklevel=2)
    # "upright": pictures of 16 bits, transparent, turned and several ones were once kept as what they are not.
    key = hashlib.sha256(f"{files} {SIDE} bilinear upright {PIL.__version__}".encode()).hexdigest()[:16]
    splits = _read_cache(cache, f"intel-{key}")
    if splits is None:
        splits = {name: read_split(path, name) for name in SPLITS}
        kinds = ("images", "labels")
        arrays = {f"{name}_{kind}": getattr(part, kind) for name, part in splits.items() for kind in kinds}
        try:  # readers see either nothing or all of it
            named = atomic_path(cache / f"intel-{key}", lambda path: f"intel-{key}.{digest(path)[:16]}.npz")
            with named as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)
        except OSError as error:
            text = f"{cache}: the cache folder cannot be written ({error.strerror})"
            raise DataError(f"{text}; set DLBENCH_CACHE to a folder that can") from error
    official = splits["seg_train"]
    train, val = (official[chosen] for chosen in split_indices(len(official)))
    return PictureSet(train, val, splits["seg_test"], "folder", "user copy", files, classes=CLASSES)


def read_split(base: Path, name: str) -> Pictures:
    """Decode and resize every picture of ``seg_train`` or ``seg_test``: uint8 (N, 48, 48, 3).

    Pictures come by class, then by number (``801.jpg`` before ``1580.jpg``), which is the order of the npz file. Hidden
    files, and what lies in hidden folders, are no pictures of the set.

    Raises:
        DataError: A class is missing or empty, a folder is no class, or a picture does not decode, or not without loss.
    """
    folder = split_folder(base, name)
    _require_classes(folder, base)
    files = {kind: [file for file in _files(folder / kind) if _is_read(file.relative_to(folder))] for kind in CLASSES}
    if empty := [kind for kind, found in files.items() if not found]:
        raise DataError(f"{name} in {base}: a class without pictures ({', '.join(empty)}); {_GET}")
    images = np.stack([_thumbnail(file, base) for found in files.values() for file in sorted(found, key=_by_number)])
    return Pictures(images, np.repeat(np.arange(len(CLASSES)), [len(found) for found in files.values()]))


def left_out(base: Path, *splits: str) -> str | None:
    """A line that says how many pictures of some or all splits are not read, and why; None if none is left out."""
    kinds: defaultdict[str, list[Path]] = defaultdict(list)
    for folder in (split_folder(base, name) for name in splits or SPLITS):
        for file in _files(folder):
            inside = file.relative_to(folder)
            in_class = len(inside.parts) > 1
            if (_is_read(inside) and in_class) or not _looks_like_picture(file):
                continue
            if any(part.startswith(".") for part in inside.parts[:-1]):
                kind = "in hidden folders"
            elif inside.name.startswith("."):
                kind = "hidden"
            else:
                kind = (inside.suffix.lower() or "without extension") if in_class else "in no class folder"
            kinds[kind].append(file.relative_to(base))
    if not kinds:
        return None
    ranked = sorted(kinds.items(), key=lambda item: -len(item[1]))
    named = ", ".join(f"{len(files)} {kind} ({files[0].as_posix()})" for kind, files in ranked)
    remedy = "convert them to jpg or png, give them an extension, or remove them"
    return f"{base}: files that look like pictures are not read: {named}; {remedy}"


def _files(folder: Path) -> list[Path]:
    """All files at or below a folder, by way of links too, and whatever is named like a picture; sorted.

    Raises:
        DataError: A folder cannot be listed, or a link leads back to a folder above it.
    """
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be listed ({error.strerror}); make it readable") from error

    for root, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        for link in (Path(root, name) for name in folders if Path(root, name).is_symlink()):
            if any(paths.is_inside(above, link) for above in link.parents):
                raise DataError(f"{link}: a link that leads back to a folder above it; remove it")
        found += (Path(root, name) for name in names)
    return sorted(file for file in found if file.is_file() or _is_read(Path(file.name)))


def _is_read(inside: Path) -> bool:
    """Whether a file, by its path in its split's folder, is a picture of the set."""
    return inside.suffix.lower() in READ and not any(part.startswith(".") for part in inside.parts)


def _looks_like_picture(file: Path) -> bool:
    if file.suffix.lower() in READ | _OTHERS:
        return True
    try:
        with file.open("rb") as opened:
            begin = opened.read(12)
    except OSError:
        return False
    return begin.startswith(_BEGINNINGS) or begin[4:8] == b"ftyp" or (begin[:4], begin[8:]) == (b"RIFF", b"WEBP")


def _by_number(file: Path) -> tuple[bool, int, str]:
    is_number = file.stem.isascii() and file.stem.isdigit()
    return not is_number, int(file.stem) if is_number else 0, file.name


class _LossError(Exception):
    """What of a picture would be lost."""


def _thumbnail(file: Path, base: Path) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(regular(file)) as picture:
            small = _as_rgb(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except _LossError as error:
        text = f"{file.relative_to(base)} in {base}: {error}"
        raise DataError(f"{text}; convert it to 8-bit RGB as it is meant to look, or remove it") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        text = f"{file.relative_to(base)} in {base}: cannot be read as a picture ({reason})"
        raise DataError(f"{text}; replace it by the official one or remove it") from error
    return np.asarray(small, dtype=np.uint8)


_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274
"""Tags of TIFF and EXIF."""


def _as_rgb(picture: Image.Image) -> Image.Image:
    """A picture in 8-bit RGB: greys, palettes and RGB as they are, 16 bits scaled, CMYK and YCbCr by Pillow's formulas.

    Raises:
        _LossError: Its values have no defined range, some is transparent, viewers turn it, or there are several.
    """
    if (count := getattr(picture, "n_frames", 1)) > 1 and picture.format != "MPO":  # where the others are previews
        raise _LossError(f"{count} pictures in one file")
    if picture.getexif().get(_ORIENTATION) in range(2, 9):
        raise _LossError("a picture that viewers turn (EXIF orientation)")
    # A palette's colours, or a single colour, may be transparent without a channel for it.
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        if picture.mode.startswith("I"):
            raise _LossError("a transparent shade of grey")
        coloured = picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")
        if coloured.getchannel("A").getextrema() != (255, 255):
            raise _LossError("transparent pixels")
        return coloured.convert("RGB")
    if picture.mode in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"):
        return picture.convert("RGB")
    tags = getattr(picture, "tag_v2", {}) if picture.format == "TIFF" else {}
    if picture.format == "PPM" and picture.mode.startswith("I"):
        white = 65535  # whatever the file's own maximum, to which Pillow scales
    elif picture.mode.startswith("I;16") and picture.format == "PNG":
        white = 65535
    elif picture.mode.startswith("I;16") and picture.format == "TIFF":
        white = int(2 ** tags.get(_BITS, (16,))[0] - 1)
    else:
        raise _LossError(f"pixels of a kind that has no defined range or conversion (Pillow's mode {picture.mode})")
    values = np.asarray(picture).astype(np.float64)
    if tags.get(_PHOTOMETRIC) == 0:
        values = white - values  # white is zero, which Pillow heeds for 8 bits only
    grey = np.rint(values * (255 / white)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


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
        for file in sorted(path for name in CLASSES for path in _files(folder / name)):
            line = f"{digest(file)}  {file.relative_to(folder).as_posix()}\n"
            manifest.update(os.fsencode(line))  # names that are not UTF-8 too, as they are
    except OSError as error:
        raise DataError(
            f"{error.filename}: cannot be read ({error.strerror}); make it readable or remove it"
        ) from error
    return manifest.hexdigest()


def _read_cache(cache: Path, stem: str) -> dict[str, Pictures] | None:
    """The splits kept in a cache file, whose name holds its hash; ``None`` if it is missing or damaged."""
    for cached in sorted(cache.glob(f"{stem}.*.npz")):
        try:
            if cached.name == f"{stem}.{digest(cached)[:16]}.npz":
                with np.load(cached, allow_pickle=False) as archive:
                    return {name: _FORM.checked(cached, name, archive) for name in SPLITS}
        except Exception:  # of whatever kind: the pictures are there to make it anew
            continue
    return None
