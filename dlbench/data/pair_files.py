"""Sequence pairs from text files: phonemes and spelling, or two languages, one pair a line.

Formats (the 2024/25 reports and d2223):
    phonemes_word: segments, separated by spaces, TAB, spelling (the course's P2G files).
    word_phonemes: spelling TAB segments (WikiPron, SIGMORPHON 2021).
    cmudict: spelling, spaces, ARPABET; ``;;;`` begins a comment line, `` #`` a trailing comment, and ``word(2)`` is
        another pronunciation of ``word``.
    target_source_characters: English TAB Spanish, characters on both sides (the course's translation files); both are
        reduced to plain letters, further columns are ignored.

What is no pair is not learned: a comment line (``#`` or ``;;;``) is left out, a number of a pronunciation
(``word(2)``) is no part of a spelling, and a line of column names or columns in another order are refused.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from dlbench.data import registry
from dlbench.data.pairs import Pair, PairSet, is_space
from dlbench.errors import DataError
from dlbench.files import regular
from dlbench.seeding import derive_seed

Format = Literal["phonemes_word", "word_phonemes", "cmudict", "target_source_characters"]
Normalisation = Literal["NFC", "NFD", "NFKC", "NFKD", "none"]

_SPLIT_SEED = 42
_COMMENT = re.compile(r"\s#.*")
# Some programs end lines so (see str.splitlines), or join files so: what follows would be taken for white space, or for
# a part of a symbol.
_ENDS = {
    "\r": "a carriage return",
    **{each: f"a control character (U+{ord(each):04X})" for each in "\v\f\x1c\x1d\x1e\x85"},
    "\u2028": "a line separator (U+2028)",
    "\u2029": "a paragraph separator (U+2029)",
}
_STRAY = re.compile(f"[{''.join(_ENDS)}]|^\ufeff")
_ALTERNATIVE = re.compile(r"(?<=\S)\s*\(\d+\)\s*$")

OTHER_ORDER: dict[Format, Format] = {"phonemes_word": "word_phonemes", "word_phonemes": "phonemes_word"}
"""Formats that differ in the order of their columns alone."""

# What people call their columns. A first line of nothing but such words, on both sides, is no pair.
_COLUMN_NAMES = re.compile(
    r"(arpabet|col|column|en|eng|english|es|espa[nñ]ol|form|fr|french|german|graphemes?|id|ingl[eé]s|input|ipa|label"
    r"|language|lemma|letters|orth|orthography|output|phones?|phonemes?|phonetics?|pron|pronunciations?|segments"
    r"|sentence|sequence|source|spa|spanish|spelling|src|symbols|target|text|tgt|transcription|translation|trg|words?"
    r"|wort)"
)

_ODD = {
    "space": ("lines with a space at an end of a side, a symbol like others", "data.strip=true strips them"),
    "comment": ("comment lines, left out", "remove them from the file"),
    "alternative": ("spellings with the number of a pronunciation, left out", "remove it from the file"),
}
"""What is odd about a line and yet read: what is said of so many lines, and what can be done."""


class _LineError(Exception):
    """What is wrong with a line, and what to do."""


def normalise(text: str) -> str:
    """Lower-case text of letters a-z, ``.!?`` and single spaces, as in the course's translation files.

    Accents go (Unicode NFD), ``.!?`` stand apart from the word before, every other run of characters becomes a space:
    ``¿Quién lo pintó?`` gives `` quien lo pinto ?``. What has that form already comes back as it was.
    """
    letters = "".join(char for char in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(char) != "Mn")
    return re.sub(r"[^a-z.!?]+", " ", re.sub(r"([.!?])", r" \1", letters))


def read_source(
    text: str, format: Format, stress: bool = False, normalisation: Normalisation = "NFC", strip: bool = False
) -> tuple[str, ...]:
    """The source side of a line, or what a person wrote in its place, as symbols; the others as in `PairFiles`."""
    if normalisation != "none":
        text = unicodedata.normalize(normalisation, text)
    if format == "target_source_characters":
        symbols = tuple(normalise(text))
        return stripped(symbols) if strip else symbols
    keep_all = format != "cmudict" or stress
    return tuple(segment if keep_all else segment.rstrip("012") for segment in text.split())


def stripped(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Characters without the spaces at either end."""
    kept = [place for place, symbol in enumerate(symbols) if not is_space(symbol)]
    return symbols[kept[0] : kept[-1] + 1] if kept else ()


_Odd = defaultdict[str, list[str]]
"""Where in the files a kind of `_ODD` was found, and the text."""


