"""A search: a sweep whose next settings an Optuna sampler chooses by what the runs before came to, on validation data.

The search keeps nothing of its own. Its trials are ordinary records, and a seeded sampler that is told the same asks
for the same; so a search that was killed and is started again looks up what is there, and goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from dlbench.errors import ConfigError, SweepError
from dlbench.metrics.names import display_name
from dlbench.sweep.job import JobOutcome
from dlbench.terminal import format_value, say

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass
class Search:
    """What a search came to.

    Attributes:
        study: Optuna's; what is best is lowest in it.
        returned: What the launcher returned of each trial.
        told: The objective by trial, from 0; trials that failed or diverged have none.
        metric: What the objective is.
        mode: Whether the highest (``max``) or the lowest (``min``) is the best.
    """

    study: Study
    returned: list[Any] = field(default_factory=list)
    told: dict[int, float] = field(default_factory=dict)
    metric: str = ""
    mode: str = ""


def search(launcher: Launcher, words: Sequence[str], sampler: BaseSampler, *, trials: int, at_a_time: int) -> Search:
    """Make the trials; the best is told on standard error.

    Args:
        launcher: Runs the trials of a round.
        words: Overrides. Those of several values (``a,b``, ``range(1,5)``, ``interval(0.1,0.9)``,
            ``tag(log,interval(1e-4,1e-1))``) are searched, the later of two of one key; the others hold for all trials.
        sampler: Asked for the settings of each trial; what fails or diverges is told to it as failed.
        trials: How many runs.
        at_a_time: Runs a round, side by side; the sampler is told what they came to when all have ended. It changes
            what the search finds, so it belongs to it, whatever the machine's cores.

    Raises:
        ConfigError: No word is to be searched, one cannot be, a number is not above 0, trials go by several metrics, or
            the sampler cannot be used.
        SweepError: No trial came to an objective.
    """
    for name, number in (("trials", trials), ("at_a_time", at_a_time)):
        if not (isinstance(number, int) and number >= 1):
            raise ConfigError(f"hydra.sweeper.{name}={number}: choose 1 or more")
    fixed, space = _space(words)
    found = Search(optuna.create_study(sampler=sampler))
    while len(found.returned) < trials:
        asked = [found.study.ask(space) for _ in range(min(at_a_time, trials - len(found.returned)))]
        jobs = [[*fixed, *_overrides(trial)] for trial in asked]
        made = launcher.launch(jobs, initial_job_idx=len(found.returned))
        for trial, each in zip(asked, made, strict=True):
            _take(found, trial, each.return_value)
        found.returned += made
        if found.told:
            best = found.study.best_trial
            value = f"{display_name(found.metric)} {format_value(found.told[best.number])}"
            place, settings = f"trial {best.number + 1} of {len(found.returned)}", " ".join(_overrides(best))
            say(f"search: the best so far is {place}: {value} with {settings}")
    if not found.told:
        raise SweepError(f"none of {trials} trials came to an objective")
    return found


def _take(found: Search, trial: Trial, outcome: JobOutcome) -> None:
    """Note what a trial came to, and tell the sampler."""
    value = outcome.objective
    if value is not None:
        metric, mode = str(outcome.metric), str(outcome.mode)
        if found.told and metric != found.metric:
            raise ConfigError(f"trials go by {found.metric} and by {metric}; choose objective=METRIC for all")
        found.metric, found.mode, found.told[trial.number] = metric, mode, value
        value = -value if mode == "max" else value
    try:
        found.study.tell(trial, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
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
            if isinstance(choice := space[key], CategoricalDistribution) and len(choice.choices) == 1:
                fixed[key] = f"{key}={choice.choices[0]}"
                del space[key]
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
    """A trial's settings, those that are measured to four digits, which is less than they matter."""
    return [f"{key}={_rounded(value, trial.distributions[key])}" for key, value in trial.params.items()]


def _rounded(value: Any, space: BaseDistribution) -> str:
    """See `_overrides`; what would leave the interval stays as it is."""
    is_inside = isinstance(space, FloatDistribution) and space.low <= float(f"{value:.4g}") <= space.high
    return f"{value:.4g}" if is_inside else str(value)
