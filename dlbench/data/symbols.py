"""How symbols are told to people, and which of them training has not seen."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from dlbench.data.pairs import Pair
from dlbench.data.vocabulary import Vocabulary

Vocabularies = Mapping[str, Vocabulary]
"""Of the sides of a pair, by name."""

_NAMED = 5
_ZERO_WIDTH = "\u200b\u2060\ufeff"


def is_space(symbol: str) -> bool:
    """Whether a symbol is nothing but white space, of no width too."""
    return all(character.isspace() or character in _ZERO_WIDTH for character in symbol)


def visible(symbol: str) -> str:
    """A symbol, or its code points where it cannot be seen, or not by itself: ``U+00A0 NO-BREAK SPACE``."""
    shown = all(char.isprintable() and not char.isspace() for char in symbol)
    if symbol and shown and not unicodedata.category(symbol[0]).startswith("M"):
        return symbol
    return " + ".join(f"U+{ord(char):04X} {unicodedata.name(char, '')}".strip() for char in symbol)


def unseen(splits: Mapping[str, Sequence[Pair]], vocabularies: Vocabularies) -> str | None:
    """A line that says what of validation and test training has not seen; None where it has seen all."""
    pairs = list(chain.from_iterable(splits.values()))
    found = {
        side: vocabulary.unknown(getattr(pair, side) for pair in pairs) for side, vocabulary in vocabularies.items()
    }
    if not any(found.values()):
        return None
    words = sum(any(not found[side].keys().isdisjoint(getattr(pair, side)) for side in found) for pair in pairs)
    listed = "; ".join(f"{len(counts):,} {side} ({_few(counts)})" for side, counts in found.items() if counts)
    return (
        f"{' and '.join(splits)} have symbols that training has not seen, {listed}: "
        f"{words:,} of {len(pairs):,} words contain one"
    )


def mostly_unseen(pairs: Iterable[Pair], vocabulary: Vocabulary) -> str | None:
    """How much of a split's sources training has not seen, if more than half of all occurrences."""
    sources = [pair.source for pair in pairs]
    unknown, total = vocabulary.unknown(sources), sum(map(len, sources))
    if 2 * unknown.total() <= total:
        return None
    return f"training has not seen {unknown.total():,} of {total:,} source symbols ({_few(unknown)})"


def _few(counts: Counter[str]) -> str:
    """The most frequent."""
    most = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return " ".join(map(visible, most[:_NAMED])) + " …" * (len(most) > _NAMED)
