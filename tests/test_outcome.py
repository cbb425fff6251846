"""What a run says at its end beside its own metrics, and what it says it is doing."""

import time
from typing import Any

import pytest
from conftest import Compose
from omegaconf import OmegaConf

from dlbench import paths
from dlbench.commands.outcome import headlines, published, published_nearest
from dlbench.metrics.names import METRICS
from dlbench.records.store import Store
from dlbench.terminal import doing, duration, watched


def composed(compose: Compose, *overrides: str) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(compose(*overrides), resolve=True)
    return plain


@pytest.mark.parametrize(
    ("overrides", "others"),
    [
        (["data.layout=scrambled"], {}),
        (["data.layout=scrambled", "seed=7", "trainer.device=cpu"], {}),
        ([], {"data.layout": "scrambled"}),
        (["model.gap=false", "data.layout=scrambled"], {"model.gap": True}),
        (["trainer.epochs=3"], {"data.layout": "scrambled", "trainer.epochs": 40}),
    ],
)
def test_a_run_stands_beside_the_published_lines_most_like_it(
    overrides: list[str], others: dict[str, Any], compose: Compose
) -> None:
    found = published_nearest(composed(compose, "+experiment=cnn_bn_gap", *overrides), METRICS)
    assert found
    assert all(each.others == others for each in found)
    values = [each.values["test/accuracy"] for each in found if "test/accuracy" in each.values]
    assert values == [0.744]  # of b2425
    assert "b2425: " in found[0].where


@pytest.mark.parametrize(
    "overrides",
    [
        ["+experiment=p2g_transformer"],
        ["+experiment=p2g_attention", "data=cmudict"],
        ["+experiment=p2g_lstm", "data.train=a.tsv", "data.val=b.tsv", "data.test=c.tsv"],
        ["+experiment=cnn_bn_gap", "data=image_folder", "data.root=mine"],
    ],
)
def test_what_nobody_published_of_this_data_stands_alone(overrides: list[str], compose: Compose) -> None:
    config = composed(compose, *overrides)
    assert published_nearest(config, METRICS) == list(published(config)) == []


def test_a_part_that_is_chosen_differs_from_one_that_is_not(compose: Compose) -> None:
    found = published_nearest(composed(compose, "+experiment=p2g_lstm", "model/attention=bahdanau"), METRICS)
    assert found
    assert all(each.others == {"model.attention": None} for each in found)


@pytest.mark.parametrize("run", ["0c52659b", "f4a5fa3f", "1ea796c4"])
def test_few_metrics_stand_for_all_tests_first(run: str) -> None:
    record = Store(paths.experiments() / "results").find(run)
    metrics = record.evaluations()[0].read()["metrics"]
    found = headlines(metrics)
    assert 3 <= len(found) <= 8
    assert found[0].startswith("test/")
    assert {*found} <= metrics.keys()
    assert {*headlines(metrics, {"val/loss"})} == {*found, "val/loss"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than a second"),
        (1, "1 second"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (5399, "90 minutes"),
        (9000, "2 hours"),
    ],
)
def test_a_duration_is_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_being_done_is_shown_now_and_then_to_who_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    doing("nobody watches")
    for kind in ("lines", "none"):
        with watched(kind):  # type: ignore[arg-type]
            for now in (1.0, 11.0, 12.0, 23.0):
                doing(f"step {now:g}")
        now = 0.0
    doing("nobody watches any more")
    assert capsys.readouterr().out == "step 11\nstep 23\n"
