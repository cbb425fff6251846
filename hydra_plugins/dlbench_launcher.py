"""The Hydra launchers of this project; Hydra finds launchers only in packages of this name."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from dlbench.sweep.launch import Workers


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
            workers = self.workers()
        except TypeError as error:  # an argument too much
            raise ConfigError(f"hydra.launcher: {error}") from error
        except ModuleNotFoundError as error:
            if not (extra := NEEDED.get(str(error.name))):
                raise
            text = f"hydra/launcher={extra} needs {error.name}: pip install 'dlbench[{extra}]'"
            raise ConfigError(text) from error
        return launch(*self.of_all, workers, job_overrides, initial_job_idx)

    @abstractmethod
    def workers(self) -> "Workers":
        """Where the runs are made."""


class LocalLauncher(_Launcher):
    """Runs side by side on this machine: see `dlbench.sweep.launch.Processes`."""

    def workers(self) -> "Workers":
        """See `dlbench.sweep.launch.Processes`."""
        from dlbench.sweep.launch import Processes

        return Processes(**self.settings)


class SlurmLauncher(_Launcher):
    """Runs as jobs of SLURM: see `dlbench.sweep.slurm.Slurm`."""

    def workers(self) -> "Workers":
        """See `dlbench.sweep.slurm.Slurm`."""
        from dlbench.sweep.slurm import Slurm

        return Slurm(**self.settings)


class RayLauncher(_Launcher):
    """Runs as tasks of Ray: see `dlbench.sweep.ray_cluster.Ray`."""

    def workers(self) -> "Workers":
        """See `dlbench.sweep.ray_cluster.Ray`."""
        from dlbench.sweep.ray_cluster import Ray

        return Ray(**self.settings)