@dataclass(frozen=True)
class PairFiles:
    """Which files make up a data set, and how they are read.

    The fields are arguments of `dlbench.data.pair_datamodule.TransductionDataModule`, which says what they mean.

    Raises:
        ValueError: They do not fit each other.
    """

    format: Format
    train: str
    val: str | None = None
    test: str | None = None
    stress: bool = False
    holdout: tuple[int, ...] | None = None
    max_train_words: int | None = None
    max_source_length: int = 100
    normalisation: Normalisation = "NFC"
    strip: bool = False

    def __post_init__(self) -> None:
        if (self.val is None) != (self.test is None):
            raise ValueError("name both files, val and test, or neither and split them off with holdout")
        if (self.val is None) == (self.holdout is None):
            raise ValueError("give either the files val and test or holdout=[words for val, words for test]")
        if self.holdout is not None and (len(self.holdout) != 2 or min(self.holdout) < 1):
            raise ValueError(f"holdout must be two numbers of words of 1 or more, not {list(self.holdout)}")
        if self.holdout is None and self.max_train_words is not None:
            raise ValueError("max_train_words goes with holdout")
        if self.stress and self.format != "cmudict":
            raise ValueError(f"stress goes with format=cmudict, not {self.format}")
        if unnamed := [path for path in self.paths() if not Path(path).name]:
            raise ValueError(f"{unnamed[0]!r}: must be the path of a file")

    def paths(self) -> tuple[str, ...]:
        """The files' paths: below the data folder or the folder the command was started in, or absolute."""
        return tuple(path for path in (self.train, self.val, self.test) if path is not None)

    @property
    def is_own(self) -> bool:
        """Whether one of them is a file that the user named, none of the suite's data sets."""
        registered = {file.path for data_set in registry.REGISTRY.values() for file in data_set.files}
        return not registered.issuperset(self.paths())

    def path_of(self, split: str) -> str:
        """The path of the file that a split comes from."""
        return {"val": self.val, "test": self.test}.get(split) or self.train

    @property
    def name(self) -> str:
        """The data set's name; see `dlbench.data.registry.data_name`."""
        return registry.data_name(self.train)

    @property
    def remedy(self) -> str:
        """How the files are had."""
        if self.name in registry.REGISTRY and not self.is_own:
            return registry.fetching(self.name)
        keys = "data.train" if self.val is None else "data.train, data.val and data.test, all three of them"
        return f"correct {keys}, or put the files there"

    def absence(self, folder: Path) -> str:
        """A clause: what was looked for in a data folder, and what is there instead."""
        inside = [path for path in self.paths() if not registry.leads_elsewhere(path)]
        found = registry.similar(folder, self.name, inside)
        missing = [path for path in self.paths() if not registry.find(path, folder)]
        if self.is_own:  # the first, wherever it was looked for
            missing = list(map(str, registry.places(missing[0], folder)))
        return registry.absence(missing, found)

    def read(self, folder: Path) -> PairSet:
        """Read all files.

        Raises:
            DataError: A file is missing, not UTF-8 or empty; a line is not as it should be; too few words to split.
        """
        splits: list[Sequence[Pair]] = []
        files: dict[str, str] = {}
        odd = _Odd(list)
        for given in self.paths():
            path = registry.find(given, folder)
            if path is None:
                raise DataError(f"{given}: no such file; {self.absence(folder)}; {self.remedy}")
            try:
                content = regular(path).read_bytes()
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror}); make it a readable file") from error
            # A record tells no folder of this machine.
            name = "/".join(path.resolve().parts[-2:]) if registry.leads_elsewhere(given) else given
            while name in files and given not in files:  # another file of that name, in another folder
                name += "'"
            files[name] = hashlib.sha256(content).hexdigest()
            splits.append(self.parse(content, path, name, odd))
        train, val, test = map(tuple, splits if self.holdout is None else self._split(splits[0], folder / self.train))
        joiner = "" if self.format == "target_source_characters" else " "
        # Each file, by its SHA-256, is the registered one of its path; where there is one for each split, one alone is
        # split otherwise. A licence is no split.
        registered = registry.REGISTRY[self.name].files if self.name in registry.REGISTRY else ()
        known = [(each.path, each.sha256) for each in registered if Path(each.path).suffix == Path(self.train).suffix]
        provenance = "user copy"
        if list(files.items()) == known[: len(self.paths())]:
            provenance = "verified" if len(files) == len(known) else "other split"
        notices = tuple(
            f"{what}: {len(odd[kind]):,} ({odd[kind][0]}{' …' * (len(odd[kind]) > 1)}); {remedy}"
            for kind, (what, remedy) in _ODD.items()
            if odd[kind]
        )
        return PairSet(train, val, test, "files", provenance, files, source_joiner=joiner, notices=notices)

    def parse(self, content: bytes, path: Path, name: str = "", odd: _Odd | None = None) -> list[Pair]:
        """The pairs of one file, in its order; what is odd about its lines, which it calls ``name``, goes to ``odd``.

        Raises:
            DataError: See `read`; the message begins ``FILE:LINE``.
        """
        odd = _Odd(list) if odd is None else odd
        pairs: list[Pair] = []
        lines = list(self._lines(content, path))
        comments = self._comments(lines)
        for number, line in lines:
            place = f"{name}:{number}"
            if number in comments:
                if self.format != "cmudict" or not line.startswith(";;;"):  # which the format itself has
                    odd["comment"].append(f"{place} {line[:60]!r}")
                continue
            try:
                if stray := _STRAY.search(line):
                    what = _ENDS.get(stray[0], "a byte order mark (U+FEFF)")
                    raise _LineError(f"{what} inside the line; end lines with a line feed, and remove it elsewhere")
                pair = self._pair(line, place, odd)
                self._check(pair, is_first=not pairs)
            except _LineError as error:
                raise DataError(f"{path}:{number}: {error}") from None
            pairs.append(pair)
        if not pairs:
            raise DataError(f"{path}: no pairs in it; {self.remedy}")
        # Spellings read as segments are one symbol each, and segments read as a spelling have spaces.
        swapped = sum(len(pair.source) == 1 and any(map(str.isspace, stripped(pair.target))) for pair in pairs)
        if self.format in OTHER_ORDER and 2 * swapped > len(pairs):
            text = f"{path}: most sources are a single symbol, and most targets have spaces"
            raise DataError(f"{text}; {other_order(self.format)}")
        # Pronunciations of a word may differ in their stress alone.
        return list(dict.fromkeys(pairs)) if self.format == "cmudict" else pairs

    def _lines(self, content: bytes, path: Path) -> Iterator[tuple[int, str]]:
        """Lines with their numbers from 1; byte order mark, carriage returns and the last line's end are no content."""
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            number = content.count(b"\n", 0, error.start) + 1
            raise DataError(f"{path}:{number}: not UTF-8; save the file in that encoding") from error
        # Not str.splitlines, which also takes some characters inside a line for its end.
        for number, line in enumerate(text.rstrip("\r\n").split("\n") if text else (), start=1):
            bare = line.rstrip("\r")
            yield number, bare if self.normalisation == "none" else unicodedata.normalize(self.normalisation, bare)

    def _comments(self, lines: Sequence[tuple[int, str]]) -> frozenset[int]:
        begins = re.compile(r";;;|#(?=[\s#]|$)" if self.format == "cmudict" else r";;;|#")  # #HASH-MARK is a word
        found = frozenset(number for number, line in lines if begins.match(line))
        # Where most lines begin so, it is a symbol, as that of a word's boundary.
        hashes = {number for number, line in lines if line.startswith("#")}
        return found - hashes if self.format != "cmudict" and 2 * len(hashes) > len(lines) > 1 else found

    def _pair(self, line: str, place: str, odd: _Odd) -> Pair:
        source, target = _sides(line, self.format)
        symbols = read_source(source, self.format, self.stress, "none", self.strip)
        if self.format == "target_source_characters":
            target = normalise(target)
        elif (bare := _ALTERNATIVE.sub("", target)) != target:
            if self.format != "cmudict":  # which writes pronunciations so
                odd["alternative"].append(f"{place} {target[:60]!r}")
            target = bare
        spelled = stripped(tuple(target)) if self.strip else tuple(target)
        sides = (symbols, spelled) if self.format == "target_source_characters" else (spelled,)
        if spaced := [side for side in sides if side != stripped(side)]:
            odd["space"].append(f"{place} {''.join(spaced[0])[:60]!r}")
        return Pair(symbols, spelled)

    def _check(self, pair: Pair, is_first: bool) -> None:
        """Refuse names of columns, empty sides, and sources that are too long."""
        if is_first:
            joiner = "" if self.format == "target_source_characters" else " "
            source, target = joiner.join(pair.source).strip(), "".join(pair.target).strip()
            words = [re.findall(r"[^\W\d_]+", side.lower()) for side in (source, target)]
            if all(side and all(map(_COLUMN_NAMES.fullmatch, side)) for side in words):
                raise _LineError(f"names of columns ({source!r}, {target!r}), not a pair; remove the line")
        for side, symbols in (("source", pair.source), ("target", pair.target)):
            if is_space("".join(symbols)):
                raise _LineError(f"the {side} side is empty; complete the line or remove it")
        if len(pair.source) > self.max_source_length:
            limit = f"more than data.max_source_length={self.max_source_length}"
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


