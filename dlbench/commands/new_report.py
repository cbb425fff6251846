"""``dlbench new-report ID``: begin a report of one's own."""

import os
import shlex
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from dlbench import paths
from dlbench.commands import OwnFolder, group
from dlbench.errors import ConfigError
from dlbench.records.files import write_text
from dlbench.report.schema import wrong_name

app = group("Begin a report of your own.")


@app.command()
def new_report(
    id: Annotated[str, typer.Argument(metavar="ID", help="its short name, such as mine26: small letters and digits")],
    config_dir: OwnFolder = None,
) -> None:
    """Write ``reports/ID/report.yaml`` in a folder of your own, with an example of each part, to be filled in.

    In a checkout of the suite, and without ``--config-dir``, it becomes the suite's: ``experiments/ID/report.yaml``.
    """
    if wrong := wrong_name(id):
        raise ConfigError(wrong)
    root = paths.checkout()
    if config_dir:
        folder, option = config_dir / "reports", f" --config-dir {shlex.quote(os.path.relpath(config_dir))}"
    elif root and Path.cwd().is_relative_to(root):
        folder, option = paths.experiments(), ""
    else:
        raise ConfigError(f"new-report {id}: choose a folder of your own: --config-dir FOLDER")
    if (path := folder / id / "report.yaml").exists():
        raise ConfigError(f"{path}: is there already; edit it, or choose another name")
    text = (resources.files("dlbench.report") / "templates" / "report.yaml").read_text(encoding="utf-8")
    write_text(path, text.replace("ID", id))
    print(f"{path}: fill it in; python -m dlbench report{option} judges it")
