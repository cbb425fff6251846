"""A corpus of speech from disk, in LJSpeech's layout (`dlbench.data.ljspeech`), split by row."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dlbench import paths
from dlbench.data import SPLITS, Splits, recordings, registry
from dlbench.data.ljspeech import (
    METADATA,
    RATE,
    STAND_IN,
    VOCABULARY,
    WAVES,
    Fault,
    Row,
    Samples,
    notices,
    read_metadata,
    refusal,
)
from dlbench.errors import DataError
from dlbench.files import digest, regular

PUBLISHED = (9825, 655, 2620)
"""Rows of each split (report e2324)."""

LENGTHS = (86_117, 1.11, 10.10)
"""Of LJSpeech's recordings in seconds: all together (23:55:17), the shortest, the longest (README of LJSpeech 1.1)."""

MADE_BY = ("engine", "voice", "speed", "start", "stop", "max_characters")


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording and what is said in it.

    ``text`` is as used (lower case, cut), ``row`` the place in ``metadata.csv`` counted from 0, ``path`` the file if
    there is one, ``sha256`` that of the float32 samples. Its features are ``frames`` rows of the corpus's, from
    ``start`` on.
    """

    id: str
    text: str
    row: int
    seconds: float
    path: Path | None
    sha256: str
    start: int
    frames: int


@dataclass(frozen=True)
class SpeechCorpus(Splits[tuple[Utterance, ...]]):
    """A data set of speech.

    ``features`` (frames in all, bands) holds those of all utterances; ``waveforms`` has those without a file, by row;
    ``left_out`` counts rows that could not be used, by reason; ``notices`` are lines about them; ``stand_in`` says how
    a spoken stand-in was made.
    """

    features: npt.NDArray[np.float32] = field(kw_only=True)
    left_out: dict[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    stand_in: dict[str, Any] | None = None
    waveforms: tuple[Samples, ...] = ()

    def fingerprint(self) -> str:
        """SHA-256 over the samples and the text of every utterance, by split; wherever they were read from.

        Features are not in it: they are a function of the samples (`dlbench.data.recordings`). Their last bits
        may differ between machines; samples do not.
        """
        digest = hashlib.sha256()
        for split, utterances in self.splits().items():
            lines = (f"{utterance.sha256}\t{utterance.text}\n" for utterance in utterances)
            digest.update(f"{split} {len(utterances)}\n{''.join(lines)}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class SpeechFiles:
    """Which corpus is read, and how: arguments of `dlbench.data.speech_datamodule.SpeechDataModule`.

    Raises:
        ValueError: ``corpus`` is no folder's name.
    """

    corpus: str
    splits: tuple[int, ...]
    max_characters: int
    strict: bool

    def __post_init__(self) -> None:
        if not paths.is_name(self.corpus):
            raise ValueError(f"corpus={self.corpus!r}: must be the name of a folder in the data folder")

    def read(self, folder: Path, cache: Path, jobs: int) -> SpeechCorpus:
        """The corpus, with features out of the cache, computed if need be.

        Raises:
            DataError: ``metadata.csv`` cannot be read or has too few rows; a split has nothing usable; with ``strict``
                anything is wrong with a row; the cache folder cannot be used.
        """
        metadata, wanted = folder / self.corpus / METADATA, sum(self.splits)
        rows, faults = read_metadata(metadata)
        if (total := len(rows) + len(faults)) < wanted:
            text = f"{metadata}: {total} rows are too few for data.splits={list(self.splits)}"
            raise DataError(f"{text}, which ask for {wanted}; choose smaller numbers")
        rows = [row._replace(text=self.text_of(row)) for row in rows if row.number < wanted]
        faults = [fault for fault in faults if fault.row < wanted]
        faults += [Fault(row.number, "empty", f"{row.id}, as cut") for row in rows if not row.text.strip()]
        rows = [row for row in rows if row.text.strip()]
        unknown = [
            Fault(row.number, "unknown", f"{row.id} has {' '.join(sorted(symbols))}")
            for row in rows
            if (symbols := VOCABULARY.unknown([row.text]))
        ]
        if self.strict and (faults or unknown):
            raise refusal(metadata, min(faults + unknown))
        loaded = recordings.load(metadata.parent, rows, cache, jobs, self.strict)
        faults = sorted(faults + loaded.faults)
        if self.strict and faults:
            raise refusal(metadata, faults[0])
        utterances = [
            Utterance(
                id=row.id,
                text=row.text,
                row=row.number,
                seconds=found.samples / RATE,
                path=metadata.parent / WAVES / f"{row.id}.wav",
                sha256=found.sha256,
                start=found.start,
                frames=found.frames,
            )
            for row in rows
            if (found := loaded.recordings.get(row.number))
        ]
        splits = []
        for split, (begin, end) in zip(SPLITS, pairwise([0, *accumulate(self.splits)]), strict=True):
            splits.append(tuple(each for each in utterances if begin <= each.row < end))
            if not splits[-1]:
                reason = next(notices(metadata, [fault for fault in faults if begin <= fault.row < end]))
                raise DataError(f"{metadata}: no usable row for {split}; {reason}")
        unknown = [fault for fault in unknown if fault.row in loaded.recordings]
        sha256, stand_in, provenance = digest(metadata), _stand_in(metadata.parent), "user copy"
        if stand_in is not None:
            provenance = "stand-in"
        elif sha256 == registry.get("ljspeech").files[0].sha256 and self.splits == PUBLISHED and not faults:
            lengths = [each.samples for each in loaded.recordings.values()]
            provenance = "verified" if have_published_lengths(lengths) else "user copy"
        train, val, test = splits
        return SpeechCorpus(
            train,
            val,
            test,
            features=loaded.features,
            source="files",
            provenance=provenance,
            files={f"{self.corpus}/{METADATA}": sha256},
            left_out=dict(sorted(Counter(fault.kind for fault in faults).items())),
            notices=tuple(notices(metadata, sorted(faults + unknown))),
            stand_in=stand_in,
        )

    def text_of(self, row: Row) -> str:
        """What is to be written for a row: the normalised transcript in lower case, cut."""
        return row.text.lower()[: self.max_characters]


def have_published_lengths(samples: Sequence[int]) -> bool:
    """Whether recordings of so many samples last as long as LJSpeech's do, see `LENGTHS`, as far as these are stated.

    Recordings have no registered hash; noise or another voice under their names lasts another time.
    """
    total, shortest, longest = LENGTHS
    found = min(samples) / RATE, max(samples) / RATE
    return abs(sum(samples) / RATE - total) <= 1 and tuple(round(each, 2) for each in found) == (shortest, longest)


def _stand_in(corpus: Path) -> dict[str, Any] | None:
    """How a stand-in was spoken; None for a corpus that is not marked as one."""
    try:
        mark = json.loads(regular(corpus / STAND_IN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        mark = None
    return {key: mark[key] for key in MADE_BY if key in mark} if isinstance(mark, dict) else {"engine": "unknown"}
