"""What is said when data is not there."""


class EmbeddedDataNotice(UserWarning):
    """Real data is not there; generated stand-ins are used."""
