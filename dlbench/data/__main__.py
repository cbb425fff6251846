"""``python -m dlbench.data list|check|fetch``: what data there is, whether it is right, and how to get it."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dlbench.data import registry
from dlbench.data.folders import data_folder, existing_data_folder
from dlbench.data.registry import REGISTRY, DataSet
from dlbench.errors import DlbenchError
from dlbench.messages import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 if all is well, 1 for an error or broken data (argparse exits with 2 for wrong flags)."""
    given = _parser().parse_args(arguments)
    commands = {"list": _list, "check": _check, "fetch": _fetch}
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
        "check": "verify the files of all data sets or one: ok, user copy, truncated, broken, missing",
        "fetch": "download a data set into the data folder",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--folder", help="the data folder (default: $DLBENCH_DATA, else ./data)")
        command.add_argument("--json", action="store_true", help="print JSON")
        if name != "list":
            command.add_argument("name", metavar="NAME", nargs="?" if name == "check" else None, help="a data set")
    return parser


def _list(given: argparse.Namespace) -> int:
    from dlbench.data.check import is_present

    folder = existing_data_folder(given.folder) or data_folder(given.folder)
    rows = [_row(data_set, is_present(data_set, folder)) for data_set in REGISTRY.values()]
    if given.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    print(f"{'NAME':<23}{'SIZE':>9}  {'PRESENT':<8}  {'FETCH':<8} {'LICENCE':<28} TITLE")
    for row in rows:
        size = "?" if row["bytes"] is None else _megabytes(int(str(row["bytes"])))
        print(f"{row['name']:<23}{size:>9}  {row['present']:<8}  {row['fetch']:<8} {row['licence']:<28} {row['title']}")
    print(f"data folder: {folder}")
    return 0


def _row(data_set: DataSet, present: list[bool]) -> dict[str, str | int | None]:
    return {
        "name": data_set.name,
        "title": data_set.title,
        "description": data_set.description,
        "bytes": data_set.size,
        "present": "yes" if all(present) else f"{sum(present)} of {len(present)}" if any(present) else "no",
        "fetch": "kaggle" if data_set.source == "instead" else data_set.source,
        "licence": data_set.licence,
        "citation": data_set.citation,
        "manual": data_set.manual,
    }


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _check(given: argparse.Namespace) -> int:
    from dlbench.data.check import check

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


if __name__ == "__main__":
    sys.exit(main())
