"""Figures as files."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from denseclip_viz.files import FIGURES, atomic_write

SAVED_DPI = 200  # of pixels in a saved figure; paper needs more than a screen


def save(figure: Figure, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write a figure as png, svg or pdf, by the ending; whole or not at all.

    Args:
        figure: What a function of this module returned, or any matplotlib figure.
        path: Where to; its folder must be there.
        force: Replace a file that is there.

    Returns:
        The path.

    Raises:
        OutputError: Another ending, no such folder, or a file that is there already and no `force`.

    Example:
        >>> save(Figure(), "figure.xyz")
        Traceback (most recent call last):
        denseclip_viz.errors.OutputError: figure.xyz ends in '.xyz'. Expected one of .png, .svg, .pdf. ...
    """
    with atomic_write(path, FIGURES, force=force) as part:
        figure.savefig(part, format=Path(path).suffix[1:].lower(), dpi=SAVED_DPI)
    return Path(path)
