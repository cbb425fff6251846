"""Pictures, sound and transcripts of a recogniser's training: there at the chosen epochs, right, without a trace."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from bits import same_bits
from board import accumulated
from conftest import Compose, TinyIn
from diverging import loss_is_nan_from
from drawing import FOLDER, check_pictures, table_of
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from dlbench.callbacks import sequence_pictures as figures
from dlbench.callbacks.sequence_pictures import escaped
from dlbench.data.pairs import Pair
from dlbench.data.recordings import HOP, MELS, RATE
from dlbench.data.speech_datamodule import SpeechDataModule
from dlbench.evaluation.speech import PLACE_SECONDS
from dlbench.evaluation.transduction import Prediction
from dlbench.run import Outcome, run
from dlbench.tasks.speech import SpeechRecognition


@pytest.fixture(scope="module")
def drawn(compose: Compose, recogniser: TinyIn, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run of two epochs with pictures after both: the first is asked for, the last always shown."""
    return run(compose(*recogniser(tmp_path_factory.mktemp("drawn")), "callbacks.pictures.epochs=[1]"))


# --- in a training ---------------------------------------------------------------------------------------------------


def test_utterances_are_shown_after_the_chosen_epochs_and_the_last(drawn: Outcome) -> None:
    check_pictures(drawn.record, [f"utterance_{number}" for number in range(3)], [1, 2], side=300)


def test_the_sound_is_there_once_and_is_what_was_heard(drawn: Outcome) -> None:
    found = accumulated(drawn.record.tensorboard)
    assert set(found.Tags()["audio"]) == {f"{FOLDER}/sound_{number}" for number in range(3)}
    data = SpeechDataModule(source="synthetic", synthetic_sizes=(48, 12, 20))
    for number in range(3):
        (sound,) = found.Audio(f"{FOLDER}/sound_{number}")
        assert sound.step == 1
        samples, rate = soundfile.read(io.BytesIO(sound.encoded_audio_string))
        assert rate == RATE
        np.testing.assert_allclose(samples, data.waveform("val", number)[0], atol=1e-4)


def test_transcripts_stand_beside_their_references(drawn: Outcome) -> None:
    title, _, _, _, *rows = table_of(drawn.record, "transcripts", [1, 2])
    assert title == "validation, epoch 2, synthetic data"
    heard = SpeechDataModule(source="synthetic", synthetic_sizes=(48, 12, 20)).utterances("val")
    assert [row.split(" | ")[1] for row in rows] == [escaped(each.text) for each in heard]


def test_pictures_change_no_bit(drawn: Outcome, compose: Compose, recogniser: TinyIn, tmp_path: Path) -> None:
    undrawn = run(compose(*recogniser(tmp_path)))
    assert drawn.record.id == undrawn.record.id
    assert same_bits(drawn, undrawn)
    assert not accumulated(undrawn.record.tensorboard).Tags()["images"]


def test_a_diverging_epoch_is_not_drawn(compose: Compose, recogniser: TinyIn, tmp_path: Path) -> None:
    with loss_is_nan_from(step=8, task=SpeechRecognition):
        outcome = run(
            compose(*recogniser(tmp_path), "callbacks.pictures.epochs=[1,2]", "callbacks.pictures.examples=1")
        )
    assert outcome.result["state"] == "diverged"
    check_pictures(outcome.record, ["utterance_0"], [1], side=300)


# --- the figures -----------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures, instead of their pixels."""
    kept: list[Figure] = []
    monkeypatch.setattr(figures, "pixels", kept.append)
    return kept


def transcript(
    written: str, attention: torch.Tensor | None = None, text: str = "to $ be", name: str = "LJ001-0001"
) -> Prediction:
    return Prediction(Pair((name,), tuple(text)), (tuple(written),), (-1.0,), attention)


FRAMES = 50
SECONDS = FRAMES * HOP / RATE
FEATURES = torch.rand(FRAMES, MELS, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("rows", "labels"), [(4, ["t", "␣", r"\$", "<eos>"]), (3, ["t", "␣", r"\$"])])
def test_attention_stands_below_what_was_heard_on_the_same_scale_of_time(
    kept: list[Figure], rows: int, labels: list[str]
) -> None:
    weights = torch.rand(rows, FRAMES // 2, generator=torch.Generator().manual_seed(1))
    figures.alignment(FEATURES, transcript("t $", weights), "validation")
    upper, lower = kept[0].axes
    assert np.array_equal(upper.images[0].get_array(), FEATURES.numpy().T)
    assert np.array_equal(lower.images[0].get_array(), (weights / weights.amax(dim=1)[:, None]).numpy())
    assert upper.images[0].get_extent()[:2] == pytest.approx((0, SECONDS))
    assert lower.images[0].get_extent()[:2] == pytest.approx((0, FRAMES // 2 * PLACE_SECONDS))
    assert upper.get_xlim() == lower.get_xlim() == pytest.approx((0, SECONDS))
    assert [tick.get_text() for tick in lower.get_yticklabels()] == labels
    assert (upper.get_xlabel(), lower.get_xlabel()) == ("", "seconds")
    said = "validation: LJ001-0001\nreference: to \\$ be\nwritten: t \\$"
    assert upper.get_title(loc="left") == said


@pytest.mark.parametrize("attention", [None, torch.zeros(0, FRAMES // 2)], ids=["none kept", "only padding written"])
def test_without_attention_the_spectrogram_stands_alone(kept: list[Figure], attention: torch.Tensor | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of an axis without extent
        figures.alignment(FEATURES, transcript("", attention), "validation")
    (only,) = kept[0].axes
    assert only.get_xlabel() == "seconds"
    assert only.get_title(loc="left").endswith("written: (nothing)")


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5))
def test_a_table_shows_texts_as_they_are(rows: list[tuple[str, str, str]]) -> None:
    transcripts = [transcript(guess, text=text, name=name) for name, text, guess in rows]
    page = MarkdownIt("commonmark").enable("table").parse(figures.transcript_table(transcripts, "validation"))
    opened = [place for place, token in enumerate(page) if token.type == "td_open"]
    cells = ["".join(part.content for part in page[place + 1].children or ()) for place in opened]
    assert [tuple(cells[start : start + 3]) for start in range(0, len(cells), 4)] == rows


def test_similarities_stand_in_the_table() -> None:
    pairs = [("abcd", "abdc"), ("ab", ""), ("", ""), ("a|b", "<i>")]
    transcripts = [transcript(guess, text=text, name="x") for text, guess in pairs]
    title, _, head, rule, *rows = figures.transcript_table(transcripts, "validation, epoch 1").splitlines()
    assert title == "validation, epoch 1"
    assert head.count("|") == rule.count("|") == 5
    assert rows == [
        "| x | abcd | abdc | 0.750 |",
        "| x | ab | (nothing) | 0.000 |",
        "| x | (nothing) | (nothing) | 1.000 |",
        "| x | a&#124;b | &#60;i&#62; | 0.000 |",
    ]
