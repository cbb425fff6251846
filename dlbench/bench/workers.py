"""Trainers in pinned processes of their own, as the driver sees them."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dlbench.errors import DlbenchError

THREAD_VARIABLES = ("OMP_", "GOMP_", "KMP_", "MKL_")
"""Environment variables that begin so would decide the thread counts instead of torch's defaults and our settings."""


class BenchError(DlbenchError):
    """A measurement broke down."""


def all_cores() -> list[int]:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def environment() -> dict[str, str]:
    """The environment of everything that is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(THREAD_VARIABLES)}


@dataclass(frozen=True)
class Specification:
    """What a worker trains, and where.

    Args:
        kind: Our run, the plain loop on pictures, or the one on sequences.
        overrides: The run's configuration, as on a command line.
        warmup: Steps made before anything is timed.
        cores: The cores it may use.
        terminal: Have it believe that its output is a terminal.
    """

    kind: Literal["ours", "plain", "plain_sequences"]
    overrides: Sequence[str]
    warmup: int
    cores: Sequence[int] = field(default_factory=all_cores)
    terminal: bool = False


class Worker:
    """A process that trains when told to and tells how long it took.

    Args:
        specification: What it trains.
        runs: A folder of its own for its record.
    """

    def __init__(self, specification: Specification, runs: Path) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed in `close`)
        content = {
            "kind": specification.kind,
            "cores": list(specification.cores),
            "overrides": [*specification.overrides, f"paths.runs={json.dumps(str(runs))}"],
        }
        terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color"} if specification.terminal else {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dlbench.bench.worker", json.dumps(content)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment() | terminal,
        )
        self.facts: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def send(self, do: str, **details: Any) -> None:
        """Give an order without waiting for the answer."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # `receive` tells why
            print(json.dumps({"do": do, **details}), file=self._process.stdin, flush=True)

    def receive(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            BenchError: The process is gone.
        """
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines() or ["no message"]
            raise BenchError(
                f"a benchmark process ended with code {self._process.returncode}: {' | '.join(lines[-3:])}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        self.send(do, **details)
        return self.receive()

    def seconds(self, steps: int, do: str = "step") -> float:
        """How long so many steps take."""
        return float(self.ask(do, steps=steps)["seconds"])

    def close(self) -> None:
        """End it without ceremony: nothing it has written is kept. (If the driver dies, its input ends, and it too.)"""
        assert self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()


@contextlib.contextmanager
def crew(*specifications: Specification) -> Iterator[list[Worker]]:
    """Workers started together, each warmed up alone, and ended in the end; their records are thrown away."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dlbench-bench-")))
        workers = []
        for number, specification in enumerate(specifications):
            workers.append(Worker(specification, folder / str(number)))
            stack.callback(workers[-1].close)
        for worker in workers:
            worker.facts = worker.receive()
        for worker, specification in zip(workers, specifications, strict=True):
            worker.seconds(specification.warmup)
        yield workers


def speed(workers: Sequence[Worker], steps: int) -> float:
    """Steps a second of workers that run side by side, so many steps each: the sum of their speeds."""
    for worker in workers:
        worker.send("step", steps=steps)
    return float(sum(steps / worker.receive()["seconds"] for worker in workers))
