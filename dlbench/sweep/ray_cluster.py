"""The work of a sweep as tasks of a Ray cluster."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, WorkerCrashedError

from dlbench.errors import ConfigError
from dlbench.sweep.job import Job
from dlbench.sweep.launch import KILLED, Work
from dlbench.terminal import first_line, say


class Ray:
    """Tasks of a Ray cluster, each in a process of its own with the cores of its threads and devices.

    Args:
        address: ``auto`` joins the cluster that runs here, HOST:PORT another; None: this machine alone.
        gpus: Of each run; a part of one, such as 0.5, lets runs share it.
        at_a_time: Runs side by side; None: as many as the cluster has room for.

    Raises:
        ConfigError: An argument is none.
    """

    shares_memory = True

    def __init__(self, *, address: str | None, gpus: float, at_a_time: int | None) -> None:
        if not isinstance(gpus, int | float) or gpus < 0:
            raise ConfigError(f"hydra.launcher.gpus={gpus}: choose a number, 0 or more")
        if at_a_time is not None and not (isinstance(at_a_time, int) and at_a_time >= 1):
            raise ConfigError(f"hydra.launcher.at_a_time={at_a_time}: choose 1 or more, or null for what has room")
        self.address, self.gpus, self.at_a_time = address, gpus, at_a_time
        self._running: dict[Any, Work] = {}

    def room(self, jobs: Sequence[Job]) -> int:
        """See `dlbench.sweep.launch.Workers`. Ray itself minds cores and GPUs.

        Raises:
            ConfigError: There is no such cluster, or this machine alone has not what a run needs.
        """
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            own: dict[str, Any] = {"include_dashboard": False} if self.address is None else {}
            try:
                # "local": None would join a cluster that RAY_ADDRESS names.
                ray.init(self.address or "local", log_to_driver=False, logging_level="ERROR", **own)
            except (ConnectionError, ValueError, RuntimeError) as error:
                text = f"hydra.launcher.address={self.address}: no Ray cluster there ({first_line(error)})"
                raise ConfigError(f"{text}; `ray start --head` begins one, null takes this machine") from error
        threads = max(job.threads for job in jobs)
        sizes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(size.get("CPU", 0) >= threads and size.get("GPU", 0) >= self.gpus for size in sizes):
            lacking = f"no machine of the cluster has {threads} cores and {self.gpus} GPUs, which a run needs"
            if self.address is None:
                raise ConfigError(f"hydra/launcher=ray: {lacking}; lower trainer.threads or hydra.launcher.gpus")
            say(f"{lacking}; it waits until one has joined")
        return self.at_a_time or len(jobs)

    def start(self, works: Sequence[Work]) -> None:
        """See `dlbench.sweep.launch.Workers`."""
        for work in works:
            # One call a process: it leaves no memory, and no state of a library, to another run.
            task = ray.remote(num_cpus=work.threads, num_gpus=self.gpus, max_retries=0, max_calls=1)(_make)
            self._running[task.remote(work, dict(os.environ), sys.path)] = work

    def wait(self) -> dict[Work, str]:
        """See `dlbench.sweep.launch.Workers`."""
        (ended, *_), _ = ray.wait([*self._running])
        return {self._running.pop(ended): _end(ended)}

    def stop(self) -> None:
        """See `dlbench.sweep.launch.Workers`."""
        for reference in self._running:
            with suppress(RayError):
                ray.cancel(reference, force=True)
        self._running.clear()


def _end(reference: Any) -> str:
    """`BUSY`, or what to say of a task that ended without a word, for the second time."""
    try:
        return ray.get(reference) or "its task of Ray left no word, twice; is the folder of runs the same everywhere?"
    except (OutOfMemoryError, NodeDiedError, WorkerCrashedError) as error:
        return KILLED if isinstance(error, WorkerCrashedError) else f"its task of Ray ended, twice: {first_line(error)}"
    except RayError as error:
        return f"its task of Ray ended, twice: {str(error).strip().splitlines()[-1]}"


def _make(work: Work, environment: Mapping[str, str], path: Sequence[str]) -> str | None:
    """What a process does, where the command's own surroundings are known, in as far as Ray did not set others."""
    sys.path.extend(place for place in path if place not in sys.path)
    for name, value in environment.items():
        if name.startswith("DLBENCH_"):
            os.environ[name] = value
        else:
            os.environ.setdefault(name, value)
    try:
        return work()
    except KeyboardInterrupt:
        os._exit(130)
