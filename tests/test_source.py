"""Which edits of the code make old records stale: made on a copy of the package, hashed by a process of its own."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from dlbench import resources
from dlbench.source import evaluation_modules_of, modules_of

CONFIG_TARGETS = ("dlbench.models.cnn", "dlbench.tasks.image_classification", "dlbench.data.intel", "torch.optim")
MODULES = (*CONFIG_TARGETS, "dlbench.tasks.image_evaluation")
TRANSDUCTION = ("dlbench.models.seq2seq", "dlbench.tasks.transduction", "dlbench.data.transduction")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the package and its hash."""
    root = tmp_path_factory.mktemp("original")
    shutil.copytree(resources.PACKAGE, root / "dlbench", ignore=shutil.ignore_patterns("__pycache__"))
    return root, source_hash(root)


@pytest.fixture
def package(original: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the package to edit."""
    return Path(shutil.copytree(original[0] / "dlbench", tmp_path / "dlbench"))


def source_hash(root: Path, modules: tuple[str, ...] = MODULES) -> str:
    code = f"import dlbench.source as s; print(s.__file__, s.source_hash({modules!r}))"
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, check=True
    )
    file, found = done.stdout.split()
    assert Path(file).is_relative_to(root)
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_comments_docstrings_and_formatting_do_not_count(original: tuple[Path, str], package: Path) -> None:
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text())
        tree.body.insert(0, ast.Expr(ast.Constant("Another docstring.")))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                node.body.insert(0, ast.Expr(ast.Constant("And another.")))
        text = ast.unparse(ast.fix_missing_locations(tree))  # comments and line breaks are gone
        future = "from __future__ import annotations"
        path.write_text(f"# A remark.\n{future if future in text else ''}\n\n{text.replace(future, '')}\n# Another.\n")
    assert source_hash(package.parent) == original[1]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("models/cnn.py", "padding=kernel_size // 2", "padding=kernel_size // 3"),  # named by the configuration
        ("models/cost.py", "field, jump = 1, 1", "field, jump = 1, 2"),  # imported by a named one
        ("data/batches.py", "1 / 256", "1 / 255"),  # imported by one that only delivers data
        ("randomness.py", "digest_size=8", "digest_size=9"),  # imported by an imported one
    ],
)
def test_code_within_reach_counts(original: tuple[Path, str], package: Path, module: str, old: str, new: str) -> None:
    edit(package / module, old, new)
    assert source_hash(package.parent) != original[1]


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("models/attention.py", "tanh()", "sigmoid()", True),
        ("data/pair_batches.py", '"noise", epoch', '"noises", epoch', True),
        ("data/vocabulary.py", "number == EOS", "number == PAD", True),
        ("decoding/greedy.py", "logits.argmax", "logits.argmin", True),  # validation decodes greedily
        ("metrics/error_rates.py", "Levenshtein.distance, pairs", "Levenshtein.similarity, pairs", True),
        ("decoding/beam.py", "longest: float = self.max_length", "longest: float = self.width", False),
        ("data/pair_files.py", "_SPLIT_SEED = 42", "_SPLIT_SEED = 43", False),  # the fingerprint stands for it
        ("models/cnn.py", "padding=kernel_size // 2", "padding=kernel_size // 3", False),
    ],
)
def test_what_counts_for_a_transducer(
    original: tuple[Path, str], package: Path, module: str, old: str, new: str, *, counts: bool
) -> None:
    edit(package / module, old, new)
    assert (source_hash(package.parent, TRANSDUCTION) != source_hash(original[0], TRANSDUCTION)) == counts


def test_a_decoding_is_a_matter_of_the_evaluation_and_not_of_the_training(compose: Callable[..., DictConfig]) -> None:
    def modules(decoding: str) -> tuple[list[str], list[str]]:
        config: Any = OmegaConf.to_container(compose("+experiment=p2g_attention", f"decoding={decoding}"), resolve=True)
        return modules_of(config), evaluation_modules_of(config)

    greedy, beam = modules("greedy"), modules("beam")
    assert greedy[0] == beam[0]
    assert "dlbench.models.attention" in beam[0]
    assert "dlbench.decoding.beam" in beam[1]
    assert "dlbench.decoding.beam" not in greedy[1]


def test_code_out_of_reach_does_not_count(original: tuple[Path, str], package: Path) -> None:
    (package / "models" / "another.py").write_text("ANSWER = 42\n")
    for module in ("run.py", "data/embedded/scenes.py", "data/intel.py", "data/__main__.py", "records/store.py"):
        with (package / module).open("a") as file:
            file.write("\nANSWER = 42\n")
    assert source_hash(package.parent) == original[1]


@pytest.mark.parametrize("statement", ["from dlbench.models import another", "import dlbench.models.another"])
def test_a_new_import_comes_within_reach(package: Path, statement: str) -> None:
    another = package / "models" / "another.py"
    another.write_text("ANSWER = 42\n")
    edit(package / "models" / "cnn.py", "from torch import", f"{statement}\nfrom torch import")
    before = source_hash(package.parent)
    another.write_text("ANSWER = 43\n")
    assert source_hash(package.parent) != before
