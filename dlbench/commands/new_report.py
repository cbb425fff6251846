"""``dlbench new-report ID``: begin a report of one's own."""

from importlib import resources
from typing import Annotated

import typer

from dlbench import paths
from dlbench.commands import group
from dlbench.errors import ConfigError
from dlbench.records.files import write_text

app = group("Begin a report of your own.")


@app.command()
def new_report(
    id: Annotated[str, typer.Argument(metavar="ID", help="its short name, such as mine26: small letters and digits")],
) -> None:
    """Write ``experiments/ID/report.yaml`` with an example of each part, to be filled in."""
    if not (id.isascii() and id.isalnum() and id == id.lower()):
        raise ConfigError(f"{id}: no name of a report; take small letters and digits, such as mine26")
    if (path := paths.experiments() / id / "report.yaml").exists():
        raise ConfigError(f"{path}: is there already; edit it, or choose another name")
    text = (resources.files("dlbench.report") / "templates" / "report.yaml").read_text(encoding="utf-8")
    write_text(path, text.replace("ID", id))
    print(f"{path}: fill it in; python -m dlbench report judges it")
