"""The networks of the reports: their sizes, what their options do, what they cost and see."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from dlbench.models.cnn import ConvNet
from dlbench.models.cost import count_flops, count_parameters, forward_once, receptive_field
from dlbench.models.lenet import LeNet

BN_GAP: dict[str, Any] = {"convolution_bn": True, "gap": True, "hidden_bn": (True, False)}


def small(**options: Any) -> ConvNet:
    """A network of a few hundred parameters."""
    no_head: dict[str, Any] = {"hidden": (), "hidden_bn": (), "hidden_dropout": ()}
    return ConvNet(**({"channels": (2, 2, 2), "dropout": 0.0, **no_head} | options))


# --- the networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parameters", "outputs"),
    [
        pytest.param({}, 5_340_742, 6, id="plain"),
        pytest.param(BN_GAP, 755_718, 6, id="b2425"),
        pytest.param(BN_GAP | {"hidden_bn": (True, True)}, 756_742, 6, id="a2425"),
        pytest.param(BN_GAP | {"classes": None}, 752_640, 512, id="c2425"),
        pytest.param(BN_GAP | {"classes": None, "gap": False}, 5_340_160, 512, id="c2425-without-gap"),
    ],
)
def test_published_networks_have_their_published_sizes(options: dict[str, Any], parameters: int, outputs: int) -> None:
    network = ConvNet(**options)
    assert count_parameters(network) == parameters
    assert network(torch.zeros(2, 3, 48, 48)).shape == (2, outputs)
    assert network.outputs == outputs


def test_frozen_parameters_are_not_counted() -> None:
    layer = nn.Linear(3, 4)
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 12


@pytest.mark.parametrize(
    ("pooling", "image_size"), [("max", 48), ("average", 48), ("none", 48), ("max", 28), ("average", 28), ("none", 32)]
)
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_ablations_fit_together(kernel_size: int, pooling: Any, image_size: int) -> None:
    network = small(kernel_size=kernel_size, pooling=pooling, image_size=image_size)
    assert network(torch.zeros(1, 3, image_size, image_size)).shape == (1, 6)


@pytest.mark.parametrize("pooling", ["max", "average", "none"])
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_ablations_keep_the_feature_maps_of_the_plain_network(kernel_size: int, pooling: Any) -> None:
    features = small(kernel_size=kernel_size, pooling=pooling).features
    assert features(torch.zeros(1, 3, 48, 48)).shape == (1, 2, 6, 6)


def test_without_an_output_layer_the_logits_keep_their_sign() -> None:
    torch.manual_seed(0)
    hidden: dict[str, Any] = {"hidden": (8, 32), "hidden_bn": (False, False), "hidden_dropout": (0.0, 0.0)}
    logits = small(classes=None, **hidden)(torch.rand(4, 3, 48, 48))
    assert logits.min() < 0 < logits.max()


@pytest.mark.parametrize(
    ("kind", "place", "values", "whole_channels"),
    [
        pytest.param("element", "after_pooling", {0.0, 2.0}, False, id="elements"),
        pytest.param("channel", "after_pooling", {0.0, 2.0}, True, id="channels"),
        pytest.param("element", "before_pooling", {0.0, 0.5, 1.0, 1.5, 2.0}, False, id="elements-before-pooling"),
        pytest.param("channel", "before_pooling", {0.0, 2.0}, True, id="channels-before-pooling"),
    ],
)
def test_dropout_drops_what_and_where_it_is_told_to(
    kind: Any, place: Any, values: set[float], whole_channels: bool
) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"dropout_kind": kind, "dropout_place": place, "pooling": "average"}
    network = small(channels=(64,), gap=True, dropout=0.5, **options)
    convolution = network.features[0]
    nn.init.zeros_(convolution.weight), nn.init.ones_(convolution.bias)  # type: ignore[arg-type]
    maps = network.features(torch.zeros(1, 3, 48, 48))[0]
    assert set(maps.unique().tolist()) == values  # every activation is 1, and dropout doubles what it keeps
    assert all(channel.unique().numel() == 1 for channel in maps) == whole_channels
    assert network.eval().features(torch.zeros(1, 3, 48, 48)).unique().tolist() == [1.0]


@pytest.mark.parametrize("image_size", range(8, 18))
@pytest.mark.parametrize("pooling", ["max", "average", "none"])
def test_pictures_of_any_size_fit(pooling: Any, image_size: int) -> None:
    network = small(pooling=pooling, image_size=image_size)
    assert network(torch.rand(2, 3, image_size, image_size)).shape == (2, 6)


@pytest.mark.parametrize(
    "network", [ConvNet(image_size=12, dropout=0, hidden_dropout=(0, 0)), LeNet(hidden_dropout=(0, 0))]
)
def test_relu_after_max_pooling_gives_what_it_gives_before(network: Any) -> None:
    """Ties among what ReLU sets to 0 included: the gradients are the same to the bit."""
    swapped = copy.deepcopy(network)
    layers = list(swapped.features)
    poolings = [place for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for place in poolings:
        assert isinstance(layers[place + 1], nn.ReLU)
        layers[place], layers[place + 1] = layers[place + 1], layers[place]
    swapped.features = nn.Sequential(*layers)
    pictures = torch.randn(5, *((3, 12, 12) if isinstance(network, ConvNet) else (1, 28, 28)))
    ours, theirs = network(pictures), swapped(pictures)
    assert torch.equal(ours, theirs)
    gradients = [
        torch.autograd.grad(logits.square().sum(), list(model.parameters()))
        for logits, model in ((ours, network), (theirs, swapped))
    ]
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd, for same padding, not 4"),
        ({"hidden": (8,)}, "hidden, hidden_bn and hidden_dropout must be of equal length"),
        ({"image_size": 7}, "image_size=7 is too small for 3 halvings"),
    ],
)
def test_impossible_networks_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvNet(**options)


# --- what they cost and see ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["average", "none"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_the_receptive_field_is_the_reach_of_the_gradient(kernel_size: int, pooling: Any) -> None:
    features = small(kernel_size=kernel_size, pooling=pooling, channels=(1, 1, 1), image_size=128).features
    for parameter in features.parameters():
        nn.init.ones_(parameter)
    picture = torch.ones(1, 3, 128, 128, requires_grad=True)
    features(picture)[0, 0, 8, 8].backward()
    reached = picture.grad[0, 0].nonzero()  # type: ignore[index]
    height, width = (reached.max(dim=0).values - reached.min(dim=0).values + 1).tolist()
    assert (height, width) == (receptive_field(features),) * 2


def test_max_pooling_sees_as_far_as_average_pooling() -> None:
    assert receptive_field(small(pooling="max").features) == receptive_field(small(pooling="average").features)


def test_dilation_widens_the_receptive_field() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3, dilation=3))
    assert receptive_field(layers) == 3 + (3 - 1) * 3 * 2


def test_two_small_kernels_see_as_far_as_one_large_kernel_with_fewer_weights() -> None:
    two = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), nn.ReLU(), nn.Conv2d(1, 1, 3, bias=False))
    one = nn.Sequential(nn.Conv2d(1, 1, 5, bias=False))
    assert receptive_field(two) == receptive_field(one) == 5
    assert (count_parameters(two), count_parameters(one)) == (18, 25)


def test_flops_are_two_for_every_weight_at_every_place() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 8 * 6, 10))
    convolution, linear = 3 * 5 * 5 * 8 * (8 * 6), 8 * 8 * 6 * 10
    assert count_flops(network, (3, 16, 12)) == 2 * (convolution + linear)


class Unusual(nn.Module):
    """Has no parameters, draws a tensor of its own, and looks at a value."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        answer = pictures.flatten(1)[:, :6] + torch.randn(6)
        return answer if answer.std() > 0 else -answer


def test_a_network_that_no_meta_device_runs_is_run_on_zeros() -> None:
    stream = torch.get_rng_state()
    answer, operations = forward_once(Unusual(), (3, 16, 12))
    assert (tuple(answer.shape), operations) == ((1, 6), 0)
    assert torch.equal(torch.get_rng_state(), stream)
    with pytest.raises(RuntimeError):
        forward_once(nn.Linear(5, 6), (3, 16, 12))


def test_counting_flops_changes_nothing() -> None:
    network = ConvNet(**BN_GAP)
    before, stream = {name: tensor.clone() for name, tensor in network.state_dict().items()}, torch.get_rng_state()
    count_flops(network, (3, 48, 48))
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert network.training
    assert all(tensor.device.type == "cpu" for tensor in network.state_dict().values())
    assert torch.equal(torch.get_rng_state(), stream)
