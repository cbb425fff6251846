"""The networks for grey pictures: their published sizes, what their options do, and what they refuse."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dlbench.models.cost import count_flops, count_parameters, receptive_field
from dlbench.models.dropout import Dropout
from dlbench.models.lenet import LeNet
from dlbench.models.mlp import MLP

OCTMNIST: dict[str, Any] = {
    "kernel_sizes": (3, 3),
    "paddings": (1, 0),
    "hidden": (320, 120),
    "hidden_dropout": (0.7, 0.0),
    "classes": 4,
}


@pytest.mark.parametrize(
    ("options", "parameters", "field"),
    [
        pytest.param({}, 420_906, 12, id="kmnist"),
        pytest.param(OCTMNIST, 224_892, 10, id="octmnist-max-pooling"),
        pytest.param({**OCTMNIST, "pooling": "none"}, 224_892, 7, id="octmnist-strided"),
    ],
)
def test_published_networks_have_their_published_sizes(options: dict[str, Any], parameters: int, field: int) -> None:
    network = LeNet(**options)
    assert count_parameters(network) == parameters
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, network.outputs)
    assert network.outputs == options.get("classes", 10)
    assert network.features(torch.zeros(2, 1, 28, 28)).shape == (2, 16, 6, 6)
    assert receptive_field(network.features) == field


def test_the_experiments_are_these_networks(compose: Any) -> None:
    from hydra.utils import instantiate

    def parameters(experiment: str) -> int:
        return count_parameters(instantiate(compose(f"+experiment={experiment}").model))

    assert parameters("kmnist_cnn") == 420_906
    assert parameters("octmnist_cnn_maxpool") == parameters("octmnist_cnn_strided") == 224_892
    assert parameters("kmnist_cnn") <= parameters("kmnist_mlp") < 1.001 * parameters("kmnist_cnn")


def test_a_strided_network_has_no_pooling_and_a_pooled_one_no_strides() -> None:
    for pooling, stride in (("max", 1), ("none", 2)):
        layers = list(LeNet(pooling=pooling).features)  # type: ignore[arg-type]
        assert {layer.stride for layer in layers if isinstance(layer, nn.Conv2d)} == {(stride, stride)}
        assert sum(isinstance(layer, nn.MaxPool2d) for layer in layers) == (2 if pooling == "max" else 0)


def test_dropout_stands_after_the_hidden_layers_relu_and_only_there() -> None:
    for network in (LeNet(), MLP()):
        kinds = [type(layer).__name__ for layer in network.head]
        assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
        assert [layer.p for layer in network.modules() if isinstance(layer, Dropout)] == [0.3]


@given(
    image_size=st.integers(8, 40),
    channels=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    pooling=st.sampled_from(["max", "none"]),
    data=st.data(),
)
def test_pictures_of_any_size_fit(image_size: int, channels: list[int], pooling: Any, data: st.DataObject) -> None:
    def each(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=len(channels), max_size=len(channels)))

    options: dict[str, Any] = {"kernel_sizes": each(1, 5), "paddings": each(0, 3), "channels": channels}
    try:
        network = LeNet(image_size=image_size, pooling=pooling, hidden=(5,), hidden_dropout=(0.5,), **options)
    except ValueError as error:
        assert "is too small" in str(error)
    else:
        assert network(torch.zeros(2, 1, image_size, image_size)).shape == (2, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_sizes": (3,)}, "channels, kernel_sizes and paddings must be of equal length"),
        ({"channels": (), "kernel_sizes": (), "paddings": ()}, "must be of equal length, one entry a convolution"),
        ({"image_size": 7}, "image_size=7 is too small for these kernel_sizes and paddings"),
        ({"hidden": (8,)}, "hidden_dropout must have one entry for each hidden layer"),
    ],
)
def test_impossible_networks_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LeNet(**options)


@given(
    least=st.integers(0, 60_000),
    hidden=st.lists(st.integers(1, 40), max_size=2),
    classes=st.integers(1, 12),
    image_size=st.integers(2, 12),
)
def test_the_first_hidden_layer_is_the_narrowest_that_gives_enough_parameters(
    least: int, hidden: list[int], classes: int, image_size: int
) -> None:
    dropout = [0.0] * (len(hidden) + 1)
    network = MLP(image_size=image_size, least_parameters=least, hidden=hidden, hidden_dropout=dropout, classes=classes)
    widths = [layer.out_features for layer in network.head if isinstance(layer, nn.Linear)]
    assert widths[1:] == [*hidden, classes]
    a_unit = image_size**2 + 1 + widths[1]
    parameters = count_parameters(network)
    assert parameters >= least
    assert parameters - a_unit < least or widths[0] == 1
    assert network(torch.zeros(2, 1, image_size, image_size)).shape == (2, network.outputs)


def test_the_fully_connected_network_is_blind_to_the_arrangement_of_pixels() -> None:
    torch.manual_seed(0)
    network, order = MLP().eval(), torch.randperm(784)
    pictures = torch.rand(3, 1, 28, 28)
    permuted = pictures.flatten(2)[..., order].reshape(pictures.shape)
    expected = network(pictures)
    network.head[0].weight.data = network.head[0].weight.data[:, order]
    torch.testing.assert_close(network(permuted), expected)


def test_flops_of_the_fully_connected_network_are_two_for_every_weight() -> None:
    assert count_flops(MLP(), (1, 28, 28)) == 2 * (784 * 464 + 464 * 120 + 120 * 10)
