"""``dlbench experiments``: every experiment, sweep and search, with what its file says of it."""

import json
from pathlib import Path

from dlbench.cli import folders
from dlbench.commands import Json, OwnFolder, group
from dlbench.terminal import print_columns

GROUPS = {"experiment": "Experiments", "sweep": "Sweeps, many runs each", "search": "Searches for the best settings"}

app = group("Every experiment, sweep and search, with what its file says of it.")


@app.command()
def experiments(
    config_dir: OwnFolder = None,
    as_json: Json = False,
) -> None:
    """Every experiment, sweep and search, with what its file says of it."""
    # Of two files of a name a run takes the first.
    found = {
        kind: {path.stem: about(path) for folder in reversed(folders()) for path in (folder / kind).glob("*.yaml")}
        for kind in GROUPS
    }
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for kind, title in GROUPS.items():
        print(f"{title}: dlbench +{kind}=NAME\n")
        print_columns(sorted(found[kind].items()))
        print()


def about(path: Path) -> str:
    """The comment at the beginning of a configuration, after the line that says where it goes."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = []
    for line in lines:
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            comments.append(line.removeprefix("#").strip())
    return " ".join(comments)
