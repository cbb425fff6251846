"""Data sets: their files, their three splits in memory, and DataModules of them. The package itself needs no torch."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Generic, TypeVar

SPLITS = ("train", "val", "test")

Split = TypeVar("Split")


@dataclass(frozen=True)
class Splits(Generic[Split]):
    """A data set, whatever its splits are made of.

    ``source`` is the kind of source (``npz``, ``folder``, ``idx``, ``test10k``, ``files``, ``synthetic``);
    ``provenance`` tells people what it is (``verified``: registered files in the published split; ``other split``:
    registered files in another one; ``user copy``: right in form, unknown in content; ``stand-in``: speech of a
    machine; ``synthetic``: generated here); ``files`` maps paths below the data folder, or names, to SHA-256;
    ``notices`` are lines for people about what looks odd.
    """

    train: Split
    val: Split
    test: Split
    source: str
    provenance: str
    files: dict[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = field(default=(), kw_only=True)

    def splits(self) -> dict[str, Split]:
        """The splits by name, in the order train, val, test."""
        return {name: getattr(self, name) for name in SPLITS}

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over what every split holds; wherever it was read from."""
