"""Convolution as a product with a sparse matrix (d2223's theory question).

As everywhere in deep learning, convolution is cross-correlation: z[r, c] = sum over a, b of W[a, b] x[r + a, c + b].
Sizes are (rows, columns): an image's H x W, a filter's M x N, the output's H' x W'. A vec lays an image out as a
vector, column after column ("F", as mathematicians and d2223 do) or row after row ("C", as memory does).

Matrices are scipy's CSR arrays: torch's sparse ones are still beta, and cannot be sliced or drawn.
"""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

Size = tuple[int, int]
Order = Literal["C", "F"]
Vector = NDArray[np.float64]


def output_length(
    length: int, kernel: int, stride: Annotated[int, Gt(0)] = 1, padding: Annotated[int, Ge(0)] = 0
) -> int:
    """Positions of a window along one side, floor((length + 2 padding - kernel) / stride) + 1.

    Raises:
        ValueError: The window does not fit once.
    """
    if kernel > length + 2 * padding:
        raise ValueError(f"a filter of {kernel} does not fit into {length} with a padding of {padding}")
    return (length + 2 * padding - kernel) // stride + 1


def output_size(image: Size, kernel: Size, stride: Size = (1, 1), padding: Size = (0, 0)) -> Size:
    """H' x W', `output_length` of both sides."""
    rows, columns = map(output_length, image, kernel, stride, padding)
    return rows, columns


def convolution_matrix(
    kernel: Vector, image: Size, *, stride: Size = (1, 1), padding: Size = (0, 0), order: Order = "F"
) -> sparse.csr_array[np.float64]:
    """T with vec(z) = T vec(x) for the convolution z of an image x with a filter, (H'W', HW).

    With stride 1 and no padding it is doubly blocked Toeplitz: a Toeplitz matrix of blocks, each a Toeplitz matrix. All
    MN weights are stored, zeros too, except where they fall on the padding.

    Args:
        kernel: The filter, (M, N).
        image: The image's size.
        stride: Of rows and columns.
        padding: Zeros put at each end of the columns (above and below) and rows (left and right).
        order: How vec lays out both images.
    """
    size = output_size(image, (kernel.shape[0], kernel.shape[1]), stride, padding)
    # Of each weight (first two axes) at each place of the output (last two): where in the image it falls.
    r, c = np.ix_(np.arange(size[0]), np.arange(size[1]))
    a, b = np.ix_(np.arange(kernel.shape[0]), np.arange(kernel.shape[1]))
    u, v, r, c, weight = np.broadcast_arrays(
        r * stride[0] - padding[0] + a[..., None, None],
        c * stride[1] - padding[1] + b[..., None, None],
        r,
        c,
        kernel[..., None, None],
    )
    inside = (u >= 0) & (u < image[0]) & (v >= 0) & (v < image[1])
    rows = np.ravel_multi_index((r[inside], c[inside]), size, order=order)
    columns = np.ravel_multi_index((u[inside], v[inside]), image, order=order)
    shape = (size[0] * size[1], image[0] * image[1])
    return sparse.csr_array((weight[inside].astype(np.float64), (rows, columns)), shape=shape)


def published_entry(i: NDArray[np.int64], j: NDArray[np.int64], kernel: Vector, height: int) -> Vector:
    """T[i, j] by d2223's formula, for column-major vec, stride 1 and no padding.

    W[a, b] with b = ceil(j / H) - ceil(i / H') + 1 and a = j - (b-1) H - (i-1) - (ceil(i / H') - 1)(M-1) if that is a
    place in the filter, else 0.

    Args:
        i: Rows of T, counted from 1.
        j: Columns of T, counted from 1; of i's shape, or broadcast with it.
        kernel: The filter W, (M, N).
        height: H, the image's rows.
    """
    rows, columns = kernel.shape
    output_column = -(-i // (height - rows + 1))
    b = -(-j // height) - output_column + 1
    a = j - (b - 1) * height - (i - 1) - (output_column - 1) * (rows - 1)
    inside = (a >= 1) & (a <= rows) & (b >= 1) & (b <= columns)
    return np.where(inside, kernel[np.where(inside, a - 1, 0), np.where(inside, b - 1, 0)], 0.0)


def pooled_dim(size: Size, window: int = 2) -> int:
    """Values left of a map by pooling with windows that do not overlap: each side's part is rounded down."""
    return (size[0] // window) * (size[1] // window)


def published_pooled_dim(size: Size, window: int = 2) -> int:
    """The same as d2223 counts it, wrong where a side is odd: the whole product is rounded down (5 x 5: 6, not 4)."""
    return size[0] * size[1] // window**2


def convolutional_parameters(kernel: Size, hidden: int, classes: int) -> int:
    """Weights of a filter, and from its output, pooled to dim(h) values, to the classes: MN + classes dim(h)."""
    return kernel[0] * kernel[1] + classes * hidden


def connected_parameters(image: Size, hidden: int, classes: int) -> int:
    """Weights where the dim(h) values come of a fully connected layer: dim(h) HW + classes dim(h)."""
    return hidden * image[0] * image[1] + classes * hidden


def pixel_attention(image: Tensor) -> Tensor:
    """Self-attention between single pixels, each its own query, key and value: softmax(vec(x) vec(x)') vec(x).

    Args:
        image: (H, W).

    Returns:
        (H, W). A pixel's new value depends on its old one and on which values there are, not on where they are.
    """
    pixels = image.flatten()
    mixed: Tensor = pixels.outer(pixels).softmax(dim=-1) @ pixels
    return mixed.view(image.shape)
