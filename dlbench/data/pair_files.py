"""Sequence pairs from text files: phonemes and spelling, or two languages, one pair a line.

Formats (REPORTS sections 2 and 4):
    phonemes_word: segments, separated by spaces, TAB, spelling (the course's P2G files).
    word_phonemes: spelling TAB segments (WikiPron, SIGMORPHON 2021).
    cmudict: spelling, spaces, ARPABET; ``;;;`` begins a comment line, `` #`` a trailing comment, and ``word(2)`` is
        another pronunciation of ``word``.
    target_source_characters: English TAB Spanish, characters on both sides (the course's translation files); both are
        normalised, further columns are ignored.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dlbench.data import folders, registry
from dlbench.data.pairs import Pair, PairSet
from dlbench.errors import DataError
from dlbench.randomness import derive_seed

Format = Literal["phonemes_word", "word_phonemes", "cmudict", "target_source_characters"]

_SPLIT_SEED = 42
_COMMENT = re.compile(r"\s#.*")
_ALTERNATIVE = re.compile(r"\(\d+\)$")


class _LineError(Exception):
    """What is wrong with a line, and what to do."""


def normalise(text: str) -> str:
    """Lower-case text of letters a-z, ``.!?`` and single spaces, as in the course's translation files.

    Accents go (Unicode NFD), ``.!?`` stand apart from the word before, every other run of characters becomes a space:
    ``¿Quién lo pintó?`` gives `` quien lo pinto ?``. What has that form already comes back as it was.
    """
    letters = "".join(char for char in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(char) != "Mn")
    return re.sub(r"[^a-z.!?]+", " ", re.sub(r"([.!?])", r" \1", letters))


def read_source(text: str, format: Format, stress: bool = False) -> tuple[str, ...]:
    """The source side of a line, or what a person wrote in its place, as symbols; ``stress`` as in `PairFiles`."""
    if format == "target_source_characters":
        return tuple(normalise(text))
    keep_all = format != "cmudict" or stress
    return tuple(segment if keep_all else segment.rstrip("012") for segment in text.split())


@dataclass(frozen=True)
class PairFiles:
    """Which files make up a data set, and how they are read.

    Args:
        format: See this module.
        train: A path below the data folder.
        val: Another one; with neither ``val`` nor ``test``, both are split off ``train`` by spelling.
        test: See ``val``.
        stress: Whether ARPABET vowels keep their stress digit (``cmudict`` only).
        holdout: How many words to split off for validation and for test. All pairs of a word go to the same split,
            which depends on nothing but the words.
        max_train_words: Keep only so many words for training, chosen likewise; default: all that remain.
        max_source_length: The most symbols a source may have.

    Raises:
        ValueError: The arguments do not fit each other.
    """

    format: Format
    train: str
    val: str | None = None
    test: str | None = None
    stress: bool = False
    holdout: tuple[int, ...] | None = None
    max_train_words: int | None = None
    max_source_length: int = 100

    def __post_init__(self) -> None:
        if (self.val is None) != (self.test is None):
            raise ValueError("name both files, val and test, or neither and split them off with holdout")
        if (self.val is None) == (self.holdout is None):
            raise ValueError("give either the files val and test or holdout=[words for val, words for test]")
        if self.holdout is not None and (len(self.holdout) != 2 or min(self.holdout) < 1):
            raise ValueError(f"holdout={list(self.holdout)}: must be two positive numbers of words, for val and test")
        if self.holdout is None and self.max_train_words is not None:
            raise ValueError("max_train_words goes with holdout")
        if self.stress and self.format != "cmudict":
            raise ValueError(f"stress goes with format=cmudict, not {self.format}")
        for path in self.paths():
            if not Path(path).name or Path(path).is_absolute() or ".." in Path(path).parts:
                raise ValueError(f"{path!r}: must be a path below the data folder")

    def paths(self) -> tuple[str, ...]:
        """The files' paths below the data folder."""
        return tuple(path for path in (self.train, self.val, self.test) if path is not None)

    @property
    def name(self) -> str:
        """The data set's name: that of the folder of its training file."""
        return Path(self.train).parts[0].partition(".")[0]

    @property
    def remedy(self) -> str:
        """How the files are had."""
        if self.name in registry.REGISTRY:
            return f"get the real ones with: python -m dlbench.data fetch {self.name}"
        return f"put {', '.join(self.paths())} there"

    def are_in(self, folder: Path) -> bool:
        """Whether any of the files is in the data folder.

        Raises:
            DataError: The data folder does not exist and is not just the default.
        """
        if not folder.is_dir() and folder != folders.DEFAULT:
            raise DataError(f"{folder}: no such data folder; correct the path or DLBENCH_DATA, or create the folder")
        return any((folder / path).is_file() for path in self.paths())

    def read(self, folder: Path) -> PairSet:
        """Read all files.

        Raises:
            DataError: A file is missing, not UTF-8 or empty; a line is not as it should be; too few words to split.
        """
        splits: list[Sequence[Pair]] = []
        files: dict[str, str] = {}
        for name in self.paths():
            content = _content(folder / name, self.remedy)
            files[name] = hashlib.sha256(content).hexdigest()
            splits.append(self.parse(content, folder / name))
        train, val, test = map(tuple, splits if self.holdout is None else self._split(splits[0], folder / self.train))
        joiner = "" if self.format == "target_source_characters" else " "
        provenance = "verified" if self._are_registered(files) else "user copy"
        return PairSet(train, val, test, "files", provenance, files, source_joiner=joiner)

    def parse(self, content: bytes, path: Path) -> list[Pair]:
        """The pairs of one file, in its order.

        Raises:
            DataError: See `read`; the message begins ``FILE:LINE``.
        """
        parse_line = _PARSERS[self.format]
        pairs: list[Pair] = []
        for number, line in _lines(content, path):
            try:
                pair = parse_line(line, self.stress)
                if pair is not None:
                    self._check(pair)
            except _LineError as error:
                raise DataError(f"{path}:{number}: {error}") from None
            if pair is not None:
                pairs.append(pair)
        if not pairs:
            raise DataError(f"{path}: no pairs in it; {self.remedy}")
        # Pronunciations of a word may differ in their stress alone.
        return list(dict.fromkeys(pairs)) if self.format == "cmudict" else pairs

    def _are_registered(self, files: Mapping[str, str]) -> bool:
        """Whether each file, by its SHA-256, is the registered one of its path, and they are split as registered."""
        registered = registry.REGISTRY[self.name].files if self.name in registry.REGISTRY else ()
        known = [(file.path, file.sha256) for file in registered]
        return [(path, files[path]) for path in self.paths()] == known[: len(self.paths())]

    def _check(self, pair: Pair) -> None:
        for side, symbols in (("source", pair.source), ("target", pair.target)):
            if not "".join(symbols).strip():
                raise _LineError(f"the {side} side is empty; complete the line or remove it")
        if len(pair.source) > self.max_source_length:
            limit = f"more than max_source_length={self.max_source_length}"
            raise _LineError(f"the source has {len(pair.source)} symbols, {limit}; raise it or remove the line")

    def _split(self, pairs: Sequence[Pair], path: Path) -> tuple[list[Pair], ...]:
        """Training, validation and test pairs, by the order of the words' hashes."""
        n_val, n_test = self.holdout or (0, 0)
        words = sorted({pair.target for pair in pairs}, key=lambda word: derive_seed(_SPLIT_SEED, "".join(word)))
        n_train = len(words) - n_val - n_test if self.max_train_words is None else self.max_train_words
        if n_train < 1 or n_val + n_test + n_train > len(words):
            wanted = f"holdout={[n_val, n_test]}" + (f" and max_train_words={n_train}" if self.max_train_words else "")
            raise DataError(f"{path}: {len(words)} words are too few for {wanted}; choose smaller numbers")
        ends = (n_val, n_val + n_test, n_val + n_test + n_train)
        part = {word: sum(place >= end for end in ends) for place, word in enumerate(words)}
        val, test, train = ([pair for pair in pairs if part[pair.target] == number] for number in range(3))
        return train, val, test


