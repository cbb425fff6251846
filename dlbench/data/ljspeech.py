"""LJSpeech's layout on disk, what can be wrong with it, and a stand-in for its recordings; no torch.

``metadata.csv`` has lines of ``ID|transcript|normalised transcript``; the recordings are ``wavs/ID.wav``. The
synthesiser espeak-ng can speak the transcripts into a corpus of the same layout, which then has a ``stand-in.json``:
one even voice without breath, noise or room is far easier to recognise than a reader, so what a network scores there
says how methods compare, not how well they recognise people.
"""

import hashlib
import json
import re
import shutil
import subprocess
import wave
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from dlbench.data.vocabulary import Vocabulary
from dlbench.errors import DataError
from dlbench.files import atomic_path, digest, regular
from dlbench.terminal import progress

METADATA, WAVES = "metadata.csv", "wavs"
STAND_IN = "stand-in.json"
"""The file that says of a corpus how it was spoken; no recording of people has it."""

RATE = 22_050
"""Samples a second of LJSpeech, and of espeak-ng's own voices."""

VOCABULARY = Vocabulary.from_sequences([" ,.?-abcdefghijklmnopqrstuvwxyz"])
"""The published 35 symbols (report e2324); ``@ < > #`` are padding, start, end and unknown, as everywhere here."""

Samples = npt.NDArray[np.float32]
"""A mono waveform at `RATE`, from -1 to 1, of shape (samples,)."""

FAULTS = {
    "encoding": ("a row is not UTF-8", "save the file in that encoding"),
    "columns": ("a row has not three columns", "write ID|transcript|normalised transcript, or remove the row"),
    "id": ("an id is no file name", "rename the file and the row's id"),
    "repeated": ("an id comes twice", "remove one of the two rows"),
    "empty": ("a transcript is empty", "complete it or remove the row"),
    "missing": ("a recording is missing", "put the file there or remove the row"),
    "broken": ("a recording cannot be read as audio", "replace it by the official file or leave it out"),
    "rate": ("a recording has another sampling rate", "resample it to 22050 Hz"),
    "channels": ("a recording is not mono", "mix it down to one channel"),
    "short": ("a recording is empty or too short", "replace it by the official file or leave it out"),
    "unknown": ("a transcript has symbols outside the vocabulary", "write it with the vocabulary's symbols"),
}
"""Everything that can be wrong with a row: what it is, and the remedy."""

_FETCH = "get it with: python -m dlbench data fetch ljspeech"


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


def read_metadata(path: Path) -> tuple[list[Row], list[Fault]]:
    """The usable rows of ``metadata.csv`` in its order, and what is wrong with each of the others.

    Raises:
        DataError: The file is missing, cannot be read, or has no rows.
    """
    try:
        text = regular(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {_FETCH}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it a readable file") from error
    if not text.strip():
        raise DataError(f"{path}: no rows in it; {_FETCH}")
    rows: list[Row] = []
    faults: list[Fault] = []
    first: dict[str, int] = {}
    # Not str.splitlines, which also takes some characters inside a line for its end.
    for number, ended in enumerate(text.rstrip("\r\n").split("\n")):
        line = ended.rstrip("\r")
        name, *others = line.split("|")
        if wrong := re.search("[\udc80-\udcff]", line):  # what surrogateescape makes of bytes that are not UTF-8
            faults.append(Fault(number, "encoding", f"byte 0x{ord(wrong[0]) - 0xDC00:02x}"))
        elif len(others) != 2:
            faults.append(Fault(number, "columns", f"{1 + len(others)} of them"))
        elif not name.strip() or Path(name).name != name or "\0" in name:
            faults.append(Fault(number, "id", repr(name)))
        elif first.setdefault(name, number) != number:
            faults.append(Fault(number, "repeated", f"{name}, first in line {first[name] + 1}"))
        elif not others[1].strip():
            faults.append(Fault(number, "empty", name))
        else:
            rows.append(Row(number, name, others[1], line))
    return rows, faults


def refusal(metadata: Path, fault: Fault) -> DataError:
    """The error for a row that cannot be used."""
    what, remedy = FAULTS[fault.kind]
    return DataError(f"{metadata}:{fault.row + 1}: {what} ({fault.details}); {remedy}, or set data.strict=false")


def notices(metadata: Path, faults: Sequence[Fault]) -> Iterator[str]:
    """A line for every kind of fault: how many rows have it, and the first of them."""
    for kind, (what, remedy) in FAULTS.items():
        if rows := [fault for fault in faults if fault.kind == kind]:
            outcome = "kept, with # for each of them" if kind == "unknown" else "left out"
            many = f"{len(rows)} row{'s' * (len(rows) > 1)} {outcome}"
            yield f"{metadata}:{rows[0].row + 1}: {what} ({rows[0].details}); {many}; {remedy}"


def hash_samples(samples: Samples) -> str:
    """SHA-256 of a waveform's samples."""
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").data).hexdigest()


# --- the stand-in ----------------------------------------------------------------------------------------------------

INSTALL = "espeak-ng is not installed; install it with: apt-get install espeak-ng (or as your system does)"


@dataclass(frozen=True)
class Speaker:
    """How espeak-ng speaks: a voice as it names them, and words a minute."""

    voice: str = "en-us"
    speed: int = 175


@dataclass(frozen=True)
class Selection:
    """Which rows are spoken: those from ``start`` up to ``stop`` (or the end) whose text is no longer than a limit."""

    start: int = 0
    stop: int | None = None
    max_characters: int | None = None

    def takes(self, row: Row) -> bool:
        """Whether a row is spoken."""
        is_short = self.max_characters is None or len(row.text) <= self.max_characters
        return is_short and self.covers(row.number)

    def covers(self, number: int) -> bool:
        """Whether the row of this number, from 0, lies where rows are chosen."""
        return self.start <= number and (self.stop is None or number < self.stop)


def engine(voice: str) -> str:
    """The synthesiser and its version.

    Raises:
        DataError: It is not installed, or does not know the voice.
    """
    if shutil.which("espeak-ng") is None:
        raise DataError(INSTALL)
    if subprocess.run(["espeak-ng", "-q", "-v", voice, ""], capture_output=True, check=False).returncode:
        raise DataError(f"--voice {voice}: espeak-ng has no such voice; see espeak-ng --voices")
    shown = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=False).stdout
    return f"eSpeak NG {shown.partition(':')[2].partition('Data')[0].strip()}"


