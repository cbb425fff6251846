"""Log-mel features of speech, scaled as Whisper does (report e2324; Radford et al. 2022)."""

import errno
import hashlib
import io
import json
import math
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from joblib import Parallel, delayed
from torch import Tensor

from dlbench.components import component
from dlbench.data.ljspeech import FAULTS, METADATA, RATE, WAVES, Fault, Row, Samples, hash_samples, refusal
from dlbench.errors import DataError
from dlbench.files import digest, regular
from dlbench.records.lock import cache_lock
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


PORTION = 64
"""Recordings whose features are in memory at a time."""

ABSENT = {errno.ENOENT: "missing", errno.ENOTDIR: "missing", errno.ENAMETOOLONG: "id"}
"""What the system says of a file that is not there; whatever else it says may pass, and is kept nowhere."""

STREAMED = 0x7FF00000
"""A wave file written to a pipe states a size from here on."""


@dataclass(frozen=True)
class Recordings:
    """What is known of every row of a corpus: 0 and ``""`` where there is no usable recording, and ``faults``, why.

    Row n has ``frames[n]`` frames, ``samples[n]`` samples, and ``sha256[n]`` is the hash of these. The file of
    features holds the rows one after the other.
    """

    frames: list[int]
    samples: list[int]
    sha256: list[str]
    faults: list[Fault]

    def starts(self) -> list[int]:
        """Where each row's features begin, and last the number of frames in all."""
        return [0, *np.cumsum(self.frames).tolist()]


Loaded = tuple[Recordings, npt.NDArray[np.float32]]
"""With features (frames in all, bands)."""


def load(corpus: Path, rows: Sequence[Row | None], cache: Path, jobs: int, strict: bool) -> Loaded:
    """The features of all rows: out of the cache, or computed into it.

    What is kept depends on the recordings' names and contents, wherever they lie, on how features are computed, and on
    the libraries that do it. Hashing LJSpeech's 3.8 GB takes about ten seconds, as checking the features does.

    Args:
        corpus: The folder with ``metadata.csv`` and ``wavs/``.
        rows: Its rows as far as they are used, in order; None for one that is not usable.
        cache: The cache folder.
        jobs: How many recordings are worked on at a time.
        strict: Whether a recording that cannot be used is an error.

    Raises:
        DataError: One cannot, and it is; the system cannot read one; or the cache folder cannot be written.
    """
    states, absent = _look(corpus, rows, jobs)
    if strict and absent:
        raise refusal(corpus / METADATA, absent[0])
    code = (Path(__file__), Path(__file__).with_name("ljspeech.py"))  # the latter has the sampling rate
    parts = [*map(digest, code), torch.__version__, soundfile.__version__, *states]
    folder = cache / f"speech-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"
    rows = [row if state else None for row, state in zip(rows, states, strict=True)]
    try:
        if (found := _open(folder)) is None:
            cache.mkdir(parents=True, exist_ok=True)
            with cache_lock(Path(f"{folder}.lock")):
                if (found := _open(folder)) is None:  # else another process has computed them meanwhile
                    found = _fill(folder, corpus, rows, jobs, strict)
                    if _look(corpus, rows, jobs)[0] != states:
                        shutil.rmtree(folder, ignore_errors=True)
                        raise DataError(f"{corpus}: recordings changed while they were read; try again")
    except OSError as error:
        text = f"{error.filename or cache}: the cache cannot be written ({error.strerror or error})"
        raise DataError(f"{text}; set DLBENCH_CACHE to a folder with room for the features") from error
    if strict and found[0].faults:
        raise refusal(corpus / METADATA, found[0].faults[0])
    return replace(found[0], faults=sorted(absent + found[0].faults)), found[1]


def read_wave(path: Path) -> Samples:
    """The samples of a recording.

    Raises:
        DataError: It cannot be used, since something happened to it after features were computed.
    """
    try:
        return _read(path)
    except _UnusableError as error:
        kind, details = error.args
        what, remedy = FAULTS[kind]
        raise DataError(f"{path}: {what} ({details}); {remedy}") from None


def _look(corpus: Path, rows: Sequence[Row | None], jobs: int) -> tuple[list[str], list[Fault]]:
    """The name and the hash of each row's recording, ``""`` where there is none, and why there is none."""

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

    present = [row for row in rows if row]
    found = Parallel(jobs, prefer="threads")(delayed(look)(row) for row in present)
    states = [""] * len(rows)
    for row, state in zip(present, found, strict=True):
        states[row.number] = state if isinstance(state, str) else ""
    return states, [state for state in found if isinstance(state, Fault)]


