"""A wide layer: the same network as torch's own, with fewer passes over its weights."""

import copy
import pickle
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from conftest import Compose
from torch import Tensor, nn
from torch.nn import Parameter, functional
from torch.optim import Optimizer

from dlbench.bench.worker import flops_of
from dlbench.models.wide_linear import WIDE, WideLinear, WideSGD, linear
from dlbench.run.plan import Plan, build_task, prepare
from dlbench.tasks.image_classification import ImageClassification
from dlbench.tasks.optim import sgd

INPUTS, OUTPUTS, LR = 12, 20, 0.1


@pytest.fixture
def layer() -> WideLinear:
    torch.manual_seed(0)
    return WideLinear(INPUTS, OUTPUTS, dtype=torch.float64)


def a_batch(seed: int, size: int = 5) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return (
        torch.randn(size, INPUTS, generator=chance, dtype=torch.float64, requires_grad=True),
        torch.randn(size, OUTPUTS, generator=chance, dtype=torch.float64),
    )


def backward(layer: nn.Linear, inputs: Tensor, target: Tensor) -> None:
    functional.mse_loss(layer(inputs).relu(), target).backward()


def train(layer: nn.Linear, optimizer: Optimizer, batches: int = 4) -> None:
    for seed in range(batches):
        optimizer.zero_grad()
        backward(layer, *a_batch(seed))
        optimizer.step()


def as_torch_has_it(layer: WideLinear) -> nn.Linear:
    plain = nn.Linear(INPUTS, OUTPUTS, dtype=torch.float64)
    plain.load_state_dict(layer.state_dict())
    return plain


def test_only_large_layers_are_wide() -> None:
    assert type(linear(1024, 1024)) is WideLinear
    assert WIDE == 1024 * 1024
    assert type(linear(1024, 1023)) is nn.Linear


def test_gradients_are_those_of_torch(layer: WideLinear) -> None:
    inputs, target = a_batch(0)
    same = inputs.detach().clone().requires_grad_()
    plain = as_torch_has_it(layer)
    backward(layer, inputs, target)
    backward(plain, same, target)
    torch.testing.assert_close(inputs.grad, same.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(layer.bias.grad, plain.bias.grad, rtol=1e-12, atol=1e-14)


def test_training_without_gradients_is_that_with_them(layer: WideLinear) -> None:
    plain = as_torch_has_it(layer)
    optimizer = WideSGD(layer.parameters(), lr=LR)
    optimizer.use_factors()
    train(layer, optimizer)
    train(plain, torch.optim.SGD(plain.parameters(), LR))
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.weight, plain.weight, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(layer.bias, plain.bias, rtol=1e-12, atol=1e-14)


def test_gradients_of_several_batches_and_a_changed_learning_rate_add_up(layer: WideLinear) -> None:
    plain = as_torch_has_it(layer)
    sides = (layer, WideSGD(layer.parameters(), lr=LR)), (plain, torch.optim.SGD(plain.parameters(), LR))
    sides[0][1].use_factors()
    for network, optimizer in sides:
        optimizer.param_groups[0]["lr"] = LR / 3
        backward(network, *a_batch(9))  # forgotten
        optimizer.zero_grad()
        backward(network, *a_batch(0))
        backward(network, *a_batch(1))
        optimizer.step()
    torch.testing.assert_close(layer.weight, plain.weight, rtol=1e-12, atol=1e-14)


def test_a_hook_on_the_weights_sees_gradients_and_may_change_them(layer: WideLinear) -> None:
    optimizer = WideSGD(layer.parameters(), lr=LR)
    optimizer.use_factors()
    layer.weight.register_hook(torch.zeros_like)
    before = layer.weight.detach().clone()
    train(layer, optimizer)
    assert torch.equal(layer.weight.grad, torch.zeros_like(before))
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("kind", ["not told", "momentum", "weight decay"])
def test_an_optimiser_that_needs_gradients_has_them(layer: WideLinear, kind: str) -> None:
    settings = {"not told": {}, "momentum": {"momentum": 0.9}, "weight decay": {"weight_decay": 0.1}}[kind]
    plain = as_torch_has_it(layer)
    train(layer, sgd(layer.parameters(), LR, **settings))
    train(plain, torch.optim.SGD(plain.parameters(), LR, **settings))
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight, plain.weight, rtol=1e-12, atol=1e-14)


