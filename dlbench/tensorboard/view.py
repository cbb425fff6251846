"""Every run under a readable name, in a folder for TensorBoard that follows the records."""

import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from dlbench.errors import RecordError
from dlbench.records.files import read_json
from dlbench.records.labels import evaluation_name, run_name
from dlbench.records.store import Evaluation, Record, State, Store
from dlbench.records.summary import decoding_of
from dlbench.tensorboard import events
from dlbench.terminal import say

EVENT_FILES = "*tfevents*"


class View:
    """A folder of links to the event files of records; where those are gone, as with committed records, copies.

    Args:
        folder: An empty folder of the view's own.
        stores: Folders of records; of records with one identity the earlier store's is shown.
    """

    def __init__(self, folder: Path, stores: Iterable[Store]) -> None:
        self.folder, self.stores = folder, list(stores)
        self._shown: dict[Path, Path | None] = {}
        self._damaged: set[Path] = set()

    def refresh(self) -> int:
        """Show new records and decodings, take away those that are gone or set aside; the number of records shown."""
        records: dict[str, Record] = {}
        for store in self.stores:
            for record in store.all():
                records.setdefault(record.id, record)
        evaluations = {record: record.evaluations() for record in records.values()}
        folders = {record.folder for record in evaluations}
        folders |= {evaluation.folder for found in evaluations.values() for evaluation in found}
        for folder in self._shown.keys() - folders:
            _remove(self._shown.pop(folder))
        for record, found in evaluations.items():
            self._show(record, record.folder, self._record)
            for evaluation in found if record.folder in self._shown else ():
                self._show(record, evaluation.folder, partial(self._decoding, evaluation))
        return sum(record.folder in self._shown for record in evaluations)

    def _show(self, record: Record, folder: Path, show: Callable[[Record], None]) -> None:
        """Show what is in a folder, if it is not shown already."""
        if folder in self._shown or folder in self._damaged:
            return
        try:
            show(record)
        except (RecordError, KeyError, TypeError, AttributeError, ValueError) as error:
            self._damaged.add(folder)
            say(f"record {record.id} left out: {error}")

    def _record(self, record: Record) -> None:
        if not record.manifest.exists():  # it is just being begun
            return
        if record.training.exists():
            record.closed()
        place = self.folder / run_name(read_json(record.manifest), record.settings())
        evaluations = record.evaluations()
        has_events = any(record.tensorboard.glob(EVENT_FILES))
        has_final = (record.tensorboard / events.FINAL).exists()
        needs_final = any(not decoding_of(evaluation) for evaluation in evaluations)
        if has_events and (has_final == needs_final or not evaluations):
            _link(place, record.tensorboard)
        elif evaluations or record.state_on_disk() in (State.FINISHED, State.DIVERGED):
            events.rebuild(record, place)
        else:
            return
        self._shown[record.folder] = place

    def _decoding(self, evaluation: Evaluation, record: Record) -> None:
        place = None
        if how := decoding_of(evaluation):
            result = evaluation.read()
            place = self.folder / evaluation_name(read_json(record.manifest), record.settings(), result, how)
            if (evaluation.folder / events.FINAL).exists():
                _link(place, evaluation.folder)
            else:
                events.write_decoding(record, evaluation, result, place)
        self._shown[evaluation.folder] = place


def _link(place: Path, folder: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(folder.resolve(), target_is_directory=True)


def _remove(place: Path | None) -> None:
    if place is None:
        return
    if place.is_symlink():
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)
