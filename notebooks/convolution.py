# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Convolution as a matrix
#
# A convolution is linear, so there is a matrix that does the same. d2223 derives that matrix, counts the parameters of
# a small network with and without it, and looks at self-attention between pixels. Here every step is derived once more,
# and the cell below it checks it with numbers. The functions come from `dlbench.theory.convolution_matrix`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn.functional import conv2d, max_pool2d, scaled_dot_product_attention

from dlbench.report.figures.style import BLUE, VERMILION
from dlbench.theory import convolution_matrix as theory

plt.rcParams |= {"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
draws = np.random.default_rng(0)


def conv(x: np.ndarray, w: np.ndarray, **settings: object) -> np.ndarray:
    """torch's convolution of one image with one filter."""
    return conv2d(torch.tensor(x)[None, None], torch.tensor(w)[None, None], **settings)[0, 0].numpy()


# %% [markdown]
# ## Definition and size
#
# An image $x$ of $H \times W$ pixels and a filter $w$ of $M \times N$ weights, everything counted from 1. What deep
# learning calls convolution is
#
# $$z_{rc} = \sum_{a=1}^M \sum_{b=1}^N w_{ab} \, x_{r+a-1,\; c+b-1} .$$
#
# The filter fits while $r + M - 1 \le H$ and $c + N - 1 \le W$, so $z$ has $H' = H - M + 1$ rows and $W' = W - N + 1$
# columns. With $P$ zeros around the image and steps of $S$, the filter starts at $0, S, 2S, \dots \le H + 2P - M$:
#
# $$H' = \Big\lfloor \frac{H + 2P - M}{S} \Big\rfloor + 1 .$$

# %%
H, W, M, N = 6, 5, 3, 2
x, w = draws.normal(size=(H, W)), draws.normal(size=(M, N))
z = np.array([[(w * x[r : r + M, c : c + N]).sum() for c in range(W - N + 1)] for r in range(H - M + 1)])
assert z.shape == theory.output_size((H, W), (M, N)) == (H - M + 1, W - N + 1)
np.testing.assert_allclose(z, conv(x, w), atol=1e-12)

checked = 0
for side in range(1, 13):
    for kernel, stride, padding in np.ndindex(5, 4, 3):
        if kernel + 1 <= side + 2 * padding:
            length = theory.output_length(side, kernel + 1, stride + 1, padding)
            zeros = conv(np.zeros((side, side)), np.zeros((kernel + 1,) * 2), stride=stride + 1, padding=padding)
            assert zeros.shape == (length, length)
            checked += 1
print(f"{checked} sizes as torch has them")

# %% [markdown]
# ## One dimension: a Toeplitz matrix
#
# Take a single column, $W = N = 1$. Then $z_r = \sum_a w_a x_{r+a-1} = \sum_j T_{rj} x_j$ with $T_{rj} = w_{j-r+1}$
# where $1 \le j - r + 1 \le M$, and 0 elsewhere. An entry depends on $j - r$ only, so it is the same along each
# diagonal. That is a *Toeplitz* matrix.

# %%
column = np.array([[1.0], [2.0], [3.0]])
T = theory.convolution_matrix(column, (6, 1)).toarray()
print(T.astype(int))
assert all(len(set(T.diagonal(k))) == 1 for k in range(-3, 6))

# %% [markdown]
# ## Two dimensions: a Toeplitz matrix of Toeplitz matrices
#
# $\operatorname{vec}$ puts the columns of a matrix below one another. Column $c$ of the output is made of the columns
# $c, \dots, c + N - 1$ of the image, and each of them is convolved with one column of the filter, as above:
#
# $$z_{\cdot c} = \sum_{b=1}^N T^{(b)} x_{\cdot,\, c+b-1}, \qquad T^{(b)}_{rj} = w_{j-r+1,\, b} \quad (H' \times H).$$
#
# So $\operatorname{vec}(z) = T \operatorname{vec}(x)$, where $T \in \mathbb{R}^{H'W' \times HW}$ consists of $W' \times
# W$ blocks of $H' \times H$. The block in block row $c$ and block column $d$ is $T^{(d-c+1)}$: it depends on $d - c$
# only, and is itself Toeplitz. The matrix is *doubly blocked Toeplitz*.

# %%
T = theory.convolution_matrix(w, (H, W))
np.testing.assert_allclose(T @ x.flatten("F"), z.flatten("F"), atol=1e-12)

blocks = T.toarray().reshape(W - N + 1, H - M + 1, W, H)
for c in range(W - N + 1):
    for d in range(W):
        b = d - c
        expected = theory.convolution_matrix(w[:, [b]], (H, 1)).toarray() if 0 <= b < N else np.zeros((H - M + 1, H))
        np.testing.assert_array_equal(blocks[c, :, d], expected)

edges = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained", width_ratios=(1, 1, 1))
for axes, settings, title in zip(
    panels,
    ({}, {"padding": (1, 1)}, {"stride": (2, 2), "padding": (1, 1)}),
    ("stride 1, no padding", "stride 1, padding 1", "stride 2, padding 1"),
    strict=True,
):
    shown = theory.convolution_matrix(edges, (6, 6), **settings).toarray()
    axes.imshow(np.where(shown == 0, np.nan, shown), cmap="viridis", vmin=1, vmax=9)
    height = theory.output_size((6, 6), (3, 3), **settings)[0]
    axes.set_xticks(np.arange(0, 37, 6) - 0.5, np.arange(0, 37, 6))
    axes.set_yticks(np.arange(0, shown.shape[0] + 1, height) - 0.5, np.arange(0, shown.shape[0] + 1, height))
    axes.grid(alpha=0.5)
    axes.set_title(f"{title}: {shown.shape[0]} x {shown.shape[1]}", fontsize=10)
plt.show()

# %% [markdown]
# The filter has nine different weights, one colour each, the image $6 \times 6$ pixels; the lines are the borders of
# the blocks. Padding cuts weights off at the border, a stride leaves rows out; both keep the product a convolution.

# %%
checked = 0
for stride, padding in np.ndindex(3, 3):
    settings = {"stride": (stride + 1, 1 + stride // 2), "padding": (padding, padding // 2)}
    for order in ("C", "F"):
        matrix = theory.convolution_matrix(w, (H, W), order=order, **settings)
        np.testing.assert_allclose(matrix @ x.flatten(order), conv(x, w, **settings).flatten(order), atol=1e-12)
        checked += 1
print(f"{checked} settings equal to torch's conv2d")

# %% [markdown]
# ## A formula for each entry
#
# Entry $(i, j)$ of $T$ joins the $i$-th output to the $j$-th pixel. Column after column, the $i$-th output stands in
# column $c = \lceil i / H' \rceil$ and row $r = i - (c - 1) H'$, the $j$-th pixel in column $d = \lceil j / H \rceil$
# and row $u = j - (d - 1) H$. The weight between them has $a = u - r + 1$ and $b = d - c + 1$. With
# $H' = H - M + 1$ this is
#
# $$b = \Big\lceil \frac jH \Big\rceil - \Big\lceil \frac i{H'} \Big\rceil + 1, \qquad
# a = j - (b-1) H - (i - 1) - \Big( \Big\lceil \frac i{H'} \Big\rceil - 1 \Big) (M - 1),$$
#
# for $a = j - (d-1)H - i + (c-1)(H - M + 1) + 1$ and $(d - 1) H = (b - 1) H + (c - 1) H$. This is d2223's formula:
# $T_{ij} = w_{ab}$ where $1 \le a \le M$ and $1 \le b \le N$, else 0. It is right, in every entry.

# %%
entries = 0
for height, width, rows, columns in np.ndindex(7, 7, 4, 4):
    if rows <= height and columns <= width:
        kernel = draws.normal(size=(rows + 1, columns + 1))
        matrix = theory.convolution_matrix(kernel, (height + 1, width + 1)).toarray()
        i, j = np.ix_(*(np.arange(1, length + 1) for length in matrix.shape))
        np.testing.assert_array_equal(theory.published_entry(i, j, kernel, height + 1), matrix)
        entries += matrix.size
print(f"{entries} entries compared")

# %% [markdown]
# ## What the matrix is good for
#
# The gradient of $u^\top T x$ with respect to $x$ is $T^\top u$: the backward pass of a convolution, and what is called
# a transposed convolution, is the transposed matrix. In each row at most $MN$ of $HW$ entries are not 0, and they are
# the same $MN$ numbers in every row: that is what a convolution saves against a fully connected layer.

# %%
leaf = torch.tensor(x, requires_grad=True)
upstream = draws.normal(size=z.shape)
output = conv2d(leaf[None, None], torch.tensor(w)[None, None])[0, 0]
(gradient,) = torch.autograd.grad((output * torch.tensor(upstream)).sum(), leaf)
np.testing.assert_allclose(T.T @ upstream.flatten("F"), gradient.numpy().flatten("F"), atol=1e-12)

sides = np.arange(8, 97, 8)
stored = [theory.convolution_matrix(np.ones((3, 3)), (side, side)).nnz for side in sides]
assert stored == [9 * (side - 2) ** 2 for side in sides]
figure, axes = plt.subplots(figsize=(5.5, 3), layout="constrained")
axes.plot(sides, sides**2.0 * (sides - 2) ** 2, color=VERMILION, label="entries of the matrix")
axes.plot(sides, stored, color=BLUE, label="of them not 0")
axes.axhline(9, color="black", linestyle="--", label="of them different: the filter's weights")
axes.set(yscale="log", ylim=(0.01, None), xlabel="side of the image (filter 3 x 3)")
axes.legend(fontsize=9, loc="lower right")
plt.show()

# %% [markdown]
# ## Pooling, and how many parameters there are
#
# d2223's network convolves with one filter, pools the $H' \times W'$ map in windows of $2 \times 2$ to a vector $h$,
# and goes from $h$ to three classes, without biases. Windows that would stick out are left out, on each side by itself:
#
# $$\dim(h) = \Big\lfloor \frac{H'}2 \Big\rfloor \Big\lfloor \frac{W'}2 \Big\rfloor .$$
#
# d2223 rounds the product $H'W'/4$ down instead. The two agree where both sides are even; a map of $5 \times 5$ gives 6
# where 4 is right.

# %%
wrong = 0
print("map      d2223  right  torch")
for size in ((4, 4), (5, 5), (4, 5), (7, 7), (24, 25)):
    by_torch = max_pool2d(torch.zeros(1, *size), 2).numel()
    print(f"{size[0]:2} x {size[1]:<2} {theory.published_pooled_dim(size):7} {theory.pooled_dim(size):6} {by_torch:6}")
    assert theory.pooled_dim(size) == by_torch
for size in np.ndindex(30, 30):
    right = theory.pooled_dim((size[0] + 2, size[1] + 2))
    wrong += theory.published_pooled_dim((size[0] + 2, size[1] + 2)) != right
print(f"wrong for {wrong} of 900 sizes from 2 x 2 to 31 x 31")
assert theory.published_pooled_dim((5, 5)) == 6 and theory.pooled_dim((5, 5)) == 4

# %% [markdown]
# The filter has $MN$ weights, pooling none, and the last layer $3 \dim(h)$: together
#
# $$MN + 3 \dim(h) \quad \text{against} \quad \dim(h) \, HW + 3 \dim(h)$$
#
# if a fully connected layer makes a vector as long out of the image.

# %%
sides = np.arange(8, 65, 4)
counts = []
for side in sides:
    hidden = theory.pooled_dim(theory.output_size((side, side), (3, 3)))
    network = nn.Sequential(
        nn.Conv2d(1, 1, 3, bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(hidden, 3, bias=False)
    )
    assert network(torch.zeros(1, 1, side, side)).shape == (1, 3)
    count = sum(one.numel() for one in network.parameters())
    assert count == theory.convolutional_parameters((3, 3), hidden, 3)
    counts.append((count, theory.connected_parameters((side, side), hidden, 3)))
convolutional, connected = np.array(counts).T

figure, axes = plt.subplots(figsize=(5.5, 3), layout="constrained")
axes.plot(sides, connected, color=VERMILION, label="fully connected")
axes.plot(sides, convolutional, color=BLUE, label="convolution and pooling")
axes.set(yscale="log", xlabel="side of the image", title="weights (filter 3 x 3, three classes)")
axes.legend()
plt.show()
print(f"at 28 x 28: {convolutional[sides == 28][0]} against {connected[sides == 28][0]}")

# %% [markdown]
# ## Self-attention between pixels
#
# Let every pixel be a query, a key and a value of width 1, with projections that are all 1. With $v =
# \operatorname{vec}(x)$ the scores are $v v^\top$, and attention (of scale 1, for $\sqrt 1 = 1$) gives
#
# $$\operatorname{softmax}(v v^\top) \, v .$$
#
# The new value of pixel $i$ is a mean of all values with weights $\propto e^{v_i v_j}$: a bright pixel ($v_i > 0$)
# looks at bright ones, a dark one at dark ones, and 0 at all alike. The places do not matter. Shuffle the pixels, and
# the result is shuffled in the same way; a convolution, whose matrix joins neighbours, would give something else.

# %%
image = torch.tensor(draws.normal(size=(5, 7)))
pixels = image.reshape(1, -1, 1)
attended = theory.pixel_attention(image)
by_torch = scaled_dot_product_attention(pixels, pixels, pixels, scale=1.0).reshape(image.shape)
print(f"largest difference from torch: {(attended - by_torch).abs().max():.1e}")
assert (attended - by_torch).abs().max() < 1e-12

order = torch.randperm(35, generator=torch.Generator().manual_seed(0))
shuffled = theory.pixel_attention(image.flatten()[order].view(5, 7))
assert torch.allclose(shuffled.flatten(), attended.flatten()[order])

# %%
side = 24
u, v = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
disc = torch.tensor(np.where(u**2 + v**2 < 0.4, 1.0, -1.0) + 0.5 * draws.normal(size=(side, side)))
smooth = conv(disc.numpy(), np.full((3, 3), 1 / 9), padding=1)
figure, panels = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
titles = ("image", "attention between pixels", "convolution (mean of 3 x 3)")
for axes, shown, title in zip(panels, (disc, theory.pixel_attention(disc), smooth), titles, strict=True):
    axes.imshow(shown, cmap="gray", vmin=-2, vmax=2)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)
plt.show()

# %% [markdown]
# Attention draws bright pixels towards each other and dark ones too, wherever they stand, and leaves a noisy pixel of
# the wrong brightness on the wrong side. The convolution asks the neighbours.
