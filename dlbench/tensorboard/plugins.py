"""Two of TensorBoard's own tabs, taught what a run is here.

TensorBoard asks for one more run, or for one more tag in each run, to be told how to lay out its tabs. Both would be
there as clutter in every other tab; so the tabs are told by the server instead, and event files hold nothing but data.
"""

import re
from typing import Any

from tensorboard import default
from tensorboard.plugin_util import proto_to_json
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
from tensorboard.plugins.scalar import metadata as scalars

from dlbench.records.labels import DECODED_BY

FIRST_SETTINGS = (
    "experiment",
    "decoding",
    "model.attention",
    "optimizer.lr",
    "data.layout",
    "seed",
    "data",
    "trainer.precision",
    "state",
)
FIRST_METRICS = (
    "test/accuracy",
    "val/accuracy",
    "test/damerau_levenshtein",
    "test/jaccard",
    "test/cosine",
    "test/retrieval_accuracy",
    "test/cer",
    "test/wer",
    "test/wer_at_3",
    "test/error_rate_macro",
    "val/cer_best",
    "val/cer",
    "val/accuracy_best",
    "val/accuracy_last10_mean",
    "train/loss",
    "test/loss",
    "val/loss",
)
"""The first five of each are shown unasked."""

NO_METRICS = ("optimizer/", "time/epoch_seconds")
CHARTS = {
    "validation accuracy": "val/accuracy",
    "validation Damerau-Levenshtein similarity": "val/damerau_levenshtein",
    "validation Jaccard similarity": "val/jaccard",
    "validation cosine similarity": "val/cosine",
    "validation character error rate": "val/cer",
    "share of pictures retrieved": "val/retrieval_accuracy",
    "validation loss": "val/loss",
    "training loss": "train/loss",
}
IN = " in "


class InOrder(Context):
    """The columns of the HParams tab: the most telling first, and no metric that is a setting."""

    def experiment_from_metadata(self, *arguments: Any, **options: Any) -> Any:
        """TensorBoard's own Experiment, put in order; settings in which runs differ come before all others."""
        experiment = super().experiment_from_metadata(*arguments, **options)
        settings = sorted(
            experiment.hparam_infos, key=lambda info: (not info.differs, *_rank(info.name, FIRST_SETTINGS))
        )
        metrics = sorted(experiment.metric_infos, key=lambda info: _rank(info.name.tag, FIRST_METRICS))
        del experiment.hparam_infos[:], experiment.metric_infos[:]
        experiment.hparam_infos.extend(settings)
        experiment.metric_infos.extend(info for info in metrics if not info.name.tag.startswith(NO_METRICS))
        return experiment


class HParams(HParamsPlugin):
    """The HParams tab."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._context = InOrder(context)


class CustomScalars(CustomScalarsPlugin):
    """The Custom Scalars tab: a category an experiment, in whose charts all its runs are curves.

    TensorBoard's charts choose curves by tag, whatever their run; here a chart asks for ``TAG in EXPERIMENT``.
    """

    def is_active(self) -> bool:
        """There is always a layout."""
        return True

    def layout_impl(self, ctx: Any, experiment: str) -> Any:
        """The layout, from the runs there are and the curves they have."""
        runs = self._data_provider.list_runs(ctx, experiment_id=experiment)
        tags: dict[str, set[str]] = {_group(run.run_name): set() for run in runs}
        curves = self._data_provider.list_scalars(ctx, experiment_id=experiment, plugin_name=scalars.PLUGIN_NAME)
        for run, found in curves.items():
            tags[_group(run)].update(found)
        categories = [_category(group, found) for group, found in sorted(tags.items())]
        return proto_to_json(Layout(category=categories)) if categories else {}

    def scalars_impl(self, ctx: Any, run: str, tag_regex_string: str, experiment: str) -> Any:
        """One run's points for a chart; none where the run is of another experiment, or a decoding: it has no curve."""
        tag, _, group = tag_regex_string.partition(IN)
        is_wanted = group == _group(run) and DECODED_BY not in run
        wanted = f"{re.escape(tag)}$" if is_wanted else "(?!)"  # the latter matches nothing
        return super().scalars_impl(ctx, run, wanted, experiment)


def plugins() -> list[Any]:
    """TensorBoard's plugins with ours instead of theirs; the first of them is the tab that is opened."""
    others = [plugin for plugin in default.get_plugins() if plugin not in (CustomScalarsPlugin, HParamsPlugin)]
    return [CustomScalars, HParams, *others]


def _category(group: str, tags: set[str]) -> Any:
    charts = [
        Chart(title=title, multiline=MultilineChartContent(tag=[f"{tag}{IN}{group}"]))
        for title, tag in CHARTS.items()
        if tag in tags or not tags  # before the first epoch nothing is known
    ]
    return Category(title=group, chart=charts)


def _group(run: str) -> str:
    return run.partition("/")[0]


def _rank(name: str, first: tuple[str, ...]) -> tuple[int, str]:
    return (first.index(name) if name in first else len(first)), name
