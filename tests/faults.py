"""What the suite survives, counted: ``python tests/faults.py [--seed N] [--scale X] [KIND ...]``, or ``make faults``.

Every try does one kind of harm, by chance from a seed, to real runs, sweeps and files. It holds if nothing is lost and
nothing wrong is believed: a run that was stopped ends in the bits of one that was not; what is damaged is named in one
line. ``--scale`` multiplies the numbers of tries, which take a quarter of an hour. The exit code is 1 if one did not.
"""

import argparse
import atexit
import contextlib
import gzip
import io
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from bits import endings
from damage import CONTENT, damage
from processes import Forked, alive, has_trained, left, start, wait_for, workers
from resealed import copied
from test_hostile_records import look, sources, spoil

from dlbench.data.image_files import read_idx
from dlbench.data.intel_files import load_npz
from dlbench.data.pair_files import PairFiles
from dlbench.data.recordings import read_wave
from dlbench.errors import ConfigError, DlbenchError, RecordError
from dlbench.files import parse_yaml
from dlbench.records.files import parse_json
from dlbench.records.store import Store
from dlbench.report.expressions import evaluate

Try = Callable[[random.Random, Path], None]
"""One try with its own chance and an empty folder; it raises AssertionError where it does not hold."""

SMALL = ("data.source=synthetic", "trainer.device=cpu", "trainer.progress=none", "callbacks.pictures.epochs=[]")
TRANSDUCER = ("model.size=16", "evaluation.decoding.max_length=6", "data.synthetic_sizes=[48,12,12]")
FAMILIES = {
    "pictures": ("+experiment=cnn_bn_gap", "evaluation.max_shift=1", "data.synthetic_sizes=[48,24,24]"),
    "grey pictures": ("+experiment=kmnist_mlp", "data.synthetic_sizes=[48,24,24]"),
    "transduction": ("+experiment=p2g_attention", *TRANSDUCER),
    "speech": (
        *("+experiment=asr_attention_spoken", "model.size=16", "model.feedforward=16"),
        *("data.synthetic_sizes=[24,8,8]", "data.batch_size=8"),
    ),
    "retrieval": (
        *("+experiment=hopfield_retrieval", "data=kmnist", "model.patterns=4", "task.amount=0.9"),
        "data.synthetic_sizes=[48,24,24]",
    ),
}
EPOCHS, COLD_START = 4, 4.0


class Undisturbed(NamedTuple):
    """A run that nothing happened to: its folder, to be copied, what it came to, and its seconds."""

    runs: Path
    endings: dict[str, tuple[Any, ...]]
    seconds: float


def command(family: str, runs: Path) -> list[str]:
    """A run of a family of tasks that takes some seconds."""
    epochs = 1 if family == "retrieval" else EPOCHS
    return [*FAMILIES[family], *SMALL, f"trainer.epochs={epochs}", f"paths.runs={runs}"]


def launched(overrides: list[str], before: Callable[[], None] | None = None) -> Forked:
    """A run that is at work."""
    return Forked("-m", "dlbench", *overrides, before=before)


def ended(process: Forked) -> str:
    """What a process said of errors; it must have ended well."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


@cache
def undisturbed(family: str) -> Undisturbed:
    """See `Undisturbed`; made once."""
    runs, began = Path(tempfile.mkdtemp(prefix="faults-")), time.monotonic()
    atexit.register(shutil.rmtree, runs, ignore_errors=True)
    ended(launched(command(family, runs)))
    return Undisturbed(runs, endings(runs), time.monotonic() - began)


def same_in_the_end(family: str, runs: Path) -> None:
    """The same command once more ends in the bits of a run that nothing happened to."""
    errors = ended(launched(command(family, runs)))
    assert "Traceback" not in errors, errors
    assert endings(runs) == undisturbed(family).endings


def one_line(errors: str) -> None:
    """The process told what happened without a traceback."""
    assert "Traceback" not in errors, errors
    assert [line for line in errors.splitlines() if line.startswith("dlbench: ")], f"silent: {errors!r}"


# --- runs ------------------------------------------------------------------------------------------------------------


def kill(chance: random.Random, folder: Path) -> None:
    """SIGKILL at any moment, up to three times in a row."""
    family = chance.choice(list(FAMILIES))
    for _ in range(chance.randint(1, 3)):
        process = launched(command(family, folder))
        time.sleep(chance.uniform(0, undisturbed(family).seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    same_in_the_end(family, folder)


def tell(chance: random.Random, folder: Path) -> None:
    """Ctrl-C, SIGTERM or a signal of SLURM's at any moment, perhaps twice."""
    family = chance.choice(list(FAMILIES))
    words = [sys.executable, "-m", "dlbench", *command(family, folder)]  # from a cold start, as by a user
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(chance.uniform(0.3, undisturbed(family).seconds + COLD_START))
    number = chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
    for _ in range(chance.randint(1, 2)):
        process.send_signal(number)
        time.sleep(chance.choice([0, 0.05]))
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 130, -number), (process.returncode, errors)  # 0: it was done; -: no longer Python
    assert process.returncode or endings(folder)
    assert "Traceback" not in errors, errors
    same_in_the_end(family, folder)


