"""What every source of speech delivers."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""A mono waveform at 22.05 kHz, from -1 to 1, of shape (samples,)."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording and what is said in it.

    ``text`` is as used (lower case, cut), ``row`` the place in ``metadata.csv`` counted from 0, ``path`` the file if
    there is one, ``sha256`` that of the float32 samples. Its features are ``frames`` rows of the corpus's, from
    ``start`` on.
    """

    id: str
    text: str
    row: int
    seconds: float
    path: Path | None
    sha256: str
    start: int
    frames: int


@dataclass(frozen=True)
class SpeechCorpus:
    """A data set in its three splits, and where it came from.

    ``features`` (frames in all, bands) holds those of all utterances; ``waveforms`` has those without a file, by row;
    ``source`` is the kind of source (``files``, ``embedded``); ``provenance`` tells people what it is (see
    `dlbench.data.speech`); ``files`` maps paths below the data folder to SHA-256; ``left_out`` counts rows that could
    not be used, by reason; ``notices`` are lines about them; ``stand_in`` says how a spoken stand-in was made.
    """

    splits: dict[str, tuple[Utterance, ...]]
    features: npt.NDArray[np.float32]
    source: str
    provenance: str
    files: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    stand_in: dict[str, Any] | None = None
    waveforms: tuple[Samples, ...] = ()

    def fingerprint(self) -> str:
        """SHA-256 over the samples and the text of every utterance, by split; wherever they were read from.

        Features are not in it: they are a function of the samples, computed by `dlbench.data.log_mel`, whose source a
        record keeps the hash of. Their last bits may differ between machines; samples do not.
        """
        digest = hashlib.sha256()
        for split, utterances in self.splits.items():
            lines = (f"{utterance.sha256}\t{utterance.text}\n" for utterance in utterances)
            digest.update(f"{split} {len(utterances)}\n{''.join(lines)}".encode())
        return digest.hexdigest()


def hash_samples(samples: Samples) -> str:
    """SHA-256 of a waveform's samples."""
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").data).hexdigest()