def _open(folder: Path) -> Loaded | None:
    """What a cache folder holds; None if it is not there, or damaged."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        kept = index["recordings"]
        if index["hash"] != _hash(kept, index["features"]) or digest(folder / "features.f32") != index["features"]:
            return None
        found = Recordings(**{**kept, "faults": [Fault(*fault) for fault in kept["faults"]]})
        shape = found.starts()[-1], MELS
        if not shape[0]:
            return found, np.zeros(shape, np.float32)
        return found, np.memmap(folder / "features.f32", np.dtype("<f4"), "r", shape=shape)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _hash(kept: Any, features: str) -> str:
    """Of what an index holds, the hash of the features included."""
    return hashlib.sha256(json.dumps([kept, features], sort_keys=True).encode()).hexdigest()


def _fill(folder: Path, corpus: Path, rows: Sequence[Row | None], jobs: int, strict: bool) -> Loaded:
    """Compute all features into a folder that takes its name when it is complete."""
    unfinished = folder.with_name(f".{folder.name}.tmp")  # the same for all, so that a killed process's goes too
    for old in (unfinished, folder):
        shutil.rmtree(old, ignore_errors=True)
    unfinished.mkdir()
    try:
        found = Recordings([0] * len(rows), [0] * len(rows), [""] * len(rows), [])
        with (unfinished / "features.f32").open("wb") as file:
            for number, result in _results(corpus, [row for row in rows if row], jobs):
                if isinstance(result, Fault):
                    if strict:
                        raise refusal(corpus / METADATA, result)
                    found.faults.append(result)
                else:
                    features, found.samples[number], found.sha256[number] = result
                    found.frames[number] = len(features)
                    file.write(features.astype("<f4").data)
        hash_of_features, kept = digest(unfinished / "features.f32"), json.loads(json.dumps(asdict(found)))
        index = {"recordings": kept, "features": hash_of_features, "hash": _hash(kept, hash_of_features)}
        (unfinished / "index.json").write_text(json.dumps(index), encoding="utf-8")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    loaded = _open(folder)
    if loaded is None:
        raise OSError(0, "changed while it was written", str(folder))
    return loaded


Result = tuple[npt.NDArray[np.float32], int, str] | Fault
"""Features, number of samples, their hash; or why there are none."""


def _results(corpus: Path, rows: list[Row], jobs: int) -> Iterator[tuple[int, Result]]:
    """The number of each row and what its recording gives, in order."""

    def featurise(row: Row) -> tuple[int, Result]:
        try:
            samples = _read(corpus / WAVES / f"{row.id}.wav")
        except _UnusableError as error:
            return row.number, Fault(row.number, *error.args)
        return row.number, (log_mel(torch.from_numpy(samples)).numpy(), len(samples), hash_samples(samples))

    def results() -> Iterator[tuple[int, Result]]:
        # Threads: decoding, Fourier transforms and products leave the interpreter to others.
        with single_thread(), Parallel(jobs, prefer="threads") as workers:
            for begin in range(0, len(rows), PORTION):
                yield from workers(delayed(featurise)(row) for row in rows[begin : begin + PORTION])

    return progress(results(), len(rows), f"{corpus.name}: computing features of recordings")


@contextmanager
def single_thread() -> Iterator[None]:
    """Torch in one thread: threads that share what takes a millisecond mostly wait, the more the busier the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _UnusableError(Exception):
    """A recording cannot be used; its arguments are a key of `FAULTS`, and the particulars."""


def _read(path: Path) -> Samples:
    """The samples of a recording.

    Raises:
        _UnusableError: For what the file holds.
        DataError: The system cannot read it.
    """
    name = f"{WAVES}/{path.name}"
    try:
        content = regular(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not content:
        raise _UnusableError("short", f"{name} has 0 bytes")
    # A wave file has as many bytes as its header says, but for one written to a pipe: it has no true number there.
    if content[:4] == b"RIFF" and len(content) < int.from_bytes(content[4:8], "little") + 8 < STREAMED:
        raise _UnusableError("broken", f"{name} ends before its time")
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise _UnusableError("broken", f"{name}: {' '.join(str(error).split()).rpartition(': ')[2]}") from error
    if samples.shape[1] != 1:
        raise _UnusableError("channels", f"{name} has {samples.shape[1]} channels")
    if rate != RATE:
        raise _UnusableError("rate", f"{name} has {rate} Hz")
    if len(samples) < SHORTEST:
        raise _UnusableError("short", f"{name} has {len(samples)} samples")
    if not np.isfinite(samples).all():
        raise _UnusableError("broken", f"{name} has samples that are no numbers")
    mono: Samples = samples[:, 0]
    return mono


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({error.strerror or error}); make it readable, or try again")
