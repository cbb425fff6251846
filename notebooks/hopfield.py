# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Modern Hopfield networks
#
# A network that stores patterns as the low places of an energy, finds them again by going downhill, and turns out to be
# attention (Ramsauer et al. 2021, *Hopfield Networks is All You Need*). Two of the reports, a2425 and b2425, derive
# this on paper. Here every step is derived once more, and the cell below it checks it with numbers. The functions come
# from `dlbench.theory.hopfield` and `dlbench.theory.classical_hopfield`.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.autograd.functional import hessian, jacobian
from torch.nn.functional import normalize, scaled_dot_product_attention

from dlbench.report.figures.style import BLUE, GREEN, PURPLE, VERMILION
from dlbench.seeding import generator
from dlbench.theory import classical_hopfield, hopfield

plt.rcParams |= {"figure.dpi": 70, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
torch.set_num_threads(1)


def normal(*shape: int, purpose: str) -> torch.Tensor:
    """Standard normal draws in float64, the same every time."""
    return torch.randn(*shape, generator=generator(0, purpose), dtype=torch.float64)


# %% [markdown]
# ## The energy and its two parts
#
# Let the rows of $X \in \mathbb{R}^{N \times D}$ be $N$ patterns $x_i$, and $M = \max_i \lVert x_i \rVert$. For a state
# $q \in \mathbb{R}^D$ and an inverse temperature $\beta > 0$,
#
# $$E(q) = \underbrace{\tfrac12 q^\top q + \tfrac1\beta \log N + \tfrac12 M^2}_{E_1(q)}
# \; \underbrace{- \operatorname{lse}(\beta, Xq)}_{E_2(q)}, \qquad
# \operatorname{lse}(\beta, z) = \tfrac1\beta \log \sum_{i=1}^N e^{\beta z_i}.$$
#
# The soft maximum $\operatorname{lse}$ rewards likeness to *some* pattern, $q^\top q / 2$ keeps the state from running
# away, and the two constants put the lowest possible value at 0, as we shall see.

# %%
N, D, beta = 12, 5, 1.7
X, q = normal(N, D, purpose="patterns"), normal(D, purpose="state")
M = X.norm(dim=1).max()

by_hand = q @ q / 2 + math.log(N) / beta + M**2 / 2 - (beta * X @ q).exp().sum().log() / beta
assert torch.isclose(hopfield.energy(X, q, beta), by_hand, rtol=1e-12)
parts = hopfield.convex_energy(X, q, beta) + hopfield.concave_energy(X, q, beta)
assert torch.isclose(parts, by_hand, rtol=1e-12)
print(f"E = {by_hand:.6f}")

# %% [markdown]
# ## Gradients
#
# The constants vanish, so $\nabla E_1(q) = q$. For the other part, with $p = \operatorname{softmax}(\beta X q)$,
#
# $$\nabla E_2(q) = -\frac1\beta \frac{\sum_i e^{\beta x_i^\top q} \, \beta x_i}{\sum_i e^{\beta x_i^\top q}}
# = -\sum_i p_i x_i = -X^\top p, \qquad \nabla E(q) = q - X^\top p.$$

# %%
p = hopfield.association(X, q, beta)
for energy, closed_form in (
    (hopfield.convex_energy, q),
    (hopfield.concave_energy, -X.T @ p),
    (hopfield.energy, hopfield.gradient(X, q, beta)),
):
    derived = jacobian(lambda state, energy=energy: energy(X, state, beta), q)
    print(f"{energy.__name__}: largest difference from autograd {(derived - closed_form).abs().max():.1e}")
    assert (derived - closed_form).abs().max() < 1e-10

# %% [markdown]
# ## Hessians: one part is convex, the other concave
#
# $H(E_1) = I$, positive definite: $E_1$ is convex. (a2425 writes $H(-E_1) = I$. That is a slip of the sign: it is
# $-I$.)
#
# For the other part, $\partial p_i / \partial q = \beta p_i (x_i - X^\top p)$, from which
#
# $$H(-E_2) = \sum_i x_i \frac{\partial p_i}{\partial q}^{\!\top}
# = \beta \, X^\top \big( \operatorname{diag}(p) - p p^\top \big) X.$$
#
# Take any $v$. With $y_i = x_i^\top v$,
#
# $$v^\top H(-E_2) \, v = \beta \Big( \sum_i p_i y_i^2 - \big(\sum_i p_i y_i\big)^2 \Big)
# = \beta \operatorname{Var}_p(y) \ge 0,$$
#
# the variance of $y$ if pattern $i$ is drawn with probability $p_i$. So $-E_2$ is convex and $E_2$ concave, everywhere.

# %%
identity = torch.eye(D, dtype=torch.float64)
assert torch.allclose(hessian(lambda s: hopfield.convex_energy(X, s, beta), q), identity)
assert torch.allclose(hessian(lambda s: -hopfield.convex_energy(X, s, beta), q), -identity)  # not I, as a2425 has it

H = beta * X.T @ (p.diag() - p.outer(p)) @ X
assert (hessian(lambda s: -hopfield.concave_energy(X, s, beta), q) - H).abs().max() < 1e-10
assert (hopfield.jacobian(X, q, beta) - H).abs().max() < 1e-10

states = 3 * normal(5000, D, purpose="many states")
smallest = torch.linalg.eigvalsh(hopfield.jacobian(X, states, beta)).amin()
print(f"smallest eigenvalue at {len(states)} random states: {smallest:.1e}")
assert smallest > -1e-12

# %% [markdown]
# ## The update: the convex-concave procedure
#
# A concave function lies below each of its tangents. So at any state $q_t$ and for all $q$,
#
# $$E(q) \le S_t(q) := E_1(q) + E_2(q_t) + \nabla E_2(q_t)^\top (q - q_t), \qquad S_t(q_t) = E(q_t).$$
#
# The convex-concave procedure (Yuille and Rangarajan 2003) goes to the minimum of $S_t$, where
# $\nabla E_1(q_{t+1}) = -\nabla E_2(q_t)$:
#
# $$\boxed{\; q_{t+1} = X^\top \operatorname{softmax}(\beta X q_t) \;}$$
#
# $S_t$ is a quadratic with Hessian $I$, so from its minimum it rises by exactly half the squared distance. Therefore
#
# $$E(q_{t+1}) \le S_t(q_{t+1}) = S_t(q_t) - \tfrac12 \lVert q_{t+1} - q_t \rVert^2
# = E(q_t) - \tfrac12 \lVert q_{t+1} - q_t \rVert^2 .$$
#
# The energy never rises; and as it cannot fall for ever (next section), the steps become as short as one likes.

# %%
path = hopfield.trajectory(X, states[:500], beta, steps=40)
energies = hopfield.energy(X, path, beta)
falls, lengths = -energies.diff(dim=0), path.diff(dim=0).norm(dim=-1)
print(f"least fall, less half the squared step: {(falls - lengths**2 / 2).min():.1e}")
assert (falls >= lengths**2 / 2 - 1e-12).all()
assert torch.allclose(path[1] - path[0], -hopfield.gradient(X, path[0], beta))  # step size 1

# %% [markdown]
# ## Bounds of the energy
#
# The soft maximum of $N$ numbers exceeds their largest by $\log N / \beta$ at most, and no pattern is longer than $M$:
# $\operatorname{lse}(\beta, Xq) \le \max_i x_i^\top q + \log N / \beta \le M \lVert q \rVert + \log N / \beta$. So
#
# $$E(q) \ge \tfrac12 \lVert q \rVert^2 - M \lVert q \rVert + \tfrac12 M^2 = \tfrac12 (\lVert q \rVert - M)^2 \ge 0.$$
#
# From the other side, the logarithm is concave (Jensen), so $\operatorname{lse}(\beta, Xq) \ge \bar x^\top q + \log N /
# \beta$ for the mean pattern $\bar x$, and $\bar x^\top q \ge -M \lVert q \rVert$:
#
# $$E(q) \le \tfrac12 (\lVert q \rVert + M)^2 \le 2 M^2 \quad \text{where } \lVert q \rVert \le M .$$
#
# After one update every state lies in the hull of the patterns, and there $0 \le E \le 2 M^2$.

# %%
lengths, energies = states.norm(dim=1), hopfield.energy(X, states, beta)
assert (energies >= (lengths - M) ** 2 / 2).all() and (energies <= (lengths + M) ** 2 / 2).all()
inside = hopfield.energy(X, hopfield.update(X, states, beta), beta)
print(f"in the hull: {inside.min():.3f} to {inside.max():.3f}; 2 M^2 = {2 * M**2:.3f}")
assert (inside >= 0).all() and (inside <= 2 * M**2).all()

# %% [markdown]
# ## The update is attention
#
# Put $Q$ queries as the rows of a matrix. One update of all of them is $\operatorname{softmax}(\beta Q X^\top) X$: with
# $\beta = 1/\sqrt D$ exactly scaled dot-product attention with one head, identity projections, and the patterns for
# both keys and values. Papers on Hopfield networks write states as columns; theirs is $X^\top
# \operatorname{softmax}(\beta X Q^\top)$, with the softmax down the columns: the same, transposed.

# %%
queries = normal(7, D, purpose="queries")
attended = scaled_dot_product_attention(queries[None], X[None], X[None])[0]
rows = hopfield.update(X, queries, 1 / math.sqrt(D))
columns = X.T @ (X @ queries.T / math.sqrt(D)).softmax(dim=0)
one = hopfield.update(X, queries[0], 1 / math.sqrt(D))
print(f"largest difference from torch: {(rows - attended).abs().max():.1e}")
assert (rows - attended).abs().max() < 1e-12
assert (columns - attended.T).abs().max() < 1e-12
assert (one - attended[0]).abs().max() < 1e-12

# %% [markdown]
# ## The landscape
#
# Four patterns in the plane (diamonds), the energy as shades and lines, and what becomes of 40 states (lines with a dot
# where they end). A small $\beta$ leaves one low place, near the mean of all patterns; a middling one has a low place
# between the two patterns that are close together, a *metastable* state; a large one has a low place at each pattern.

# %%
patterns = torch.tensor([[1.0, 0.9], [1.3, 0.2], [-1.1, 0.6], [-0.2, -1.2]], dtype=torch.float64)
starts = 1.9 * (2 * torch.rand(40, 2, generator=generator(0, "starts"), dtype=torch.float64) - 1)
grid = torch.linspace(-2, 2, 121, dtype=torch.float64)
points = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), dim=-1)

