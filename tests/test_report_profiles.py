"""Profiles: what is run for the report, in which order, what is left out, and how long it takes."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joblib import cpu_count
from made import made
from omegaconf import DictConfig, OmegaConf

from dlbench import identity
from dlbench.cli import experiments
from dlbench.components import by_name
from dlbench.config import build, check
from dlbench.data.registry import REGISTRY
from dlbench.errors import ConfigError
from dlbench.records.store import Evaluation, Record
from dlbench.report.jobs import SEEDS, Estimate, Job, data_set, estimate, jobs, missing_data, workers
from dlbench.report.results import Result
from dlbench.report.schema import Configuration, Report, Variant, load_all

SCRAMBLED, RIGHT = "data.layout=scrambled", "data.layout=chw"


def report(variants: dict[str, tuple[str, ...]] | None = None, **configurations: Any) -> Report:
    made = {name: Configuration(**given) for name, given in configurations.items()}
    others = {name: Variant(overrides=overrides, about="") for name, overrides in (variants or {}).items()}
    return Report(title="a report", data="as theirs", variants=others, configurations=made)


REPORTS = {
    "pictures": report(
        {"correct layout": (RIGHT,)},
        plain={"experiment": "cnn_vanilla", "overrides": (SCRAMBLED,)},
        kernels={"experiment": "cnn_kernel7", "overrides": ("trainer.epochs=10",)},
        later={"experiment": "cnn_never", "planned": True},
    ),
    "words": report(
        lstm={"experiment": "p2g_lstm"},
        attention={"experiment": "p2g_attention"},
        beam={"experiment": "p2g_beam"},
        ensemble={"experiment": "p2g_ensemble"},
    ),
}


def fill(folder: Path) -> Path:
    """A data folder in which all files of the two reports are, as far as can be seen without reading them."""
    for name in ("intel", "p2g"):
        for file in REGISTRY[name].files:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).touch()
    return folder


@pytest.fixture(scope="module", autouse=True)
def data_at_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLBENCH_DATA", str(fill(tmp_path_factory.mktemp("data"))))
        yield


def recorded(
    job: Job,
    *,
    seconds: float = 100.0,
    evaluating: float = 0.0,
    provenance: str = "verified",
    outdated: bool = False,
    runs: Path = Path("nowhere"),
) -> Result:
    """What a job leaves behind."""
    sizes = job.synthetic_sizes if provenance == "synthetic" else {"train": 10_000, "val": 1_000, "test": 1_000}
    meaning = identity.training({**job.config, "seed": job.seed}, fingerprint="f", device="cpu")
    record = Record(runs / identity.digest(meaning))
    return Result(
        record=record,
        evaluation=Evaluation(record.folder / "evaluations" / job.configuration),
        config={**job.config, "seed": job.seed},
        identity=meaning,
        manifest={"data": {"name": job.data, "fingerprint": "f", "provenance": provenance, "sizes": sizes}},
        training={"seconds": seconds, "epochs": job.config["trainer"]["epochs"]},
        result={"experiment": job.experiment, "seconds": evaluating, "metrics": {}, "versions": versions(outdated)},
        evaluated=job.config["evaluation"],
        configuration=job.configuration,
    )


def versions(outdated: bool) -> dict[str, str]:
    return {"trainer": "1.9" if outdated else by_name()["trainer"].version}


def identities(found: Iterable[Job]) -> set[tuple[str, int]]:
    return {(job.configuration, job.seed) for job in found}


def experiments_of(found: Iterable[Job]) -> set[str]:
    return {job.experiment for job in found}


# --- which jobs ------------------------------------------------------------------------------------------------------


def test_none_runs_nothing() -> None:
    assert jobs("none", REPORTS, []) == []


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ConfigError, match="profile fll: no such profile; did you mean full"):
        jobs("fll", REPORTS, [])


def test_full_has_each_configuration_and_variant_with_each_seed_once() -> None:
    found = jobs("full", REPORTS, [])
    assert len(identities(found)) == len(found)
    plain = [job.overrides for job in found if job.experiment == "cnn_vanilla"]
    layouts = [SCRAMBLED, RIGHT]
    assert sorted(plain) == sorted(
        ("+experiment=cnn_vanilla", layout, f"seed={seed}") for layout in layouts for seed in SEEDS["full"]
    )
    assert experiments_of(found) == {
        "cnn_vanilla", "cnn_kernel7", "p2g_lstm", "p2g_attention", "p2g_beam", "p2g_ensemble"
    }  # fmt: skip
    assert {job.config["trainer"]["epochs"] for job in found if job.experiment == "cnn_kernel7"} == {10}


def test_a_configuration_of_two_reports_is_run_once() -> None:
    twice = {"one": REPORTS["words"], "other": REPORTS["words"]}
    assert set(jobs("full", twice, [])) == set(jobs("full", {"one": REPORTS["words"]}, []))


def test_no_run_serves_in_two_ensembles() -> None:
    ensembles = [job for job in jobs("full", REPORTS, []) if job.experiment == "p2g_ensemble"]
    assert [(job.seed, job.members) for job in ensembles] == [(42, (43, 44)), (45, (46, 47))]
    assert "evaluation.members=[46,47]" in ensembles[1].overrides


def test_quick_has_every_experiment_and_every_configuration_on_synthetic_data() -> None:
    found = jobs("quick", REPORTS, [])
    assert experiments_of(found) == set(experiments())
    assert all(job.is_synthetic and job.seed == 42 for job in found)
    assert any(SCRAMBLED in job.overrides for job in found)
    assert len({job.config["trainer"]["epochs"] for job in found}) == 1


def test_quick_needs_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    everywhere = jobs("quick", REPORTS, [])
    monkeypatch.setenv("DLBENCH_DATA", str(tmp_path / "nowhere"))
    assert jobs("quick", REPORTS, []) == everywhere
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_every_quick_job_of_the_reports_can_be_run(compose: Callable[..., DictConfig]) -> None:
    for job in jobs("quick", load_all(), []):
        config: Any = OmegaConf.to_container(compose(*job.overrides), resolve=True)
        check(config)
        assert config["seed"] == job.seed
        assert (config["evaluation"].get("members") or []) == list(job.members)
        assert identity.compared_id(identity.training(config, "", ""), config["evaluation"]) == job.configuration


def test_a_report_of_own_data_is_run_on_it_alone_and_once(tmp_path: Path) -> None:
    overrides = ("data=image_folder", f"data.root={tmp_path}", "model.classes=2")
    told = {"title": "own", "data": "own", "own_data": ["a" * 12]}
    told |= {"configurations": {"own": {"experiment": "cnn_bn_gap", "overrides": overrides}}}
    told |= {"tables": [{"title": "t", "rows": [{"of": "own", "label": "l", "published": {"test/accuracy": 0.5}}]}]}
    reports = {"own": Report.model_validate(told)}
    assert not [job for job in jobs("quick", reports, []) if overrides[0] in job.overrides]
    found = jobs("full", reports, [])
    assert len(found) == 5

    def recorded(fingerprint: str, provenance: str = "user copy") -> Result:
        told = {"fingerprint": fingerprint * 64, "provenance": provenance, "metrics": {"test/accuracy": 0.5}}
        result = made("cnn_bn_gap", *overrides, seed=42, curves=tmp_path, **told)
        return replace(result, result={**result.result, "seconds": 1.0})

    for result, lacking in ((recorded("b"), 5), (recorded("b", "verified"), 5), (recorded("a"), 4)):
        assert len(jobs("full", reports, [result])) == lacking
    own, others = recorded("a"), recorded("b", "verified")
    (job,) = (job for job in found if job.seed == 42)
    whole = estimate([job], [own], 1).seconds
    for result in (own, others):
        result.record.checkpoints.save(2, lambda path: path.touch())
    assert estimate([job], [others, own], 1).seconds < estimate([job], [others], 1).seconds == whole


@pytest.mark.parametrize(
    "overrides",
    [
        *([f"+experiment={name}"] for name in ("cnn_vanilla", "kmnist_cnn", "octmnist_cnn_strided", "p2g_lstm")),
        *([f"+experiment={name}"] for name in ("translit_lstm", "asr_lstm", "hopfield_retrieval")),
        ["+experiment=cnn_bn_gap", "data=image_folder", "data.root=my/flowers/"],
        ["+experiment=p2g_lstm", "data.train=words/a.tsv", "data.val=words/b.tsv", "data.test=words/c.tsv"],
    ],
)
def test_a_jobs_data_is_called_as_records_call_it(overrides: list[str], compose: Callable[..., DictConfig]) -> None:
    config: Any = OmegaConf.to_container(compose(*overrides), resolve=True)
    assert data_set(config) == build("data", config["data"], seed=42).name


def test_further_overrides_count_for_what_a_job_is() -> None:
    (usual,) = (job for job in jobs("full", REPORTS, []) if job.experiment == "p2g_lstm" and job.seed == 42)
    found = jobs("full", REPORTS, [recorded(usual)], ["trainer.epochs=3", "hydra.launcher.n_jobs=1"])
    (short,) = (job for job in found if job.experiment == "p2g_lstm" and job.seed == 42)
    assert (short.overrides, short.config["trainer"]["epochs"]) == (usual.overrides, 3)
    assert {job.seed for job in jobs("full", REPORTS, [], ["seed=7"])} == {7}


def test_an_override_that_means_nothing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.epoch: no such key; did you mean trainer\.epochs"):
        jobs("full", {"words": REPORTS["words"]}, [], ["trainer.epoch=3"])


# --- order -----------------------------------------------------------------------------------------------------------


def test_seed_by_seed_and_report_by_report() -> None:
    found = jobs("full", REPORTS, [])
    assert all(one.seed <= other.seed for one, other in pairwise(found))
    assert {job.data for job in found[:2]} == {"intel", "p2g"}


def test_a_reports_shortest_come_first() -> None:
    found = jobs("full", REPORTS, [])
    seconds = {"p2g_attention": 300.0, "p2g_lstm": 200.0, "cnn_kernel7": 10.0}
    elsewhere = [recorded(replace(job, seed=1), seconds=seconds.get(job.experiment, 250)) for job in found]
    measured = [result for result in elsewhere if result.experiment in seconds]
    first = [job.experiment for job in jobs("full", REPORTS, measured) if job.seed == 42]
    assert [name for name in first if name.startswith("cnn")] == ["cnn_kernel7", "cnn_vanilla", "cnn_vanilla"]
    # One training serves for beam search too, which is at no pace of its own; an ensemble needs three.
    assert [name for name in first if name.startswith("p2g")] == [
        "p2g_lstm", "p2g_attention", "p2g_beam", "p2g_ensemble"
    ]  # fmt: skip


# --- what is done, and what cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["quick", "full"])
@given(seed=st.integers(0, 2**32), part=st.floats(0, 1))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_recorded_is_not_run_and_all_else_is(profile: str, seed: int, part: float) -> None:
    everything = jobs(profile, REPORTS, [])
    done = random.Random(seed).sample(everything, round(part * len(everything)))
    kind = "synthetic" if profile == "quick" else "verified"
    results = [recorded(job, provenance=kind, outdated=job.seed % 2 == 0) for job in done]
    assert identities(jobs(profile, REPORTS, results)) == identities(everything) - identities(done)


@pytest.mark.parametrize(
    ("rerun", "outdated", "fresh"), [("never", False, False), ("outdated", True, False), ("always", True, True)]
)
def test_rerun_says_what_is_made_again(rerun: str, outdated: bool, fresh: bool) -> None:
    words = {"words": REPORTS["words"]}
    first, second, *others = jobs("full", words, [])
    results = [recorded(first, outdated=True), recorded(second)]
    again = jobs("full", words, results, [f"rerun={rerun}"])
    assert (first in again, second in again) == (outdated, fresh)
    assert set(others) <= set(again)


def test_results_on_other_data_do_not_count() -> None:
    words = {"words": REPORTS["words"]}
    full, quick = (jobs(profile, words, []) for profile in ("full", "quick"))
    on_synthetic = [recorded(job, provenance="synthetic") for job in full]
    assert identities(jobs("full", words, on_synthetic)) == identities(full)
    on_copies = [recorded(job, provenance="user copy") for job in full]
    assert identities(jobs("full", words, on_copies)) == identities(full)
    on_real = [recorded(job) for job in quick]
    assert identities(jobs("quick", words, on_real)) == identities(quick)
    fewer = ["data.synthetic_sizes=[40,10,10]"]
    on_more = [recorded(job, provenance="synthetic") for job in quick]
    assert identities(jobs("quick", words, on_more, fewer)) == identities(quick)


def test_full_leaves_out_what_has_no_data_and_says_how_to_get_it(tmp_path: Path, capsys: Any) -> None:
    (fill(tmp_path) / "p2g" / "valid.tsv").unlink()
    found = jobs("full", REPORTS, [], [f"paths.data={tmp_path}"])
    assert {job.data for job in found} == {"intel"}
    error = capsys.readouterr().err
    assert error == (
        "dlbench: no p2g data at hand: 17 runs are left out; get it with: python -m dlbench data fetch p2g\n"
    )


@pytest.mark.parametrize(
    ("experiment", "files"),
    [
        ("asr_lstm", ("ljspeech/metadata.csv", "ljspeech/wavs/a.wav")),
        ("octmnist_cnn_strided", ("octmnist.npz",)),
        ("kmnist_cnn", tuple(file.path for file in REGISTRY["kmnist"].files)),
    ],
)
def test_full_takes_no_stand_in_for_data_that_is_not_there(
    experiment: str, files: tuple[str, ...], tmp_path: Path, capsys: Any
) -> None:
    one = {"one": report(one={"experiment": experiment})}
    for present in range(len(files)):
        assert jobs("full", one, [], [f"paths.data={tmp_path}"]) == []
        assert "5 runs are left out; get it with: python -m dlbench data fetch" in capsys.readouterr().err
        path = tmp_path / files[present]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = jobs("full", one, [], [f"paths.data={tmp_path}"])
    assert len(found) == len(SEEDS["full"])
    for provenance in ("other split", "stand-in"):
        done = [recorded(job, provenance=provenance) for job in found]
        assert jobs("full", one, done, [f"paths.data={tmp_path}"]) == found


def test_a_file_is_no_folder_of_recordings_and_a_folder_no_file(tmp_path: Path) -> None:
    (job, *_) = jobs("quick", {"one": report(one={"experiment": "asr_lstm"})}, [])
    job = replace(job, config=job.config | {"data": job.config["data"] | {"source": "auto"}})
    job = replace(job, config=job.config | {"paths": {"data": str(tmp_path)}})
    for metadata, waves in ((Path.mkdir, Path.mkdir), (Path.touch, Path.touch)):
        folder = tmp_path / "ljspeech"
        folder.mkdir()
        metadata(folder / "metadata.csv")
        waves(folder / "wavs")
        assert missing_data(job)
        rmtree(folder)
    folder.mkdir()
    (folder / "metadata.csv").touch()
    (folder / "wavs").mkdir()
    assert missing_data(job) is None


def test_quick_speech_is_not_padded_to_the_published_lengths() -> None:
    (job,) = jobs("quick", {"one": report(one={"experiment": "asr_lstm"})}, [])[:1]
    assert "+profile=quick_speech" in job.overrides
    assert (job.config["data"]["frames"], job.is_synthetic, job.config["trainer"]["epochs"]) == (None, True, 3)


def test_where_data_is_looked_for_is_where_a_run_would_look(tmp_path: Path) -> None:
    found = jobs("full", REPORTS, [], [f"paths.data={fill(tmp_path)}"])
    (pictures, *_) = (job for job in found if job.data == "intel")
    assert missing_data(pictures) is None
    (tmp_path / "intel" / "intel_landscapes.npz").unlink()
    assert missing_data(pictures) == "get it with: python -m dlbench data fetch intel"
    for split in ("seg_train", "seg_test"):
        (tmp_path / "intel_folder" / split).mkdir(parents=True)
    assert missing_data(pictures) is None


# --- how long it takes -----------------------------------------------------------------------------------------------


def job_of(experiment: str, seed: int = 42, **trainer: Any) -> Job:
    overrides = [f"trainer.{key}={value}" for key, value in trainer.items()]
    only = {"one": report(one={"experiment": experiment, "overrides": overrides})}
    (found, *_) = jobs("full", only, [])
    return replace(found, seed=seed)


def test_seeds_share_a_pace_and_workers_the_time() -> None:
    measured = [recorded(job_of("p2g_lstm"), seconds=seconds, evaluating=4) for seconds in (100, 200)]
    to_do = [job_of("p2g_lstm", seed) for seed in (43, 44, 45)]
    assert estimate(to_do, measured, 1).seconds == pytest.approx(3 * (150 + 4))
    assert estimate(to_do, measured, 2).seconds == pytest.approx(3 * (150 + 4) / 2)
    assert estimate(to_do, measured, 100).seconds == pytest.approx(150)


def test_as_many_workers_are_counted_as_the_sweep_has() -> None:
    several = [job_of("p2g_lstm"), job_of("p2g_lstm", threads=2)]
    assert workers(several[:1], ()) == cpu_count()
    assert workers(several, ()) == max(1, cpu_count() // 2)
    assert workers(several, ("hydra.launcher.n_jobs=null",)) == max(1, cpu_count() // 2)
    assert workers(several, ("hydra.launcher.n_jobs=5", "seed=1")) == 5
    assert workers(several[:1], ("hydra.launcher.n_jobs=5", "hydra.launcher.n_jobs=null")) == cpu_count()


def test_a_training_that_several_need_counts_once() -> None:
    measured = [
        recorded(job_of("p2g_attention"), seconds=100, evaluating=1),
        recorded(job_of("p2g_beam"), seconds=100, evaluating=7),
    ]
    both = [job_of("p2g_attention", 43), job_of("p2g_beam", 43)]
    assert estimate(both, measured, 1).seconds == pytest.approx(100 + 1 + 7)
    ensemble = job_of("p2g_ensemble", 42)
    assert estimate([*both, ensemble], measured, 1).seconds == pytest.approx(3 * 100 + 1 + 7)


def test_a_training_that_is_at_hand_is_not_counted(tmp_path: Path) -> None:
    trained = recorded(job_of("p2g_attention"), seconds=100, evaluating=1, runs=tmp_path)
    beam = recorded(job_of("p2g_beam", 7), seconds=100, evaluating=7)
    to_do = [job_of("p2g_beam"), job_of("p2g_beam", 43)]

    def seconds(**changes: Any) -> float:
        return estimate(to_do, [replace(trained, **changes), beam], 1).seconds

    # As committed: without checkpoints there is nothing to evaluate.
    assert seconds() == pytest.approx(2 * (100 + 7))
    trained.record.checkpoints.save(20, lambda path: path.touch())
    assert seconds() == pytest.approx(100 + 2 * 7)
    ensemble = job_of("p2g_ensemble")
    assert estimate([ensemble], [trained, beam], 1).seconds == pytest.approx(2 * 100)
    copies = {**trained.manifest, "data": {**trained.manifest["data"], "provenance": "user copy"}}
    assert seconds(manifest=copies) == pytest.approx(2 * (100 + 7))
    to_do = [replace(job, config={**job.config, "rerun": "outdated"}) for job in to_do]
    assert seconds() == pytest.approx(100 + 2 * 7)
    assert seconds(result={**trained.result, "versions": versions(outdated=True)}) == pytest.approx(2 * (100 + 7))


def test_other_settings_of_an_experiment_are_scaled_by_epochs_and_examples() -> None:
    measured = [recorded(job_of("p2g_attention"), seconds=100)]
    assert estimate([job_of("p2g_attention", epochs=5)], measured, 1).seconds == pytest.approx(25)
    (half, *_) = jobs("full", {"one": report(one={"experiment": "p2g_attention"})}, [], ["data.fraction=0.5"])
    assert estimate([half], measured, 1).seconds == pytest.approx(50)
    synthetic = ["data.source=synthetic", "data.synthetic_sizes=[1000,10,10]"]
    (small, *_) = jobs("full", {"one": report(one={"experiment": "p2g_attention"})}, [], synthetic)
    assert estimate([small], measured, 1).seconds == pytest.approx(10)


def test_the_pace_on_another_split_is_that_of_the_real_pictures_but_not_their_number() -> None:
    job = job_of("cnn_vanilla")
    elsewhere = recorded(job, provenance="other split", seconds=100)
    assert estimate([job], [elsewhere], 1).unknown == 1
    real = recorded(job_of("cnn_vanilla", epochs=1), seconds=1)
    # The pace of its own configuration, for as many pictures as the real data has.
    assert estimate([job], [elsewhere, real], 1).seconds == pytest.approx(100)


def test_what_was_never_measured_is_counted_instead() -> None:
    found = estimate([job_of("p2g_lstm"), job_of("cnn_vanilla")], [recorded(job_of("p2g_lstm"))], 2)
    assert (found.seconds, found.runs, found.unknown) == (pytest.approx(100), 2, 1)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            Estimate(31.4 * 3600, 140, 12, 2),
            "140 runs, 2 at a time: about 31 hours (12 without a measurement left out)",
        ),
        (Estimate(240, 1, 0, 1), "1 run, 1 at a time: about 4 minutes"),
        (Estimate(20, 3, 0, 2), "3 runs, 2 at a time: about 20 seconds"),
        (Estimate(0, 3, 3, 2), "3 runs, 2 at a time; nothing like them was measured yet"),
    ],
)
def test_the_estimate_in_words(found: Estimate, text: str) -> None:
    assert found.text == text


def test_what_only_counts_parameters_is_not_run() -> None:
    rows = [
        {"of": "counted", "label": "a", "published": {"model/parameters": 1}},
        {"of": "run", "label": "b", "published": {"model/parameters": 1, "test/accuracy": 0.5}},
    ]
    data = {"title": "t", "data": "d", "tables": [{"title": "t", "rows": rows}]}
    data["configurations"] = {"counted": {"experiment": "cnn_vanilla"}, "run": {"experiment": "cnn_bn_gap"}}

    def made(**changes: Any) -> set[str]:
        report = Report.model_validate({**data, **changes})
        return {job.experiment for job in jobs("full", {"r": report}, [], ["data.source=synthetic"])}

    assert made() == {"cnn_bn_gap"}
    figures = [{"title": "f", "kind": "curves", "of": ["counted"], "metrics": ["val/loss"]}]
    assert made(figures=figures) == {"cnn_vanilla", "cnn_bn_gap"}
