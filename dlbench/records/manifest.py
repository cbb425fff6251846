"""Where a record comes from: code, packages, machine, data; nothing that names a person's machine or folders."""

import contextlib
import datetime
import hashlib
import importlib.metadata
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from dlbench import paths
from dlbench.numerics import cpuinfo

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

PACKAGES = (
    *("dlbench", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "numpy"),
    *("pillow", "soundfile", "rapidfuzz"),
)


@cache
def describe_code() -> dict[str, Any]:
    """Commit and cleanliness of the checkout this package runs from; None where it is no checkout.

    Asked once a process, which runs the code that it began with.
    """
    root = paths.checkout()
    if root is None:
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def describe_environment() -> dict[str, Any]:
    """Versions of what computes, the hash of the constraints file, and the kind of machine."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "constraints": hashlib.sha256(paths.constraints().read_bytes()).hexdigest()[:16],
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
    }


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def forget_peak_memory() -> None:
    """Count `peak_memory_bytes` from here on, where the system allows it (Linux): a process may make many runs."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes() -> int | None:
    """The largest resident size of this process so far, or since `forget_peak_memory`; None where none is told."""
    with contextlib.suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _git(root: Path, *arguments: str) -> str | None:
    # Git refuses the checkout of another owner, lest it run what that one configured; its code runs here already.
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    found = re.search(r"^model name[ \t]*:[ \t]*(.*\S)", cpuinfo(), re.MULTILINE)
    return found[1] if found else platform.processor()
