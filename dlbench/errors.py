"""Errors and notices meant for people: one line that names the thing and the remedy."""


class DlbenchError(Exception):
    """A problem the user can solve; its message is one line that says how."""


class ConfigError(DlbenchError):
    """A configuration key, value or combination that cannot be run."""


class DataError(DlbenchError):
    """Data that is missing, altered, or cannot be read."""


class SweepError(DlbenchError):
    """Runs of a sweep failed; the others are done."""


class RecordError(DlbenchError):
    """A record that is missing, corrupt, or cannot be written."""


class DataNotice(UserWarning):
    """A run says it in one line."""


class SyntheticDataNotice(DataNotice):
    """Real data is not there; generated stand-ins are used."""


class OddDataNotice(DataNotice):
    """Something in the data looks as if nobody meant it."""
