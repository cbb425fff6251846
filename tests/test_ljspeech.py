"""Corpora in LJSpeech's layout: what is wrong with a row, what becomes of the others, and what the cache keeps."""

import errno
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from corpora import RATE, sound, write_corpus

from dlbench.data import recordings, speech_datamodule
from dlbench.data.ljspeech import Row, read_metadata
from dlbench.data.recordings import log_mel
from dlbench.data.registry import REGISTRY, File
from dlbench.data.speech_datamodule import PUBLISHED, SpeechDataModule, have_published_lengths
from dlbench.errors import DataError, OddDataNotice
from dlbench.files import digest

TEXTS = ["the first one", "a second.", "number three?", "four - four", "five, and", "six", "seven of", "the last one"]
SPLITS = (4, 2, 2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "data" / "spoken", TEXTS)
    return tmp_path / "data"


def module(data: Path, **arguments: Any) -> SpeechDataModule:
    given = {"corpus": "spoken", "splits": SPLITS, "source": "files", "jobs": 1, **arguments}
    return SpeechDataModule(folder=str(data), cache=str(data.parent / "cache"), **given)


def rows_of(speech: SpeechDataModule) -> dict[str, list[int]]:
    return {split: [each.recording.row for each in speech.utterances(split)] for split in ("train", "val", "test")}


def replace_row(data: Path, number: int, line: str) -> None:
    metadata = data / "spoken" / "metadata.csv"
    lines = metadata.read_text(encoding="utf-8").split("\n")
    lines[number] = line
    metadata.write_text("\n".join(lines), encoding="utf-8")


def wav(data: Path, number: int) -> Path:
    return data / "spoken" / "wavs" / f"A-{number:02}.wav"


def spoil(data: Path, number: int) -> None:
    metadata = data / "spoken" / "metadata.csv"
    lines = metadata.read_bytes().split(b"\n")
    lines[number] = lines[number][:-1] + b"\xff"
    metadata.write_bytes(b"\n".join(lines))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-600])


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "two columns": ("columns", lambda data: replace_row(data, 4, "A-04|two"), "has not three columns (2 of them)"),
    "blank": ("columns", lambda data: replace_row(data, 4, ""), "has not three columns (1 of them)"),
    "an id that leaves the folder": ("id", lambda data: replace_row(data, 4, "../A-04|x|five"), "is no file name"),
    "an id that was there": ("repeated", lambda data: replace_row(data, 4, "A-01|x|five"), "A-01, first in line 2"),
    "no transcript": ("empty", lambda data: replace_row(data, 4, "A-04|five| "), "a transcript is empty (A-04)"),
    "missing": ("missing", lambda data: wav(data, 4).unlink(), "is missing (wavs/A-04.wav)"),
    "no audio": ("broken", lambda data: wav(data, 4).write_text("x" * 99), "cannot be read as audio (wavs/A-04.wav"),
    "a folder": ("broken", lambda data: (wav(data, 4).unlink(), wav(data, 4).mkdir()), "cannot be read as audio"),
    "cut short": ("broken", lambda data: cut(wav(data, 4)), "ends before its time"),
    "no numbers": (
        "broken",
        lambda data: soundfile.write(wav(data, 4), np.full(999, np.nan, np.float32), RATE, "FLOAT"),
        "samples that are no numbers",
    ),
    "another rate": ("rate", lambda data: soundfile.write(wav(data, 4), sound(4, 2000), 16_000), "has 16000 Hz"),
    "stereo": ("channels", lambda data: soundfile.write(wav(data, 4), sound(4, 2000).reshape(-1, 2), RATE), "2 chann"),
    "no samples": ("short", lambda data: soundfile.write(wav(data, 4), sound(4, 0), RATE), "has 0 samples"),
    "a byte that is not UTF-8": ("encoding", lambda data: spoil(data, 4), "is not UTF-8 (byte 0xff)"),
    "an id too long": ("id", lambda data: replace_row(data, 4, f"{'A' * 300}|x|five"), "an id is no file name"),
    "no bytes": ("short", lambda data: wav(data, 4).write_bytes(b""), "has 0 bytes"),
}


# --- what is wrong with a row ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BROKEN)
def test_a_row_that_cannot_be_used_leaves_its_place_empty(data: Path, name: str) -> None:
    kind, breaks, words = BROKEN[name]
    whole = rows_of(module(data))
    breaks(data)
    broken = module(data)
    with pytest.warns(OddDataNotice) as notices:
        facts = broken.describe()
    [notice] = [str(notice.message) for notice in notices]
    assert notice.startswith(f"{data / 'spoken' / 'metadata.csv'}:5: ")
    assert words in notice
    assert "; 1 row left out; " in notice
    assert rows_of(broken) == whole | {"val": [5]}
    assert facts["left_out"] == {kind: 1}
    assert facts["sizes"] == {"train": 4, "val": 1, "test": 2}
    with pytest.raises(DataError, match=r"metadata\.csv:5: .*data\.strict=false$") as error:
        module(data, strict=True).describe()
    assert words in str(error.value)


