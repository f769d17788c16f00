"""The transforms of torchvision and open_clip that prepare images, read as what they do."""

from collections.abc import Callable, Mapping
from typing import Any

from denseclip_viz.errors import GeometryError

_CONVERT = ("MaybeConvertMode", "MaybeToTensor", "ToTensor", "_convert_to_rgb", "_convert_image_to_rgb")


def read_transform(transform: object) -> dict[str, Any]:
    """Read what a `Compose` for inference does, as open_clip and OpenAI's `clip.load` make it.

    Returns:
        size, mean, std, interpolation, resize_mode, and fill_color where it pads.

    Raises:
        GeometryError: No `Compose`, or a step that cannot be followed exactly, such as those for training.

    Example:
        >>> from open_clip.transform import image_transform
        >>> read_transform(image_transform(224, is_train=False, resize_mode="squash"))["resize_mode"]
        'squash'
    """
    steps = getattr(transform, "transforms", None)
    if not isinstance(steps, list):
        got = f"preprocess is a {type(transform).__name__}"
        fix = "Pass the transform that open_clip.create_model_and_transforms gives last."
        raise GeometryError(got, expected="a Compose, or a dict like open_clip's preprocess_cfg", fix=fix)
    read: dict[str, Any] = {}
    for step in steps:
        name = getattr(step, "__name__", type(step).__name__)
        if name in _READERS:
            _READERS[name](step, read)
        elif name not in _CONVERT:
            fix = "Pass the transform for inference, or a dict like open_clip's preprocess_cfg."
            raise GeometryError(f"preprocess holds {name}", expected="resize, crop, normalise", fix=fix)
    if not {"size", "mean"} <= read.keys():
        got, fix = f"preprocess does {', '.join(read) or 'nothing'}", "Pass the whole transform."
        raise GeometryError(got, expected="a resize and a Normalize", fix=fix)
    return read


def _resize(step: Any, read: dict[str, Any]) -> None:
    sides = list(step.size) if isinstance(step.size, list | tuple) else [step.size]
    mode = "shortest" if len(sides) == 1 else "squash"
    read |= {"resize_mode": mode, "size": (sides[0], sides[-1]), "interpolation": _filter(step)}


def _resize_keeping_ratio(step: Any, read: dict[str, Any]) -> None:
    modes = {0.0: "shortest", 1.0: "longest"}
    if step.longest not in modes or step.random_scale_prob or step.random_aspect_prob:
        got, fix = "preprocess resizes at random, or between two sides", "Pass the transform for inference."
        raise GeometryError(got, expected="a resize by the shortest or the longest side", fix=fix)
    read |= {"resize_mode": modes[step.longest], "size": tuple(step.size), "interpolation": _filter(step)}


def _crop(step: Any, read: dict[str, Any]) -> None:
    size = (step.size, step.size) if isinstance(step.size, int) else tuple(step.size)
    if read.get("size", size) != size:  # torchvision rounds the place of the crop as the two sides come
        got, fix = (
            f"preprocess cuts {size} px out of {read['size']} px",
            "Pass one that resizes to the size it crops to.",
        )
        raise GeometryError(got, expected="a resize and a crop of one size", fix=fix)
    read |= {"size": size, "fill_color": getattr(step, "fill", 0)}


def _normalise(step: Any, read: dict[str, Any]) -> None:
    read |= {name: tuple(float(value) for value in getattr(step, name)) for name in ("mean", "std")}


def _filter(step: Any) -> str:
    return str(getattr(step.interpolation, "value", step.interpolation))


_READERS: Mapping[str, Callable[[Any, dict[str, Any]], None]] = {
    "Resize": _resize,
    "ResizeKeepRatio": _resize_keeping_ratio,
    "CenterCrop": _crop,
    "CenterCropOrPad": _crop,
    "Normalize": _normalise,
}
