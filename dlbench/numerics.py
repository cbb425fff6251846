"""What the bits of a result depend on beside the code; told without importing torch."""

import ctypes
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LIMITS = (
    *("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
)
"""Environment variables that choose other kernels on the same processor."""

AVX512 = {"avx512f", "avx512vl", "avx512bw", "avx512dq", "fma"}
AVX2 = {"avx2", "fma"}

Difference = tuple[str, Any, Any]
"""A key, what was recorded, and what is here."""


def numerics(device: str, threads: int) -> dict[str, Any]:
    """What must match for results to be the same to the bit.

    Args:
        device: The kind of device: ``cpu``, ``cuda``, ``mps``.
        threads: CPU threads of torch.
    """
    found = {
        "torch": torch_version(),
        "device": None if device == "cuda" else device,
        "cpu_capability": _capability(),
        "threads": threads,
        "cpu": processor_family(),
        "limits": {name: os.environ[name] for name in LIMITS if os.environ.get(name)},
    }
    if device == "cuda" and "torch" in sys.modules:
        import torch

        found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        found["cuda"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    return found


def differences(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[Difference]:
    """Where two differ, as far as the record tells; None on either side of it says nothing."""
    common = (key for key in here if recorded.get(key) is not None and here[key] is not None)
    return [(key, recorded[key], here[key]) for key in common if recorded[key] != here[key]]


def untold(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What an older record does not tell, so that its bits may be another machine's all the same."""
    return [key for key in here if key not in recorded]


def processor_family() -> str:
    """Vendor, family and model of the processor: ``AuthenticAMD 25 1``."""
    words = ("vendor_id|cpu family|model", "CPU implementer|CPU architecture|CPU part")
    for names in words:
        fields = dict(re.findall(rf"^({names})\s*: (.*)$", cpuinfo(), re.MULTILINE))
        if fields:
            return " ".join(fields.values())
    return platform.processor() or platform.machine()


def cpuinfo() -> str:
    """What Linux says of the processors; elsewhere nothing."""
    place = Path("/proc/cpuinfo")
    return place.read_text(encoding="utf-8", errors="replace") if place.exists() else ""


def torch_version() -> str | None:
    """The version of torch that is installed; None if none is."""
    return str(sys.modules["torch"].__version__) if "torch" in sys.modules else _installed_torch()


@cache
def _installed_torch() -> str | None:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    found = re.search(r"__version__ = '([^']+)'", Path(spec.origin).with_name("version.py").read_text(encoding="utf-8"))
    return found[1] if found else None


def _capability() -> str | None:
    """Torch's own word, or else what it would find; None where only torch can tell."""
    if "torch" in sys.modules:
        return str(sys.modules["torch"].backends.cpu.get_cpu_capability())
    if chosen := os.environ.get("ATEN_CPU_CAPABILITY"):
        return {"avx512": "AVX512", "avx2": "AVX2", "default": "DEFAULT"}.get(chosen)
    if not (flags := _flags()):
        return None
    return "AVX512" if flags >= AVX512 else "AVX2" if flags >= AVX2 else "DEFAULT"


def _flags() -> set[str]:
    """What an x86 processor says that it has; empty for others."""
    return set(next(iter(re.findall(r"^flags\s*: (.*)$", cpuinfo(), re.MULTILINE)), "").split())


def emulates_bf16() -> bool:
    """Whether an x86 processor has no instructions for products of 16 bits, which then take longer than of 32."""
    return bool(flags := _flags()) and not flags & {"avx512_bf16", "amx_bf16"}


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 << 20
"""glibc accepts no more on 64-bit systems."""

KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Have glibc reuse freed memory up to a gigabyte; say whether this system's allocator could be told.

    By default it returns the large activations and gradients of every step to the system, which clears each page anew
    when the next step asks for it: 500 to 1000 page faults a step of the BN+GAP CNN, 7% of its time. No bit of a result
    changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or none to ask
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD) and mallopt(M_TRIM_THRESHOLD, KEPT))
