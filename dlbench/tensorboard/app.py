"""``python -m dlbench tensorboard``: runs in TensorBoard under readable names; new ones appear by themselves."""

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard import default, program
from tensorboard.plugin_util import proto_to_json
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
from tensorboard.plugins.scalar import metadata as scalars

from dlbench import paths
from dlbench.environment import raise_file_limit
from dlbench.errors import DlbenchError, RecordError
from dlbench.records import seal
from dlbench.records.files import ODD, problem_of
from dlbench.records.labels import DECODED_BY, evaluation_name, run_name
from dlbench.records.store import Evaluation, Record, State, Store
from dlbench.records.summary import decoding_of, uses
from dlbench.tensorboard import events
from dlbench.terminal import say

REFRESH_SECONDS = 5.0
"""TensorBoard itself looks for new data as often."""
LONGEST_PAUSE = 60.0
MOST = 40
"""TensorBoard draws none of more runs than that before they are ticked one by one."""


def serve(
    runs: Path | None, options: list[str], *, committed: bool = False, only: re.Pattern[str] | None = None
) -> int:
    """Serve the newest runs of a folder, as many as TensorBoard draws unasked.

    Args:
        runs: The folder; None: the usual one, which need not be there yet. The committed runs are shown if it is empty.
        options: Options of TensorBoard's own.
        committed: Show the committed runs as well.
        only: Show all runs in whose names this is found, and no others.

    Raises:
        RecordError: There is no such folder, or nothing to show.
    """
    if runs and not runs.is_dir():
        raise RecordError(f"{runs}: no such folder of runs; name one with --runs FOLDER")
    runs = runs or paths.runs()
    raise_file_limit()  # it holds the events of every run open
    with tempfile.TemporaryDirectory(prefix="dlbench-tensorboard-") as folder:
        stores = [Store(runs)]
        has_own = bool(stores[0].all())
        if committed or not has_own:
            stores.append(Store(paths.experiments() / "results"))
        view = View(Path(folder), stores, only=only, most=None if only else MOST)
        stop = threading.Event()

        def keep_fresh() -> None:
            pause = 0.0
            while not stop.wait(pause):
                began = time.monotonic()
                try:
                    view.refresh(stop)
                except OSError as error:  # a folder that vanished while it was read; the next look finds it gone
                    say(f"cannot read the runs: {error}")
                finally:
                    view.has_begun.set()
                seconds = time.monotonic() - began
                if not pause and not view.is_empty:
                    finished = uses(record for store in view.stores for record in store.all())
                    say(f"finished runs: {', '.join(f'{count} {kind}' for kind, count in finished.items()) or 'none'}")
                    if advice := view.advice():
                        say(advice)
                # To look through ten thousand runs takes seconds.
                pause = min(LONGEST_PAUSE, max(REFRESH_SECONDS, 10 * seconds)) if pause else REFRESH_SECONDS

        thread = threading.Thread(target=keep_fresh, daemon=True)
        thread.start()
        try:
            view.has_begun.wait()
            if view.is_empty:
                raise RecordError(_nothing(runs, stores, only))
            if not has_own:
                say(f"no runs in {runs} yet: committed ones are shown")
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            others = [plugin for plugin in default.get_plugins() if plugin not in (CustomScalarsPlugin, HParamsPlugin)]
            board = program.TensorBoard(plugins=[CustomScalars, HParams, *others])  # the first is the tab it opens on
            # More pictures and tables than the ten that TensorBoard would keep of a tag.
            samples = "--samples_per_plugin=images=100,text=100"
            board.configure(["tensorboard", samples, *options], logdir=folder, window_title="dlbench")
            return int(board.main() != 0)
        except KeyboardInterrupt:
            return 0
        finally:
            stop.set()
            thread.join()


def _nothing(runs: Path, stores: Sequence[Store], only: re.Pattern[str] | None) -> str:
    """Why there is nothing to show, and what to do."""
    if only is None or not any(store.all() for store in stores):
        return f"no runs in {runs}; make one: python -m dlbench +experiment=cnn_bn_gap"
    committed = "" if len(stores) > 1 else "; committed ones are looked through with --committed"
    one = "cnn_bn_gap/lr=0.01 layout=chw seed=42 (529c0c64)"
    return f"--only {only.pattern}: in no run's name; one is {one}{committed}"


