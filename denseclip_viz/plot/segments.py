"""A segmentation over its image: colours that colour-blind eyes tell apart, and a legend with shares."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.figure import Figure

from denseclip_viz.geometry import Placement
from denseclip_viz.maps.regions import require
from denseclip_viz.plot import panels
from denseclip_viz.plot.raster import Bytes, fade_unseen, paint_labels
from denseclip_viz.plot.scales import label_colour
from denseclip_viz.plot.sheet import ENTRY, LINE, MARGIN, Sheet

HEAD, LEGEND = 0.32, 2.3  # inches: the title, and the width of the legend
LARGEST = (6.4, 4.8)  # inches: of the image
SHOWN_PIXELS = 1200  # long side; more cannot be seen at this size
NOTHING = "(background)"  # as in the table
STRIPES = 32  # of pixels that several prompts have, along the long side
STRIPED = "striped where several prompts are, and shares overlap"


def segments(segmentation: xr.Dataset, *, title: str = "segments", figure: Figure | None = None) -> Figure:
    """Draw the labels of a segmentation over its image.

    Args:
        segmentation: What `Model.segment` returns: `labels` (row, column) with -1 where there is none, the
            names in the coordinate `label`, `image` and `attrs["background"]`, which is printed. Of independent
            `masks` (label, row, column) a pixel may have several: they are drawn as stripes.
        title: What it is, such as "the truth" of labels that no model made.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: labels in colour, background as it is, the unseen part faded; in the legend what is there, with
        its share of the part that the model saw; below it the names that no pixel has.

    Raises:
        LayerError: Not a segmentation.

    Example:
        >>> import denseclip_viz as dcv
        >>> model = dcv.load()
        >>> labels = model.segment(dcv.toyworld.scene("a taxi on a road", 96), ["a taxi", "a road"])
        >>> [text.get_text() for text in dcv.plot.segments(labels).texts][:2]
        ['segments', 'a road']
    """
    segmentation = require(segmentation, ["labels", "image"], made_by="model.segment(trace, prompts)")
    names = [str(name) for name in segmentation["label"].to_numpy()]
    rules, where = [str(segmentation.attrs.get("background", ""))], panels.placement_of_pixels(segmentation)
    masks = segmentation["masks"].to_numpy() if "masks" in segmentation else None
    rule = "; ".join([*rules, STRIPED] if masks is not None and bool((masks.sum(0) > 1).any()) else rules)
    sheet = Sheet(segmentation.attrs, [*names, rule, title], figure=figure)
    shares = shares_of(segmentation["labels"].to_numpy(), where) if masks is None else mask_shares(masks, where)
    ratio = where.image[1] / where.image[0]
    width = min(LARGEST[0], LARGEST[1] * ratio)
    size = width, width / ratio
    rows = max(1, int(max(size[1], 2.0) / ENTRY))
    legends = -(-len(shares) // rows)
    top = sheet.top + HEAD
    nowhere = ", ".join(name for index, name in enumerate(names) if index not in shares)
    captions = [*filter(None, [f"nowhere: {nowhere}" if nowhere else "", rule])]
    foot = (1 + len(captions)) * LINE + MARGIN / 2
    height = top + max(size[1], min(len(shares), rows) * ENTRY) + 0.12 + foot
    sheet.resize(2 * MARGIN + size[0] + legends * LEGEND, height)
    sheet.title(title)
    image = _painted(segmentation, where)
    sheet.place(MARGIN, top, *size).imshow(image, interpolation="antialiased", **panels.over_image(where))
    for i, (index, share) in enumerate(shares.items()):
        column, row = divmod(i, rows)
        left = MARGIN + size[0] + 0.2 + column * LEGEND
        name, colour = (names[index], label_colour(index)) if index >= 0 else (NOTHING, None)
        percent = f"{share:.0%}" if share >= 0.005 else "<1%"
        sheet.entry(left, top + row * ENTRY, name, colour, percent, width=LEGEND - 0.25)
    sheet.footer(height - foot, *captions)
    return sheet.figure


def shares_of(labels: npt.NDArray[np.integer], where: Placement) -> dict[int, float]:
    """Count which share in 0..1 of what the model saw each label (row, column) has, and -1 for "no label".

    Only of what is there, largest first and -1 last.
    """
    visible = labels[where.mask(*labels.shape)]
    indices, counts = np.unique(visible, return_counts=True)
    pairs = sorted(zip(indices.tolist(), counts.tolist(), strict=True), key=lambda p: (p[0] < 0, -p[1]))
    return {index: count / visible.size for index, count in pairs}


def mask_shares(masks: npt.NDArray[np.bool_], where: Placement) -> dict[int, float]:
    """Count as `shares_of` does what each mask (label, row, column) has: a pixel may be of several."""
    visible = masks[:, where.mask(*masks.shape[1:])]
    areas = {index: float(share) for index, share in enumerate(visible.mean(1)) if share}
    rest = float((~visible.any(0)).mean())
    return dict(sorted(areas.items(), key=lambda pair: -pair[1])) | ({-1: rest} if rest else {})


def striped(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.integer]:
    """Name each pixel by one of its masks (label, row, column), by several in turn along slanted stripes; else -1.

    Example:
        >>> striped(np.ones((2, 1, 4), bool)).tolist(), striped(np.zeros((1, 1, 2), bool)).tolist()
        ([[0, 1, 0, 1]], [[-1, -1]])
    """
    counts, (rows, columns) = masks.sum(0), masks.shape[1:]
    stripe = np.add.outer(np.arange(rows), np.arange(columns)) // -(-max(rows, columns) // STRIPES)
    turn = stripe % np.maximum(counts, 1)
    return np.where(counts > 0, (masks & (masks.cumsum(0) - 1 == turn)).argmax(0), -1)


def _painted(segmentation: xr.Dataset, where: Placement) -> Bytes:
    """Paint what can be seen at this size, and fade what the model did not see."""
    values = segmentation["masks" if "masks" in segmentation else "labels"].to_numpy()
    step = -(-max(values.shape[-2:]) // SHOWN_PIXELS)
    colours = [label_colour(i) for i in range(segmentation.sizes["label"])]
    some = values[..., step // 2 :: step, step // 2 :: step]
    some = striped(some) if some.ndim == 3 else some
    return fade_unseen(paint_labels(some, segmentation["image"].to_numpy(), colours), where)
