"""Files that are whole or not there, their checksums, YAML of anybody's, and values that took long to compute."""

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError

from dlbench.errors import DataError, DlbenchError
from dlbench.paths import PACKAGE, cache_folder

MOST_BYTES, DEEPEST, MOST_DIGITS = 2**20, 32, 40
"""What a YAML file may hold: its size, how deep it is nested, and the characters of a number."""
_TOO_DEEP = "exceeded maximum nesting depth"
"""What libyaml says of far deeper nesting, before it is counted here."""
MOST_VALUES = 100_000
"""What one may hold where aliases are read, each value counted as often as it is named."""


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


def stamp(told: os.stat_result) -> tuple[int, ...]:
    """What tells that a file may have changed: its size, inode, and times of change.

    What copies or unpacks a file may give it an earlier time of change, but no earlier time of status change.
    """
    return told.st_size, told.st_ino, told.st_mtime_ns, told.st_ctime_ns


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The hash of a file in hexadecimal, read in chunks.

    Raises:
        OSError: It cannot be read, or is no file.
    """
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest_of_all(folder: Path, patterns: Iterable[str]) -> str:
    """One SHA-256 of the places and contents of files in a folder, such as the code that a value depends on."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        found.update(f"{path.relative_to(folder).as_posix()}\n{digest(path)}\n".encode())
    return found.hexdigest()


@cache
def code_hash(*places: str) -> str:
    """The hash of modules of the suite, with data of their names, and of all modules of packages.

    Other code's answers are not this code's.
    """
    return digest_of_all(PACKAGE, [f"{place}{end}" for place in places for end in (".py", ".json", "/*.py")])


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def as_cell(value: Any) -> Any:
    """A value for a CSV file: an apostrophe stands before a text, no number, that spreadsheets would run as a formula.

    These begin with ``=``, ``+``, ``-``, ``@``, one of these in full width, a tab or the end of a line, perhaps after
    apostrophes of their own.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value) else value


def from_cell(text: str) -> str:
    """The text that `as_cell` made a cell of."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def read_at_most(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a file, of a larger one just enough to tell.

    Raises:
        OSError: It cannot be read, or is no file.
    """
    with regular(path).open("rb") as file:
        return file.read(most + 1)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's is ten times as fast
    """Values are those of JSON: a date is a text. A key that stands twice is an error, where YAML takes the last."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (value := self.construct_object(key)) in seen:
                raise ConstructorError(None, None, f"{key.value}: stands twice", key.start_mark)
            seen.add(value)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def _number(construct: Callable[[Any, yaml.ScalarNode], float]) -> Callable[[Any, yaml.ScalarNode], float]:
    """A number, unless it is too long to reckon with, or looks like one only, as ``0b_`` does."""

    def constructed(loader: Any, node: yaml.ScalarNode) -> float:
        if len(node.value) > MOST_DIGITS:
            raise ConstructorError(None, None, f"a number of more than {MOST_DIGITS} characters", node.start_mark)
        try:
            return construct(loader, node)
        except ValueError as error:
            raise ConstructorError(None, None, f"{node.value}: no number", node.start_mark) from error

    return constructed


_Loader.add_constructor("tag:yaml.org,2002:int", _number(yaml.SafeLoader.construct_yaml_int))
_Loader.add_constructor("tag:yaml.org,2002:float", _number(yaml.SafeLoader.construct_yaml_float))


