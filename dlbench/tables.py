"""Tables on the terminal and in pipes."""

from rich.console import Console
from rich.table import Table

UNLIMITED = 10_000
"""Columns that no table needs; a table takes what it needs of them."""


def print_whole(table: Table) -> None:
    """Print a table as wide as it is and nothing cut; a narrower terminal wraps its lines."""
    Console(width=UNLIMITED, highlight=False, markup=False).print(table)
