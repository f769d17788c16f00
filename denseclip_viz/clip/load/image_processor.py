"""What an image processor of transformers does as resize, crop, mean and std; what it cannot say is refused."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denseclip_viz.errors import GeometryError, first_line
from denseclip_viz.files import read_json
from denseclip_viz.geometry import Preprocess
from denseclip_viz.validation import is_number, is_whole

PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # the second from transformers 5 on

_KIND = re.compile(r"(\w+?)(ImageProcessor(Fast|Pil)?|FeatureExtractor)")
_FOLLOWED = {"do_resize": True, "do_rescale": True, "do_pad": False}
# Kinds that can be followed, each with what it must say beside that.
_KINDS: Mapping[str, Mapping[str, bool]] = {
    "CLIP": {},
    "ChineseCLIP": {},
    "EfficientNet": {"do_normalize": False, "include_top": False},
    "Siglip": {},
    "Siglip2": {},
}
_FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def preprocess_in(folder: Path) -> Preprocess:
    """Read what a folder says of its images; settings that it leaves out are those of transformers.

    Raises:
        GeometryError: A folder that does not say, or settings that cannot be followed exactly, by their names.
    """
    for name in PROCESSORS:
        try:
            read = read_json(folder / name)
        except (OSError, ValueError) as error:
            got = f"{folder / name} cannot be read ({type(error).__name__})"
            raise GeometryError(got, expected="JSON", fix="Copy it again.") from error
        settings = read.get("image_processor") if name == PROCESSORS[1] else read
        if settings and isinstance(settings, dict):
            return preprocess_of(settings)
    got, fix = f"The folder {folder} does not say how its images are made ready", "Copy it from the model's page."
    raise GeometryError(got, expected=f"settings in {' or '.join(PROCESSORS)}", fix=fix)


def preprocess_of(settings: Mapping[str, Any]) -> Preprocess:
    """Say an image processor as resize, crop, mean and std: a byte x becomes (x · rescale_factor - mean) / std.

    Resizing is Pillow's, and all is what the processor does with Pillow. With torchvision (its default since version 5)
    its own bilinear pixels differ from those by at most one level of 255, its bicubic ones by three, measured on noise.
    SigLIP 2's processor keeps an image's shape and fills a number of patches: here that is their square.

    Raises:
        GeometryError: Settings that this package cannot follow exactly, by their names.

    Example:
        >>> ready = preprocess_of({"image_processor_type": "CLIPImageProcessor", "crop_size": 96, "size": 97})
        >>> ready.size, ready.before_crop, ready.resize_mode
        ((96, 96), (97, 97), 'shortest')
    """
    kind, settings = _with_defaults(settings)
    for name, due in {**_FOLLOWED, **_KINDS[kind]}.items():
        _require(bool(settings.get(name)) == due, name, settings, str(due).lower())
    _require(settings["resample"] in _FILTERS, "resample", settings, "2 (bilinear) or 3 (bicubic)")
    _require(is_number(settings["rescale_factor"], 0, ends=False), "rescale_factor", settings, "a number above 0")
    before = _patches(settings) if kind == "Siglip2" else _resized(settings)
    size = _size(settings, "crop_size") if settings.get("do_center_crop") else before
    mean, std = _normalised(settings)
    shortest = "shortest_edge" in _given(settings, "size")
    return Preprocess(
        size=size,
        mean=mean,
        std=std,
        interpolation=_FILTERS[settings["resample"]],
        resize_mode="shortest" if shortest else "squash",
        before_crop=before if shortest or before != size else None,
    )


def _with_defaults(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Read the settings with the defaults of the class that is installed, which differ between versions."""
    import transformers

    name = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    match = _KIND.fullmatch(name) if isinstance(name, str) else None
    if match is None or match[1] not in _KINDS:
        got, fix = f"The images are made ready by a {name!r}", "Load a model whose images these are for."
        raise GeometryError(got, expected=f"one of {', '.join(f'{k}ImageProcessor' for k in _KINDS)}", fix=fix)
    try:
        complete: dict[str, Any] = getattr(transformers, f"{match[1]}ImageProcessor")(**settings).to_dict()
        return match[1], {**complete, "resample": int(complete["resample"])}
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        got = f"The settings of the image processor cannot be ({first_line(error)})"
        raise GeometryError(got, expected="what transformers can read", fix="Copy the file again.") from error


def _normalised(settings: Mapping[str, Any]) -> tuple[Any, Any]:
    """Give mean and std for pixels in 0..1."""
    scale = 1 / (255 * float(settings["rescale_factor"]))
    if not settings.get("do_normalize"):
        return (scale if settings.get("rescale_offset") else 0.0,) * 3, (scale,) * 3
    mean, std = settings["image_mean"], settings["image_std"]
    for name, values in (("image_mean", mean), ("image_std", std)):
        _require(isinstance(values, list | tuple) and all(map(is_number, values)), name, settings, "three numbers")
    return tuple(scale * value for value in mean), tuple(scale * value for value in std)


def _resized(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Give what an image is resized to: a size, or the square that is as high as its shortest side comes to be."""
    size = _given(settings, "size")
    if set(size) != {"shortest_edge"}:
        return _size(settings, "size")
    _require(bool(settings.get("do_center_crop")), "do_center_crop", settings, "true where size is a shortest edge")
    return size["shortest_edge"], size["shortest_edge"]


def _patches(settings: Mapping[str, Any]) -> tuple[int, int]:
    count, patch = settings["max_num_patches"], settings["patch_size"]
    side = math.isqrt(count) if is_whole(count) and count > 0 else 0
    _require(0 < side**2 == count, "max_num_patches", settings, "a square number")
    _require(is_whole(patch), "patch_size", settings, "a whole number")
    return side * patch, side * patch


def _size(settings: Mapping[str, Any], name: str) -> tuple[int, int]:
    size = _given(settings, name)
    _require(set(size) == {"height", "width"}, name, settings, "a height and a width")
    return size["height"], size["width"]


def _given(settings: Mapping[str, Any], name: str) -> dict[str, int]:
    return {key: value for key, value in dict(settings.get(name) or {}).items() if value is not None}


def _require(holds: bool, name: str, settings: Mapping[str, Any], expected: str) -> None:
    if not holds:
        got = f"The image processor's {name} is {settings.get(name)!r}"
        fix = "Other settings would not be followed exactly, so they are refused."
        raise GeometryError(got, expected=expected, fix=fix)
