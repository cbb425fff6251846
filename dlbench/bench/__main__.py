"""``python -m dlbench bench``: measure speed against plain PyTorch loops. A missed target is a finding, no failure."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dlbench.bench import report
from dlbench.bench.limits import limits
from dlbench.bench.memory import memory
from dlbench.bench.overhead import overhead
from dlbench.bench.part import FULL, QUICK, Effort, Measure, Part
from dlbench.bench.sequences import sequences
from dlbench.bench.speech import speech
from dlbench.bench.startup import startup
from dlbench.bench.throughput import sweep, threads2
from dlbench.cli import one_line_errors
from dlbench.errors import DlbenchError
from dlbench.files import atomic_path
from dlbench.terminal import say

PARTS: dict[str, Measure] = {
    "threads2": threads2,
    "sweep": sweep,
    "overhead": overhead,
    "startup": startup,
    "memory": memory,
    "limits": limits,
    "sequences": sequences,
    "speech": speech,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print; the exit code is 1 only if a measurement broke down."""
    parser = argparse.ArgumentParser(prog="python -m dlbench bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see in a minute that it works; the figures mean nothing")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--pairs", type=_positive, metavar="N", help="pairs of windows, decodings, process starts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, each pair's ratio included")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page docs/benchmarks.md there")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    if options.pairs:
        effort = replace(effort, pairs=options.pairs, starts=options.pairs, decodings=options.pairs)
    with one_line_errors():
        try:
            return bench(options.only or list(PARTS), effort, options.quick, options.json, options.markdown)
        except KeyboardInterrupt:
            say("interrupted; no file is written")
            return 130


def bench(names: Sequence[str], effort: Effort, quick: bool, json_file: Path | None, page: Path | None) -> int:
    """Measure the named parts one after the other, print each as it is done, and write the files asked for."""
    console = report.make_console()
    described = report.machine()
    console.print(report.machine_line(described), markup=False)
    if report.is_busy(described):
        say("other processes are computing on this machine; the figures are not to be trusted")
    parts: dict[str, Part] = {}
    failures: dict[str, str] = {}
    for name in (name for name in PARTS if name in names):
        try:
            parts[name] = PARTS[name](effort)
        except DlbenchError as error:
            failures[name] = str(error)
            say(f"{name}: {error}")
            continue
        report.show(parts[name], console)
    if json_file:
        _write(json_file, json.dumps(report.as_json(parts, failures, described, quick), indent=1) + "\n")
    if page:
        _write(page, report.markdown(parts, failures, described, quick))
    return int(bool(failures))


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
