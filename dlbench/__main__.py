"""``dlbench``, or ``python -m dlbench``: a run, composed by Hydra, or one of `dlbench.commands`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code. Torch is imported only when a run starts."""
    try:
        from dlbench.environment import interrupting_again

        with interrupting_again():
            return _main(list(sys.argv[1:] if arguments is None else arguments))
    except (KeyboardInterrupt, Exception) as error:
        # While modules are imported; later it is told what becomes of the work.
        from dlbench.environment import requeue
        from dlbench.errors import is_interruption

        if not is_interruption(error):
            raise
        print("; ".join(["dlbench: interrupted", *filter(None, [requeue()])]), file=sys.stderr)
        return 130


def _print(text: str) -> int:
    from dlbench.environment import escape_output, stop_writing

    escape_output()
    try:
        print(text, flush=True)
    except BrokenPipeError:
        return stop_writing()
    except OSError as error:
        print(f"dlbench: cannot write: {error.strerror}; make room or permit it", file=sys.stderr)
        return 1
    return 0


def _main(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        return _print(f"dlbench {version('dlbench')}")
    is_subcommand = bool(words) and words[0][:1] != "-" and words[0].replace("-", "").isalpha()
    is_run = words[:1] == ["run"] or not is_subcommand
    if not words or words[0] == "help" or (is_run and {"-h", "--help"} & {*words}):
        from dlbench.help import text

        return _print(text()) or (0 if words else 2)
    import os
    from pathlib import Path

    # Torch's own code writes remarks on speed to the terminal; what goes wrong it raises.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # As with `python -m`, a user's own classes are found that lie where the command is given.
    if not {"", here := str(Path.cwd())} & {*sys.path}:
        sys.path.append(here)
    from dlbench import commands
    from dlbench.terminal import nearest, say

    if words[0] in commands.NAMES:
        return commands.call(words[0], words[1:])
    if words[0] == "run":
        del words[0]
    elif is_subcommand:
        say(f"{words[0]}: no such subcommand (--help shows all); {nearest(words[0], [*commands.NAMES, 'run'])}")
        return 2
    from dlbench.commands.run import compose_and_run

    return compose_and_run(words)


if __name__ == "__main__":
    sys.exit(main())
