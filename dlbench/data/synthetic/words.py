"""Invented English-like words with their pronunciation: a stand-in for a lexicon where no real one is at hand.

A word has a hidden origin (native, Latin, Greek), which weighs its sounds and how each is spelled. Spelling runs from
the word's end to its start, so that a rule may look at the sounds on both sides and at the letters that follow: c is
soft before e, i and y, a consonant doubles between a short vowel and another one, a final e makes a vowel long. Most
sounds have several spellings even where everything about the word but its letters is known. So the best possible
speller errs, several guesses beat one, and the letters of a word depend on each other: as in English.

The words are the same on every machine as long as numpy keeps what PCG64's ``random`` returns. No pronunciation stands
in two splits, and a larger split begins with the smaller one.
"""

# ruff: noqa: RUF001  (phonetic letters look like others)

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from dlbench.data.pairs import Pair, PairSet
from dlbench.data.synthetic import stream
from dlbench.seeding import derive_seed

Sounds = tuple[str, ...]
Weights = tuple[int, ...]
Rng = np.random.Generator

ORIGINS: Weights = (5, 4, 2)
SYLLABLES: tuple[Weights, ...] = ((6, 4, 0), (4, 6, 2), (3, 6, 3))
"""For each origin, how often a word has one, two or three syllables before its ending."""

SHORT = frozenset("æɛɪɑʌʊə")
VOWELS = SHORT | {"i", "eɪ", "aɪ", "oʊ", "u", "ɔ", "aʊ", "ɔɪ", "ɝ"}

# Sounds, then their weights for the three origins; "-" is no sound.
ONSETS = """
-:233 p:543 b:642 t:654 d:543 k:674 ɡ:421 f:435 v:142 θ:304 s:675 z:012 ʃ:320 t͡ʃ:310 d͡ʒ:232 m:455 n:355 l:445 ɹ:554
w:400 j:110 h:514 s.t:332 s.p:222 s.k:212 p.l:221 p.ɹ:243 b.l:200 b.ɹ:310 t.ɹ:343 d.ɹ:212 k.l:222 k.ɹ:323 ɡ.ɹ:212
f.l:212 f.ɹ:211 s.l:200 s.w:100 k.w:240 s.t.ɹ:222
"""
NUCLEI = "æ:643 ɛ:543 ɪ:657 ɑ:546 ʌ:530 ʊ:200 ə:133 i:544 eɪ:542 aɪ:435 oʊ:445 u:333 ɔ:320 aʊ:200 ɔɪ:100 ɝ:311"
CODAS = """
-:599 t:422 d:310 k:312 p:212 m:222 n:554 l:323 s:233 z:100 ŋ:210 f:212 ʃ:200 t͡ʃ:200 θ:202 d͡ʒ:110 v:210 b:111 ɡ:201
n.t:231 n.d:310 s.t:320 l.d:200 k.s:122 m.p:211 k.t:031
"""
ENDINGS = """
-:975 ʃ.ə.n:080 ə.s:142 ɪ.k:115 ə.l:353 l.i:411 ɪ.ŋ:400 ə.n:232 ɝ:532 ə.b.ə.l:130 ɑ.l.ə.d͡ʒ.i:004 n.ə.s:200 ɪ.d:310
eɪ.t:130 m.ə.n.t:120 ɪ.s.t:012 i:322
"""