def speak(
    transcripts: Path, corpus: Path, selection: Selection, speaker: Speaker, jobs: int
) -> tuple[list[Row], list[Fault]]:
    """Speak rows of a corpus into another one; what an earlier, interrupted call has spoken is kept.

    A new corpus is marked as a stand-in first, and ``metadata.csv`` comes when all is spoken: what looks complete is,
    and is labelled. The mark of one that grows is renewed with it.

    Args:
        transcripts: The folder with LJSpeech's ``metadata.csv``.
        corpus: The folder to be made, or made before with the same speaker and transcripts.
        selection: Which rows.
        speaker: How.
        jobs: How many at a time.

    Returns:
        The rows spoken, and what is wrong with those that were left out.

    Raises:
        DataError: espeak-ng is not installed or refuses; no row is chosen; the folder holds other speech, or rows
            that are not chosen, or cannot be written.
    """
    rows, faults = read_metadata(transcripts / METADATA)
    made_by = {
        "stand_in": "synthetic speech, not recordings of people",
        "engine": engine(speaker.voice),
        **asdict(speaker),
        "transcripts_sha256": digest(transcripts / METADATA),
    }
    chosen = [row for row in rows if selection.takes(row)]
    if not chosen:
        total = len(rows) + len(faults)
        raise DataError(f"{transcripts / METADATA}: no row of {total} is chosen; widen --rows or --max-characters")
    mark = json.dumps(made_by | asdict(selection) | {"utterances": len(chosen)}, indent=2) + "\n"
    try:
        _check_target(corpus, made_by, chosen)
        if not (corpus / METADATA).exists():
            _write(corpus / STAND_IN, mark)
        (corpus / WAVES).mkdir(exist_ok=True)
        files = [(row.text, corpus / WAVES / f"{row.id}.wav") for row in chosen]
        absent = [(text, path) for text, path in files if not path.is_file()]
        calls = (delayed(utter)(text, path, speaker) for text, path in absent)
        for _ in progress(
            Parallel(jobs, prefer="threads", return_as="generator_unordered")(calls), len(absent), "speaking"
        ):
            pass
        _write(corpus / METADATA, "".join(f"{row.line}\n" for row in chosen))
        _write(corpus / STAND_IN, mark)
    except OSError as error:
        text = f"{error.filename or corpus}: cannot be written ({error.strerror})"
        raise DataError(f"{text}; choose another folder with --into") from error
    return chosen, [fault for fault in faults if selection.covers(fault.row)]


def utter(text: str, path: Path, speaker: Speaker) -> None:
    """Speak a text into a wave file: 22,050 Hz, 16 bits, mono; the same bytes every time.

    Raises:
        DataError: espeak-ng makes no such file.
        OSError: The file cannot be written.
    """
    with atomic_path(path) as temporary:
        command = ["espeak-ng", "-v", speaker.voice, "-s", str(speaker.speed), "--stdin", "-w", str(temporary)]
        result = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
        complaint = " ".join(result.stderr.decode(errors="replace").split())
        # Where it cannot write, espeak-ng says so and still ends with 0.
        try:
            with wave.open(str(temporary)) as file:
                form = file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes() > 0
        except (wave.Error, EOFError) as error:
            raise DataError(f"espeak-ng cannot speak {path.stem} ({complaint or error}); try again") from error
        if form != (RATE, 1, 2, True):
            raise DataError(f"espeak-ng -v {speaker.voice} does not make 22050 Hz, 16 bits, mono; choose another voice")


def _check_target(corpus: Path, made_by: dict[str, str | int], chosen: Iterable[Row]) -> None:
    """Go on only in a new folder, or one made in the same way that loses no row."""
    if not corpus.exists() or (corpus.is_dir() and not any(corpus.iterdir())):
        return
    try:
        found = json.loads(regular(corpus / STAND_IN).read_text(encoding="utf-8"))
        other = [key for key, value in made_by.items() if found.get(key) != value]
    except (OSError, ValueError, AttributeError):
        raise DataError(f"{corpus}: there, but not made by speak; choose another name with --to") from None
    if other:
        text = ", ".join(f"{key}={found.get(key)!r}" for key in other)
        raise DataError(f"{corpus}: spoken otherwise ({text}); remove it, or choose another name with --to")
    before = read_metadata(corpus / METADATA)[0] if (corpus / METADATA).exists() else []
    if lost := {row.id for row in before} - {row.id for row in chosen}:
        text = f"{corpus}: would lose {len(lost)} of its rows"
        raise DataError(f"{text}; widen --rows or --max-characters, or choose another name with --to")


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
