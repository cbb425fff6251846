"""Records of anybody's: whatever their files hold, they end in the project's own errors or are left out by name."""

import contextlib
import json
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from damage import CONTENT
from resealed import change, copied, reseal, reseal_evaluation

from dlbench import commands, paths
from dlbench.errors import DlbenchError, RecordError
from dlbench.records import history
from dlbench.records.files import read_json
from dlbench.records.store import Record, State, Store
from dlbench.records.summary import summarise
from dlbench.report.checks import Verdicts
from dlbench.report.files import csv_text
from dlbench.report.render import render_html, render_markdown
from dlbench.report.results import Evidence, LeftOut, collect
from dlbench.report.sections import build
from dlbench.tensorboard.app import View

CASES = 60
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 3, 10**39, 10**400, 1e308, -0.5, float("nan"), float("inf")),
    *("", "3", "null", "../../../../x", "\x1b[2J\nx", "\ud800", "\0", "=1", "2026-13-45", "a" * 5000, "{x: [", "${y}"),
    *([], {}, [[]], [None], {"": {}}, {"a": [1, "b"]}, {"_target_": 3}, {"_target_": "os.system"}, [{"a": {}}]),
)
FILES = ("identity.json", "manifest.json", "training.json", "result.json", "metrics.jsonl", "config.yaml")
COMMITTED = Store(paths.experiments() / "results")


def sources() -> Iterator[Record]:
    """A committed classifier and a committed transducer."""
    for experiment in ("cnn_bn_gap", "p2g_attention"):
        yield next(each for each in COMMITTED.all() if read_json(each.manifest)["experiment"] == experiment)


def places(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every value within another."""
    yield keys
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in found:
        yield from places(inner, (*keys, key))


def changed(value: Any, keys: tuple[Any, ...], chance: random.Random) -> Any:
    """The value with something odd in the place that the keys lead to, or without it, or with one thing more."""
    if not keys:
        odd = chance.choice(ODD)
        return {**value, "more": odd} if isinstance(value, dict) and chance.random() < 0.2 else odd
    copy, (first, *rest) = value.copy(), keys
    if not rest and chance.random() < 0.2:
        del copy[first]
    else:
        copy[first] = changed(value[first], tuple(rest), chance)
    return copy


def spoil(record: Record, chance: random.Random) -> Record:
    """Damage one of a record's files: its bytes, or a value, sealed again where that can be."""
    path = chance.choice(sorted(found for name in FILES for found in record.folder.rglob(name)))
    if chance.random() < 0.25:
        path.write_bytes(chance.choice(CONTENT)(path.read_bytes(), chance))
    elif path.name == "metrics.jsonl":
        rows = path.read_text(encoding="utf-8").splitlines()
        row = chance.randrange(len(rows))
        content = json.loads(rows[row])
        rows[row] = json.dumps(changed(content, chance.choice(list(places(content))), chance))
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    else:
        content = record.settings() if path.suffix == ".yaml" else read_json(path)
        content = changed(content, chance.choice(list(places(content))), chance)
        path.write_text(json.dumps(content), encoding="utf-8")
    try:
        return reseal(record)
    except (DlbenchError, KeyError, TypeError, ValueError, AttributeError, OSError):  # what is no record has no seal
        (folder,) = (each for each in record.folder.parent.iterdir() if each.is_dir() and not each.name.startswith("."))
        return Record(folder)


def look(record: Record, folder: Path) -> bool:
    """Look at a record in every way there is; whether it is a result."""
    store = Store(record.folder.parent)
    for whole in (False, True):
        assert all(
            line.problem for line in summarise(record, partial(Record.read, whole=whole)) if line.state == State.CORRUPT
        )
    assert commands.call("records", ["list", "--runs", str(store.folder)]) == 0
    assert commands.call("records", ["show", record.id, "--runs", str(store.folder)]) in (0, 1)
    with contextlib.suppress(RecordError):
        history.read(record.metrics)
    View(folder / "view", [store]).refresh()
    collection = collect([store])
    told = {found.run for found in collection.left_out} | {found.run for found in collection.results}
    assert record.id in told | {found.record.id for found in collection.diverged} or not record.training.exists()
    verdicts = Verdicts(Evidence({}, collection))
    document = build(verdicts)
    assert render_markdown(document) and render_html(document) and csv_text(verdicts)
    return bool(collection.results)


@pytest.mark.parametrize(
    "name", ["../../x", "/x/y", "..", "a/../../b", "\0\x1b\n", "e" * 400, "\N{GREEK SMALL LETTER PHI}" * 300]
)
@pytest.mark.parametrize("key", ["experiment", "provenance"])
def test_no_name_leads_out_of_tensorboards_folder(name: str, key: str, tmp_path: Path) -> None:
    for source in sources():
        record = copied(source, tmp_path / "runs")
        manifest = read_json(record.manifest)
        data = {**manifest["data"], **({"provenance": name} if key == "provenance" else {})}
        change(record.manifest, data=data, **({"experiment": name} if key == "experiment" else {}))
        reseal(record)
    shown = View(tmp_path / "a" / "b" / "view", [Store(tmp_path / "runs")]).refresh()
    assert shown == 2
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "a"}
    assert [path.name for path in (tmp_path / "a").rglob("*")][:2] == ["b", "view"]
    for path in (tmp_path / "a").rglob("*tfevents*"):
        assert len(path.relative_to(tmp_path / "a" / "b" / "view").parts) == 3


@pytest.mark.parametrize("name", ["3", "null", "true", "1e3", "[a]", ""])
def test_an_experiment_that_yaml_takes_for_something_else_is_left_out_by_name(name: str, tmp_path: Path) -> None:
    (source, _), store = sources(), Store(tmp_path)
    record = copied(source, store.folder)
    change(record.manifest, experiment=name)
    (evaluation,) = reseal(record).evaluations()
    reseal_evaluation(evaluation, experiment=name)
    assert collect([store]).left_out == [LeftOut(record.id, f"unknown experiment {name}")]
    assert render_markdown(build(Verdicts(Evidence({}, collect([store])))))


def test_no_damage_of_a_record_ends_in_another_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, counts = list(sources()), {True: 0, False: 0}
    for seed in range(CASES):
        chance, folder = random.Random(seed), tmp_path / str(seed)
        source = found[seed % len(found)]
        record = copied(source, folder / "runs")
        try:
            counts[look(spoil(record, chance), folder)] += 1
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        assert "\x1b" not in "".join(capsys.readouterr())
        assert {path.name for path in tmp_path.iterdir()} == {str(seed)}
        shutil.rmtree(folder)
    assert min(counts.values()) > CASES / 20, counts
