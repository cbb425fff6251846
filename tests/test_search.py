"""Searches: what is asked for and told, that one repeated or killed is the same one, and what is wrong with words."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import optuna
import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from optuna.samplers import BaseSampler, GPSampler, GridSampler, NSGAIISampler, RandomSampler, TPESampler
from processes import start, sweep, wait_for

from dlbench import paths
from dlbench.cli import experiments
from dlbench.config import check, composed
from dlbench.errors import ConfigError, SweepError
from dlbench.records.store import Store
from dlbench.report.figures.search import _importances, draw
from dlbench.sweep.job import JobOutcome
from dlbench.sweep.search import search

FAST = ["+experiment=cnn_bn_gap", "evaluation.max_shift=0"]
LR = "lr=tag(log,interval(1e-4,1))"


class Computed(Launcher):
    """Launches nothing: what a job comes to is computed from its overrides."""

    def __init__(
        self, value: Callable[[dict[str, str]], float | None], metric: str = "val/loss", mode: str = "min"
    ) -> None:
        self.value, self.metric, self.mode = value, metric, mode
        self.rounds: list[list[dict[str, str]]] = []

    def setup(self, **_: Any) -> None:
        """Nothing is needed."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Compute what all jobs come to."""
        assert initial_job_idx == len(self.jobs)
        self.rounds.append([dict(word.split("=", 1) for word in job) for job in job_overrides])  # type: ignore[misc]
        returned = [JobReturn() for _ in job_overrides]
        for each, job in zip(returned, self.rounds[-1], strict=True):
            value = self.value(job)
            state = "failed" if value is None else "finished"
            metric = job.get("metric", self.metric)
            each.status = JobStatus.COMPLETED
            each.return_value = JobOutcome(state, metric=metric, mode=self.mode, objective=value)
        return returned

    @property
    def jobs(self) -> list[dict[str, str]]:
        """All that were launched."""
        return [job for made in self.rounds for job in made]


def searched(
    launcher: Computed, *words: str, trials: int = 24, at_a_time: int = 2, sampler: BaseSampler | None = None
) -> list[dict[str, str]]:
    """The jobs of a search."""
    sampler = sampler or TPESampler(seed=1, n_startup_trials=6)
    search(launcher, words, sampler, trials=trials, at_a_time=at_a_time)
    return launcher.jobs