def parse_yaml(content: bytes, path: Path | str, error: type[DlbenchError]) -> tuple[Any, yaml.Node | None]:
    """What a YAML file says, whoever wrote it, and its nodes, which know their lines.

    It may have no anchors and aliases, which a few lines make billions of values with, and no tags; size, depth and
    the length of numbers are bounded.

    Args:
        content: What the file holds.
        path: The file, for messages.
        error: What to raise.

    Raises:
        DlbenchError: It is no UTF-8, no YAML, or beyond the bounds; of the class asked for, with the line if known.
    """
    if len(content) > MOST_BYTES:
        raise error(f"{path}: has more than {MOST_BYTES:,} bytes; shorten it")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not UTF-8 (byte {problem.start}: {problem.reason}); save it as UTF-8") from problem
    try:
        _check_events(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        said = f"is nested deeper than {DEEPEST}" if _TOO_DEEP in str(problem.problem) else problem.problem
        raise error(f"{path}:{line}: {said}") from problem
    except yaml.YAMLError as problem:
        raise error(f"{path}: {' '.join(str(problem).split())}") from problem


def _check_events(text: str) -> None:
    """Refuse what is too deep, or more than it looks like, before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        problem = f"is nested deeper than {DEEPEST}" if depth > DEEPEST else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            problem = "anchors and aliases are not read; write it out"
        elif tag := getattr(event, "tag", None):
            problem = f"tags such as {tag} are not read; remove it"
        if problem:
            raise ConstructorError(None, None, problem, event.start_mark)  # type: ignore[arg-type]


def check_expanded(path: Path, error: type[DlbenchError]) -> None:
    """See that a YAML file that another library reads, aliases too, does not become endless or too deep by them.

    What is no YAML at all is left to who reads it.

    Raises:
        DlbenchError: It does; of the class asked for.
    """
    with contextlib.suppress(yaml.YAMLError, OSError, UnicodeDecodeError):
        try:
            for event, problem in _beyond(path.read_text(encoding="utf-8")):
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise error(f"{path}:{line}: {problem}")
        except yaml.MarkedYAMLError as fault:
            if _TOO_DEEP in str(fault.problem):
                line = fault.problem_mark.line + 1 if fault.problem_mark else 1
                raise error(f"{path}:{line}: is nested deeper than {DEEPEST}; write it flatter") from fault


def _beyond(text: str) -> Iterator[tuple[yaml.Event, str]]:
    """Where a YAML file becomes too deep, or by its aliases endless or too large, and what is wrong there."""
    sizes: dict[str | None, int] = {}
    outer: list[tuple[str | None, int]] = [(None, 0)]  # of what is open: its anchor, and the values in it so far
    for event in yaml.parse(text, _Loader):
        anchor, size = getattr(event, "anchor", None), 1
        if isinstance(event, yaml.CollectionStartEvent):
            outer.append((anchor, 1))
            if len(outer) > DEEPEST:
                yield event, f"is nested deeper than {DEEPEST}; write it flatter"
            continue
        if isinstance(event, yaml.AliasEvent):
            if anchor in (open_one for open_one, _ in outer):
                yield event, f"*{anchor} stands in what it names; write it out"
            size = sizes.get(anchor, 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = outer.pop()
            sizes[anchor] = size
        elif isinstance(event, yaml.ScalarEvent):
            sizes[anchor] = 1
        else:
            continue
        parent, count = outer.pop()
        outer.append((parent, count + size))
        if count + size > MOST_VALUES:
            yield event, f"aliases make more than {MOST_VALUES:,} values of it; write it out"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def kept(compute: Callable[..., Any], *arguments: Any, code: str, place: str | None = None) -> Any:
    """What a function gives for plain arguments, out of the cache folder if it is there, and kept in it if it may be.

    A file that is damaged, or of another question, is made anew.

    Args:
        compute: The function; its name is part of the question.
        arguments: Its arguments, as JSON has them.
        code: A hash of the code that answers: other code's answers are not this code's.
        place: A file's name, for questions of which only the last is kept; default: a file a question.

    Returns:
        The value; None, and what JSON would not give back as it is, is computed each time.
    """
    question = {"function": compute.__qualname__, "arguments": arguments, "code": code}
    try:
        path = cache_folder() / "kept" / f"{place or _hash(question)}.json"
    except DataError:  # there is none: then it is computed each time
        return compute(*arguments)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["hash"] == _hash([question, found["value"]]):
            return found["value"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    value = compute(*arguments)
    try:
        if value is None or json.loads(json.dumps(value)) != value:
            return value
        with atomic_path(path) as temporary:
            kept_value = {"question": question, "value": value, "hash": _hash([question, value])}
            temporary.write_text(json.dumps(kept_value) + "\n", encoding="utf-8")
    except (OSError, TypeError):
        pass  # it is computed again next time
    return value


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
