"""Foreseeable errors as one line and exit code 1; tracebacks on request."""

import contextlib
import itertools
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from dlbench import files, paths, plugins
from dlbench.environment import escape_output, requeue, stop_writing
from dlbench.errors import ConfigError, DlbenchError, is_interruption, is_out_of_memory
from dlbench.help import WITH_PLUS
from dlbench.terminal import first_line, nearest, say


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a known error as one line and exit with 1; with ``verbose=true`` let it through."""
    escape_output()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors itself, in several lines
    if is_verbose():
        yield
        return
    logging.raiseExceptions = False  # else what cannot be written is told by a traceback, and goes on
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        sys.exit(stop_writing())
    except (KeyboardInterrupt, Exception) as error:
        if is_interruption(error):
            say("interrupted; the same command goes on where it was")
            if said := requeue():
                say(said)
            sys.exit(130)
        assert isinstance(error, Exception)
        if line := one_line(error):
            fail(line)
        raise


def one_line(error: Exception) -> str | None:
    """A foreseeable error in one line; None if it is none."""
    said = None
    match error:
        case DlbenchError():
            said = str(error)
        case MissingMandatoryValue():
            said = f"{error.full_key}: no value; choose +experiment=NAME ({', '.join(experiments())})"
            if chosen := [name for group, name in _chosen() if group == "experiment"]:
                said = f"{error.full_key}: no value; set {error.full_key}=VALUE"
                if error.full_key == "name":
                    said = f"experiment={chosen[0]}: gives no name; {HEADER}"
        case HydraException() | OmegaConfBaseException():
            said = explain(error)
        case yaml.MarkedYAMLError() if error.problem_mark:
            mark, hint = error.problem_mark, "; indent with spaces" if r"'\t'" in str(error.problem) else ""
            said = f"{mark.name}:{mark.line + 1}: no YAML ({error.problem}){hint}"
        case yaml.YAMLError():
            said = f"no YAML: {' '.join(str(error).split())}"
        case UnicodeDecodeError() if path := _not_utf8():
            said = f"{path}: not UTF-8 (byte {error.start}); save it in that encoding"
        case ValueError():
            said = _explain_value(error)
        case _ if is_out_of_memory(error):
            said = "out of memory; make fewer runs at a time, take a smaller data.batch_size, or allow more"
        case OSError():
            where = f" {error.filename}" if error.filename else ""
            said = f"cannot read or write{where}: {error.strerror or error}; make room or permit it, and start again"
    return said or _faulty()


def is_verbose() -> bool:
    """Whether a traceback is wanted: ``verbose=true`` on the command line, or DLBENCH_VERBOSE in the environment."""
    asked = any(re.fullmatch(r"\+*verbose=(true|yes|on|1)", word.lower()) for word in sys.argv)
    return asked or bool(os.environ.get("DLBENCH_VERBOSE"))


def fail(line: str) -> NoReturn:
    """Print one line on standard error and exit with 1."""
    say(line)
    sys.exit(1)


def experiments() -> list[str]:
    """The names of the experiments."""
    return choices("experiment")


HEADER = "its file begins with the line '# @package _global_', saved as UTF-8 without a byte order mark, and sets name"


def explain(error: Exception) -> str:
    """Hydra's and OmegaConf's errors in one line, with the nearest names for a wrong one."""
    text = " ".join(str(error).split())
    if match := re.search(r"Could not find '(?P<group>[\w/]+)/(?P<name>[^'/]*)'", text):
        return _no_such_choice(str(match["group"]), str(match["name"]))
    if match := re.search(r"(?P<file>In '[^']+': )?Could not override '(?P<key>[^']+)'", text):
        key = str(match["key"])
        if inside := re.match(r"[\w/]+@(?P<group>\w+)\.", key):
            chosen = [name for group, name in _chosen() if group == inside["group"]]
            return f"{inside['group']}={', '.join(chosen)}: sets {key}, which is not there; {HEADER}"
        hint = _nearest_key(key)
        is_sweep = len(_swept()) > 1 or any(group in ("sweep", "search") for group, _ in _chosen())
        if is_sweep and (hint is None or f" {key}=NAME" in hint):
            return (
                f"{key}: not found in every experiment of this sweep; sweep those that have it, or write ++{key}=VALUE"
            )
        if hint:
            return f"{match['file'] or ''}{key}: no such key; {hint}"
    return f"{text} (verbose=true shows where)"


def _explain_value(error: ValueError) -> str | None:
    if str(error).startswith(("Only one of --", "Invalid defaults list")):
        return str(error)
    if str(error).startswith("Config group override must be"):
        return _explain_choice(error)
    if isinstance(error, UnicodeEncodeError) and (
        name := re.search(r"[^\s\"']*[\ud800-\udfff][^\s\"']*", error.object)
    ):
        return f"{name[0]}: the name is not UTF-8, and cannot be recorded; rename the file or folder"
    return None


def _explain_choice(error: ValueError) -> str:
    """Hydra says that a group was given null or a number instead of a name; the command line tells which group."""
    for group, name in _chosen():
        if name not in choices(group) and not name.startswith("["):
            return _no_such_choice(group, name)
    return f"{error} (verbose=true shows where)"


def _chosen() -> list[tuple[str, str]]:
    """Every ``group=name`` on the command line, as it was written; of ``group=a,b`` each."""
    pairs = (word.lstrip("+").split("=", 1) for word in sys.argv[1:] if "=" in word)
    return [(group, name) for group, names in pairs if group and choices(group) for name in _several(names)]


def _several(names: str) -> list[str]:
    """The names in ``a,b`` or ``choice(a,b)``; a list is none of several."""
    if inside := re.fullmatch(r"choice\((.*)\)", names):
        names = inside[1]
    return [names] if names.startswith("[") else [name.strip() for name in names.split(",")]


def _swept() -> list[str]:
    """The experiments that the command line names, or else the sweep or search that it names."""
    named = [name for group, name in _chosen() if group == "experiment"]
    for path in (folder / group / f"{name}.yaml" for folder in folders() for group, name in _chosen()):
        if not named and path.parent.name in ("sweep", "search") and path.is_file():
            key, file = "hydra.sweeper.params.+experiment", OmegaConf.load(path)
            swept = OmegaConf.select(file, key, throw_on_resolution_failure=False)
            named = _several(swept) if isinstance(swept, str) else []
    return named


def _no_such_choice(group: str, name: str) -> str:
    return f"{group}={name}: no such {group}; {nearest(name, choices(group))}"


def choices(group: str) -> list[str]:
    """The names of a group's configurations, those of a ``--config-dir`` and of plugins too."""
    return sorted({path.stem for folder in folders() for path in (folder / group).glob("*.yaml")})


