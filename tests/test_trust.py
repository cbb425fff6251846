"""A file that holds no code runs none: only the suite's components and torch's optimisers are taken from one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from resealed import change, copied, read, reseal

from dlbench.components import check_trusted
from dlbench.config import configuration_of
from dlbench.errors import ConfigError, RecordError
from dlbench.predict import Network
from dlbench.records.files import write_text
from dlbench.records.store import Record, Store
from dlbench.records.summary import Use, summarise
from dlbench.report.expressions import evaluate
from dlbench.report.jobs import jobs
from dlbench.report.results import collect
from dlbench.report.schema import Configuration, Report
from dlbench.run import run
from dlbench.verify import verify

PATHS = {"data": None, "cache": None}
EVIL = (
    "planted.call",
    "os.system",
    "subprocess.run",
    "distutils.spawn.spawn",
    "builtins.exec",
    "torch.load",
    "pydoc.locate",
)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a mark when it is imported; where the mark would be."""
    mark = tmp_path / "ran"
    (tmp_path / "planted.py").write_text(f"open({str(mark)!r}, 'w')\ndef call(*_, **__): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return mark


@pytest.mark.parametrize("target", EVIL)
def test_only_the_suites_and_torchs_optimisers_are_trusted(target: str) -> None:
    for node in ({"_target_": target}, {"model": {"a": [{"_target_": target}]}}):
        with pytest.raises(ConfigError, match=target):
            check_trusted(node, "somewhere")
    check_trusted({"_target_": "torch.optim.SGD", "x": {"_target_": "dlbench.models.cnn.ConvNet"}}, "somewhere")


def test_a_value_that_is_still_to_be_resolved_is_refused() -> None:
    for value in ("${oc.decode:'{_target_: os.mkdir, path: x}'}", "a ${oc.env:HOME}"):
        with pytest.raises(ConfigError, match="would be resolved here"):
            check_trusted({"a": [{"b": value}]}, "somewhere")
    for override in ("model.dropout=${oc.env:HOME}", "+model.more=${oc.env:HOME}"):
        with pytest.raises(ConfigError, match="would be resolved here"):
            configuration_of("cnn_bn_gap", [override])


@pytest.mark.parametrize("section", ["model", "data", "optimizer", "evaluation", "task", "trainer"])
def test_a_record_that_names_other_code_runs_nothing(
    decoded: Record, tmp_path: Path, planted: Path, section: str
) -> None:
    record = copied(decoded, tmp_path / "runs")
    config = read(record.config)
    config[section] = {**config[section], "_target_": "planted.call"}
    change(record.config, **config)
    reseal(record)
    with pytest.raises(RecordError, match=r"names planted\.call"):
        verify(record, PATHS)
    with pytest.raises(RecordError, match=r"names planted\.call"):
        Network(record)
    collect([Store(tmp_path / "runs")])
    assert not planted.exists()


@pytest.mark.parametrize(
    ("target", "said"),
    [("planted.call", "is not what was trained; own code must be as it was then"), ("absent.Net", "start where its")],
)
def test_own_code_that_is_not_as_it_was_answers_nothing(
    decoded: Record, tmp_path: Path, planted: Path, target: str, said: str
) -> None:
    record = copied(decoded, tmp_path / "runs")
    config = read(record.config)
    change(record.config, **{**config, "model": {**config["model"], "_target_": target}})
    reseal(record)
    with pytest.raises(RecordError, match=said):
        Network(record, trust=True)


def test_an_evaluation_that_names_other_code_runs_nothing(decoded: Record, tmp_path: Path, planted: Path) -> None:
    record = copied(decoded, tmp_path / "runs")
    evaluation = record.evaluations()[0]
    write_text(evaluation.config, evaluation.config.read_text().replace("dlbench.decoding", "planted"))
    reseal(record)
    with pytest.raises(RecordError, match="names planted"):
        verify(record, PATHS)
    collect([Store(tmp_path / "runs")])
    assert not planted.exists()


def test_defaults_of_other_code_are_not_asked_for(decoded: Record, tmp_path: Path, planted: Path) -> None:
    record = copied(decoded, tmp_path / "runs")
    numerics = {**read(record.manifest)["numerics"], "torch": "2.0"}
    change(record.manifest, bound={"planted.call": {"size": 1}}, numerics=numerics)
    reseal(record)
    assert {line.use for line in summarise(record)} == {Use.COMPARABLE}
    assert len(collect([Store(tmp_path / "runs")]).results) == 3
    assert not planted.exists()


@pytest.mark.parametrize(
    "expression",
    [
        "parameters('cnn_vanilla', '~model', '+model={_target_: planted.call}')",
        "parameters('cnn_vanilla', '+model.more={_target_: planted.call}')",
        "flops('cnn_vanilla', 'model._target_=planted.call')",
    ],
)
def test_an_expression_of_a_report_runs_nothing(expression: str, planted: Path) -> None:
    with pytest.raises(ConfigError, match=r"planted\.call"):
        evaluate(expression)
    assert not planted.exists()


@pytest.mark.parametrize(
    "override",
    [
        *("optimizer._target_=planted.call", "+model.more={_target_: planted.call}", "data._target_=planted.call"),
        *("+callbacks.x={_target_: planted.call}", "evaluation={_target_: planted.call}"),
    ],
)
def test_a_report_that_names_other_code_runs_nothing(override: str, planted: Path) -> None:
    with pytest.raises(ConfigError, match=r"planted\.call"):
        configuration_of("cnn_bn_gap", [override])
    configurations = {"a": Configuration(experiment="cnn_bn_gap", overrides=(override,))}
    with pytest.raises(ConfigError, match=r"planted\.call"):
        jobs("quick", {"mine": Report(title="t", data="d", configurations=configurations)}, [])
    assert not planted.exists()


@pytest.mark.parametrize(
    "override",
    [
        *("+hydra.callbacks.x._target_=planted.call", "hydra.job_logging.handlers={a: {(): planted.call}}"),
        *("hydra/job_logging=none", " hydra.job.name=x", "hydra.searchpath=[file:///tmp]", "~hydra.sweep.dir"),
        "+optimizer@hydra.callbacks=adam",
    ],
)
def test_a_report_sets_nothing_of_hydras_own(override: str) -> None:
    with pytest.raises(ValidationError, match="a report sets nothing of Hydra's own"):
        Configuration(experiment="cnn_bn_gap", overrides=("seed=1", override))


def test_own_code_is_named_on_ones_own_command_line_and_taken_from_a_record_on_request(
    compose: Callable[..., Any], tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_net.py").write_text(
        "from dlbench.models.cnn import ConvNet\nclass Net(ConvNet):\n"
        "    def __init__(self):\n        super().__init__(channels=(2, 2, 2), hidden=(4, 4))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = compose("+experiment=cnn_vanilla", *tiny, "trainer.epochs=1")
    config["model"] = {"_target_": "own_net.Net"}
    record = run(config).record
    with pytest.raises(RecordError, match=r"--trust takes own code\): names own_net\.Net"):
        verify(record, PATHS)
    assert not verify(record, PATHS, trust=True).differences


def test_a_planted_pickle_in_the_cache_is_not_read(tmp_path: Path) -> None:
    code = "from dlbench.report.expressions import evaluate; print(evaluate(\"parameters('kmnist_mlp')\"))"
    folder = tmp_path / "networks" / "joblib"
    folder.mkdir(parents=True)
    (folder / "output.pkl").write_bytes(b"cposix\nsystem\n(S'touch ran'\ntR.")
    environment = os.environ | {"DLBENCH_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert done.stdout.strip().isdigit()
    assert not (tmp_path / "ran").exists()
