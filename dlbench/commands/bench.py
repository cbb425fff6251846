"""``dlbench bench``: measure speed against plain PyTorch loops. A missed target is a finding, no failure."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from dlbench.bench.parts import FULL, PARTS, QUICK
from dlbench.bench.report import Report, describe_machine, is_busy, machine_line
from dlbench.commands import group
from dlbench.errors import DlbenchError
from dlbench.records.files import write_json, write_text
from dlbench.terminal import nearest, say

MIN_WIDTH = 150
"""Columns of the widest table; a narrower terminal wraps its lines."""

app = group("Measure speed against plain PyTorch loops. A missed target is a finding, no failure.")


@app.command()
def bench(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="see in a minute that it works; the figures mean nothing")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="PART", help=f"one of {', '.join(PARTS)}; may be repeated")
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="pairs of windows, decodings, process starts")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write everything there, each pair's ratio included")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the page docs/benchmarks.md there")
    ] = None,
) -> int:
    """Measure speed and memory against plain PyTorch loops, print each part as it is done, write the files asked for.

    A missed target is a finding, no failure; the exit code is 1 only if a measurement broke down.
    """
    if unknown := [name for name in only or () if name not in PARTS]:
        raise typer.BadParameter(f"--only {unknown[0]}: no such part; {nearest(unknown[0], PARTS)}")
    effort = QUICK if quick else FULL
    if pairs:
        effort = replace(effort, pairs=pairs, few=pairs)
    console = Console(highlight=False)
    console.width = max(console.width, MIN_WIDTH)
    report = Report(quick, describe_machine())
    console.print(machine_line(report.machine), markup=False)
    if is_busy(report.machine):
        say("other processes are computing on this machine; the figures are not to be trusted")
    try:
        for name in (name for name in PARTS if name in (only or PARTS)):
            try:
                report.parts[name] = PARTS[name](effort)
                console.print(Markdown(report.parts[name].markdown()))
            except DlbenchError as error:
                report.failures[name] = str(error)
                say(f"{name}: {error}")
    except KeyboardInterrupt:
        say("interrupted; no file is written")
        return 130
    if json:
        write_json(json, report.as_json())
    if markdown:
        write_text(markdown, report.markdown())
    return int(bool(report.failures))
