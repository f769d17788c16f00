"""A segmentation over its image: colours that colour-blind eyes tell apart, and a legend with shares."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.geometry import Placement
from denseclip_viz.plot import panels, select
from denseclip_viz.plot.raster import Bytes, fade_unseen, paint_labels
from denseclip_viz.plot.scales import label_colour
from denseclip_viz.plot.sheet import ENTRY, LINE, MARGIN, Sheet

HEAD, LEGEND = 0.32, 2.3  # inches: the title, and the width of the legend
LARGEST = (6.4, 4.8)  # inches: of the image
SHOWN_PIXELS = 1200  # long side; more cannot be seen at this size
NOTHING = "no label"


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
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> labels = model.segment(dcv.toyworld.scene("a taxi on a road", 96), ["a taxi", "a road"])
        >>> [text.get_text() for text in segments(labels).texts][:2]
        ['segments', 'a road']
    """
    select.require(segmentation, ["labels", "image"], made_by="model.segment(trace, prompts)")
    names = [str(name) for name in segmentation["label"].to_numpy()]
    rule, where = str(segmentation.attrs.get("background", "")), panels.placement(segmentation)
    sheet = Sheet(segmentation.attrs, [*names, rule], figure=figure)
    shares = shares_of(segmentation["labels"].to_numpy(), where)
    ratio = where.image[1] / where.image[0]
    width = min(LARGEST[0], LARGEST[1] * ratio)
    size = width, width / ratio
    rows = max(1, int(max(size[1], 2.0) / ENTRY))
    legends = -(-len(shares) // rows)
    top = sheet.top + HEAD
    height = top + max(size[1], min(len(shares), rows) * ENTRY) + 0.12 + 2 * LINE + MARGIN / 2
    sheet.resize(2 * MARGIN + size[0] + legends * LEGEND, height)
    sheet.title("segments")
    image = _painted(segmentation, where)
    sheet.place(MARGIN, top, *size).imshow(image, interpolation="antialiased", **panels.over_image(where))
    for i, (index, share) in enumerate(shares.items()):
        column, row = divmod(i, rows)
        left = MARGIN + size[0] + 0.2 + column * LEGEND
        name, colour = (names[index], label_colour(index)) if index >= 0 else (NOTHING, None)
        percent = f"{share:.0%}" if share >= 0.005 else "<1%"
        sheet.entry(left, top + row * ENTRY, name, colour, percent, width=LEGEND - 0.25)
    sheet.footer(height - 2 * LINE - MARGIN / 2, rule)
    return sheet.figure


def shares_of(labels: npt.NDArray[np.integer], where: Placement) -> dict[int, float]:
    """Count which share in 0..1 of what the model saw each label (row, column) has, and -1 for "no label".

    Only of what is there, largest first and -1 last.
    """
    visible = labels[where.mask(*labels.shape)]
    indices, counts = np.unique(visible, return_counts=True)
    pairs = sorted(zip(indices.tolist(), counts.tolist(), strict=True), key=lambda p: (p[0] < 0, -p[1]))
    return {index: count / visible.size for index, count in pairs}


def _painted(segmentation: xr.Dataset, where: Placement) -> Bytes:
    """Paint what can be seen at this size, and fade what the model did not see."""
    labels = segmentation["labels"].to_numpy()
    step = -(-max(labels.shape) // SHOWN_PIXELS)
    colours = [label_colour(i) for i in range(segmentation.sizes["label"])]
    some = labels[step // 2 :: step, step // 2 :: step]
    return fade_unseen(paint_labels(some, segmentation["image"].to_numpy(), colours), where)
