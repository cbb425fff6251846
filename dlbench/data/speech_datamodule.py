"""Read speech and its transcripts: LJSpeech, a stand-in spoken by a machine, or tones (report e2324).

Provenance: ``verified`` is the published split of the registered ``metadata.csv`` with all 13,100 recordings there,
usable, and as long as published, all together, the shortest and the longest (a recording itself has no registered
hash); ``stand-in`` a corpus made by ``python -m dlbench data speak``; ``synthetic`` tones
(`dlbench.data.synthetic.tones`); anything else is a ``user copy``.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from joblib import cpu_count
from torch import Tensor
from torch.nn import functional

from dlbench.components import component
from dlbench.data import recordings, registry
from dlbench.data.datamodule import Size, Sizes, cache_outside
from dlbench.data.ljspeech import METADATA, RATE, VOCABULARY, WAVES, LeftOutNotice
from dlbench.data.pairs import BatchOrder, PairBatch, Place, SequenceDataModule, Split, pad
from dlbench.data.recordings import MELS, log_mel
from dlbench.data.speech_files import PUBLISHED, SpeechCorpus, SpeechFiles, Utterance
from dlbench.data.synthetic import tones
from dlbench.data.vocabulary import EOS, PAD, SOS, Vocabulary

Source = Literal["auto", "files", "synthetic"]

SPEAK = "python -m dlbench data speak ljspeech --max-characters 60 --speed 300"
"""How the corpus of ``conf/data/ljspeech_spoken.yaml`` is made."""


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

    drawn = "tones"
    generate = staticmethod(tones.generate)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_symbols is not None and self.target_symbols < self.max_characters + 2:
            least = f"max_characters={self.max_characters} and two, for start and end"
            raise ValueError(f"target_symbols={self.target_symbols}: must be at least {least}")
        self.files = SpeechFiles(self.corpus, tuple(self.splits), self.max_characters, self.strict)
        self.name, self.is_own = self.corpus, self.corpus not in ("ljspeech", "ljspeech_spoken")
        self.places = f"{self.corpus}/{METADATA}", f"{self.corpus}/{WAVES}"
        self.real = f"recordings of {self.corpus}"

    @cached_property
    def speech(self) -> SpeechCorpus:
        """All utterances, read, or made up, once; see `SuiteDataModule.load`."""
        return self.load()

    def read(self) -> SpeechCorpus | None:
        """See `SpeechFiles.read`; the cache may not lie in the data folder."""
        if not all(os.path.lexists(self.data_folder / place) for place in self.places):
            return None
        cache = cache_outside(self.data_folder, self.cache)
        found = self.files.read(self.data_folder, cache, self.jobs or cpu_count())
        for notice in found.notices:
            warnings.warn(notice, LeftOutNotice, stacklevel=2)
        return found

    def absence(self) -> str:
        """What was looked for, and what is there instead."""
        return registry.absence(self.places, registry.similar(self.data_folder, self.name, self.places))

    def remedy(self) -> str:
        """How the corpus is had."""
        if self.is_own:
            return "correct data.corpus, or put the corpus there"
        if self.name == "ljspeech_spoken":
            return f"speak them with: {SPEAK}"
        fetch = "python -m dlbench data fetch ljspeech"
        return f"get the recordings with: {fetch}, or speak a stand-in (data=ljspeech_spoken) with: {SPEAK}"

    @property
    def vocabulary(self) -> Vocabulary:
        """The published 35 symbols."""
        return VOCABULARY

    def utterances(self, split: str) -> tuple[Utterance, ...]:
        """A split in the order of its rows; a batch's index is a position in it."""
        return self.speech.splits()[split]

    def features(self, split: str, position: int) -> Tensor:
        """An utterance's features (frames, bands), neither padded nor cropped."""
        utterance = self.utterances(split)[position]
        return torch.tensor(self.speech.features[utterance.start :][: utterance.frames])

    def waveform(self, split: str, position: int) -> tuple[Tensor, int]:
        """An utterance to listen to: samples (samples,) from -1 to 1, and how many make a second."""
        utterance = self.utterances(split)[position]
        kept, path = self.speech.waveforms, utterance.path
        return torch.from_numpy(recordings.read_wave(path) if path else kept[utterance.row]), RATE

    @property
    def train_size(self) -> int:
        """How many training utterances there are."""
        return len(self.utterances("train"))

    def describe(self) -> dict[str, Any]:
        """What a record says of the data: where from, how trusted, the fingerprint of all utterances; no folders.

        ``seconds`` is the length of a split's recordings, ``unknown`` counts its symbols outside the vocabulary,
        ``left_out`` the rows that could not be used by reason; ``stand_in`` says how a spoken corpus was made.
        """
        speech = self.speech
        splits = speech.splits()
        return {
            **self.facts(speech),
            "seconds": {split: round(sum(item.seconds for item in part), 1) for split, part in splits.items()},
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
            [item.start for item in utterances],
            [item.frames for item in utterances],
            [VOCABULARY.encode(item.text) for item in utterances],
            frames=self.frames,
            target_symbols=self.target_symbols,
        )
