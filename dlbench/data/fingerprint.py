"""What data a run was made with, as a hash of the very arrays."""

import hashlib

import numpy as np

from dlbench.data.images import PictureSet


def fingerprint(data: PictureSet) -> str:
    """SHA-256 over every split's images and labels, with names, shapes and types; wherever they were read from."""
    digest = hashlib.sha256()
    for split, pictures in data.splits().items():
        for kind, array in (("images", pictures.images), ("labels", pictures.labels)):
            digest.update(f"{split}/{kind} {array.shape} {array.dtype.str}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
