"""Utterances, and log-mel features of their recordings, scaled as Whisper does (report e2324; Radford et al. 2022)."""

import errno
import hashlib
import io
import json
import math
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from joblib import Parallel, delayed
from torch import Tensor

from dlbench.components import component
from dlbench.data import Splits
from dlbench.data.cache import filled
from dlbench.data.ljspeech import FAULTS, METADATA, RATE, WAVES, Fault, Row, Samples, hash_samples, refusal
from dlbench.errors import DataError
from dlbench.files import digest, regular
from dlbench.terminal import progress

N_FFT, HOP, MELS = 400, 160, 80
"""Samples a window, samples from one frame to the next, and bands."""

SHORTEST = N_FFT // 2 + 1
"""Samples needed: the first and the last window reach over the ends, where the signal is mirrored."""


@cache
def mel_filters() -> Tensor:
    """The filter bank (N_FFT / 2 + 1, MELS): triangles on Slaney's mel scale, each of area one in Hz.

    The scale is linear up to 1000 Hz, then logarithmic: 27 mel for a factor of 6.4. To the bit what torchaudio's
    ``melscale_fbanks`` gives.
    """
    bend, step = 1000.0 / (200.0 / 3), math.log(6.4) / 27.0
    mels = torch.linspace(0.0, bend + math.log(RATE / 2 / 1000.0) / step, MELS + 2)
    edges = 200.0 / 3 * mels
    above = mels >= bend
    edges[above] = 1000.0 * torch.exp(step * (mels[above] - bend))
    slopes = edges - torch.linspace(0, RATE // 2, N_FFT // 2 + 1)[:, None]
    widths = edges[1:] - edges[:-1]
    triangles = torch.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]).clamp(min=0)
    return triangles * (2.0 / (edges[2:] - edges[:-2]))


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


FEATURES, INDEX = "features.f32", "index.json"
ABSENT = {errno.ENOENT: "missing", errno.ENOTDIR: "missing", errno.ENAMETOOLONG: "id"}
"""What the system says of a file that is not there; whatever else it says may pass, and is kept nowhere."""

STREAMED = 0x7FF00000
"""A wave file written to a pipe states a size from here on."""