def test_symbols_outside_the_vocabulary_are_kept_as_unknown_unless_strict(data: Path) -> None:
    replace_row(data, 1, "A-01|x|It's «good»!")
    replace_row(data, 6, "A-06|x|a:b")
    speech = module(data)
    with pytest.warns(OddDataNotice, match=r"metadata\.csv:2: .*\(A-01 has ! ' « »\); 2 rows kept, with # for each"):
        facts = speech.describe()
    assert facts["sizes"] == {"train": 4, "val": 2, "test": 2}
    assert facts["unknown"]["train"] == {"target": {"!": 1, "'": 1, "«": 1, "»": 1}}
    assert facts["unknown"]["test"] == {"target": {":": 1}}
    with pytest.raises(DataError, match=r"metadata\.csv:2: .*outside the vocabulary"):
        module(data, strict=True).describe()


def test_one_notice_a_kind_counts_the_rows_and_names_the_first(data: Path) -> None:
    for number in (6, 2, 0):
        wav(data, number).unlink()
    replace_row(data, 1, "A-01")
    with pytest.warns(OddDataNotice) as notices:
        facts = module(data).describe()
    lines = [str(notice.message).rpartition("metadata.csv")[2] for notice in notices]
    assert [line.partition(" (")[0] for line in lines] == [
        ":2: a row has not three columns",
        ":1: a recording is missing",
    ]
    assert "3 rows left out" in lines[1]
    assert facts["left_out"] == {"columns": 1, "missing": 3}


