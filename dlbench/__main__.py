"""``dlbench``, or ``python -m dlbench``: a run, composed by Hydra, or one of `dlbench.commands`."""

import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code. Torch is imported only when a run starts."""
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # while modules are imported; later it is told what becomes of the work
        from dlbench.environment import requeue

        print("; ".join(["dlbench: interrupted", *filter(None, [requeue()])]), file=sys.stderr)
        return 130


def _main(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        print(f"dlbench {version('dlbench')}")
        return 0
    is_run = words[:1] == ["run"] or not words or not words[0].isalpha()
    if not words or words[0] == "help" or (is_run and {"-h", "--help"} & {*words}):
        from dlbench.environment import escape_output, stop_writing
        from dlbench.help import text

        escape_output()
        try:
            print(text(), flush=True)
        except BrokenPipeError:
            return stop_writing()
        return 0 if words else 2
    # As with `python -m`, a user's own classes are found that lie where the command is given.
    if not {"", here := str(Path.cwd())} & {*sys.path}:
        sys.path.append(here)
    from dlbench import commands
    from dlbench.terminal import nearest, say

    if words[0] in commands.NAMES:
        return commands.call(words[0], words[1:])
    if words[0] == "run":
        del words[0]
    elif words[0].isalpha():
        say(f"{words[0]}: no such subcommand; {nearest(words[0], [*commands.NAMES, 'run'])}")
        return 2
    from dlbench.commands.run import compose_and_run

    return compose_and_run(words)


if __name__ == "__main__":
    sys.exit(main())
