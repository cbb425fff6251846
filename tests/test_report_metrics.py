"""Names of metrics and numbers: those that runs have, as people say and read them."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlbench.config import check
from dlbench.errors import ConfigError
from dlbench.metrics.names import (
    MAX_K,
    MAX_ROTATION,
    MAX_SCALE,
    MAX_SHIFT,
    METRICS,
    display_name,
    is_better_higher,
    is_exact,
    ranked_by,
)
from dlbench.run import run
from dlbench.terminal import capitalised, format_value, mean_and_spread

TinyIn = Callable[..., list[str]]


def test_the_known_metrics_are_those_of_runs(compose: Callable[..., Any], tiny_in: TinyIn, tmp_path: Path) -> None:
    tiny = tiny_in(tmp_path, epochs=1, sizes=(24, 12, 12))
    classifier = run(compose("+experiment=cnn_bn_gap", *tiny, "trainer.epochs=2")).result["metrics"].keys()
    transducer = run(compose("+experiment=p2g_nucleus", *tiny, "model.size=16")).result["metrics"].keys()
    grey = run(compose("+experiment=kmnist_cnn", *tiny)).result["metrics"].keys()
    speech = run(compose("+experiment=asr_lstm", *tiny, "model.size=16")).result["metrics"].keys()
    hopfield = run(compose("+experiment=hopfield_retrieval", *tiny, "model.patterns=20")).result["metrics"].keys()
    shifts = {f"test/accuracy_shift_{pixels}" for pixels in range(MAX_SHIFT + 1)}
    rotations = {f"test/accuracy_rotation_{degrees}" for degrees in range(MAX_ROTATION + 1)}
    scales = {f"test/accuracy_scale_{tenths / 10:g}" for tenths in range(10, 10 * MAX_SCALE + 1)}
    samples = {f"test/wer_at_{k}" for k in range(2, MAX_K + 1)}
    assert "test/wer_at_3" in transducer
    of_one_epoch = {name for name in METRICS if name.endswith("_std")}
    assert {"test/accuracy_rotation_10", "test/accuracy_scale_1.3"} <= grey
    measured = classifier | transducer | grey | speech | hopfield
    assert measured | shifts | rotations | scales | samples | of_one_epoch == METRICS


def test_metrics_have_names_without_torch() -> None:
    told = "import sys, dlbench.metrics.names, dlbench.records.history; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", told], check=True)


@pytest.mark.parametrize(
    ("key", "most", "more"),
    [
        ("max_shift", MAX_SHIFT, MAX_SHIFT + 1),
        ("rotations", [MAX_ROTATION], [MAX_ROTATION + 1]),
        ("scales", [MAX_SCALE], [MAX_SCALE + 0.1]),
    ],
)
def test_no_evaluation_measures_beyond_the_known_metrics(
    key: str, most: Any, more: Any, compose: Callable[..., Any]
) -> None:
    config: Any = OmegaConf.to_container(compose("+experiment=kmnist_cnn", f"evaluation.{key}={most}"))
    check(config)
    config["evaluation"][key] = more
    with pytest.raises(ConfigError, match=key):
        check(config)


def test_every_metric_can_be_said_and_is_said_as_no_other() -> None:
    words = {name: display_name(name) for name in METRICS}
    assert len(set(words.values())) == len(words)
    assert not any("/" in word or "_" in word for word in words.values())


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("val/accuracy", "validation accuracy"),
        ("test/cer", "test CER"),
        ("test/wer_at_3", "test WER@3"),
        ("val/cer_best", "lowest validation CER"),
        ("test/accuracy_shift_4", "test accuracy, shifted by 4"),
        ("test/accuracy_rotation_10", "test accuracy, rotated by 10 degrees"),
        ("test/accuracy_scale_1.1", "test accuracy, scaled by 1.1"),
        ("test/jaccard_shuffled", "test Jaccard similarity, symbols shuffled"),
        ("val/damerau_levenshtein_best", "best validation Damerau-Levenshtein similarity"),
        ("val/cer_last10_mean", "validation CER, mean of the last 10 epochs"),
        ("model/parameters", "parameters"),
    ],
)
def test_metrics_are_said_in_the_fields_words(metric: str, words: str) -> None:
    assert display_name(metric) == words


def test_more_accuracy_is_better_and_less_error() -> None:
    assert is_better_higher("test/accuracy")
    assert is_better_higher("test/jaccard")
    assert not any(is_better_higher(metric) for metric in ("test/cer", "test/wer", "val/loss", "test/error_rate_macro"))
    assert [metric for metric in sorted(METRICS) if is_exact(metric)] == [
        "model/flops",
        "model/load",
        "model/parameters",
        "model/receptive_field",
    ]


def test_a_board_is_ranked_by_what_its_runs_were_tested_by() -> None:
    assert ranked_by("intel", {"test/accuracy", "val/accuracy"}) == "test/accuracy"
    assert ranked_by("p2g", {"test/wer", "test/cer"}) == "test/cer"
    assert ranked_by("ljspeech", {"test/cer", "test/damerau_levenshtein"}) == "test/damerau_levenshtein"
    assert ranked_by("translit_spa_eng", {"test/cer", "test/error_rate_macro"}) == "test/error_rate_macro"


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=12, unique=True))
def test_means_and_standard_deviations_are_numpys(values: list[float]) -> None:
    mean, deviation, count = re.fullmatch(r"(\S+) ± (\S+) \((\d+)\)", mean_and_spread(values)).groups()  # type: ignore[union-attr]
    assert float(mean) == pytest.approx(np.mean(values), abs=0.51e-4)
    assert float(deviation) == pytest.approx(np.std(values, ddof=1), abs=0.51e-4)
    assert int(count) == len(values)


@pytest.mark.parametrize(
    ("values", "shown"),
    [([0.71234], "0.7123 (1)"), ([0.5, 0.5, 0.5], "0.5000 (3)"), ([5340742.0] * 2, "5,340,742 (2)")],
)
def test_a_value_that_does_not_vary_stands_without_a_spread(values: list[float], shown: str) -> None:
    assert mean_and_spread(values) == shown


def test_counts_are_whole_and_notes_begin_with_a_capital() -> None:
    assert [format_value(value) for value in (0.25, -1.5, 1234.6, -4584000.0)] == [
        "0.2500",
        "-1.5000",
        "1,235",
        "-4,584,000",
    ]
    assert capitalised("ours has BN") == "Ours has BN"
    assert capitalised("") == ""
