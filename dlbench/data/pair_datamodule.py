"""Sequence pairs for transduction: phonemes to spelling, Spanish to English (the 2024/25 reports and d2223).

Where the files are not, invented words stand in (`dlbench.data.synthetic.words`).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len

from dlbench.components import component
from dlbench.data import registry
from dlbench.data.datamodule import Size, Sizes, read_once
from dlbench.data.pair_files import Format, Normalisation, PairFiles, other_order
from dlbench.data.pairs import BatchOrder, Pair, PairSet, PairTensors, SequenceDataModule, mostly_unseen, subset, unseen
from dlbench.data.synthetic import words
from dlbench.data.vocabulary import Vocabulary
from dlbench.errors import DataError, OddDataNotice

Source = Literal["auto", "files", "synthetic"]


@component(
    "sequence_pairs",
    "1.0",
    # The fingerprint, which is of the text as read, tells what normalisation and strip change.
    outside=("source", "synthetic_sizes", "train", "val", "test", "max_source_length", "normalisation", "strip"),
    former={"embedded_sizes": ("synthetic_sizes",)},
    uses=(BatchOrder,),
)
@dataclass(kw_only=True, eq=False)
class TransductionDataModule(SequenceDataModule[PairSet]):
    """Sequence pairs in memory, batched by length.

    Args:
        format: How lines are read, which also fixes the direction; see `dlbench.data.pair_files`.
        train: The training file: a path below the data folder or the working folder, or absolute; the folder it is in
            names the data set. A file that is none of the suite's must be there.
        val: The validation file; with neither ``val`` nor ``test``, both are split off ``train`` by spelling.
        test: See ``val``.
        source: ``files``, ``synthetic`` (invented words), or ``auto``: files if there, else synthetic with a notice.
        stress: Whether ARPABET vowels keep their stress digit (``cmudict`` only).
        holdout: How many words to split off for validation and for test. All pairs of a word go to the same split,
            which depends on nothing but the words.
        max_train_words: Keep only so many words for training, chosen likewise; default: all that remain.
        max_source_length: The most symbols a source may have; a longer one is an error.
        normalisation: The normal form of Unicode in which text is read, before anything else; ``none``: as it is.
        strip: Whether spaces at either end of a spelling or a sentence are left out; else they are named.
        bucket_batches: How many batches' pairs are sorted by length together; 1: plain random batches.
        reverse_source: Whether source symbols come last first.
        fraction: The part of the training pairs to use, chosen by the seed; a smaller part lies in every larger one.
        noise: The probability with which a training source symbol is replaced by a random known one.

    The others are those of `SuiteDataModule`.

    Raises:
        ValueError: The arguments do not fit each other.
    """

    format: Format
    train: str
    val: str | None = None
    test: str | None = None
    source: Source = "auto"
    stress: bool = False
    holdout: Annotated[Sequence[Size], Len(2, 2)] | None = None
    max_train_words: Size | None = None
    max_source_length: Size = 100
    normalisation: Normalisation = "NFC"
    strip: bool = False
    batch_size: Size = 64
    bucket_batches: Size = 20
    reverse_source: bool = False
    fraction: Annotated[float, Gt(0), Le(1)] = 1.0
    noise: Annotated[float, Ge(0), Le(1)] = 0.0
    synthetic_sizes: Sizes = (4000, 500, 500)

    drawn = "(invented) words"
    generate = staticmethod(words.generate)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.holdout = tuple(self.holdout) if self.holdout is not None else None
        self.files = PairFiles(**{each.name: getattr(self, each.name) for each in fields(PairFiles)})
        self.name, self.is_own = self.files.name, self.files.is_own
        self.real = f"{self.name} pairs"

    @cached_property
    def pair_set(self) -> PairSet:
        """All pairs, read, or invented, once; see `SuiteDataModule.load`."""
        return self.load()

    def read(self) -> PairSet | None:
        """See `PairFiles.read`."""
        there = [path for name in self.files.paths() if (path := registry.find(name, self.data_folder))]
        if not there:
            return None
        return read_once(PairFiles.read, there, self.files, self.data_folder)

    def hints(self) -> str:
        """What was looked for, what is there instead, and how the files are had."""
        return f"{self.files.absence(self.data_folder)}; {self.files.remedy}"

    def pairs(self, split: str) -> tuple[Pair, ...]:
        """A split as read; of training only the fraction in use. A batch's index is a position in it."""
        pairs = self.pair_set.splits()[split]
        return pairs if split != "train" or self.fraction == 1 else subset(pairs, self.fraction, self.seed)

    @cached_property
    def source_vocabulary(self) -> Vocabulary:
        """All source symbols of the training pairs in use."""
        return Vocabulary.from_sequences(pair.source for pair in self.pairs("train"))

    @cached_property
    def target_vocabulary(self) -> Vocabulary:
        """All target symbols of the training pairs in use."""
        return Vocabulary.from_sequences(pair.target for pair in self.pairs("train"))

    def describe(self) -> dict[str, Any]:
        """What a record says of the data: where from, how trusted, the fingerprint of all pairs; no folders.

        ``sizes`` counts the pairs in use; ``unknown`` the symbols of a split, by side, that training does not have;
        a notice names them.

        Raises:
            DataError: Training has not seen most of what a split's sources consist of.
        """
        pairs = self.pair_set
        vocabularies = {"source": self.source_vocabulary, "target": self.target_vocabulary}
        evaluated = {split: self.pairs(split) for split in ("val", "test")}
        if pairs.source == "files":
            for split, part in evaluated.items():
                if found := mostly_unseen(part, self.source_vocabulary):
                    small = "" if self.fraction == 1 else f", and data.fraction={self.fraction} may be too small"
                    raise DataError(f"{self.files.path_of(split)}: {found}; {other_order(self.files.format)}{small}")
        if notice := unseen(evaluated, vocabularies):
            warnings.warn(notice, OddDataNotice, stacklevel=2)
        return {
            **self.facts(pairs),
            "sizes": {split: len(self.pairs(split)) for split in pairs.splits()},
            "joiners": {"source": pairs.source_joiner, "target": pairs.target_joiner},
            "unknown": {
                split: {
                    side: dict(sorted(vocabulary.unknown(getattr(pair, side) for pair in self.pairs(split)).items()))
                    for side, vocabulary in vocabularies.items()
                }
                for split in ("val", "test")
            },
            "vocabulary_sizes": {side: len(vocabulary) for side, vocabulary in vocabularies.items()},
            "vocabularies": {side: list(vocabulary.symbols) for side, vocabulary in vocabularies.items()},
        }

    def model_arguments(self) -> dict[str, Any]:
        """What the data decides of a network: the sizes of its vocabularies."""
        return {"source_symbols": len(self.source_vocabulary), "target_symbols": len(self.target_vocabulary)}

    def tensors(self, split: str, noise: float = 0.0) -> PairTensors:
        """A split as padded tensors."""
        vocabularies = self.source_vocabulary, self.target_vocabulary
        return PairTensors(
            self.pairs(split), *vocabularies, reverse_source=self.reverse_source, noise=noise, seed=self.seed
        )

    def train_tensors(self) -> PairTensors:
        """With noise, if there is any."""
        return self.tensors("train", self.noise)
