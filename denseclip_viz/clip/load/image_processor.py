"""How transformers' EfficientNet image processor makes an image ready, in the words of this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from denseclip_viz.errors import GeometryError
from denseclip_viz.geometry import Preprocess

FILES = ("preprocessor_config.json", "processor_config.json")
"""Where transformers writes the settings: by themselves, or as part of a processor's (from version 5 on)."""

KINDS = tuple(f"EfficientNetImageProcessor{backend}" for backend in ("", "Fast", "Pil"))
_FILTERS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def read_preprocess(folder: Path) -> Preprocess:
    """Read what a folder says of its images; settings that it leaves out are those of transformers.

    Raises:
        GeometryError: No settings, another kind of image processor, or one that cannot be had exactly here.
    """
    for file in (folder / name for name in FILES):
        settings = _settings(file) if file.is_file() else None
        if settings is not None:
            return preprocess_of(settings)
    got, fix = f"The folder {folder} does not say how its images are made ready", "Copy it from the model's page."
    raise GeometryError(got, expected=f"settings in {' or '.join(FILES)}", fix=fix)


def preprocess_of(settings: Mapping[str, Any]) -> Preprocess:
    """Say the settings of an image processor as resize, crop, mean and std.

    Rescaling, its offset and both normalisations are one line, y = a x + b in bytes x: mean and std are those
    that give it. Resizing is Pillow's, and for ALIGN's settings all is bit for bit what the processor does with
    Pillow. With torchvision (its default since version 5) its own bilinear pixels differ from those by at most
    one level of 255, its bicubic ones by three, measured on noise.

    Raises:
        GeometryError: Settings that this package cannot follow exactly, by their names.

    Example:
        >>> half = {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False, "include_top": False}
        >>> made = preprocess_of({"image_processor_type": "EfficientNetImageProcessor", "do_center_crop": True, **half})
        >>> made.size, made.before_crop, [round(value, 6) for value in made.mean]
        ((289, 289), (346, 346), [0.5, 0.5, 0.5])
    """
    said = _complete(settings)
    _require(said["do_resize"], "do_resize", said, "true")
    _require(said["resample"] in _FILTERS, "resample", said, "2 (bilinear) or 3 (bicubic)")
    before = size = _size(said, "size")
    if said["do_center_crop"]:
        size = _size(said, "crop_size")
    slope, start = _line(said)
    std = tuple(1 / (255 * a) for a in slope)
    mean = tuple(-b * s for b, s in zip(start, std, strict=True))
    return Preprocess(
        size=size,
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation=_FILTERS[said["resample"]],
        resize_mode="squash",
        before_crop=before if before != size else None,
    )


def _settings(file: Path) -> dict[str, Any] | None:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        got = f"{file} cannot be read ({type(error).__name__})"
        raise GeometryError(got, expected="JSON", fix="Copy it again.") from error
    found = read.get("image_processor") if isinstance(read, dict) and file.name == FILES[1] else read
    return found if isinstance(found, dict) else None


def _complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the defaults of the class that is installed, which differ between versions."""
    from transformers import EfficientNetImageProcessor

    kind = settings.get("image_processor_type")
    if kind not in KINDS:
        got, fix = f"The images are made ready by a {kind!r}", "Load a model whose images these are for."
        raise GeometryError(got, expected=f"one of {', '.join(KINDS)}", fix=fix)
    try:
        said: dict[str, Any] = EfficientNetImageProcessor(**settings).to_dict()
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        got = f"The settings of the image processor cannot be ({error})"
        raise GeometryError(got, expected="what transformers can read", fix="Copy the file again.") from error
    return {**said, "resample": int(said["resample"])}


def _size(said: Mapping[str, Any], name: str) -> tuple[int, int]:
    size = said.get(name) or {}
    exact = {key for key, value in dict(size).items() if value is not None} == {"height", "width"}
    _require(exact, name, said, "a height and a width")
    return size["height"], size["width"]


def _line(said: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Slopes and starts of y = a x + b, one for each channel, x in 0..255."""
    scale = said["rescale_factor"] if said["do_rescale"] else 1.0
    offset = 1.0 if said["do_rescale"] and said["rescale_offset"] else 0.0
    _require(scale > 0, "rescale_factor", said, "a number above 0")
    slope, start = [float(scale)] * 3, [-offset] * 3
    if said["do_normalize"]:
        start = [b - m for b, m in zip(start, _channels(said, "image_mean"), strict=True)]
    for _ in range(bool(said["do_normalize"]) + bool(said["include_top"])):
        std = _channels(said, "image_std")
        slope, start = ([value / s for value, s in zip(line, std, strict=True)] for line in (slope, start))
    return slope, start


def _channels(said: Mapping[str, Any], name: str) -> list[float]:
    value = said[name]
    listed = [value] * 3 if isinstance(value, int | float) else list(value or ())
    positive = name == "image_mean" or all(number > 0 for number in listed)
    _require(len(listed) == 3 and positive, name, said, "three numbers, an image_std above 0")
    return [float(number) for number in listed]


def _require(holds: bool, name: str, said: Mapping[str, Any], expected: str) -> None:
    if not holds:
        got = f"The image processor's {name} is {said.get(name)!r}"
        fix = "Other settings would not be followed exactly, so they are refused."
        raise GeometryError(got, expected=expected, fix=fix)
