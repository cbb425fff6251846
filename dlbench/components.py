"""Components: the parts a configuration can name, each with a stable name and a version, wherever its code lies.

A record is identified by the names and meanings of its parts. ``MAJOR`` changes with the meaning (another formula,
another default), ``MINOR`` where only the bits do (another order of additions, another stream of the same distribution,
a faster kernel). ``components.json`` lists them all, so that records can be read and compared without importing torch;
``make golden`` renews it, and refuses a changed default without a new MAJOR.
"""

import hashlib
import importlib
import inspect
import json
import math
import pydoc
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from dlbench import own_code
from dlbench.errors import ConfigError, DlbenchError
from dlbench.own_code import PACKAGE

TRUSTED = re.compile(r"torch\.optim\.(lr_scheduler\.)?[A-Z]\w*")
"""Optimisers and schedules of torch's."""

SNAPSHOT = Path(__file__).with_name("components.json")
T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """What a class or function declares of itself.

    Attributes:
        name: Its stable name; never that of another.
        version: ``MAJOR.MINOR``.
        outside: Arguments that do not change a result: how data gets here, what people see.
        former: What arguments were called that have another name now, or are several: ``{"old": ("new",)}``.
        formerly: Dotted paths at which it lay before; ``make golden`` keeps them, nobody declares them.
        uses: Names of the components it is made of; their MINORs count as its own, their MAJORs beyond 1 too.
        display_only: Of a callback: it shows something of a training and never changes it.
        defaults: The constructor's defaults, as plain JSON.
    """

    name: str
    version: str
    outside: tuple[str, ...] = ()
    former: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    formerly: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    display_only: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def major(self) -> int:
        """The version of its meaning."""
        return _major(self.version)


def component(
    name: str,
    version: str,
    *,
    outside: Sequence[str] = (),
    former: Mapping[str, tuple[str, ...]] | None = None,
    uses: Sequence[Any] = (),
    display_only: bool = False,
) -> Callable[[T], T]:
    """Declare a class or function as a component; see `Component`. ``uses`` are components themselves.

    Raises:
        ValueError: The version is not ``MAJOR.MINOR``, or something used is no component.
    """
    if not re.fullmatch(r"[1-9]\d*\.\d+", version):
        raise ValueError(f"component {name}: version {version!r} must be MAJOR.MINOR, as in 1.0")
    used = [declared(each) for each in uses]
    if None in used:
        raise ValueError(f"component {name}: uses {uses[used.index(None)]}, which is no component")
    names = tuple(each.name for each in used if each)

    def declare(target: T) -> T:
        target.__component__ = Component(  # type: ignore[attr-defined]
            name=name,
            version=version,
            outside=tuple(outside),
            former=dict(former or {}),
            uses=names,
            display_only=display_only,
            defaults=defaults_of(target),
        )
        return target

    return declare


def declared(target: Any) -> Component | None:
    """What a class or function declares of itself; a subclass does not inherit it."""
    found = vars(target).get("__component__")
    return found if isinstance(found, Component) else None


