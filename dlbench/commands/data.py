"""``dlbench data list|check|fetch|speak``: what data there is, whether it is right, and how to get it."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from joblib import cpu_count

from dlbench.commands import Json, group
from dlbench.data import registry
from dlbench.data.registry import REGISTRY, DataSet
from dlbench.errors import DataError
from dlbench.paths import data_folder, is_name, require
from dlbench.terminal import print_columns, say

app = group("The data sets of the suite.")

Folder = Annotated[str | None, typer.Option(metavar="FOLDER", help="the data folder ($DLBENCH_DATA, else ./data)")]


@app.command("list")
def list_sets(folder: Folder = None, as_json: Json = False) -> None:
    """Show every data set: size, licence, whether it is there."""
    from dlbench.data.fetch import is_present, is_stand_in

    where = require(data_folder(folder))
    rows = [_row(each, is_present(each, where), is_stand_in(each, where), where) for each in REGISTRY.values()]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = [["name", "size", "present", "got", "title (licence)"]]
    for row in rows:
        size = "unknown" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f} MB"
        got = {"manual": "by hand", "kaggle": "Kaggle"}.get(row["fetch"], "download")
        table.append([row["name"], size, row["present"], got, f"{row['title']} ({row['licence']})"])
    print_columns(table)
    print(f"data folder: {where}")
    print("download, Kaggle: python -m dlbench data fetch NAME gets it")
    print("by hand: python -m dlbench data fetch NAME says where it is found")
    for row in rows:
        if row["note"]:
            print(f"{row['name']}: {row['note']}")


def _row(data_set: DataSet, present: list[bool], stand_in: bool, folder: Path) -> dict[str, Any]:
    there = "yes" if all(present) else f"{sum(present)} of {len(present)}" if any(present) else "no"
    return {
        "name": data_set.name,
        "title": data_set.title,
        "description": data_set.description,
        "bytes": data_set.size,
        "present": "stand-in" if stand_in else there,
        "note": "" if all(present) or not data_set.similar(folder) else data_set.absence(folder),
        "fetch": "kaggle" if data_set.source == "instead" else data_set.source,
        "licence": data_set.licence,
        "citation": data_set.citation,
        "manual": data_set.manual,
    }


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="a data set; default: all")] = None,
    folder: Folder = None,
    as_json: Json = False,
) -> int:
    """Verify the files of all data sets or one: ok, user copy, stand-in, truncated, broken, missing."""
    from dlbench.data.fetch import check

    where = require(data_folder(folder))
    chosen = [registry.get(name)] if name else list(REGISTRY.values())
    is_broken, rows = False, []
    for data_set in chosen:
        for finding in check(data_set, where):
            is_broken |= finding.is_broken
            rows.append({"name": data_set.name, "path": finding.path, "state": finding.state, "note": finding.note})
            if not as_json:
                print(f"{finding.state:<9}  {finding.path}" + (f"  ({finding.note})" if finding.note else ""))
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    return int(is_broken)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a data set")],
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Download a data set into the data folder."""
    from dlbench.data.fetch import fetch

    data_set, where = registry.get(name), data_folder(folder)
    new = [path.relative_to(where).as_posix() for path in fetch(data_set, where, progress=sys.stderr.isatty())]
    if as_json:
        print(json.dumps({"name": name, "folder": where.as_posix(), "new": new}))
    else:
        print(f"{name}: " + (f"fetched {', '.join(new)} into {where}" if new else f"already in {where}"))


def _rows(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d*):(\d*)", text)
    if not match or (match[2] and int(match[2]) <= int(match[1] or 0)):
        raise typer.BadParameter(f"{text!r} is not A:B with A below B, such as 0:2000", param_hint="--rows")
    return int(match[1] or 0), int(match[2]) if match[2] else None


@app.command()
def speak(
    name: Annotated[Literal["ljspeech"], typer.Argument(metavar="NAME", help="whose transcripts: ljspeech")],
    *,
    rows: Annotated[str, typer.Option(metavar="A:B", help="from A up to B; default: all")] = ":",
    max_characters: Annotated[int | None, typer.Option(min=1, metavar="N", help="only texts of at most N")] = None,
    voice: Annotated[str, typer.Option(help="a voice of espeak-ng")] = "en-us",
    speed: Annotated[int, typer.Option(min=1, metavar="WPM", help="words a minute")] = 175,
    folder: Folder = None,
    into: Annotated[str | None, typer.Option(metavar="FOLDER", help="where to write; default: the same")] = None,
    to: Annotated[str, typer.Option(metavar="NAME", help="the new corpus")] = "ljspeech_spoken",
    jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="at a time; default: all CPUs")] = None,
) -> None:
    """Speak a corpus's transcripts with espeak-ng: a labelled stand-in for its recordings."""
    from dlbench.data import ljspeech

    transcripts, corpus = data_folder(folder) / name, data_folder(into or folder) / to
    if not is_name(to):
        raise DataError(f"--to {to}: must be the name of a folder in the data folder")
    selection, speaker = ljspeech.Selection(*_rows(rows), max_characters), ljspeech.Speaker(voice, speed)
    spoken, faults = ljspeech.speak(transcripts, corpus, selection, speaker, jobs or cpu_count())
    for notice in ljspeech.notices(transcripts / ljspeech.METADATA, faults):
        say(notice)
    print(f"{corpus}: {len(spoken)} rows of {name} spoken by espeak-ng, a stand-in for recordings")
