"""Lines to the person at the terminal."""

import difflib
import sys
from collections.abc import Iterable


def say(line: str) -> None:
    """One line on standard error, marked as ours."""
    print(f"dlbench: {' '.join(line.split())}", file=sys.stderr, flush=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """A phrase that names the known words most like ``word``, or all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(words)}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line; where it says nothing, its kind."""
    return (str(error) or type(error).__name__).splitlines()[0]
