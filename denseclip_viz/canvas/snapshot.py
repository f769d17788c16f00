"""The still image of a canvas, for places that show no widgets: a code host, an exported page, a closed notebook."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from denseclip_viz.canvas.image_files import read_labels
from denseclip_viz.canvas.payload import Payload
from denseclip_viz.canvas.quantize import Quantized
from denseclip_viz.geometry import Placement
from denseclip_viz.plot.raster import UNSEEN, Bytes, Floats, overlay, paint_labels, png
from denseclip_viz.plot.scales import label_colour

LONGEST = 448  # pixels of its long side: notebooks with several stay small


def snapshot(shown: Payload, state: Mapping[str, Any]) -> bytes:
    """Draw what a canvas shows at the start, as PNG, without a browser and without a figure.

    The map on its scale over the softened image, or the labels.
    """
    image = _image(shown)
    rows, columns = image.shape[:2]
    if "labels" in shown.buffers:
        file = Image.open(io.BytesIO(shown.buffers["labels"])).resize((columns, rows), Image.Resampling.NEAREST)
        return _painted(shown, read_labels(file), image)
    views = shown.meta["maps"][state["layer"]]
    state = {**state, "view": state["view"] if state["view"] in views else next(iter(views))}
    if state["view"] == "segments":
        maps = [_maps(shown, {**state, "prompt": name}, rows, columns) for name in shown.choices["prompt"]]
        strongest = np.nan_to_num(maps).argmax(0)
        return _painted(shown, np.where(np.isnan(maps[0]), -1, strongest), image)
    stack, _ = shown.select(state)
    scale = {name: stack[name] for name in ("low", "high", "colours")}
    return png(overlay(image, _maps(shown, state, rows, columns), opacity=state["opacity"], **scale))


def _maps(shown: Payload, state: Mapping[str, Any], rows: int, columns: int) -> Floats:
    """Draw the map that a state names: linear between cells, NaN where nothing was seen."""
    stack, at = shown.select(state)
    where = Placement.from_dict(stack["grid"], image=shown.meta["size"], visible=shown.meta["visible"])
    numbers = Quantized(stack["first"], stack["perUnit"], stack["decimals"], shown.buffers[stack["buffer"]])
    return where.weights(rows, columns).draw(numbers.values().reshape(-1, *where.grid)[at])


def _painted(shown: Payload, labels: npt.NDArray[np.integer], image: Bytes) -> bytes:
    return png(paint_labels(labels, image, [label_colour(i) for i in range(len(shown.meta["palette"]))]))


def _image(shown: Payload) -> Bytes:
    if "image" in shown.buffers:
        image = Image.open(io.BytesIO(shown.buffers["image"])).convert("RGB")
    else:
        height, width = shown.meta["size"]
        image = Image.new("RGB", (max(1, width), max(1, height)), (UNSEEN,) * 3)
    image.thumbnail((LONGEST, LONGEST))
    return np.asarray(image)
