"""What makes two runs the same run."""

import copy
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlbench import components, identity, paths
from dlbench.config import composed
from dlbench.identity import configuration_id, digest
from dlbench.records.files import read_json
from dlbench.records.labels import changed_settings
from dlbench.records.store import State, Store
from dlbench.records.summary import Use, summarise
from dlbench.report.checks import Verdicts
from dlbench.report.command import command
from dlbench.run.plan import prepare

FINGERPRINT = "f" * 64
Made = Callable[..., dict[str, Any]]
RECORDS = paths.experiments() / "results"


@pytest.fixture(scope="module")
def meaning(compose: Callable[..., Any]) -> Made:
    """What is hashed of the plain CNN with some overrides."""

    def made(*overrides: str, fingerprint: str = FINGERPRINT, device: str = "cpu") -> dict[str, Any]:
        config = compose("+experiment=cnn_vanilla", *overrides)
        return identity.training(OmegaConf.to_container(config, resolve=True), fingerprint, device)  # type: ignore[arg-type]

    return made


def test_a_record_older_than_an_option_is_named_by_what_it_did() -> None:
    """Records of translation from before `output_dropout_place` dropped after attention; the experiment says before."""
    settings = composed("translit_attention", ())
    assert changed_settings("translit_attention", settings) == []
    older = {**settings, "model": {key: value for key, value in settings["model"].items() if "place" not in key}}
    assert changed_settings("translit_attention", older) == ["output_dropout_place=after_attention"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("trainer.epochs=3", "scheduler.epochs=3"), ["epochs=3"]),
        (("trainer.epochs=3", "scheduler.epochs=9"), ["scheduler.epochs=9", "trainer.epochs=3"]),
        (("trainer.epochs=3",), ["trainer.epochs=3"]),  # the schedule's are 15
        (("scheduler.epochs=9",), ["scheduler.epochs=9"]),
    ],
)
def test_a_setting_of_two_sections_is_named_once_or_by_section(overrides: tuple[str, ...], expected: list[str]) -> None:
    assert changed_settings("asr_lstm", composed("asr_lstm", overrides)) == expected


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr=0.1",
        "optimizer=adam",
        "scheduler.factor=0.5",
        "seed=43",
        "data.layout=scrambled",
        "data.batch_size=16",
        "model.gap=true",
        "model.kernel_size=5",
        "model.classes=null",
        "task.channels_last=false",
        "trainer.epochs=41",
        "trainer.precision=bf16-mixed",
        "trainer.threads=2",
        "trainer.limit_train_batches=10",
        "trainer.precision=16-mixed",
        "trainer.gradient_clip=1",
        "trainer.accumulate=2",
        "trainer.compile=true",
        "trainer.early_stopping=3",
        "trainer.early_stopping_metric=val/loss",
    ],
)
def test_what_changes_results_changes_the_training(meaning: Made, override: str) -> None:
    assert digest(meaning(override)) != digest(meaning())


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"fingerprint": "0" * 64}])
def test_another_kind_of_device_or_other_data_is_another_training(meaning: Made, change: dict) -> None:
    assert digest(meaning(**change)) != digest(meaning())


@pytest.mark.parametrize(
    "override",
    [
        "name=another",
        "paths.runs=/elsewhere",
        "paths.data=/elsewhere",
        "paths.cache=/elsewhere",
        "trainer.progress=lines",
        "trainer.profiler=simple",
        "logger=[csv]",
        "logger=null",
        "trainer.gradient_clip=null",
        "trainer.accumulate=1",
        "trainer.compile=false",
        "trainer.early_stopping=null",
        "trainer.device=cpu",  # the kind of device that `auto` came to counts, not how it was asked for
        "data.source=npz",
        "data.synthetic_sizes=[6,6,6]",
        "data.source=embedded",  # a former word
        "rerun=always",
        "verbose=true",
        "evaluation.max_shift=0",
        "callbacks=none",
        "callbacks.pictures.epochs=[3]",
        "optimizer.momentum=0",  # the number that 0.0 is
        "~optimizer.momentum",  # its default
    ],
)
def test_what_cannot_change_results_does_not_change_the_training(meaning: Made, override: str) -> None:
    assert digest(meaning(override)) == digest(meaning())


def test_an_identity_says_names_and_what_is_not_as_by_default(meaning: Made) -> None:
    assert meaning("data.layout=scrambled", "model.gap=true") == {
        "task": {"is": "image_classification 1"},
        "data": {"is": "intel 1", "layout": "scrambled"},
        "model": {"is": "convnet 1", "gap": True},
        "optimizer": {"is": "sgd 1", "lr": 0.01},
        "scheduler": {"is": "torch.optim.lr_scheduler.ConstantLR", "factor": 1, "total_iters": 0},
        "trainer": {"is": "trainer 1", "epochs": 40, "precision": "32-true", "threads": 1, "device": "cpu"},
        "seed": 42,
        "fingerprint": FINGERPRINT,
    }


