"""The Hydra sweepers for jobs that are no grid; Hydra finds sweepers only in packages of this name."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dlbench.errors import ConfigError


class _Sweeper(Sweeper):
    """What has a launcher."""

    launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the configured launcher ready."""
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )


class ListedSweeper(_Sweeper):
    """Launches the jobs listed in a file, all in one go.

    Args:
        jobs: A JSON file: a list of jobs, each a list of overrides.
    """

    def __init__(self, jobs: str | None) -> None:
        self.jobs = jobs

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job; the command line's overrides are added to each and win, each of several in runs of its own.

        Raises:
            ConfigError: No file is named, or it cannot be read or is no such list.
            SweepError: A run failed; all others were made.
        """
        if self.jobs is None:
            raise ConfigError("hydra.sweeper.jobs: no value; name a JSON file, a list of jobs")
        added = [*itertools.product(*map(_each, arguments))]
        jobs = [[*job, *more] for job in _read(Path(self.jobs)) for more in added]
        return self.launcher.launch(jobs, initial_job_idx=0)


class SearchSweeper(_Sweeper):
    """Searches with Optuna: see `dlbench.sweep.search.search`.

    Args:
        trials: How many runs.
        at_a_time: Runs a round.
        sampler: The sampler's ``_target_`` and arguments.
        params: Overrides by key; those of the command line win.
        picture: The file for the picture of the search; None: none is drawn.
    """

    def __init__(
        self, trials: int, at_a_time: int, sampler: DictConfig, params: DictConfig | None, picture: str | None
    ) -> None:
        self.trials, self.at_a_time, self.sampler = trials, at_a_time, sampler
        self.params, self.picture = params or {}, picture

    def sweep(self, arguments: list[str]) -> Any:
        """Make the trials.

        Raises:
            ConfigError: Optuna is not installed, or the sampler or what is to be searched is wrong.
            SweepError: A run failed; all others were made.
        """
        # Hydra imports every plugin at start-up, whatever is run.
        from hydra.errors import InstantiationException
        from hydra.utils import instantiate

        from dlbench.paths import folder
        from dlbench.records.files import write_text
        from dlbench.terminal import say

        try:
            from optuna.samplers import BaseSampler

            from dlbench.report.figures.search import draw
            from dlbench.sweep.search import search
        except ModuleNotFoundError as error:
            if error.name != "optuna":
                raise
            raise ConfigError("a search needs Optuna: pip install optuna") from error
        try:
            sampler = instantiate(self.sampler)
        except InstantiationException as error:
            raise ConfigError(f"hydra.sweeper.sampler: {error.__cause__ or error}") from error
        if not isinstance(sampler, BaseSampler):
            raise ConfigError("hydra.sweeper.sampler: no sampler; its _target_ is one of optuna.samplers")
        words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        found = search(self.launcher, words, sampler, trials=self.trials, at_a_time=self.at_a_time)
        if self.picture:
            write_text(path := folder(self.picture), draw(found))
            say(f"search: its course and what mattered: {path}")
        return found.returned


def _each(word: str) -> Sequence[str]:
    """The word once for each of its values."""
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return [word]
    if not isinstance(override.value(), ChoiceSweep | RangeSweep):
        raise ConfigError(f"{word}: cannot be added to listed jobs; give choices (a,b) or range(1,5)")
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _read(path: Path) -> list[list[str]]:
    try:
        jobs: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"hydra.sweeper.jobs={path}: {error.strerror}; name a JSON list of jobs") from error
    except ValueError as error:
        raise ConfigError(f"hydra.sweeper.jobs={path}: no JSON ({error}); write the list of jobs anew") from error
    is_right = isinstance(jobs, list) and all(isinstance(job, list) for job in jobs)
    if not is_right or not jobs or not all(isinstance(word, str) for job in jobs for word in job):
        raise ConfigError(f'hydra.sweeper.jobs={path}: no list of jobs like [["+experiment=cnn_vanilla", "seed=1"]]')
    return list(jobs)
