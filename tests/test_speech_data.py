"""The DataModule of speech: its batches, what it says of itself, and what it does without recordings."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import Compose
from corpora import RATE, sound, write_corpus
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from dlbench.config import _check_section, build
from dlbench.data.ljspeech import VOCABULARY
from dlbench.data.pairs import PairBatch, loader
from dlbench.data.speech_datamodule import SpeechDataModule, SpeechTensors
from dlbench.data.vocabulary import EOS, SOS, SPECIALS, UNK
from dlbench.errors import ConfigError, DataError, SyntheticDataNotice

TEXTS = ["First, a long one", "b", "Third?", "of-four", "eval one", "eval two.", "x", "a test of it"]
SIZES = (12, 4, 4)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "data" / "spoken", TEXTS)
    return tmp_path / "data"


def module(data: Path, **arguments: Any) -> SpeechDataModule:
    given = {"corpus": "spoken", "splits": (4, 2, 2), "batch_size": 2, "eval_batch_size": 3, "jobs": 1, **arguments}
    return SpeechDataModule(folder=str(data), cache=str(data.parent / "cache"), **given)


def synthetic(**arguments: Any) -> SpeechDataModule:
    return SpeechDataModule(source="synthetic", synthetic_sizes=SIZES, **arguments)


def decoded(target: Tensor) -> str:
    return "".join(VOCABULARY.decode(target.tolist()))


def same(one: PairBatch, other: PairBatch) -> bool:
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


# --- batches ---------------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_the_published_one() -> None:
    assert "".join(VOCABULARY.symbols[len(SPECIALS) :]) == " ,-.?abcdefghijklmnopqrstuvwxyz"
    assert len(VOCABULARY) == 35


def test_a_batch_holds_features_and_transcripts_of_its_recordings(data: Path) -> None:
    speech = module(data)
    seen = []
    for batch in speech.train_dataloader():
        assert batch.source.dtype == torch.float32
        assert {part.dtype for part in batch[1:]} == {torch.int64}
        assert batch.source.shape == (2, int(batch.source_lengths.max()), 80)
        for row, (source, length, target, position) in enumerate(zip(*batch, strict=True)):
            torch.testing.assert_close(source[:length], speech.features("train", int(position)), rtol=0, atol=0)
            assert not source[length:].any()
            assert decoded(target) == TEXTS[int(position)].lower()
            assert target[0] == SOS
            assert (batch.target[row] == EOS).sum() == 1
            seen.append(int(position))
        assert EOS in batch.target[:, -1]  # no wider than the longest
    assert sorted(seen) == [0, 1, 2, 3]


def test_published_padding_makes_all_batches_alike_and_crops(data: Path) -> None:
    plain, published = module(data), module(data, frames=15, target_symbols=99)
    for batch in published.evaluation_dataloader("train"):
        assert (batch.source.shape[1:], batch.target.shape[1]) == ((15, 80), 99)
        for source, length, position in zip(batch.source, batch.source_lengths, batch.index, strict=True):
            features = plain.features("train", int(position))
            assert length == min(len(features), 15)
            assert torch.equal(source[:length], features[:length])
            assert not source[length:].any()
    assert {len(plain.features("train", position)) for position in range(4)} == {13, 14, 15, 16}


def test_evaluation_goes_by_length_and_training_by_seed_and_epoch(data: Path) -> None:
    speech = module(data, batch_size=1, eval_batch_size=1)
    lengths = [int(batch.source_lengths) for batch in speech.val_dataloader()]
    assert lengths == sorted(lengths)

    def order(epoch: int, seed: int) -> list[int]:
        batches: Any = module(data, batch_size=1, seed=seed).train_dataloader()
        batches.sampler.set_epoch(epoch)
        return [int(batch.index) for batch in batches]

    orders = {(seed, epoch): tuple(order(epoch, seed)) for seed in range(4) for epoch in range(4)}
    assert len(set(orders.values())) > 6
    assert tuple(order(2, 3)) == orders[3, 2]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=20),
    st.integers(1, 7),
    st.integers(1, 3),
    st.none() | st.integers(1, 40),
)
def test_every_recording_comes_once_an_epoch_with_its_own_features(
    lengths: list[int], batch_size: int, bucket_batches: int, frames: int | None
) -> None:
    starts = np.cumsum([0, *lengths])
    features = np.arange(starts[-1] * 2, dtype=np.float32).reshape(-1, 2) + 1
    targets = [[4 + place % 31] * (1 + place % 5) for place in range(len(lengths))]
    data = SpeechTensors(features, starts[:-1].tolist(), lengths, targets, frames=frames)
    seen = []
    for batch in loader(data, batch_size, bucket_batches, seed=1):
        assert batch.source.shape[1] == (frames or max(lengths[int(place)] for place in batch.index))
        for source, length, target, place in zip(*batch, strict=True):
            expected = features[starts[place] : starts[place + 1]][:frames]
            assert torch.equal(source[:length], torch.from_numpy(expected))
            assert target.tolist()[1 : 2 + len(targets[place])] == [*targets[place], EOS]
            seen.append(int(place))
    assert sorted(seen) == list(range(len(lengths)))


def test_buckets_save_padding() -> None:
    lengths = [1, 30] * 20
    data = SpeechTensors(np.zeros((620, 1), np.float32), [0] * 40, lengths, [[4]] * 40)
    frames = {buckets: sum(batch.source.shape[1] for batch in loader(data, 4, buckets, seed=0)) for buckets in (1, 10)}
    assert frames[10] == 5 * 30 + 5 * 1 < frames[1]


# --- what is said of the data ----------------------------------------------------------------------------------------


def test_a_record_says_where_from_and_how_much_and_names_no_folder(data: Path) -> None:
    facts = module(data).describe()
    assert (facts["name"], facts["source"], facts["provenance"]) == ("spoken", "files", "user copy")
    assert facts["sizes"] == {"train": 4, "val": 2, "test": 2}
    assert facts["seconds"] == {"train": 0.4, "val": 0.3, "test": 0.3}
    assert facts["files"].keys() == {"spoken/metadata.csv"}
    assert facts["unknown"] == {split: {"target": {}} for split in ("train", "val", "test")}
    assert facts["vocabularies"] == {"target": list(VOCABULARY.symbols)}
    assert facts["vocabulary_sizes"] == {"target": 35}
    assert (facts["left_out"], facts["stand_in"]) == ({}, None)
    assert str(data) not in json.dumps(facts)


def test_how_recordings_are_batched_does_not_change_the_fingerprint(data: Path) -> None:
    plain = module(data).describe()["fingerprint"]
    for arguments in ({"frames": 9}, {"target_symbols": 99}, {"batch_size": 3}, {"seed": 5}, {"jobs": 2}):
        assert module(data, **arguments).describe()["fingerprint"] == plain


@pytest.mark.parametrize(
    ("mark", "stand_in"),
    [
        ('{"engine": "eSpeak NG 1.51", "voice": "en-us", "speed": 175, "utterances": 8}', ["engine", "voice", "speed"]),
        ("{}", []),
        ("damaged", ["engine"]),
    ],
)
def test_a_marked_corpus_is_a_stand_in(data: Path, mark: str, stand_in: list[str]) -> None:
    (data / "spoken" / "stand-in.json").write_text(mark)
    facts = module(data).describe()
    assert facts["provenance"] == "stand-in"
    assert list(facts["stand_in"]) == stand_in


def test_utterances_can_be_listened_to(data: Path) -> None:
    speech = module(data)
    utterance = speech.utterances("val")[1]
    assert (utterance.id, utterance.text, utterance.recording.row) == ("A-05", "eval two.", 5)
    assert utterance.path == data / "spoken" / "wavs" / "A-05.wav"
    waveform, rate = speech.waveform("val", 1)
    assert rate == RATE
    assert torch.equal((waveform * 32768).short(), torch.from_numpy(sound(5, 2205 + 800)))
    assert len(waveform) / rate == utterance.recording.seconds
    soundfile.write(utterance.path, sound(5, 3000), 8000)
    with pytest.raises(DataError, match=r"A-05\.wav: a recording has another sampling rate .*8000 Hz"):
        speech.waveform("val", 1)


def test_transcripts_are_cut_to_what_targets_hold(data: Path) -> None:
    speech = module(data, max_characters=5, target_symbols=7)
    assert [utterance.text for utterance in speech.utterances("train")] == ["first", "b", "third", "of-fo"]
    assert next(iter(speech.test_dataloader())).target.shape == (2, 7)
    with pytest.raises(ValueError, match="target_symbols=98: must be at least max_characters=97 and two"):
        module(data, target_symbols=98)


def test_what_the_vocabulary_lacks_is_written_as_unknown(tmp_path: Path) -> None:
    write_corpus(tmp_path / "data" / "spoken", ["it's", *TEXTS[1:]])
    with pytest.warns(UserWarning, match="outside the vocabulary"):
        batch = next(iter(module(tmp_path / "data", batch_size=4).train_dataloader()))
    target = batch.target[int((batch.index == 0).nonzero())]
    assert (target == UNK).nonzero().flatten().tolist() == [3]


# --- without recordings ----------------------------------------------------------------------------------------------


def test_synthetic_tones_are_batched_like_recordings() -> None:
    speech = synthetic(batch_size=5)
    facts = speech.describe()
    assert (facts["source"], facts["provenance"]) == ("synthetic", "synthetic")
    assert facts["sizes"] == dict(zip(("train", "val", "test"), SIZES, strict=True))
    batch = next(iter(speech.train_dataloader()))
    assert batch.source.shape[0] == 5
    assert decoded(batch.target[0]) == speech.utterances("train")[int(batch.index[0])].text
    waveform, rate = speech.waveform("test", 3)
    assert len(waveform) / rate == speech.utterances("test")[3].recording.seconds
    assert same(next(iter(synthetic(batch_size=5).train_dataloader())), batch)
    assert speech.model_arguments() == {"symbols": 35, "mels": 80}


def test_auto_uses_tones_where_there_are_no_recordings_and_says_so(data: Path) -> None:
    absent = {"corpus": "ljspeech", "synthetic_sizes": SIZES}
    with pytest.warns(
        SyntheticDataNotice, match=r"no recordings of ljspeech in .*data: using synthetic tones; "
    ) as said:
        assert module(data, source="auto", **absent).describe()["provenance"] == "synthetic"
    speak = "python -m dlbench data speak ljspeech --max-characters 60 --speed 300"
    for command in ("python -m dlbench data fetch ljspeech", speak):
        assert command in str(said[0].message)
    with pytest.raises(DataError, match=f"no such recordings of ljspeech_spoken in .*; speak them with: {speak}$"):
        module(data, source="files", corpus="ljspeech_spoken").describe()
    with pytest.raises(DataError, match=r"data\.source=files: no such recordings of ljspeech in .*fetch ljspeech"):
        module(data, source="files", **absent).describe()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module(data, source="synthetic", **absent).describe()


def test_transcripts_without_a_folder_of_recordings_are_no_corpus(data: Path) -> None:
    (data / "spoken" / "wavs").rename(data / "elsewhere")
    for source in ("auto", "files"):  # it is the user's own: nothing takes its place
        with pytest.raises(DataError, match=r"no recordings of spoken .*looked for spoken/metadata\.csv"):
            module(data, source=source, synthetic_sizes=SIZES).describe()


def test_a_folder_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data folder"):
        module(tmp_path / "nowhere").describe()


# --- configuration ---------------------------------------------------------------------------------------------------


def configured(compose: Compose, *overrides: str) -> dict[str, Any]:
    node: Any = OmegaConf.to_container(compose(*overrides).data)
    return dict(node)


def test_the_published_settings(compose: Compose, tmp_path: Path) -> None:
    node = configured(compose, "data=ljspeech")
    _check_section("data", node)
    speech: SpeechDataModule = build("data", node, folder=str(tmp_path), cache=None, seed=1)
    assert speech.splits == [9825, 655, 2620]
    assert (speech.frames, speech.target_symbols, speech.max_characters) == (2754, 99, 97)
    assert (speech.batch_size, speech.eval_batch_size, speech.bucket_batches) == (64, 16, 1)


def test_the_spoken_corpus_is_another_folder(compose: Compose) -> None:
    node = configured(compose, "data=ljspeech_spoken")
    _check_section("data", node)
    published = configured(compose, "data=ljspeech")
    assert {key for key in node if node[key] != published[key]} == {"corpus", "splits"}


@pytest.mark.parametrize(
    "override",
    ["data.frames=0", "data.batch_size=-1", "data.strict=perhaps", "data.source=kaggle", "data.splits=[1,1]"],
)
def test_settings_that_cannot_be_are_named(compose: Compose, override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        _check_section("data", configured(compose, "data=ljspeech", override))
