"""What a person sees when a run is done: a small table of metrics and the record's folder."""

from rich import box
from rich.console import Console
from rich.table import Table

from dlbench.run import Outcome


def show(outcome: Outcome) -> None:
    """Print the outcome's metrics, what data they are of, and where the record lies."""
    result = outcome.result
    data = result["data"]
    label = "EMBEDDED (drawn) data" if data["source"] == "embedded" else f"{data['name']} ({data['provenance']})"
    table = Table("metric", box=box.SIMPLE_HEAD)
    table.add_column("value", justify="right")
    for name, value in sorted(result["metrics"].items()):
        table.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"\n{result['experiment']} on {label}: {result['state']}")
    console.print(table)
    console.print(f"record: {outcome.record.folder}")
