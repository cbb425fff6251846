"""The command that a report gives for a run composes to that very run."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from made import made
from omegaconf import OmegaConf

from dlbench import identity
from dlbench.records.store import Store
from dlbench.report.checks import Verdicts
from dlbench.report.command import _literal, command, preparation
from dlbench.report.results import Result, collect
from dlbench.run import run

Compose = Callable[..., Any]


def identities(words: list[str], compose: Compose, result: Result) -> tuple[str, str]:
    """The training and evaluation that overrides compose to on the result's data and device."""
    config: dict[str, Any] = OmegaConf.to_container(compose(*words), resolve=True)  # type: ignore[assignment]
    recorded = result.identity
    training = identity.digest(identity.training(config, recorded["fingerprint"], recorded["trainer"]["device"]))
    return training, identity.digest(identity.evaluation(training, config["evaluation"]))


def test_of_each_experiment_the_committed_run_of_most_settings_is_named_by_its_command(
    committed: Verdicts, compose: Compose
) -> None:
    results = sorted(committed.evidence.collection.results, key=lambda result: len(result.settings))
    longest = {(result.experiment, result.provenance): result for result in results}
    assert len(longest) >= 29
    for result in longest.values():
        python, flag, module, *words = shlex.split(command(result))
        assert (python, flag, module) == ("python", "-m", "dlbench")
        assert identities(words, compose, result) == (result.run, result.evaluation.id)


@pytest.mark.parametrize(
    ("provenance", "experiment", "overrides"),
    [
        ("other split", "kmnist_mlp", ("data.source=test10k", "data.permute_pixels=true")),
        ("stand-in", "asr_attention", ("data=ljspeech_spoken", "data.frames=null", "trainer.epochs=30")),
    ],
)
def test_what_is_not_on_the_real_data_is_named_whole(
    provenance: str, experiment: str, overrides: tuple[str, ...], compose: Compose
) -> None:
    result = made(experiment, *overrides, provenance=provenance, metrics={"test/loss": 1.0}, seed=7)
    words = shlex.split(command(result))[3:]
    assert identities(words, compose, result) == (result.run, result.evaluation.id)
    data = compose(*words).data
    assert {key: data[key] for key in ("source", "corpus", "splits") if key in data} == {
        key: result.config["data"][key] for key in ("source", "corpus", "splits") if key in data
    }


@pytest.mark.parametrize("provenance", ["verified", "synthetic"])
def test_sizes_of_synthetic_data_are_named_where_it_is_used(provenance: str) -> None:
    sizes = "data.synthetic_sizes=[6,6,6]"
    result = made("cnn_vanilla", sizes, provenance=provenance, metrics={"test/loss": 1.0})
    assert (sizes in shlex.split(command(result))) == (provenance == "synthetic")


def test_a_stand_in_needs_to_be_spoken_first() -> None:
    spoken = made("asr_lstm", "data=ljspeech_spoken", provenance="stand-in", metrics={"test/loss": 1.0})
    made_by = {"engine": "e", "voice": "en-us", "speed": 160, "start": 0, "stop": None, "max_characters": 60}
    marked = replace(spoken, manifest={**spoken.manifest, "data": {**spoken.manifest["data"], "stand_in": made_by}})
    assert preparation(marked) == (
        "python -m dlbench data speak ljspeech --max-characters 60 --voice en-us --speed 160 --to ljspeech_spoken"
    )
    assert preparation(made("asr_lstm", metrics={"test/loss": 1.0})) is None


def test_a_run_of_ones_own_settings_is_named_whole(
    compose: Compose, tiny_in: Callable[..., list[str]], tmp_path: Path
) -> None:
    settings = ["model/attention=bilinear", "decoding=beam", "evaluation.decoding.width=7", "model.size=16"]
    run(compose("+experiment=p2g_attention", *tiny_in(tmp_path), *settings, "seed=7"))
    (result,) = collect([Store(tmp_path)]).results
    words = shlex.split(command(result))[3:]
    assert identities(words, compose, result) == (result.run, result.evaluation.id)
    assert {"data.source=synthetic", "model/attention=bilinear", "decoding=beam", "seed=7"} <= set(words)


texts = st.text(st.characters(exclude_categories=("Cc", "Cs"))) | st.sampled_from(["true", "NULL", "1e5", "a b", "x=y"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(st.none() | st.booleans() | numbers | texts, lambda inner: st.lists(inner, max_size=3))


@given(values)
def test_any_setting_is_read_back_as_it_was_written(value: Any) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"key={_literal(value)}"])
    assert override.value() == value
