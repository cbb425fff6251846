"""Are a data set's files there and right, and how to bring them into the data folder."""

import gzip
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

from dlbench.data import image_files, intel_files, ljspeech, registry
from dlbench.data.registry import DataSet, File, Folder
from dlbench.errors import DataError
from dlbench.files import digest


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


def _place(data_set: DataSet, part: File | Folder, folder: Path) -> Path | None:
    """Where a part of a set lies below the data folder; None if it is not there.

    Raises:
        DataError: There are several, and nothing says which is meant.
    """
    if data_set.name == "intel":  # whatever an npz in its folder is called
        return intel_files.find_npz(folder)
    if isinstance(part, File):
        return part.find(folder)
    path = folder / part.path
    if data_set.name == "intel_folder" and (base := intel_files.find_folder(folder)):
        path = intel_files.split_folder(base, path.name)
    return path if path.is_dir() else None


def is_present(data_set: DataSet, folder: Path) -> list[bool]:
    """For every registered file, then every folder, whether it exists; contents are not looked at."""
    try:
        return [_place(data_set, part, folder) is not None for part in data_set.parts]
    except DataError:  # several are
        return [True] * len(data_set.parts)


def is_stand_in(data_set: DataSet, folder: Path) -> bool:
    """Whether what lies in a data set's folder was made in its place (`dlbench.data.ljspeech`) and says so."""
    return (folder / data_set.name / ljspeech.STAND_IN).exists()


def check(data_set: DataSet, folder: Path) -> Iterator[Finding]:
    """Examine every part of a data set below ``folder``; reads all files, and loads all pictures.

    A file of other content is a user copy as long as it is whole: archives must unpack, pictures and their labels must
    load and fit each other, other files must be no shorter than registered. Nothing in a stand-in's folder is ok or a
    copy, whatever its content.
    """
    stand_in = is_stand_in(data_set, folder)
    for part in data_set.parts:
        finding = _check(data_set, part, folder)
        is_there = finding.state not in (State.MISSING, State.BROKEN)
        yield replace(finding, state=State.STAND_IN) if stand_in and is_there else finding


def _check(data_set: DataSet, part: File | Folder, folder: Path) -> Finding:
    try:
        path = _place(data_set, part, folder)
    except DataError as error:
        return Finding(part.path, State.BROKEN, str(error))
    if path is None:
        is_plain = not part.also and not data_set.similar(folder)
        return Finding(part.path, State.MISSING, "" if is_plain else data_set.absence(folder, part))
    if isinstance(part, File):
        return _check_file(data_set, part, path, folder)
    name, odd, of = part.path, None, "files"
    if data_set.name == "intel_folder" and (base := intel_files.find_folder(folder)):
        split, name, of = Path(part.path).name, path.relative_to(folder).as_posix(), "pictures"
        try:
            folders = intel_files.folders(base)
            count, odd = len(folders.read(split)), folders.left_out(split)
        except DataError as error:
            return Finding(name, State.BROKEN, str(error))
    else:
        count = sum(1 for _ in path.glob(part.pattern))
    state = State.OK if count == part.count else State.ALTERED if count else State.BROKEN
    return Finding(name, state, f"{count} of {part.count} {of}" + (f"; {odd}" if odd else ""))


def _check_file(data_set: DataSet, file: File, path: Path, folder: Path) -> Finding:
    """Hash a file, and load pictures, or unpack another gzip file of unknown content."""
    loaders: dict[str, Callable[[Path], object]] = {
        "intel": intel_files.load_npz,
        "kmnist": partial(image_files.check_kmnist, folder=folder),
        "octmnist": image_files.load_octmnist,
    }
    load, name = loaders.get(data_set.name), path.relative_to(folder).as_posix()
    try:
        found, size = digest(path, file.algorithm), path.stat().st_size
    except OSError as error:
        return Finding(name, State.BROKEN, f"cannot be read ({error.strerror})")
    is_short = size == 0 or (file.size is not None and size < file.size)
    note = f"{size} bytes, {file.algorithm} {found}"
    try:
        if load:
            load(path)
        elif path.suffix == ".gz" and not file.has(found):
            with gzip.open(path) as packed:  # to its end, where its checksum is
                while packed.read(1 << 20):
                    pass
    except Exception as error:  # gzip and zlib meet damaged bytes with many kinds
        reason = str(error) if isinstance(error, DataError) else f"does not unpack; {note}"
        return Finding(name, State.TRUNCATED if is_short else State.BROKEN, reason)
    if file.has(found):
        return Finding(name, State.OK, "" if found == file.known_hash else "unpacked")
    if is_short and not load and path.suffix != ".gz":
        return Finding(name, State.TRUNCATED, f"{note}, expected {file.size} bytes")
    return Finding(name, State.ALTERED, note)


