# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of the records
#
# Every number of ours in the report comes from a *record*: a folder with the settings, the curves and the evaluations
# of one training. This notebook reads the records that come with the repository as pandas frames, asks them a few
# questions, and at the end makes a small record of its own and lets it spell. It needs no data set and no network.
#
# The text is `tour.py`; `make notebooks` executes it and writes `tour.ipynb`.

# %%
import subprocess
import sys
import tempfile
from math import exp
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from dlbench import paths
from dlbench.config import configuration_of
from dlbench.decoding.beam import Beam
from dlbench.decoding.hypotheses import Attended
from dlbench.evaluation.transduction import END
from dlbench.metrics.names import display_name
from dlbench.predict import Network, Speller
from dlbench.records.store import Store
from dlbench.report.command import command
from dlbench.report.figures.style import BLUE, VERMILION
from dlbench.report.frame import curves, frame
from dlbench.report.results import collect
from dlbench.report.schema import load_all
from dlbench.report.statistics import judge_published, mean_interval, permutation_p

RECORDS = paths.experiments() / "results"
plt.rcParams |= {"figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
pd.options.display.precision = 4

# %% [markdown]
# ## What there is
#
# One row is one evaluation of a finished run. A training that is decoded in several ways has several rows, which share
# its `run`. Without a folder, `frame()` takes your own runs too.

# %%
runs = frame(RECORDS)
print(f"{len(runs)} evaluations of {runs.run.nunique()} trainings, {len(runs.columns)} columns")
runs.groupby(["data", "experiment"]).agg(
    configurations=("configuration", "nunique"),
    seeds=("seed", "nunique"),
    minutes=("minutes", "median"),
    fewest_parameters=("model/parameters", "min"),
).round({"minutes": 0}).astype({"minutes": int, "fewest_parameters": "Int64"})

# %% [markdown]
# A Hopfield network has no parameters. `settings` says in words what tells an experiment's configurations apart.
# `configuration` is a hash of everything but the seed: rows with the same one are repetitions of one another, and
# `configuration_of` gives it for any command line.


# %%
def repetitions(experiment: str, *overrides: str) -> pd.DataFrame:
    """The runs of one configuration, by seed."""
    found = runs[(runs.configuration == configuration_of(experiment, overrides)) & (runs.provenance == "verified")]
    return found.set_index("seed").sort_index()


repetitions("p2g_attention")[["run", "settings", "decoding", "val/best_epoch", "test/cer", "test/wer"]]

# %% [markdown]
# ## Learning curves
#
# `curves` gives a row for each run, epoch and metric. The lines are means over the seeds, the bands reach from the
# lowest seed to the highest: on the left two networks on scenes (ten epochs, pixels in their right order), on the right
# two that spell what they hear. How far apart two lines are tells little without the width of the bands.

# %%
log = curves(RECORDS)


def draw(axes: plt.Axes, metric: str, networks: dict[str, pd.DataFrame]) -> None:
    """A line and a band for each network."""
    for (name, repeated), colour, dashes in zip(networks.items(), (BLUE, VERMILION), ("-", "--"), strict=True):
        chosen = log[log.run.isin(repeated.run) & (log.metric == metric)]
        seeds = chosen.groupby("epoch").value.agg(["mean", "min", "max"])
        axes.fill_between(seeds.index, seeds["min"], seeds["max"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(seeds.index, seeds["mean"], dashes, color=colour, label=f"{name} (n={chosen.run.nunique()})")
    axes.set(xlabel="epoch", title=display_name(metric))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()


figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
draw(left, "val/accuracy", {name: repetitions(name, "trainer.epochs=10") for name in ("cnn_bn_gap", "cnn_vanilla")})
draw(right, "val/cer", {name: repetitions(name) for name in ("p2g_attention", "p2g_lstm")})
plt.show()

# %% [markdown]
# ## Does attention help?
#
# Two configurations are compared seed by seed. If the 95% interval of the mean difference leaves 0 out, the difference
# is more than seeds explain. The permutation test asks how often the mean would be as large if the signs of the
# differences were thrown at random; *n* pairs cannot bring its p below 2⁻ⁿ, so with few seeds it is the interval
# that decides.

# %%
compared = pd.concat({name: repetitions(name)["test/cer"] for name in ("p2g_lstm", "p2g_attention")}, axis=1).dropna()
compared["difference"] = compared.p2g_lstm - compared.p2g_attention

low, high = mean_interval(list(compared.difference))
p, smallest = permutation_p(list(compared.difference))
print(f"mean difference {compared.difference.mean():.4f}, 95% interval {low:.4f} to {high:.4f}")
print(f"p = {p:.3f} (smallest possible with {len(compared)} pairs: {smallest:.3f})")
compared

# %% [markdown]
# ## Published values
#
# A published value is one run. It is held against the interval in which one more run of ours is expected with 95%
# probability, mean ± t s √(1 + 1/n). Inside, it counts as reproduced; a single run of ours decides nothing.

# %%
rows = []
for name, report in load_all().items():
    for row in (row for table in report.tables for row in table.rows):
        of = report.configurations[row.of]
        ours = pd.DataFrame() if of.planned else repetitions(of.experiment, *of.overrides)
        for metric in {"test/cer", "test/wer"} & row.published.keys() & {*ours}:
            judged = judge_published(row.published[metric], list(ours[metric].dropna()), metric)
            mean, interval = ours[metric].mean(), judged.interval or (float("nan"),) * 2
            rows.append((name, row.label, metric, row.published[metric], mean, *interval, judged.verdict.word))

headings = ["report", "row", "metric", "published", "ours", "from", "to", "verdict"]
held = pd.DataFrame(rows, columns=headings).sort_values(["metric", "row", "report"], ignore_index=True)
held

# %%
shown = held[held["from"].notna() & (held.metric == "test/cer")].reset_index()
figure, axes = plt.subplots(figsize=(6.5, 0.6 + 0.32 * len(shown)), layout="constrained")
axes.hlines(shown.index, shown["from"], shown["to"], color=BLUE, linewidth=6, alpha=0.35, label="one more run of ours")
axes.plot(shown.ours, shown.index, "|", color=BLUE, markersize=10, label="our mean")
axes.plot(shown.published, shown.index, "D", color=VERMILION, markersize=5, label="published")
axes.set_yticks(shown.index, shown.report + ", " + shown.row)
axes.set(xlabel=display_name("test/cer"))
axes.legend(bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# ## Making a run again
#
# Each evaluation knows the command that makes it, to the bit where the numerics are the same. Of a configuration from
# the first picture:

# %%
results = {result.evaluation.id: result for result in collect([Store(RECORDS)]).results}
for evaluation in repetitions("cnn_bn_gap", "trainer.epochs=10").evaluation:
    print(command(results[evaluation]))

# %% [markdown]
# ## A run of one's own
#
# Without the real data there are invented words, whose spelling is ambiguous as that of real ones is. A few epochs on
# 3,000 of them are enough to see something learnt. What is measured on them is comparable with no report.

# %%
SETTINGS = {
    "data.source": "synthetic",
    "data.synthetic_sizes": "[3000,100,100]",
    "model.size": 64,
    "optimizer.lr": 0.01,
    "trainer.epochs": 8,
    "trainer.device": "cpu",
    "trainer.progress": "none",
    "callbacks": "none",
    "paths.runs": "runs",
}

temporary = tempfile.TemporaryDirectory()
overrides = [f"{key}={value}" for key, value in SETTINGS.items()]
arguments = [sys.executable, "-m", "dlbench", "+experiment=p2g_attention", *overrides]
subprocess.run(arguments, cwd=temporary.name, check=True, stdout=subprocess.DEVNULL)

folder = Path(temporary.name) / "runs"
frame(folder)[["run", "settings", "data", "provenance", "test/cer", "test/wer"]]

# %% [markdown]
# The error rate on words held back, after each epoch:

# %%
curves(folder).query("metric == 'val/cer'").set_index("epoch")[["value"]].T

# %% [markdown]
# The network is asked to spell three words: the three likeliest spellings of each, by a beam of five.

# %%
(record,) = Store(folder).all()
speller = Speller(Network(record))
words = [speller.read(text) for text in ("p l æ k", "f ɹ i m ə l", "s l ɛ k t ə n")]
decoder = Attended(Beam(width=5, nbest=3, max_length=speller.max_length))
spelled = speller.decode(words, decoder, device="cpu")
pd.DataFrame(
    [
        (" ".join(word), "".join(symbols).removesuffix(END), exp(log_prob))
        for word, prediction in zip(words, spelled, strict=True)
        for symbols, log_prob in zip(prediction.hypotheses, prediction.log_probs, strict=True)
    ],
    columns=["heard", "spelled", "probability"],
)

# %% [markdown]
# Where it looked while it wrote: each row is a letter written, each column a sound heard, and the darker the cell, the
# more attention.

# %%
last = spelled[-1]
figure, axes = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
axes.imshow(last.attention, cmap="Blues", vmin=0, vmax=1, aspect="auto")
axes.set_xticks(range(len(last.pair.source)), last.pair.source)
axes.set_yticks(range(len(last.hypotheses[0])), last.hypotheses[0])
plt.show()
temporary.cleanup()