def race(chance: random.Random, folder: Path) -> None:
    """Six starts of one run at once."""
    family = chance.choice(list(FAMILIES))
    processes = [launched(command(family, folder)) for _ in range(6)]
    for process in processes:
        ended(process)
    assert endings(folder) == undisturbed(family).endings


def limit(size: int) -> None:
    """No file may grow beyond this."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def fill(chance: random.Random, folder: Path) -> None:
    """The disk is full at any file's size."""
    family = chance.choice(list(FAMILIES))
    process = launched(command(family, folder), before=partial(limit, int(10 ** chance.uniform(0, 7))))
    _, errors = process.communicate(timeout=120)
    if process.returncode:
        one_line(errors)
    same_in_the_end(family, folder)


def nobody() -> None:
    """Write nowhere: another user's rights."""
    os.setegid(65534)
    os.seteuid(65534)


def look_up_only(chance: random.Random, folder: Path) -> None:
    """A finished run on a disk that is only to be read is looked up; one that is to be made says so."""
    family = chance.choice(list(FAMILIES))
    shutil.copytree(undisturbed(family).runs, folder / "runs")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = None if os.getuid() else nobody
    looked_up = launched(command(family, folder / "runs"), before=before)
    assert "Traceback" not in ended(looked_up)
    other = launched([*command(family, folder / "runs"), "seed=7"], before=before)
    _, errors = other.communicate(timeout=120)
    assert other.returncode == 1
    one_line(errors)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


