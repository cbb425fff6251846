"""``python -m dlbench``: the Hydra entry point. Torch is imported only when a run starts."""

import hydra
from omegaconf import DictConfig

from dlbench import paths
from dlbench.cli import one_line_errors


@hydra.main(version_base="1.3", config_path=str(paths.conf()), config_name="config")
def compose_and_run(config: DictConfig) -> None:
    """Compose the configuration from the command line and make the run."""
    from dlbench.run import run, show

    # Here too, not only around Hydra: Hydra would add lines of its own to an error that passes through it.
    with one_line_errors():
        show(run(config))


def main() -> None:
    """Run, and turn foreseeable errors into one line."""
    with one_line_errors():
        compose_and_run()


if __name__ == "__main__":
    main()
