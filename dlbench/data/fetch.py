"""Are a data set's files there and right, and how to bring them into the data folder."""

import gzip
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from dlbench.data import ljspeech, registry
from dlbench.data.registry import DataSet, File, Folder, locate
from dlbench.errors import DataError
from dlbench.files import digest

Trial = Callable[[Path], object]


class State(StrEnum):
    """What became of a file or folder."""

    OK = "ok"
    ALTERED = "user copy"
    STAND_IN = "stand-in"
    TRUNCATED = "truncated"
    BROKEN = "broken"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """The state of one registered path, with a remark where there is something to say."""

    path: str
    state: State
    note: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether something is there that cannot be used."""
        return self.state in (State.TRUNCATED, State.BROKEN)


def is_present(data_set: DataSet, folder: Path) -> list[bool]:
    """For every registered file, then every folder, whether it exists; contents are not looked at."""
    files = [locate(file, folder) is not None for file in data_set.files]
    if data_set.name == "intel_folder":
        return files + _intel_splits(folder)
    return files + [(folder / part.path).is_dir() for part in data_set.folders]


def is_stand_in(data_set: DataSet, folder: Path) -> bool:
    """Whether what lies in a data set's folder was made in its place (`dlbench.data.espeak`) and says so."""
    return (folder / data_set.name / ljspeech.STAND_IN).exists()


def check(data_set: DataSet, folder: Path) -> Iterator[Finding]:
    """Examine every part of a data set below ``folder``; reads all files, and loads all pictures.

    A file of other content is a user copy as long as it is whole: archives must unpack, pictures and their labels must
    load and fit each other, other files must be no shorter than registered. Nothing in a stand-in's folder is ok or a
    copy, whatever its content.
    """
    stand_in = is_stand_in(data_set, folder)
    for finding in _check(data_set, folder):
        is_there = finding.state not in (State.MISSING, State.BROKEN)
        yield replace(finding, state=State.STAND_IN) if stand_in and is_there else finding


def _check(data_set: DataSet, folder: Path) -> Iterator[Finding]:
    if data_set.name == "intel_folder":
        yield from _check_intel_folder(data_set, folder)
        return
    for file in data_set.files:
        yield _check_intel_npz(file, folder) if data_set.name == "intel" else check_file(file, folder, _trial(data_set))
    for part in data_set.folders:
        yield check_folder(part, folder)


def check_file(file: File, folder: Path, trial: Trial | None = None) -> Finding:
    """Hash one file and put it to a trial, which raises for one that cannot be used; by default it is unpacked."""
    path = locate(file, folder)
    return Finding(file.path, State.MISSING) if path is None else _examine(file, path, folder, trial or _unpack)


def check_folder(part: Folder, folder: Path) -> Finding:
    """Count the files of a registered folder."""
    path = folder / part.path
    if not path.is_dir():
        return Finding(part.path, State.MISSING)
    count = sum(1 for _ in path.glob(part.pattern))
    note = f"{count} of {part.count} files"
    return Finding(part.path, State.OK if count == part.count else State.ALTERED if count else State.BROKEN, note)


def _examine(file: File, path: Path, folder: Path, trial: Trial) -> Finding:
    name = path.relative_to(folder).as_posix()
    try:
        found, size = digest(path, file.algorithm), path.stat().st_size
    except OSError as error:
        return Finding(name, State.BROKEN, f"cannot be read ({error.strerror})")
    short = size == 0 or (file.size is not None and size < file.size)
    note = f"{size} bytes, {file.algorithm} {found}"
    is_known = found == file.known_hash
    if not is_known or trial is not _unpack:
        try:
            trial(path)
        except Exception as error:  # gzip, zipfile and zlib meet damaged bytes with many kinds
            reason = str(error) if isinstance(error, DataError) else f"does not unpack; {note}"
            return Finding(name, State.TRUNCATED if short else State.BROKEN, reason)
    if is_known:
        return Finding(name, State.OK)
    if short and trial is _unpack and path.suffix not in _ARCHIVES:
        return Finding(name, State.TRUNCATED, f"{note}, expected {file.size} bytes")
    return Finding(name, State.ALTERED, note)


_ARCHIVES = (".gz", ".npz")


def _unpack(path: Path) -> None:
    """Read a gzip or npz file to its end, checking its checksums; other files are taken as they are."""
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            if (bad := archive.testzip()) is not None:
                raise ValueError(bad)


def _trial(data_set: DataSet) -> Trial | None:
    """How files of pictures are loaded."""
    if data_set.name == "kmnist":
        from dlbench.data import kmnist_files

        return kmnist_files.check
    if data_set.name == "octmnist":
        from dlbench.data import octmnist_files

        return octmnist_files.load_npz
    return None


def _check_intel_npz(file: File, folder: Path) -> Finding:
    from dlbench.data import intel_files

    try:
        found = intel_files.find(folder)
    except DataError as error:
        return Finding(file.path, State.BROKEN, str(error))
    if found is None or found[0] != "npz":
        return Finding(file.path, State.MISSING)
    return _examine(file, found[1], folder, intel_files.load_npz)


def _intel_splits(folder: Path) -> list[bool]:
    from dlbench.data import intel_files

    base = intel_files.find_folder(folder)
    return [base is not None and intel_files.split_folder(base, name).is_dir() for name in intel_files.SPLITS]


