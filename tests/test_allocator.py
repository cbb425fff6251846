"""Freed memory is kept: a process that takes the same memory again gets pages it already has."""

import subprocess
import sys

import pytest

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