# A line a sound: spellings, their weights for the three origins, and where they may stand (see `PLACES`). Several
# sounds are spelled together where a line has them, the longest first; those with a vowel only at a word's end.
SPELLINGS = """
p    p:999 pp:520/doubled
b    b:999 bb:520/doubled
t    t:999 tt:530/doubled
d    d:999 dd:520/doubled
k    c:794/hard k:400/hard k:813/soft ck:900/clipped ck:300/doubled cc:030/hard k:500/last c:147/last ch:029
ɡ    g:999/hard g:411/soft gu:312/soft gg:500/doubled g:999/last gue:012/last
f    f:981 ff:410/doubled ff:500/clipped ph:019 gh:100/last
v    v:999/more ve:999/last
θ    th:999
s    s:999/hard s:654/soft c:263/soft ss:320/doubled sc:022/soft ps:003/first ss:710/clipped s:123/last ce:351/last
z    z:515/more s:571/more se:420/last ze:302/last zz:200/clipped x:003/first
ʃ    sh:920 ch:032 ti:030/hard ci:020/hard
t͡ʃ   ch:999 tch:600/clipped
d͡ʒ   j:941/hard g:298/soft j:420/soft dge:800/clipped ge:264/last
m    m:999 mm:410/doubled mb:100/clipped
n    n:999 nn:420/doubled kn:200/first gn:110/first pn:002/first
ŋ    ng:965/last ng:500/more n:277/more
l    l:999 ll:430/doubled ll:810/clipped
ɹ    r:995 rr:320/doubled wr:200/first rh:005/first
w    w:920 wh:400/first u:013/more
j    y:931 i:022/more
h    h:999 wh:100/first
k.w  qu:999 kw:100
k.s  x:576 cks:400/last cs:012/last xc:021/soft
æ    a:999
ɛ    e:999 ea:300
ɪ    i:963 y:017 e:120
ɑ    o:858 a:331
ʌ    u:960 o:420 ou:120
ʊ    oo:600 u:420
ə    a:354/more e:342/more o:233/more i:231/more u:121/more a:999/last
i    ee:710/more ea:510/more e:267/more e_e:133/magic ie:210/more y:646/last ey:310/last ee:300/last
eɪ   a:465/more a_e:653/magic ai:510/more ay:900/last ei:112/more e:011/last
aɪ   i:453/more i_e:643/magic y:118/more igh:400 y:525/last ie:200/last
oʊ   o:578/more o_e:443/magic oa:500/more ow:500/last o:367/last
u    oo:710/more u:367/more u_e:243/magic ew:400/last ue:231/last eu:003/more
ɔ    au:256/more aw:410 o:421/more augh:100/more
aʊ   ou:909/more ow:505
ɔɪ   oi:909/more oy:909/last
ɝ    er:763/last or:153/last ar:111/last ur:431/more ir:520/more er:345/more yr:002/more
ʃ.ə.n  tion:090 sion:030 cian:011
ə.s    ous:152 us:154 ess:300 ace:110
ɪ.k    ic:269 ick:700
ə.l    al:163 le:830 el:322
l.i    ly:933 ley:200 ley:010
ɪ.ŋ    ing:999
ə.n    en:711 on:145 an:132
ə.b.ə.l  able:973 ible:042
ɑ.l.ə.d͡ʒ.i  ology:119
n.ə.s  ness:911 nous:022
ɪ.d    ed:700 id:265
eɪ.t   ate:198 ait:100 eat:100
m.ə.n.t  ment:999
ɪ.s.t  ist:389 yst:003
"""


class Place(NamedTuple):
    """Where a sound stands: its neighbours (empty at the word's ends), the letters after it and their sounds."""

    before: str
    after: str
    letters: str
    sounds_after: int


PLACES: dict[str, Callable[[Place], bool]] = {
    "": lambda place: True,
    "first": lambda place: not place.before,
    "last": lambda place: not place.after,
    "more": lambda place: bool(place.after),
    "soft": lambda place: place.letters.startswith(("e", "i", "y")),
    "hard": lambda place: bool(place.letters) and not place.letters.startswith(("e", "i", "y")),
    "doubled": lambda place: place.before in SHORT and place.after in VOWELS,
    "clipped": lambda place: place.before in SHORT and not place.after,
    "magic": lambda place: place.sounds_after == 1 and place.after not in VOWELS,
}


class Rule(NamedTuple):
    """One spelling of a sound; ``_`` is where the letters of the next sound go."""

    letters: str
    weights: Weights
    may_stand: Callable[[Place], bool]


class Inventory:
    """Sounds to choose from, as often as their weights say."""

    def __init__(self, text: str, fits: Callable[[Sounds], bool] = lambda _: True) -> None:
        items = [(_sounds(sounds), _weights(digits)) for sounds, digits in (item.split(":") for item in text.split())]
        kept = [(sounds, weights) for sounds, weights in items if fits(sounds)]
        self.sounds = [sounds for sounds, _ in kept]
        self.weights = [[weights[origin] for _, weights in kept] for origin in range(len(ORIGINS))]

    def pick(self, origin: int, rng: Rng) -> Sounds:
        """One of them for a word of this origin."""
        return self.sounds[_pick(self.weights[origin], rng)]


def _pick(weights: Sequence[int], rng: Rng) -> int:
    """A position, as often as its weight says."""
    ends = list(accumulate(weights))
    return bisect(ends, rng.random() * ends[-1], hi=len(ends) - 1)


def _weights(digits: str) -> Weights:
    return tuple(map(int, digits))


