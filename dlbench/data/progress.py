"""How far a long computation is, on standard error."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from dlbench.messages import say

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items as they come, with a bar where a person watches, and a line elsewhere."""
    from rich.console import Console
    from rich.progress import track

    watched = sys.stderr.isatty()
    if total and not watched:
        say(f"{what} ({total})")
    yield from track(items, what, total, console=Console(stderr=True), disable=not watched, transient=True)
