"""The Hydra launcher of this project; Hydra finds launchers only in packages of this name."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """Runs side by side on this machine, in processes of their own: see `dlbench.sweep.launch`.

    Args:
        n_jobs: Runs side by side; None: one for each core, or for each ``trainer.threads`` cores.
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs
        self.of_all: tuple[HydraContext, DictConfig] | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Note what all jobs share. Each performs the task in a process of its own: see `dlbench.sweep.job`."""
        self.of_all = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; what each came to, good or bad, is its return value."""
        # Hydra imports every plugin at start-up, also for --help.
        from dlbench.sweep.launch import launch

        assert self.of_all is not None
        return launch(*self.of_all, self.n_jobs, job_overrides, initial_job_idx)
