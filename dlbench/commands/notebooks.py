"""``dlbench notebooks``: execute the notebooks, texts in ``notebooks/``, and write an ``.ipynb`` beside each.

Executed again where nothing has changed, a copy is the same to the byte: it holds no times and no random names. Needs
the extra ``notebooks``.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import jupytext
import typer
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dlbench.commands import group
from dlbench.errors import DlbenchError
from dlbench.records.files import write_text

FOLDER = Path("notebooks")
CELL_SECONDS = 600
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


app = group(f"Execute the notebooks, texts in {FOLDER}/, and write an .ipynb beside each.")


@app.command()
def notebooks(
    texts: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE.py", help=f"which; default: all in {FOLDER}")
    ] = None,
) -> None:
    """Execute the notebooks, and write an .ipynb beside each."""
    for text in texts or sorted(FOLDER.glob("*.py")):
        executed, copy = execute(text), text.with_suffix(".ipynb")
        write_text(copy, jupytext.writes(executed, fmt="ipynb") + "\n")
        print(copy, flush=True)


def execute(text: Path) -> Any:
    """A notebook executed where its text lies, by this Python.

    Raises:
        DlbenchError: A cell fails; the message names the error.
    """
    notebook = jupytext.read(text)
    for place, cell in enumerate(notebook.cells):
        cell.id = str(place)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name=KERNEL["name"],
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(text.parent)}},
    )
    try:
        # Where there is a backend of the user's own, pictures would not come into the notebook.
        client.execute(env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    except CellExecutionError as error:
        raise DlbenchError(f"{text}: {error.ename}: {error.evalue}") from error
    # The kernel notes its versions.
    notebook.metadata.clear()
    notebook.metadata.update(kernelspec=KERNEL, language_info={"name": KERNEL["language"]})
    return notebook
