"""What is said of data that can be used, and is perhaps not what it was meant to be."""


class DataNotice(UserWarning):
    """A run says it in one line."""


class EmbeddedDataNotice(DataNotice):
    """Real data is not there; generated stand-ins are used."""


class OddDataNotice(DataNotice):
    """Something in the data looks as if nobody meant it."""
