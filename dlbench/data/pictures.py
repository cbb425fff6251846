"""What every source of labelled pictures delivers."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Pictures:
    """One split: ``images`` is uint8 of shape (N, height, width, channels), ``labels`` int64 of shape (N,)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PictureSet:
    """A data set in its three splits, and where it came from.

    ``source`` is the kind of source (``npz``, ``folder``, ``idx``, ``test10k``, ``embedded``); ``provenance`` tells
    people what it is (``verified``: registered files in the published split; ``other split``: registered files in
    another one; ``user copy``: right in structure, unknown in content; ``embedded``: generated here); ``files`` maps
    file names (no folders above the data set's own) to SHA-256.
    """

    train: Pictures
    val: Pictures
    test: Pictures
    classes: tuple[str, ...]
    source: str
    provenance: str
    files: dict[str, str] = field(default_factory=dict)

    def splits(self) -> dict[str, Pictures]:
        """The splits by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}
