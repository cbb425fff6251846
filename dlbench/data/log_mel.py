"""Log-mel features of speech, scaled as Whisper does (REPORTS section 6; Radford et al. 2022)."""

from functools import cache

import torch
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from dlbench.components import component

RATE = 22_050
"""Samples a second."""

N_FFT, HOP, MELS = 400, 160, 80
"""Samples a window, samples from one frame to the next, and bands."""

SHORTEST = N_FFT // 2 + 1
"""Samples needed: the first and the last window reach over the ends, where the signal is mirrored."""


def frames_of(samples: int) -> int:
    """How many frames a recording of so many samples has."""
    return samples // HOP


@cache
def mel_filters() -> Tensor:
    """The filter bank (N_FFT / 2 + 1, MELS): triangles on Slaney's mel scale, each of area one in Hz."""
    return melscale_fbanks(N_FFT // 2 + 1, 0.0, RATE / 2, MELS, RATE, norm="slaney", mel_scale="slaney")  # type: ignore[no-any-return]


@component("log_mel", "1.0")
def log_mel(waveform: Tensor) -> Tensor:
    """Features (frames, MELS) of a mono waveform (samples,) in -1..1 with at least `SHORTEST` samples.

    Power spectra of Hann windows; as in Whisper, the frame centred behind the last whole hop is dropped. The logarithm
    (base 10) is floored at 8 below the recording's highest value, then moved and scaled: (x + 4) / 4.
    """
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(waveform, N_FFT, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum[:, :-1].abs().square()
    logarithm = (power.T @ mel_filters()).clamp(min=1e-10).log10()
    return (torch.maximum(logarithm, logarithm.max() - 8) + 4) / 4
