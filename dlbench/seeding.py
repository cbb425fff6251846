"""Every random stream of a run, as a function of (seed, purpose, counters).

Nothing here keeps state: the stream for, say, the order of epoch 7 can be had without drawing the six before it. So an
interrupted run goes on in the same bits with no generator saved, and results do not depend on who launched the run.
"""

import hashlib

import torch

from dlbench.components import component


@component("random_streams", "1.0")
def derive_seed(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed that depends on every argument and on nothing else (BLAKE2b, the same on every machine)."""
    key = "/".join(map(str, (seed, purpose, *counters)))
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A CPU generator of its own for one stream."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *counters))


def reseed_global(seed: int, purpose: str, *counters: int) -> None:
    """Seed torch's global generators, for what takes no generator of its own (initialisation, dropout).

    `torch.manual_seed` does the same, but notes a traceback each time for devices not in use: half a percent of a step.
    """
    value = derive_seed(seed, purpose, *counters)
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(value)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(value)
