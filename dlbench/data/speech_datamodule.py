"""Read speech and its transcripts: LJSpeech, a stand-in spoken by a machine, or tones (report e2324).

Provenance: ``verified`` is the published split of the registered ``metadata.csv`` with all 13,100 recordings there,
usable, and as long as published, all together, the shortest and the longest (a recording itself has no registered
hash); ``stand-in`` a corpus made by ``python -m dlbench data speak``; ``synthetic`` tones
(`dlbench.data.synthetic.tones`); anything else is a ``user copy``.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from joblib import cpu_count
from torch import Tensor
from torch.nn import functional

from dlbench.components import component
from dlbench.data import SPLITS, recordings, registry
from dlbench.data.datamodule import Size, Sizes, cache_outside
from dlbench.data.ljspeech import METADATA, RATE, STAND_IN, VOCABULARY, WAVES, Fault, notices, read_metadata, refusal
from dlbench.data.pairs import BatchOrder, Loader, PairBatch, Place, SequenceDataModule, Split, loader, pad
from dlbench.data.recordings import MELS, SpeechCorpus, Utterance, log_mel
from dlbench.data.synthetic import tones
from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.errors import DataError
from dlbench.files import digest, regular
from dlbench.paths import is_name

Source = Literal["auto", "files", "synthetic"]

SPEAK = "python -m dlbench data speak ljspeech --max-characters 60 --speed 300"
"""How the corpus of ``conf/data/ljspeech_spoken.yaml`` is made."""


PUBLISHED = (9825, 655, 2620)
"""Rows of each split (report e2324)."""

LENGTHS = (86_117, 1.11, 10.10)
"""Of LJSpeech's recordings in seconds: all together (23:55:17), the shortest, the longest (README of LJSpeech 1.1)."""

MADE_BY = ("engine", "voice", "speed", "start", "stop", "max_characters")


class SpeechTensors(Split):
    """A whole split; an index is an epoch and a vector of positions and gives a whole batch.

    Args:
        features: All recordings' frames one after the other (frames in all, bands); may be mapped from a file.
        starts: Where each of the N recordings of the split begins in ``features``.
        lengths: How many frames each has.
        targets: The symbols of each transcript, without start and end.
        frames: Pad with zeros, or crop, every recording to so many frames; default: to the longest of its batch.
        target_symbols: Pad every target to so many symbols; default: to the longest of its batch.

    Raises:
        ValueError: A target is longer than ``target_symbols``.
    """

    def __init__(
        self,
        features: npt.NDArray[np.float32],
        starts: Sequence[int],
        lengths: Sequence[int],
        targets: Sequence[Sequence[int]],
        *,
        frames: int | None = None,
        target_symbols: int | None = None,
    ) -> None:
        self.features, self.starts = features, list(starts)
        self.source_lengths = torch.tensor([min(length, frames or length) for length in lengths])
        self.target, self.target_lengths = pad([[SOS, *target, EOS] for target in targets])
        self.frames, self.target_symbols = frames, target_symbols
        if target_symbols is not None:
            missing = target_symbols - self.target.shape[1]
            if missing < 0:
                raise ValueError(f"target_symbols={target_symbols}: a target has {self.target.shape[1]}")
            self.target = functional.pad(self.target, (0, missing), value=PAD)

    def __getitem__(self, place: Place) -> PairBatch:
        _, index = place
        lengths = self.source_lengths[index]
        source = torch.zeros(len(index), self.frames or int(lengths.max()), self.features.shape[1])
        rows = source.numpy()
        for row, position, length in zip(rows, index.tolist(), lengths.tolist(), strict=True):
            row[:length] = self.features[self.starts[position] :][:length]
        width = self.target_symbols or int(self.target_lengths[index].max())
        return PairBatch(source, lengths, self.target[index, :width], index)


