"""A run on its own: what libraries read from the environment to take part in a group of processes is hidden from them.

Lightning takes a rank, a number of processes, a checkpoint to go on from, and even settings of its Trainer from
variables that SLURM, torchrun, MPI or a person set for something else. Every process here makes its own run.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HIDDEN = re.compile(
    r"(SLURM|TORCHELASTIC|OMPI|PMI|PMIX|MPI|MV2|JSM|LSB|LSF|PL_TRAINER|KUBERNETES)_.*|PL_GLOBAL_SEED|PL_SEED_WORKERS|"
    r"(GLOBAL_|LOCAL_|GROUP_|NODE_|ROLE_)?RANK|((LOCAL|GROUP|ROLE)_)?WORLD_SIZE|MASTER_(ADDR|PORT)"
)
"""The names of what is hidden."""


@contextmanager
def alone() -> Iterator[Path]:
    """Train or evaluate as the only process; what is hidden comes back at the end.

    Yields:
        An empty folder for a Trainer's root, where no library finds a checkpoint that it would load by itself.
    """
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    hidden = {name: value for name, value in os.environ.items() if HIDDEN.fullmatch(name)}
    for name in hidden:
        del os.environ[name]
    rank_zero_only.rank = 0  # type: ignore[attr-defined]  # Lightning took it from the environment when it was imported
    try:
        with tempfile.TemporaryDirectory(prefix="dlbench-run-") as scratch:
            yield Path(scratch)
    finally:
        os.environ.update(hidden)
