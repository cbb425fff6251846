"""The synthetic words: always the same, learnable, and truly ambiguous."""

# ruff: noqa: RUF001  (phonetic letters look like others)

from collections import Counter

import numpy as np
import pytest

from dlbench.data.pairs import PairSet
from dlbench.data.synthetic import stream
from dlbench.data.synthetic import words as module
from dlbench.data.synthetic.words import ORIGINS, SHORT, VOWELS, choices, generate, pronounce, spell


@pytest.fixture(scope="module")
def words() -> PairSet:
    return generate()


def spellings(sounds: str, origin: int) -> dict[str, float]:
    """Every possible spelling with its probability, by following all choices."""
    word = tuple(sounds.split())
    open_ends, found = {("", len(word)): 1.0}, Counter[str]()
    while open_ends:
        longer = Counter[tuple[str, int]]()
        for (letters, end), probability in open_ends.items():
            if end == 0:
                found[letters] += probability
                continue
            start, options = choices(word, end, letters, origin)
            total = sum(weight for _, weight in options)
            for option, weight in options:
                longer[option, start] += probability * weight / total
        open_ends = longer
    return dict(found)


def test_the_words_are_the_same_on_every_machine(words: PairSet) -> None:
    assert words.fingerprint() == "32e34ba5c04af90d8762c20470a819ac9b5d8d86621738233bd22e728b25498b"
    assert ("".join(words.train[0].target), words.source, words.provenance) == ("chetly", "synthetic", "synthetic")


def test_a_larger_lexicon_begins_with_the_smaller_one(words: PairSet) -> None:
    small = generate(sizes=(30, 20, 10))
    for name, part in small.splits().items():
        assert part == words.splits()[name][: len(part)]
    assert generate(seed=1, sizes=(30, 20, 10)).train != small.train


def test_no_pronunciation_stands_in_two_splits_and_no_pair_comes_twice(words: PairSet) -> None:
    sounds = [{pair.source for pair in part} for part in words.splits().values()]
    assert len(set().union(*sounds)) == sum(map(len, sounds))
    for part in words.splits().values():
        assert len(set(part)) == len(part)


def test_every_symbol_of_the_other_splits_is_known_from_training(words: PairSet) -> None:
    for side in ("source", "target"):
        known = {symbol for pair in words.train for symbol in getattr(pair, side)}
        assert {symbol for pair in words.val + words.test for symbol in getattr(pair, side)} <= known


def test_words_look_like_words(words: PairSet) -> None:
    for pair in words.train:
        assert "".join(pair.target).isascii()
        assert "".join(pair.target).isalpha()
        assert VOWELS & set(pair.source)
        assert pair.source[-1] not in SHORT
        assert not any({a, b} <= VOWELS for a, b in zip(pair.source, pair.source[1:], strict=False))
    lengths = [len(pair.source) for pair in words.train]
    assert (min(lengths), max(lengths)) == (1, 17)
    assert 6 < np.mean(lengths) < 9


@pytest.mark.parametrize(
    ("sounds", "origin", "possible", "impossible"),
    [
        ("k æ t", 0, {"cat", "kat"}, {"chat", "kkat"}),  # a hard c or k
        ("k ɛ n", 0, {"ken", "kean"}, {"cen"}),  # c is soft before e
        ("s ɛ n", 1, {"sen", "cen"}, set()),
        ("b æ t i", 0, {"baty", "batty"}, {"bbaty"}),  # a consonant doubles after a short vowel before another
        ("b eɪ t i", 0, {"baity"}, {"baitty"}),
        ("l eɪ k", 0, {"lake", "laik"}, {"lacke"}),  # a final e makes the vowel long
        ("l eɪ s", 1, {"lace", "lase"}, {"lacee"}),
        ("b l ʌ k", 0, {"bluck", "bluk"}, {"bluque"}),
        ("f oʊ b i", 2, {"phoby", "foby"}, set()),
        ("f oʊ b i", 0, {"foby"}, {"phoby"}),
        ("n eɪ ʃ ə n", 1, {"nation", "naision"}, {"nashun"}),  # an ending is spelled as a whole
        ("k w i n", 0, {"queen", "quean"}, {"cwen"}),
    ],
)
def test_the_rules_on_examples(sounds: str, origin: int, possible: set[str], impossible: set[str]) -> None:
    found = spellings(sounds, origin)
    assert possible <= found.keys()
    assert not impossible & found.keys()
    assert sum(found.values()) == pytest.approx(1)


def test_every_word_that_can_be_said_can_be_spelled_as_often_as_the_weights_say() -> None:
    rng = stream(0)
    for _ in range(300):
        origin = int(rng.integers(len(ORIGINS)))
        sounds = pronounce(origin, rng)
        assert spell(sounds, origin, rng).isalpha()
    drawn = Counter(spell(("k", "æ", "t"), 0, rng) for _ in range(4000))
    for letters, probability in spellings("k æ t", 0).items():
        assert drawn[letters] / 4000 == pytest.approx(probability, abs=4 * (probability / 4000) ** 0.5)


def test_even_who_knows_the_rules_and_the_origin_errs_and_three_guesses_beat_one() -> None:
    rng = stream(1)
    first, three = [], []
    for _ in range(300):
        origin = module._pick(ORIGINS, rng)
        sounds = pronounce(origin, rng)
        if len(sounds) <= 8:  # the rest have too many spellings to list
            likeliest = sorted(spellings(" ".join(sounds), origin).values(), reverse=True)
            first.append(1 - likeliest[0])
            three.append(1 - sum(likeliest[:3]))
    assert 0.4 < np.mean(first) < 0.75
    assert 0.1 < np.mean(three) < np.mean(first) - 0.1


def test_the_choice_of_one_letter_tells_of_another(words: PairSet) -> None:
    """Words with ``ph`` spell /k/ as ``ch`` more often: both come from Greek."""
    texts = [("".join(pair.target), pair.source) for pair in generate(sizes=(20_000, 1, 1)).train]
    both = [text for text, sounds in texts if "f" in sounds and "k" in sounds]
    greek = [text for text in both if "ph" in text]
    others = [text for text in both if "ph" not in text]
    assert min(len(greek), len(others)) > 200
    shares = [np.mean(["ch" in text for text in part]) for part in (greek, others)]
    assert shares[0] > 1.5 * shares[1]


def test_the_weights_of_every_table_are_complete() -> None:
    for table in (module.ONSETS, module.NUCLEI, module.CODAS, module.ENDINGS):
        assert all(len(item.split(":")[1]) == len(ORIGINS) for item in table.split())
        sounds = {sound for item in table.split() for sound in module._sounds(item.split(":")[0])}
        assert {(sound,) for sound in sounds} <= module._RULES.keys()
