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
    "ensemble": "clip.text.encode",
    "Native": "geometry",
    "Whole": "geometry",
    "Tiles": "geometry",
    "Background": "maps.segment",
    "key_smoothing": "maps.refine",
    "prompt_denoising": "maps.refine",
    "models": "clip.load.models",
    "templates_table": "measure.template_table",
    "disagreement": "measure.template_table",
    "rank_templates": "measure.rank",
    "rank_synonyms": "measure.rank",
    "select_templates": "measure.ensemble_selection",
    "word_attribution": "measure.word_effects",
    "explore": "explorers.explorer",
    "layer_lens": "explorers.layer_lens",
    "template_lab": "explorers.template_lab",
    "Canvas": "canvas.widget",
    "link": "canvas.widget",
    "save_html": "canvas.page",
    "show_versions": "versions",
    "DenseclipVizError": "errors",
}
_MODULES = {"maps": "maps", "measure": "measure", "plot": "plot", "toyworld": "toyworld"}

if TYPE_CHECKING:
    from denseclip_viz import maps, measure, plot, toyworld
    from denseclip_viz.canvas.page import save_html
    from denseclip_viz.canvas.widget import Canvas, link
    from denseclip_viz.clip.load.models import models
    from denseclip_viz.clip.text.bank import ensemble
    from denseclip_viz.errors import DenseclipVizError
    from denseclip_viz.explorers.explorer import explore
    from denseclip_viz.explorers.layer_lens import layer_lens
    from denseclip_viz.explorers.template_lab import template_lab
    from denseclip_viz.geometry import Native, Tiles, Whole
    from denseclip_viz.loading import load
    from denseclip_viz.maps.refine import key_smoothing, prompt_denoising
    from denseclip_viz.maps.segment import Background
    from denseclip_viz.measure.ensemble_selection import select_templates
    from denseclip_viz.measure.rank import rank_synonyms, rank_templates
    from denseclip_viz.measure.template_table import disagreement, templates_table
    from denseclip_viz.measure.word_effects import word_attribution
    from denseclip_viz.model import Model
    from denseclip_viz.prompts import CLASS_LISTS, TEMPLATE_SETS, Prompts, class_list, template_set
    from denseclip_viz.trace import Trace
    from denseclip_viz.versions import show_versions

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
    "maps",
    "measure",
    "models",
    "plot",
    "prompt_denoising",
    "rank_templates",
    "rank_synonyms",
    "save_html",
    "show_versions",
    "select_templates",
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
