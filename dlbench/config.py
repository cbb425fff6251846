"""Configurations: composed from an experiment and overrides, checked against the signatures they fill, and built."""

import inspect
import os
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

import hydra.utils
import omegaconf
from annotated_types import Ge, Lt
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from dlbench import components, files, identity, paths, plugins
from dlbench.cli import choices, folders, named_folders
from dlbench.errors import ConfigError
from dlbench.identity import TRAINING_SECTIONS
from dlbench.terminal import nearest

LoggerName = Literal["tensorboard", "csv", "wandb", "mlflow"]

TOP_LEVEL: dict[str, Any] = {
    "name": str,
    "seed": Annotated[int, Ge(0), Lt(2**32)],  # what generators of numpy and torch take
    "rerun": Literal["never", "outdated", "always"],
    "verbose": bool,
    "objective": str | None,  # records' configurations have none
    "logger": LoggerName | list[LoggerName] | None,  # so here
}
GIVEN = {
    "task": ("model", "optimizer", "scheduler", "seed"),
    "model": ("source_symbols", "target_symbols", "symbols", "mels"),  # what the data decides
    "data": ("folder", "cache", "seed"),  # the data folder, the cache folder, and the run's seed
    "optimizer": ("parameters", "params"),
    "scheduler": ("optimizer",),
    "model.attention": ("size",),
}
"""Arguments that the run itself fills in, of constructors that have them: no keys of the configuration."""

OPTIONAL = ("folder", "cache", "seed")
"""Of these, arguments that a constructor may do without."""

PATHS: dict[str, Any] = {"data": str | None, "runs": str, "cache": str | None, "lock": paths.LockKind}


def check(config: Mapping[str, Any]) -> None:
    """Hold a resolved configuration against the constructors it is for, before anything is built.

    Raises:
        ConfigError: The first key that is unknown, of the wrong type or out of range.
    """
    known = {*TOP_LEVEL, *TRAINING_SECTIONS, "evaluation", "callbacks", "paths"}
    for key in config.keys() - known:
        inside = [f"{section}.{key}" for section, node in config.items() if isinstance(node, Mapping) and key in node]
        meant = f"did you mean {' or '.join(inside)}?" if inside else nearest(key, known)
        raise ConfigError(f"{key}: no such key; {meant}")
    for key, kind in TOP_LEVEL.items():
        _check_value(key, config.get(key), kind)
    if (config.get("objective") or "").startswith("test/"):
        raise ConfigError(f"objective={config['objective']}: choose by validation, such as val/accuracy_best")
    for key, value in config["paths"].items():
        if key not in PATHS:
            raise ConfigError(f"paths.{key}: no such key; {nearest(key, PATHS)}")
        _check_value(f"paths.{key}", value, PATHS[key])
    for section in (*TRAINING_SECTIONS, "evaluation"):
        if section not in config:
            raise ConfigError(f"{section}: missing; a run needs one")
        _check_section(section, config[section])
    for name, node in callbacks(config).items():
        _check_section(f"callbacks.{name}", node)


