"""The command that a report gives for a run composes to that very run."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlbench import identity, resources
from dlbench.records.store import Store
from dlbench.report.command import _literal, command
from dlbench.report.results import Result, collect
from dlbench.run import run

COMMITTED = collect([Store(resources.experiments() / "results")]).results
Compose = Callable[..., Any]


def identities(words: list[str], compose: Compose, result: Result) -> tuple[str, str]:
    """The training and evaluation that overrides compose to on the result's data and device."""
    config: dict[str, Any] = OmegaConf.to_container(compose(*words), resolve=True)  # type: ignore[assignment]
    scientific = result.manifest["scientific"]
    canonical = identity.canonical(config, scientific["fingerprint"], scientific["trainer"]["device"])
    training = identity.training_id(canonical)
    return training, identity.evaluation_id(training, config["evaluation"])


@pytest.mark.parametrize("result", COMMITTED, ids=lambda result: result.evaluation.id)
def test_a_committed_runs_command_names_it(result: Result, compose: Compose) -> None:
    python, flag, module, *words = shlex.split(command(result))
    assert (python, flag, module) == ("python", "-m", "dlbench")
    assert identities(words, compose, result) == (result.run, result.evaluation.id)


def test_a_run_of_ones_own_settings_is_named_whole(
    compose: Compose, tiny_in: Callable[..., list[str]], tmp_path: Path
) -> None:
    settings = ["model/attention=bilinear", "decoding=beam", "evaluation.decoding.width=7", "model.size=16"]
    run(compose("+experiment=p2g_attention", *tiny_in(tmp_path), *settings, "seed=7"))
    (result,) = collect([Store(tmp_path)]).results
    words = shlex.split(command(result))[3:]
    assert identities(words, compose, result) == (result.run, result.evaluation.id)
    assert {"data.source=embedded", "model/attention=bilinear", "decoding=beam", "seed=7"} <= set(words)


texts = st.text(st.characters(exclude_categories=("Cc", "Cs"))) | st.sampled_from(["true", "NULL", "1e5", "a b", "x=y"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(st.none() | st.booleans() | numbers | texts, lambda inner: st.lists(inner, max_size=3))


@given(values)
def test_any_setting_is_read_back_as_it_was_written(value: Any) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"key={_literal(value)}"])
    assert override.value() == value
