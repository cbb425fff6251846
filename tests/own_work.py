"""Work without a training, for launchers; given to processes that have this folder on their path."""

import os
import time
from pathlib import Path

from dlbench.environment import interrupted_by_signals
from dlbench.sweep.job import Words


class Sleeping:
    """Work that notes its process and that one's parent, and sleeps the first time until it is interrupted.

    Args:
        folder: Where it notes them, in a file ``noted``.
    """

    threads = 1

    def __init__(self, folder: Path) -> None:
        self.noted, self.words = folder / "noted", Words(folder / "words")

    def __call__(self) -> str | None:
        """Note, and sleep perhaps."""
        is_first = not self.noted.exists()
        with self.noted.open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {os.getppid()}\n")
        if is_first:
            with interrupted_by_signals():
                self.noted.with_name("ready").touch()
                time.sleep(100)
        return None
