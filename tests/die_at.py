"""Run ``python -m dlbench`` and kill it with SIGKILL when a function is called for the nth time.

Usage: python die_at.py MODULE:FUNCTION N before|after [overrides]. The function is the real one; only the moment of
death is chosen, so that a kill at any point of a run can be repeated exactly.
"""

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def arm(  # noqa: PLR0917
    owner: Any, name: str, nth: int, act: Callable[[], object], moment: str = "before", put: Any = setattr
) -> list[str]:
    """Have something done ``before`` or ``after`` the nth call of a function of a module or class.

    Returns:
        An entry a call, as they come.
    """
    original, calls = getattr(owner, name), list[str]()

    @functools.wraps(original)
    def armed(*arguments: object, **keywords: object) -> object:
        calls.append(name)
        is_nth = len(calls) == nth
        if is_nth and moment == "before":
            act()
        result = original(*arguments, **keywords)
        if is_nth and moment == "after":
            act()
        return result

    put(owner, name, armed)
    return calls


if __name__ == "__main__":
    module, _, path = sys.argv[1].partition(":")
    *parents, function = path.split(".")
    place = functools.reduce(getattr, parents, importlib.import_module(module))
    arm(place, function, int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL), sys.argv[3])
    sys.argv = ["dlbench", *sys.argv[4:]]
    from dlbench.__main__ import main

    main()
