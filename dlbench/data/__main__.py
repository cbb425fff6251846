"""``python -m dlbench.data list|check|fetch|speak``: what data there is, whether it is right, and how to get it."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from joblib import cpu_count

from dlbench.data import registry
from dlbench.data.registry import REGISTRY, DataSet
from dlbench.errors import DataError, DlbenchError
from dlbench.paths import data_folder, existing_data_folder, is_name
from dlbench.terminal import say

SPEAK = "speak a corpus's transcripts with espeak-ng: a labelled stand-in for its recordings"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 if all is well, 1 for an error or broken data (argparse exits with 2 for wrong flags)."""
    given = _parser().parse_args(arguments)
    commands = {"list": _list, "check": _check, "fetch": _fetch, "speak": _speak}
    try:
        return commands[given.command](given)
    except DlbenchError as error:
        say(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dlbench.data", description="The data sets of the suite.")
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "list": "show every data set: size, licence, whether it is there",
        "check": "verify the files of all data sets or one: ok, user copy, stand-in, truncated, broken, missing",
        "fetch": "download a data set into the data folder",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--folder", help="the data folder (default: $DLBENCH_DATA, else ./data)")
        command.add_argument("--json", action="store_true", help="print JSON")
        if name != "list":
            command.add_argument("name", metavar="NAME", nargs="?" if name == "check" else None, help="a data set")
    _add_speak(commands.add_parser("speak", help=SPEAK, description=SPEAK))
    return parser


def _add_speak(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", choices=["ljspeech"], help="whose transcripts: ljspeech")
    command.add_argument("--rows", metavar="A:B", type=_rows, default=(0, None), help="from A up to B (default: all)")
    command.add_argument("--max-characters", metavar="N", type=_positive, help="of these, only texts of at most N")
    command.add_argument("--voice", default="en-us", help="a voice of espeak-ng (default: en-us)")
    command.add_argument("--speed", metavar="WPM", type=_positive, default=175, help="words a minute (default: 175)")
    command.add_argument("--folder", help="the data folder (default: $DLBENCH_DATA, else ./data)")
    command.add_argument("--into", metavar="FOLDER", help="the data folder to write to (default: the same)")
    command.add_argument("--to", metavar="NAME", default="ljspeech_spoken", help="the new corpus (ljspeech_spoken)")
    command.add_argument(
        "--jobs", metavar="N", type=_positive, default=cpu_count(), help="at a time (default: all CPUs)"
    )


def _rows(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d*):(\d*)", text)
    if not match or (match[2] and int(match[2]) <= int(match[1] or 0)):
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with A below B, such as 0:2000")
    return int(match[1] or 0), int(match[2]) if match[2] else None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _list(given: argparse.Namespace) -> int:
    from dlbench.data.fetch import is_present, is_stand_in

    folder = existing_data_folder(given.folder) or data_folder(given.folder)
    rows = [
        _row(data_set, is_present(data_set, folder), is_stand_in(data_set, folder)) for data_set in REGISTRY.values()
    ]
    if given.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    print(f"{'NAME':<23}{'SIZE':>9}  {'PRESENT':<8}  {'FETCH':<8} {'LICENCE':<28} TITLE")
    for row in rows:
        size = "?" if row["bytes"] is None else _megabytes(int(str(row["bytes"])))
        print(f"{row['name']:<23}{size:>9}  {row['present']:<8}  {row['fetch']:<8} {row['licence']:<28} {row['title']}")
    print(f"data folder: {folder}")
    return 0


def _row(data_set: DataSet, present: list[bool], stand_in: bool) -> dict[str, str | int | None]:
    there = "yes" if all(present) else f"{sum(present)} of {len(present)}" if any(present) else "no"
    return {
        "name": data_set.name,
        "title": data_set.title,
        "description": data_set.description,
        "bytes": data_set.size,
        "present": "stand-in" if stand_in else there,
        "fetch": "kaggle" if data_set.source == "instead" else data_set.source,
        "licence": data_set.licence,
        "citation": data_set.citation,
        "manual": data_set.manual,
    }


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _check(given: argparse.Namespace) -> int:
    from dlbench.data.fetch import check

    chosen = [registry.get(given.name)] if given.name else list(REGISTRY.values())
    folder = existing_data_folder(given.folder) or data_folder(given.folder)
    is_broken, rows = False, []
    for data_set in chosen:
        for finding in check(data_set, folder):
            is_broken |= finding.is_broken
            rows.append({"name": data_set.name, "path": finding.path, "state": finding.state, "note": finding.note})
            if not given.json:
                print(f"{finding.state:<9}  {finding.path}" + (f"  ({finding.note})" if finding.note else ""))
    if given.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    return int(is_broken)


def _fetch(given: argparse.Namespace) -> int:
    from dlbench.data.fetch import fetch

    data_set, folder = registry.get(given.name), data_folder(given.folder)
    new = [path.relative_to(folder).as_posix() for path in fetch(data_set, folder, progress=sys.stderr.isatty())]
    if given.json:
        print(json.dumps({"name": data_set.name, "folder": Path(folder).as_posix(), "new": new}))
    else:
        print(f"{data_set.name}: " + (f"fetched {', '.join(new)} into {folder}" if new else f"already in {folder}"))
    return 0


def _speak(given: argparse.Namespace) -> int:
    from dlbench.data import espeak, ljspeech

    folder = data_folder(given.folder)
    transcripts, corpus = folder / given.name, data_folder(given.into or folder) / given.to
    if not is_name(given.to):
        raise DataError(f"--to {given.to}: must be the name of a folder in the data folder")
    selection = espeak.Selection(given.rows[0], given.rows[1], given.max_characters)
    speaker = espeak.Speaker(given.voice, given.speed)
    rows, faults = espeak.speak(transcripts, corpus, selection, speaker, given.jobs)
    for notice in ljspeech.notices(transcripts / ljspeech.METADATA, faults):
        say(notice)
    print(f"{corpus}: {len(rows)} rows of {given.name} spoken by espeak-ng, a stand-in for recordings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
