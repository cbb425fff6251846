"""``dlbench +experiment=NAME``: the command line of runs and sweeps, read, put right, and given to Hydra."""

import re
import shlex
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dlbench import paths
from dlbench.cli import check_own, choices, one_line_errors
from dlbench.errors import ConfigError
from dlbench.help import WITH_PLUS
from dlbench.sweep import watch
from dlbench.terminal import nearest, say, tell


@hydra.main(version_base="1.3", config_path=str(paths.conf()), config_name="config")
def _composed(config: DictConfig) -> Any:
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        from dlbench.sweep.job import perform

        return perform(config)
    # Here too, not only around Hydra: Hydra would add lines of its own to an error that passes through it.
    with one_line_errors():
        elsewhere = [word for word in HydraConfig.get().overrides.hydra if word.startswith("hydra/launcher=")]
        if elsewhere and elsewhere != ["hydra/launcher=local"]:
            raise ConfigError(f"{elsewhere[-1]}: launches sweeps, not a single run; add -m")
        is_quiet = OmegaConf.select(config, "trainer.progress") == "none"
        if not is_quiet:
            tell(f"{config.name}, seed {config.seed}: preparing")  # torch takes seconds to import
        from dlbench.commands import outcome
        from dlbench.run import execute
        from dlbench.run.plan import prepare

        plan = prepare(config)
        if not is_quiet:
            outcome.announce(plan)
        outcome.show(plan, execute(plan))
    return None


def compose_and_run(words: Sequence[str]) -> int:
    """Compose the configuration that the command line describes, and make the run; foreseeable errors are one line."""
    if wrong := wrong_flag(words):
        say(wrong)
        return 2
    sys.argv[1:] = words  # where the errors of Hydra look what was chosen
    with one_line_errors():
        check_own()
        sys.argv[1:] = in_order(put_right(words))
        with watch.watched():
            _composed()
    return 0


# --- the words, before Hydra reads them -------------------------------------------------------------------------------

FLAGS = {
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"), True),
    **dict.fromkeys(("--config-dir", "-cd", "--experimental-rerun"), True),
    **dict.fromkeys(("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r"), False),
    **dict.fromkeys(("--multirun", "-m", "--shell-completion", "-sc", "--info", "-i"), False),
}
"""Hydra's flags, and whether a value follows."""
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""What may follow ``--info``."""
PRINTING = ("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc", "--hydra-help", "--help", "-h", "--version")
"""Flags with which nothing is run."""
OWN_CONFIG, OWN_FOLDER = ("--config-name", "-cn", "--config-path", "-cp"), ("--config-dir", "-cd")
"""Flags that name configurations other than the suite's: the first one, further ones."""
MULTIRUN, RUN = ("--multirun", "-m"), ("--run", "-r")
"""Flags that make a sweep, and that make a single run where no configuration asks for a sweep."""


def put_right(words: Sequence[str]) -> list[str]:
    """The words as Hydra takes them: ``+`` before a group that needs one, quotes around a plain value that needs them.

    In a sweep, ``model.size=64`` becomes ``model.size=choice(64)``: Hydra looks for the key of a single value in the
    configuration without the sweep's experiments too, which has another model, and for that of choices in each run's.
    Null, and what else cannot be among choices, stays: it takes ``++model.size=null``. The sweep gets its ``-m``: with
    an error in the configuration Hydra cannot see that it asks for a sweep, and would say that choices need one.

    Raises:
        ConfigError: A word is no ``KEY=VALUE``, cannot be read, adds twice what is added once, or asks for a sweep
            without ``-m``; the message names it and the remedy.
    """
    read: list[tuple[str, Override | None]] = []
    # What a configuration chooses already takes no plus; an own one may choose any of them.
    adds = () if _names(words, OWN_CONFIG) else ("experiment",) if _names(words, OWN_FOLDER) else WITH_PLUS
    for word, is_value in _with_values(words):
        is_flag = is_value or word.startswith("-")
        override = None if is_flag else _read(word, adds)
        read.append((str(override.input_line) if override else word, override))
    overrides = [override for _, override in read if override]
    asks = _asks_for_sweep(words, overrides)
    is_sweep = asks and not _names(words, PRINTING)
    found = [_for_each_run(override) if override and is_sweep else word for word, override in read]
    given = Counter(override.get_key_element() for override in overrides if override.is_add())
    if twice := [key for key, count in given.items() if count > 1]:
        raise ConfigError(f"{twice[0].lstrip('+')}: given {given[twice[0]]} times; give it once")
    # Own configurations may ask for a sweep themselves; what is wrong with those, Hydra says.
    may_sweep = asks or _names(words, (*OWN_CONFIG, *OWN_FOLDER))
    may_sweep = may_sweep or any(word.startswith(("hydra.", "hydra/")) for word in found)
    if not may_sweep and (several := [each for each in overrides if each.is_sweep_override()]):
        word = str(several[0].input_line)
        quoted = shlex.quote(_quoted(word))
        raise ConfigError(f"{word}: is several values; add -m to make a run of each, or quote it: {quoted}")
    return [*found, "-m"] if is_sweep and not _names(words, (*MULTIRUN, *RUN)) else found


