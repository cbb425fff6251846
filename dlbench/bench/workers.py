"""Processes that are measured, as the driver sees them: trainers that wait for orders, and commands from launch to end.

A trainer is pinned to its cores, makes steps when told to (`dlbench.bench.worker`), and says how long they took.
The driver imports no torch.
"""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, TypeVar

from dlbench.errors import DlbenchError

T = TypeVar("T")

# A worker is forked from a server that has imported torch and Lightning, and computed nothing yet: it starts at once.
# Elsewhere than on Linux libraries do not bear forking.
CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
PRELOADED = ["dlbench.bench.worker"]


class BenchError(DlbenchError):
    """A measurement broke down."""


def all_cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def unset_thread_counts() -> Iterator[None]:
    """Start processes without the variables that would decide thread counts instead of torch and our settings."""
    names = [name for name in os.environ if name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))]
    taken = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(taken)


def in_turns(rounds: int, measures: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Each measure once a round, in order A B ... and back in the next, so that a drift of the machine cancels."""
    taken: dict[str, list[T]] = {name: [] for name in measures}
    for number in range(rounds):
        for name in list(measures) if number % 2 == 0 else reversed(list(measures)):
            taken[name].append(measures[name]())
    return taken


# what is measured


@dataclass(frozen=True)
class Specification:
    """What a worker trains, and where.

    Args:
        kind: Our run, or the plain loop on its data.
        overrides: The run's configuration, as on a command line.
        warmup: Steps made before anything is timed.
        cores: The cores it may use.
        terminal: Have it believe that its output is a terminal.
    """

    kind: Literal["ours", "plain"]
    overrides: Sequence[str]
    warmup: int
    cores: Sequence[int] = field(default_factory=all_cores)
    terminal: bool = False


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Args:
        pairs: Pairs (rounds) of timed windows.
        few: Pairs of what takes long: starts of processes, ends of epochs, decodings, steps on speech.
        steps: Training steps a window.
        warmup: Steps each worker makes before anything is timed.
        words: Test words of which the plain loop draws samples.
        matrix_sizes: Sides of the square matrices whose product gives the core's peak.
        whole: Every network and precision, or only each part's first.
        overrides: Configuration of every run measured; by default real pictures where they are, else synthetic ones.
    """

    pairs: int
    few: int
    steps: int
    warmup: int
    words: int
    matrix_sizes: tuple[int, ...]
    whole: bool = True
    overrides: tuple[str, ...] = ()

    def chosen(self, cases: Sequence[Any]) -> Sequence[Any]:
        """All cases, or only the first."""
        return cases if self.whole else cases[:1]


FULL = Effort(pairs=16, few=8, steps=40, warmup=20, words=150, matrix_sizes=(1024, 1536, 2048))
SYNTHETIC = ("data.source=synthetic", "data.synthetic_sizes=[64,24,24]")
QUICK = Effort(2, 1, steps=2, warmup=1, words=8, matrix_sizes=(128,), whole=False, overrides=SYNTHETIC)


@dataclass(frozen=True)
class Case:
    """A run that is measured: an experiment in a precision."""

    experiment: str
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @property
    def name(self) -> str:
        """The case in words."""
        return self.experiment + ("" if self.precision == "32-true" else f", {self.precision}")

    def overrides(self, effort: Effort, *more: str) -> tuple[str, ...]:
        """Its configuration as on a command line; on the CPU, silent, without pictures."""
        return (
            f"+experiment={self.experiment}",
            f"trainer.precision={self.precision}",
            "trainer.device=cpu",
            "trainer.progress=none",
            "callbacks=none",
            *effort.overrides,
            *more,
        )

    def ours(self, effort: Effort, cores: Sequence[int], *more: str, **details: Any) -> Specification:
        """Our run without end, on some cores."""
        overrides = self.overrides(effort, "trainer.epochs=1000000", *more)
        return Specification("ours", overrides, **{"warmup": effort.warmup, "cores": cores, **details})

    def plain(self, effort: Effort, cores: Sequence[int], *more: str) -> Specification:
        """The plain loop, which knows fp32 alone, on some cores."""
        return Specification("plain", Case(self.experiment).overrides(effort, *more), effort.warmup, cores)


# trainers


class Worker:
    """A process that obeys orders one after the other; it ends when the driver does.

    Args:
        specification: What it trains.
        runs: A folder of its own for its record.
    """

    def __init__(self, specification: Specification, runs: Path) -> None:
        self.facts: dict[str, Any] = {}
        self.connection, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_work, args=(specification, str(runs), theirs))
        with unset_thread_counts():
            CONTEXT.set_forkserver_preload(PRELOADED)
            self.process.start()
        theirs.close()

    def send(self, do: str, **details: Any) -> None:
        """Give an order, a method of `dlbench.bench.worker`'s trainers, without waiting for the answer."""
        with contextlib.suppress(BrokenPipeError):  # `receive` tells why
            self.connection.send((do, details))

    def receive(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            BenchError: The process is gone.
        """
        try:
            answer: dict[str, Any] = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            raise BenchError(f"a benchmark process ended with code {self.process.exitcode}") from None
        if "error" in answer:
            raise BenchError(f"a benchmark process failed: {answer['error']}")
        return answer

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        self.send(do, **details)
        return self.receive()

    def seconds(self, steps: int, do: str = "step", **details: Any) -> float:
        """How long so many steps take."""
        return float(self.ask(do, steps=steps, **details)["seconds"])

    def close(self) -> None:
        """End it without ceremony: nothing it has written is kept."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(specification: Specification, runs: str, connection: Connection) -> None:
    """The worker's process: pin it, silence it, and obey until the driver is gone."""
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, specification.cores)
        if specification.terminal:
            os.environ.update(FORCE_COLOR="1", TERM="xterm-256color")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        from dlbench.bench.worker import serve

        overrides = [*specification.overrides, f"paths.runs={json.dumps(runs)}"]
        serve(specification.kind, overrides, len(specification.cores), _orders(connection), connection.send)
    except Exception as error:
        connection.send({"error": f"{type(error).__name__}: {error}"})


