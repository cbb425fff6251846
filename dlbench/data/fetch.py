"""Bring a registered data set into the data folder: whole or not at all, and never over what is there."""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dlbench.data import registry
from dlbench.data.check import State, check_file, is_present
from dlbench.data.registry import DataSet, File
from dlbench.errors import DataError


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
