"""A report's figure, redrawn from our runs: which of the kinds it is, and what had to be left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dlbench.report.blocks import Grid, Picture
from dlbench.report.evidence import Substituted
from dlbench.report.figures import bars, curves, heatmaps, samples, style
from dlbench.report.results import Result, ResultsOf
from dlbench.report.schema import Figure, Report
from dlbench.terminal import sentence

SubstitutedBy = Callable[[str], Substituted | None]
Drawer = Callable[[Mapping[str, Sequence[Result]], str, list[str]], tuple[str, str] | None]
ARTIFACTS: Mapping[str, Drawer] = {
    "attention": heatmaps.attention,
    "confusion": heatmaps.confusion,
    "maps": heatmaps.maps,
}


def draw(
    figure: Figure, report: Report, results_of: ResultsOf, identity: str, substituted: SubstitutedBy = lambda _: None
) -> Picture | Grid | None:
    """A figure as a picture, or a grid where it shows samples; its note says what is left out.

    What stands in for configurations is drawn only where none has runs of its own, under names that say so, and beside
    nothing published. None where there is nothing to draw.

    Args:
        figure: One of the report's.
        report: The report.
        results_of: Gives the results of a configuration.
        identity: Of the picture or grid.
        substituted: Gives what stands in for a configuration that has none.
    """
    every = {name: results_of(name) for name in figure.of}
    is_real = any(every.values())
    used = {} if is_real else {name: found for name in every if (found := substituted(name))}
    names = {name: f"{name} ({used[name].substitute.provenance})" if name in used else name for name in every}
    results = {names[name]: used[name].results if name in used else found for name, found in every.items()}
    results = {name: found for name, found in results.items() if found}
    problems = _missing(report, [name for name in every if names[name] not in results])
    figure = figure.model_copy(update={"of": tuple(names.values())})
    block = _block(figure, report, results, identity, problems) if results else None
    if block is None:
        return None
    abouts = dict.fromkeys(found.substitute.note(found.heading) for found in used.values())
    notes = [sentence(note) for note in (figure.note, *abouts, *problems) if note]
    return replace(block, note=" ".join(notes) or None)


def _block(
    figure: Figure, report: Report, results: Mapping[str, Sequence[Result]], identity: str, problems: list[str]
) -> Picture | Grid | None:
    if figure.kind == "samples":
        return samples.draw(figure, results, identity, problems)
    if figure.kind == "curves":
        drawn = curves.draw(figure.metrics, results, identity, problems)
    elif figure.kind == "bars":
        drawn = bars.draw(figure, report, results, identity, problems)
    else:
        drawn = ARTIFACTS[figure.kind](results, identity, problems)
    return Picture(identity, figure.title, *drawn) if drawn else None


def _missing(report: Report, names: Sequence[str]) -> list[str]:
    planned = [name for name in names if report.configurations[name].planned]
    absent = [name for name in names if name not in planned]
    said = (("Not run yet", absent), ("No experiment yet", planned))
    return [f"{what}: {style.listed(which)}." for what, which in said if which]