def _orders(connection: Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    with contextlib.suppress(EOFError):
        while True:
            yield connection.recv()


@contextlib.contextmanager
def crew(**specifications: Specification) -> Iterator[dict[str, Worker]]:
    """Workers by name, started together, each warmed up alone, and ended in the end; their records are thrown away."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dlbench-bench-")))
        workers = {}
        for name, specification in specifications.items():
            workers[name] = Worker(specification, folder / name)
            stack.callback(workers[name].close)
        for worker in workers.values():
            worker.facts = worker.receive()
        for name, specification in specifications.items():
            workers[name].seconds(specification.warmup)
        yield workers


def speed(workers: Sequence[Worker], steps: int, unit: Literal["steps", "symbols"] = "steps") -> float:
    """Steps or symbols a second of workers side by side, from so many steps each: the sum of their speeds."""
    for worker in workers:
        worker.send("step", steps=steps)
    answers = [{"steps": steps, **worker.receive()} for worker in workers]
    return float(sum(answer[unit] / answer["seconds"] for answer in answers))


# commands


@dataclass(frozen=True)
class Usage:
    """``wall`` and ``cpu`` in seconds, ``peak_bytes`` of resident memory; ``output`` is what was printed."""

    wall: float
    cpu: float
    peak_bytes: int
    output: str


LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
wall = time.perf_counter() - began
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), wall, used.ru_utime + used.ru_stime, used.ru_maxrss], file)
"""
"""A process counts what its parent held when it was launched into its peak; this parent holds next to nothing."""


def measure(*arguments: str) -> Usage:
    """Run this Python with arguments and wait for its end.

    Raises:
        BenchError: It ended with an error.
    """
    with tempfile.TemporaryDirectory(prefix="dlbench-bench-") as folder, unset_thread_counts():
        told = Path(folder) / "usage.json"
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(told), sys.executable, *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        code, wall, cpu, peak = json.loads(told.read_text()) if told.exists() else (done.returncode, 0.0, 0.0, 0)
    if code:
        raise BenchError(f"{' '.join(['python', *arguments])} ended with code {code}: {done.stdout.strip()[-500:]}")
    return Usage(wall, cpu, peak if sys.platform == "darwin" else peak * 1024, done.stdout)
