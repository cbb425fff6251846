"""Run ``python -m dlbench`` and kill it with SIGKILL when a function is called for the nth time.

Usage: python die_at.py MODULE:FUNCTION N before|after [overrides]. The function is the real one; only the moment of
death is chosen, so that a kill at any point of a run can be repeated exactly.
"""

import functools
import importlib
import os
import signal
import sys


def arm(place: str, nth: int, moment: str) -> None:
    """Have the process die before or after the nth call of a function."""
    module_name, _, path = place.partition(":")
    owner = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original, calls = getattr(owner, name), 0

    @functools.wraps(original)
    def deadly(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **keywords)
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    sys.argv = ["dlbench", *sys.argv[4:]]
    from dlbench.__main__ import main

    main()