def _sides(line: str, format: Format) -> tuple[str, str]:
    if format == "cmudict":
        word, phonemes = [*_COMMENT.sub("", line).split(maxsplit=1), "", ""][:2]
        if "\t" in phonemes.strip():
            raise _LineError(
                "a tab among the segments; expected spelling, spaces, segments, or choose another data.format"
            )
        return phonemes, word
    expected: dict[str, str] = {"phonemes_word": "segments, TAB, spelling", "word_phonemes": "spelling, TAB, segments"}
    columns = line.split("\t")
    if len(columns) == 1:
        raise _LineError(f"no tab; expected {expected.get(format, 'target, TAB, source')}")
    if format in expected and len(columns) > 2:
        raise _LineError(f"{len(columns)} columns; expected {expected[format]}; remove the others")
    return (columns[0], columns[1]) if format == "phonemes_word" else (columns[1], columns[0])


def other_order(format: Format) -> str:
    """What may be wrong where the columns make no sense, and the formats that read other ones."""
    if format in OTHER_ORDER:
        other = f"data.format={OTHER_ORDER[format]} reads the columns in the other order"
        return f"{other}; segments are to be separated by spaces"
    others = " or ".join(other for other in get_args(Format) if other != format)
    return f"see that the columns are in the order of data.format={format}, or choose {others}"
