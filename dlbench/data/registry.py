"""The data sets of ``registry.yaml``: what their files are, under which terms they are shared, and how they are had."""

import fnmatch
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from dlbench import paths
from dlbench.errors import DataError
from dlbench.terminal import is_like, nearest, printable


@dataclass(frozen=True)
class Part:
    """A file or folder of a set: ``path`` below the data folder; ``also`` are folders where it is looked for as well.

    Those of a folder may be patterns.
    """

    path: str
    also: Sequence[str] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class File(Part):
    """One file: its size in bytes and its hash (``sha256`` or else ``md5``).

    ``unpacked`` is the SHA-256 of what a gzip file holds, where that is known; ``url`` is where exactly this file can
    be downloaded.
    """

    size: int | None
    sha256: str | None = None
    md5: str | None = None
    unpacked: str | None = None
    url: str | None = None

    @property
    def algorithm(self) -> str:
        """The name of the hash that is known."""
        return "sha256" if self.sha256 else "md5"

    @property
    def known_hash(self) -> str:
        """The known hash in hexadecimal."""
        return self.sha256 or self.md5 or ""

    def has(self, found: str) -> bool:
        """Whether a hash is that of the registered file, or of what it holds."""
        return found in (self.known_hash, self.unpacked)

    def places(self) -> list[str]:
        """Where it is looked for below the data folder: a gzip file packed or not, IDX files with a dash or a dot."""
        own = Path(self.path)
        names = [own.name]
        if own.suffix == ".gz":
            dotted = re.sub(r"-(?=idx\d)", ".", own.stem)
            # Programs that unpack make a folder of the archive's name.
            unpacked = (own.stem, dotted, f"{own.stem}/{own.stem}", f"{own.stem}/{dotted}")
            names = list(dict.fromkeys((own.name, f"{dotted}.gz", *unpacked)))
        return [(Path(folder) / name).as_posix() for folder in (str(own.parent), *self.also) for name in names]

    def find(self, folder: Path) -> Path | None:
        """The first of its places that has a file below the data folder, or else anything, which reading then names."""
        places = [folder / place for place in self.places()]
        there = [path for path in places if path.is_file()] or [path for path in places if os.path.lexists(path)]
        return there[0] if there else None


@dataclass(frozen=True)
class Folder(Part):
    """A folder of many files without a hash each: ``count`` files like ``pattern``."""

    pattern: str
    count: int


@dataclass(frozen=True)
class Archive:
    """A tar archive to be unpacked: what it holds in its folder ``root`` belongs in ``target`` of the data folder."""

    url: str
    size: int
    sha256: str
    root: str
    target: str


@dataclass(frozen=True)
class DataSet:
    """A data set: what it is, its terms, its parts, and how it is fetched.

    One way is taken, in this order: ``instead`` (another set that serves as well), ``archive``, ``kaggle`` (a Kaggle
    handle), the URLs of the files. ``manual`` says in a sentence where people find it, for sets that nothing can
    fetch and for machines without a network. ``unusable`` says what files are that people take for the set's, by
    patterns of their names.
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    manual: str
    files: tuple[File, ...] = ()
    folders: tuple[Folder, ...] = ()
    archive: Archive | None = None
    kaggle: str | None = None
    instead: str | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[File | Folder, ...]:
        """All its files and folders."""
        return *self.files, *self.folders

    @property
    def size(self) -> int | None:
        """All files together in bytes, or ``None`` if that is not known."""
        sizes = [file.size for file in self.files]
        return sum(size or 0 for size in sizes) if sizes and None not in sizes and not self.folders else None

    @property
    def source(self) -> str:
        """How the set is fetched: ``instead``, ``archive``, ``kaggle``, ``url`` or ``manual``."""
        for way in ("instead", "archive", "kaggle"):
            if getattr(self, way):
                return way
        return "url" if self.files and all(file.url for file in self.files) else "manual"

    def similar(self, folder: Path) -> list[str]:
        """What lies in the set's own folders below a data folder, or is named like them, and is not of the set."""
        places = [place for file in self.files for place in file.places()] + [part.path for part in self.folders]
        found = similar(folder, self.name, places)
        whys = (
            next((why for like, why in self.unusable.items() if fnmatch.fnmatch(Path(each).name, like)), "")
            for each in found
        )
        return [f"{each} ({why})" if why else each for each, why in zip(found, whys, strict=True)]

    def absence(self, folder: Path, *parts: Part) -> str:
        """A clause for people who miss the set, or parts of it: what was looked for, and what is there instead."""
        return absence(parts or self.parts, self.similar(folder))


