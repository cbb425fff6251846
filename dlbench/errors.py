"""Errors and notices meant for people: one line that names the thing and the remedy."""

import re


class DlbenchError(Exception):
    """A problem the user can solve; its message is one line that says how."""


class ConfigError(DlbenchError):
    """A configuration key, value or combination that cannot be run."""


class DataError(DlbenchError):
    """Data that is missing, altered, or cannot be read."""


class SweepError(DlbenchError):
    """Runs of a sweep failed; the others are done."""


class DeviceError(DlbenchError):
    """The process of one of a training's devices failed; the same command goes on."""


class RecordError(DlbenchError):
    """A record that is missing, corrupt, or cannot be written."""


class DataNotice(UserWarning):
    """A run says it in one line."""


class SyntheticDataNotice(DataNotice):
    """Real data is not there; generated stand-ins are used."""


class OddDataNotice(DataNotice):
    """Something in the data looks as if nobody meant it."""


def is_interruption(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: what it breaks off may raise something of its own."""
    seen: set[int] = set()
    while error and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        if isinstance(error, OSError | DlbenchError):  # which says something of its own
            return False
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ended: Python, torch, the loader of libraries and the system say so each in its own way."""
    words = "can't allocate memory|cannot allocate memory|out of memory|failed to map segment"
    is_said = isinstance(error, RuntimeError | ImportError | OSError) and re.search(words, str(error), re.IGNORECASE)
    return isinstance(error, MemoryError) or bool(is_said)
