"""The Hydra launcher of this project; Hydra finds launchers only in packages of this name."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher


class SideBySideLauncher(JoblibLauncher):
    """Joblib's launcher with our order of jobs, progress and summary: see `dlbench.sweep.launch`.

    Args:
        n_jobs: Runs side by side; None: one for each core, or for each ``trainer.threads`` cores.
    """

    def __init__(self, n_jobs: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.n_jobs = n_jobs

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; what each came to is its return value.

        Raises:
            SweepError: A run failed; all others were made.
        """
        # Hydra imports every plugin at start-up, also for --help.
        from dlbench.sweep.launch import launch

        return launch(self, job_overrides, initial_job_idx)
