"""A stand-in for recordings: LJSpeech's transcripts spoken by the synthesiser espeak-ng, in LJSpeech's own layout.

One even voice without breath, noise or room is far easier to recognise than a reader: what a network scores here says
how methods compare, not how well they recognise people. So a corpus made here carries the file ``stand-in.json``.
"""

import json
import shutil
import subprocess
import wave
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from joblib import Parallel, delayed

from dlbench.data.ljspeech import METADATA, STAND_IN, WAVES, Fault, Row, read_metadata
from dlbench.errors import DataError
from dlbench.files import atomic_path, digest
from dlbench.terminal import progress

RATE = 22_050
"""Samples a second of espeak-ng's own voices, and of LJSpeech."""

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

    def choose(self, rows: Iterable[Row | None]) -> list[Row]:
        """The chosen ones of all rows of a corpus; what cannot be used (``None``) is no choice."""
        limit = self.max_characters
        spoken = list(rows)[self.start : self.stop]
        return [row for row in spoken if row and (limit is None or len(row.text) <= limit)]


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
    chosen = selection.choose(rows)
    if not chosen:
        raise DataError(f"{transcripts / METADATA}: no row of {len(rows)} is chosen; widen --rows or --max-characters")
    mark = json.dumps(made_by | asdict(selection) | {"utterances": len(chosen)}, indent=2) + "\n"
    try:
        _check_target(corpus, made_by, chosen)
        if not (corpus / METADATA).exists():
            _write(corpus / STAND_IN, mark)
        (corpus / WAVES).mkdir(exist_ok=True)
        absent = [row for row in chosen if not (corpus / WAVES / f"{row.id}.wav").is_file()]
        calls = (delayed(utter)(row.text, corpus / WAVES / f"{row.id}.wav", speaker) for row in absent)
        spoken = Parallel(jobs, prefer="threads", return_as="generator_unordered")(calls)
        for _ in progress(spoken, len(absent), "speaking"):
            pass
        _write(corpus / METADATA, "".join(f"{row.line}\n" for row in chosen))
        _write(corpus / STAND_IN, mark)
    except OSError as error:
        text = f"{error.filename or corpus}: cannot be written ({error.strerror})"
        raise DataError(f"{text}; choose another folder with --into") from error
    return chosen, [fault for fault in faults if fault.row in range(len(rows))[selection.start : selection.stop]]


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
        found = json.loads((corpus / STAND_IN).read_text(encoding="utf-8"))
        other = [key for key, value in made_by.items() if found.get(key) != value]
    except (OSError, ValueError, AttributeError):
        raise DataError(f"{corpus}: there, but not made by speak; choose another name with --to") from None
    if other:
        text = ", ".join(f"{key}={found.get(key)!r}" for key in other)
        raise DataError(f"{corpus}: spoken otherwise ({text}); remove it, or choose another name with --to")
    if not (corpus / METADATA).exists():
        return
    if lost := {row.id for row in read_metadata(corpus / METADATA)[0] if row} - {row.id for row in chosen}:
        text = f"{corpus}: would lose {len(lost)} of its rows"
        raise DataError(f"{text}; widen --rows or --max-characters, or choose another name with --to")


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
