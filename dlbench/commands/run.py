"""``dlbench +experiment=NAME``: the Hydra entry point of runs and sweeps."""

import hydra
from omegaconf import DictConfig

from dlbench import paths
from dlbench.cli import one_line_errors


@hydra.main(version_base="1.3", config_path=str(paths.conf()), config_name="config")
def _composed(config: DictConfig) -> None:
    from dlbench.run import run, show

    # Here too, not only around Hydra: Hydra would add lines of its own to an error that passes through it.
    with one_line_errors():
        show(run(config))


def compose_and_run() -> int:
    """Compose the configuration that the command line describes, and make the run; foreseeable errors are one line."""
    with one_line_errors():
        _composed()
    return 0
