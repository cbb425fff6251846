"""LJSpeech's layout on disk, and what can be wrong with it; no torch.

``metadata.csv`` has lines of ``ID|transcript|normalised transcript``; the recordings are ``wavs/ID.wav``.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dlbench.errors import DataError, DataNotice

METADATA, WAVES = "metadata.csv", "wavs"
STAND_IN = "stand-in.json"
"""The file that says of a corpus how it was spoken; no recording of people has it."""

FAULTS = {
    "encoding": ("a row is not UTF-8", "save the file in that encoding"),
    "columns": ("a row has not three columns", "write ID|transcript|normalised transcript, or remove the row"),
    "id": ("an id is no file name", "rename the file and the row's id"),
    "repeated": ("an id comes twice", "remove one of the two rows"),
    "empty": ("a transcript is empty", "complete it or remove the row"),
    "missing": ("a recording is missing", "put the file there or remove the row"),
    "broken": ("a recording cannot be read as audio", "replace it by the official file or remove the row"),
    "rate": ("a recording has another sampling rate", "resample it to 22050 Hz"),
    "channels": ("a recording is not mono", "mix it down to one channel"),
    "short": ("a recording is empty or too short", "replace it by the official file or remove the row"),
    "unknown": ("a transcript has symbols outside the vocabulary", "write it with the vocabulary's symbols"),
}
"""Everything that can be wrong with a row: what it is, and the remedy."""


class LeftOutNotice(DataNotice):
    """Rows of a corpus that cannot be used as they are."""


class Row(NamedTuple):
    """A line of ``metadata.csv``: its number from 0, the recording's name without ``.wav``, what is said in it.

    ``line`` is all of it as it stands in the file, ``text`` the normalised transcript.
    """

    number: int
    id: str
    text: str
    line: str


class Fault(NamedTuple):
    """What is wrong with a row: its number from 0, a key of `FAULTS`, and the particulars (the file, what it has)."""

    row: int
    kind: str
    details: str


def read_metadata(path: Path) -> tuple[list[Row | None], list[Fault]]:
    """All rows of ``metadata.csv`` in its order, ``None`` in the place of one that cannot be used, and why.

    Raises:
        DataError: The file is missing, cannot be read, or has no rows.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; get it with: python -m dlbench data fetch ljspeech") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it a readable file") from error
    if not text.strip():
        raise DataError(f"{path}: no rows in it; get it with: python -m dlbench data fetch ljspeech")
    rows: list[Row | None] = []
    faults: list[Fault] = []
    first: dict[str, int] = {}
    # Not str.splitlines, which also takes some characters inside a line for its end.
    for number, ended in enumerate(text.rstrip("\r\n").split("\n")):
        line = ended.rstrip("\r")
        columns = line.split("|")
        name = columns[0]
        rows.append(None)
        if wrong := re.search("[\udc80-\udcff]", line):  # what surrogateescape makes of bytes that are not UTF-8
            faults.append(Fault(number, "encoding", f"byte 0x{ord(wrong[0]) - 0xDC00:02x}"))
        elif len(columns) != 3:
            faults.append(Fault(number, "columns", f"{len(columns)} of them"))
        elif not name.strip() or Path(name).name != name or "\0" in name:
            faults.append(Fault(number, "id", repr(name)))
        elif first.setdefault(name, number) != number:
            faults.append(Fault(number, "repeated", f"{name}, first in line {first[name] + 1}"))
        elif not columns[2].strip():
            faults.append(Fault(number, "empty", name))
        else:
            rows[number] = Row(number, name, columns[2], line)
    return rows, faults


def refusal(metadata: Path, fault: Fault) -> DataError:
    """The error for a row that cannot be used."""
    what, remedy = FAULTS[fault.kind]
    return DataError(f"{metadata}:{fault.row + 1}: {what} ({fault.details}); {remedy}, or set data.strict=false")


def notices(metadata: Path, faults: Sequence[Fault]) -> Iterator[str]:
    """A line for every kind of fault: how many rows have it, and the first of them."""
    for kind, (what, remedy) in FAULTS.items():
        rows = [fault for fault in faults if fault.kind == kind]
        if rows:
            outcome = "kept, with # for each of them" if kind == "unknown" else "left out"
            many = f"{len(rows)} row{'s' * (len(rows) > 1)} {outcome}"
            yield f"{metadata}:{rows[0].row + 1}: {what} ({rows[0].details}); {many}; {remedy}"


Samples = npt.NDArray[np.float32]
"""A mono waveform at 22.05 kHz, from -1 to 1, of shape (samples,)."""


def hash_samples(samples: Samples) -> str:
    """SHA-256 of a waveform's samples."""
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").data).hexdigest()