def fetch(data_set: DataSet, folder: Path, progress: bool = False) -> list[Path]:
    """Download what is missing of a data set below ``folder`` and return the new files and folders.

    Downloads go to a hidden folder beside the target, are checked, and are renamed into place last: an interrupted
    fetch leaves nothing that looks finished.

    Raises:
        DataError: a file that is there is not the registered one (it is left as it is); the set can only be had by
            hand; the source cannot be reached, refuses, or sends something else; or the folder cannot be written.
    """
    for file in data_set.files:
        if path := file.find(folder):
            finding = _check_file(data_set, file, path, folder)
            if finding.state != State.OK:
                text = f"{folder / finding.path}: {finding.state}, not the registered file"
                raise DataError(f"{text}; move it away first to fetch {data_set.name} again")
    if all(is_present(data_set, folder)):
        return []
    if data_set.instead:
        return fetch(registry.get(data_set.instead), folder, progress)
    if data_set.source == "manual":
        raise DataError(f"{data_set.name} cannot be fetched: {_by_hand(data_set, folder)}")
    get = {"archive": _from_archive, "kaggle": _from_kaggle, "url": _from_urls}[data_set.source]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".fetch-{data_set.name}-", dir=folder) as staging:
            get(data_set, folder, Path(staging), progress)
            return list(_install(Path(staging), folder))
    except OSError as error:
        text = f"{error.filename or folder}: cannot be written ({error.strerror})"
        raise DataError(f"{text}; choose another data folder with --folder or DLBENCH_DATA") from error


def _by_hand(data_set: DataSet, folder: Path) -> str:
    """A clause that says where people get a data set and where they put it."""
    places = ", ".join(part.path for part in data_set.parts)
    return f"{data_set.manual}; put it into {folder} as {places}"


def _from_urls(data_set: DataSet, folder: Path, staging: Path, progress: bool) -> None:
    for file in data_set.files:
        if file.find(folder) is None:
            with _explained(data_set, folder, file.url):
                _download(file.url, file.algorithm, file.known_hash, staging / file.path, progress)


def _from_archive(data_set: DataSet, folder: Path, staging: Path, progress: bool) -> None:
    archive = data_set.archive
    assert archive is not None
    packed, unpacked = staging / ".archive", staging / ".unpacked"
    with _explained(data_set, folder, archive.url):
        _download(archive.url, "sha256", archive.sha256, packed, progress)
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

    def link_or_copy(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    assert data_set.kaggle is not None
    with _explained(data_set, folder, f"kaggle.com/datasets/{data_set.kaggle}"):
        source = Path(kagglehub.dataset_download(data_set.kaggle))
        for part in data_set.folders:
            found = intel_files.split_folder(source, Path(part.path).name)
            shutil.copytree(found, staging / part.path, copy_function=link_or_copy)


def _download(url: str | None, algorithm: str, known_hash: str, target: Path, progress: bool) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=30)
    pooch.retrieve(url, f"{algorithm}:{known_hash}", fname=target.name, path=target.parent, downloader=downloader)


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
        said = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {said}" if 0 < len(said) <= 100 else type(error).__name__
        if isinstance(error, ValueError) and "hash" in said.lower():
            reason = "its hash is not the registered one"
        text = f"{data_set.name} cannot be fetched from {source} ({reason})"
        raise DataError(f"{text}; try again later, or by hand: {_by_hand(data_set, folder)}") from error


def _install(staging: Path, target: Path) -> Iterator[Path]:
    """Rename what is staged into place, whole folders at once where nothing is there yet; skip what exists."""
    for entry in sorted(staging.iterdir()):
        place = target / entry.name
        if not place.exists():
            entry.rename(place)
            yield place
        elif entry.is_dir() and place.is_dir():
            yield from _install(entry, place)
