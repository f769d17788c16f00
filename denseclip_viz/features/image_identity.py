"""What an image is known by: its file, or its pixels."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from denseclip_viz.features.feature_shards import digest
from denseclip_viz.features.manifest import StoredImage
from denseclip_viz.images import ImageLike, describe, read

_NO_ACCESS, _NO_FILE = "cannot be opened", "no file"
UNOPENED = (_NO_ACCESS, _NO_FILE)
"""What stands for the digest of a file whose bytes nobody could look at: it says nothing of a change."""


def identify(image: ImageLike, known: Mapping[str, StoredImage]) -> StoredImage:
    """Tell what an image is known by; a file of known size and time is not read.

    Raises:
        ImageError: an image in memory that cannot be read.
    """
    source = image if isinstance(image, (str, os.PathLike)) else getattr(image, "image", image)
    if not isinstance(source, (str, os.PathLike)):
        upright = read(image)
        pixels = np.asarray(upright)
        return StoredImage(describe(image), "", pixels.nbytes, 0, digest(f"{pixels.shape}".encode() + pixels.tobytes()))
    file = os.path.abspath(os.fspath(source))
    try:
        status = os.stat(file)
        plain = StoredImage(describe(image), file, status.st_size, status.st_mtime_ns, "")
        before = known.get(file)
        if before and (before.size, before.mtime) == (plain.size, plain.mtime):
            return plain._replace(digest=before.digest)
        return plain._replace(digest=digest(Path(file).read_bytes()) if stat.S_ISREG(status.st_mode) else _NO_FILE)
    except (OSError, ValueError):
        return StoredImage(describe(image), file, 0, 0, _NO_ACCESS)
