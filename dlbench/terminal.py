"""What a person at the terminal reads: lines, tables, numbers, progress."""

import difflib
import shutil
import statistics
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Literal, TextIO, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""What steers a terminal or breaks lines, by category of Unicode, and what turns the direction of reading."""


def printable(text: str, kept: str = "") -> str:
    r"""Text of anybody's for a terminal: what would steer it stands as an escape, ``\x1b``, but for those ``kept``."""
    if text.isascii() and text.isprintable():
        return text
    hidden = {
        each for each in text if unicodedata.category(each) in _HIDDEN or unicodedata.bidirectional(each) in _TURNING
    }
    return text.translate({ord(each): ascii(each)[1:-1] for each in hidden - {*kept}})


class SafeConsole(Console):
    """A console that nothing steers but rich itself: see `printable`."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See rich."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, kept="\n"))


def say(line: str, file: TextIO | None = None) -> None:
    """One line on standard error, or in ``file``, marked as ours."""
    print(f"dlbench: {printable(' '.join(line.split()))}", file=file or sys.stderr, flush=True)


def tell(line: str) -> None:
    """One line on standard output, of texts that may be anybody's."""
    print(printable(line), flush=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """A phrase that names the known words most like ``word``, or all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(words)}"


def is_like(word: str, known: Iterable[str]) -> bool:
    """Whether a word is much like one of the known ones, or begins with one."""
    word, words = word.lower(), [each.lower() for each in known]
    return word.startswith(tuple(words)) or bool(difflib.get_close_matches(word, words, n=1, cutoff=0.75))


def first_line(error: BaseException) -> str:
    """What an error says, in one line; where it says nothing, its kind."""
    return (str(error) or type(error).__name__).splitlines()[0]


UNLIMITED = 10_000
"""Columns that no table needs; a table takes what it needs of them."""
MIN_FOLDED = 12
"""Columns in which text can still be folded."""


def print_whole(table: Table) -> None:
    """Print a table with nothing cut: on a narrow terminal its cells are folded, elsewhere it is as wide as it is.

    Words are broken only where the longest words of all columns together are wider than the terminal.
    """
    console = SafeConsole(width=None if sys.stdout.isatty() else UNLIMITED, highlight=False, markup=False)
    wide = console.options.update_width(UNLIMITED)
    sizes = []
    for column in table.columns:
        column.overflow = "fold"
        cells = [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
        sizes.append((max(cell.minimum for cell in cells), max(cell.maximum for cell in cells)))
    missing = Measurement.get(console, wide, table).maximum - console.width
    if 0 < missing <= sum(most - least for least, most in sizes):
        for column, (least, most) in zip(table.columns, sizes, strict=True):
            column.width = max(least, most - missing)  # the first columns, which hold words, are folded first
            missing -= most - column.width
    console.print(table)


def print_columns(rows: Iterable[Sequence[str]]) -> None:
    """Print rows of texts of anybody's, their columns aligned, the last one folded where the terminal is too narrow.

    It bears thousands of rows, each of which would cost 2 ms in one of rich's tables.
    """
    if not (shown := [[printable(cell) for cell in row] for row in rows]):
        return
    *widths, _ = _widths(shown)
    console = Console()  # rich asks for one to fold a text
    left = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths) if sys.stdout.isatty() else UNLIMITED
    for *cells, text in shown:
        begin = "".join(f"{set_cell_size(cell, width)}  " for cell, width in zip(cells, widths, strict=True))
        folds = MIN_FOLDED <= left < cell_len(text)
        lines = [line.plain for line in Text(text).wrap(console, left)] if folds else [text]
        for number, line in enumerate(lines):
            print(f"{' ' * cell_len(begin) if number else begin}{line}".rstrip())


def width_of(rows: Iterable[Sequence[str]]) -> int:
    """How many columns of a terminal `print_columns` takes."""
    widths = _widths([[printable(cell) for cell in row] for row in rows])
    return sum(widths) + 2 * (len(widths) - 1)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items as they come, with a bar where a person watches, and a line elsewhere."""
    from rich.progress import track

    watched = sys.stderr.isatty()
    if total and not watched:
        say(f"{what} ({total})")
    yield from track(items, what, total, console=Console(stderr=True), disable=not watched, transient=True)


ProgressKind = Literal["auto", "bar", "lines", "none"]
"""A live bar, plain lines, nothing, or whichever of the first two suits the terminal."""

_doing: ContextVar[Callable[[str], None]] = ContextVar("doing", default=lambda what: None)


def suited(kind: ProgressKind) -> ProgressKind:
    """The same, but for ``auto`` what suits the terminal."""
    return kind if kind != "auto" else "bar" if sys.stdout.isatty() else "lines"


def doing(what: str) -> None:
    """Say what is being done now to whoever watches, if anybody does: see `watched`."""
    _doing.get()(what)


@contextmanager
def watched(kind: ProgressKind) -> Iterator[None]:
    """Show what is said to be done inside, on one line that changes, or on a line every ten seconds."""
    last = time.monotonic()

    def line(what: str) -> None:
        nonlocal last
        if time.monotonic() - last > 10:
            last = time.monotonic()
            tell(what)

    with ExitStack() as stack:
        shown: dict[ProgressKind, Callable[[str], None]] = {"lines": line, "none": lambda what: None}
        if (kind := suited(kind)) == "bar":
            shown["bar"] = stack.enter_context(SafeConsole().status("", spinner="line")).update
        token = _doing.set(shown[kind])
        try:
            yield
        finally:
            _doing.reset(token)


def mean_and_spread(values: Sequence[float]) -> str:
    """``mean ± standard deviation (n)``; a single value, or one that never varies, stands without a spread."""
    if len(set(values)) == 1:
        return f"{format_value(values[0])} ({len(values)})"
    return f"{format_value(statistics.fmean(values))} ± {format_value(statistics.stdev(values))} ({len(values)})"


def format_value(value: float) -> str:
    """Counts whole, everything else with four decimals, as the reports print them."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def format_metric(value: float) -> str:
    """See `format_value`; whole numbers are counts."""
    return f"{value:,}" if isinstance(value, int) else format_value(value)


def duration(seconds: float) -> str:
    """A time as people say it: ``8 seconds``, ``40 minutes``, ``3 hours``."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}s"
    return f"{seconds:.0f} second{'s' * (round(seconds) != 1)}" if round(seconds) else "less than a second"


def clock(seconds: float) -> str:
    """A time left, at least a second: ``00:01:30``, ``30:00:00``."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def capitalised(text: str) -> str:
    """Text with a capital letter first, unless its first word is a name such as ``a2425``."""
    is_name = any(letter.isdigit() for letter in text.partition(" ")[0])
    return text if is_name else text[:1].upper() + text[1:]


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def sentence(note: str) -> str:
    """A note as a sentence, with a capital letter first and a full stop."""
    return capitalised(note) + ("" if note.endswith((".", "!", "?")) else ".")