def defaults_of(target: Any) -> dict[str, Any]:
    """The defaults of a constructor's arguments, as plain JSON; what is no JSON stands as text."""
    parameters = inspect.signature(target).parameters.values()
    found = {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
    return {name: _as_json(value) for name, value in found.items()}


def _as_json(value: Any) -> Any:
    """A value as JSON has it; another kind of thing stands by its name, the same in every process."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


@cache
def snapshot() -> dict[str, Component]:
    """The suite's own components by dotted path, as ``components.json`` lists them."""
    return parse(SNAPSHOT.read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Component]:
    """The components of a listing, by dotted path."""
    return TypeAdapter(dict[str, Component]).validate_json(text)


@cache
def by_name() -> dict[str, Component]:
    """The suite's own components by name."""
    return {each.name: each for each in snapshot().values()}


def collect() -> dict[str, Component]:
    """The suite's own components by dotted path, read from the code itself; imports all of it.

    Raises:
        ValueError: Two have the same name.
    """
    import pkgutil

    import dlbench

    found: dict[str, Component] = {}
    for module in pkgutil.walk_packages(dlbench.__path__, f"{PACKAGE}."):
        if module.name.endswith("__main__"):
            continue
        try:
            content = vars(importlib.import_module(module.name))
        except ModuleNotFoundError:  # of an extra that is not installed; it has no components
            continue
        for name, value in content.items():
            own = getattr(value, "__module__", None) == module.name and hasattr(value, "__dict__")
            if own and (each := declared(value)):
                found[f"{module.name}.{name}"] = each
    names = [each.name for each in found.values()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"components of the same name: {', '.join(twice)}")
    return dict(sorted(found.items()))


def renewed() -> dict[str, Component]:
    """The suite's own components by dotted path as the code has them now, each with all places where it lay before.

    Raises:
        ValueError: Two have the same name, or one lies where another lay before.
    """
    now = collect()
    for path, each in now.items():
        if known := by_name().get(each.name):
            before = next(place for place, one in snapshot().items() if one is known)
            formerly = {*known.formerly, before} - {path}
            if taken := formerly & now.keys():
                raise ValueError(f"component {each.name} lay at {min(taken)}, where another lies now")
            now[path] = replace(each, formerly=tuple(sorted(formerly)))
    return now


def listing(components: Mapping[str, Component]) -> str:
    """``components.json``: see `snapshot`."""
    return json.dumps({path: asdict(each) for path, each in components.items()}, indent=1, ensure_ascii=False) + "\n"


def changed_meaning(before: Mapping[str, Component], after: Mapping[str, Component]) -> list[str]:
    """Components whose defaults changed, or that lost an argument without a word, though their MAJOR is the same."""
    now = {each.name: each for each in after.values()}
    problems = []
    for each in before.values():
        new = now.get(each.name)
        if new is None or new.major != each.major:
            continue
        for name, default in each.defaults.items():
            today = new.former.get(name, (name,))
            if any(place not in new.defaults or new.defaults[place] != default for place in today):
                problems.append(f"{each.name} {new.version}: the default of {name} was {default}; raise its MAJOR")
    return problems


def path_now(target: str) -> str:
    """Where a component lies today that lay at ``target`` once; other targets stay as they are."""
    return _moved().get(target, target)


@cache
def _moved() -> dict[str, str]:
    return {old: path for path, each in snapshot().items() for old in each.formerly}


def today(node: Any) -> Any:
    """A recorded configuration in today's words: components where they lie now, arguments under their new names.

    Synthetic data was called embedded once.

    Raises:
        ConfigError: An argument stands there under its old and its new name.
    """
    if node is None or isinstance(node, str | int | float):  # as nearly all are
        return node
    if isinstance(node, list | tuple):
        return [today(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: today(value) for key, value in node.items()}
    if isinstance(target := found.get("_target_"), str):
        found["_target_"] = path_now(target)
        known = snapshot().get(found["_target_"])
        for old, new in known.former.items() if known else ():
            if old in found and new != (old,):
                if any(name in found for name in new):
                    raise ConfigError(f"{old}: is called {', '.join(new)} now, which has a value too; leave {old} out")
                value = found.pop(old)
                found |= dict.fromkeys(new, value)
        if known and found.get("source") == "embedded":
            found["source"] = "synthetic"
    return found


def with_younger(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded part of a configuration, in today's words, with the options of ``now`` that came after it.

    It was made as they are by default. Of a class that is not the suite's own it is not known which came after it.
    """
    known = snapshot().get(str(recorded.get("_target_")))
    defaults = {name: value for name, value in known.defaults.items() if name in now} if known else {}
    return {**defaults, **recorded}


def locate(target: str) -> Any:
    """The class or function at a dotted path, or where it lies now; None if there is none.

    Raises:
        ConfigError: Its module cannot be imported.
    """
    try:
        return pydoc.locate(path_now(target))
    except pydoc.ErrorDuringImport as error:
        raise ConfigError(f"{target}: cannot be imported ({type(error.value).__name__}: {error.value})") from error


def describe(target: str) -> tuple[dict[str, Any], Component]:
    """What stands for a target in an identity, and the component it is.

    The suite's own are told by name and MAJOR. Torch's are told by dotted path. Those of another installed distribution
    by its version too. A user's own code is told by its declared name and MAJOR, or else by a hash of its module, of
    all local modules that it imports, and of the MAJORs of the suite's components in these.

    Raises:
        ConfigError: There is no such target, or its source cannot be found.
    """
    target = path_now(target)
    if known := snapshot().get(target):
        return _meaning(known), known
    top = target.partition(".")[0]
    if top == "torch":
        return {"is": target}, Component(target, "1.0")
    located = locate(target)
    if located is None:
        raise ConfigError(f"_target_={target}: no such class or function")
    known = declared(located)
    if top == PACKAGE:
        if known:  # lies elsewhere than components.json says: `make golden` has not been run yet
            return _meaning(known), known
        raise ConfigError(f"_target_={target}: no component of the suite; choose another, or make a class of your own")
    if known:
        if known.name in by_name():
            raise ConfigError(f"_target_={target}: declares the name {known.name}, which is taken; choose another")
        return _meaning(known), known
    defined = inspect.getmodule(located)
    parts = target.split(".")
    named = next(name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in sys.modules)
    # A module may name what another defines: both decide what it is.
    modules = dict.fromkeys((named, *((defined.__name__,) if defined else ())))
    told: dict[str, Any] = {"is": target}
    if found := [distribution for name in modules if (distribution := own_code.distribution(name))]:
        told["distribution"] = ", ".join(dict.fromkeys(found))
    ours = [name for name in modules if not own_code.is_foreign(name)]
    if ours or not found:
        told["source"] = source_of(ours[0] if ours else named)
    return told, Component(target, "1.0")


def outside(target: str) -> tuple[str, ...]:
    """The arguments of one of the suite's own components that do not change a result."""
    known = snapshot().get(path_now(target))
    return known.outside if known else ()


def is_display_only(target: str) -> bool:
    """Whether a callback says, in its own body, that it only shows something: ``display_only = True``."""
    known = snapshot().get(path_now(target))
    return known.display_only if known else bool(vars(locate(target) or object).get("display_only", False))


def _meaning(known: Component) -> dict[str, Any]:
    majors = {name: by_name()[name].major for name in sorted(known.uses) if name in by_name()}
    beyond = {name: major for name, major in majors.items() if major > 1}  # so that a further use changes nothing
    return {"is": f"{known.name} {known.major}", **({"uses": beyond} if beyond else {})}


def versions(node: Any) -> dict[str, str]:
    """The versions of all components that a configuration names, and of what they use, by name."""
    found: dict[str, str] = {}
    waiting = [each for target, _ in _targets(node) if (each := describe(target)[1]).name != path_now(target)]
    while waiting:  # what has no declared version is told by the identity itself
        each = waiting.pop()
        found[each.name] = each.version
        waiting += [by_name()[used] for used in each.uses if used in by_name()]
    return dict(sorted(found.items()))


def outdated(recorded: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Components whose version is another today: the one recorded, and today's; what is not the suite's is left out."""
    today = {name: each.version for name in recorded if (each := by_name().get(name))}
    return {name: (recorded[name], now) for name, now in today.items() if recorded[name] != now}


def unlike(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Components of two runs whose versions differ; what only one of them is made of does not count."""
    return [name for name in one.keys() & other.keys() if one[name] != other[name]]


def in_words(changes: Mapping[str, tuple[str, str]]) -> str:
    """Versions that differ, as a person reads them: ``sgd 1.0, now 1.1``."""
    return ", ".join(f"{name} {then}, now {now}" for name, (then, now) in changes.items())


def is_comparable(recorded: Mapping[str, str]) -> bool:
    """Whether every component means today what it meant: its MAJOR is the same."""
    return all(_major(then) == _major(now) for then, now in outdated(recorded).values())


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def check_trusted(node: Any, where: str, error: type[DlbenchError] = ConfigError) -> None:
    """See that all that a file names is the suite's own or torch's, before any of it is imported.

    A record, a report or a cache may come from anywhere; code of one's own is named on one's own command line.

    Args:
        node: A configuration, or a part of one.
        where: What it stands in.
        error: What is raised.

    Raises:
        DlbenchError: Something else is named, or a value is still to be resolved.
    """
    for each in _within(node):
        if isinstance(each, str) and "${" in each:
            raise error(f"{where}: holds {each}, which would be resolved here; a recorded value stands for itself")
        target = each.get("_target_") if isinstance(each, Mapping) else None
        if target is not None and path_now(str(target)) not in snapshot() and not TRUSTED.fullmatch(str(target)):
            raise error(f"{where}: names {target}, which is not the suite's, nor an optimiser or schedule of torch's")


def _within(node: Any) -> Iterator[Any]:
    """A value, and all values in it."""
    yield node
    for value in node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ():
        yield from _within(value)


def _targets(node: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The targets that a configuration names, each with the part that names it."""
    for each in _within(node):
        if isinstance(each, Mapping) and isinstance(target := each.get("_target_"), str):
            yield target, each


def check_code(target: str) -> None:
    """See that the code of one of the suite's own components is what ``components.json`` says of it.

    Raises:
        ConfigError: Its version or a default is another.
    """
    if (known := snapshot().get(target)) and (live := declared(locate(target))):
        problems = changed_meaning({target: known}, {target: live})
        if live.version != known.version:
            problems.append(f"{known.name}: version {live.version}, but components.json has {known.version}")
        if problems:
            raise ConfigError(f"{problems[0]}; then run make golden")


def source_of(module: str) -> str:
    """The hash of a user's own module (see `dlbench.own_code.source`), and of MAJORs beyond 1 of what it takes of ours.

    Raises:
        ConfigError: The module has no file.
    """
    digest, ours = own_code.source(module)
    within = (each for place, each in snapshot().items() if any(f"{place}.".startswith(f"{name}.") for name in ours))
    majors = {each.name: each.major for each in within if each.major > 1}
    return hashlib.sha256(f"{digest} {json.dumps(majors, sort_keys=True)}".encode()).hexdigest()


def bound(node: Any) -> dict[str, dict[str, Any]]:
    """For each class of a configuration that is not the suite's own, the defaults that fill what is left open."""
    return {
        target: {name: value for name, value in defaults_of(locate(target)).items() if name not in part}
        for target, part in _targets(node)
        if path_now(target) not in snapshot()
    }