class View:
    """Runs under readable names, in a folder for TensorBoard that follows the records.

    It holds links to the event files of records; where those are gone, as with committed records, copies.

    Args:
        folder: An empty folder of the view's own.
        stores: Folders of records; of records with one identity the earlier store's is shown.
        only: Show only runs in whose names this is found.
        most: Show at most so many runs, decodings included: of the first store first, and of each the newest.
    """

    def __init__(
        self, folder: Path, stores: Iterable[Store], *, only: re.Pattern[str] | None = None, most: int | None = None
    ) -> None:
        self.folder, self.stores, self.only, self.most = folder, list(stores), only, most
        self.has_begun = threading.Event()  # as soon as there is a run to show, or there turned out to be none
        self._shown: dict[Path, Path | None] = {}
        self._began: dict[Path, tuple[str, int]] = {}
        self._said: dict[Path, str] = {}
        self._is_cut = False

    @property
    def is_empty(self) -> bool:
        """Whether no run is shown."""
        return not any(self._shown.values())

    def advice(self) -> str:
        """How to see runs that are not shown, or not drawn; empty if every run is."""
        if self._is_cut:
            return f"the newest {self.most} runs are shown, as many as TensorBoard draws unasked; others: --only REGEX"
        if (rows := sum(map(bool, self._shown.values()))) > MOST:
            return f"{rows} runs: above {MOST} TensorBoard draws none until you tick it; fewer: a narrower --only REGEX"
        return ""

    def refresh(self, stop: threading.Event | None = None) -> int:
        """Show new records and decodings, take away those that are gone or set aside; the number of records shown.

        Of each store the newest come first. It ends at once, with 0, when ``stop`` is set.
        """
        records: dict[str, Record] = {}
        for store in self.stores:
            for record in sorted(store.all(), key=self._when, reverse=True):
                records.setdefault(record.id, record)
        # What may be a run in TensorBoard, by folder: each record, then its evaluations.
        candidates: dict[Path, tuple[Record, Evaluation | None]] = {}
        for record in records.values():
            candidates[record.folder] = record, None
            candidates |= {evaluation.folder: (record, evaluation) for evaluation in record.evaluations()}
        self._hide(self._shown.keys() - candidates.keys())
        kept: set[Path] = set()
        rows, self._is_cut = 0, False
        for folder, (record, evaluation) in candidates.items():
            if stop and stop.is_set():
                return 0
            if evaluation and record.folder not in self._shown:
                continue
            if rows == self.most and (not evaluation or decoding_of(evaluation)):
                self._is_cut = True
                break
            self._show(folder, record, evaluation)
            kept.add(folder)
            rows += self._shown.get(folder) is not None
        self._hide(self._shown.keys() - kept)
        return sum(self._shown.get(record.folder) is not None for record in records.values())

    def _hide(self, folders: Iterable[Path]) -> None:
        for folder in list(folders):
            place = self._shown.pop(folder)
            if place and place.is_symlink():
                place.unlink()
            elif place:
                shutil.rmtree(place, ignore_errors=True)

    def _show(self, folder: Path, record: Record, evaluation: Evaluation | None) -> None:
        """Show what is in a folder, if it is not shown already."""
        if folder in self._shown:
            return
        try:
            if evaluation:
                self._decoding(record, evaluation)
            else:
                self._record(record)
            self._said.pop(folder, None)
            if not self.is_empty:
                self.has_begun.set()
        except (DlbenchError, *ODD) as error:
            if self._said.get(folder) != (problem := problem_of(error)):
                self._said[folder] = problem
                say(f"record {record.id} left out: {problem}")

    def _when(self, record: Record) -> str:
        """When a record began; empty where it does not tell."""
        with suppress(DlbenchError, *ODD):
            changed = record.manifest.stat().st_mtime_ns
            if self._began.get(record.folder, ("", 0))[1] != changed:
                self._began[record.folder] = str(record.read_manifest()["started"]), changed
            return self._began[record.folder][0]
        return ""

    def _record(self, record: Record) -> None:
        if not record.manifest.exists() and record.is_locked():  # it is just being begun
            return
        name = run_name(record.read_manifest(), record.settings())
        if self.only and not self.only.search(name):
            self._shown[record.folder] = None
            return
        files = record.look()["files"]
        seal.check(record.folder, files, only=[name for name in files if name.startswith(record.tensorboard.name)])
        place = self.folder / name
        evaluations = record.evaluations()
        has_events = any(record.tensorboard.glob("*tfevents*"))
        has_final = (record.tensorboard / events.FINAL).exists()
        # Read, so that no damaged result is shown, be it in events that were made of it before.
        shared = [evaluation.read() for evaluation in evaluations if not decoding_of(evaluation)]
        if has_events and (has_final == bool(shared) or not evaluations):
            _link(place, record.tensorboard)
        elif evaluations or record.state_on_disk() in (State.FINISHED, State.DIVERGED):
            events.rebuild(record, place)
        else:
            return
        self._shown[record.folder] = place

    def _decoding(self, record: Record, evaluation: Evaluation) -> None:
        result, place = evaluation.read(), None
        if how := decoding_of(evaluation):
            name = evaluation_name(record.read_manifest(), record.settings(), result, how)
            place = self.folder / name
            if self.only and not self.only.search(name):
                place = None
            elif (evaluation.folder / events.FINAL).exists():
                _link(place, evaluation.folder)
            else:
                events.write_decoding(record, evaluation, result, place)
        self._shown[evaluation.folder] = place


