"""The data sets of ``registry.yaml``: what their files are, under which terms they are shared, and how they are had."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dlbench.errors import DataError
from dlbench.terminal import nearest


@dataclass(frozen=True)
class File:
    """One file: ``path`` below the data folder, its size in bytes and its hash (``sha256`` or else ``md5``).

    ``url`` is where exactly this file can be downloaded; ``also`` are further places below the data folder where it
    is looked for.
    """

    path: str
    size: int | None
    sha256: str | None = None
    md5: str | None = None
    url: str | None = None
    also: Sequence[str] = ()

    @property
    def algorithm(self) -> str:
        """The name of the hash that is known."""
        return "sha256" if self.sha256 else "md5"

    @property
    def known_hash(self) -> str:
        """The known hash in hexadecimal."""
        return self.sha256 or self.md5 or ""

    def find(self, folder: Path) -> Path | None:
        """The first of its places that exists below the data folder."""
        return next((folder / place for place in (self.path, *self.also) if (folder / place).is_file()), None)


@dataclass(frozen=True)
class Folder:
    """A folder of many files without a hash each: ``path`` below the data folder, ``count`` files like ``pattern``."""

    path: str
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
    fetch and for machines without a network.
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