def _check_intel_folder(data_set: DataSet, folder: Path) -> Iterator[Finding]:
    from dlbench.data import intel_files

    base = intel_files.find_folder(folder)
    for part, name in zip(data_set.folders, intel_files.SPLITS, strict=True):
        path = None if base is None else intel_files.split_folder(base, name)
        if base is None or path is None or not path.is_dir():
            yield Finding(part.path, State.MISSING)
            continue
        shown = path.relative_to(folder).as_posix()
        try:
            count = len(intel_files.read_split(base, name).labels)
        except DataError as error:
            yield Finding(shown, State.BROKEN, str(error))
            continue
        odd = intel_files.left_out(base, name)
        note = f"{count} of {part.count} pictures" + (f"; {odd}" if odd else "")
        yield Finding(shown, State.OK if count == part.count else State.ALTERED, note)


def fetch(data_set: DataSet, folder: Path, progress: bool = False) -> list[Path]:
    """Download what is missing of a data set below ``folder`` and return the new files and folders.

    Downloads go to a hidden folder beside the target, are checked, and are renamed into place last: an interrupted
    fetch leaves nothing that looks finished.

    Raises:
        DataError: a file that is there is not the registered one (it is left as it is); the set can only be had by
            hand; the source cannot be reached, refuses, or sends something else; or the folder cannot be written.
    """
    states = [check_file(file, folder) for file in data_set.files]
    for finding in states:
        if finding.state not in (State.OK, State.MISSING):
            text = f"{folder / finding.path}: {finding.state}, not the registered file"
            raise DataError(f"{text}; move it away first to fetch {data_set.name} again")
    if all(is_present(data_set, folder)):
        return []
    if data_set.instead:
        return fetch(registry.get(data_set.instead), folder, progress)
    ways: dict[str, Callable[[DataSet, Path, Path, bool], None]] = {
        "archive": _from_archive,
        "kaggle": _from_kaggle,
        "url": _from_urls,
    }
    if data_set.source not in ways:
        raise DataError(f"{data_set.name} cannot be fetched: {by_hand(data_set, folder)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".fetch-{data_set.name}-", dir=folder) as staging:
            ways[data_set.source](data_set, folder, Path(staging), progress)
            return list(_install(Path(staging), folder))
    except OSError as error:
        text = f"{error.filename or folder}: cannot be written ({error.strerror})"
        raise DataError(f"{text}; choose another data folder with --folder or DLBENCH_DATA") from error


def by_hand(data_set: DataSet, folder: Path) -> str:
    """A clause that says where people get a data set and where they put it."""
    places = [file.path for file in data_set.files] + [part.path for part in data_set.folders]
    return f"{data_set.manual}; put it into {folder} as {', '.join(places)}"


def _from_urls(data_set: DataSet, folder: Path, staging: Path, progress: bool) -> None:
    for file in data_set.files:
        if check_file(file, folder).state is State.MISSING:
            with _explained(data_set, folder, file.url):
                _download(file, staging / file.path, progress)


def _from_archive(data_set: DataSet, folder: Path, staging: Path, progress: bool) -> None:
    archive = data_set.archive
    assert archive is not None
    packed, unpacked = staging / ".archive", staging / ".unpacked"
    with _explained(data_set, folder, archive.url):
        _download(File(".archive", archive.size, archive.sha256, url=archive.url), packed, progress)
        with tarfile.open(packed) as tar:
            tar.extractall(unpacked, filter="data")
        target = staging / archive.target
        target.parent.mkdir(parents=True, exist_ok=True)
        (unpacked / archive.root).rename(target)
    packed.unlink()
    shutil.rmtree(unpacked)


def _from_kaggle(data_set: DataSet, folder: Path, staging: Path, progress: bool) -> None:
    """Kaggle's archive, linked or copied in the official layout (each part's folder, un-nested)."""
    if not progress:
        os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
    import kagglehub

    assert data_set.kaggle is not None
    with _explained(data_set, folder, f"kaggle.com/datasets/{data_set.kaggle}"):
        source = Path(kagglehub.dataset_download(data_set.kaggle))
        for part in data_set.folders:
            name = Path(part.path).name
            nested = source / name / name
            found = nested if nested.is_dir() else source / name
            shutil.copytree(found, staging / part.path, copy_function=_link_or_copy)


def _download(file: File, target: Path, progress: bool) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    known = f"{file.algorithm}:{file.known_hash}"
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=30)
    pooch.retrieve(file.url, known, fname=target.name, path=target.parent, downloader=downloader)


@contextmanager
def _explained(data_set: DataSet, folder: Path, source: str | None) -> Iterator[None]:
    """Turn whatever a download can end with into one line with the remedy.

    The libraries raise errors of many families (requests', kagglehub's own, tarfile's, plain OSError and ValueError),
    so all are caught here, except those of a folder that cannot be written.
    """
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:
        reason = "its hash is not the registered one" if _is_wrong_hash(error) else _short(error)
        text = f"{data_set.name} cannot be fetched from {source} ({reason})"
        raise DataError(f"{text}; try again later, or by hand: {by_hand(data_set, folder)}") from error


def _is_wrong_hash(error: Exception) -> bool:
    return isinstance(error, ValueError) and "hash" in str(error).lower()


def _short(error: Exception) -> str:
    """The kind of an error, with its text where that is short enough for a line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if 0 < len(text) <= 100 else type(error).__name__


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _install(staging: Path, target: Path) -> Iterator[Path]:
    """Rename what is staged into place, whole folders at once where nothing is there yet; skip what exists."""
    for entry in sorted(staging.iterdir()):
        place = target / entry.name
        if not place.exists():
            entry.rename(place)
            yield place
        elif entry.is_dir() and place.is_dir():
            yield from _install(entry, place)
