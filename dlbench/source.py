"""A hash of the code a result depends on: every scientific module that the run's classes import, normalised.

Comments, docstrings and formatting do not count, nor does code the run cannot reach: a new data set or model elsewhere
leaves old records as good as they were. What only reads files or draws stand-ins is left out, since the data's
fingerprint stands for what it delivered; so are the run's own modules, which put the parts together and keep the
records.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dlbench.identity import TRAINING_SECTIONS

PACKAGE = "dlbench"
ROOT = Path(__file__).resolve().parent
SCIENCE = (
    "data.batches",
    "data.log_mel",
    "data.pair_batches",
    "data.permutation",
    "data.speech_batches",
    "data.transduction",
    "data.vocabulary",
    "models",
    "tasks",
    "decoding",
    "metrics",
    "randomness",
    "theory",
)


def modules_of(config: Mapping[str, Any]) -> list[str]:
    """The modules of all classes of a resolved configuration's training, and of its evaluation's own class.

    What an evaluation is made of (its decoding, say) is no matter of the training: see `evaluation_modules_of`.
    """
    training = [name for section in TRAINING_SECTIONS for name in _targets(config[section])]
    return [*training, _module(config["evaluation"]["_target_"])]


def evaluation_modules_of(config: Mapping[str, Any]) -> list[str]:
    """The modules of all classes of a resolved configuration's evaluation."""
    return _targets(config["evaluation"])


def _targets(node: Mapping[str, Any]) -> list[str]:
    own = [_module(node["_target_"])] if "_target_" in node else []
    return own + [name for value in node.values() if isinstance(value, Mapping) for name in _targets(value)]


def _module(target: str) -> str:
    return target.rpartition(".")[0]


def source_hash(modules: Iterable[str]) -> str:
    """SHA-256 over the normalised source of ``modules`` and of what they import, as far as it is scientific.

    Args:
        modules: Dotted names; those outside this package are passed over (their versions are in the manifest).
    """
    found: dict[str, str] = {}
    waiting = [name for name in modules if name.startswith(PACKAGE + ".")]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or (path := _path(name)) is None:
            continue
        seen.add(name)
        text, imports = _normalised(path)
        if name.removeprefix(PACKAGE + ".").startswith(SCIENCE):
            found[name] = text
        waiting += imports
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{name}\n{found[name]}\n".encode())
    return digest.hexdigest()


@cache
def _path(name: str) -> Path | None:
    """The file of a module of this package, found without importing anything; None if there is no such module."""
    package, *parts = name.split(".")
    place = ROOT.joinpath(*parts)
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if package == PACKAGE and path.is_file()), None)


@cache
def _normalised(path: Path) -> tuple[str, tuple[str, ...]]:
    """The module's source without comments and docstrings, and the modules of this package it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            members = (f"{node.module}.{alias.name}" for alias in node.names)
            imports += [node.module, *(member for member in members if _path(member))]
        elif isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names if alias.name.startswith(PACKAGE + ".")]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not _is_string(item)]
    return ast.unparse(tree), tuple(imports)


def _is_string(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
