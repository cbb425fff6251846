"""Where configurations, reports and constraints lie: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def _find(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.exists() else PACKAGE.parent / name


def conf() -> Path:
    """The folder of Hydra's configuration groups."""
    return _find("conf")


def experiments() -> Path:
    """The folder of published reports and committed results."""
    return _find("experiments")


def constraints() -> Path:
    """The file of exact versions."""
    return _find("constraints.txt")


def checkout() -> Path | None:
    """The root of the checkout this package runs from, or None."""
    root = PACKAGE.parent
    return root if (root / ".git").exists() else None
