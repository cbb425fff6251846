"""LJSpeech's transcripts spoken by espeak-ng into a corpus that says it is a stand-in."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile
from corpora import RATE

from dlbench import commands
from dlbench.data import ljspeech
from dlbench.data.ljspeech import INSTALL
from dlbench.data.speech_datamodule import SpeechDataModule
from dlbench.files import digest

TEXTS = [
    "in being comparatively modern.",
    "has never been surpassed",
    "and it is worth mention in passing that, as an example of fine typography, it is long",
    "- begins with a dash; costs $ & \"quotes\"",
    "the end",
]  # fmt: skip
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason=INSTALL)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "ljspeech").mkdir(parents=True)
    lines = [f"LJ-{number}|as printed|{text}\n" for number, text in enumerate(TEXTS)]
    (folder / "ljspeech" / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return folder


def speak(data: Path, *options: str) -> int:
    return commands.call("data", ["speak", "ljspeech", "--folder", str(data), "--jobs", "2", *options])


def hashes(corpus: Path) -> dict[str, str]:
    return {path.relative_to(corpus).as_posix(): digest(path) for path in corpus.rglob("*") if path.is_file()}


@needs_espeak
def test_rows_are_chosen_then_short_ones_of_them(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speak(data, "--rows", "1:4", "--max-characters", "60") == 0
    corpus = data / "ljspeech_spoken"
    lines = (corpus / "metadata.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [f"LJ-{number}|as printed|{TEXTS[number]}" for number in (1, 3)]
    assert sorted(path.name for path in (corpus / "wavs").iterdir()) == ["LJ-1.wav", "LJ-3.wav"]
    for path in (corpus / "wavs").iterdir():
        form = soundfile.info(path)
        assert (form.samplerate, form.channels, form.subtype, form.format) == (RATE, 1, "PCM_16", "WAV")
        assert 0.5 < form.duration < 10
    mark = json.loads((corpus / "stand-in.json").read_text())
    assert mark["engine"].startswith("eSpeak NG 1.")
    assert (mark["voice"], mark["speed"], mark["start"], mark["stop"]) == ("en-us", 175, 1, 4)
    assert (mark["max_characters"], mark["utterances"]) == (60, 2)
    assert "2 rows of ljspeech spoken by espeak-ng, a stand-in for recordings" in capsys.readouterr().out


@needs_espeak
def test_the_same_words_are_the_same_bytes(data: Path) -> None:
    assert speak(data, "--to", "one") == speak(data, "--to", "two", "--jobs", "1") == 0
    assert hashes(data / "one") == hashes(data / "two")
    assert speak(data, "--to", "three", "--speed", "250") == 0
    assert hashes(data / "three")["wavs/LJ-0.wav"] != hashes(data / "one")["wavs/LJ-0.wav"]


@needs_espeak
def test_a_corpus_spoken_here_is_labelled_where_it_is_used(data: Path) -> None:
    assert speak(data) == 0
    speech = SpeechDataModule(
        corpus="ljspeech_spoken", splits=(3, 1, 1), source="files", folder=str(data), cache=str(data.parent / "cache")
    )
    with pytest.warns(UserWarning, match=r'LJ-3 has " \$ & ;'):
        facts = speech.describe()
    assert facts["provenance"] == "stand-in"
    assert facts["stand_in"].keys() == {"engine", "voice", "speed", "start", "stop", "max_characters"}
    assert facts["sizes"] == {"train": 3, "val": 1, "test": 1}


@needs_espeak
def test_what_was_spoken_is_kept_and_more_can_be_added(data: Path) -> None:
    assert speak(data, "--rows", "0:3") == 0
    corpus = data / "ljspeech_spoken"
    (corpus / "wavs" / "LJ-1.wav").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in (corpus / "wavs").iterdir()}
    assert speak(data, "--rows", ":4") == 0
    assert len((corpus / "metadata.csv").read_text().splitlines()) == 4
    assert {name: (corpus / "wavs" / name).stat().st_mtime_ns for name in times} == times
    assert {path.name for path in (corpus / "wavs").iterdir()} == {f"LJ-{number}.wav" for number in range(4)}


@needs_espeak
def test_fewer_rows_do_not_take_the_place_of_more(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speak(data, "--rows", "0:3") == 0
    before = hashes(data)
    capsys.readouterr()
    for options in (("--rows", "0:2"), ("--rows", "1:4"), ("--max-characters", "30")):
        assert speak(data, *options) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert "ljspeech_spoken: would lose 1 of its rows; widen --rows or --max-characters" in line
        assert hashes(data) == before


@needs_espeak
def test_while_a_corpus_grows_its_mark_is_that_of_its_rows(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert speak(data, "--rows", "0:2") == 0
    corpus = data / "ljspeech_spoken"
    files = corpus / "stand-in.json", corpus / "metadata.csv"
    before = [path.read_text() for path in files]
    with monkeypatch.context() as patched:
        patched.setattr(ljspeech, "utter", interrupted)
        assert speak(data) == 130
    assert [path.read_text() for path in files] == before
    assert speak(data) == 0
    mark = json.loads((corpus / "stand-in.json").read_text())
    assert (mark["stop"], mark["utterances"]) == (None, 5)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@needs_espeak
def test_under_a_registered_name_it_is_listed_and_checked_as_a_stand_in(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speak(data, "--into", str(tmp_path), "--to", "ljspeech") == 0
    capsys.readouterr()
    assert commands.call("data", ["list", "--json", "--folder", str(tmp_path)]) == 0
    present = {row["name"]: row["present"] for row in json.loads(capsys.readouterr().out)}
    assert (present["ljspeech"], present["cmudict"]) == ("stand-in", "no")
    assert commands.call("data", ["check", "ljspeech", "--json", "--folder", str(tmp_path)]) == 0
    states = {row["path"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert states == {"ljspeech/metadata.csv": "stand-in", "ljspeech/README": "missing", "ljspeech/wavs": "stand-in"}


@needs_espeak
def test_other_corpora_are_left_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(data)
    assert speak(data, "--to", "ljspeech") == 1
    assert "data/ljspeech: there, but not made by speak; choose another name" in capsys.readouterr().err
    assert hashes(data) == before
    assert speak(data, "--rows", "0:1") == 0
    before = hashes(data)
    capsys.readouterr()
    assert speak(data, "--voice", "en-gb", "--speed", "120") == 1
    assert "spoken otherwise (voice='en-us', speed=175)" in capsys.readouterr().err
    assert hashes(data) == before


@needs_espeak
def test_a_read_only_data_folder_needs_another_to_write_to(data: Path, tmp_path: Path) -> None:
    before = hashes(data)
    assert speak(data, "--rows", "4:", "--into", str(tmp_path / "mine"), "--to", "short") == 0
    assert hashes(data) == before
    assert (tmp_path / "mine" / "short" / "wavs" / "LJ-4.wav").is_file()


@needs_espeak
def test_rows_that_cannot_be_spoken_are_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (data / "ljspeech" / "metadata.csv").open("a") as file:
        file.write("LJ-5|two columns\n")
    assert speak(data, "--rows", "4:") == 0
    assert "metadata.csv:6: a row has not three columns (2 of them); 1 row left out" in capsys.readouterr().err


@needs_espeak
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--voice", "xx-nobody"), "--voice xx-nobody: espeak-ng has no such voice; see espeak-ng --voices"),
        (("--rows", "9:"), "no row of 5 is chosen; widen --rows or --max-characters"),
        (("--to", "../elsewhere"), "--to ../elsewhere: must be the name of a folder"),
        (("--to", ".."), "--to ..: must be the name of a folder"),
        (("--to", ""), "--to : must be the name of a folder"),
        (("--to", "a file"), "a file: there, but not made by speak; choose another name"),
        (("--into", "/dev/null"), "cannot be written"),
    ],
)
def test_what_cannot_be_ends_in_one_line(
    data: Path, options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "a file").touch()
    before = hashes(data)
    assert speak(data, *options) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert words in line
    assert hashes(data) == before


def test_without_espeak_one_line_says_how_to_get_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(data))
    assert speak(data) == 1
    assert capsys.readouterr().err == f"dlbench: {INSTALL}\n"
    assert "apt-get install espeak-ng" in INSTALL
    assert not (data / "ljspeech_spoken").exists()


def test_without_transcripts_one_line_says_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speak(tmp_path) == 1
    assert capsys.readouterr().err == (
        f"dlbench: {tmp_path}/ljspeech/metadata.csv: no such file; get it with: python -m dlbench data fetch ljspeech\n"
    )


@pytest.mark.parametrize("options", [("--rows", "5:2"), ("--rows", "7"), ("--max-characters", "0"), ("--speed", "x")])
def test_options_that_make_no_sense(data: Path, options: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert speak(data, *options) == 2
    assert f"Invalid value for {options[0]}" in capsys.readouterr().err.replace("'", "")
