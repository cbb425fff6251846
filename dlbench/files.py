"""Files that are either whole or not there, their checksums, and numbers kept from one report to the next."""

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dlbench.errors import DataError
from dlbench.paths import cache_folder


@contextlib.contextmanager
def atomic_path(path: Path, name: Callable[[Path], str] | None = None) -> Iterator[Path]:
    """A temporary path beside ``path``; what is written there becomes ``path`` at once, or not at all.

    Args:
        path: The file to be; its folder is made if need be.
        name: Its final name, from the temporary file's content; default: as in ``path``.

    Raises:
        OSError: The folder cannot be written or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary_name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(temporary_name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path.with_name(name(temporary)) if name else path)
    finally:
        temporary.unlink(missing_ok=True)


def regular(path: Path) -> Path:
    """The path, where it leads to a file: whoever opens a pipe waits for ever.

    Raises:
        OSError: It leads to no file.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, "a folder, not a file" if stat.S_ISDIR(mode) else "a pipe or device, not a file", str(path))
    return path


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The hash of a file in hexadecimal, read in chunks.

    Raises:
        OSError: It cannot be read, or is no file.
    """
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def kept(compute: Callable[..., float], *arguments: Any, code: str) -> float:
    """What a function gives for plain arguments, out of the cache folder if it is there, and kept in it if it may be.

    A file that is damaged, or of another question, is made anew.

    Args:
        compute: The function; its name is part of the question.
        arguments: Its arguments, as JSON has them.
        code: A hash of the code that answers: other code's answers are not this code's.
    """
    question = {"function": compute.__qualname__, "arguments": arguments, "code": code}
    try:
        path = cache_folder() / "numbers" / f"{_hash(question)}.json"
    except DataError:  # there is none: then it is computed each time
        return compute(*arguments)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["hash"] == _hash([question, found["value"]]) and isinstance(found["value"], int | float):
            return float(found["value"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    value = compute(*arguments)
    try:
        with atomic_path(path) as temporary:
            kept_value = {"question": question, "value": value, "hash": _hash([question, value])}
            temporary.write_text(json.dumps(kept_value) + "\n", encoding="utf-8")
    except OSError:
        pass  # it is computed again next time
    return value


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