def spoil_interrupted(chance: random.Random, folder: Path) -> None:
    """A run is killed, one of its files damaged; it goes on, perhaps from before, to the same bits."""
    family = chance.choice([name for name in FAMILIES if name != "retrieval"])
    process, has_begun = launched(command(family, folder)), has_trained(folder)
    wait_for(has_begun, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    files = [path for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts]
    damage(chance.choice(sorted(files)), chance)
    same_in_the_end(family, folder)


def lose_worker(chance: random.Random, folder: Path) -> None:
    """One of a sweep's processes dies, or the sweep with all of them; no process stays, and the bits are the same."""
    overrides = ("-m", *command("pictures", folder), "seed=1,2")
    process, has_begun = start(*overrides), has_trained(folder)
    wait_for(has_begun, process)
    children = workers(process.pid)
    if chance.random() < 0.5 or not children:
        process.kill()
        process.communicate()
        assert left(partial(alive, children)) == []
    else:
        os.kill(chance.choice(children), signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    process = start(*overrides)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert endings(folder) == two_seeds()


@cache
def two_seeds() -> dict[str, tuple[Any, ...]]:
    """What the sweep comes to that nothing happens to."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in (1, 2):
            ended(launched([*command("pictures", Path(folder)), f"seed={seed}"]))
        return endings(Path(folder))


def change_data(chance: random.Random, folder: Path) -> None:
    """A training file changes by one character after a run: the same command makes another run."""
    words = ["".join(chance.choices("abcdefgh", k=4)) for _ in range(24)]
    data = folder / "train.tsv"
    for name, some in {"train": words, "val": words[:6], "test": words[6:12]}.items():
        lines = [f"{' '.join(word)}\t{word}\n" for word in some]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    overrides = [
        *("+experiment=p2g_lstm", "model.size=8", "trainer.epochs=1", "evaluation.decoding.max_length=6", *SMALL[1:]),
        *(f"data.{split}={folder / split}.tsv" for split in ("train", "val", "test")),
        f"paths.runs={folder / 'runs'}",
    ]
    ended(launched(overrides))
    ended(launched(overrides))
    assert len(endings(folder / "runs")) == 1
    content, place = data.read_text(encoding="utf-8"), 13 * chance.randrange(24)  # bytes of a line
    data.write_text(f"{content[:place]}i{content[place + 1 :]}", encoding="utf-8")
    ended(launched(overrides))
    assert len(endings(folder / "runs")) == 2


# --- files -----------------------------------------------------------------------------------------------------------


def spoil_finished(chance: random.Random, folder: Path) -> None:
    """One file of a finished record is damaged: it is named, whatever file it is."""
    found = shutil.copytree(undisturbed(chance.choice(list(FAMILIES))).runs, folder / "runs")
    (record,) = Store(found).all()
    files = sorted(path for path in record.folder.rglob("*") if path.is_file())
    harmed = chance.choice([path for path in files if not path.name.startswith("events.")])  # those are made anew
    before, how = harmed.read_bytes(), damage(harmed, chance)
    if harmed.is_file() and harmed.read_bytes() == before:
        return
    if how == "deleted" and harmed.relative_to(record.folder).parts[0] in ("checkpoints", "tensorboard"):
        return  # they may be cleaned away
    if how == "deleted" and harmed.name in ("training.json", "result.json"):
        return  # then it is not finished, and is made again
    try:
        record.read(whole=True)
    except RecordError as error:
        assert harmed.name in str(error) or "identity" in str(error), f"{harmed.name} {how}: {error}"
    else:
        raise AssertionError(f"{harmed.relative_to(record.folder)} {how}: nothing is said")


def forge(chance: random.Random, folder: Path) -> None:
    """A record says odd things under a right seal: every way of looking at it goes on, or leaves it out by name."""
    source = chance.choice(list(sources()))
    record = copied(source, folder / "runs")
    look(spoil(record, chance), folder)


NESTED = "[" * 40 + "]" * 40
BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in itertools.pairwise("abcdefghijklmnopqrstuvwxyz")
)
HOSTILE_YAML = (
    NESTED,
    BOMB,
    "a: 1\na: 2",
    "x: " + "9" * 5000,
    "? [a]\n: b",
    "!!python/object:os.system x",
    "\0",
)
HOSTILE_SUMS = (
    *("factorial(10**7)", "comb(10**9, 5*10**8)", "2**10**9", "().__class__", "x.real", "[1]*10**9"),
    *("hessian_error(10000, 10000)", "factorial(factorial(6))", "__import__('os')", "lambda: 0", "(" * 500 + ")" * 500),
)


def be_hostile(chance: random.Random, folder: Path) -> None:
    """YAML that grows, expressions that never end: refused, in less than ten seconds."""
    began = time.monotonic()
    if chance.random() < 0.5:
        with pytest.raises(ConfigError):
            parse_yaml(chance.choice(HOSTILE_YAML).encode(), "file", ConfigError)
    else:
        expression = chance.choice(HOSTILE_SUMS)
        with pytest.raises((ConfigError, ValueError, ArithmeticError)):
            print(expression, evaluate(expression))
    assert time.monotonic() - began < 10


def written(data: Any, write: Callable[[io.BytesIO, Any], object]) -> bytes:
    """What is written to a file."""
    file = io.BytesIO()
    write(file, data)
    return file.getvalue()


@cache
def good_files() -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    """A small file of every kind that is read, and what reads it."""
    splits = {"train": 4, "val": 2, "test": 2}
    arrays = {f"{name}_images": np.zeros((count, 48, 48, 3), np.uint8) for name, count in splits.items()}
    arrays |= {f"{name}_labels": np.zeros(count, np.int64) for name, count in splits.items()}
    labels = b"\0\0\x08\x01" + (2).to_bytes(4, "big") + bytes([3, 4])
    pictures = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (2, 28, 28)) + bytes(2 * 28 * 28)
    pairs = PairFiles("phonemes_word", "words.tsv", holdout=(2, 2))
    committed = next(sources())

    def idx(path: Path) -> None:
        (path.parent / "labels").write_bytes(labels)
        read_idx(path, path.parent / "labels")

    def sound(file: io.BytesIO, data: Any) -> None:
        soundfile.write(file, data, 22_050, format="WAV", subtype="PCM_16")

    return {
        "npz": (written(arrays, lambda file, data: np.savez(file, **data)), load_npz),
        "idx": (pictures, idx),
        "idx.gz": (gzip.compress(pictures), idx),
        "pairs": (b"k ae t\tcat\nd ao g\tdog\n" * 4, lambda path: pairs.parse(path.read_bytes(), path)),
        "wav": (written(np.zeros(4000, np.int16), sound), read_wave),
        "yaml": (committed.config.read_bytes(), lambda path: parse_yaml(path.read_bytes(), "file", ConfigError)),
        "json": (committed.manifest.read_bytes(), lambda path: parse_json(path.read_bytes())),
    }


def fuzz(chance: random.Random, folder: Path) -> None:
    """A data file is damaged: it is read as something else, or refused in one of the project's own errors."""
    kind = chance.choice(list(good_files()))
    content, read = good_files()[kind]
    for _ in range(20):
        harmed = content
        for _ in range(chance.randint(1, 4)):
            harmed = chance.choice(CONTENT)(harmed, chance) if harmed else b""
        (path := folder / f"file.{kind}").write_bytes(harmed)
        with contextlib.suppress(DlbenchError):
            try:
                read(path)
            except ValueError:
                assert kind == "json", kind  # which its callers name the file of


# --- counting --------------------------------------------------------------------------------------------------------

KINDS: dict[str, tuple[Try, int]] = {
    "killed at any moment": (kill, 30),
    "signals at any moment": (tell, 30),
    "six starts at once": (race, 4),
    "full disk": (fill, 16),
    "disk to be read only": (look_up_only, 5),
    "interrupted record damaged": (spoil_interrupted, 16),
    "worker or sweep lost": (lose_worker, 4),
    "data changed": (change_data, 4),
    "finished record damaged": (spoil_finished, 300),
    "record forged": (forge, 60),
    "hostile text": (be_hostile, 60),
    "data files fuzzed (20 a try)": (fuzz, 100),
}
"""What is tried, and how often."""


def attempt(name: str, number: int, seed: int) -> str | None:
    """Make a try; how it did not hold, in words."""
    done, _ = KINDS[name]
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        try:
            done(random.Random(f"{seed} {name} {number}"), Path(folder))
        except (Exception, pytest.fail.Exception) as error:  # the second is that of `pytest.raises`
            return f"{name}, try {number}: {type(error).__name__}: {error}"
    return None


def main(arguments: list[str] | None = None) -> int:
    """Make all tries of the kinds that are named, or of all, and print a table; 1 if one did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the numbers of tries")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.kinds if name not in KINDS]:
        parser.error(f"{unknown[0]}: no such kind; choose of {', '.join(KINDS)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in the background
    with tempfile.TemporaryDirectory(prefix="faults-") as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLBENCH_CACHE", cache)
        return _count(chosen)


def _count(chosen: argparse.Namespace) -> int:
    for family in FAMILIES:
        undisturbed(family)
    print(f"{'kind':<32}{'tries':>6}{'held':>6}{'seconds':>9}")
    failed = list[str]()
    for name in chosen.kinds or KINDS:
        _, tries = KINDS[name]
        numbers, began = range(max(1, round(tries * chosen.scale))), time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found = [word for number in numbers if (word := attempt(name, number, chosen.seed))]
        failed += found
        held, seconds = len(numbers) - len(found), time.monotonic() - began
        print(f"{name:<32}{len(numbers):>6}{held:>6}{seconds:>9.0f}", flush=True)
    for word in failed:
        print(f"\n{word}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
