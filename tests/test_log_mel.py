"""Log-mel features, held against librosa's."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlbench.data.recordings import HOP, MELS, N_FFT, RATE, SHORTEST, log_mel, mel_filters


def by_librosa(waveform: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The same computation with nothing of ours or torch's; the last frame is dropped."""
    spectrum = librosa.stft(waveform, n_fft=N_FFT, hop_length=HOP, window="hann", center=True, pad_mode="reflect")
    bands = librosa.feature.melspectrogram(S=np.abs(spectrum[:, :-1]) ** 2, sr=RATE, n_fft=N_FFT, n_mels=MELS)
    logarithm = np.log10(np.maximum(bands, 1e-10))
    return np.asarray((np.maximum(logarithm, logarithm.max() - 8) + 4) / 4).T


def noise(samples: int, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


def chirp(samples: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(0.5 * librosa.chirp(fmin=60, fmax=9000, sr=RATE, length=samples), dtype=np.float32)


SOUNDS = {
    "noise": noise(22_050),
    "quiet": noise(9000) * 1e-4,
    "chirp": chirp(30_000),
    "growing": noise(8000) * np.linspace(0, 1, 8000, dtype=np.float32) ** 4,
    "short": noise(401),
}


def test_the_filter_bank_is_librosas() -> None:
    expected = librosa.filters.mel(sr=RATE, n_fft=N_FFT, n_mels=MELS, htk=False, norm="slaney")
    np.testing.assert_allclose(mel_filters().numpy(), expected.T, rtol=1e-4, atol=1e-7)


def test_the_filter_bank_is_torchaudios_to_the_bit() -> None:
    functional = pytest.importorskip("torchaudio.functional")
    expected = functional.melscale_fbanks(N_FFT // 2 + 1, 0.0, RATE / 2, MELS, RATE, norm="slaney", mel_scale="slaney")
    assert torch.equal(mel_filters(), expected)


@pytest.mark.parametrize("name", SOUNDS)
def test_features_are_librosas(name: str) -> None:
    found = log_mel(torch.from_numpy(SOUNDS[name]))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), by_librosa(SOUNDS[name]), atol=2e-4)


@given(st.integers(SHORTEST, 4000), st.integers(0, 99))
def test_a_frame_for_every_whole_hop_and_no_range_above_eight(samples: int, seed: int) -> None:
    features = log_mel(torch.from_numpy(noise(samples, seed) ** 9))
    assert features.shape == (samples // HOP, MELS)
    assert features.isfinite().all()
    assert features.max() - features.min() <= 2 + 1e-6


@given(st.floats(0.05, 1))
def test_loudness_moves_all_features_alike(factor: float) -> None:
    loud = torch.from_numpy(SOUNDS["chirp"])
    moved = log_mel(loud) + 2 * np.log10(factor) / 4
    torch.testing.assert_close(log_mel(loud * factor), moved, atol=1e-3, rtol=0)


def test_silence_is_the_floor_of_the_logarithm() -> None:
    assert log_mel(torch.zeros(1000)).unique().tolist() == [-1.5]


def test_a_higher_tone_is_in_a_higher_band() -> None:
    time = torch.arange(RATE) / RATE
    bands = [int(log_mel(torch.sin(2 * torch.pi * pitch * time)).mean(0).argmax()) for pitch in (200, 800, 3000, 9000)]
    assert bands == sorted(set(bands))
