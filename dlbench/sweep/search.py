"""A search: a sweep whose next settings an Optuna sampler chooses by what the runs before came to, on validation data.

The search keeps nothing of its own. Its trials are ordinary records, and a seeded sampler that is told the same asks
for the same; so a search that was killed and is started again looks up what is there, and goes on.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from dlbench.errors import ConfigError, SweepError
from dlbench.metrics.names import display_name
from dlbench.records.files import write_text
from dlbench.sweep.job import JobOutcome
from dlbench.terminal import format_value, say

optuna.logging.set_verbosity(optuna.logging.ERROR)
FEWEST = 10
"""Trials: of fewer nobody can say what mattered."""


def search(
    launcher: Launcher, words: Sequence[str], sampler: BaseSampler, *, trials: int, at_a_time: int, picture: Path | None
) -> list[Any]:
    """Make the trials; the best is told on standard error.

    Args:
        launcher: Runs the trials of a round.
        words: Overrides. Those of several values (``a,b``, ``range(1,5)``, ``interval(0.1,0.9)``,
            ``tag(log,interval(1e-4,1e-1))``) are searched, the later of two of one key; the others hold for all trials.
        sampler: Asked for the settings of each trial; what fails or diverges is told to it as failed.
        trials: How many runs.
        at_a_time: Runs a round, side by side; the sampler is told what they came to when all have ended. It changes
            what the search finds, so it belongs to it, whatever the machine's cores.
        picture: The file for the picture of the search; None: none is drawn.

    Returns:
        What the launcher returned of each trial.

    Raises:
        ConfigError: No word is to be searched, one cannot be, a number is not above 0, trials go by several metrics, or
            the sampler cannot be used.
        SweepError: No trial came to an objective.
    """
    for name, number in (("trials", trials), ("at_a_time", at_a_time)):
        if not (isinstance(number, int) and number >= 1):
            raise ConfigError(f"hydra.sweeper.{name}={number}: choose 1 or more")
    fixed, space = _space(words)
    study = optuna.create_study(sampler=sampler)  # which is told what is to be small
    returned: list[Any] = []
    goal: tuple[str, str] | None = None
    told: dict[int, float] = {}
    while len(returned) < trials:
        asked = [study.ask(space) for _ in range(min(at_a_time, trials - len(returned)))]
        jobs = [[*fixed, *_overrides(trial)] for trial in asked]
        made = launcher.launch(jobs, initial_job_idx=len(returned))
        for trial, each in zip(asked, made, strict=True):
            outcome: JobOutcome = each.return_value
            if outcome.objective is None:
                _tell(study, trial, None)
                continue
            if goal and goal != (outcome.metric, outcome.mode):
                raise ConfigError(f"trials go by {goal[0]} and by {outcome.metric}; choose objective=METRIC for all")
            goal, told[trial.number] = (str(outcome.metric), str(outcome.mode)), outcome.objective
            _tell(study, trial, -outcome.objective if outcome.mode == "max" else outcome.objective)
        returned += made
        if goal:
            best = study.best_trial
            value = f"{display_name(goal[0])} {format_value(told[best.number])}"
            settings = " ".join(_overrides(best))
            say(f"search: the best so far is trial {best.number + 1} of {len(returned)}: {value} with {settings}")
    if not goal:
        raise SweepError(f"none of {len(returned)} trials came to an objective")
    if picture:
        write_text(picture, draw(study, told, *goal))
        say(f"search: its course and what mattered: {picture}")
    return returned


def _tell(study: Study, trial: Trial, value: float | None) -> None:
    """Tell the sampler what a trial came to; None: it failed."""
    try:
        study.tell(trial, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
    except RuntimeError as error:  # of one that goes through a grid, and would end the search itself
        raise ConfigError(f"hydra.sweeper.sampler: cannot be used here ({error}); choose another") from error


def _space(words: Sequence[str]) -> tuple[list[str], dict[str, BaseDistribution]]:
    """The words that hold for every trial, and what is searched by key."""
    fixed: dict[str, str] = {}
    space: dict[str, BaseDistribution] = {}
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise ConfigError(f"{word}: cannot be read; quote a value that is text") from error
        key = override.get_key_element()
        for found in (fixed, space):
            for same in [each for each in found if each.lstrip("+") == key.lstrip("+")]:
                del found[same]
        if override.is_sweep_override():
            space[key] = _distribution(word, override)
        else:
            fixed[key] = word
    if not space:
        raise ConfigError("nothing to search: give a key several values, such as optimizer.lr=interval(0.001,0.1)")
    return list(fixed.values()), space


def _distribution(word: str, override: Override) -> BaseDistribution:
    """What a sampler chooses from."""
    values: Any = override.value()
    tags: set[str] = getattr(values, "tags", set())
    is_shuffled = getattr(values, "shuffle", False)
    is_log = tags == {"log"}
    try:
        match values:
            case IntervalSweep(start=int(low), end=int(high)) if is_log or not tags:
                return IntDistribution(low, high, log=is_log)
            case IntervalSweep(start=int() | float() as low, end=int() | float() as high) if is_log or not tags:
                return FloatDistribution(low, high, log=is_log)
            case RangeSweep(start=int(low), stop=int(end), step=int(step)) if not (tags or is_shuffled):
                return IntDistribution(low, max(range(low, end, step)), step=step)
            case RangeSweep() | ChoiceSweep() if not (tags or is_shuffled):
                return CategoricalDistribution(list(override.sweep_string_iterator()))
    except ValueError as error:
        raise ConfigError(f"{word}: cannot be searched ({error})") from error
    said = "give choices (a,b), range(1,5), interval(0.1,0.9) or tag(log,interval(0.001,0.1))"
    raise ConfigError(f"{word}: cannot be searched; {said}")


def _overrides(trial: Any) -> list[str]:
    return [f"{key}={value}" for key, value in trial.params.items()]


def draw(study: Study, told: dict[int, float], metric: str, mode: str) -> str:
    """The objective of each trial and the best up to it, and how much each setting mattered, as SVG.

    Args:
        study: Optuna's.
        told: The objective by trial, from 0; trials without one are left out.
        metric: What the objective is.
        mode: Whether the highest (``max``) or the lowest (``min``) is the best.
    """
    from dlbench.report.figures import style

    best = list(itertools.accumulate(told.values(), max if mode == "max" else min))
    shares = _importances(study, list(told.values()))
    with style.styled():
        figure, panels = style.panels(2 if shares else 1, 2.6)
        numbers = [number + 1 for number in told]
        panels[0].plot(numbers, list(told.values()), "o", color=style.SKY, label="a trial")
        panels[0].step(numbers, best, where="post", color=style.INK, label="best so far")
        panels[0].set(title=display_name(metric), xlabel="trial")
        panels[0].legend()
        for panel in panels[1:]:
            panel.barh(list(shares), list(shares.values()), color=style.BLUE)
            panel.invert_yaxis()
            panel.set(title="how much each setting mattered", xlabel="share (PED-ANOVA)")
        return style.svg(figure)


def _importances(study: Study, values: Sequence[float]) -> dict[str, float]:
    """How much each setting tells the best trials from the others; nothing where trials are too few or alike."""
    if len(values) < FEWEST or len(set(values)) == 1:
        return {}
    quantile = max(0.1, FEWEST / 2 / len(values))
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile))
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