def callbacks(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown beside a training, by name; one that is null is turned off."""
    return {name: node for name, node in (config.get("callbacks") or {}).items() if node is not None}


def build(section: str, node: Mapping[str, Any], **arguments: Any) -> Any:
    """Call a section's ``_target_`` with its settings and ``arguments``.

    Raises:
        ConfigError: The constructor refuses a value or a combination of values.
    """
    parameters = inspect.signature(components.locate(node["_target_"])).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    given = {name: value for name, value in arguments.items() if takes_all or name in parameters}
    if missing := sorted(arguments.keys() - given.keys() - {*OPTIONAL}):
        remedy = "; choose a model for this data, or data for this model" if section == "model" else ""
        what = f"has no argument {missing[0]}, which it is given"
        raise ConfigError(f"{section}._target_={node['_target_']}: {what}{remedy}")
    try:
        return hydra.utils.instantiate(node, **given, _convert_="all")
    except hydra.errors.InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError | TypeError):
            raise ConfigError(f"{section}: {cause}") from error
        if isinstance(cause, RuntimeError | IndexError | KeyError | AttributeError):
            raise ConfigError(f"{section}: cannot be built with these values ({cause})") from error
        raise (cause if isinstance(cause, Exception) else error) from None


def _check_section(section: str, node: Mapping[str, Any]) -> None:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"{section}._target_: missing; it names the class or function to fill")
    name = node["_target_"]
    target: Any = components.locate(name)
    if not callable(target):
        raise ConfigError(f"{section}._target_={name}: no such class or function")
    components.check_code(components.path_now(name))
    given = GIVEN.get(section, ())
    known = {key: value for key, value in inspect.signature(target).parameters.items() if key not in given}
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except NameError:  # imported for type checkers alone: then its constructor checks
        hints = {}
    for key, value in node.items():
        if key.startswith("_"):
            continue
        if key not in known:
            raise ConfigError(f"{section}.{key}: no such key of {name}; {nearest(key, known)}")
        if isinstance(value, Mapping) and "_target_" in value:
            _check_section(f"{section}.{key}", value)
        elif getattr(hints.get(key), "_is_protocol", False):
            raise ConfigError(f"{section}.{key}={value}: a group of settings belongs there; choose one with {key}=NAME")
        elif key in hints:
            _check_value(f"{section}.{key}", value, hints[key])
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in node:
            raise ConfigError(f"{section}.{key}: no value, but {name} needs one")


def _check_value(key: str, value: Any, kind: Any) -> None:
    try:
        adapter = TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))
    except PydanticSchemaGenerationError:  # a library's type, such as a tensor, which its own constructor checks
        return
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{step}]" for step in first["loc"] if isinstance(step, int))
        raise ConfigError(f"{key}{place}={first['input']!r}: {first['msg']}") from error


def configuration_of(experiment: str, overrides: Iterable[str]) -> str:
    """The configuration, evaluation included, that an experiment with overrides composes to; see `meanings_of`."""
    return meanings_of(experiment, overrides)[1]


def meanings_of(experiment: str, overrides: Iterable[str]) -> tuple[str, str]:
    """What an experiment with overrides trains, and what its results are compared as, whatever seed and data.

    Raises:
        ConfigError: See `dlbench.components.check_trusted`.
    """
    plain = trusted(experiment, tuple(overrides))
    meaning = identity.training(plain, fingerprint="", device="")
    return identity.configuration_id(meaning), identity.compared_id(meaning, plain["evaluation"])


def trusted(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """See `composed`; for overrides out of a file that may come from anywhere, such as a report.

    Raises:
        ConfigError: See `dlbench.components.check_trusted`.
    """
    where = f"{experiment} {' '.join(overrides)}"
    components.check_trusted(overrides, where)  # before Hydra resolves what it adds
    plain = composed(experiment, overrides)
    components.check_trusted(plain, where)
    return plain


def composed(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The resolved configuration of an experiment with overrides; see `composition`. It must not be changed."""
    return composition((f"+experiment={experiment}", *overrides))


def composition(words: tuple[str, ...]) -> dict[str, Any]:
    """The resolved configuration of a command line, as plain containers; it must not be changed.

    Raises:
        HydraException: There is no such choice, or an override means nothing.
    """
    environment = sorted(each for each in os.environ.items() if each[0].startswith("DLBENCH_"))
    return _composition(words, f"{folders()} {environment}")


@cache
def _composition(words: tuple[str, ...], surroundings: str) -> dict[str, Any]:
    # Hydra takes a tenth of a second, and a report has dozens of configurations, most of which only set values. No
    # setting refers to another (`paths` to the environment alone), so these are set in what Hydra made of the rest.
    overrides = OverridesParser.create().parse_overrides(list(words))
    settings = [each for each in overrides if each.type == OverrideType.CHANGE and not choices(each.key_or_group)]
    if not settings or not all(map(_is_plain, settings)):
        return _by_hydra(words, surroundings)
    config = OmegaConf.create(composition(tuple(str(each.input_line) for each in overrides if each not in settings)))
    for each in settings:
        if OmegaConf.select(config, each.key_or_group, default=config) is config:
            return _by_hydra(words, surroundings)  # which says what is wrong
        OmegaConf.update(config, each.key_or_group, each.value())
    plain: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    return plain


def _is_plain(override: Override) -> bool:
    """Whether it sets one value that stands for itself: no choice of a sweep, reference, or group of settings."""
    return not (override.is_sweep_override() or "${" in str(override.input_line) or isinstance(override.value(), dict))


def _by_hydra(words: tuple[str, ...], surroundings: str) -> dict[str, Any]:
    """What Hydra makes of them, kept from process to process: it takes a quarter of a second, a listing asks dozens."""
    if named_folders():  # in which anything may lie
        return _compose(*words)
    code = f"{_configurations()} {surroundings} {hydra.__version__} {omegaconf.__version__}"
    plain: dict[str, Any] = files.kept(_compose, *words, code=code)
    return plain


@cache
def _configurations() -> str:
    """A hash of the suite's and of plugins'."""
    return " ".join(files.digest_of_all(folder, ["**/*.yaml"]) for folder in (paths.conf(), *plugins.folders()))


def _compose(*words: str) -> dict[str, Any]:
    outer = GlobalHydra.instance().hydra  # of a run that is being composed, or made
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(paths.conf()), version_base="1.3"):
            config = compose("config", list(words))
    finally:
        GlobalHydra.instance().hydra = outer
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return plain