def _link(place: Path, folder: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(folder.resolve(), target_is_directory=True)


# --- two of TensorBoard's own tabs, taught what a run is here --------------------------------------------------------
# TensorBoard asks for one more run, or one more tag in each run, to be told how to lay out its tabs. Both would be
# there as clutter in every other tab; so the server tells the tabs instead, and event files hold nothing but data.

FIRST_SETTINGS = (
    *("experiment", "decoding", "model.attention", "optimizer.lr", "data.layout"),
    *("seed", "data", "trainer.precision", "state"),
)
FIRST_METRICS = (
    *("test/accuracy", "val/accuracy", "test/damerau_levenshtein", "test/jaccard", "test/cosine"),
    *("test/retrieval_accuracy", "test/cer", "test/wer", "test/wer_at_3", "test/error_rate_macro"),
    *("val/cer_best", "val/cer", "val/accuracy_best", "val/accuracy_last10_mean"),
    *("train/loss", "test/loss", "val/loss"),
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
    """The Custom Scalars tab: a category an experiment, the newest first, in whose charts all its runs are curves.

    TensorBoard's charts choose curves by tag, whatever their run; here a chart asks for ``TAG in EXPERIMENT``.
    """

    def is_active(self) -> bool:
        """There is always a layout."""
        return True

    def layout_impl(self, ctx: Any, experiment: str) -> Any:
        """The layout, from the runs there are and the curves they have."""
        runs = self._data_provider.list_runs(ctx, experiment_id=experiment)
        newest_first = sorted(runs, key=lambda run: (-(run.start_time or 0), run.run_name))
        tags: dict[str, set[str]] = {_group(run.run_name): set() for run in newest_first}
        curves = self._data_provider.list_scalars(ctx, experiment_id=experiment, plugin_name=scalars.PLUGIN_NAME)
        for run, found in curves.items():
            tags[_group(run)].update(found)
        categories = []
        for group, found in tags.items():
            # before the first epoch nothing is known of its curves
            wanted = {title: tag for title, tag in CHARTS.items() if tag in found or not found}
            charts = [
                Chart(title=title, multiline=MultilineChartContent(tag=[f"{tag}{IN}{group}"]))
                for title, tag in wanted.items()
            ]
            categories.append(Category(title=group, chart=charts))
        return proto_to_json(Layout(category=categories)) if categories else {}

    def scalars_impl(self, ctx: Any, run: str, tag_regex_string: str, experiment: str) -> Any:
        """One run's points for a chart; none where the run is of another experiment, or a decoding: it has no curve."""
        tag, _, group = tag_regex_string.partition(IN)
        is_wanted = group == _group(run) and DECODED_BY not in run
        wanted = f"{re.escape(tag)}$" if is_wanted else "(?!)"  # the latter matches nothing
        return super().scalars_impl(ctx, run, wanted, experiment)


def _group(run: str) -> str:
    return run.partition("/")[0]


def _rank(name: str, first: tuple[str, ...]) -> tuple[int, str]:
    return (first.index(name) if name in first else len(first)), name