def _asks_for_sweep(words: Sequence[str], overrides: Sequence[Override]) -> bool:
    """Whether the command line makes a sweep: its flag first, then Hydra's mode, then a named sweep or search."""
    if _names(words, MULTIRUN):
        return True
    if modes := [override.value() for override in overrides if override.key_or_group == "hydra.mode"]:
        return bool(modes[-1] == "MULTIRUN")
    return any(override.key_or_group in ("sweep", "search") for override in overrides)


def in_order(words: Sequence[str]) -> list[str]:
    """Overrides, which Hydra takes in one place, then flags; among them what has a sweep watched, if one may be run."""
    overrides: list[str] = []
    flags: list[str] = []
    for word, is_value in _with_values(words):
        (flags if is_value or word.startswith("-") else overrides).append(word)
    return [*overrides, *([] if _names(words, PRINTING) else [watch.OVERRIDE]), *flags]


def wrong_flag(words: Sequence[str]) -> str | None:
    """What is wrong with the first flag that Hydra does not have, and what may have been meant; None if none is."""
    for word, is_value in _with_values(words):
        name = word.partition("=")[0]
        if word.startswith("-") and not is_value and name not in FLAGS:
            bare = name.lstrip("-")
            meant = f"did you mean +{bare}=NAME?" if bare in WITH_PLUS else nearest(name, FLAGS)
            return f"{word}: no such flag; {meant}"
    return None


def _with_values(words: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Each word, and whether it is the value of a flag before it."""
    is_value, before = False, ""
    for word in words:
        is_value = is_value or (before in ("--info", "-i") and word in INFO)
        yield word, is_value
        is_value, before = not is_value and FLAGS.get(word, False), word


def _names(words: Sequence[str], flags: Sequence[str]) -> bool:
    return any(word.partition("=")[0] in flags for word in words)


def _read(word: str, adds: Collection[str]) -> Override:
    """An override, of the word put right; a group in ``adds`` gets a ``+``."""
    key, has_value, _ = word.partition("=")
    if not has_value and not word.startswith("~"):
        if word in choices("experiment"):
            raise ConfigError(f"{word}: did you mean +experiment={word}?")
        raise ConfigError(f"{word}: no KEY=VALUE; begin with +experiment=NAME")
    if not key.strip("+~"):
        raise ConfigError(f"{word}: names no key; say KEY=VALUE")
    if key in adds:
        word = f"+{word}"
    tries = [word]
    # Text that means nothing to Hydra otherwise, such as ~/runs or /ä b, is meant as it stands.
    if has_value and not re.search(r"""["'\\,:()\[\]{}$=]""", word.partition("=")[2]):
        tries.append(_quoted(word))
    for each in tries:
        with suppress(HydraException):
            return OverridesParser.create().parse_override(each)
    quoted = shlex.quote(_quoted(word))
    raise ConfigError(f"{word}: cannot be read; keys have no spaces, and a value that is text can be quoted: {quoted}")


def _for_each_run(override: Override) -> str:
    """The word as one that is looked for in each run of a sweep, if it sets a key that some experiments may lack."""
    word = str(override.input_line)
    section, *key = re.split("[./@]", name := override.get_key_element())
    is_one = override.type == OverrideType.CHANGE and not override.is_sweep_override()
    if not (is_one and key and section not in ("hydra", "paths", "trainer")):
        return word
    parse = OverridesParser.create().parse_override
    given = override.get_value_element_as_str()
    with suppress(HydraException):  # null and other values cannot be among choices, or come out of them as others
        right = f"{name}=choice({given})"
        (value,) = parse(right).sweep_string_iterator()
        if parse(f"{name}={value}").value() == override.value() and "$" not in given:
            return right
    return word


def _quoted(word: str) -> str:
    """The word, its value in quotes."""
    key, _, value = word.partition("=")
    escaped = value.replace('"', r"\"")
    return f'{key}="{escaped}"'
