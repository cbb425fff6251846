"""A process from launch to end: its seconds, its processor seconds, its memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dlbench.bench.workers import BenchError, environment


@dataclass(frozen=True)
class Usage:
    """``wall`` and ``cpu`` in seconds, ``peak_bytes`` of resident memory; ``output`` is what was printed."""

    wall: float
    cpu: float
    peak_bytes: int
    output: str


def measure(*arguments: str) -> Usage:
    """Run this Python with arguments and wait for its end.

    Raises:
        BenchError: It ended with an error.
    """
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise BenchError(f"{_words(arguments)} ended with code {process.returncode}: {printed.strip()[-500:]}")
    peak = used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024
    return Usage(wall, used.ru_utime + used.ru_stime, peak, printed)


def _words(arguments: Sequence[str]) -> str:
    return " ".join(["python", *arguments])
