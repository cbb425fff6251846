"""What was written for the words that a report quotes, set beside its own predictions."""

from collections.abc import Iterator, Mapping, Sequence

from dlbench.report.blocks import Cell, Column, Grid, Verdict
from dlbench.report.figures import artifacts
from dlbench.report.figures.artifacts import Prediction
from dlbench.report.results import Result
from dlbench.report.schema import Figure

SAMPLES = 3
"""So many count for a word where the evaluation does not say."""

NOTHING = "(nothing)"
Places = Mapping[int, Sequence[Prediction]]


def draw(figure: Figure, results: Mapping[str, Sequence[Result]], identity: str, problems: list[str]) -> Grid | None:
    """A row a word: the published predictions, then the distinct ones of the first run of each configuration.

    Args:
        figure: Names the words.
        results: The runs of each configuration.
        identity: The grid's.
        problems: What is left out, and why, is added to it.
    """
    found = artifacts.first_of_each(results, artifacts.predictions, problems)
    if not found or not figure.words:
        return None
    runs = [(places, results[name][0]) for name, places in found.items()]
    columns = [Column("word"), Column("published")]
    for name in found:
        columns += [Column("ours" if len(found) == 1 else f"ours, {name}"), Column("")]
    rows = []
    for word, quoted in figure.words.items():
        row = [Cell(word), Cell(", ".join(quoted.published))]
        for places, run in runs:
            row += _ours(word, hypotheses(word, quoted.place, places, run, problems))
        rows.append(tuple(row))
    return Grid(identity, figure.title, tuple(columns), tuple(rows))


def hypotheses(word: str, place: int, places: Places, run: Result, problems: list[str]) -> list[str]:
    """The distinct hypotheses that count for a word, by rank; none where another word stands at its place."""
    counted = int(run.evaluated.get("k", SAMPLES))
    kept = [one for one in places.get(place, ()) if one.rank <= counted]
    other = next((one.reference for one in kept if one.reference not in (None, word)), None)
    if other is not None:
        problems.append(f"Run {run.run} has {other} at place {place}, not {word}.")
        return []
    return list(dict.fromkeys(one.hypothesis for one in kept))


def _ours(word: str, written: Sequence[str]) -> Iterator[Cell]:
    if not written:
        yield from (Cell("-"), Cell("-"))
        return
    yield Cell(", ".join(one or NOTHING for one in written))
    is_right = word in written
    reason = f"{'one' if is_right else 'none'} of them is {word}"
    yield Cell(reason, verdict=Verdict.RIGHT if is_right else Verdict.WRONG)
