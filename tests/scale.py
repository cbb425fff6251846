"""What many records cost: ``python tests/scale.py --folder FOLDER [--records N] [--repeats N]``.

Two tiny runs are made. Copies of them get other learning rates and seeds, five seeds a configuration, and metrics drawn
around the runs' own; each is told as on real data, so that the report ranks it, and sealed as a run would have been.
Then the commands that read them all are timed, in processes of their own: the first time, when there is no index of
them, and again, of which the fastest counts; peaks of memory are of one process. What a report computes of no record is
computed before. The table is printed, and written to ``FOLDER/scale.md``. Records that are in the folder already are
taken as they are.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from resealed import copied, reseal, reseal_evaluation

from dlbench import identity
from dlbench.records.files import read_config, read_json
from dlbench.records.store import Record, Store

KINDS = (("+experiment=cnn_vanilla", "model.hidden=[8,8]"), ("+experiment=p2g_attention", "model.size=16"))
SMALL = (
    *("data.source=synthetic", "data.synthetic_sizes=[48,24,24]", "trainer.epochs=2", "trainer.device=cpu"),
    *("trainer.progress=none", "callbacks.pictures.epochs=[]"),
)
SEEDS = 5
ENOUGH = 600.0
"""Seconds after which a command is given up."""


class Cost(NamedTuple):
    """What a command took: wall-clock seconds, seconds of CPU, and the peak of its resident memory in bytes."""

    seconds: float
    cpu: float
    memory: int


# --- records ----------------------------------------------------------------------------------------------------------


def templates(folder: Path) -> list[Record]:
    """The tiny runs, trained if they are not there, without checkpoints, as ``records clean --weights`` leaves them."""
    for kind in KINDS:
        dlbench(*kind, *SMALL, f"paths.runs={folder}")
    found = Store(folder).all()
    for record in found:
        shutil.rmtree(record.checkpoints.folder, ignore_errors=True)
    return found


def copies(sources: list[Record], folder: Path, count: int) -> Iterator[Record]:
    """So many records in a folder, `SEEDS` of each configuration, the kinds in turns; the same each time."""
    chance = random.Random(0)
    for number in range(count):
        configuration, seed = divmod(number, SEEDS)
        rate = round(1e-4 + 1e-6 * configuration, 9)
        yield copy(sources[configuration % len(sources)], folder, rate, 42 + seed, chance)


def copy(source: Record, folder: Path, rate: float, seed: int, chance: random.Random) -> Record:
    """A run's record in a folder, with another learning rate and seed, other metrics, and told as on real data."""
    record = copied(source, folder)
    config: dict[str, Any] = read_config(record.config)
    config = {**config, "seed": seed, "optimizer": {**config["optimizer"], "lr": rate}}
    told, manifest = read_json(record.identity), read_json(record.manifest)
    manifest["data"] |= {"source": "files", "provenance": "verified"}
    record.config.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
    record.identity.write_text(json.dumps(identity.training(config, told["fingerprint"], told["trainer"]["device"])))
    record.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    record = reseal(record)
    for evaluation in record.evaluations():
        measured = read_json(evaluation.result)["metrics"]
        metrics = {
            name: value if name.startswith("model/") else value * chance.uniform(0.9, 1.0)
            for name, value in measured.items()
        }
        reseal_evaluation(evaluation, metrics=metrics)
    return record


# --- commands ---------------------------------------------------------------------------------------------------------


def dlbench(*arguments: str, until: Callable[[], bool] | None = None) -> Cost:
    """Run a command to its end, or until something is so, when it is ended; the time is that until then.

    Raises:
        RuntimeError: It failed, ended before that, or took more than `ENOUGH`.
    """
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", "dlbench", *arguments], stdout=subprocess.DEVNULL) as process:
        seconds = None
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            passed = time.monotonic() - began
            if until and seconds is None and until():
                seconds = time.monotonic() - began
                process.terminate()
            if passed > ENOUGH:
                process.kill()
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
    if seconds is None and (process.returncode or until):
        raise RuntimeError(f"dlbench {' '.join(arguments)}: exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds or time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


def measure(folder: Path, repeats: int) -> Iterator[tuple[str, list[Cost]]]:
    """What each command takes: a name, and the first time and each further one."""
    runs, port = folder / "runs", 6100 + os.getpid() % 900
    commands: dict[str, tuple[tuple[str, ...], Callable[[], bool] | None]] = {
        "`records list`": (("records", "list", "--runs", str(runs)), None),
        "`report --profile none`": (
            ("report", "--profile", "none", "--runs", str(runs), "--output", str(folder / "report")),
            None,
        ),
        "`tensorboard`, until its page lists runs": (
            ("tensorboard", "--runs", str(runs), "--port", str(port)),
            lambda: shows(f"http://localhost:{port}/data/runs"),
        ),
    }
    for name, (arguments, until) in commands.items():
        (folder / "cache" / "records.sqlite").unlink(missing_ok=True)
        yield name, [dlbench(*arguments, until=until) for _ in range(1 + repeats)]


def shows(address: str) -> bool:
    """Whether TensorBoard lists a run there."""
    with suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
        return answer.read().strip() not in (b"", b"[]")
    return False


def table(folder: Path, count: int, found: dict[str, list[Cost]]) -> str:
    """The costs in Markdown, and what the records take on the disk."""
    files = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    index = (folder / "cache" / "records.sqlite").stat().st_size
    lines = [
        f"{count:,} records: {len(files):,} files, {size / 1e6:,.0f} MB; their index: {index / 1e6:,.0f} MB",
        "",
        "| command | first, s | MB | again, s | of CPU, s | MB |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for name, (first, *again) in found.items():
        best, memory = min(again), max(cost.memory for cost in again)
        numbers = f"{first.seconds:.1f} | {first.memory / 1e6:,.0f} | {best.seconds:.1f} | {best.cpu:.1f}"
        lines.append(f"| {name} | {numbers} | {memory / 1e6:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Make the records, time the commands, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    folder = given.folder.resolve()
    os.environ["DLBENCH_CACHE"] = str(folder / "cache")
    runs = folder / "runs"
    if not (there := Store(runs).all()):
        sources = templates(folder / "templates")
        runs.mkdir(parents=True, exist_ok=True)
        there = list(copies(sources, runs, given.records))
        time.sleep(3)  # what changed just now is not kept in the index
    dlbench("report", "--profile", "none", "--runs", str(folder / "none"), "--output", str(folder / "report"))
    found = {}
    for name, costs in measure(folder, max(given.repeats, 1)):
        found[name] = costs
        print(name, *(f"{cost.seconds:.1f} s" for cost in costs), file=sys.stderr, flush=True)
    text = table(folder, len(there), found)
    (folder / "scale.md").write_text(f"{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
