"""Code that a user brings along: whose it is, and a hash of it, found without running any of it."""

import ast
import hashlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from dlbench.errors import ConfigError

PACKAGE = "dlbench"

Source = tuple[str, frozenset[str]]
"""A hash, and the dotted names that the code imports of this package."""

_hashed: dict[str, tuple[dict[str, Any], Source]] = {}


def source(module: str) -> Source:
    """The SHA-256 of a local module, of the packages it lies in, and of all local modules that they import.

    Every byte counts, comments too. Not seen: what is imported by a computed name, and files that are read. A process
    goes on with what it imported, whatever becomes of the files: so the hash stays that of the first call, until one of
    the modules is imported anew.

    Raises:
        ConfigError: The module has no file, as in a notebook or an interactive session.
    """
    specs, found = _hashed.get(module, ({}, None))
    if found is None or any(_imported(name) is not spec or spec is None for name, spec in specs.items()):
        files, found = _read(module)
        _hashed[module] = {name: _imported(name) for name in files}, found
    return found


def _imported(module: str) -> Any:
    """What tells one import of a module from another."""
    return getattr(sys.modules.get(module), "__spec__", None)


def _read(module: str) -> tuple[list[str], Source]:
    files: dict[str, bytes] = {}
    ours: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in files or (path := _local_file(name)) is None:
            continue
        files[name] = path.read_bytes()
        waiting += [".".join(name.split(".")[:end]) for end in range(1, name.count(".") + 1)]
        imported = set(_imports(name, path, files[name]))
        ours |= {each for each in imported if each.partition(".")[0] == PACKAGE}
        waiting += sorted(imported - ours)
    if module not in files:
        raise ConfigError(f"{module}: its source cannot be found; put the code into a file that can be imported")
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n".encode() + files[name])
    return sorted(files), (digest.hexdigest(), frozenset(ours))


def _imports(name: str, path: Path, content: bytes) -> Iterator[str]:
    """Dotted names of what a module imports, anywhere in it; of ``from a import b`` both ``a`` and ``a.b``."""
    if path.suffix != ".py":
        return
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


@cache
def distribution(module: str) -> str | None:
    """Name and version of the installed distribution that a module belongs to; None for local code.

    Code installed as editable lies outside of Python's own folders, and counts as local.
    """
    spec = _spec(module)
    if spec is None or not spec.origin:
        return None
    folders = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    # An environment may lie on top of another one, as with `python -m venv --system-site-packages`.
    folders |= {Path(each).resolve() for each in sys.path if Path(each).name in ("site-packages", "dist-packages")}
    if not any(Path(spec.origin).resolve().is_relative_to(folder) for folder in folders):
        return None
    owners = importlib.metadata.packages_distributions().get(module.partition(".")[0], [])
    return f"{owners[0]} {importlib.metadata.version(owners[0])}" if owners else None


def is_foreign(module: str) -> bool:
    """Whether a module is the suite's, Python's, or an installed distribution's."""
    return module.partition(".")[0] in (PACKAGE, *sys.stdlib_module_names) or distribution(module) is not None


@cache
def _local_file(name: str) -> Path | None:
    """The file of a user's own module; None for any other."""
    if is_foreign(name):
        return None
    spec = _spec(name)
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def _spec(name: str) -> ModuleSpec | None:
    """Where a module lies."""
    parts = name.split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
        for end in range(2, len(parts) + 1):
            if spec is None or spec.submodule_search_locations is None:
                return None
            places = spec.submodule_search_locations
            # A namespace package would look for its parent among the modules that are imported.
            spec = PathFinder.find_spec(".".join(parts[:end]), list(getattr(places, "_path", places)))
    except (ImportError, ValueError):
        return None
    return spec
