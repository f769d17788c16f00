"""What decides the numbers of stored features: fingerprints, and what to call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from denseclip_viz import arguments
from denseclip_viz.clip.load.switches import text_facts
from denseclip_viz.errors import LayerError
from denseclip_viz.fingerprint import fingerprint
from denseclip_viz.geometry import fit_from
from denseclip_viz.presets import Preset, preset_named

if TYPE_CHECKING:
    from denseclip_viz.model import FitLike, Model, PathLike

Question = dict[str, tuple[str, str]]
"""By the word for each part its fingerprint, and what it is in words."""

_FACTS = ("model", "activation", "dtype", "switches", "preset")


def with_preset(
    model: Model, dataset: object, preset: str | Preset | None, path: PathLike | None, geometry: FitLike | None
) -> tuple[PathLike, FitLike]:
    """Choose path and geometry: what is given, else the preset's on a data set."""
    asked = preset_named(preset).on(str(getattr(dataset, "name", "")))
    fit = asked.fit(model.tower.family) if geometry is None else geometry
    return asked.path if path is None else path, fit


def question_of(model: Model, geometry: FitLike) -> Question:
    """List what decides the numbers of every path."""
    facts = {name: str(model.provenance.get(name, "")) for name in _FACTS}
    weights = model.clip.visual if hasattr(model.clip, "visual") else model.clip
    fit = fit_from(geometry)
    parts: dict[str, tuple[object, Any]] = {
        "preparation of images": (model.preprocess, model.provenance.get("preprocess", "")),
        "model": (facts, ", ".join(filter(None, [facts["model"], facts["activation"], facts["dtype"]]))),
        "weights": (weights, f"{model.provenance.get('weights', '')} ({model.provenance.get('weights_hash', '')})"),
        "geometry": (fit, fit),
    }
    return {what: (fingerprint(part), str(words)) for what, (part, words) in parts.items()}


def path_fingerprints(path: PathLike) -> dict[str, str]:
    """List the paths that are asked for, each with a fingerprint of all its switches."""
    chosen = arguments.choose_paths(path)
    return {one.name: fingerprint(one) for one in (chosen if isinstance(chosen, tuple) else (chosen,))}


def differing(asked: Question, stored: Question) -> tuple[str, str, str] | None:
    """Name the parts that are not the same, with what they are in the store and what is asked; None if all are."""
    other = [what for what, (mark, _) in asked.items() if stored.get(what, ("", ""))[0] != mark]
    theirs, ours = ("; ".join(question.get(what, ("", "none"))[1] for what in other) for question in (stored, asked))
    return (", ".join(other), theirs, ours) if other else None


def refuse_other_texts(texts: Mapping[str, str | int], images: Mapping[str, str | int]) -> None:
    """Refuse texts of another text tower than that of the model which encoded images; of both the provenance.

    How images were prepared, and what was switched in the image tower alone, is the images' own.

    Raises:
        LayerError: another model, or the same with another activation.
    """
    for what in ("model", "weights_hash"):
        if texts.get(what) != images.get(what):
            got, theirs = (f"{facts.get('model')} {facts.get('weights_hash')}" for facts in (texts, images))
            expected = f"those of {theirs}, which encoded the images"
            raise LayerError(f"texts of {got}", expected=expected, fix="Load that model.")
    mine, theirs = (text_facts(facts)["activation"] for facts in (texts, images))
    if mine != theirs:
        fix = f'Pass activation="{theirs}" to load().'
        raise LayerError(f"texts by {mine}", expected=f"{theirs}, as of the model that encoded the images", fix=fix)
