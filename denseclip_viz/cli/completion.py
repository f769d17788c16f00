"""Names that a shell completes; nothing here imports torch, since a shell asks at every Tab."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.resources import files

BUNDLED = ("resnet", "vit", "vit-cls")
DTYPES = ("fp32", "bf16", "fp16", "fp64")
FITS = ("native", "whole", "tiles")
PATHS = (
    "value", "value-attention-only", "value-positional", "value-maskclip", "vanilla", "sclip", "clearclip", "naclip",
    "clip-surgery", "gem", "resclip", "itaclip", "kk-all-blocks", "sc-clip", "sfp", "dih-clip", "pearl",
    "pearl-in-five-steps", "cliper",
)  # fmt: skip
"""Of the table of paths, which needs torch, those that no features or masks must be handed to."""
SCHEDULES = (
    "toyworld", "voc20", "context59", "cityscapes", "coco-stuff", "ade150",
    "voc20-zero-shot", "context59-zero-shot", "coco-stuff-zero-shot",
)  # fmt: skip
"""Of `plus.SCHEDULES`, which needs torch too."""


def completing(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Make of names, which are listed only when they are asked for, what typer completes by.

    Example:
        >>> completing(lambda: FITS)("wh")
        ['whole']
    """

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def model_names() -> list[str]:
    """List the bundled models and those of open_clip.

    Example:
        >>> model_names()[:3], "ViT-B-16" in model_names()
        (['bundled-resnet', 'bundled-vit', 'bundled-vit-cls'], True)
    """
    table = files("denseclip_viz.clip.load").joinpath("models.json").read_text(encoding="utf-8")
    return [*(f"bundled-{name}" for name in BUNDLED), *json.loads(table)]


def listed_in(module: str, table: str) -> Callable[[], Iterable[str]]:
    """Read names of a table of this package, whose module is imported only when they are asked for.

    Example:
        >>> "sclip" in listed_in("presets", "PRESETS")()
        True
    """
    return lambda: getattr(import_module(f"denseclip_viz.{module}"), table)


preset_names = listed_in("presets", "PRESETS")
template_sets = listed_in("prompts.templates", "TEMPLATE_SETS")
layouts = listed_in("datasets.layouts", "LAYOUTS")


def datasets() -> list[str]:
    """List what can be measured: the layouts, and the bundled world.

    Example:
        >>> datasets()[0]
        'toyworld'
    """
    return ["toyworld", *layouts()]