@component(
    "speech",
    "1.0",
    outside=("source", "synthetic_sizes", "corpus", "splits", "strict", "jobs"),
    former={"embedded_sizes": ("synthetic_sizes",)},
    uses=(BatchOrder, log_mel),
)
@dataclass(kw_only=True, eq=False)
class SpeechDataModule(SequenceDataModule[SpeechCorpus]):
    """Recordings as log-mel features, computed once and mapped from a file; transcripts by character.

    Args:
        corpus: The folder below the data folder, in LJSpeech's layout; it names the data set.
        splits: How many rows of ``metadata.csv``, in its order, are for train, val and test. A row that cannot be used
            leaves its place empty.
        source: ``files``, ``synthetic`` (tones), or ``auto``: files if there, else synthetic with a notice.
        frames: Pad or crop every recording to so many frames, as published; default: pad to the longest of a batch.
        target_symbols: Pad every target to so many symbols, start and end included; default: to a batch's longest.
        max_characters: What transcripts are cut to.
        strict: Whether a row that cannot be used as it is, is an error; otherwise a line says how many there are.
        bucket_batches: How many batches' recordings are sorted by length together; 1: plain random batches.
        jobs: How many recordings are turned into features at a time; default: as there are processors.
        cache: Where features are kept; default: see `dlbench.paths.cache_folder`.

    The others are those of `SuiteDataModule`.

    Raises:
        ValueError: The arguments do not fit each other.
    """

    corpus: str = "ljspeech"
    splits: Sizes = PUBLISHED
    source: Source = "auto"
    frames: Size | None = None
    target_symbols: Size | None = None
    max_characters: Size = 97
    strict: bool = False
    batch_size: Size = 64
    eval_batch_size: Size = 16
    bucket_batches: Size = 1
    jobs: Size | None = None
    synthetic_sizes: Sizes = (600, 100, 100)
    cache: str | None = None

    vocabulary = VOCABULARY
    """The published 35 symbols."""

    drawn = "tones"
    generate = staticmethod(tones.generate)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_symbols is not None and self.target_symbols < self.max_characters + 2:
            least = f"max_characters={self.max_characters} and two, for start and end"
            raise ValueError(f"target_symbols={self.target_symbols}: must be at least {least}")
        if not is_name(self.corpus):
            raise ValueError(f"corpus={self.corpus!r}: must be the name of a folder in the data folder")
        self.name, self.is_own = self.corpus, self.corpus not in ("ljspeech", "ljspeech_spoken")
        self.places = f"{self.corpus}/{METADATA}", f"{self.corpus}/{WAVES}"
        self.real = f"recordings of {self.corpus}"

    @cached_property
    def speech(self) -> SpeechCorpus:
        """All utterances, read, or made up, once; see `SuiteDataModule.load`."""
        return self.load()

    def read(self) -> SpeechCorpus | None:
        """See `read_corpus`; the cache may not lie in the data folder."""
        if not all(os.path.lexists(self.data_folder / place) for place in self.places):
            return None
        cache = cache_outside(self.data_folder, self.cache)
        folder, jobs = self.data_folder / self.corpus, self.jobs or cpu_count()
        return read_corpus(
            folder, tuple(self.splits), max_characters=self.max_characters, strict=self.strict, cache=cache, jobs=jobs
        )

    def hints(self) -> str:
        """What was looked for, what is there instead, and how the corpus is had."""
        absence = registry.absence(self.places, registry.similar(self.data_folder, self.name, self.places))
        if self.is_own:
            return f"{absence}; correct data.corpus, or put the corpus there"
        if self.name == "ljspeech_spoken":
            return f"{absence}; speak them with: {SPEAK}"
        fetch = "python -m dlbench data fetch ljspeech"
        return f"{absence}; get the recordings with: {fetch}, or speak a stand-in (data=ljspeech_spoken) with: {SPEAK}"

    def utterances(self, split: str) -> tuple[Utterance, ...]:
        """A split in the order of its rows; a batch's index is a position in it."""
        return self.speech.splits()[split]

    def features(self, split: str, position: int) -> Tensor:
        """An utterance's features (frames, bands), neither padded nor cropped."""
        recording = self.utterances(split)[position].recording
        return torch.tensor(self.speech.features[recording.start :][: recording.frames])

    def waveform(self, split: str, position: int) -> tuple[Tensor, int]:
        """An utterance to listen to: samples (samples,) from -1 to 1, and how many make a second."""
        utterance = self.utterances(split)[position]
        kept, path = self.speech.waveforms, utterance.path
        return torch.from_numpy(recordings.read_wave(path) if path else kept[utterance.recording.row]), RATE

    def read_recording(self, path: Path) -> npt.NDArray[np.float32]:
        """The features (frames, bands) of a recording of anybody's, as if it were one of the corpus.

        Raises:
            DataError: It cannot be read, or is none of its kind.
        """
        samples = recordings.read_wave(path)
        with recordings.single_thread():
            return log_mel(torch.from_numpy(samples)).numpy()

    def batches(self, features: Sequence[npt.NDArray[np.float32]]) -> Loader:
        """Features (frames, bands) as the network takes them, by length; their transcripts are empty."""
        lengths = [len(each) for each in features]
        starts = [0, *accumulate(lengths[:-1])]
        nothing: list[list[int]] = [[] for _ in features]
        split = SpeechTensors(np.concatenate(features), starts, lengths, nothing, frames=self.frames)
        return loader(split, self.eval_batch_size)

    def describe(self) -> dict[str, Any]:
        """What a record says of the data: where from, how trusted, the fingerprint of all utterances; no folders.

        ``seconds`` is the length of a split's recordings, ``unknown`` counts its symbols outside the vocabulary,
        ``left_out`` the rows that could not be used by reason; ``stand_in`` says how a spoken corpus was made.
        """
        speech = self.speech
        splits = speech.splits()
        return {
            **self.facts(speech),
            "seconds": {split: round(sum(one.recording.seconds for one in part), 1) for split, part in splits.items()},
            "left_out": speech.left_out,
            "stand_in": speech.stand_in,
            "unknown": {
                split: {"target": dict(sorted(VOCABULARY.unknown(item.text for item in part).items()))}
                for split, part in splits.items()
            },
            "vocabulary_sizes": {"target": len(VOCABULARY)},
            "vocabularies": {"target": list(VOCABULARY.symbols)},
        }

    def model_arguments(self) -> dict[str, Any]:
        """What the data decides of a network: how many symbols it writes and bands it hears."""
        return {"symbols": len(VOCABULARY), "mels": MELS}

    def tensors(self, split: str) -> SpeechTensors:
        """A split, ready for batches."""
        utterances = self.utterances(split)
        return SpeechTensors(
            self.speech.features,
            [item.recording.start for item in utterances],
            [item.recording.frames for item in utterances],
            [VOCABULARY.encode(item.text) for item in utterances],
            frames=self.frames,
            target_symbols=self.target_symbols,
        )