def test_a_whole_corpus_says_nothing(data: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = module(data, strict=True).describe()
    assert facts["left_out"] == {}


def test_what_lies_behind_the_splits_is_not_looked_at(data: Path) -> None:
    replace_row(data, 7, "broken")
    wav(data, 6).unlink()
    assert module(data, splits=(3, 2, 1), strict=True).describe()["sizes"] == {"train": 3, "val": 2, "test": 1}


def test_splits_that_cannot_be_filled(data: Path) -> None:
    with pytest.raises(
        DataError, match=r"metadata\.csv: 8 rows are too few for data\.splits=\[7, 1, 1\], which ask for 9"
    ):
        module(data, splits=(7, 1, 1)).describe()
    for number in (4, 5):
        wav(data, number).unlink()
    with pytest.raises(DataError, match=r"no usable row for val; .*:5: a recording is missing .*2 rows left out"):
        module(data).describe()
    replace_row(data, 0, "A-00|two")  # another split's
    with pytest.raises(DataError, match=r"no usable row for val; .*:5: a recording is missing"):
        module(data).describe()
    for corpus in ("../spoken", "", ".", ".."):
        with pytest.raises(ValueError, match="name of a folder"):
            module(data, corpus=corpus)


def test_a_transcript_of_which_cutting_leaves_nothing_is_empty(data: Path) -> None:
    replace_row(data, 4, "A-04|x|     five")
    assert rows_of(module(data, max_characters=6))["val"] == [4, 5]
    with pytest.warns(OddDataNotice, match=r"metadata\.csv:5: a transcript is empty \(A-04, as cut\)"):
        assert rows_of(module(data, max_characters=5))["val"] == [5]
    with pytest.raises(DataError, match=r"metadata\.csv:5: a transcript is empty"):
        module(data, max_characters=5, strict=True).describe()


def test_metadata_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_bytes("\ufeffA|x|one\u2028 line\r\nB|y|two\r\n\r\n".encode())
    rows, faults = read_metadata(path)
    assert rows == [Row(0, "A", "one\u2028 line", "A|x|one\u2028 line"), Row(1, "B", "two", "B|y|two")]
    assert not faults


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, r"no such file; .* fetch ljspeech"), (b"\n\n", "no rows")],
)
def test_metadata_that_cannot_be_read(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_metadata(tmp_path / "metadata.csv")


def test_only_the_whole_published_split_of_the_registered_file_is_verified(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = data / "spoken" / "metadata.csv"
    registered = File("ljspeech/metadata.csv", metadata.stat().st_size, digest(metadata))
    monkeypatch.setitem(REGISTRY, "ljspeech", replace(REGISTRY["ljspeech"], files=(registered,)))

    def provenance(splits: tuple[int, ...] = SPLITS) -> str:
        return str(module(data, splits=splits).describe()["provenance"])

    assert provenance() == "user copy"  # not the published numbers of rows
    monkeypatch.setattr(speech_datamodule, "PUBLISHED", SPLITS)
    assert provenance() == "user copy"  # noise of other lengths than the published recordings
    lengths = [2205 + 160 * number for number in range(len(TEXTS))]
    monkeypatch.setattr(speech_datamodule, "LENGTHS", (1, round(lengths[0] / RATE, 2), round(lengths[-1] / RATE, 2)))
    assert provenance() == "verified"
    assert provenance((3, 3, 2)) == "user copy"
    (data / "spoken" / "stand-in.json").write_text("{}")
    assert provenance() == "stand-in"
    (data / "spoken" / "stand-in.json").unlink()
    with metadata.open("a") as file:
        file.write("\n")
    assert provenance() == "user copy"
    metadata.write_text(metadata.read_text().rstrip() + "\n")
    assert provenance() == "verified"
    wav(data, 7).unlink()
    with pytest.warns(OddDataNotice):
        assert provenance() == "user copy"


def test_recordings_must_be_as_long_as_the_published_ones() -> None:
    middle = (86_117 - 1.11 - 10.1) / 13_098
    published = [round(seconds * RATE) for seconds in [1.11, 10.1, *[middle] * 13_098]]
    assert have_published_lengths(published)
    assert have_published_lengths([24_477, 222_621, *published[2:]])  # 1.11007 s, 10.09619 s
    for others in (
        [RATE, *published[1:]],  # the shortest, 1 s
        [published[0], 11 * RATE, *published[2:]],  # the longest, 11 s
        [*published[:2], *(samples + 3 for samples in published[2:])],  # 1.8 s more in all
        [*published[:2], *(samples - 3 for samples in published[2:])],
    ):
        assert not have_published_lengths(others)


# --- the cache -------------------------------------------------------------------------------------------------------


def test_features_are_those_of_the_recording_wherever_they_come_from(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = module(data, jobs=2)
    assert fresh.describe()["fingerprint"]
    monkeypatch.setattr(recordings, "_read", lambda path: pytest.fail(f"{path} was read again"))
    kept = module(data)
    assert kept.describe() == fresh.describe()
    for split in ("train", "val", "test"):
        for position, utterance in enumerate(kept.utterances(split)):
            row = utterance.recording.row
            expected = log_mel(torch.from_numpy(sound(row, 2205 + 160 * row) / np.float32(32768)))
            torch.testing.assert_close(kept.features(split, position), expected)


def test_a_changed_recording_of_the_same_size_and_time_is_read_again(data: Path) -> None:
    before = module(data).describe()["fingerprint"]
    status = wav(data, 2).stat()
    soundfile.write(wav(data, 2), sound(99, 2205 + 320), RATE)
    os.utime(wav(data, 2), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (wav(data, 2).stat().st_size, wav(data, 2).stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert module(data).describe()["fingerprint"] != before


def test_the_same_recordings_at_another_time_or_place_are_not_read_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = module(data).describe()["fingerprint"]
    os.utime(wav(data, 2))
    (data / "spoken").rename(data / "moved")
    monkeypatch.setattr(recordings, "_read", lambda path: pytest.fail(f"{path} was read again"))
    assert module(data, corpus="moved").describe()["fingerprint"] == before


def test_a_recording_that_changes_while_others_are_read_is_not_kept(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = recordings._read

    def read_and_change(path: Path) -> Any:
        samples = read(path)
        soundfile.write(path, sound(99, len(samples)), RATE)
        return samples

    with monkeypatch.context() as patched:
        patched.setattr(recordings, "_read", read_and_change)
        with pytest.raises(DataError, match=r"spoken: recordings changed while they were read; try again"):
            module(data).describe()
    assert not list((data.parent / "cache").glob("speech-*[!k]"))


def test_a_copy_has_the_same_fingerprint_and_another_text_or_split_has_not(data: Path) -> None:
    before = module(data).describe()["fingerprint"]
    write_corpus(data / "copy", TEXTS)
    assert module(data, corpus="copy").describe()["fingerprint"] == before
    assert module(data, splits=(3, 3, 2)).describe()["fingerprint"] != before
    assert module(data, max_characters=5).describe()["fingerprint"] != before
    replace_row(data, 0, "A-00|x|another")
    assert module(data).describe()["fingerprint"] != before


def test_what_the_system_cannot_read_is_named_and_not_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def fails(path: Path) -> bytes:
        if path == wav(data, 3):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fails)
        with pytest.raises(DataError, match=r"wavs/A-03\.wav: cannot be read \(Input/output error\)"):
            module(data, jobs=2).describe()
    assert module(data).describe()["left_out"] == {}


def test_a_link_in_circles_is_no_missing_recording(data: Path) -> None:
    wav(data, 3).unlink()
    wav(data, 3).symlink_to(wav(data, 3).name)
    with pytest.raises(DataError, match=r"wavs/A-03\.wav: cannot be read \(Too many levels of symbolic links\)"):
        module(data).describe()


def test_a_recording_that_goes_and_comes_back_is_there_again(data: Path) -> None:
    whole = rows_of(module(data))
    wav(data, 3).rename(data / "elsewhere.wav")
    with pytest.warns(OddDataNotice, match="is missing"):
        assert rows_of(module(data)) == whole | {"train": [0, 1, 2]}
    (data / "elsewhere.wav").rename(wav(data, 3))
    assert rows_of(module(data)) == whole


def test_a_recording_that_goes_while_others_are_read_is_not_kept_as_missing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, look = wav(data, 3).read_bytes(), recordings._look
    times = wav(data, 3).stat()

    def look_and_lose(*arguments: Any) -> Any:
        found = look(*arguments)
        wav(data, 3).unlink()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(recordings, "_look", look_and_lose)
        with pytest.raises(DataError, match=r"A-03\.wav: cannot be read \(No such file or directory\)"):
            module(data).describe()
    wav(data, 3).write_bytes(content)
    os.utime(wav(data, 3), ns=(times.st_atime_ns, times.st_mtime_ns))
    assert module(data).describe()["left_out"] == {}


@pytest.mark.parametrize("file", ["index.json", "features.f32", "hashes.json"])
def test_a_damaged_cache_is_made_anew(data: Path, file: str) -> None:
    before = module(data)
    expected = before.describe(), before.features("test", 1)
    [folder] = (data.parent / "cache").glob("speech-*[!k]")
    for damaged in ((folder / file).read_bytes()[:-5], b"{}"):
        (folder / file).write_bytes(damaged)
        after = module(data)
        assert after.describe() == expected[0]
        assert torch.equal(after.features("test", 1), expected[1])


def test_a_cache_that_cannot_be_used(data: Path) -> None:
    (data.parent / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"the cache cannot be written .*set DLBENCH_CACHE"):
        module(data).describe()
    inside = SpeechDataModule(corpus="spoken", splits=SPLITS, folder=str(data), cache=str(data / "cache"))
    with pytest.raises(DataError, match="may not lie in the data folder"):
        inside.describe()


COMPUTE = """
import sys, time
from pathlib import Path
from dlbench.data import recordings
from dlbench.data.speech_datamodule import SpeechDataModule
data, pause = Path(sys.argv[1]), float(sys.argv[2])
read = recordings._read
def slow(path):
    with open(data.parent / "reads", "a") as file:
        file.write("x")
    time.sleep(pause)
    return read(path)
recordings._read = slow
given = {"corpus": "spoken", "splits": (4, 2, 2), "cache": str(data.parent / "cache"), "jobs": 2}
print(SpeechDataModule(folder=str(data), **given).describe()["fingerprint"])
"""


def compute(data: Path, pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", COMPUTE, str(data), str(pause)], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_of_two_processes_one_computes(data: Path) -> None:
    both = [compute(data, 0.3), compute(data, 0.3)]
    said = [process.communicate()[0].strip() for process in both]
    assert said[0] == said[1] == module(data).describe()["fingerprint"]
    assert len((data.parent / "reads").read_text()) == len(TEXTS)


@pytest.mark.slow
def test_a_killed_computation_leaves_nothing_that_looks_complete(data: Path) -> None:
    process = compute(data, 600)
    while not (data.parent / "reads").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    cache = data.parent / "cache"
    assert not list(cache.glob("speech-*[!k]"))
    assert list(cache.glob(".speech-*.tmp"))
    assert module(data).describe()["sizes"]["train"] == 4
    assert not list(cache.glob(".speech-*.tmp"))


# --- the real one ----------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_the_real_transcripts(real_data_folder: Path) -> None:
    rows, faults = read_metadata(real_data_folder / "ljspeech" / "metadata.csv")
    assert (len(rows), len(faults)) == (13_100, 0) == (sum(PUBLISHED), 0)
    texts = [row.text.lower()[:97] for row in rows]
    assert max(map(len, texts)) == 97
    assert texts[1] == "in being comparatively modern."
