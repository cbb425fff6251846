# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Linear attention
#
# Softmax attention costs $O(L^2 D)$. If the exponential is cut off after a few terms of its Taylor series, the cost
# becomes linear in the length $L$. e2324 derives this on paper, with some slips. Here every step is derived once more,
# and the cell below it checks it with numbers. The functions come from `dlbench.theory.linear_attention` and
# `dlbench.theory.attention_cost`.
#
# The times in the last section are measured where the notebook is executed, so they are not the same twice.

# %%
import math
from time import process_time

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn.functional import scaled_dot_product_attention

from dlbench.report.figures.style import BLUE, GREEN, PURPLE, VERMILION
from dlbench.seeding import generator
from dlbench.theory import attention_cost, linear_attention

plt.rcParams |= {"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
torch.set_num_threads(1)


def normal(*shape: int, purpose: str) -> torch.Tensor:
    """Standard normal draws in float64, the same every time."""
    return torch.randn(*shape, generator=generator(0, purpose), dtype=torch.float64)


# %% [markdown]
# ## Softmax attention, and what stands in the way
#
# Queries $q_i$ and keys $k_j$ of width $D$, values $v_j$, a scale $s$ (mostly $1/\sqrt D$):
#
# $$o_i = \frac{\sum_j e^{s\, q_i^\top k_j} v_j}{\sum_j e^{s\, q_i^\top k_j}} .$$
#
# Each of $L^2$ pairs has a weight of its own, for the exponential ties $q_i$ and $k_j$ together. If the weight were a
# product $\varphi(q_i)^\top \varphi(k_j)$ of *features*, the sums over $j$ would not depend on $i$ any more:
#
# $$o_i = \frac{\varphi(q_i)^\top \sum_j \varphi(k_j) v_j^\top}{\varphi(q_i)^\top \sum_j \varphi(k_j)} .$$
#
# Both sums are taken once for all queries. With $M$ features that is $O(L M D)$ (Katharopoulos et al. 2020).

# %% [markdown]
# ## Features from the Taylor series
#
# The first $K$ terms of the series of the exponential are $T_K(t) = \sum_{n=0}^{K-1} t^n / n!$. By the multinomial
# theorem
#
# $$\frac{(q^\top k)^n}{n!} = \frac1{n!} \Big( \sum_d q_d k_d \Big)^n
# = \sum_{a_1 + \dots + a_D = n} \frac{1}{a_1! \cdots a_D!} \prod_d (q_d k_d)^{a_d}
# = \sum_{|a| = n} \frac{q^a}{\sqrt{a!}} \, \frac{k^a}{\sqrt{a!}} ,$$
#
# with $q^a = \prod_d q_d^{a_d}$ and $a! = \prod_d a_d!$. So all monomials of a degree below $K$, each over $\sqrt{a!}$,
# are features with $\varphi(q)^\top \varphi(k) = T_K(q^\top k)$, exactly. (The scale goes into both: $\sqrt s\, q$,
# $\sqrt s\, k$.)

# %%
for terms, dim in ((3, 8), (4, 5), (6, 3), (8, 2)):
    queries, keys = normal(2, 50, dim, purpose="features")
    products = linear_attention.features(queries, terms) @ linear_attention.features(keys, terms).T
    t = queries @ keys.T
    series = sum(t**n / math.factorial(n) for n in range(terms))
    print(f"K = {terms}, D = {dim}: largest difference {(products - series).abs().max():.1e}")
    assert (products - series).abs().max() < 1e-10

# %% [markdown]
# ## How many features
#
# Monomials of degree $n$ in $D$ variables: as many as there are ways to put $n$ balls into $D$ boxes,
# $\binom{D+n-1}{n}$. Those of a degree below $K$ are those of degree exactly $K - 1$ in one variable more (the new one
# takes up the rest):
#
# $$M = \sum_{n=0}^{K-1} \frac{(D+n-1)!}{n!\,(D-1)!} = \binom{D+K-1}{K-1}, \qquad
# K = 3: \; M = 1 + D + \frac{D(D+1)}2 = \binom{D+2}2 .$$
#
# e2324 writes $1 + D + D(D-1)/2$ for three terms, which forgets the $D$ squares, and for $K$ terms the closed form $1 +
# D!/(D-1)! = 1 + D$, which is right for $K = 2$ only. It goes on with "$M$ much less than $D$". But $M > D^2/2$.

# %%
table = []
for dim in (2, 8, 16, 64, 128):
    right = linear_attention.feature_dimension(3, dim)
    assert right == linear_attention.features(torch.ones(dim), 3).numel()
    assert right == sum(math.comb(dim + n - 1, n) for n in range(3)) == 1 + dim + dim * (dim + 1) // 2
    assert right - (1 + dim + dim * (dim - 1) // 2) == dim
    assert right > dim**2 / 2
    more = {f"K = {terms}": linear_attention.feature_dimension(terms, dim) for terms in (3, 4, 5)}
    table.append({"D": dim, "e2324, K = 3": 1 + dim + dim * (dim - 1) // 2, "e2324, any K": 1 + dim} | more)
pd.DataFrame(table).set_index("D")

# %% [markdown]
# ## Both forms, equal to the kernel written out
#
# A column of ones beside the values makes the sum of the weights come out of the same product. Memory stays small if
# keys are taken in chunks of $C$ positions: $\varphi$ is held for $C$ keys at a time, and the sums are $M \times (D +
# 1)$.
#
# In the *causal* form query $i$ sees the keys $j \le i$, so the sums grow with $i$. Position by position that would be
# $L$ matrices of $M \times (D+1)$, or a loop of $L$ steps. Chunk by chunk,
#
# $$\sum_{j \le i} T_K(q_i^\top k_j) \, v_j
# = \varphi(q_i)^\top \underbrace{\sum_{j \text{ in earlier chunks}} \varphi(k_j) v_j^\top}_{\text{carried along}}
# + \sum_{\substack{j \le i \\ \text{same chunk}}} T_K(q_i^\top k_j) \, v_j ,$$
#
# where the second sum is a masked $C \times C$ product: $O(L M D + L C D)$ in all.

# %%
queries, keys, values = normal(3, 2, 4, 100, 6, purpose="forms")
for terms in (1, 3, 5):
    for causal in (False, True):
        fast = linear_attention.linear_attention(queries, keys, values, terms, causal=causal, chunk=16)
        slow = linear_attention.quadratic_attention(queries, keys, values, terms, causal=causal)
        exact = scaled_dot_product_attention(queries, keys, values, is_causal=causal)
        apart, error = (fast - slow).abs().max(), (fast - exact).norm() / exact.norm()
        print(f"K = {terms}, causal {causal!s:5}: quadratic form {apart:.1e} apart, softmax attention {error:.1e}")
        assert apart < 1e-10

many = linear_attention.linear_attention(queries[..., :2], keys[..., :2], values, 30, causal=True)
assert torch.allclose(many, scaled_dot_product_attention(queries[..., :2], keys[..., :2], values, is_causal=True))

# %% [markdown]
# ## How good the approximation is
#
# Let $|s\, q^\top k| \le R$. By Lagrange's form of the remainder, $e^t - T_K(t) = e^{\theta t} t^K / K!$ for some $0 <
# \theta < 1$, so each weight is wrong by a share of at most $\varepsilon = R^K e^R / K!$ (the worst is $t = -R$).
# Normalised, a weight $p_j$ is then off by at most $p_j \cdot 2\varepsilon / (1 - \varepsilon)$, and the output by
#
# $$\lVert \hat o_i - o_i \rVert \le \frac{2 \varepsilon}{1 - \varepsilon} \max_j \lVert v_j \rVert .$$
#
# The bound counts on the factorial: the error falls fast once $K$ is well above $R$, and not before. So everything
# hangs on how large the scores become.

# %%
queries, keys, values = torch.nn.functional.normalize(normal(3, 60, 8, purpose="bound"), dim=-1)
for reach in (0.1, 0.5, 1.0, 2.0):
    exact = scaled_dot_product_attention(queries, keys, values, scale=reach)
    for terms in range(1, 12):
        close = linear_attention.quadratic_attention(queries, keys, values, terms, scale=reach)
        assert (close - exact).norm(dim=-1).max() <= linear_attention.error_bound(reach, terms) + 1e-14

number = range(1, 11)
spreads, dims = (0.1, 0.3, 1.0, 2.0), (2, 8, 64)
errors = {
    (spread, dim): [linear_attention.approximation_error(terms, dim, spread, length=128) for terms in number]
    for spread in spreads
    for dim in dims
}
figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for spread, colour in zip(spreads, (GREEN, BLUE, PURPLE, VERMILION), strict=True):
    for dim, dashes in zip(dims, (":", "--", "-"), strict=True):
        label = f"spread of the scores {spread}" if dim == 64 else None
        axes.plot(number, errors[spread, dim], dashes, color=colour, label=label)
axes.set(yscale="log", xlabel="terms K", title="relative error of the output (dotted: D = 2, dashed: 8, solid: 64)")
axes.legend(loc="lower left")
plt.show()
for spread in spreads:
    print(f"three terms, D = 64, scores with a standard deviation of {spread}: {errors[spread, 64][2]:.1%} off")
assert errors[0.1, 64][2] < 0.001 and errors[1.0, 64][2] > 0.3

# %% [markdown]
# Normal queries and keys with $s = 1/\sqrt D$ have scores with a standard deviation of 1. There three terms are a third
# off: e2324's approximation is good for small scores only. At the same spread of the scores a narrow head is worse than
# a wide one, since products of few normal numbers stray further. Without the scale the spread would grow as $\sqrt D$.
#
# ## An odd number of terms keeps the weights positive
#
# A mean needs weights that are not negative. $T_K$ is a polynomial of degree $n = K - 1$, and $T_K' = T_{K-1} = T_K -
# t^n/n!$.
#
# Odd $K$, even $n$: $T_K \to \infty$ on both sides, so it has a minimum, at some $t^*$ with $T_K'(t^*) = 0$, and there
# $T_K(t^*) = T_K'(t^*) + {t^*}^n / n! = {t^*}^n / n! \ge 0$. It is 0 only if $t^* = 0$, but $T_K(0) = 1$. So $T_K > 0$
# on all of $\mathbb{R}$.
#
# Even $K$, odd $n$: the derivative $T_{K-1}$ has an odd number of terms, so it is positive. $T_K$ rises from $-\infty$
# to $\infty$ and has exactly one root, below which the weight is negative.

# %%
points = torch.linspace(-4.2, 1.2, 400, dtype=torch.float64)
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for terms, colour in zip(range(2, 8), (VERMILION, BLUE) * 3, strict=True):
    curve = linear_attention.truncated_exp(points, terms)
    axes.plot(points, curve, "-" if terms % 2 else "--", color=colour, alpha=terms / 7, linewidth=1.2)
    if terms % 2:
        minimum = linear_attention.kernel_minimum(terms)
        assert 0 < minimum <= linear_attention.truncated_exp(torch.linspace(-50, 50, 10**5), terms).min() + 1e-6
        print(f"K = {terms}: at least {minimum:.4f}")
    else:
        root = linear_attention.kernel_root(terms)
        assert linear_attention.truncated_exp(torch.tensor([root - 0.01, root + 0.01]), terms).sign().tolist() == [
            -1,
            1,
        ]
        axes.plot(root, 0, "o", color=colour, markersize=5)
        print(f"K = {terms}: negative below {root:.4f}")
axes.plot(points, points.exp(), color="black", linewidth=1)
axes.axhline(0, color="black", linewidth=0.5)
axes.set(ylim=(-2, 3), xlabel="t", title="exp (black), K = 3, 5, 7 (solid) and 2, 4, 6 (dashed)")
plt.show()

# %% [markdown]
# It is no mere blemish. Take one query 1, the keys $-2$ and $3$ and the values 0 and 1. With $K = 2$ the weights are
# $-1$ and $4$, one more than the keys, and their "mean" is $4/3$, outside of the values. If the weights add up to 0
# there is no mean at all. With an odd number of terms the output is always in the hull of the values.

# %%
query, two_keys = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[-2.0], [3.0]], dtype=torch.float64)
two_values = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
for terms in (2, 3):
    print(f"K = {terms}: {linear_attention.linear_attention(query, two_keys, two_values, terms, scale=1.0).item():.4f}")
assert math.isclose(linear_attention.linear_attention(query, two_keys, two_values, 2, scale=1.0).item(), 4 / 3)

queries, keys, values = normal(3, 300, 4, purpose="hull")
outside = {}
for terms in range(1, 8):
    mixed = linear_attention.linear_attention(queries, keys, values, terms, scale=3.0)
    out = (mixed > values.amax(dim=0)) | (mixed < values.amin(dim=0))
    outside[terms] = int(out.any(dim=1).sum())
print("queries of 300 whose output leaves the values' range, by K:", outside)
assert not any(outside[terms] for terms in (1, 3, 5, 7)) and outside[2] > 0

# %% [markdown]
# ## What it costs, and where it pays
#
# Two products of $L \times L$ with $D$ columns take $4 L^2 D$ floating-point operations; features of queries and keys
# with $D + 1$ columns $4 L M (D + 1)$. They are equal at
#
# $$L = \frac{M (D+1)}{D} > M .$$
#
# So linear attention pays only for sequences longer than $M$, and with three terms that is longer than $D^2/2$: 2,179
# positions for a head of width 64. If $M$ were "much less than $D$", as e2324 has it, it would pay almost always.

# %%
counted = []
for dim in (8, 16, 32, 64, 128):
    length = attention_cost.crossing_by_operations(dim, 3)
    before, after = math.ceil(length) - 1, math.floor(length) + 1
    assert attention_cost.linear_operations(before, dim, 3) > attention_cost.softmax_operations(before, dim)
    assert attention_cost.linear_operations(after, dim, 3) < attention_cost.softmax_operations(after, dim)
    counted.append({"D": dim} | {f"K = {k}": attention_cost.crossing_by_operations(dim, k) for k in (2, 3, 4, 5)})
print("length from which on linear attention takes fewer operations")
pd.DataFrame(counted).set_index("D").round().astype(int)

# %% [markdown]
# Now measured, with three terms: softmax attention as the formula has it, which holds all $L^2$ weights; the fused one
# of torch, which never does (Dao et al. 2022); and linear attention. The memory is that of all tensors a call makes, at
# the worst moment; the scratch that an operation needs within itself is not counted.

# %%
lengths = (64, 128, 256, 512, 1024, 2048, 4096)
dims = (8, 16, 32)
costs = {
    dim: attention_cost.measure(attention_cost.forms(3), lengths, dim, repeats=7, clock=process_time) for dim in dims
}

figure, panels = plt.subplots(2, 3, figsize=(10, 5.4), layout="constrained", sharey="row", sharex=True)
for dim, (above, below) in zip(dims, panels.T, strict=True):
    for (name, measured), colour in zip(costs[dim].items(), (VERMILION, PURPLE, BLUE), strict=True):
        above.plot(lengths, [1e3 * cost.seconds for cost in measured], "o-", color=colour, label=name, markersize=4)
        below.plot(lengths, [cost.peak_bytes / 2**20 for cost in measured], "o-", color=colour, markersize=4)
    for axes in (above, below):
        axes.axvline(attention_cost.crossing_by_operations(dim, 3), color="black", linestyle=":", linewidth=1)
    above.set(xscale="log", yscale="log", title=f"D = {dim}, M = {linear_attention.feature_dimension(3, dim)}")
    below.set(yscale="log", xlabel="length L")
panels[0, 0].set_ylabel("time, ms")
panels[1, 0].set_ylabel("memory, MiB")
panels[0, 0].legend()
plt.show()

# %% [markdown]
# The dotted line is where the operations are equal. Where the curves themselves cross, interpolated between the
# measured lengths (a dash: not up to the longest):

# %%
crossings = []
for dim in dims:
    seconds = {name: [cost.seconds for cost in measured] for name, measured in costs[dim].items()}
    memory = {name: [cost.peak_bytes for cost in measured] for name, measured in costs[dim].items()}
    row = {"D": dim, "by operations": attention_cost.crossing_by_operations(dim, 3)}
    for name in ("softmax", "fused softmax"):
        row[f"time, {name}"] = attention_cost.crossing(lengths, seconds[name], seconds["linear"])
        row[f"memory, {name}"] = attention_cost.crossing(lengths, memory[name], memory["linear"])
    crossings.append(row)
    # Of memory, which is the same everywhere: it is quadratic in one, linear with a small factor in the others.
    assert row["memory, softmax"] is not None and row["memory, fused softmax"] is None
found = pd.DataFrame(crossings).set_index("D").astype(float)
found.map(lambda length: "-" if math.isnan(length) else f"{length:.0f}")

# %% [markdown]
# Against the formula as written, linear attention saves memory soon and time later than the operations promise:
# building the features is no matrix product, moves as many numbers as the products do, and so takes its own time.
# Against the fused form there is no memory to save up to the longest sequence here, as far as it is counted (the fused
# operation's own scratch is not), and time only for longer sequences still, the longer the wider the head.
#
# The causal form has the same operations and the kernel within the chunks besides, most of all where $M$ is small.

# %%
for dim in (8, 32):
    plain, causal = (attention_cost.linear_operations(4096, dim, 3, causal=one) for one in (False, True))
    print(f"D = {dim}: the causal form has {causal / plain:.2f} times the operations")
    exact = attention_cost.softmax_operations(4096, dim)
    assert plain < causal < exact
