"""What is registered, checking it, and fetching it from a server on this machine."""

import gzip
import hashlib
import http.server
import io
import json
import os
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from dlbench import commands
from dlbench.data import intel_files, ljspeech, registry
from dlbench.data.fetch import State, check, fetch, is_present
from dlbench.data.image_datamodules import IntelDataModule, KmnistDataModule, OctmnistDataModule
from dlbench.data.pair_files import PairFiles
from dlbench.data.registry import REGISTRY, Archive, DataSet, File, Folder
from dlbench.errors import DataError
from dlbench.paths import cache_folder, data_folder, require

PARTS = ("train", "valid", "test")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine and the folder it serves."""
    root = tmp_path / "served"
    root.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root)) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", root
        running.shutdown()
        thread.join()


def data_set(**parts: object) -> DataSet:
    return replace(DataSet("tiny", "Tiny", "A test's own", "none", "none", "ask the test for it"), **parts)  # type: ignore[arg-type]


def served(url: str, root: Path, name: str, content: bytes) -> File:
    (root / name).write_bytes(content)
    return File(f"tiny/{name}", len(content), hashlib.sha256(content).hexdigest(), url=f"{url}/{name}")


# --- the registry ----------------------------------------------------------------------------------------------------


def test_every_entry_is_well_formed() -> None:
    assert len(REGISTRY) == 10
    for name, entry in REGISTRY.items():
        assert name == entry.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert all((entry.title, entry.description, entry.licence, entry.citation, entry.manual))
        assert entry.files or entry.folders
        for file in entry.files:
            assert re.fullmatch(r"[0-9a-f]{64}" if file.algorithm == "sha256" else r"[0-9a-f]{32}", file.known_hash)
            assert not Path(file.path).is_absolute()
            assert file.size is None or file.size > 0
        assert entry.source in ("instead", "archive", "kaggle", "url", "manual")
        assert entry.instead is None or entry.instead in REGISTRY


def test_an_unknown_name_gets_the_nearest() -> None:
    assert registry.get("kmnist").title == "Kuzushiji-MNIST"
    with pytest.raises(DataError, match="kmist: no such data set; did you mean kmnist"):
        registry.get("kmist")
    with pytest.raises(DataError, match="zzz: no such data set; known: cmudict, "):
        registry.get("zzz")


def test_folders_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLBENCH_DATA", raising=False)
    monkeypatch.delenv("DLBENCH_CACHE", raising=False)
    assert data_folder() == Path("data")
    assert require(data_folder()) == Path("data")
    assert cache_folder().name == "dlbench"
    monkeypatch.setenv("DLBENCH_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("DLBENCH_CACHE", str(tmp_path / "c"))
    assert (data_folder(), cache_folder()) == (tmp_path / "d", tmp_path / "c")
    assert data_folder("given") == Path.cwd() / "given"
    with pytest.raises(DataError, match="d: no such data folder; correct the path or DLBENCH_DATA"):
        require(data_folder())
    assert require(data_folder(tmp_path)) == tmp_path


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_tells_states_apart(tmp_path: Path) -> None:
    text, packed = b"twelve bytes", gzip.compress(b"content" * 99)
    entry = data_set(
        files=(
            File("tiny/a.txt", len(text), hashlib.sha256(text).hexdigest(), also=(".",)),
            File("tiny/b.gz", len(packed), md5=hashlib.md5(packed).hexdigest()),
        ),
        folders=(Folder("tiny/wavs", "*.wav", 2),),
    )

    def states() -> list[State]:
        return [finding.state for finding in check(entry, tmp_path)]

    assert states() == [State.MISSING] * 3
    assert is_present(entry, tmp_path) == [False] * 3
    (tmp_path / "tiny" / "wavs").mkdir(parents=True)
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "tiny" / "b.gz").write_bytes(packed)
    assert states() == [State.OK, State.OK, State.BROKEN]
    (tmp_path / "tiny" / "a.txt").write_bytes(text[:-1])
    (tmp_path / "tiny" / "b.gz").write_bytes(packed[:-9])
    (tmp_path / "tiny" / "wavs" / "1.wav").touch()
    assert states() == [State.TRUNCATED, State.TRUNCATED, State.ALTERED]
    (tmp_path / "tiny" / "a.txt").write_bytes(text.upper())
    (tmp_path / "tiny" / "b.gz").write_bytes(gzip.compress(b"x"))
    (tmp_path / "tiny" / "wavs" / "2.wav").touch()
    assert states() == [State.ALTERED, State.ALTERED, State.OK]
    (tmp_path / "tiny" / "b.gz").write_bytes(packed[:20] + b"0123456789" + packed[30:])
    assert states()[1] is State.BROKEN
    (tmp_path / "tiny" / "a.txt").write_bytes(b"")
    assert states()[0] is State.TRUNCATED


def test_check_loads_the_intel_pictures(tmp_path: Path) -> None:
    (tmp_path / "intel").mkdir()
    npz = tmp_path / "intel" / "intel_landscapes.npz"
    npz.write_bytes(b"PK\3\4 half a file")
    (finding,) = check(registry.get("intel"), tmp_path)
    assert finding.state is State.TRUNCATED
    assert "truncated or altered" in finding.note
    base = tmp_path / "intel_folder"
    for split in intel_files.SPLITS:
        for name in intel_files.CLASSES:
            (base / split / name).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(base / split / name / "1.jpg")
    (base / "seg_test" / "sea" / "1.jpg").write_bytes(b"no picture")
    train, test = check(registry.get("intel_folder"), tmp_path)
    assert (train.state, train.note) == (State.ALTERED, "6 of 14034 pictures")
    assert test.state is State.BROKEN
    assert "seg_test/sea/1.jpg" in test.note


@pytest.mark.parametrize("kind", ["pipe", "loop", "folder", "dangling"])
def test_what_is_no_file_is_named(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    make: dict[str, Callable[[Path], object]] = {
        "pipe": os.mkfifo,
        "loop": lambda path: path.symlink_to(path.name),
        "folder": Path.mkdir,
        "dangling": lambda path: path.symlink_to("nowhere"),
    }
    modules = {
        "kmnist": KmnistDataModule(folder=str(tmp_path)),
        "octmnist": OctmnistDataModule(folder=str(tmp_path)),
        "intel": IntelDataModule(folder=str(tmp_path)),
    }
    readers: dict[str, Callable[[], object]] = {name: module.describe for name, module in modules.items()}
    readers["p2g"] = lambda: PairFiles("phonemes_word", *(f"p2g/{part}.tsv" for part in PARTS)).read(tmp_path)
    readers["ljspeech"] = lambda: ljspeech.read_metadata(tmp_path / "ljspeech/metadata.csv")
    for name, entry in REGISTRY.items():
        for file in entry.files:
            (tmp_path / file.path).parent.mkdir(exist_ok=True)
            make[kind](tmp_path / file.path)
        found = [finding for finding in check(entry, tmp_path) if finding.path in [file.path for file in entry.files]]
        assert [finding.state for finding in found] == [State.BROKEN] * len(entry.files)
        if name in readers:
            with pytest.raises(DataError, match=f"{entry.files[0].path}: ") as caught:
                readers[name]()
            assert "\n" not in str(caught.value)
    assert commands.call("data", ["list", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["list", "check"])
def test_folders_of_odd_names_and_in_circles_end_in_one_line(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert commands.call("data", [command, "--folder", str(tmp_path / "loop")]) == 1
    assert re.fullmatch("dlbench: .*loop: no such data folder; .*\n", capsys.readouterr().err)
    odd = tmp_path / os.fsdecode(b"\xff")
    (odd / "kmnist" / os.fsdecode(b"\xfe")).mkdir(parents=True)
    assert commands.call("data", [command, "--folder", str(odd)]) == 0
    assert r"found kmnist/\udcfe" in capsys.readouterr().out


# --- fetch -----------------------------------------------------------------------------------------------------------


def test_files_are_fetched_once_and_never_overwritten(server: tuple[str, Path], tmp_path: Path) -> None:
    url, root = server
    entry = data_set(files=(served(url, root, "a.txt", b"a"), served(url, root, "b.txt", b"bb")))
    data = tmp_path / "data"
    assert fetch(entry, data) == [data / "tiny"]
    assert {file.name: file.read_bytes() for file in (data / "tiny").iterdir()} == {"a.txt": b"a", "b.txt": b"bb"}
    (root / "a.txt").unlink(), (root / "b.txt").unlink()
    assert fetch(entry, data) == []
    (data / "tiny" / "b.txt").unlink()
    served(url, root, "b.txt", b"bb")
    before = (data / "tiny" / "a.txt").stat()
    assert fetch(entry, data) == [data / "tiny" / "b.txt"]
    assert (data / "tiny" / "a.txt").stat().st_mtime_ns == before.st_mtime_ns
    (data / "tiny" / "a.txt").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"tiny/a.txt: user copy, not the registered file; move it away"):
        fetch(entry, data)
    assert (data / "tiny" / "a.txt").read_bytes() == b"mine"
    assert [path.name for path in data.iterdir()] == ["tiny"]


@pytest.mark.parametrize("trouble", ["wrong", "gone", "half"])
def test_a_failed_fetch_leaves_nothing(server: tuple[str, Path], tmp_path: Path, trouble: str) -> None:
    url, root = server
    entry = data_set(files=(served(url, root, "a.txt", b"good"), served(url, root, "b.txt", b"good too")))
    if trouble == "gone":
        (root / "b.txt").unlink()
    else:
        (root / "b.txt").write_bytes(b"bad" if trouble == "wrong" else b"good")
    with pytest.raises(
        DataError, match=r"tiny cannot be fetched from http.*/b.txt \(.*by hand: ask the test"
    ) as caught:
        fetch(entry, tmp_path / "data")
    assert ("404" if trouble == "gone" else "its hash is not the registered one") in str(caught.value)
    assert "put it into" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []


def test_no_server_and_no_folder(tmp_path: Path) -> None:
    entry = data_set(files=(File("tiny/a", 1, "0" * 64, url="http://127.0.0.1:9/a"),))
    with pytest.raises(DataError, match=r"tiny cannot be fetched from http://127.0.0.1:9/a \(ConnectionError\)"):
        fetch(entry, tmp_path / "data")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file.*cannot be written .*; choose another data folder"):
        fetch(entry, tmp_path / "file" / "data")
    with pytest.raises(DataError, match=r"tiny cannot be fetched: ask the test for it; put it into .* as tiny/a$"):
        fetch(data_set(files=(File("tiny/a", 1, "0" * 64),)), tmp_path / "data")


def test_an_archive_is_unpacked(server: tuple[str, Path], tmp_path: Path) -> None:
    url, root = server
    with tarfile.open(root / "tiny-1.tar.bz2", "w:bz2") as tar:
        for name, content in {"meta.csv": b"m", "wavs/1.wav": b"w"}.items():
            info = tarfile.TarInfo(f"tiny-1/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    packed = (root / "tiny-1.tar.bz2").read_bytes()
    source = f"{url}/tiny-1.tar.bz2"
    archive = Archive(source, len(packed), hashlib.sha256(packed).hexdigest(), "tiny-1", "tiny")
    meta = File("tiny/meta.csv", 1, hashlib.sha256(b"m").hexdigest())
    entry = data_set(files=(meta,), folders=(Folder("tiny/wavs", "*.wav", 1),), archive=archive)
    data = tmp_path / "data"
    with pytest.raises(DataError, match="hash"):
        fetch(replace(entry, archive=replace(archive, sha256="0" * 64)), data)
    assert list(data.iterdir()) == []
    assert fetch(entry, data) == [data / "tiny"]
    assert {finding.state for finding in check(entry, data)} == {State.OK}
    (data / "tiny" / "wavs" / "1.wav").unlink()
    (data / "tiny" / "wavs").rmdir()
    assert fetch(entry, data) == [data / "tiny" / "wavs"]
    assert [path.name for path in data.iterdir()] == ["tiny"]


def test_kaggle_folders_are_laid_out_officially(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kagglehub finds a version in its own cache, so nothing goes over the network."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))
    version = tmp_path / "hub" / "datasets" / "someone" / "tiny" / "versions" / "1"
    for split in ("seg_train", "seg_test"):
        (version / split / split / "sea").mkdir(parents=True)
        (version / split / split / "sea" / "1.jpg").write_bytes(b"picture")
    (version.parent.parent / "1.complete").touch()
    entry = data_set(
        folders=tuple(Folder(f"tiny/{split}", "*/*.jpg", 1) for split in ("seg_train", "seg_test")),
        kaggle="someone/tiny/versions/1",
    )
    data = tmp_path / "data"
    assert fetch(entry, data) == [data / "tiny"]
    assert (data / "tiny" / "seg_test" / "sea" / "1.jpg").read_bytes() == b"picture"
    assert {finding.state for finding in check(entry, data)} == {State.OK}
    assert fetch(entry, data) == []


def test_without_kaggle_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")  # nobody answers there
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))
    assert commands.call("data", ["fetch", "intel", "--folder", str(tmp_path / "data")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("dlbench: intel_folder cannot be fetched from kaggle.com/datasets/puneet6060/")
    assert "by hand: download https://www.kaggle.com/datasets/puneet6060/intel-image-classification" in error
    assert list((tmp_path / "data").iterdir()) == []


# --- the command -----------------------------------------------------------------------------------------------------


def test_list_shows_every_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cmudict").mkdir()
    (tmp_path / "cmudict" / "LICENSE").write_text("terms")
    assert commands.call("data", ["list", "--folder", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in REGISTRY)
    lines = {cells[0]: line for line in table.splitlines() if (cells := line.split())}
    assert (" Kaggle " in lines["intel"], " by hand " in lines["p2g"], " download " in lines["kmnist"]) == (
        True,
        True,
        True,
    )
    assert "data fetch NAME" in lines["download,"]
    assert commands.call("data", ["list", "--folder", str(tmp_path), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["cmudict"]["present"] == "1 of 2"
    assert rows["intel"]["bytes"] == 102_496_189


def test_check_exits_with_1_when_something_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.call("data", ["check", "--folder", str(tmp_path)]) == 0
    (tmp_path / "cmudict").mkdir()
    (tmp_path / "cmudict" / "LICENSE").write_text("half")
    capsys.readouterr()
    assert commands.call("data", ["check", "cmudict", "--folder", str(tmp_path), "--json"]) == 1
    states = {row["path"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert states == {"cmudict/cmudict.dict": "missing", "cmudict/LICENSE": "truncated"}


@pytest.mark.parametrize("command", ["check", "fetch"])
def test_wrong_names_and_folders_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert commands.call("data", [command, "wikiprom", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "dlbench: wikiprom: no such data set; did you mean wikipron?\n"
    assert commands.call("data", ["check", "--folder", str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such data folder; correct the path" in capsys.readouterr().err
    assert commands.call("data", [command, "--colour"]) == 2


@pytest.mark.real_data
def test_the_real_data_is_as_registered(real_data_folder: Path) -> None:
    for name, entry in REGISTRY.items():
        if name != "intel_folder":
            assert {finding.state for finding in check(entry, real_data_folder)} <= {State.OK, State.MISSING}, name