figure, panels = plt.subplots(1, 3, figsize=(10, 3.5), layout="constrained", sharey=True)
ends = []
for axes, b in zip(panels, (0.5, 5, 40), strict=True):
    levels = hopfield.energy(patterns, points, b)
    axes.contourf(grid, grid, levels, levels=24, cmap="Blues_r", alpha=0.7)
    axes.contour(grid, grid, levels, levels=24, colors="white", linewidths=0.4)
    tracks = hopfield.trajectory(patterns, starts, b, steps=60)
    axes.plot(tracks[..., 0], tracks[..., 1], color=VERMILION, linewidth=0.7)
    axes.plot(*tracks[-1].T, "o", color=VERMILION, markersize=4)
    axes.plot(*patterns.T, "D", color="black", markersize=5)
    axes.set(title=f"β = {b}", aspect="equal")
    ends.append(len(torch.unique(tracks[-1].round(decimals=2), dim=0)))
plt.show()
print("places where states end:", ends)
assert ends[0] == 1 and ends[-1] == len(patterns)

# %% [markdown]
# ## How well a pattern is retrieved
#
# How well a pattern can be told from the others is its *separation* $\Delta_i = \min_{j \ne i} (x_i^\top x_i - x_i^\top
# x_j)$. Take a state $q$ at distance $r$ from $x_i$. Another pattern's share is at most
#
# $$\frac{p_j}{p_i} = e^{-\beta (x_i - x_j)^\top q}
# = e^{-\beta (x_i - x_j)^\top x_i \, - \, \beta (x_i - x_j)^\top (q - x_i)} \le e^{-\beta (\Delta_i - 2 M r)} ,$$
#
# so $1 - p_i \le (N-1) \, e^{-\beta (\Delta_i - 2Mr)}$. One update ends at $X^\top p$, and
#
# $$\lVert X^\top p - x_i \rVert = \Big\lVert \sum_{j \ne i} p_j (x_j - x_i) \Big\rVert \le 2M (1 - p_i)
# \le 2 M (N-1) \, e^{-\beta (\Delta_i - 2 M r)} :$$
#
# the error of a single update falls exponentially with the separation.

