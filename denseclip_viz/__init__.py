"""See and measure what CLIP's pooled answer leaves out: global embedding against dense value-path features."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> module: everything is imported on first use, so that `import denseclip_viz` costs nothing
_LAZY = {
    "load": "loading",
    "Model": "model",
    "Trace": "trace",
    "Prompts": "prompts",
    "CLASS_LISTS": "prompts",
    "class_list": "prompts",
    "TEMPLATE_SETS": "prompts",
    "template_set": "prompts",
    "ensemble": "encode.text",
    "Native": "geometry",
    "Whole": "geometry",
    "Tiles": "geometry",
    "Background": "maps.labels",
    "key_smoothing": "maps.refine",
    "prompt_denoising": "maps.refine",
    "models": "encode.listing",
    "templates_table": "measure.templates",
    "disagreement": "measure.templates",
    "rank_templates": "measure.contest",
    "rank_wordings": "measure.contest",
    "small_ensemble": "measure.committee",
    "word_attribution": "measure.words",
    "explore": "view.explorers.explorer",
    "layer_lens": "view.explorers.lens",
    "template_lab": "view.explorers.lab",
    "Canvas": "view.canvas.widget",
    "link": "view.canvas.widget",
    "save_html": "view.page",
    "show_versions": "versions",
    "DenseclipVizError": "errors",
}
_MODULES = {"plot": "view.plot", "toyworld": "toyworld"}

if TYPE_CHECKING:
    from denseclip_viz import toyworld
    from denseclip_viz.encode.listing import models
    from denseclip_viz.encode.text import ensemble
    from denseclip_viz.errors import DenseclipVizError
    from denseclip_viz.geometry import Native, Tiles, Whole
    from denseclip_viz.loading import load
    from denseclip_viz.maps.labels import Background
    from denseclip_viz.maps.refine import key_smoothing, prompt_denoising
    from denseclip_viz.measure.committee import small_ensemble
    from denseclip_viz.measure.contest import rank_templates, rank_wordings
    from denseclip_viz.measure.templates import disagreement, templates_table
    from denseclip_viz.measure.words import word_attribution
    from denseclip_viz.model import Model
    from denseclip_viz.prompts import CLASS_LISTS, TEMPLATE_SETS, Prompts, class_list, template_set
    from denseclip_viz.trace import Trace
    from denseclip_viz.versions import show_versions
    from denseclip_viz.view import plot
    from denseclip_viz.view.canvas.widget import Canvas, link
    from denseclip_viz.view.explorers.explorer import explore
    from denseclip_viz.view.explorers.lab import template_lab
    from denseclip_viz.view.explorers.lens import layer_lens
    from denseclip_viz.view.page import save_html

__all__ = [
    "Background",
    "CLASS_LISTS",
    "Canvas",
    "DenseclipVizError",
    "Model",
    "Native",
    "Prompts",
    "TEMPLATE_SETS",
    "Tiles",
    "Trace",
    "Whole",
    "class_list",
    "disagreement",
    "ensemble",
    "explore",
    "key_smoothing",
    "layer_lens",
    "link",
    "load",
    "models",
    "plot",
    "prompt_denoising",
    "rank_templates",
    "rank_wordings",
    "save_html",
    "show_versions",
    "small_ensemble",
    "template_lab",
    "template_set",
    "templates_table",
    "toyworld",
    "word_attribution",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"denseclip_viz.{_MODULES[name]}")
    if name in _LAZY:
        return getattr(importlib.import_module(f"denseclip_viz.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'denseclip_viz' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
