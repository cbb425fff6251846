"""What ``dlbench --help`` says; it imports neither Hydra, whose own help takes seconds, nor torch."""

import textwrap

from dlbench import paths, plugins

USAGE = """\
dlbench: published deep-learning coursework, run again and judged

dlbench +experiment=NAME [KEY=VALUE ...]  one run: trained, resumed or looked up
dlbench -m +experiment=NAME KEY=A,B ...   a sweep; or dlbench +sweep=NAME
dlbench +search=NAME                      a search for the best settings
dlbench experiments                       all experiments and sweeps, explained
dlbench report                            published reports, judged
dlbench new-report ID                     begin one of your own
dlbench records list|show|verify|export|clean
dlbench data list|check|fetch|speak
dlbench predict RUN "k æ t" | picture.jpg | recording.wav
dlbench tensorboard | bench | notebooks | --version

Each has its own --help. `python -m dlbench` is the same as `dlbench`.

Examples
  dlbench +experiment=cnn_bn_gap seed=43 optimizer.lr=0.01
  dlbench -m +experiment=p2g_attention model/attention=bahdanau,bilinear
  dlbench +experiment=cnn_vanilla --cfg job    print every setting, run nothing

What can be chosen: GROUP=NAME
"""
WITH_PLUS = ("experiment", "sweep", "search", "padding", "profile")
"""Groups of which conf/config.yaml chooses none."""


def text() -> str:
    """The whole help, at most 80 columns wide, with every group of configurations; of Hydra's own, the launchers."""
    groups: dict[str, set[str]] = {}
    for root in (paths.conf(), *plugins.folders()):
        for path in root.glob("*/**/*.yaml"):
            group = path.parent.relative_to(root)
            if group.parts[0] != "hydra" or group.name == "launcher":
                groups.setdefault(group.as_posix(), set()).add(path.stem)
    names = [f"+{group}" for group in WITH_PLUS] + sorted(groups.keys() - set(WITH_PLUS))
    width = max(map(len, names)) + 2
    lines = [
        textwrap.fill(
            " ".join(sorted(groups[name.removeprefix("+")])),
            80,
            initial_indent=f"  {name:{width}}",
            subsequent_indent=" " * (width + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name in names
    ]
    return USAGE + "\n".join(lines)
