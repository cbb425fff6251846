"""The symbols a network knows, numbered; the first four are the same in every vocabulary (the 2024/25 reports)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

PAD, SOS, EOS, UNK = range(4)
SPECIALS = ("<pad>", "<sos>", "<eos>", "<unk>")


def until_end(numbers: Sequence[int], keep_end: bool = False) -> list[int]:
    """The numbers up to the first end, with it if asked for; padding and starts are passed over."""
    end = next((place + keep_end for place, number in enumerate(numbers) if number == EOS), len(numbers))
    return [number for number in numbers[:end] if number not in (PAD, SOS)]


@dataclass(frozen=True)
class Vocabulary:
    """Symbols by number: padding, start, end, unknown, then the known ones in the order of their code points.

    Raises:
        ValueError: The symbols do not begin with the four special ones, or the rest is not sorted, or not unique.
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", tuple(self.symbols))  # records hold a list
        known = self.symbols[len(SPECIALS) :]
        if self.symbols[: len(SPECIALS)] != SPECIALS or list(known) != sorted({*known} - {*SPECIALS}):
            raise ValueError(f"a vocabulary is {' '.join(SPECIALS)} and then sorted, unique symbols")

    @classmethod
    def from_sequences(cls, sequences: Iterable[Iterable[str]]) -> "Vocabulary":
        """The vocabulary of all symbols in ``sequences``."""
        return cls(SPECIALS + tuple(sorted({symbol for sequence in sequences for symbol in sequence} - {*SPECIALS})))

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        # The special ones stand for no text: "<eos>" read from a file is an unknown symbol, not an end.
        return {symbol: number for number, symbol in enumerate(self.symbols) if number >= len(SPECIALS)}

    def encode(self, symbols: Iterable[str]) -> list[int]:
        """Numbers of symbols, ``UNK`` for those that are not known; no start, no end."""
        return [self._numbers.get(symbol, UNK) for symbol in symbols]

    def decode(self, numbers: Sequence[int]) -> list[str]:
        """Symbols up to the first end; padding and starts are passed over."""
        return [self.symbols[number] for number in until_end(numbers)]

    def unknown(self, sequences: Iterable[Iterable[str]]) -> Counter[str]:
        """How often each symbol occurs in ``sequences`` that is not known."""
        return Counter(symbol for sequence in sequences for symbol in sequence if symbol not in self._numbers)
