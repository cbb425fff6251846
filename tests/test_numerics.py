"""What bits depend on beside the code: two fingerprints differ wherever bits may. Freed memory changes none."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from dlbench import numerics as module
from dlbench.numerics import LIMITS, differences, emulates_bf16, numerics, processor_family, untold


def told(*, torch_first: bool, **limits: str) -> dict[str, Any]:
    """The fingerprint of a new process."""
    code = ("import torch; " if torch_first else "") + (
        "import json, sys; from dlbench.numerics import numerics; print(json.dumps(numerics('cpu', 1)));"
        f"assert ('torch' in sys.modules) == {torch_first}"
    )
    environment = {name: value for name, value in os.environ.items() if name not in LIMITS} | limits
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_is_told_without_torch_as_with_it() -> None:
    assert told(torch_first=False) == told(torch_first=True)
    assert told(torch_first=False, ATEN_CPU_CAPABILITY="default") == told(
        torch_first=True, ATEN_CPU_CAPABILITY="default"
    )


@pytest.mark.parametrize(
    "limit", [{"MKL_CBWR": "COMPATIBLE"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"ATEN_CPU_CAPABILITY": "default"}]
)
def test_limits_of_the_instruction_set_are_told_apart(limit: dict[str, str]) -> None:
    here, limited = told(torch_first=False), told(torch_first=False, **limit)
    assert "limits" in [key for key, _, _ in differences(here, limited)]


def test_it_tells_torch_processor_threads_and_device() -> None:
    here = numerics("cpu", 2)
    assert here["torch"] == torch.__version__
    assert here["cpu"] == processor_family() != ""
    assert differences(here, numerics("cpu", 1)) == [("threads", 2, 1)]
    assert differences(here, {**here, "cpu": "AuthenticAMD 99 1"})[0][0] == "cpu"


def test_an_older_record_is_held_against_what_it_tells() -> None:
    here = numerics("cpu", 1)
    older = {key: here[key] for key in ("torch", "device", "cpu_capability", "threads")}
    assert not differences(older, here)
    assert untold(older, here) == ["cpu", "limits"]
    assert differences({**older, "torch": "1.0"}, here) == [("torch", "1.0", here["torch"])]


@pytest.mark.parametrize(
    ("flags", "expected"), [("fma avx2 avx512f", True), ("fma avx512_bf16", False), ("amx_bf16", False), (None, False)]
)
def test_a_processor_without_bf16_is_known(flags: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told = f"processor : 0\nflags\t\t: {flags}\n" if flags else "Features : fp\n"
    monkeypatch.setattr(module, "cpuinfo", lambda: told)
    assert emulates_bf16() is expected


FAULTS = """
import ctypes, resource
from dlbench.numerics import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
SIZE = 8 << 20

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [ctypes.c_void_p(libc.malloc(SIZE)) for _ in range(6)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in reversed(blocks):
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

[faults() for _ in range(3)]
print(faults(), keep_freed_memory(), [faults() for _ in range(3)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_kept_memory_costs_no_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, was_told, after = done.stdout.split()
    if was_told == "False":
        pytest.skip("this C library's allocator cannot be told")
    assert int(after) < int(before) / 10
