"""The Hydra launchers of this project; Hydra finds launchers only in packages of this name."""

import pkgutil
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

NEEDED = {"submitit": "slurm", "ray": "ray"}
"""Packages, and the extra that has each."""


class _Launcher(Launcher):
    """Runs in processes of their own: see `dlbench.sweep.launch`.

    Args:
        **settings: Those of its workers.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        self.of_all: tuple[HydraContext, DictConfig] | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Note what all jobs share. Each performs the task in a process of its own: see `dlbench.sweep.job`."""
        self.of_all = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; what each came to, good or bad, is its return value."""
        # Hydra imports every plugin at start-up, also for --help.
        from dlbench.errors import ConfigError
        from dlbench.sweep.launch import launch

        assert self.of_all is not None
        try:
            workers = pkgutil.resolve_name(self.workers)(**self.settings)
        except TypeError as error:  # an argument too much
            raise ConfigError(f"hydra.launcher: {error}") from error
        except ModuleNotFoundError as error:
            if not (extra := NEEDED.get(str(error.name))):
                raise
            text = f"hydra/launcher={extra} needs {error.name}: pip install 'dlbench[{extra}]'"
            raise ConfigError(text) from error
        return launch(*self.of_all, workers, job_overrides, initial_job_idx)

    @property
    @abstractmethod  # so that Hydra does not take this class itself for a launcher
    def workers(self) -> str:
        """The class of where the runs are made."""


class LocalLauncher(_Launcher):
    """Runs side by side on this machine."""

    workers = "dlbench.sweep.launch:Processes"


class SlurmLauncher(_Launcher):
    """Runs as jobs of SLURM."""

    workers = "dlbench.sweep.slurm:Slurm"


class RayLauncher(_Launcher):
    """Runs as tasks of Ray."""

    workers = "dlbench.sweep.ray_cluster:Ray"
