"""Folders: those that a person names, made absolute once, and where the suite's own files lie."""

import os
import shlex
import sys
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path

from dlbench.errors import DataError


def started_in() -> Path:
    """The folder that the command was started in, also where Hydra moved its job to another (``hydra.job.chdir``)."""
    hydra = sys.modules.get("hydra.core.hydra_config")  # not imported: then it has moved nothing
    return Path(hydra.HydraConfig.get().runtime.cwd) if hydra and hydra.HydraConfig.initialized() else Path.cwd()


def folder(name: str | Path) -> Path:
    """A named folder or file as an absolute path.

    Raises:
        DataError: It begins with ``~``, and nobody knows which folder that is.
    """
    try:
        # Not Path.resolve, which knows no error but a traceback for links in circles; a path of them leads nowhere.
        return Path(os.path.realpath(started_in() / Path(name).expanduser()))
    except RuntimeError as error:
        raise DataError(f"{name}: no such home folder is known; set HOME, or name it in full") from error


def runs() -> Path:
    """The user's folder of records: ``$DLBENCH_RUNS``, else ``./runs``."""
    return folder(os.environ.get("DLBENCH_RUNS") or "runs")


def runs_option(where: Path) -> str:
    """What a command needs to look for records in a folder: `` --runs FOLDER``, or nothing for the usual one."""
    if where == runs():
        return ""
    return f" --runs {shlex.quote(os.path.relpath(where) if where.is_relative_to(Path.cwd()) else str(where))}"


LockKind = Literal["flock", "lease"]
"""How a folder of runs is locked (``paths.lock``), the same for all that share it.

``flock``: by the operating system; a lock dies with its holder. Some network file systems have none. ``lease``: by
files that their holders touch again and again; one that nobody has touched for half a minute is anybody's. It works on
every file system, for any number of machines.
"""

PACKAGE = Path(__file__).resolve().parent


def _find(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.exists() else PACKAGE.parent / name


def conf() -> Path:
    """The folder of Hydra's configuration groups."""
    return _find("conf")


def experiments() -> Path:
    """The folder of published reports and committed results."""
    return _find("experiments")


def constraints() -> Path:
    """The file of exact versions."""
    return _find("constraints.txt")


def checkout() -> Path | None:
    """The root of the checkout this package runs from, or None."""
    root = PACKAGE.parent
    return root if (root / ".git").exists() else None


DEFAULT = Path("data")


def data_folder(given: Path | str | None = None) -> Path:
    """The data folder: the one given, else ``$DLBENCH_DATA``, else ``./data``; it need not exist."""
    chosen = given or os.environ.get("DLBENCH_DATA")
    return folder(chosen) if chosen else DEFAULT


def cache_folder(given: Path | str | None = None) -> Path:
    """The folder for derived files: the one given, else ``$DLBENCH_CACHE``, else the platform's for dlbench.

    Raises:
        DataError: None is given, and no home folder is known.
    """
    if chosen := given or os.environ.get("DLBENCH_CACHE"):
        return folder(chosen)
    try:
        return user_cache_path("dlbench")
    except RuntimeError as error:
        raise DataError("no home folder is known; set HOME, or DLBENCH_CACHE to a folder for derived files") from error


def is_name(name: str) -> bool:
    """Whether this can be the name of a folder in the data folder, and leads nowhere else."""
    return name not in ("", "..") and Path(name).name == name


def require(folder: Path) -> Path:
    """A data folder that is there, or is only the default.

    Raises:
        DataError: It is neither.
    """
    if not folder.is_dir() and folder != DEFAULT:
        raise DataError(f"{folder}: no such data folder; correct the path or DLBENCH_DATA, or create the folder")
    return folder


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, by way of links too, leads to a place in a folder."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_cache(cache: Path, folder: Path) -> None:
    """See that derived files are kept outside the data folder.

    Raises:
        DataError: They would be kept in it.
    """
    if is_inside(cache, folder):
        raise DataError(f"{cache}: the cache may not lie in the data folder; set DLBENCH_CACHE to another one")