def folders() -> list[Path]:
    """Where configurations lie: the suite's, those that the command line names, and those of plugins.

    Hydra looks for them in this order: see `hydra_plugins.dlbench_searchpath`.
    """
    return [paths.conf(), *named_folders(), *plugins.folders()]


def named_folders() -> list[Path]:
    """The folders of configurations that the command line names."""
    words = sys.argv[1:]
    named = [after for word, after in itertools.pairwise(words) if word in ("--config-dir", "-cd")]
    named += [word.partition("=")[2] for word in words if word.startswith(("--config-dir=", "-cd="))]
    return [*dict.fromkeys(map(paths.folder, named))]


def _not_utf8() -> Path | None:
    """The first configuration that is not the suite's and not UTF-8."""
    for path in (path for folder in folders()[1:] for path in sorted(folder.rglob("*.yaml"))):
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return path
    return None


def check_own() -> None:
    """Hold the files of folders that are not the suite's against the bounds of `dlbench.files.check_expanded`.

    All of them, since each may be named by another.

    Raises:
        ConfigError: One is beyond them.
    """
    for folder in folders()[1:]:
        for path in sorted({*folder.glob("*.yaml"), *folder.glob("*/**/*.yaml")}):
            files.check_expanded(path, ConfigError)


def _faulty() -> str | None:
    """What is wrong with the first chosen file, of a folder that is not the suite's, that cannot be read."""
    chosen = (folder / group / f"{name}.yaml" for folder in folders()[1:] for group, name in _chosen())
    for path in filter(Path.is_file, chosen):
        try:
            OmegaConf.load(path)
        except Exception as error:  # OmegaConf and PyYAML meet odd values with a dozen kinds
            return f"{path}: cannot be read ({first_line(error)}); correct it"
    return None


def _nearest_key(key: str) -> str | None:
    """What may have been meant by an unknown key; None if the key is there and something else is wrong."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import DictConfig

    there = {group: name for group, name in reversed(_chosen()) if name in choices(group)}  # of several the first
    parent, _, last = key.rpartition(".")
    has_hydra = key.startswith("hydra.")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        for experiment in reversed(_swept() or [""]):  # the first is told about, if none has it
            chosen = {**there, "experiment": experiment} if experiment else there
            words = [f"{'+' * (group in WITH_PLUS)}{group}={name}" for group, name in chosen.items()]
            try:
                config = compose("config", words, return_hydra_config=has_hydra)
            except HydraException:  # the key stands in what was chosen
                config = compose("config", return_hydra_config=has_hydra)
            node = OmegaConf.select(config, parent) if parent else config
            if isinstance(node, DictConfig) and last in node:
                return None
    groups = (path.relative_to(folder) for folder in folders() for path in folder.rglob(key) if path.is_dir())
    if meant := sorted({path.as_posix() for path in groups}):
        return f"did you mean {' or '.join(f'{group}=NAME' for group in meant)}?"
    if meant := sorted(path for path in _keys(OmegaConf.to_container(config)) if path.endswith(f".{key}")):
        return f"did you mean {' or '.join(meant[:3])}?"
    if not isinstance(node, DictConfig):
        return nearest(key, (str(name) for name in config))
    prefix = f"{parent}." if parent else ""
    return nearest(prefix + last, (prefix + str(name) for name in node if not str(name).startswith("_")))


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key inside a plain configuration, from its root."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{key}"
        yield from _keys(value, f"{prefix}{key}.")
