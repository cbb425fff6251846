"""Lines to the person at the terminal."""

import sys


def say(line: str) -> None:
    """One line on standard error, marked as ours."""
    print(f"dlbench: {' '.join(line.split())}", file=sys.stderr, flush=True)
