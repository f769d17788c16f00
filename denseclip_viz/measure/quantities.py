"""What the numbers of measures are, in words: their labels in plots of xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

QUANTITIES = {
    "score": ("score of the measure", "of the measure"),
    "ensemble": ("score of the mean of all", "of the measure"),
    "left_out": ("score of the mean without this one", "of the measure"),
    "confusion": ("pixels of a class that were given another", "pixels"),
    "emptied": ("images of which nothing was left to name", "images"),
    "iou": ("intersection over union", "1"),
    "miou": ("mean intersection over union", "1"),
    "seen": ("mean intersection over union of classes seen in training", "1"),
    "unseen": ("mean intersection over union of the others", "1"),
    "hiou": ("harmonic mean of seen and unseen", "1"),
    "accuracy": ("share of all pixels named rightly", "1"),
    "mean_accuracy": ("share of a class's pixels named rightly, mean over classes", "1"),
    "image_miou": ("mean intersection over union in an image", "1"),
    "areas": ("pixels", "pixels"),
    "gain": ("mean intersection over union, less that of the rung before", "1"),
    "change": ("1 - cosine with the map of the rung before", "1"),
    "image_change": ("1 - cosine with the map of the rung before, in an image", "1"),
    "cost": ("time of a pass with this rung", "plain passes"),
    "value": ("value of the column", "of the column"),
    "mean": ("mean over images", "of the column"),
    "low": ("lower end of the interval of the mean", "of the column"),
    "high": ("upper end of the interval of the mean", "of the column"),
    "images": ("images that have the column", "images"),
    "curve": ("score while cells are changed", "of the score"),
    "fraction": ("share of the cells changed", "1"),
    "leakage": ("rise on the sibling, of that on both", "1"),
    "rise": ("mean of the map on a thing, less its mean on the rest", "of the map"),
    "peak": ("share of the map's highest cell", "1"),
    "distance": ("distance of the two, edge to edge", "sides of the image"),
    "size": ("root of the area of a thing's box", "sides of the image"),
    "share": ("share in the right quadrant, of what stands above the map's mean", "1"),
    "share_positive": ("share in the right quadrant, of what is above zero", "1"),
    "hit": ("share of the highest cell in the right quadrant", "1"),
    "without": ("dense features against the text without a word", "cosine"),
    "peak_change": ("what a word adds to the highest cosine", "cosine"),
    "gradient": ("gradient × embedding of a word", "cosine"),
    "gradient_rest": ("gradient × embedding of all other tokens", "cosine"),
    "gradient_peak": ("gradient × embedding of a word, at the map's peak", "cosine"),
    "same_map": ("correlation of the maps with and without a word", "1"),
}
"""`long_name` and `units` of what `measure` returns, by the variable's name."""
ENDS = {"_low": "lower end of the interval", "_high": "upper end of the interval"}


def with_quantities(measured: xr.Dataset) -> xr.Dataset:
    """Write `long_name` and `units` on variables that are listed and do not say them yet.

    Example:
        >>> import xarray as xr
        >>> with_quantities(xr.Dataset({"miou_low": ((), 0.3)})).miou_low.attrs
        {'long_name': 'mean intersection over union, lower end of the interval', 'units': '1'}
    """
    for name, variable in measured.variables.items():
        end = next((end for end in ENDS if str(name).removesuffix(end) in QUANTITIES and str(name).endswith(end)), "")
        if (known := QUANTITIES.get(str(name).removesuffix(end))) and "long_name" not in variable.attrs:
            words = f"{known[0]}, {ENDS[end]}" if end else known[0]
            variable.attrs.update(long_name=words, units=known[1])
    return measured
