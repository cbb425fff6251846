"""Ten stroke-drawn glyphs."""

from collections.abc import Sequence

from dlbench.data.pictures import PictureSet


def generate(seed: int = 0, sizes: Sequence[int] = (4000, 500, 1000)) -> PictureSet:
    """To come."""
    raise NotImplementedError