# %%
stored = hopfield.sphere_patterns(50, 20, 1.0, generator(0, "sphere"))
noise = 0.3 * normalize(normal(50, 20, purpose="noise"), dim=1)
inverse_temperatures = np.geomspace(0.1, 4, 25)
errors, bounds = [], []
for b in inverse_temperatures:
    errors.append((hopfield.update(stored, stored + noise, b) - stored).norm(dim=1))
    bounds.append(hopfield.retrieval_error_bound(stored, b, 0.3))
errors, bounds = torch.stack(errors), torch.stack(bounds)
assert (errors <= bounds + 1e-12).all()

figure, axes = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
axes.plot(inverse_temperatures, errors.median(dim=1).values, color=BLUE, label="measured (median of 50 patterns)")
axes.fill_between(inverse_temperatures, errors.amin(dim=1), errors.amax(dim=1), color=BLUE, alpha=0.2, linewidth=0)
axes.plot(inverse_temperatures, bounds.median(dim=1).values, "--", color=VERMILION, label="bound (median)")
axes.set(yscale="log", xlabel="β", title="distance from the pattern after one update", ylim=(1e-14, 1e4))
axes.legend()
plt.show()

# %% [markdown]
# ## Pictures, half of them hidden
#
# Twenty made-up pictures, each the sum of three waves, all of the same norm. The lower half of the query is grey; noise
# is added. With a small $\beta$ all queries end in the same blur, with a large one in the right picture, after a few
# updates.

