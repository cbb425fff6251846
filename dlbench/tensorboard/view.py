"""Every run under a readable name, in a folder for TensorBoard that follows the records."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from dlbench.errors import RecordError
from dlbench.messages import say
from dlbench.records.files import read_json
from dlbench.records.labels import run_name
from dlbench.records.store import Record, State, Store
from dlbench.tensorboard import events

EVENT_FILES = "*tfevents*"


class View:
    """A folder of links to the event files of records; where those are gone, as with committed records, copies.

    Args:
        folder: An empty folder of the view's own.
        stores: Folders of records; of records with one identity the earlier store's is shown.
    """

    def __init__(self, folder: Path, stores: Iterable[Store]) -> None:
        self.folder, self.stores = folder, list(stores)
        self._shown: dict[Path, Path] = {}
        self._damaged: set[Path] = set()

    def refresh(self) -> int:
        """Show new records, take away those that are gone or set aside; the number of runs shown."""
        records: dict[str, Record] = {}
        for store in self.stores:
            for record in store.all():
                records.setdefault(record.id, record)
        folders = {record.folder for record in records.values()}
        for folder in self._shown.keys() - folders:
            _remove(self._shown.pop(folder))
        for record in records.values():
            if record.folder not in self._shown | dict.fromkeys(self._damaged):
                self._show(record)
        return len(self._shown)

    def _show(self, record: Record) -> None:
        try:
            if not record.manifest.exists():  # it is just being begun
                return
            place = self.folder / run_name(read_json(record.manifest))
            has_events = any(record.tensorboard.glob(EVENT_FILES))
            is_evaluated = bool(record.evaluations())
            if has_events and ((record.tensorboard / events.FINAL).exists() or not is_evaluated):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(record.tensorboard.resolve(), target_is_directory=True)
            elif is_evaluated or record.state_on_disk() in (State.FINISHED, State.DIVERGED):
                events.rebuild(record, place)
            else:
                return
        except (RecordError, KeyError, TypeError, AttributeError, ValueError) as error:
            self._damaged.add(record.folder)
            say(f"record {record.id} left out: {error}")
        else:
            self._shown[record.folder] = place


def _remove(place: Path) -> None:
    if place.is_symlink():
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)
