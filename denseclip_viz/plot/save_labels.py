"""A segmentation as a label image, an indexed PNG as data sets keep masks, or as COCO's JSON."""

import io
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from denseclip_viz.errors import OutputError
from denseclip_viz.files import check_target, save_bytes
from denseclip_viz.maps.regions import require
from denseclip_viz.plot import panels
from denseclip_viz.plot.coco_rle import instances
from denseclip_viz.plot.raster import UNSEEN
from denseclip_viz.plot.scales import label_colour
from denseclip_viz.plot.sheet import provenance
from denseclip_viz.validation import one_of

ENDINGS = (".png", ".json")
BACKGROUND, VOID = 0, 255
PALETTES = ("own", "voc")


def save_labels(
    segmentation: xr.Dataset, path: str | os.PathLike[str], *, palette: str = "own", force: bool = False
) -> Path:
    """Write the labels of a segmentation as an indexed PNG of the image's size, or each label's mask as COCO's RLE.

    In a PNG a pixel is 0 for background, i + 1 for label i, and 255 where the model did not see, as the masks of
    PASCAL VOC have it. The names are in its text under `labels`, as JSON from number to name; the rule for background
    and what made the labels are beside it. In a JSON file category i + 1 is label i, its whole region one annotation.

    Args:
        segmentation: What `Model.segment` returns.
        path: Where to, a name in ".png" or ".json"; its folder must be there.
        palette: Colours of a PNG: `"own"`, those of `segments`, or `"voc"`, those of PASCAL VOC's masks.
        force: Replace a file that is there.

    Returns:
        The path.

    Raises:
        LayerError: Not a segmentation.
        OutputError: Another ending, no such folder, a file that is there already and no `force`, or more than 254
            labels, which a byte cannot number.

    Example:
        >>> from PIL import Image
        >>> import numpy as np
        >>> import denseclip_viz as dcv, tempfile
        >>> found = dcv.load().segment(dcv.toyworld.scene("a taxi on a road", 96), ["a taxi", "a road"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = dcv.plot.save_labels(found, f"{folder}/labels.png")
        ...     bool((np.array(Image.open(file)) == found.labels + 1).all()), Image.open(file).text["labels"]
        (True, '{"0": "background", "1": "a taxi", "2": "a road", "255": "not seen"}')
    """
    segmentation = require(segmentation, ["labels", "image"], made_by="model.segment(trace, prompts)")
    target = check_target(path, ENDINGS, force=force)
    one_of(palette, PALETTES, "palette", error=OutputError)
    names = [str(name) for name in segmentation["label"].to_numpy()]
    labels = segmentation["labels"].to_numpy()
    if target.suffix.lower() == ".json":
        content = instances(labels, names, str(segmentation.attrs.get("image_name", "")))
        return save_bytes(json.dumps(content, ensure_ascii=False).encode(), target, ENDINGS, force=force)
    check_count(len(names))
    numbers = np.where(panels.placement_of_pixels(segmentation).mask(*labels.shape), labels + 1, VOID).astype(np.uint8)
    text = PngInfo()
    known = {BACKGROUND: "background", **dict(enumerate(names, start=1)), VOID: "not seen"}
    notes = {"background": str(segmentation.attrs.get("background", "")), "source": provenance(segmentation.attrs)}
    for key, value in {"labels": json.dumps(known, ensure_ascii=False), **notes}.items():
        text.add_itxt(key, value)
    image, buffer = Image.fromarray(numbers), io.BytesIO()
    image.putpalette((_voc_palette() if palette == "voc" else _palette(len(names))).tobytes())
    image.save(buffer, "PNG", pnginfo=text)
    return save_bytes(buffer.getbuffer(), target, ENDINGS, force=force)


def check_count(labels: int) -> None:
    """Refuse, by an OutputError, more labels than a byte has numbers for."""
    if labels >= VOID:
        got, fix = f"{labels} labels in one PNG", "Keep the result as netCDF, a name in .nc."
        raise OutputError(got, expected=f"at most {VOID - 1}", fix=fix)


def _palette(labels: int) -> npt.NDArray[np.uint8]:
    """Give the colours of 256 numbers: black for background, grey for what was not seen."""
    colours = np.zeros((VOID + 1, 3))
    colours[1 : labels + 1] = [label_colour(index) for index in range(labels)]
    colours[VOID] = UNSEEN / 255
    return np.round(colours * 255).astype(np.uint8)


def _voc_palette() -> npt.NDArray[np.uint8]:
    """Give the colours of PASCAL VOC's masks: three bits of a number at a time are the next highest of its channels.

    Source: its development kit, VOClabelcolormap.m.
    """
    numbers, colours = np.arange(VOID + 1), np.zeros((VOID + 1, 3), dtype=np.int64)
    for place in range(8):
        colours |= (numbers[:, None] >> (3 * place + np.arange(3)) & 1) << (7 - place)
    return colours.astype(np.uint8)