# %%
side, count = 24, 20
draws = generator(0, "pictures")
y, x = torch.meshgrid(*[torch.linspace(-1, 1, side, dtype=torch.float64)] * 2, indexing="ij")
frequency = 6 * torch.rand(count, 3, 2, 1, 1, generator=draws, dtype=torch.float64) - 3
phase = 6.3 * torch.rand(count, 3, 1, 1, generator=draws, dtype=torch.float64)
pictures = torch.sin(frequency[:, :, 0] * 2 * x + frequency[:, :, 1] * 2 * y + phase).sum(dim=1).flatten(1)
pictures = side / 2 * normalize(pictures, dim=1)
queries = pictures + 0.2 * torch.randn(pictures.shape, generator=draws, dtype=torch.float64)
queries[:, side * side // 2 :] = 0

found = {b: hopfield.retrieve(pictures, queries, b) for b in (0.001, 0.1)}
right = {b: (torch.cdist(one.states, pictures).argmin(dim=1) == torch.arange(count)) for b, one in found.items()}
for b, one in found.items():
    print(f"β = {b}: {right[b].double().mean():.0%} right after {one.steps.double().mean():.1f} updates on average")
assert right[0.1].all() and found[0.1].converged.all()
assert right[0.001].double().mean() <= 0.1

figure, panels = plt.subplots(4, 6, figsize=(7, 4.9), layout="constrained")
rows = {"stored": pictures, "query": queries} | {f"β = {b}": one.states for b, one in found.items()}
for line, (name, shown) in zip(panels, rows.items(), strict=True):
    line[0].set_ylabel(name)
    for axes, picture in zip(line, shown, strict=False):
        axes.imshow(picture.view(side, side), cmap="gray", vmin=-1, vmax=1)
        axes.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## How many patterns can be stored
#
# A pattern is *stored* if around it there is a ball that the update maps into itself, and in which all states go to one
# fixed point. Let the ball's radius be $r = 1/(\beta N M)$. By the bound above the update maps it into itself if
# $2M(N-1) e^{-\beta\Delta_i + 2/N} \le 1/(\beta N M)$, that is, if
#
# $$\Delta_i \ge \frac{2}{\beta N} + \frac1\beta \log \big( 2 (N-1) N \beta M^2 \big) .$$
#
# Then $1 - p_i \le 1/(2 \beta N M^2)$ in the ball, and since the Jacobian of the update is $\beta$ times a covariance,
# its norm is at most $\beta \sum_j p_j \lVert x_j - x_i \rVert^2 \le 4 \beta M^2 (1 - p_i) \le 2/N$: below 1 for $N >
# 2$ (for two patterns it is $\beta p_1 p_2 \lVert x_1 - x_2 \rVert^2 < 1$). A contraction of a closed ball has exactly
# one fixed point.
#
# Random points of a sphere in $D$ dimensions are nearly orthogonal, so $\Delta_i$ grows as $M^2$ does, while the
# condition asks for a logarithm of $N$ only: $N$ may grow exponentially with $D$. Theorem 3 of the paper puts it so:
# for patterns on a sphere of radius $M = K \sqrt{D-1}$ and a probability of failure $p$, let
#
# $$a = \tfrac{2}{D-1} \big( 1 + \log(2 \beta K^2 p (D-1)) \big), \quad b = \tfrac25 K^2 \beta, \quad
# c = b \,/\, W_0(e^{a + \log b}) ;$$
#
# if $c \ge (2/\sqrt p)^{4/(D-1)}$, at least $\sqrt p \, c^{(D-1)/4}$ patterns can be stored. (The condition says just
# that these are two or more.) The paper's two examples, $c \ge 3.1546$ and $1.3718$:

# %%
for dim, radius, published in ((20, 3, 3.1546), (75, 1, 1.3718)):
    bound = hopfield.storage_bound(dim, beta=1, radius=radius, failure=0.001)
    needed, held = bound.smallest_base, bound.patterns
    print(f"D = {dim}, K = {radius}: c = {bound.base:.5f} ({needed:.4f} needed), {held:.1f} patterns")
    assert bound.holds and math.floor(bound.base * 1e4) / 1e4 == published

bound = hopfield.storage_bound(28, beta=1, radius=3, failure=0.001)
stored = hopfield.sphere_patterns(int(bound.patterns), 28, 3, generator(0, "theorem"))
needed = hopfield.sufficient_separation(len(stored), 1, 3 * math.sqrt(27))
print(f"D = 28, K = 3: {len(stored)} patterns; separation {hopfield.separation(stored).min():.0f}, {needed:.0f} needed")
assert bound.holds and (hopfield.separation(stored) >= needed).all()

# %% [markdown]
# The theorem is a bound from below. Measured, with $\beta = K = 1$: a pattern counts as held if retrieval, started at
# it, comes to a standstill within 100 updates and within a tenth of the pattern's length. The patterns are drawn four
# times; the bands reach from the smallest to the largest of the four. On the right, whose axis is logarithmic, a
# straight line is exponential growth.

# %%
counts = 2 ** np.arange(2, 15)
dims, seeds = (9, 12, 15, 18), range(4)
kept = np.zeros((len(dims), len(seeds), len(counts)))
for row, dim in enumerate(dims):
    for seed in seeds:
        for column, n in enumerate(counts.tolist()):
            many = hopfield.sphere_patterns(n, dim, 1.0, generator(seed, "capacity", dim, n))
            found = hopfield.retrieve(many, many[:32], 1.0)
            near = (found.states - many[:32]).norm(dim=1) < 0.1 * math.sqrt(dim - 1)
            kept[row, seed, column] = (near & found.converged).double().mean()
            if not kept[row, seed, column]:  # nor are any of more patterns
                break
assert (kept[..., 0] > 0.5).all() and (kept[..., -1] < 0.5).all()  # one half is crossed within the counts

falling = np.minimum.accumulate(kept, axis=-1)
half = np.array([[np.exp(np.interp(-0.5, -one, np.log(counts))) for one in lines] for lines in falling])
middle = np.exp(np.log(half).mean(axis=1))
slope = np.polyfit(dims, np.log(middle), 1)[0]
print("patterns at which half are lost:", dict(zip(dims, np.round(middle).astype(int).tolist(), strict=True)))
print(f"one dimension more holds {math.exp(slope):.2f} times as many")
assert slope > 0.2

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for lines, dim, shade in zip(kept, dims, np.linspace(0.4, 1, len(dims)), strict=True):
    colour = plt.get_cmap("Blues")(shade)
    left.plot(counts, lines.mean(axis=0), color=colour, label=f"D = {dim}")
    left.fill_between(counts, lines.min(axis=0), lines.max(axis=0), color=colour, alpha=0.2, linewidth=0)
left.set(xscale="log", xlabel="patterns stored", title="share of patterns held")
left.legend(bbox_to_anchor=(1, 1))
right.plot(dims, middle, "o-", color=BLUE)
right.fill_between(dims, half.min(axis=1), half.max(axis=1), color=BLUE, alpha=0.2, linewidth=0)
right.set(yscale="log", xlabel="D", xticks=dims, title="patterns at which half are lost")
plt.show()

# %% [markdown]
# ## The classical network, and where it collapses
#
# Hopfield's network of 1982 has $D$ neurons with two states, stores sign patterns in $W = X^\top X$ with a diagonal of
# zeros, and lets one neuron after the other take the sign of its field $Ws$. A neuron's turn changes $-\tfrac12 s^\top
# W s$ by $-2 \lvert (Ws)_i \rvert$ or not at all, so that it, too, never goes uphill.
#
# What disturbs it is the noise that all other patterns put on each field, whose variance is the load $\alpha = N/D$ and
# more. Amit, Gutfreund and Sompolinsky (1985) solved the model for $D \to \infty$. At temperature zero their equations
# for the overlap $m$ with the pattern come down to one in $y$, with $m = \operatorname{erf}(y)$:
#
# $$y \left( \sqrt{2\alpha} + \tfrac{2}{\sqrt\pi} e^{-y^2} \right) = \operatorname{erf}(y)
# \quad\Longleftrightarrow\quad
# \alpha(y) = \tfrac12 \left( \frac{\operatorname{erf}(y)}{y} - \frac{2}{\sqrt\pi} e^{-y^2} \right)^{2} .$$
#
# A solution other than 0 exists as long as $\alpha \le \max_y \alpha(y)$, the critical load.

# %%
critical, overlap = classical_hopfield.critical_load()
print(f"critical load {critical:.6f}, where an overlap of {overlap:.4f} is left")
assert abs(critical - 0.1379) < 1e-4

signs = (2 * torch.randint(0, 2, (20, 200), generator=generator(0, "signs")) - 1).double()
W = classical_hopfield.weights(signs)
state = signs[:1].clone()
state[:, :60] *= -1
sweeps = [state]
for _ in range(4):
    sweeps.append(classical_hopfield.asynchronous_update(W, sweeps[-1]))
energies = classical_hopfield.energy(W, torch.cat(sweeps))
assert (energies.diff() <= 0).all()

loads = np.array([0.05, 0.08, 0.1, 0.12, 0.13, 0.14, 0.15, 0.16, 0.18, 0.22])
measured = {
    dim: classical_hopfield.overlap_after_retrieval(loads, dim, range(seeds), probes=16)
    for dim, seeds in ((100, 6), (300, 4), (600, 2))
}

# %% [markdown]
# Started at the pattern itself, what is left of it after retrieval: the more neurons, the steeper the fall, towards the
# jump at 0.138.

# %%
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
for (dim, overlaps), colour in zip(measured.items(), (GREEN, PURPLE, BLUE), strict=True):
    axes.plot(loads, overlaps.mean(dim=0), "o-", color=colour, label=f"D = {dim}", markersize=4)
    axes.fill_between(loads, overlaps.amin(dim=0), overlaps.amax(dim=0), color=colour, alpha=0.15, linewidth=0)
fine = np.linspace(0.05, critical, 100)
axes.plot(fine, [classical_hopfield.mean_field_overlap(one) for one in fine], color="black", label="D → ∞")
axes.vlines(critical, 0, overlap, color="black", linestyle="--", linewidth=1)
axes.set(xlabel="patterns per neuron", ylim=(0, 1.03), title="overlap with the pattern after retrieval")
axes.legend(loc="lower left")
plt.show()
largest = measured[600].mean(dim=0)
assert largest[loads <= 0.1].min() > 0.97 and largest[loads >= 0.18].max() < 0.7
