"""Foreseeable errors as one line and exit code 1; tracebacks on request."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from dlbench import paths
from dlbench.errors import DlbenchError
from dlbench.terminal import nearest, say


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a known error as one line and exit with 1; with ``verbose=true`` let it through."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # for file names that are not UTF-8
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors itself, in several lines
    if is_verbose():
        yield
        return
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where it was")
        sys.exit(130)
    except Exception as error:
        if line := one_line(error):
            fail(line)
        raise


def one_line(error: Exception) -> str | None:
    """A foreseeable error in one line; None if it is none."""
    match error:
        case DlbenchError():
            return str(error)
        case MissingMandatoryValue():
            return f"{error.full_key}: no value; choose +experiment=NAME ({', '.join(experiments())})"
        case HydraException() | OmegaConfBaseException():
            return explain(error)
        case ValueError():
            return _explain_value(error)
        case OSError():
            where = f" {error.filename}" if error.filename else ""
            return f"cannot read or write{where}: {error.strerror or error}; make room or permit it, and start again"
    return None


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
    return _choices("experiment")


def explain(error: Exception) -> str:
    """Hydra's and OmegaConf's errors in one line, with the nearest names for a wrong one."""
    text = str(error)
    if match := re.search(r"Could not find '(?P<group>[\w/]+)/(?P<name>[^'/]*)'", text):
        return _no_such_choice(str(match["group"]), str(match["name"]))
    if match := re.search(r"Could not override '(?P<key>[^']+)'", text):
        key = str(match["key"])
        if key == "experiment":
            return f"experiment: choose one with a plus sign, +experiment=NAME ({', '.join(experiments())})"
        if hint := _nearest_key(key):
            return f"{key}: no such key; {hint}"
    return f"{text.splitlines()[0]} (verbose=true shows where)"


def _explain_value(error: ValueError) -> str | None:
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
        if name not in _choices(group) and not name.startswith("["):
            return _no_such_choice(group, name)
    return f"{error} (verbose=true shows where)"


def _chosen() -> list[tuple[str, str]]:
    """Every ``group=name`` on the command line, as it was written."""
    pairs = (word.lstrip("+").split("=", 1) for word in sys.argv[1:] if "=" in word)
    return [(group, name) for group, name in pairs if group and _choices(group)]


def _no_such_choice(group: str, name: str) -> str:
    return f"{group}={name}: no such {group}; {nearest(name, _choices(group))}"


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (paths.conf() / group).glob("*.yaml"))


def _nearest_key(key: str) -> str | None:
    """What may have been meant by an unknown key; None if the key is there and something else is wrong."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import DictConfig, OmegaConf

    chosen = [(group, name) for group, name in _chosen() if name in _choices(group)]
    choices = [f"{'+' if group == 'experiment' else ''}{group}={name}" for group, name in chosen]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        config = compose("config", choices)
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return nearest(key, (str(name) for name in config))
    if last in node:
        return None
    prefix = f"{parent}." if parent else ""
    return nearest(prefix + last, (prefix + str(name) for name in node if not str(name).startswith("_")))