def test_an_evaluation_is_of_one_training_under_one_setting() -> None:
    node = {"_target_": "dlbench.evaluation.images.ImageEvaluation"}
    identities = {
        digest(identity.evaluation(training, {**node, "max_shift": shift}))
        for training in ("0123456789ab", "ba9876543210")
        for shift in (0, 4)
    }
    assert len(identities) == 4
    assert identity.evaluation("0123456789ab", {**node, "max_shift": 4}) == identity.evaluation("0123456789ab", node)


def test_a_configuration_is_what_seeds_data_sets_and_machines_have_in_common(meaning: Made) -> None:
    other = meaning("seed=43", "trainer.threads=2", fingerprint="0" * 64, device="cuda")
    assert configuration_id(other) == configuration_id(meaning())
    for override in ("data.layout=scrambled", "trainer.epochs=41", "trainer.precision=bf16-mixed", "optimizer.lr=0.1"):
        assert configuration_id(meaning(override)) != configuration_id(meaning())


def test_an_identity_is_a_copy(compose: Callable[..., Any]) -> None:
    config = OmegaConf.to_container(compose("+experiment=cnn_bn_gap"), resolve=True)
    before = copy.deepcopy(config)
    identity.training(config, FINGERPRINT, "cuda")["model"]["hidden_bn"][0] = None  # type: ignore[arg-type]
    assert config == before


def test_every_committed_identity_can_be_told_from_its_configuration() -> None:
    records = Store(RECORDS).all()
    assert len(records) >= 244
    for record in records:
        recorded = read_json(record.identity)
        assert digest(recorded) == record.id
        told = identity.training(record.settings(), recorded["fingerprint"], recorded["trainer"]["device"])
        assert told == recorded
        for evaluation in record.evaluations():
            assert identity.evaluation(record.id, evaluation.settings()) == evaluation.read()["identity"]


def test_one_experiment_of_each_family_composes_to_its_committed_identity(committed: Verdicts) -> None:
    families: dict[str, Any] = {}
    for result in committed.evidence.collection.results:
        families.setdefault(f"{result.identity['model']['is']} on {result.identity['data']['is']}", result)
    assert len(families) >= 9
    for family, result in families.items():
        overrides = tuple(command(result).split()[4:])
        plain = composed(result.experiment, overrides)
        told = identity.training(plain, result.fingerprint, result.identity["trainer"]["device"])
        assert digest(told) == result.run, family


def test_committed_records_are_whole_and_of_known_versions() -> None:
    by_version: dict[bool, int] = defaultdict(int)
    for record in Store(RECORDS).all():
        record.read(whole=True)
        by_version[components.is_comparable(read_json(record.manifest)["versions"])] += 1
    assert by_version[True] >= 244
    assert not by_version[False]


def test_committed_records_are_listed_and_no_two_look_alike() -> None:
    listed = [line for record in Store(RECORDS).all() for line in summarise(record)]
    assert not [line for line in listed if line.problem or line.state not in (State.FINISHED, State.DIVERGED)]
    assert {line.use for line in listed} <= {Use.COMPARABLE, Use.REPRODUCIBLE}
    shown = Counter((line.experiment, line.data, line.settings, line.decoding) for line in listed)
    assert not [words for words, times in shown.items() if times > 1]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(item) for key, item in reversed(value.items())}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


@given(value=PLAIN)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    assert digest(reversed_keys(value)) == digest(value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        ((1, 2), [1, 2], True),
        (1, True, False),
        (1, "1", False),
        (0.1, 1e-1, True),
        (0.1, 0.1 + 1e-16, False),
        ([1, 2], [2, 1], False),
        ({"a": None}, {}, False),
    ],
)
def test_equal_numbers_are_the_same_and_other_kinds_are_not(one: Any, other: Any, same: bool) -> None:
    assert (digest({"key": one}) == digest({"key": other})) == same


def test_the_digest_is_a_plain_hash_of_plain_json() -> None:
    assert digest({"b": [1.0, None], "a": "x"}) == hashlib.sha256(b'{"a":"x","b":[1,null]}').hexdigest()[:12]


@pytest.mark.real_data
def test_how_real_pictures_got_here_does_not_matter(
    compose: Callable[..., Any], tiny: list[str], real_data_folder: Path
) -> None:
    overrides = ["+experiment=cnn_vanilla", *tiny, f"paths.data={real_data_folder}"]
    auto, npz, synthetic = (
        prepare(compose(*overrides, f"data.source={source}")) for source in ("auto", "npz", "synthetic")
    )
    assert auto.record.id == npz.record.id != synthetic.record.id
    assert auto.facts["sizes"] == {"train": 12630, "val": 1404, "test": 3000}
