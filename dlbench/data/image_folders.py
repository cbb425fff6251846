"""Labelled pictures in class folders: found, resized, and kept; no torch."""

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from dlbench import paths
from dlbench.data import SPLITS
from dlbench.data.cache import filled
from dlbench.data.image_files import Pictures, PictureSet
from dlbench.errors import DataError, OddDataNotice
from dlbench.files import digest, regular

READ = frozenset((".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"))
"""Extensions of files that are read, those of torchvision's ImageFolder; in capitals too."""

_OTHERS = {
    *(".apng", ".avif", ".dng", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe"),
    *(".jxl", ".pbm", ".pnm", ".svg", ".tga"),
}
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cJXL ")
"""By either of these pictures are known that are not read."""

KEPT = "pictures.npz"
"""Resized pictures in the cache."""

LAYOUT = "expected ROOT/train/CLASS/*, ROOT/test/CLASS/* and perhaps ROOT/val/CLASS/*, or ROOT/CLASS/*"


@dataclass(frozen=True)
class ClassFolders:
    """Pictures in folders of splits, and in these in folders of classes.

    Attributes:
        base: The folder that holds the splits.
        splits: The folder of every split by its name.
        classes: The classes, in the order of their labels.
        side: To how many pixels a side every picture is resized.
        remedy: How right folders are had, for errors.
    """

    base: Path
    splits: Mapping[str, Path]
    classes: tuple[str, ...]
    side: int
    remedy: str

    def load(self, cache: Path, name: str) -> tuple[dict[str, Pictures], dict[str, str]]:
        """Every split, its pictures resized to RGB (PIL, bilinear), and a hash of its files.

        The resized pictures are kept in ``cache``, in a folder that begins with ``name``. Their key is made of the
        contents of all pictures (with names and the Pillow version), not of times or sizes: the contents are hashed for
        the record in any case, a changed picture can then never be taken for the old one, and a copied or touched
        folder needs no second decoding. The hash of a split is the SHA-256 of what ``sha256sum */*`` prints in it,
        sorted by class and name. Pictures that are not read, for they are hidden or of another kind, are named in a
        notice.

        Raises:
            DataError: A split or class is missing, a folder is no class, a picture does not decode, or the cache folder
                cannot be used or lies among the pictures.
        """
        if paths.is_inside(cache, self.base):
            raise DataError(
                f"{cache}: the cache may not lie in the data's own folder; set DLBENCH_CACHE to another one"
            )
        hashes = {split: self._hash(split) for split in self.splits}
        if notice := self.left_out():
            warnings.warn(notice, OddDataNotice, stacklevel=2)
        # "upright": pictures of 16 bits, transparent, turned and several ones were once kept as what they are not.
        told = f"{hashes} {self.side} bilinear upright {PIL.__version__}"

        def fill(folder: Path) -> None:
            splits = {split: self.read(split) for split in self.splits}
            kinds = ("images", "labels")
            arrays = {f"{split}_{kind}": getattr(part, kind) for split, part in splits.items() for kind in kinds}
            np.savez(folder / KEPT, **arrays)

        folder = filled(cache / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}", fill)
        with np.load(folder / KEPT, allow_pickle=False) as arrays:
            return {split: Pictures(arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in hashes}, hashes

    def read(self, split: str) -> Pictures:
        """Decode and resize every picture of a split: uint8 (N, side, side, 3).

        Pictures come by class, then by number (``801.jpg`` before ``1580.jpg``). Hidden files, and what lies in hidden
        folders, are no pictures of the set.

        Raises:
            DataError: A class is missing or empty, a folder is no class, or a picture does not decode, or not without
                loss.
        """
        folder = self._checked(split)
        found = {name: _files(folder / name) for name in self.classes}
        files = {name: [file for file in each if _is_read(file.relative_to(folder))] for name, each in found.items()}
        if empty := [name for name, each in files.items() if not each]:
            raise DataError(f"{split} in {self.base}: a class without pictures ({', '.join(empty)}); {self.remedy}")
        ordered = [file for each in files.values() for file in sorted(each, key=_by_number)]
        images = np.stack([thumbnail(file, self.base, self.side) for file in ordered])
        return Pictures(images, np.repeat(np.arange(len(self.classes)), [*map(len, files.values())]))

    def left_out(self, *splits: str) -> str | None:
        """A line that says how many pictures of some or all splits are not read, and why; None if none is left out."""
        kinds: defaultdict[str, list[Path]] = defaultdict(list)
        for folder in (self.splits[split] for split in splits or self.splits):
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
                kinds[kind].append(file.relative_to(self.base))
        if not kinds:
            return None
        ranked = sorted(kinds.items(), key=lambda item: -len(item[1]))
        named = ", ".join(f"{len(files)} {kind} ({files[0].as_posix()})" for kind, files in ranked)
        remedy = "convert them to jpg or png, give them an extension, or remove them"
        return f"{self.base}: files that look like pictures are not read: {named}; {remedy}"

    def _checked(self, split: str) -> Path:
        folder, name = self.splits[split], self.splits[split].relative_to(self.base)
        if not folder.is_dir():
            raise DataError(f"{name} in {self.base}: no such folder; {self.remedy}")
        found = {entry.name for entry in folder.iterdir() if entry.is_dir()}
        odd = {"missing": sorted({*self.classes} - found), "extra": sorted(found - {*self.classes})}
        if any(odd.values()):
            told = ", ".join(f"{what} {', '.join(names)}" for what, names in odd.items() if names)
            count = len(self.classes)
            raise DataError(f"{name} in {self.base}: expected exactly the {count} class folders; {told}")
        return folder

    def _hash(self, split: str) -> str:
        """SHA-256 over the lines ``HASH  CLASS/NAME`` of all files of a split, sorted by class and name."""
        folder = self._checked(split)
        manifest = hashlib.sha256()
        try:
            for file in sorted(path for name in self.classes for path in _files(folder / name)):
                line = f"{digest(file)}  {file.relative_to(folder).as_posix()}\n"
                manifest.update(os.fsencode(line))  # names that are not UTF-8 too, as they are
        except OSError as error:
            text = f"{error.filename}: cannot be read ({error.strerror})"
            raise DataError(f"{text}; make it readable or remove it") from error
        return manifest.hexdigest()


@dataclass(frozen=True)
class FolderSet(PictureSet):
    """Pictures whose classes have the names of folders."""

    def fingerprint(self) -> str:
        """That of the pictures, and of the names: a network trained for others would tell wrong ones."""
        return hashlib.sha256("/".join((super().fingerprint(), *self.classes)).encode()).hexdigest()


def load_image_folder(root: Path, side: int, cache: Path) -> PictureSet:
    """Read anybody's pictures: ``root/{train,val,test}/CLASS/*``, or ``root/CLASS/*``, resized to RGB.

    Without ``val`` it is a tenth of ``train``, rounded up; without splits, validation and test are a tenth each. What
    goes where is drawn with numpy's ``default_rng(42)``, whose parts keep the order of classes and names. A class is
    every folder that is not hidden, in the order of names.

    Raises:
        DataError: Only some splits are there, there is no class, or a split is too small; or see `ClassFolders.load`.
    """
    splits = {name: root / name for name in SPLITS if (root / name).is_dir()} or {"all": root}
    if len(splits) < 3 and {*splits} not in ({"all"}, {"train", "test"}):
        raise DataError(f"{root}: has {', '.join(splits)} alone; {LAYOUT}")
    first = next(iter(splits.values()))
    classes = tuple(sorted(each.name for each in first.iterdir() if each.is_dir() and not each.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(f"{first}: {len(classes)} class folders, and a classifier needs two; {LAYOUT}")
    found, files = ClassFolders(root, splits, classes, side, LAYOUT).load(cache, "pictures")
    if "all" in found:
        rest, found["test"] = _tenth_off(found.pop("all"), root)
        found["train"], found["val"] = _tenth_off(rest, root)
    elif "val" not in found:
        found["train"], found["val"] = _tenth_off(found["train"], root)
    return FolderSet(found["train"], found["val"], found["test"], "folder", "user copy", files, classes=classes)


def tenth(n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Nine tenths of n positions, and a tenth, rounded up, as numpy's ``default_rng(42).permutation(n)`` draws them.

    Both keep their order.
    """
    drawn, rest = np.split(np.random.default_rng(42).permutation(n), [-(-n // 10)])
    return np.sort(rest), np.sort(drawn)


def _tenth_off(pictures: Pictures, root: Path) -> tuple[Pictures, Pictures]:
    if len(pictures) < 2:
        raise DataError(f"{root}: {len(pictures)} picture cannot be split; {LAYOUT}")
    rest, drawn = (pictures[chosen] for chosen in tenth(len(pictures)))
    return rest, drawn


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


def thumbnail(file: Path, base: Path, side: int, mode: Literal["RGB", "L"] = "RGB") -> npt.NDArray[np.uint8]:
    """A picture below ``base``, resized (PIL, bilinear): (side, side, 3), or (side, side, 1) in grey (mode ``L``).

    Raises:
        DataError: It cannot be read, or not without loss.
    """
    try:
        with Image.open(regular(file)) as picture:
            small = _as_rgb(picture).convert(mode).resize((side, side), Image.Resampling.BILINEAR)
    except _LossError as error:
        text = f"{file.relative_to(base)} in {base}: {error}"
        raise DataError(f"{text}; convert it to 8-bit RGB as it is meant to look, or remove it") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        text = f"{file.relative_to(base)} in {base}: cannot be read as a picture ({reason})"
        raise DataError(f"{text}; replace it by a right one or remove it") from error
    return np.asarray(small, dtype=np.uint8).reshape(side, side, -1)


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
