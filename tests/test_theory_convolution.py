"""The matrix of a convolution against torch's convolution and against d2223's formula; the counts that go with it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import convolution_matrix as one_dimensional
from torch import nn
from torch.nn.functional import conv2d, max_pool2d, scaled_dot_product_attention

from dlbench.theory import convolution_matrix as theory

sides = st.integers(1, 9)
kernels = st.integers(1, 5)
strides = st.tuples(st.integers(1, 4), st.integers(1, 4))
paddings = st.tuples(st.integers(0, 4), st.integers(0, 4))
orders = st.sampled_from(["C", "F"])


def normal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


@st.composite
def layers(draw: st.DrawFn) -> tuple[theory.Size, theory.Size, theory.Size, theory.Size]:
    """Image, filter, stride and padding where the filter fits."""
    image, padding = draw(st.tuples(sides, sides)), draw(paddings)
    kernel = tuple(draw(st.integers(1, min(5, side + 2 * pad))) for side, pad in zip(image, padding, strict=True))
    return image, kernel, draw(strides), padding


@given(layers(), orders)
def test_product_with_the_matrix_is_the_convolution(layer: tuple[theory.Size, ...], order: theory.Order) -> None:
    image, kernel, stride, padding = layer
    x, weights = normal(*image), normal(*kernel, seed=1)
    expected = conv2d(torch.tensor(x)[None], torch.tensor(weights)[None, None], stride=stride, padding=padding)[
        0
    ].numpy()
    assert theory.output_size(image, kernel, stride, padding) == expected.shape
    matrix = theory.convolution_matrix(weights, image, stride=stride, padding=padding, order=order)
    np.testing.assert_allclose(matrix @ x.flatten(order), expected.flatten(order), rtol=1e-12, atol=1e-12)
    assert matrix.nnz <= np.prod(kernel) * np.prod(expected.shape)


@given(sides, sides, kernels, kernels)
def test_every_entry_is_what_d2223s_formula_gives(height: int, width: int, rows: int, columns: int) -> None:
    rows, columns = min(rows, height), min(columns, width)
    kernel = normal(rows, columns)
    matrix = theory.convolution_matrix(kernel, (height, width)).toarray()
    i, j = np.ix_(*(np.arange(1, length + 1) for length in matrix.shape))
    np.testing.assert_array_equal(theory.published_entry(i, j, kernel, height), matrix)


@given(sides, sides, kernels, kernels, orders)
def test_matrix_is_doubly_blocked_toeplitz(
    height: int, width: int, rows: int, columns: int, order: theory.Order
) -> None:
    """Blocks along a diagonal are equal, and so are entries along a diagonal of a block."""
    rows, columns = min(rows, height), min(columns, width)
    matrix = theory.convolution_matrix(normal(rows, columns), (height, width), order=order).toarray()
    size = theory.output_size((height, width), (rows, columns))
    inner, outer = (0, 1) if order == "F" else (1, 0)
    image = (height, width)
    blocks = matrix.reshape(size[outer], size[inner], image[outer], image[inner])
    np.testing.assert_array_equal(blocks[1:, :, 1:], blocks[:-1, :, :-1])
    np.testing.assert_array_equal(blocks[:, 1:, :, 1:], blocks[:, :-1, :, :-1])


def test_a_filter_of_one_column_is_scipys_one_dimensional_matrix() -> None:
    kernel = normal(3, 1)
    matrix = theory.convolution_matrix(kernel, (7, 1)).toarray()
    np.testing.assert_array_equal(matrix, one_dimensional(kernel[::-1, 0], 7, mode="valid"))


def test_transposed_matrix_is_the_gradient() -> None:
    x, kernel = torch.tensor(normal(6, 5)).requires_grad_(), normal(3, 2, seed=1)
    z = conv2d(x[None, None], torch.tensor(kernel)[None, None], stride=2, padding=1)[0, 0]
    upstream = torch.tensor(normal(*z.shape, seed=2))
    (gradient,) = torch.autograd.grad((z * upstream).sum(), x)
    matrix = theory.convolution_matrix(kernel, (6, 5), stride=(2, 2), padding=(1, 1), order="C")
    np.testing.assert_allclose(matrix.T @ upstream.flatten().numpy(), gradient.flatten().numpy(), atol=1e-12)


def test_matrix_of_a_large_image_is_small() -> None:
    """48 x 48 pixels: 4 million entries, of which 9 in each row are stored."""
    matrix = theory.convolution_matrix(normal(3, 3), (48, 48))
    assert matrix.shape == (46 * 46, 48 * 48)
    assert matrix.nnz == 9 * 46 * 46


def test_a_filter_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="a filter of 4 does not fit into 3 with a padding of 0"):
        theory.output_size((3, 5), (4, 2))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_pooled_dim_is_what_torch_leaves(height: int, width: int, window: int) -> None:
    size = (max(height, window), max(width, window))
    assert theory.pooled_dim(size, window) == max_pool2d(torch.zeros(1, *size), window).numel()
    difference = theory.published_pooled_dim(size, window) - theory.pooled_dim(size, window)
    assert difference >= 0
    if size[0] % window == size[1] % window == 0:
        assert difference == 0
    assert (theory.published_pooled_dim((5, 5)), theory.pooled_dim((5, 5))) == (6, 4)


@given(st.integers(6, 30), st.integers(6, 30), kernels, kernels)
def test_parameters_are_those_of_the_networks(height: int, width: int, rows: int, columns: int) -> None:
    hidden = theory.pooled_dim(theory.output_size((height, width), (rows, columns)))
    network = nn.Sequential(
        nn.Conv2d(1, 1, (rows, columns), bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(hidden, 3, bias=False)
    )
    assert network(torch.zeros(1, 1, height, width)).shape == (1, 3)
    connected = nn.Sequential(nn.Linear(height * width, hidden, bias=False), nn.Linear(hidden, 3, bias=False))
    counts = [sum(one.numel() for one in module.parameters()) for module in (network, connected)]
    assert counts[0] == theory.convolutional_parameters((rows, columns), hidden, 3)
    assert counts[1] == theory.connected_parameters((height, width), hidden, 3)


@given(sides, sides, st.integers(0, 2**30))
def test_pixel_attention_is_attention_with_unit_projections(height: int, width: int, seed: int) -> None:
    image = torch.tensor(normal(height, width, seed=seed))
    pixels = image.reshape(1, -1, 1)
    expected = scaled_dot_product_attention(pixels, pixels, pixels, scale=1.0)
    torch.testing.assert_close(theory.pixel_attention(image), expected.reshape(image.shape), rtol=1e-12, atol=1e-12)


def test_pixel_attention_does_not_see_where_pixels_are() -> None:
    image = torch.tensor(normal(4, 5))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    shuffled = theory.pixel_attention(image.flatten()[order].view(4, 5))
    torch.testing.assert_close(shuffled.flatten(), theory.pixel_attention(image).flatten()[order])
