"""Whether today's code gives the bits it gave: see ``tests/golden``."""

import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from processes import python

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import golden
import run as runner

QUICK = ["cnn_bn_gap", "kmnist_mlp", "octmnist_cnn_maxpool", "p2g_attention", "translit_lstm", "p2g_transformer"]
QUICK += ["asr_attention: masked", "hopfield_retrieval", "p2g_attention: beam ensemble"]
"""One case of each family."""
OTHERS = [case for case in runner.CASES if case not in QUICK]


@pytest.mark.parametrize(
    "cases", [QUICK, *(pytest.param(OTHERS[first::2], marks=pytest.mark.slow) for first in range(2))], ids=len
)
def test_bits_are_those_kept_or_those_of_the_commit_before(cases: list[str]) -> None:
    done = python(str(golden.ROOT / golden.RUNNER), *cases)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    numerics, today = said["numerics"], said["bits"]
    if os.environ.get("DLBENCH_GOLDEN") == "tolerance":  # other releases of torch round otherwise
        (kept, *_) = golden.kept().values()
        assert not [line for name in today for line in golden.far(kept[name], today[name], name)]
        return
    kept = {name: found for name, found in golden.kept().get(numerics, {}).items() if name in today}
    has_same_versions = all(kept[name].get("versions") == today[name].get("versions") for name in kept)
    if kept.keys() == today.keys() and has_same_versions and not golden.changed(kept, today):
        return
    # Another kind of machine, or the same kind that computes otherwise: the commit before is asked here.
    commit = golden.before()
    then = commit and golden.bits_of_commit(commit, list(today))
    if not then:
        assert not kept, golden.changed(kept, today) or "tests/golden/bits.json lacks cases: make golden"
        pytest.skip(f"no golden bits of {numerics}, and no commit before to ask")
    assert not golden.changed(then, today)
    assert not kept or has_same_versions, "make golden"
    if kept:
        warnings.warn(f"bits differ from those kept for {numerics}, and so do the last commit's", stacklevel=1)


def test_by_tolerance_rounding_is_no_change_and_another_training_is_one() -> None:
    case = {"train/loss": [2.0, 1.5], "metrics": {"test/accuracy": 0.5, "val/loss": 1.0}, "versions": "mlp 1.0"}
    assert not golden.far(case, {**case, "train/loss": [2.0000001, 1.4999], "weights": "b"}, "x")
    for key, value in (("train/loss", [2.0, 1.52]), ("train/loss", [2.0]), ("metrics", {"test/accuracy": 0.5})):
        assert golden.far(case, {**case, key: value}, "x")
    assert golden.far(case, {**case, "metrics": {**case["metrics"], "test/accuracy": 0.9}}, "x") == [
        "x: test/accuracy was 0.5, now 0.9"
    ]
    assert not golden.far(case, {**case, "train/loss": [9.0, 9.0], "versions": "mlp 1.1"}, "x")


def test_no_commit_changed_bits_without_a_version() -> None:
    assert not golden.blessed(golden.kept())


def test_no_commit_changed_a_default_without_a_major() -> None:
    assert not golden.changed_meanings(golden.components.SNAPSHOT.read_text(encoding="utf-8"))


def test_every_place_at_which_a_component_ever_lay_is_known() -> None:
    known = golden.components
    places = {place for _, text in golden.earlier(known.SNAPSHOT) for place in known.parse(text)}
    assert {place for place in places if known.path_now(place) not in known.snapshot()} == set()


def test_every_experiment_has_a_case() -> None:
    experiments = {path.stem for path in (golden.ROOT / "conf/experiment").glob("*.yaml")}
    assert experiments <= {name.partition(":")[0] for name in runner.CASES}


def test_a_change_of_bits_is_a_change_only_with_the_same_versions() -> None:
    case = {"weights": "a", "metrics": {"m": 1}, "versions": "convnet 1.0"}
    assert golden.changed({"x": case}, {"x": {**case, "weights": "b"}}) == ["x: weights"]
    assert golden.changed({"x": case}, {"x": {**case, "metrics": {"n": 1}}}) == ["x: m"]
    assert not golden.changed({"x": case}, {"x": {**case, "metrics": {"m": 1, "n": 1}}})
    assert not golden.changed({"x": case}, {"x": {**case, "weights": "b", "versions": "convnet 1.1"}})


def _expected(numerics: str, cases: list[str]) -> golden.Bits:
    kept = golden.kept().get(numerics) or _of_today()
    return {case: kept[case] for case in cases}


