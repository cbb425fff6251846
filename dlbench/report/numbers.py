"""Numbers and notes as people read them."""

import statistics
from collections.abc import Sequence


def mean_and_spread(values: Sequence[float]) -> str:
    """``mean ± standard deviation (n)``; a single value, or one that never varies, stands without a spread."""
    if len(set(values)) == 1:
        return f"{format_value(values[0])} ({len(values)})"
    return f"{format_value(statistics.fmean(values))} ± {format_value(statistics.stdev(values))} ({len(values)})"


def format_value(value: float) -> str:
    """Counts whole, everything else with four decimals, as the reports print them."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def capitalised(text: str) -> str:
    """Text with a capital letter first; the others stay as they are."""
    return text[:1].upper() + text[1:]


def sentence(note: str) -> str:
    """A note as a sentence, with a capital letter first and a full stop."""
    note = capitalised(note)
    return note if note.endswith((".", "!", "?")) else f"{note}."
