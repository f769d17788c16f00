"""A segmentation over its image: colours that colour-blind eyes tell apart, and a legend with shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from denseclip_viz.geometry import Placement
from denseclip_viz.plot.characters import isolated
from denseclip_viz.plot.fonts import lettering
from denseclip_viz.plot.panels import fade_unseen, placement, visible_mask
from denseclip_viz.plot.raster import Bytes, softened
from denseclip_viz.plot.scales import BEHIND, label_colour
from denseclip_viz.plot.select import require
from denseclip_viz.plot.sheet import (
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
from denseclip_viz.plot.text import fit, width_of

HEAD, ENTRY, LEGEND = 0.32, 0.23, 2.3  # inches: the title, a line of the legend, its width
LARGEST = (6.4, 4.8)  # inches: of the image
SHOWN_PIXELS = 1200  # long side; more cannot be seen at this size
OPACITY, EDGE = 0.62, 0.75  # of the colours, and of the white line between two labels
NOTHING = "no label"
Colour = tuple[float, float, float]


def segments(segmentation: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw the labels of a segmentation over its image.

    Args:
        segmentation: What `Model.segment` returns: `labels` (row, column) with -1 where there is none, the
            names in the coordinate `label`, `image` and `attrs["background"]`, which is printed.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: labels in colour, background as it is, the unseen part faded; in the legend only what is
        there, with its share of the part that the model saw.

    Raises:
        LayerError: Not a segmentation.

    Example:
        >>> result = xr.Dataset(
        ...     {"labels": (("row", "column"), [[0, -1], [0, -1]])}
        ...     | {"image": (("row", "column", "rgb"), np.zeros((2, 2, 3), np.uint8))},
        ...     coords={"label": ["car", "sky"], "y": [0, 1], "x": [0, 1]},
        ... )
        >>> [text.get_text() for text in segments(result).texts][1:]
        ['car', '50%', 'no label', '50%']
    """
    require(segmentation, ["labels", "image"], made_by="model.segment(trace, prompts)")
    names = [str(name) for name in segmentation["label"].to_numpy()]
    rule, made = str(segmentation.attrs.get("background", "")), provenance(segmentation.attrs)
    letters = lettering([*names, rule, made])
    where = placement(segmentation)
    labels = segmentation["labels"].to_numpy()
    shares = shares_of(labels, where)
    size = _image_size(where)
    rows = max(1, int(max(size[1], 2.0) / ENTRY))
    legends = -(-len(shares) // rows)
    top = MARGIN + STAMP * is_random(segmentation.attrs) + HEAD
    height = top + max(size[1], min(len(shares), rows) * ENTRY) + 0.12 + 2 * LINE + MARGIN / 2
    on = new_sheet(2 * MARGIN + size[0] + legends * LEGEND, height, letters, figure=figure)
    offset = stamp(on, segmentation.attrs)
    write(on, MARGIN, MARGIN + offset, "segments", size=TITLE, weight="bold")
    ax = place(on, MARGIN, top, *size)
    height_px, width_px = where.image
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
        name, colour = (names[index], label_colour(index)) if index >= 0 else (NOTHING, None)
        percent = f"{share:.0%}" if share >= 0.005 else "<1%"
        entry(on, left, top + row * ENTRY, name, colour, percent, width=LEGEND - 0.25)
    footer(on, height - 2 * LINE - MARGIN / 2, [rule, made])
    return on.figure


def shares_of(labels: npt.NDArray[np.integer], where: Placement) -> dict[int, float]:
    """Count which share of what the model saw each label has, largest first and "no label" (-1) last.

    Args:
        labels: (row, column) over the whole image.
        where: The placement of the result.

    Returns:
        {index: share in 0..1}, only for what is there.

    Example:
        >>> shares_of(np.array([[0, 0, -1, 3]]), Placement((1, 4), (1, 1), (0, 0, 1, 4), (0, 0, 1, 4)))
        {0: 0.5, 3: 0.25, -1: 0.25}
    """
    seen = labels[visible_mask(labels.shape, where)]
    indices, counts = np.unique(seen, return_counts=True)
    pairs = sorted(zip(indices.tolist(), counts.tolist(), strict=True), key=lambda p: (p[0] < 0, -p[1]))
    return {index: count / seen.size for index, count in pairs}


def _image_size(where: Placement) -> tuple[float, float]:
    ratio = where.image[1] / where.image[0]
    width = min(LARGEST[0], LARGEST[1] * ratio)
    return width, width / ratio


def _painted(segmentation: xr.Dataset, where: Placement) -> Bytes:
    """Paint what can be seen at this size, and fade what the model did not see."""
    labels = segmentation["labels"].to_numpy()
    step = -(-max(labels.shape) // SHOWN_PIXELS)
    colours = [label_colour(i) for i in range(segmentation.sizes["label"])]
    image = segmentation["image"].to_numpy()
    return fade_unseen(painted(labels[step // 2 :: step, step // 2 :: step], image, colours), where)


def painted(labels: npt.NDArray[np.integer], image: npt.ArrayLike, colours: Sequence[Colour]) -> Bytes:
    """Colour what has a label over the softened image, leave what has none, line between neighbours.

    Args:
        labels: (row, column), indices of colours, -1 where there is none.
        image: uint8 (row, column, rgb) of any size.
        colours: One for each label, red, green and blue in 0..1.

    Returns:
        uint8 (row, column, rgb) of the labels' size.

    Example:
        >>> painted(np.array([[0, 0], [-1, -1]]), np.zeros((2, 2, 3), np.uint8), [(1.0, 0.0, 0.0)])[:, 0].tolist()
        [[168, 10, 10], [191, 191, 191]]
    """
    under = Image.fromarray(np.asarray(image, dtype=np.uint8))
    pixels = np.asarray(under.resize(labels.shape[::-1], Image.Resampling.LANCZOS))
    mixed = OPACITY * np.array(colours)[np.maximum(labels, 0)] * 255 + (1 - OPACITY) * softened(pixels)
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    result = np.where((labels >= 0)[..., None], mixed, pixels)
    result[edge] = (1 - EDGE) * result[edge] + EDGE * 255
    return np.round(result).astype(np.uint8)


def entry(on: Sheet, left: float, top: float, name: str, colour: Colour | None, note: str, *, width: float) -> None:
    """Write one line of a legend: a swatch as the colour looks over a middle grey, name, note.

    Args:
        on: The sheet.
        left: In inches.
        top: In inches.
        name: Shortened if it is too long.
        colour: Of the label; None for what has no label.
        note: Such as a share, at the right end.
        width: Of the line, in inches.
    """
    corner = (left / on.width, 1 - (top + 0.115) / on.height)
    swatch = Rectangle(corner, 0.16 / on.width, 0.13 / on.height, transform=on.figure.transFigure)
    grey = to_rgb(BEHIND)
    mixed = [OPACITY * c + (1 - OPACITY) * g for c, g in zip(colour or grey, grey, strict=True)]
    swatch.set(facecolor=mixed if colour else "white", edgecolor=FAINT, linewidth=0.6)
    on.figure.add_artist(swatch)
    room = width - 0.25 - width_of(note, on.letters, size=BODY) / POINTS - 0.1 * bool(note)
    text = fit(name, on.letters, width=room * POINTS, size=BODY)[0]
    write(on, left + 0.25, top, isolated(text), size=BODY, colour=INK if colour else GREY)
    if note:
        write(on, left + width, top, note, size=BODY, colour=GREY, align="right")
