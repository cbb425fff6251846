"""Wrong configurations end before anything is built, in one line that names the key."""

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from dlbench.config import build, check
from dlbench.data.image_datamodules import IntelDataModule
from dlbench.errors import ConfigError
from dlbench.models.cnn import ConvNet
from dlbench.trainer import TrainerSettings

Compose = Callable[..., DictConfig]


def plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "+optimizer.learning_rate=0.1",
            "optimizer.learning_rate: no such key of dlbench.tasks.optim.sgd; known: ",
        ),
        ("+optimizer.momentm=0.1", "optimizer.momentm: no such key of .*; did you mean momentum?"),
        ("+model.kernelsize=3", "model.kernelsize: no such key of .*; did you mean kernel_size?"),
        ("+evaluation.shift=3", "evaluation.shift: no such key of .*; did you mean max_shift?"),
        ("+lr=0.1", r"lr: no such key; did you mean optimizer\.lr\?$"),
        ("+evalution.max_shift=1", "evalution: no such key; did you mean evaluation?"),
        ("+paths.rnus=elsewhere", "paths.rnus: no such key; did you mean runs?"),
        ("+data.seed=7", "data.seed: no such key of "),  # the run's own seed goes there
        ("+data.folder=elsewhere", "data.folder: no such key of "),  # paths.data goes there
        ("+optimizer.parameters=3", "optimizer.parameters: no such key of "),
        ("~optimizer.lr", "optimizer.lr: no value, but dlbench.tasks.optim.sgd needs one"),
        ("~scheduler", "scheduler: missing"),
        ("~model._target_", "model._target_: missing"),
        ("model._target_=dlbench.models.cnn.Nope", "model._target_=dlbench.models.cnn.Nope: no such class or function"),
        ("optimizer.lr=abc", "optimizer.lr='abc': Input should be a valid number"),
        ("optimizer.lr='0.1'", "optimizer.lr='0.1': Input should be a valid number"),
        ("optimizer.lr=true", "optimizer.lr=True: Input should be a valid number"),
        ("optimizer.lr=0", "optimizer.lr=0: Input should be greater than 0"),
        ("optimizer.lr=-0.1", "optimizer.lr=-0.1: Input should be greater than 0"),
        ("optimizer.lr=nan", "optimizer.lr=nan: Input should be a finite number"),
        ("optimizer.lr=inf", "optimizer.lr=inf: Input should be a finite number"),
        ("optimizer.lr=null", "optimizer.lr=None: Input should be a valid number"),
        ("optimizer.momentum=1", "optimizer.momentum=1: Input should be less than 1"),
        ("trainer.epochs=1.5", "trainer.epochs=1.5: Input should be a valid integer"),
        ("trainer.epochs=true", "trainer.epochs=True: Input should be a valid integer"),
        ("trainer.epochs=0", "trainer.epochs=0: Input should be greater than 0"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0: Input should be greater than 0"),
        (
            "trainer.precision=16",
            "trainer.precision=16: Input should be '32-true', '64-true', 'bf16-mixed' or '16-mixed'",
        ),
        ("trainer.device=gpu", "trainer.device='gpu': Input should be 'auto', 'cpu', 'cuda' or 'mps'"),
        ("model.gap=1", "model.gap=1: Input should be a valid boolean"),
        ("model.pooling=min", "model.pooling='min': Input should be 'max', 'average' or 'none'"),
        ("model.channels=[32,wide,128]", r"model.channels\[1\]='wide': Input should be a valid integer"),
        ("model.hidden_bn=[true,0]", r"model.hidden_bn\[1\]=0: Input should be a valid boolean"),
        ("model.channels=32", "model.channels=32: Input should be "),
        ("model.channels=[]", r"model.channels=\[\]: Value should have at least 1 item"),
        ("model.channels=[8,0]", r"model.channels\[1\]=0: Input should be greater than 0"),
        ("model.classes=0", "model.classes=0: Input should be greater than 0"),
        ("data.batch_size=0", "data.batch_size=0: Input should be greater than 0"),
        ("data.batch_size=8.5", r"data.batch_size=8.5: Input should be a valid integer"),
        ("data.layout=hwc", "data.layout='hwc': Input should be 'chw' or 'scrambled'"),
        ("evaluation.max_shift=17", "evaluation.max_shift=17: Input should be less than or equal to 16"),
        ("seed=1.5", "seed=1.5: Input should be a valid integer"),
        ("rerun=sometimes", "rerun='sometimes': Input should be 'never', 'outdated' or 'always'"),
        ("verbose=2", "verbose=2: Input should be a valid boolean"),
    ],
)
def test_a_wrong_key_or_value_is_named_in_one_line(compose: Compose, override: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}") as caught:
        check(plain(compose("+experiment=cnn_vanilla", override)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.lr=1",
        "trainer.limit_train_batches=5",
        "model.classes=null",
        "optimizer=adam",
        "model.hidden_dropout=[0,0]",
    ],
)
def test_unusual_but_right_values_pass(compose: Compose, override: str) -> None:
    check(plain(compose("+experiment=cnn_vanilla", override)))


@pytest.mark.parametrize(
    ("section", "override", "line"),
    [
        ("model", "model.kernel_size=4", "model: kernel_size must be odd"),
        ("model", "model.hidden=[8]", "model: hidden, hidden_bn and hidden_dropout must be of equal length"),
        ("model", "model.image_size=4", "model: image_size=4 is too small"),
        ("model", "model.dropout=1.5", "model: a dropout probability must be from 0 to 1, not 1.5"),
    ],
)
def test_what_a_constructor_refuses_is_named_in_one_line(
    compose: Compose, section: str, override: str, line: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{line}") as caught:
        build(section, plain(compose("+experiment=cnn_vanilla", override))[section])
    assert "\n" not in str(caught.value)


def test_sections_become_what_they_name(compose: Compose) -> None:
    config = plain(compose("+experiment=cnn_bn_gap", "data.source=synthetic"))
    model = build("model", config["model"])
    assert isinstance(model, ConvNet)
    assert isinstance(build("data", config["data"], seed=3), IntelDataModule)
    assert build("trainer", config["trainer"]) == TrainerSettings(epochs=40)
    optimizer = build("optimizer", config["optimizer"])(model.parameters())
    assert optimizer.defaults["lr"] == 0.01