def read_corpus(
    corpus: Path, splits: Sequence[int], *, max_characters: int, strict: bool, cache: Path, jobs: int
) -> SpeechCorpus:
    """A corpus in LJSpeech's layout, with features out of the cache, computed if need be.

    The arguments are those of `SpeechDataModule`, but for ``corpus``, its folder.

    Raises:
        DataError: ``metadata.csv`` cannot be read or has too few rows; a split has nothing usable; with ``strict``
            anything is wrong with a row; the cache folder cannot be used.
    """
    metadata, wanted = corpus / METADATA, sum(splits)
    rows, faults = read_metadata(metadata)
    if (total := len(rows) + len(faults)) < wanted:
        text = f"{metadata}: {total} rows are too few for data.splits={list(splits)}"
        raise DataError(f"{text}, which ask for {wanted}; choose smaller numbers")
    rows = [row._replace(text=row.text.lower()[:max_characters]) for row in rows if row.number < wanted]
    faults = [fault for fault in faults if fault.row < wanted]
    faults += [Fault(row.number, "empty", f"{row.id}, as cut") for row in rows if not row.text.strip()]
    rows = [row for row in rows if row.text.strip()]
    unknown = [
        Fault(row.number, "unknown", f"{row.id} has {' '.join(sorted(symbols))}")
        for row in rows
        if (symbols := VOCABULARY.unknown([row.text]))
    ]
    if strict and (faults or unknown):
        raise refusal(metadata, min(faults + unknown))
    loaded = recordings.load(corpus, rows, cache, jobs, strict)
    faults = sorted(faults + loaded.faults)
    if strict and faults:
        raise refusal(metadata, faults[0])
    utterances = [
        Utterance(row.id, row.text, found, corpus / WAVES / f"{row.id}.wav")
        for row in rows
        if (found := loaded.recordings.get(row.number))
    ]
    parts = []
    for split, (begin, end) in zip(SPLITS, pairwise([0, *accumulate(splits)]), strict=True):
        parts.append(tuple(each for each in utterances if begin <= each.recording.row < end))
        if not parts[-1]:
            reason = next(notices(metadata, [fault for fault in faults if begin <= fault.row < end]))
            raise DataError(f"{metadata}: no usable row for {split}; {reason}")
    unknown = [fault for fault in unknown if fault.row in loaded.recordings]
    sha256, stand_in, provenance = digest(metadata), _stand_in(corpus), "user copy"
    if stand_in is not None:
        provenance = "stand-in"
    elif sha256 == registry.get("ljspeech").files[0].sha256 and splits == PUBLISHED and not faults:
        lengths = [each.samples for each in loaded.recordings.values()]
        provenance = "verified" if have_published_lengths(lengths) else "user copy"
    train, val, test = parts
    return SpeechCorpus(
        train,
        val,
        test,
        features=loaded.features,
        source="files",
        provenance=provenance,
        files={f"{corpus.name}/{METADATA}": sha256},
        left_out=dict(sorted(Counter(fault.kind for fault in faults).items())),
        notices=tuple(notices(metadata, sorted(faults + unknown))),
        stand_in=stand_in,
    )


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