class Recording(NamedTuple):
    """A usable recording: the row of ``metadata.csv`` it belongs to, from 0, how long it is, and its samples' hash.

    Its features are ``frames`` rows of the corpus's, from ``start`` on.
    """

    row: int
    start: int
    frames: int
    samples: int
    sha256: str

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples / RATE


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording and what is said in it, as used (lower case, cut); ``path`` is its file, if there is one."""

    id: str
    text: str
    recording: Recording
    path: Path | None = None


@dataclass(frozen=True)
class SpeechCorpus(Splits[tuple[Utterance, ...]]):
    """A data set of speech.

    ``features`` (frames in all, bands) holds those of all utterances; ``waveforms`` has those without a file, by row;
    ``left_out`` counts rows that could not be used, by reason; ``stand_in`` says how a spoken stand-in was made.
    """

    features: npt.NDArray[np.float32] = field(kw_only=True)
    left_out: dict[str, int] = field(default_factory=dict)
    stand_in: dict[str, Any] | None = None
    waveforms: tuple[Samples, ...] = ()

    def fingerprint(self) -> str:
        """SHA-256 over the samples and the text of every utterance, by split; wherever they were read from.

        Features are not in it: they are a function of the samples (`load`). Their last bits
        may differ between machines; samples do not.
        """
        digest = hashlib.sha256()
        for split, utterances in self.splits().items():
            lines = (f"{utterance.recording.sha256}\t{utterance.text}\n" for utterance in utterances)
            digest.update(f"{split} {len(utterances)}\n{''.join(lines)}".encode())
        return digest.hexdigest()


class Loaded(NamedTuple):
    """Usable recordings by row, what is wrong with the others, and the features (frames in all, MELS)."""

    recordings: dict[int, Recording]
    faults: list[Fault]
    features: npt.NDArray[np.float32]


def load(corpus: Path, rows: Sequence[Row], cache: Path, jobs: int, strict: bool) -> Loaded:
    """The features of the recordings of all rows: out of the cache, or computed into it.

    What is kept depends on the recordings' names and contents, wherever they lie, on how features are computed, and on
    the libraries that do it. Hashing LJSpeech's 3.8 GB takes about ten seconds, as checking the features does.

    Args:
        corpus: The folder with ``metadata.csv`` and ``wavs/``.
        rows: Its rows as far as they are used, in order.
        cache: The cache folder.
        jobs: How many recordings are worked on at a time.
        strict: Whether a recording that is missing is an error at once.

    Raises:
        DataError: One is, and it is; the system cannot read one; or the cache folder cannot be written.
    """
    states, absent = _look(corpus, rows, jobs)
    if strict and absent:
        raise refusal(corpus / METADATA, absent[0])
    code = (Path(__file__), Path(__file__).with_name("ljspeech.py"))  # the latter has the sampling rate
    parts = [*map(digest, code), torch.__version__, soundfile.__version__, json.dumps(states)]

    def fill(folder: Path) -> None:
        _compute(folder, corpus, [row for row in rows if row.number in states], jobs)
        if _look(corpus, rows, jobs)[0] != states:
            raise DataError(f"{corpus}: recordings changed while they were read; try again")

    folder = filled(cache / f"speech-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}", fill)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    found = [Recording(*each) for each in index["recordings"]]
    shape = sum(each.frames for each in found), MELS
    features = np.memmap(folder / FEATURES, np.dtype("<f4"), "r", shape=shape) if found else np.zeros(shape, np.float32)
    faults = sorted(absent + [Fault(*each) for each in index["faults"]])
    return Loaded({each.row: each for each in found}, faults, features)


def read_wave(path: Path) -> Samples:
    """The samples of a recording.

    Raises:
        DataError: It cannot be used.
    """
    found = _read(path, path.name)
    if isinstance(found, tuple):
        what, remedy = FAULTS[found[0]]
        raise DataError(f"{path}: {what} ({found[1]}); {remedy}")
    return found


def _look(corpus: Path, rows: Sequence[Row], jobs: int) -> tuple[dict[int, str], list[Fault]]:
    """The name and the hash of each recording by its row, and why there is none."""

    def look(row: Row) -> str | Fault:
        name = f"{WAVES}/{row.id}.wav"
        try:
            if not stat.S_ISREG((corpus / name).stat().st_mode):
                return Fault(row.number, "broken", f"{name} is no file")
            return f"{row.id} {digest(corpus / name)}"
        except OSError as error:
            if error.errno in ABSENT:
                return Fault(row.number, ABSENT[error.errno], name)
            raise _unreadable(corpus / name, error) from error

    found = Parallel(jobs, prefer="threads")(delayed(look)(row) for row in rows)
    states = {row.number: state for row, state in zip(rows, found, strict=True) if isinstance(state, str)}
    return states, [state for state in found if isinstance(state, Fault)]


def _compute(folder: Path, corpus: Path, rows: Sequence[Row], jobs: int) -> None:
    """Write the features of all recordings one after the other, and an index of them."""

    def featurise(row: Row) -> tuple[npt.NDArray[np.float32], int, str] | Fault:
        samples = _read(corpus / WAVES / f"{row.id}.wav")
        if isinstance(samples, tuple):
            return Fault(row.number, *samples)
        return log_mel(torch.from_numpy(samples)).numpy(), len(samples), hash_samples(samples)

    found: list[Recording] = []
    faults: list[Fault] = []
    # Threads: decoding, Fourier transforms and products leave the interpreter to others.
    with single_thread(), (folder / FEATURES).open("wb") as file:
        results = Parallel(jobs, prefer="threads", return_as="generator")(delayed(featurise)(row) for row in rows)
        shown = progress(results, len(rows), f"{corpus.name}: computing features of recordings")
        for row, result in zip(rows, shown, strict=True):
            if isinstance(result, Fault):
                faults.append(result)
            else:
                features, samples, sha256 = result
                start = found[-1].start + found[-1].frames if found else 0
                found.append(Recording(row.number, start, len(features), samples, sha256))
                file.write(features.astype("<f4").data)
    (folder / INDEX).write_text(json.dumps({"recordings": found, "faults": faults}), encoding="utf-8")


@contextmanager
def single_thread() -> Iterator[None]:
    """Torch in one thread: threads that share what takes a millisecond mostly wait, the more the busier the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read(path: Path, name: str = "") -> Samples | tuple[str, str]:
    """The samples of a recording, or why it cannot be used: a key of `FAULTS`, and the particulars.

    ``name`` is what it is called there; default: as it stands in a corpus.

    Raises:
        DataError: The system cannot read it.
    """
    name = name or f"{WAVES}/{path.name}"
    try:
        content = regular(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not content:
        return "short", f"{name} has 0 bytes"
    # A wave file has as many bytes as its header says, but for one written to a pipe: it has no true number there.
    if content[:4] == b"RIFF" and len(content) < int.from_bytes(content[4:8], "little") + 8 < STREAMED:
        return "broken", f"{name} ends before its time"
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        return "broken", f"{name}: {' '.join(str(error).split()).rpartition(': ')[2]}"
    faults = (
        ("channels", samples.shape[1] != 1, f"{name} has {samples.shape[1]} channels"),
        ("rate", rate != RATE, f"{name} has {rate} Hz"),
        ("short", len(samples) < SHORTEST, f"{name} has {len(samples)} samples"),
        ("broken", not np.isfinite(samples).all(), f"{name} has samples that are no numbers"),
    )
    mono: Samples = samples[:, 0]
    return next(((kind, details) for kind, is_so, details in faults if is_so), mono)


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({error.strerror or error}); make it readable, or try again")
