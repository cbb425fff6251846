"""Where data sets are looked for, and where what is computed from them is kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from dlbench.errors import DataError

DEFAULT = Path("data")


def data_folder(given: Path | str | None = None) -> Path:
    """The data folder: the one given, else ``$DLBENCH_DATA``, else ``./data``; it need not exist."""
    return Path(given or os.environ.get("DLBENCH_DATA") or DEFAULT).expanduser()


def cache_folder() -> Path:
    """The folder for derived files: ``$DLBENCH_CACHE``, else the platform's cache folder for dlbench."""
    chosen = os.environ.get("DLBENCH_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("dlbench")


def is_name(name: str) -> bool:
    """Whether this can be the name of a folder in the data folder, and leads nowhere else."""
    return name not in ("", "..") and Path(name).name == name


def existing_data_folder(given: Path | str | None = None) -> Path | None:
    """The data folder if it is there, ``None`` if only the default ``./data`` was to be tried and is not.

    Raises:
        DataError: a folder that was asked for, by argument or by ``$DLBENCH_DATA``, does not exist.
    """
    folder = data_folder(given)
    if folder.is_dir():
        return folder
    if given or os.environ.get("DLBENCH_DATA"):
        named = "the folder given" if given else "DLBENCH_DATA"
        raise DataError(f"{folder}: no such data folder; correct {named} or create it")
    return None


def require(folder: Path) -> None:
    """See that a data folder is there, unless it is only the default.

    Raises:
        DataError: It is not.
    """
    if not folder.is_dir() and folder != DEFAULT:
        raise DataError(f"{folder}: no such data folder; correct the path or DLBENCH_DATA, or create the folder")


def check_cache(cache: Path, folder: Path) -> None:
    """See that derived files are kept outside the data folder.

    Raises:
        DataError: They would be kept in it.
    """
    if cache.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{cache}: the cache may not lie in the data folder; set DLBENCH_CACHE to another one")
