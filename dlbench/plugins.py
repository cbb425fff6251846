"""Configurations that other installed packages bring along, told by their entry points in `GROUP`."""

from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

GROUP = "dlbench.plugins"


@cache
def folders() -> tuple[Path, ...]:
    """The folders of configurations, by the names of their entry points; no package is imported.

    One that is not there is named in a line and left out: nobody may have asked for it.
    """
    found: dict[Path, None] = {}
    try:
        entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    except Exception as error:  # importlib meets a damaged file of any package with errors of many kinds
        _say(f"the entry points of installed packages cannot be read ({error}); plugins are left out")
        return ()
    for entry in entries:
        if places := _folders(entry.value):
            found |= dict.fromkeys(places)
        else:
            owner = entry.dist.name if entry.dist else "a package"
            _say(
                f"plugin {entry.name} of {owner}: no folder of configurations at {entry.value}; reinstall or remove it"
            )
    return tuple(found)


def _say(line: str) -> None:
    from dlbench.terminal import say  # which takes a while to import, and is seldom needed here

    say(line)


def _folders(place: str) -> list[Path]:
    """The folders at a dotted path in a package."""
    package, *parts = place.split(".")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    inside = (Path(folder, *parts) for folder in (spec and spec.submodule_search_locations) or ())
    return [folder for folder in inside if folder.is_dir()]
