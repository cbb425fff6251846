"""Which code a record's numbers are known to come out of: that which made it, and that which gave the same bits since.

An edit of the scientific source makes a record stale. Training its first epochs again with the edited source and
finding every bit of the curves equal (``python -m dlbench.records verify ID --epochs 2``) confirms it.
"""

from typing import Any

from dlbench.errors import RecordError
from dlbench.records.files import read_json, write_json
from dlbench.records.store import Record


def confirmations(record: Record) -> list[dict[str, Any]]:
    """What was confirmed, oldest first: each with its ``source`` and how many ``epochs`` were trained again.

    Raises:
        RecordError: ``confirmations.json`` is damaged.
    """
    if not record.confirmations.exists():
        return []
    try:
        found: list[dict[str, Any]] = read_json(record.confirmations)["confirmations"]
        return [{**confirmation, "source": confirmation["source"]} for confirmation in found]
    except (KeyError, TypeError) as error:
        raise RecordError(f"{record.confirmations}: damaged; delete it and verify the record again") from error


def confirm(record: Record, **confirmation: Any) -> None:
    """Add one confirmation; an earlier one of the same source gives way."""
    others = [other for other in confirmations(record) if other["source"] != confirmation["source"]]
    write_json(record.confirmations, {"confirmations": [*others, confirmation]})


def is_made_by(record: Record, manifest: dict[str, Any], source: str) -> bool:
    """Whether ``source`` made the record, or was seen to give the same bits."""
    return source in (manifest.get("source"), *(confirmation["source"] for confirmation in confirmations(record)))
