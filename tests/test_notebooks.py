"""Every notebook: its executed copy is that of its text, tells nothing of a machine, and executes here too."""

import re
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import pytest

from dlbench import commands
from dlbench.commands.notebooks import execute

FOLDER = Path(__file__).parents[1] / "notebooks"
TEXTS = sorted(FOLDER.glob("*.py"))
LARGEST = 400_000

ABSOLUTE = re.compile(r"(?<![\w<.])(?:/(?:home|root|tmp|work|Users|opt|usr|var|mnt|private)/|[A-Z]:\\)")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]+")

each = pytest.mark.parametrize("text", TEXTS, ids=[text.stem for text in TEXTS])


def cells(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def committed(text: Path) -> Any:
    return jupytext.read(text.with_suffix(".ipynb"))


def outputs(notebook: Any) -> list[list[Any]]:
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook: Any) -> list[list[Any]]:
    """Of each cell: what its outputs are, whatever they say."""
    return [
        [(one.output_type, one.get("name"), sorted(one.get("data", {}))) for one in cell] for cell in outputs(notebook)
    ]


def words(notebook: Any) -> str:
    """All that its outputs say, pictures apart."""
    ones = [one for cell in outputs(notebook) for one in cell]
    data = [(kind, said) for one in ones for kind, said in one.get("data", {}).items()]
    return "\n".join(
        [*(one.get("text", "") for one in ones), *(str(said) for kind, said in data if "image" not in kind)]
    )


def test_there_is_a_copy_of_every_text_and_no_other() -> None:
    assert TEXTS
    assert sorted(FOLDER.glob("*.ipynb")) == [text.with_suffix(".ipynb") for text in TEXTS]


@each
def test_copy_is_its_text_executed_from_top_to_bottom_without_errors_and_small(text: Path) -> None:
    copy = committed(text)
    assert cells(copy) == cells(jupytext.read(text))
    assert text.with_suffix(".ipynb").stat().st_size < LARGEST
    counts = [cell.execution_count for cell in copy.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not [
        one for cell in outputs(copy) for one in cell if one.output_type == "error" or one.get("name") == "stderr"
    ]


@each
def test_copy_tells_nothing_of_the_machine(text: Path) -> None:
    said = words(committed(text))
    assert said
    assert not ABSOLUTE.findall(said)
    assert not ADDRESS.findall(said)
    assert not [place for place in (Path.cwd(), Path.home(), tempfile.gettempdir()) if f"{place}/" in said]


SHORTER = {
    "tour": [("[3000,100,100]", "[300,30,30]"), ('"trainer.epochs": 8', '"trainer.epochs": 2')],
    "hopfield": [("((100, 6), (300, 4), ", "((100, 1), (300, 1), ")],
    "linear_attention": [("repeats=7", "repeats=1")],
}
"""Of a text, what takes long, and what stands in its place here: no cell and no kind of output depends on it."""


@pytest.mark.slow
@each
def test_text_executes_to_what_its_copy_has(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLBENCH_DATA", raising=False)
    monkeypatch.setenv("DLBENCH_RUNS", str(tmp_path / "runs"))
    shorter, source = tmp_path / "notebooks" / text.name, text.read_text(encoding="utf-8")
    for long, short in SHORTER.get(text.stem, []):
        assert source.count(long) == 1
        source = source.replace(long, short)
    shorter.parent.mkdir()
    shorter.write_text(source, encoding="utf-8")
    assert kinds(execute(shorter)) == kinds(committed(text))
    assert [*shorter.parent.iterdir()] == [shorter]


SMALL = """# %% [markdown]
# A title

# %%
import matplotlib.pyplot as plt
import numpy as np

plt.plot(np.arange(3))
plt.show()
print("one")
print("two")
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # set by the command; put back by the end of the test
    path = tmp_path / "small.py"
    path.write_text(SMALL, encoding="utf-8")
    return path


@pytest.mark.slow
def test_executed_again_a_copy_is_the_same_to_the_byte(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = small.with_suffix(".ipynb")
    assert commands.call("notebooks", [str(small)]) == 0
    first = copy.read_bytes()
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert commands.call("notebooks", [str(small)]) == 0
    assert copy.read_bytes() == first
    notebook = jupytext.read(copy)
    assert [[one.output_type for one in cell] for cell in outputs(notebook)] == [["display_data", "stream"]]
    assert "one\ntwo\n" in words(notebook)
    assert "image/png" in outputs(notebook)[0][0].data


def test_a_cell_that_fails_is_named_and_the_copy_stays(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = small.with_suffix(".ipynb")
    copy.write_text("earlier", encoding="utf-8")
    small.write_text("# %%\n1 / 0\n", encoding="utf-8")
    assert commands.call("notebooks", [str(small)]) == 1
    assert capsys.readouterr().err == f"dlbench: {small}: ZeroDivisionError: division by zero\n"
    assert copy.read_text(encoding="utf-8") == "earlier"
