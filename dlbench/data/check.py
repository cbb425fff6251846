"""Are the files of a data set there, whole, and the registered ones?"""

import gzip
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from dlbench.data import ljspeech
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
