"""SIGTERM taken for Ctrl-C, and Lightning's answers to either."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def interrupted_by_sigterm(first: Callable[[], object] | None = None) -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM, so that no child process outlives this one; ``first`` is called before.

    Lightning by itself only makes a note of SIGTERM, which some of its loops never read, and ends by SystemExit, with
    code 0, where they do; so does it, with code 1, on Ctrl-C. Where it finds a handler it calls that one too. Only a
    main thread gets signals; in another one they are left as they are.

    Args:
        first: What else is to be told, such as a child that does not get the signal.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    came = False

    def interrupt(*_: object) -> NoReturn:
        nonlocal came
        came = True
        if first:
            first()
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, interrupt) if is_main else None
    try:
        yield
        if came:  # while some destructor ran, where Python passes exceptions over
            raise KeyboardInterrupt
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