def distance(job: dict[str, str]) -> float:
    """How far a learning rate lies from 0.01, in powers of ten."""
    return abs(math.log10(float(job["lr"])) + 2)


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_the_search_goes_where_the_metric_is_good(mode: str, sign: int, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = searched(Computed(lambda job: sign * distance(job), "val/own", mode), LR, trials=40)
    early, late = ([distance(job) for job in part] for part in (jobs[:6], jobs[-12:]))
    assert sum(late) / len(late) < 0.5 * sum(early) / len(early)
    best = min(jobs, key=distance)
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"trial {jobs.index(best) + 1} of 40" in last
    assert last.endswith(f"with lr={best['lr']}")


@pytest.mark.parametrize("at_a_time", [1, 3, 5])
def test_a_search_has_its_trials_in_rounds_and_is_the_same_each_time(at_a_time: int) -> None:
    launchers = [Computed(distance) for _ in range(2)]
    jobs = [searched(launcher, LR, "seed=3", trials=7, at_a_time=at_a_time) for launcher in launchers]
    assert jobs[0] == jobs[1]
    assert len(jobs[0]) == 7
    assert {len(made) for made in launchers[0].rounds[:-1]} <= {at_a_time}
    assert all(job["seed"] == "3" for job in jobs[0])
    assert len({job["lr"] for job in jobs[0]}) == 7


def test_another_seed_is_another_search() -> None:
    jobs = [searched(Computed(distance), LR, trials=3, sampler=RandomSampler(seed=seed)) for seed in (1, 2)]
    assert jobs[0] != jobs[1]


def test_a_single_choice_holds_for_every_trial() -> None:
    kept, fewer = (searched(Computed(distance), LR, word, trials=4) for word in ("a=choice(3)", "a=3"))
    assert kept == fewer
    with pytest.raises(ConfigError, match="nothing to search"):
        searched(Computed(distance), "a=choice(3)")


def test_every_kind_of_space_is_searched_within_its_bounds() -> None:
    words = ("a=x,y", "+b=range(2,9,3)", "c=interval(0.1,0.9)", "d=range(0,1,step=0.25)", "m/e=choice(dot,[1,2])", LR)
    words = (*words, "f=int(interval(3,6))")
    jobs = searched(Computed(lambda _: 1.0), *words, trials=60, sampler=RandomSampler(seed=1))
    assert {job["f"] for job in jobs} == {"3", "4", "5", "6"}
    assert {job["a"] for job in jobs} == {"x", "y"}
    assert {job["+b"] for job in jobs} == {"2", "5", "8"}
    assert {float(job["d"]) for job in jobs} == {0, 0.25, 0.5, 0.75}
    assert {job["m/e"] for job in jobs} == {"dot", "[1,2]"}
    assert all(0.1 <= float(job["c"]) <= 0.9 for job in jobs)
    rates = sorted(float(job["lr"]) for job in jobs)
    assert 1e-4 <= rates[0] < 1e-3
    assert rates[len(rates) // 2] < 0.1  # evenly by powers of ten: the median is about 0.01


def test_no_rounding_leads_out_of_an_interval() -> None:
    words = ("lr=interval(0.12345,0.12349)", "p=interval(0.5,0.99996)")
    jobs = searched(Computed(distance), *words, sampler=RandomSampler(seed=1))
    assert all(0.12345 <= float(job["lr"]) <= 0.12349 for job in jobs)
    assert all(len(job["p"]) <= len("0.1234") for job in jobs)


@pytest.mark.parametrize("words", [("a=1,2", "a=3", LR), (LR, "a=3", "a=1,2"), ("+a=1,2", "+a=3", LR)])
def test_the_later_of_two_words_of_one_key_holds(words: tuple[str, ...]) -> None:
    (key,) = {key for job in searched(Computed(distance), *words, trials=8) for key in job if key != "lr"}
    found = {job[key] for job in searched(Computed(distance), *words, trials=8)}
    assert found == ({"3"} if words[1].endswith("a=3") and words[2] == LR else {"1", "2"})


# --- what is told -----------------------------------------------------------------------------------------------------


def test_what_failed_is_told_as_failed_and_never_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    studies: list[optuna.Study] = []
    create = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **options: studies.append(create(**options)) or studies[-1])
    jobs = searched(Computed(lambda job: None if distance(job) < 1 else distance(job)), LR)
    failed = [trial.state.name == "FAIL" for trial in studies[0].trials]
    assert failed == [distance(job) < 1 for job in jobs]
    assert any(failed)
    assert studies[0].best_value == min(distance(job) for job in jobs if distance(job) >= 1)


def test_a_search_where_all_fails_says_so() -> None:
    with pytest.raises(SweepError, match="none of 4 trials came to an objective"):
        searched(Computed(lambda _: None), LR, trials=4)


@pytest.mark.parametrize("words", [(LR, "a=x,y"), (LR,)])
@pytest.mark.parametrize(("trials", "panels"), [(1, 1), (9, 1), (14, 2)])
def test_the_picture_shows_what_was_searched(words: tuple[str, ...], trials: int, panels: int) -> None:
    launcher = Computed(lambda job: None if job.get("a") == "y" and distance(job) < 0.1 else distance(job))
    found = search(launcher, words, RandomSampler(seed=1), trials=trials, at_a_time=2)
    drawn = ElementTree.fromstring(draw(found))
    ids = [element.get("id") or "" for element in drawn.iter()]
    assert sum(name.startswith("axes_") for name in ids) == panels


def test_settings_without_effect_are_not_said_to_matter() -> None:
    found = search(Computed(lambda _: 0.5), (LR, "a=x,y"), RandomSampler(seed=1), trials=12, at_a_time=2)
    assert draw(found).count('id="axes_') == 1
    found = search(Computed(distance), (LR, "a=x,y"), RandomSampler(seed=1), trials=40, at_a_time=2)
    assert next(iter(_importances(found.study, list(found.told.values())))) == "lr"


# --- words that are wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("seed=1",), "nothing to search: give a key several values"),
        ((LR, "a=glob(*)"), r"a=glob\(\*\): cannot be searched; give choices"),
        (("a=tag(log,interval(0,1))",), r"a=tag\(log,interval\(0,1\)\): cannot be searched \(.*low"),
        (("a=interval(2,1)",), r"a=interval\(2,1\): cannot be searched \("),
        ((LR, "a=[1"), r"a=\[1: cannot be read"),
        (("a=shuffle(1,2,3)",), r"a=shuffle\(1,2,3\): cannot be searched; give choices"),
        (("a=tag(log,choice(1,2))",), r"a=tag\(log,choice\(1,2\)\): cannot be searched; give choices"),
    ],
)
def test_a_word_that_cannot_be_searched_is_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        searched(Computed(distance), *words)


