"""What every source of sequence pairs delivers."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pair:
    """What is read and what is to be written, each as its symbols: phonemes or characters."""

    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True)
class PairSet:
    """A data set in its three splits, and where it came from.

    ``source`` is the kind of source (``files``, ``embedded``); ``provenance`` tells people what it is (``verified``:
    every file has a registered SHA-256; ``user copy``: right in form, unknown in content; ``embedded``: generated
    here); ``files`` maps paths below the data folder to SHA-256. The joiners put a side's symbols together for people;
    ``notices`` are lines for them about what looks odd.
    """

    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]
    source: str
    provenance: str
    files: dict[str, str] = field(default_factory=dict)
    source_joiner: str = " "
    target_joiner: str = ""
    notices: tuple[str, ...] = ()

    def splits(self) -> dict[str, tuple[Pair, ...]]:
        """The splits by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def fingerprint(self) -> str:
        """SHA-256 over the pairs of every split as text; wherever they were read from."""
        digest = hashlib.sha256()
        for split, pairs in self.splits().items():
            lines = ("\x1f".join(pair.source) + "\t" + "\x1f".join(pair.target) for pair in pairs)
            digest.update(f"{split} {len(pairs)}\n".encode() + "\n".join(lines).encode() + b"\n")
        return digest.hexdigest()
