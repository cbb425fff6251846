"""The picture of a search: its course, and what mattered in it."""

import itertools
from collections.abc import Sequence

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study

from dlbench.metrics.names import display_name
from dlbench.report.figures import style
from dlbench.sweep.search import Search

FEWEST = 10
"""Trials: of fewer nobody can say what mattered."""


def draw(search: Search) -> str:
    """The objective of each trial and the best up to it, and how much each setting mattered, as SVG."""
    told = search.told
    best = list(itertools.accumulate(told.values(), max if search.mode == "max" else min))
    shares = _importances(search.study, list(told.values()))
    with style.styled():
        figure, panels = style.panels(2 if shares else 1, 2.6, width=8.0)
        numbers = [number + 1 for number in told]
        panels[0].plot(numbers, list(told.values()), "o", color=style.SKY, label="a trial")
        panels[0].step(numbers, best, where="post", color=style.INK, label="best so far")
        panels[0].set(title=display_name(search.metric), xlabel="trial")
        panels[0].legend()
        for panel in panels[1:]:
            panel.barh(list(shares), list(shares.values()), color=style.BLUE)
            panel.invert_yaxis()
            panel.set(title="importance of the settings", xlabel="share (PED-ANOVA)")
        return style.svg(figure)


def _importances(study: Study, values: Sequence[float]) -> dict[str, float]:
    """How much each setting tells the best trials from the others; nothing where trials are too few or alike."""
    if len(values) < FEWEST or len(set(values)) == 1:
        return {}
    quantile = max(0.1, FEWEST / 2 / len(values))
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile))
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