@pytest.mark.parametrize("numbers", [{"trials": 0}, {"at_a_time": -1}, {"trials": "many"}])
def test_numbers_are_above_zero(numbers: dict[str, Any]) -> None:
    ((name, number),) = numbers.items()
    with pytest.raises(ConfigError, match=f"^hydra.sweeper.{name}={number}: choose 1 or more"):
        searched(Computed(distance), LR, **numbers)


def test_trials_that_go_by_different_metrics_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"trials go by val/[ab] and by val/[ab]; choose objective=METRIC for all"):
        searched(Computed(distance), LR, "metric=val/a,val/b")


def test_a_sampler_that_would_end_the_search_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^hydra.sweeper.sampler: cannot be used here \(.*\); choose another"):
        searched(Computed(lambda _: 1.0), "a=x,y", trials=9, sampler=GridSampler({"a": ["x", "y"]}, seed=1))


@pytest.mark.parametrize("sampler", [RandomSampler(seed=1), GPSampler(seed=1), NSGAIISampler(seed=1)])
def test_other_samplers_search_as_well(sampler: BaseSampler) -> None:
    assert len(searched(Computed(distance), LR, "a=x,y", trials=12, sampler=sampler)) == 12


# --- named searches, and real ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in (paths.conf() / "search").glob("*.yaml")))
def test_named_searches_ask_for_runs_that_can_be_made(name: str) -> None:
    with initialize_config_dir(str(paths.conf()), version_base="1.3"):
        config = hydra_compose("config", [f"+search={name}"], return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    assert config.hydra.sweeper.picture.endswith(f"{name}.svg")
    words = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    for job in searched(Computed(lambda _: 0.5), *words, trials=5, sampler=RandomSampler(seed=1)):
        experiment = job.pop("+experiment")
        assert experiment in experiments()
        check(composed(experiment, tuple(f"{key}={value}" for key, value in job.items())))


@pytest.mark.slow
def test_a_named_search_is_narrowed(tiny_in: Callable[..., list[str]], tmp_path: Path) -> None:
    narrower = ["model.size=8", "model.encoder_dropout=0.1", "model/attention=dot", "hydra.sweeper.trials=2"]
    code, _, err = sweep("+search=p2g_tpe", *narrower, *tiny_in(tmp_path, epochs=1))
    assert code == 0, err
    models = [OmegaConf.load(record.config).model for record in Store(tmp_path).all()]
    assert [(model["size"], model["encoder_dropout"]) for model in models] == [(8, 0.1)] * 2
    assert all("Dot" in model["attention"]["_target_"] for model in models)


SEARCHED = [
    *("hydra/sweeper=search", "hydra.sweeper.trials=4", "+hydra.sweeper.sampler.n_startup_trials=1"),
    *(*FAST, "optimizer.lr=tag(log,interval(1e-3,1))"),
]


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_to_the_same_trials(tiny_in: Callable[..., list[str]], tmp_path: Path) -> None:
    picture = tmp_path / "search.svg"
    code, out, err = sweep("-m", *SEARCHED, f"hydra.sweeper.picture={picture}", *tiny_in(tmp_path / "whole"))
    assert code == 0, err
    assert out.count("1 finished") == 4
    assert "the best so far is trial" in err
    assert picture.is_file()
    whole = {record.id for record in Store(tmp_path / "whole").all()}
    assert len(whole) == 4

    killed = tmp_path / "killed"
    process = start("-m", *SEARCHED, *tiny_in(killed))
    wait_for(lambda: any(killed.glob("*/training.json")), process)
    process.kill()
    process.communicate()
    code, _, err = sweep("-m", *SEARCHED, *tiny_in(killed))
    assert code == 0, err
    assert {record.id for record in Store(killed).all()} == whole
    assert "finished, cached" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hydra.sweeper.sampler._target_=optuna.samplers.Tpe"], "hydra.sweeper.sampler: Error"),
        (["+hydra.sweeper.sampler.sed=1"], "unexpected keyword argument 'sed'"),
        (["hydra.sweeper.sampler._target_=builtins.dict"], "hydra.sweeper.sampler: no sampler; its _target_"),
        (["hydra.sweeper.trials=0"], "hydra.sweeper.trials=0: choose 1 or more"),
        (["objective=test/accuracy"], "objective=test/accuracy: choose by validation"),
    ],
)
@pytest.mark.slow
def test_what_is_wrong_with_a_search_is_one_line(
    words: list[str], message: str, tiny_in: Callable[..., list[str]], tmp_path: Path
) -> None:
    code, out, err = sweep("-m", *SEARCHED, *words, *tiny_in(tmp_path))
    assert code == 1
    assert message in out + err
    assert "Traceback" not in out + err
