"""The tone alphabet: always the same, within the vocabulary, and told apart by its features."""

from itertools import islice

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlbench.data.ljspeech import VOCABULARY
from dlbench.data.recordings import RATE, log_mel
from dlbench.data.synthetic import stream
from dlbench.data.synthetic.tones import CHORDS, LETTERS, LONGEST, SHORTEST, generate, play, transcripts, write


def test_tones_are_the_same_on_every_machine() -> None:
    corpus = generate(sizes=(8, 3, 3))
    assert corpus.fingerprint() == "95719af8dce14ecff4d99df93915373986faf75fd1a4c6d852d7c7a0d6d147e2"
    assert corpus.splits()["train"][0].text == "tolbomic, ginman?"
    assert (corpus.source, corpus.provenance) == ("synthetic", "synthetic")


def test_a_larger_corpus_begins_with_the_smaller_one() -> None:
    small, large = generate(sizes=(3, 2, 2)), generate(sizes=(6, 3, 2))
    for split, utterances in small.splits().items():
        for one, other in zip(utterances, large.splits()[split], strict=False):
            assert (one.id, one.text, one.recording.sha256) == (other.id, other.text, other.recording.sha256)
            both = (small, one.recording), (large, other.recording)
            np.testing.assert_array_equal(*(corpus.features[at.start :][: at.frames] for corpus, at in both))
    assert generate(seed=1, sizes=(3, 2, 2)).fingerprint() != small.fingerprint()


@given(st.integers(0, 10_000))
def test_transcripts_are_short_and_within_the_vocabulary(key: int) -> None:
    text = write(stream(5, key))
    assert SHORTEST <= len(text) <= LONGEST
    assert not VOCABULARY.unknown([text])
    assert text == text.strip()


def test_no_transcript_comes_twice_or_stands_in_two_splits() -> None:
    splits = [list(islice(transcripts(0, split), 400)) for split in range(3)]
    assert len({text for split in splits for text in split}) == 1200
    joined = "".join(text for split in splits for text in split)
    assert set(joined) == {" ", *LETTERS}  # every symbol occurs
    assert 6 < len(joined) / 1200 < 14


@given(st.integers(0, 1000), st.text(st.sampled_from([" ", *LETTERS]), min_size=3, max_size=20))
def test_a_character_takes_60_to_100_ms(key: int, text: str) -> None:
    seconds = len(play(text, stream(0, key))) / RATE
    assert 0.06 * 0.85 * len(text) - 0.01 <= seconds - 0.04
    assert seconds - 0.2 <= 0.1 * 1.15 * len(text) + 0.01


@given(st.integers(0, 1000), st.text(st.sampled_from([" ", *LETTERS]), min_size=3, max_size=20))
def test_samples_are_those_of_a_16_bit_file(key: int, text: str) -> None:
    samples = play(text, stream(0, key))
    assert samples.dtype == np.float32
    assert np.abs(samples).max() > 0.1 or text.isspace()
    assert np.abs(samples).max() < 1
    np.testing.assert_array_equal(samples * 32768, np.round(samples * 32768))


def test_chords_are_told_apart_by_their_bands() -> None:
    """Each letter is nearest to its own mean over other utterances, in another tuning, tempo and noise."""

    def heard(letter: str, key: int) -> torch.Tensor:
        features = log_mel(torch.from_numpy(play(letter * 4, stream(0, key))))
        return features[len(features) // 2 - 8 : len(features) // 2 + 8].mean(0)

    means = torch.stack([torch.stack([heard(letter, key) for key in range(4)]).mean(0) for letter in LETTERS])
    found = [int(torch.cdist(heard(letter, 99)[None], means).argmin()) for letter in LETTERS]
    assert sum(number == place for place, number in enumerate(found)) >= 28
    assert len(set(CHORDS.values())) == len(LETTERS) == 30
