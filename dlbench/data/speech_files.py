"""A corpus of speech from disk, in LJSpeech's layout (`dlbench.data.ljspeech`), split by row."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from dlbench import paths
from dlbench.data import recordings, registry
from dlbench.data.ljspeech import (
    METADATA,
    STAND_IN,
    WAVES,
    Fault,
    Row,
    SpeechCorpus,
    Utterance,
    notices,
    read_metadata,
    refusal,
)
from dlbench.data.recordings import RATE
from dlbench.data.speech_batches import VOCABULARY
from dlbench.errors import DataError
from dlbench.files import digest

SPLITS = ("train", "val", "test")
PUBLISHED = (9825, 655, 2620)
"""Rows of each split (REPORTS section 6)."""

LENGTHS = (86_117, 1.11, 10.10)
"""Of LJSpeech's recordings in seconds: all together (23:55:17), the shortest, the longest (README of LJSpeech 1.1)."""

SPEAK = "python -m dlbench data speak ljspeech --max-characters 60 --speed 300"
"""How the corpus of ``conf/data/ljspeech_spoken.yaml`` is made."""

MADE_BY = ("engine", "voice", "speed", "start", "stop", "max_characters")


@dataclass(frozen=True)
class SpeechFiles:
    """Which corpus is read, and how.

    Args:
        corpus: Its folder, a name below the data folder.
        splits: How many rows go to train, validation and test, in the order of ``metadata.csv``.
        max_characters: What a transcript is cut to.
        strict: Whether a row that cannot be used as it is, is an error.

    Raises:
        ValueError: ``corpus`` is no folder's name, or ``splits`` are not three positive numbers.
    """

    corpus: str
    splits: tuple[int, ...]
    max_characters: int
    strict: bool

    def __post_init__(self) -> None:
        if not paths.is_name(self.corpus):
            raise ValueError(f"corpus={self.corpus!r}: must be the name of a folder in the data folder")
        if len(self.splits) != 3 or min(self.splits) < 1:
            raise ValueError(f"splits={list(self.splits)}: must be three positive numbers of rows (train, val, test)")

    @property
    def remedy(self) -> str:
        """How a corpus is had."""
        if self.corpus == "ljspeech_spoken":
            return f"speak them with: {SPEAK}"
        fetch = "python -m dlbench data fetch ljspeech"
        return f"get the recordings with: {fetch}, or speak a stand-in (data=ljspeech_spoken) with: {SPEAK}"

    def are_in(self, folder: Path) -> bool:
        """Whether the data folder has the corpus, with recordings.

        Raises:
            DataError: The data folder does not exist and is not just the default.
        """
        paths.require(folder)
        return (folder / self.corpus / METADATA).is_file() and (folder / self.corpus / WAVES).is_dir()

    def read(self, folder: Path, cache: Path, jobs: int) -> SpeechCorpus:
        """The corpus, with features out of the cache, computed if need be.

        Raises:
            DataError: ``metadata.csv`` cannot be read or has too few rows; a split has nothing usable; with ``strict``
                anything is wrong with a row; the cache folder cannot be used.
        """
        metadata = folder / self.corpus / METADATA
        rows, faults = read_metadata(metadata)
        if sum(self.splits) > len(rows):
            text = f"{metadata}: {len(rows)} rows are too few for data.splits={list(self.splits)}"
            raise DataError(f"{text}, which ask for {sum(self.splits)}; choose smaller numbers")
        rows = rows[: sum(self.splits)]
        for row in filter(None, rows):
            if not self.text_of(row).strip():
                faults.append(Fault(row.number, "empty", f"{row.id}, as cut"))
                rows[row.number] = None
        unknown = [fault for row in rows if row for fault in _unknown(row, self.text_of(row))]
        faults = [fault for fault in faults if fault.row < len(rows)]
        if self.strict and (faults or unknown):
            raise refusal(metadata, min(faults + unknown))
        found, features = recordings.load(metadata.parent, rows, cache, jobs, self.strict)
        faults = sorted(faults + found.faults)
        splits = self._split([*self._utterances(metadata.parent, rows, found)])
        for split, span in self._spans().items():
            if not splits[split]:
                reason = next(notices(metadata, [fault for fault in faults if fault.row in span]))
                raise DataError(f"{metadata}: no usable row for {split}; {reason}")
        said = notices(metadata, sorted(faults + [fault for fault in unknown if found.frames[fault.row]]))
        sha256, stand_in = digest(metadata), _stand_in(metadata.parent)
        return SpeechCorpus(
            splits,
            features,
            source="files",
            provenance="stand-in" if stand_in is not None else self._provenance(sha256, faults, found.samples),
            files={f"{self.corpus}/{METADATA}": sha256},
            left_out=dict(sorted(Counter(fault.kind for fault in faults).items())),
            notices=tuple(said),
            stand_in=stand_in,
        )

    def text_of(self, row: Row) -> str:
        """What is to be written for a row: the normalised transcript in lower case, cut."""
        return row.text.lower()[: self.max_characters]

    def _utterances(
        self, corpus: Path, rows: Sequence[Row | None], found: recordings.Recordings
    ) -> Iterator[Utterance]:
        starts = found.starts()
        for row in rows:
            if row and found.frames[row.number]:
                number, path = row.number, corpus / WAVES / f"{row.id}.wav"
                seconds, sha256 = found.samples[number] / RATE, found.sha256[number]
                place = starts[number], found.frames[number]
                yield Utterance(row.id, self.text_of(row), number, seconds, path, sha256, *place)

    def _split(self, utterances: list[Utterance]) -> dict[str, tuple[Utterance, ...]]:
        spans = self._spans().items()
        return {split: tuple(item for item in utterances if item.row in span) for split, span in spans}

    def _spans(self) -> dict[str, range]:
        ends = pairwise([0, *accumulate(self.splits)])
        return {split: range(*span) for split, span in zip(SPLITS, ends, strict=True)}

    def _provenance(self, sha256: str, faults: list[Fault], samples: list[int]) -> str:
        is_registered = sha256 == registry.get("ljspeech").files[0].sha256
        is_published = is_registered and self.splits == PUBLISHED and not faults
        return "verified" if is_published and have_published_lengths(samples) else "user copy"


def have_published_lengths(samples: Sequence[int]) -> bool:
    """Whether recordings of so many samples last as long as LJSpeech's do, see `LENGTHS`, as far as these are stated.

    Recordings have no registered hash; noise or another voice under their names lasts another time.
    """
    total, shortest, longest = LENGTHS
    found = min(samples) / RATE, max(samples) / RATE
    return abs(sum(samples) / RATE - total) <= 1 and tuple(round(each, 2) for each in found) == (shortest, longest)


def _unknown(row: Row, text: str) -> list[Fault]:
    symbols = VOCABULARY.unknown([text])
    return [Fault(row.number, "unknown", f"{row.id} has {' '.join(sorted(symbols))}")] if symbols else []


def _stand_in(corpus: Path) -> dict[str, Any] | None:
    """How a stand-in was spoken; None for a corpus that is not marked as one."""
    try:
        mark = json.loads((corpus / STAND_IN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        mark = None
    return {key: mark[key] for key in MADE_BY if key in mark} if isinstance(mark, dict) else {"engine": "unknown"}
