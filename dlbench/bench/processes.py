"""A process from launch to end: its seconds, its processor seconds, its memory."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlbench.bench.workers import BenchError, environment


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
    with tempfile.TemporaryDirectory(prefix="dlbench-bench-") as folder:
        told = Path(folder) / "usage.json"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, str(told), sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            text=True,
            check=False,
        )
        code, wall, cpu, peak = json.loads(told.read_text()) if told.exists() else (done.returncode, 0.0, 0.0, 0)
    if code:
        raise BenchError(f"{_words(arguments)} ended with code {code}: {done.stdout.strip()[-500:]}")
    return Usage(wall, cpu, peak if sys.platform == "darwin" else peak * 1024, done.stdout)


def _words(arguments: Sequence[str]) -> str:
    return " ".join(["python", *arguments])