def similar(folder: Path, name: str, places: Iterable[str]) -> list[str]:
    """What lies below a data folder in folders that bear a set's name, or in other ones under a name like the set's.

    Args:
        folder: The data folder.
        name: The set's name.
        places: Where the set's own files and folders may be, which are left out.
    """
    paths = [Path(place) for place in places]
    above = {parent for path in paths for parent in path.parents}
    known, words = above.union(paths), {name, *(path.name for path in paths)}
    found: list[str] = []
    for parent in sorted(above):
        try:
            entries = sorted(entry.name for entry in (folder / parent).iterdir())
        except OSError:  # not there, or nothing that can be listed
            continue
        is_own = bool(parent.parts) and parent.parts[0].lower() == name
        named = [parent / entry for entry in entries if not entry.startswith(".") and (is_own or is_like(entry, words))]
        found += (printable(path.as_posix()) for path in named if path not in known)
    return found


def absence(parts: Iterable[Part | str], found: Sequence[str]) -> str:
    """A clause: what was looked for, registered or just a path, and the first few of what was found instead."""

    def elsewhere(part: Part | str) -> str:
        if isinstance(part, str) or not part.also:
            return ""
        return f" ({'unpacked too, ' * part.path.endswith('.gz')}also in {', '.join(part.also)})"

    groups = groupby(parts, key=elsewhere)
    sought = [
        ", ".join(part if isinstance(part, str) else part.path for part in group) + also for also, group in groups
    ]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"looked for {', '.join(sought)}" + (f"; found {', '.join(found[:3])}{more}" if found else "")


def _data_set(name: str, entry: dict[str, Any]) -> DataSet:
    files = tuple(File(**file) for file in entry.pop("files", ()))
    folders = tuple(Folder(**folder) for folder in entry.pop("folders", ()))
    archive = Archive(**entry.pop("archive")) if "archive" in entry else None
    return DataSet(name, files=files, folders=folders, archive=archive, **entry)


_ENTRIES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
REGISTRY: dict[str, DataSet] = {name: _data_set(name, entry) for name, entry in _ENTRIES.items()}


def get(name: str) -> DataSet:
    """The data set of that name.

    Raises:
        DataError: No set is called so; the message offers the nearest names.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    raise DataError(f"{name}: no such data set; {nearest(name, REGISTRY)}")


def fetching(name: str) -> str:
    """A clause that says how a set is had."""
    return f"get the real ones with: python -m dlbench data fetch {name}"


# --- files that a user names ------------------------------------------------------------------------------------------


def data_name(train: str) -> str:
    """A data set's name: of its training file the first folder below the data folder, or else the one it lies in."""
    path = paths.folder(train) if leads_elsewhere(train) else Path(train)
    parts = path.parts[-2:] if leads_elsewhere(train) else (path.parts[0], path.name)
    return next(name for part in (*parts, "data") if (name := part.strip(".").partition(".")[0]))


def leads_elsewhere(path: str) -> bool:
    """Whether a path leaves the folder that it begins in."""
    return path.startswith("~") or Path(path).is_absolute() or ".." in Path(path).parts


def places(path: str, folder: Path) -> tuple[Path, ...]:
    """Where a file is looked for: in the data folder, then in the folder the command was started in."""
    if path.startswith("~"):
        return (paths.folder(path),)
    return tuple(dict.fromkeys((folder / path, paths.started_in() / path)))  # one, where the path is absolute


def find(path: str, folder: Path) -> Path | None:
    """The first of a file's `places` that exists, whatever lies there."""
    return next((place for place in places(path, folder) if os.path.lexists(place)), None)