def test_sixteen_bits_and_evaluation_go_torchs_own_way() -> None:
    torch.manual_seed(0)
    layer = WideLinear(INPUTS, OUTPUTS)
    inputs = torch.randn(3, INPUTS)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(inputs).dtype == torch.bfloat16
    assert torch.equal(layer.eval()(inputs), functional.linear(inputs, layer.weight, layer.bias))


def test_another_optimiser_of_the_same_weights_or_of_a_copy_has_gradients(layer: WideLinear) -> None:
    optimizer = WideSGD(layer.parameters(), lr=LR)
    optimizer.use_factors()
    train(layer, optimizer)
    other, unpickled = copy.deepcopy(layer), pickle.loads(pickle.dumps((layer, optimizer)))
    optimizer.write_gradients()
    for network, trainer in (
        (other, WideSGD(other.parameters(), lr=LR)),
        unpickled,
        (layer, torch.optim.Adam(layer.parameters())),
    ):
        before = network.weight.detach().clone()
        train(network, trainer)
        assert network.weight.grad is not None
        assert not torch.equal(network.weight, before)


def test_an_optimiser_that_is_gone_takes_nothing(layer: WideLinear) -> None:
    WideSGD(layer.parameters(), lr=LR).use_factors()
    backward(layer, *a_batch(0))
    assert layer.weight.grad is not None


def test_frozen_weights_stay_and_inputs_without_gradient_cost_nothing(layer: WideLinear) -> None:
    optimizer = WideSGD(layer.parameters(), lr=LR)
    optimizer.use_factors()
    layer.weight.requires_grad_(False)
    before = layer.weight.detach().clone()
    train(layer, optimizer)
    assert torch.equal(layer.weight, before)
    layer.weight.requires_grad_(True)
    inputs, target = a_batch(0)
    assert flops_of(lambda: backward(layer, inputs.detach(), target)) == 2 * len(inputs) * INPUTS * OUTPUTS  # forward
    assert flops_of(optimizer.step) == 2 * len(inputs) * INPUTS * OUTPUTS


def test_what_is_no_batch_of_vectors_goes_torchs_own_way(layer: WideLinear) -> None:
    plain = as_torch_has_it(layer)
    for shape in ((INPUTS,), (2, 3, INPUTS)):
        inputs = torch.randn(shape, dtype=torch.float64)
        assert torch.equal(layer(inputs), plain(inputs))


class OwnTask(ImageClassification):
    """It might look at gradients."""


def own_sgd(parameters: Iterable[Parameter], lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> Optimizer:
    """It might clip."""
    return sgd(parameters, lr, momentum, weight_decay)


@pytest.mark.parametrize(
    ("more", "has_gradient"),
    [
        ((), False),
        (("+callbacks.own={_target_: own_callbacks.Deadly, seed: 7}",), True),
        (("task._target_=test_wide_linear.OwnTask",), True),
        (("optimizer._target_=test_wide_linear.own_sgd",), True),
        (("trainer.gradient_clip=1e9",), True),
        (("trainer.accumulate=2",), True),
        (("trainer.compile=true",), True),
        (("trainer.early_stopping=2", "trainer.profiler=simple", "logger=[csv]"), False),
    ],
    ids=["plain", "own callback", "own task", "own optimiser", "clipped", "accumulated", "compiled", "looked at"],
)
def test_a_run_does_without_gradients_only_where_nobody_else_can_want_them(
    compose: Compose, tiny: list[str], more: tuple[str, ...], has_gradient: bool
) -> None:
    check_gradient(prepare(compose("+experiment=cnn_vanilla", *tiny, *more)), has_gradient)


def test_a_scaled_loss_has_gradients(compose: Compose, tiny: list[str]) -> None:
    """In 16 bits a run needs a GPU; what it would do with gradients is decided before."""
    plan = prepare(compose("+experiment=cnn_vanilla", *tiny))
    check_gradient(replace(plan, settings=replace(plan.settings, precision="16-mixed")), True)


def check_gradient(plan: Plan, has_gradient: bool) -> None:
    task = build_task(plan)
    made = task.configure_optimizers()  # held: an optimiser that is gone takes nothing
    images, labels = torch.rand(4, 3, 48, 48), torch.tensor([0, 1, 2, 3])
    task.train().loss((images, labels)).backward()
    assert {type(layer) for layer in task.model.head if isinstance(layer, nn.Linear)} == {WideLinear, nn.Linear}
    widest = max(task.model.parameters(), key=torch.numel)
    assert (widest.grad is not None) == has_gradient
    assert made["optimizer"]
