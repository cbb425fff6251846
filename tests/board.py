"""TensorBoard's own readers, without its server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin

from dlbench.tensorboard.app import CustomScalars, InOrder

STATUSES = (api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING)


def accumulated(folder: Path) -> EventAccumulator:
    """Every event of one run, with repetitions."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}, purge_orphaned_data=False)
    return found.Reload()


def measured(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of an evaluation, but for what a run sets, or is known of the network before its training."""
    return {name: value for name, value in metrics.items() if not name.startswith(("model/", "optimizer/"))}


class Board:
    """The tabs over a folder of runs."""

    def __init__(self, folder: Path) -> None:
        multiplexer = EventMultiplexer()
        multiplexer.AddRunsFromDirectory(str(folder))
        multiplexer.Reload()
        self.provider = MultiplexerDataProvider(multiplexer, str(folder))
        instances: dict[str, Any] = {}
        self.context = TBContext(data_provider=self.provider, plugin_name_to_instance=instances)
        instances["scalars"] = ScalarsPlugin(self.context)
        self.request = RequestContext()

    def runs(self) -> set[str]:
        """The names of the runs."""
        return {run.run_name for run in self.provider.list_runs(self.request, experiment_id="")}

    def hparams(self) -> dict[str, tuple[dict[str, Any], dict[str, float], int]]:
        """For each row of the HParams table: settings, metrics, status."""
        asked = api_pb2.ListSessionGroupsRequest(allowed_statuses=STATUSES, slice_size=10_000)
        rows = {}
        for group in list_session_groups.Handler(self.request, InOrder(self.context), "", asked).run().session_groups:
            (session,) = group.sessions
            settings = {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()}
            metrics = {metric.name.tag: metric.value for metric in session.metric_values}
            rows[group.name] = settings, metrics, session.status
        return rows

    def columns(self) -> tuple[list[str], list[str]]:
        """The HParams table's columns in order: settings, metrics."""
        found = get_experiment.Handler(self.request, InOrder(self.context), "", api_pb2.GetExperimentRequest()).run()
        return [info.name for info in found.hparam_infos], [info.name.tag for info in found.metric_infos]

    def charts(self) -> CustomScalars:
        """The Custom Scalars tab."""
        return CustomScalars(self.context)
