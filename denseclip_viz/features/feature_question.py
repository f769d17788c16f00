"""What decides the numbers of stored features: fingerprints, and what to call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from denseclip_viz import arguments
from denseclip_viz.errors import LayerError
from denseclip_viz.fingerprint import fingerprint
from denseclip_viz.geometry import fit_from
from denseclip_viz.presets import Preset, preset_named

if TYPE_CHECKING:
    from denseclip_viz.model import FitLike, Model, PathLike

Question = dict[str, tuple[str, str]]
"""By the word for each part its fingerprint, and what it is in words."""

_FACTS = ("model", "activation", "dtype", "switches", "preset")
_SHOWN = ("activation", "mean", "std", "interpolation", "resize_mode")  # switches that other facts of a model tell


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
    """Refuse texts of a model that gives images other scores than the one that encoded them; of both the provenance.

    Raises:
        LayerError: another model, or the same loaded otherwise.
    """
    for (other, ours), theirs in zip(_deciding(texts).items(), _deciding(images).values(), strict=True):
        if ours != theirs:
            options = [f'preset="{images.get("preset")}"', str(images.get("switches"))]
            asked = ", ".join(option for option in options if option not in ('preset="none"', "none"))
            fix = f"Load {images.get('model')} ({images.get('weights')}) as it was then: {asked or 'no switches'}."
            raise LayerError(f"texts of another {other}: {ours}", expected=f"{theirs}, as images were encoded", fix=fix)


def _deciding(provenance: Mapping[str, str | int]) -> dict[str, str]:
    """List what decides scores; a dtype rounds them, and whatever a preset does to a model is among the others."""
    switches = str(provenance.get("switches")).split(", ")
    return {
        "model": f"{provenance.get('model')} {provenance.get('weights_hash')}",
        "activation": str(provenance.get("activation")),
        "preparation of images": str(provenance.get("preprocess")),
        "switch": ", ".join(switch for switch in switches if not switch.startswith(_SHOWN)) or "none",
    }