def _sounds(text: str) -> Sounds:
    return () if text == "-" else tuple(text.split("."))


def _rules(text: str) -> dict[Sounds, list[Rule]]:
    rules = {}
    for sounds, *options in (line.split() for line in text.strip().splitlines()):
        parts = ((letters, *rest.split("/")) for letters, rest in (option.split(":") for option in options))
        rules[_sounds(sounds)] = [Rule(part[0], _weights(part[1]), PLACES["".join(part[2:])]) for part in parts]
    return rules


_FIRST_ONSETS, _ONSETS, _NUCLEI = Inventory(ONSETS), Inventory(ONSETS, bool), Inventory(NUCLEI)
_INNER_CODAS = Inventory(CODAS, lambda coda: len(coda) < 2)
_LAST_CODAS, _CLOSING_CODAS = Inventory(CODAS), Inventory(CODAS, bool)
_ENDINGS = Inventory(ENDINGS)
_RULES = _rules(SPELLINGS)
_LONGEST = max(map(len, _RULES))


def generate(seed: int = 0, sizes: Sequence[int] = (4000, 500, 500)) -> PairSet:
    """Training, validation and test words; a pronunciation may come with two spellings, a pair comes once."""
    train, val, test = (_split(seed, number, size) for number, size in enumerate(sizes))
    return PairSet(train, val, test, source="synthetic", provenance="synthetic")


def _split(seed: int, split: int, size: int) -> tuple[Pair, ...]:
    """The first ``size`` words of a split, to which a third of all pronunciations belong."""
    rng = stream(seed, split)
    words: dict[Pair, None] = {}
    while len(words) < size:
        origin = _pick(ORIGINS, rng)
        sounds = pronounce(origin, rng)
        if derive_seed(seed, " ".join(sounds)) % 3 == split:
            words[Pair(sounds, tuple(spell(sounds, origin, rng)))] = None
    return tuple(words)


def pronounce(origin: int, rng: Rng) -> Sounds:
    """The sounds of a new word: syllables and an ending."""
    ending, last = _ENDINGS.pick(origin, rng), _pick(SYLLABLES[origin], rng)
    word: Sounds = ()
    for number in range(last + 1):
        onset = (_ONSETS if number else _FIRST_ONSETS).pick(origin, rng)
        nucleus = _NUCLEI.pick(origin, rng)
        # No short vowel ends a word, and no two vowels meet.
        is_closed = ending[0] in VOWELS if ending else nucleus[0] in SHORT
        codas = _INNER_CODAS if number < last else _CLOSING_CODAS if is_closed else _LAST_CODAS
        word += onset + nucleus + codas.pick(origin, rng)
    return word + ending


def spell(sounds: Sounds, origin: int, rng: Rng) -> str:
    """One spelling of a word, chosen from its end to its start."""
    letters, end = "", len(sounds)
    while end:
        end, options = choices(sounds, end, letters, origin)
        letters = options[_pick([weight for _, weight in options], rng)][0]
    return letters


def choices(sounds: Sounds, end: int, letters: str, origin: int) -> tuple[int, list[tuple[str, int]]]:
    """Where the sounds begin that are spelled together up to ``end``; from there on, possible letters with weights.

    Args:
        sounds: The whole word.
        end: Everything from here on is spelled.
        letters: How.
        origin: The word's.
    """
    starts = range(max(0, end - _LONGEST), end)
    start = next(start for start in starts if _is_unit(sounds[start:end], end == len(sounds)))
    before = sounds[start - 1] if start else ""
    place = Place(before, "".join(sounds[end : end + 1]), letters, len(sounds) - end)
    fitting = [rule for rule in _RULES[sounds[start:end]] if rule.may_stand(place)]
    # A sound that is foreign to the origin is spelled as anywhere else.
    options = [(rule, rule.weights[origin]) for rule in fitting if rule.weights[origin]]
    options = options or [(rule, max(rule.weights)) for rule in fitting]
    return start, [(_join(rule.letters, letters), weight) for rule, weight in options]


def _join(spelling: str, letters: str) -> str:
    # a_e around c makes ace, around ce as well.
    return spelling.replace("_", letters.removesuffix("e")) if "_" in spelling else spelling + letters


def _is_unit(sounds: Sounds, is_last: bool) -> bool:
    return sounds in _RULES and (len(sounds) == 1 or is_last or VOWELS.isdisjoint(sounds))
