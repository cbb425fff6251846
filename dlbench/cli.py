"""Foreseeable errors as one line and exit code 1; tracebacks on request."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from dlbench import resources
from dlbench.errors import DlbenchError
from dlbench.messages import nearest, say


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a known error as one line and exit with 1; with ``verbose=true`` let it through."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints errors itself, in several lines
    if is_verbose():
        yield
        return
    try:
        yield
    except DlbenchError as error:
        fail(str(error))
    except MissingMandatoryValue as error:
        fail(f"{error.full_key}: no value; choose +experiment=NAME ({', '.join(experiments())})")
    except (HydraException, OmegaConfBaseException) as error:
        fail(explain(error))
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        fail(f"cannot read or write{where}: {error.strerror or error}; make room or permit it, and start again")
    except KeyboardInterrupt:
        say("interrupted; the same command goes on where it was")
        sys.exit(130)


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
    return sorted(path.stem for path in (resources.conf() / "experiment").glob("*.yaml"))


def explain(error: Exception) -> str:
    """Hydra's and OmegaConf's errors in one line, with the nearest names for a wrong one."""
    text = str(error)
    if match := re.search(r"Could not find '(?P<group>[\w/]+)/(?P<name>[^'/]+)'", text):
        group, name = str(match["group"]), str(match["name"])
        names = [path.stem for path in (resources.conf() / group).glob("*.yaml")]
        return f"{group}={name}: no such {group}; {nearest(name, names)}"
    if match := re.search(r"Could not override '(?P<key>[^']+)'", text):
        key = str(match["key"])
        if key == "experiment":
            return f"experiment: choose one with a plus sign, +experiment=NAME ({', '.join(experiments())})"
        return f"{key}: no such key; {_nearest_key(key)}"
    return f"{text.splitlines()[0]} (verbose=true shows where)"


def _nearest_key(key: str) -> str:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(resources.conf()), version_base="1.3"):
        config = compose("config")
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if node is None:
        return nearest(key, (str(name) for name in config))
    prefix = f"{parent}." if parent else ""
    return nearest(prefix + last, (prefix + str(name) for name in node if not str(name).startswith("_")))
