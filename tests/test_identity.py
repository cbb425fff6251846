"""What makes two runs the same run."""

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dlbench.identity import canonical, configuration_id, digest, evaluation_id, training_id
from dlbench.plan import prepare

FINGERPRINT = "f" * 64
Canonical = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def scientific(compose: Callable[..., Any]) -> Canonical:
    """The canonical configuration of the plain CNN with some overrides."""

    def made(*overrides: str, fingerprint: str = FINGERPRINT, device: str = "cpu") -> dict[str, Any]:
        config = compose("+experiment=cnn_vanilla", *overrides)
        return canonical(OmegaConf.to_container(config, resolve=True), fingerprint, device)  # type: ignore[arg-type]

    return made


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
    ],
)
def test_what_changes_results_changes_the_training(scientific: Canonical, override: str) -> None:
    assert training_id(scientific(override)) != training_id(scientific())


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"fingerprint": "0" * 64}])
def test_another_kind_of_device_or_other_data_is_another_training(scientific: Canonical, change: dict) -> None:
    assert training_id(scientific(**change)) != training_id(scientific())


@pytest.mark.parametrize(
    "override",
    [
        "name=another",
        "paths.runs=/elsewhere",
        "paths.data=/elsewhere",
        "paths.cache=/elsewhere",
        "trainer.progress=lines",
        "trainer.device=cpu",  # the kind of device that `auto` came to counts, not how it was asked for
        "data.source=npz",
        "data.embedded_sizes=[6,6,6]",
        "rerun=always",
        "verbose=true",
        "evaluation.max_shift=0",
        "optimizer.momentum=0",  # the number that 0.0 is
    ],
)
def test_what_cannot_change_results_does_not_change_the_training(scientific: Canonical, override: str) -> None:
    assert training_id(scientific(override)) == training_id(scientific())


def test_an_evaluation_is_of_one_training_under_one_setting() -> None:
    identities = {
        evaluation_id(training, {"max_shift": shift})
        for training in ("0123456789ab", "ba9876543210")
        for shift in (0, 4)
    }
    assert len(identities) == 4


def test_a_configuration_is_what_seeds_data_sets_and_machines_have_in_common(scientific: Canonical) -> None:
    other = scientific("seed=43", "trainer.threads=2", fingerprint="0" * 64, device="cuda")
    assert configuration_id(other) == configuration_id(scientific())
    for override in ("data.layout=scrambled", "trainer.epochs=41", "trainer.precision=bf16-mixed", "optimizer.lr=0.1"):
        assert configuration_id(scientific(override)) != configuration_id(scientific())


def test_the_canonical_configuration_is_a_copy(compose: Callable[..., Any]) -> None:
    config = OmegaConf.to_container(compose("+experiment=cnn_vanilla"), resolve=True)
    before = copy.deepcopy(config)
    canonical(config, FINGERPRINT, "cuda")["model"]["gap"] = True  # type: ignore[arg-type]
    assert config == before


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
    auto, npz, embedded = (
        prepare(compose(*overrides, f"data.source={source}")) for source in ("auto", "npz", "embedded")
    )
    assert auto.record.id == npz.record.id != embedded.record.id
    assert auto.facts["sizes"] == {"train": 12630, "val": 1404, "test": 3000}
