"""SIGTERM taken for Ctrl-C."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def interrupted_by_sigterm(first: Callable[[], object] | None = None) -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM, so that no child process outlives this one; ``first`` is called before.

    Args:
        first: What else is to be told, such as a child that does not get the signal.
    """

    def interrupt(*_: object) -> NoReturn:
        if first:
            first()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