@cache
def _of_today() -> golden.Bits:
    """The bits of every case that is held against an edited copy's."""
    return golden.ask(golden.ROOT, [*UNCHANGED, *(edit[0] for edits in CHANGING.values() for edit in edits)])[1]


def _copy(folder: Path) -> Path:
    root = folder / "copy"
    for name in ("dlbench", "conf", "experiments", "hydra_plugins", "tests/golden"):
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(golden.ROOT / name, root / name, ignore=ignored)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(golden.ROOT / name, root / name)
    return root


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"))
    assert count, f"{pattern} is not in {path.name} any more"
    path.write_text(text, encoding="utf-8")


def _move(root: Path) -> None:
    """The classifier LeNet into a module of another name."""
    (root / "dlbench/models/lenet.py").rename(root / "dlbench/models/small_cnn.py")
    for path in [*root.glob("dlbench/**/*.py"), *root.glob("conf/**/*.yaml")]:
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("dlbench.models.lenet", "dlbench.models.small_cnn"), encoding="utf-8")


Edit = tuple[str, str, str, str]
"""A case, a file, a pattern in it, and what to put in its place."""

CHANGING: dict[str, list[Edit]] = {
    "another stream at initialisation": [("kmnist_mlp", "dlbench/run/plan.py", r'"init"\)', '"start")')],
    "another order of batches": [
        (
            *("kmnist_mlp", "dlbench/data/image_datamodules.py"),
            *(r"self\.batch_size, self\.seed\)", "self.batch_size, self.seed + 1)"),
        )
    ],
    "cudnn.benchmark": [("kmnist_mlp", "dlbench/trainer.py", r"(cudnn\.benchmark = )False", r"\1True")],
    # Options, none of which is set in another's case.
    "layout, permuted pixels, bucketing and the last ten epochs": [
        (
            *("cnn_vanilla: layout", "dlbench/data/image_datamodules.py", r"to_network\(pictures, self\.layout\)"),
            'to_network(pictures, "chw")',
        ),
        (
            *("kmnist_mlp: permuted", "dlbench/data/image_datamodules.py"),
            *(r"return permute_pixels\(arranged\) if .*", "return arranged"),
        ),
        (
            *("p2g_lstm: bucketed", "dlbench/data/pairs.py"),
            *(r"self\.bucket_batches, self\.seed\)", "1, self.seed)"),
        ),
        ("cnn_bn_gap: curve", "dlbench/metrics/best_epoch.py", r"LAST_EPOCHS = 10", "LAST_EPOCHS = 9"),
    ],
}

UNCHANGED = ["kmnist_cnn", "kmnist_mlp", "hopfield_retrieval", "octmnist_cnn_maxpool"]
HARMLESS: dict[str, Callable[[Path], None]] = {
    "a comment and a docstring": lambda root: _edit(
        root / "dlbench/models/mlp.py", r'\A"""', '# A comment.\n"""In other words: '
    ),
    "a local name": lambda root: _edit(root / "dlbench/models/lenet.py", r"\bblocks\b", "layers_of_blocks"),
    "a private function's name": lambda root: _edit(root / "dlbench/tasks/retrieval.py", r"\b_compared\b", "_nearest"),
    "a further option": lambda root: _edit(
        root / "dlbench/models/mlp.py", r"(        classes: Width = 10,\n)", r"\1        further: bool = False,\n"
    ),
    "a class moved": _move,
    "an error's text": lambda root: _edit(root / "dlbench/tasks/retrieval.py", r"choose fewer patterns", "take fewer"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGING)
def test_an_edit_that_changes_results_changes_bits(name: str, tmp_path: Path) -> None:
    root, cases = _copy(tmp_path), [case for case, *_ in CHANGING[name]]
    for _, file, pattern, replacement in CHANGING[name]:
        _edit(root / file, pattern, replacement)
    numerics, found = golden.ask(root, cases, processes=1)
    changed = golden.changed(_expected(numerics, cases), found)
    assert {line.rpartition(": ")[0] for line in changed} == {*cases}


@pytest.mark.slow
def test_harmless_edits_change_no_bit(tmp_path: Path) -> None:
    root = _copy(tmp_path)
    for edit in HARMLESS.values():
        edit(root)
    numerics, found = golden.ask(root, UNCHANGED, processes=1)
    expected = _expected(numerics, UNCHANGED)
    assert found.keys() == expected.keys()
    assert not golden.changed(expected, found)
