"""A tone alphabet: transcripts of invented words, each character a short chord; a stand-in for recordings.

A character is one low and one high pitch, as on a telephone's keys; the space is a rest. An utterance has its own
tempo (60 to 100 ms a character), tuning, loudness and noise, and its characters differ a little in length. Waves are
made of parabolas, which look and sound much like sines but need only exact arithmetic: samples, rounded to 16 bits,
are the same on every machine as long as numpy keeps what PCG64 returns. Their features are computed like those of any
recording.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from dlbench.data import SPLITS
from dlbench.data.ljspeech import RATE, VOCABULARY, Samples, hash_samples
from dlbench.data.recordings import Recording, SpeechCorpus, Utterance, log_mel, single_thread
from dlbench.data.synthetic import stream, words
from dlbench.data.vocabulary import SPECIALS
from dlbench.seeding import derive_seed

Rng = np.random.Generator

SHORTEST, LONGEST = 3, 20
"""Characters of a transcript."""

LOW, HIGH = (330, 440, 560, 700, 860), (1250, 1550, 1900, 2300, 2800, 3400)
"""Pitches in Hz, about as far from each other as the mel bands that tell them apart; 30 chords."""

LETTERS = [symbol for symbol in VOCABULARY.symbols[len(SPECIALS) :] if symbol != " "]
CHORDS = dict(zip(LETTERS, ((low, high) for low in LOW for high in HIGH), strict=True))


def _between(rng: Rng, low: float, high: float) -> float:
    # Numpy's own ``uniform`` may be compiled to a fused multiply-add.
    return low + (high - low) * rng.random()


def generate(seed: int = 0, sizes: Sequence[int] = (600, 100, 100)) -> SpeechCorpus:
    """Training, validation and test utterances; no transcript comes twice."""
    splits: list[tuple[Utterance, ...]] = []
    waveforms: list[Samples] = []
    features: list[npt.NDArray[np.float32]] = []
    start = 0
    for number, (split, size) in enumerate(zip(SPLITS, sizes, strict=True)):
        utterances = []
        for place, text in zip(range(size), transcripts(seed, number), strict=False):
            samples = play(text, stream(seed, number, place))
            with single_thread():
                frames = log_mel(torch.from_numpy(samples)).numpy()
            recording = Recording(len(waveforms), start, len(frames), len(samples), hash_samples(samples))
            utterances.append(Utterance(f"{split}-{place:04}", text, recording))
            waveforms.append(samples)
            features.append(frames)
            start += len(frames)
        splits.append(tuple(utterances))
    train, val, test = splits
    return SpeechCorpus(
        train,
        val,
        test,
        source="synthetic",
        provenance="synthetic",
        features=np.concatenate(features),
        waveforms=tuple(waveforms),
    )


def transcripts(seed: int, split: int) -> Iterator[str]:
    """Ever new texts of a split, to which a third of all texts belong."""
    rng = stream(seed, split)
    known = set()
    while True:
        text = write(rng)
        if text not in known and derive_seed(seed, text) % len(SPLITS) == split:
            known.add(text)
            yield text


def write(rng: Rng) -> str:
    """Invented words, as many as there is room for, with some punctuation."""
    text, room = "", int(rng.integers(SHORTEST, LONGEST))
    while True:
        origin = int(rng.integers(3))
        word = words.spell(words.pronounce(origin, rng), origin, rng)
        joined = f"{text}{_joint(rng)}{word}" if text else word
        if len(joined) > room and len(text) >= SHORTEST - 1:
            return text + (".?"[rng.integers(2)] if rng.random() < 0.5 or len(text) < SHORTEST else "")
        if len(joined) < LONGEST:
            text = joined


def _joint(rng: Rng) -> str:
    return (" ", " ", " ", ", ", "-")[rng.integers(5)]


def play(text: str, rng: Rng) -> Samples:
    """A text as a waveform; symbols without a chord are rests."""
    tempo, tuning = _between(rng, 0.06, 0.1), _between(rng, 0.985, 1.015)
    rests = [_between(rng, 0.02, 0.1) for _ in range(2)]
    lengths = [int(RATE * tempo * _between(rng, 0.85, 1.15)) for _ in text]
    parts = [_chord(CHORDS.get(symbol, ()), length, tuning, rng) for symbol, length in zip(text, lengths, strict=True)]
    silences = [np.zeros(int(RATE * rest)) for rest in rests]
    wave = np.concatenate([silences[0], *parts, silences[1]]) * _between(rng, 0.15, 0.4)
    # Two random numbers added up: whole numbers and their products are the same everywhere.
    noise = rng.random(len(wave)) + rng.random(len(wave)) - 1
    wave += noise * _between(rng, 0.01, 0.05)
    samples: Samples = (np.floor(wave * 32767 + 0.5) / 32768).astype(np.float32)
    return samples


def _chord(pitches: Sequence[int], length: int, tuning: float, rng: Rng) -> npt.NDArray[np.float64]:
    """Each pitch from a random phase on, all rising and fading within 5 ms."""
    places = np.arange(length)
    wave = np.zeros(length)
    for pitch in pitches:
        turn = (places * (pitch * tuning / RATE) + _between(rng, 0, 1)) % 1 * 2 - 1
        wave += 4 * turn * (1 - np.abs(turn)) * _between(rng, 0.7, 1)
    return wave * np.minimum(1, np.minimum(places, length - 1 - places) / (0.005 * RATE))
