"""A segmentation over its picture: colours that colour-blind eyes tell apart, and a legend with shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from denseclip_viz.view.characters import isolated
from denseclip_viz.view.figures.panels import Placement, fade_unseen, placement, seen_mask
from denseclip_viz.view.figures.scales import BEHIND, label_colour
from denseclip_viz.view.figures.selection import require
from denseclip_viz.view.figures.sheet import (
    BODY,
    FAINT,
    GREY,
    INK,
    LINE,
    MARGIN,
    POINTS,
    STAMP,
    TITLE,
    Sheet,
    footer,
    is_random,
    new_sheet,
    place,
    provenance,
    stamp,
    write,
)
from denseclip_viz.view.figures.typesetting import fit
from denseclip_viz.view.fonts import lettering
from denseclip_viz.view.render import Bytes, softened

HEAD, ENTRY, LEGEND = 0.32, 0.23, 2.3  # inches: the title, a line of the legend, its width
LARGEST = (6.4, 4.8)  # inches: of the picture
SHOWN_PIXELS = 1200  # long side; more cannot be seen at this size
OPACITY, EDGE = 0.62, 0.75  # of the colours, and of the white line between two labels
NOTHING = "no label"


def segments(segmentation: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw the labels of a segmentation over its picture.

    Args:
        segmentation: What `Model.segment` returns: `labels` (row, column) with -1 where there is none, the
            names in the coordinate `label`, `picture` and `attrs["background"]`, which is printed.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: labels in colour, background as it is, the unseen part faded; in the legend only what is
        there, with its share of the part that the model saw.

    Raises:
        LayerError: Not a segmentation.

    Example:
        >>> result = xr.Dataset(
        ...     {"labels": (("row", "column"), [[0, -1], [0, -1]])}
        ...     | {"picture": (("row", "column", "rgb"), np.zeros((2, 2, 3), np.uint8))},
        ...     coords={"label": ["car", "sky"], "y": [0, 1], "x": [0, 1]},
        ... )
        >>> [text.get_text() for text in segments(result).texts][1:]
        ['car', '50%', 'no label', '50%']
    """
    require(segmentation, ["labels", "picture"], made_by="model.segment(trace, prompts)")
    names = [str(name) for name in segmentation["label"].to_numpy()]
    rule, made = str(segmentation.attrs.get("background", "")), provenance(segmentation.attrs)
    letters = lettering([*names, rule, made])
    where = placement(segmentation)
    labels = segmentation["labels"].to_numpy()
    shares = shares_of(labels, where)
    size = _picture_size(where)
    rows = max(1, int(max(size[1], 2.0) / ENTRY))
    legends = -(-len(shares) // rows)
    top = MARGIN + STAMP * is_random(segmentation.attrs) + HEAD
    height = top + max(size[1], min(len(shares), rows) * ENTRY) + 0.12 + 2 * LINE + MARGIN / 2
    on = new_sheet(2 * MARGIN + size[0] + legends * LEGEND, height, letters, figure=figure)
    offset = stamp(on, segmentation.attrs)
    write(on, MARGIN, MARGIN + offset, "segments", size=TITLE, weight="bold")
    ax = place(on, MARGIN, top, *size)
    height_px, width_px = where.size
    extent = (-0.5, width_px - 0.5, height_px - 0.5, -0.5)
    ax.imshow(
        _painted(segmentation, where),
        extent=extent,
        aspect="equal",
        interpolation="antialiased",
        origin="upper",
    )
    for i, (index, share) in enumerate(shares.items()):
        column, row = divmod(i, rows)
        left = MARGIN + size[0] + 0.2 + column * LEGEND
        _entry(on, left, top + row * ENTRY, names[index] if index >= 0 else NOTHING, index, share)
    footer(on, height - 2 * LINE - MARGIN / 2, [rule, made])
    return on.figure


def shares_of(labels: npt.NDArray[np.integer], where: Placement) -> dict[int, float]:
    """Count which share of what the model saw each label has, largest first and "no label" (-1) last.

    Args:
        labels: (row, column) over the whole picture.
        where: The placement of the result.

    Returns:
        {index: share in 0..1}, only for what is there.

    Example:
        >>> shares_of(np.array([[0, 0, -1, 3]]), Placement((1, 4), (0, 0, 0, 0), (0, 0, 1, 4)))
        {0: 0.5, 3: 0.25, -1: 0.25}
    """
    seen = labels[seen_mask(labels.shape, where)]
    indices, counts = np.unique(seen, return_counts=True)
    pairs = sorted(zip(indices.tolist(), counts.tolist(), strict=True), key=lambda p: (p[0] < 0, -p[1]))
    return {index: count / seen.size for index, count in pairs}


def _picture_size(where: Placement) -> tuple[float, float]:
    ratio = where.size[1] / where.size[0]
    width = min(LARGEST[0], LARGEST[1] * ratio)
    return width, width / ratio


def _painted(segmentation: xr.Dataset, where: Placement) -> Bytes:
    """Colour what has a label, leave what has none, fade what was not seen, line between neighbours."""
    labels = segmentation["labels"].to_numpy()
    step = -(-max(labels.shape) // SHOWN_PIXELS)
    labels = labels[step // 2 :: step, step // 2 :: step]
    image = Image.fromarray(np.asarray(segmentation["picture"].to_numpy(), dtype=np.uint8))
    picture = np.asarray(image.resize(labels.shape[::-1], Image.Resampling.LANCZOS))
    colours = np.array([label_colour(i) for i in range(segmentation.sizes["label"])]) * 255
    mixed = OPACITY * colours[np.maximum(labels, 0)] + (1 - OPACITY) * softened(picture)
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    painted = np.where((labels >= 0)[..., None], mixed, picture)
    painted[edge] = (1 - EDGE) * painted[edge] + EDGE * 255
    return fade_unseen(np.round(painted).astype(np.uint8), where)


def _mixed(index: int) -> tuple[float, ...]:
    """Give the colour that a label has over a middle grey, as it mostly looks in the picture."""
    return tuple(
        OPACITY * c + (1 - OPACITY) * grey for c, grey in zip(label_colour(index), to_rgb(BEHIND), strict=True)
    )


def _entry(on: Sheet, left: float, top: float, name: str, index: int, share: float) -> None:
    """Write one line of the legend: swatch, name, share."""
    corner = (left / on.width, 1 - (top + 0.115) / on.height)
    swatch = Rectangle(corner, 0.16 / on.width, 0.13 / on.height, transform=on.figure.transFigure)
    swatch.set(facecolor=_mixed(index) if index >= 0 else "white", edgecolor=FAINT, linewidth=0.6)
    on.figure.add_artist(swatch)
    colour = INK if index >= 0 else GREY
    text = fit(name, on.letters, width=(LEGEND - 1.05) * POINTS, size=BODY)[0]
    write(on, left + 0.25, top, isolated(text), size=BODY, colour=colour)
    percent = f"{share:.0%}" if share >= 0.005 else "<1%"
    write(on, left + LEGEND - 0.25, top, percent, size=BODY, colour=GREY, align="right")
