"""The sections of the report, each made from the verdicts and the records."""