def _content(path: Path, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {remedy}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it a readable file") from error


def _lines(content: bytes, path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1; a byte order mark, carriage returns and the last line's end are no content."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{number}: not UTF-8; save the file in that encoding") from error
    # Not str.splitlines, which also takes some characters inside a line for its end.
    for number, line in enumerate(text.rstrip("\r\n").split("\n") if text else (), start=1):
        yield number, line.rstrip("\r")


def _columns(line: str, expected: str, *, exactly: bool = True) -> tuple[str, str]:
    left, tab, right = line.partition("\t")
    if not tab:
        raise _LineError(f"no tab; expected {expected}")
    if exactly and "\t" in right:
        raise _LineError(f"{line.count(chr(9)) + 1} columns; expected {expected}")
    return left, right.partition("\t")[0]


def _phonemes_word(line: str, _: bool) -> Pair:
    phonemes, word = _columns(line, "segments, TAB, spelling")
    return Pair(read_source(phonemes, "phonemes_word"), tuple(word))


def _word_phonemes(line: str, _: bool) -> Pair:
    word, phonemes = _columns(line, "spelling, TAB, segments")
    return Pair(read_source(phonemes, "word_phonemes"), tuple(word))


def _cmudict(line: str, stress: bool) -> Pair | None:
    if line.startswith(";;;"):
        return None
    word, phonemes = [*_COMMENT.sub("", line).split(maxsplit=1), "", ""][:2]
    return Pair(read_source(phonemes, "cmudict", stress), tuple(_ALTERNATIVE.sub("", word)))


def _target_source(line: str, _: bool) -> Pair:
    target, source = _columns(line, "target, TAB, source", exactly=False)
    return Pair(read_source(source, "target_source_characters"), tuple(normalise(target)))


_PARSERS: dict[Format, Callable[[str, bool], Pair | None]] = {
    "phonemes_word": _phonemes_word,
    "word_phonemes": _word_phonemes,
    "cmudict": _cmudict,
    "target_source_characters": _target_source,
}
