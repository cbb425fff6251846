"""The Hydra sweeper for jobs that are no grid; Hydra finds sweepers only in packages of this name."""

import json
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dlbench.errors import ConfigError


class ListedSweeper(Sweeper):
    """Launches the jobs listed in a file, all in one go.

    Args:
        jobs: A JSON file: a list of jobs, each a list of overrides.
    """

    def __init__(self, jobs: str | None) -> None:
        self.jobs = jobs
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the configured launcher ready."""
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job; the command line's overrides are added to each and win.

        Raises:
            ConfigError: No file is named, or it cannot be read or is no such list.
            SweepError: A run failed; all others were made.
        """
        assert self.launcher is not None
        if self.jobs is None:
            raise ConfigError("hydra.sweeper.jobs: no value; name a JSON file, a list of jobs")
        return self.launcher.launch([[*job, *arguments] for job in _read(Path(self.jobs))], initial_job_idx=0)


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
