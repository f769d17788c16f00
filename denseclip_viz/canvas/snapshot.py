"""The still image of a canvas, for places that show no widgets: a code host, an exported page, a closed notebook."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from denseclip_viz.canvas.payload import Payload
from denseclip_viz.canvas.quantize import Packed
from denseclip_viz.canvas.state import MEAN
from denseclip_viz.geometry import Placement
from denseclip_viz.plot.raster import UNSEEN, Bytes, Floats, overlay, paint_labels, png
from denseclip_viz.plot.scales import label_colour

LONGEST = 448  # pixels of its long side: notebooks with several stay small


def still(shown: Payload, state: Mapping[str, Any]) -> bytes:
    """Draw what a canvas shows at the start, as PNG, without a browser and without a figure.

    Args:
        shown: Of the result.
        state: Of the canvas.

    Returns:
        The bytes of the file; the map on its scale over the softened image, or the labels.
    """
    image = _image(shown)
    if state["view"] == "segments":
        labels = _labels(shown, state, image.shape[:2])
        return png(paint_labels(labels, image, [label_colour(i) for i in range(len(shown.meta["palette"]))]))
    stack = stack_of(shown.meta["stacks"], state)
    values = _drawn(shown, stack, maps_of(shown, stack)[map_of(shown, stack, state)], image.shape[:2])
    scale = {"low": stack["low"], "high": stack["high"], "colours": stack["colours"]}
    return png(overlay(image, values, opacity=state["opacity"], **scale))


def stack_of(stacks: list[dict[str, Any]], state: Mapping[str, Any]) -> dict[str, Any]:
    """Find the maps that a state names, as choices.js does."""
    wanted = "dense" if state["view"] == "segments" else state["view"]
    own = [stack for stack in stacks if (stack["view"], stack["layer"]) == (wanted, state["layer"])]
    own = own or [stack for stack in stacks if stack["layer"] == state["layer"]]
    by_head = [stack for stack in own if (stack["axes"] == ["head"]) == (state["head"] != MEAN)]
    return (by_head or own)[0]


def map_of(shown: Payload, stack: Mapping[str, Any], state: Mapping[str, Any]) -> int:
    """Which of the maps of a stack a state names."""
    choices = shown.choices
    if stack["axes"] == ["head"]:
        return [head for head in choices["head"] if head != MEAN].index(state["head"])
    if not stack["axes"]:
        return 0
    template, prompt = (choices[axis].index(state[axis]) for axis in ("template", "prompt"))
    return int(template * stack["sizes"][1] + prompt)


def maps_of(shown: Payload, stack: Mapping[str, Any]) -> Floats:
    """Unpack the maps of a stack: (map, y, x)."""
    numbers = Packed(stack["first"], stack["perUnit"], stack["decimals"], shown.buffers[stack["buffer"]])
    return numbers.values().reshape(-1, stack["grid"]["rows"], stack["grid"]["columns"])


def _drawn(shown: Payload, stack: Mapping[str, Any], maps: Floats, shape: tuple[int, int]) -> Floats:
    """Draw maps (…, y, x) over an image of a shape: linear between cells, NaN where nothing was seen."""
    where = Placement.from_dict(stack["grid"], image=shown.meta["size"], visible=shown.meta["visible"])
    return where.weights(*shape).draw(maps)


def _image(shown: Payload) -> Bytes:
    if "image" in shown.buffers:
        image = Image.open(io.BytesIO(shown.buffers["image"])).convert("RGB")
    else:
        height, width = shown.meta["size"]
        image = Image.new("RGB", (max(1, width), max(1, height)), (UNSEEN,) * 3)
    image.thumbnail((LONGEST, LONGEST))
    return np.asarray(image)


def _labels(shown: Payload, state: Mapping[str, Any], shape: tuple[int, int]) -> npt.NDArray[np.integer]:
    """The label of each pixel: the segmentation's own, or the prompt with the strongest dense map."""
    if "labels" in shown.buffers:
        file = Image.open(io.BytesIO(shown.buffers["labels"]))
        colours = np.asarray(file.resize(shape[::-1], Image.Resampling.NEAREST)).astype(np.int64)
        return np.asarray(colours[..., 0] * 256 + colours[..., 1] - 1)
    stack = stack_of(shown.meta["stacks"], state)
    places = [map_of(shown, stack, {**state, "prompt": name}) for name in shown.choices["prompt"]]
    full = _drawn(shown, stack, maps_of(shown, stack)[places], shape)
    return np.where(np.isnan(full[0]), -1, np.nan_to_num(full).argmax(0))
