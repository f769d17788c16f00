"""What a model of the bundled world can do, measured on scenes it has never seen.

Every method names every pixel out of all classes of the world at once; the score is mIoU over the images together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice, tee
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.datasets.example import Example
from denseclip_viz.measure import segmentation
from denseclip_viz.measure.candidates import VALUE, Baselines, TextCandidates
from denseclip_viz.measure.evaluation import run
from denseclip_viz.measure.map_methods import MapMethods, method_named
from denseclip_viz.measure.segmentation import Labels, mean, most_confused, pixel_areas, share_right
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.toyworld.scenes import DRAWN, Scene
from denseclip_viz.toyworld.vocabulary import CLASSES, FAMILIES, FAMILY_OF, KINDS, STUFF, noun_phrase
from denseclip_viz.toyworld.world import dataset, sibling_scenes
from denseclip_viz.trace import Trace
from denseclip_viz.train import retrieval

if TYPE_CHECKING:
    import xarray as xr

Say = Callable[[str], None]
Embedded = dict[int, Tensor]
Numbers = dict[str, tuple[tuple[str, ...], Any]]
TEMPLATES = ("{}", "a photo of {}", "there is {} in the scene", "a picture of {}", "an illustration of {}")
CEILING, PRESENT = "grid ceiling", "value, present classes only"
FIRST = ", first scenes"  # behind the name of what was measured on those alone
RETRIEVAL = "retrieval top-1 of 64"
PARTS: dict[str, NDArray[np.bool_]] = {
    "all": np.ones(len(CLASSES), bool),
    "things": np.array([name in KINDS for name in CLASSES]),
    "stuff": np.array([name in STUFF for name in CLASSES]),
}
_FAMILY = np.array([list(FAMILIES).index(FAMILY_OF[kind]) for kind in KINDS])
_KINDS, _STUFF = (np.flatnonzero(PARTS[part]).tolist() for part in ("things", "stuff"))
_MADE_WITH = ("model", "weights", "weights_hash", "random_weights")


def report(
    model: Model, *, n: int = 500, slow: int = 100, size: int = 256, progress: Say = lambda _: None
) -> dict[str, Any]:
    """Measure everything, on the held-out test split; the same numbers every time.

    Args:
        model: A model of the bundled world.
        n: Scenes for segmentation and naming; retrieval takes one group of 64 for each 64 of them, at least two.
        slow: Scenes for Grad-CAM.
        size: Pixels a side of the scenes.
        progress: Called with what begins.

    Returns:
        Plain numbers by name, ready for JSON.
    """
    candidates, scenes = Baselines.of(model, class_vectors(model)), dataset(n, "test", size=size)
    progress(f"segmentation and naming of {n} scenes")
    measured = run(model, scenes, candidates, measure_scene, {}, progress=False)
    progress(f"Grad-CAM of {min(n, slow)} scenes")
    ways, present = (method_named(model, "grad-cam"),), (False,) * len(CLASSES)
    grad_cam = MapMethods(model, ways, CLASSES, present, candidates.ensembled)
    cams = run(model, scenes[:slow], grad_cam, pixel_areas, {}, progress=False)
    progress("retrieval")
    seeds, embeddings = measured["seed"].values.tolist(), torch.from_numpy(measured["embedding"].values)
    known = dict(zip(seeds, embeddings, strict=True))
    groups = _retrieval(model, max(2, n // retrieval.AMONG), size, known)
    progress("two siblings in one image")
    pairs = two_siblings(model, sibling_scenes(max(1, n // 4), "test", size=size), candidates.ensembled)
    return {
        "scenes": n,
        "model": {key: model.provenance[key] for key in _MADE_WITH if key in model.provenance},
        **groups,
        "naming": naming(measured["main"].values, measured["embedding"].values, candidates.ensembled.numpy()),
        **segmentation_scores(measured, cams),
        "two siblings": pairs,
    }


def class_vectors(model: Model) -> Tensor:
    """Encode the names of all classes in templates that captions know, `(template, class, D)`."""
    return model.texts.encode(Prompts([noun_phrase(name) for name in CLASSES], TEMPLATES))


def measure_scene(maps: NDArray[np.floating], example: Example, trace: Trace) -> Numbers:
    """Measure all that needs no other scenes; the oracle's areas are of the grid's ceiling and of present classes."""
    scene, labels, geometry = example.image, example.labels, trace.geometry
    assert labels is not None
    ceiling = segmentation.grid_ceiling(labels, geometry, len(CLASSES))
    present = segmentation.present_only(torch.from_numpy(maps[0]), labels)
    oracle = [segmentation.areas_of(scores, labels, geometry) for scores in (ceiling, present)]
    main = max(scene.things, key=lambda thing: int(thing.mask.sum()), default=None)
    return {
        **pixel_areas(maps, example, trace),
        "oracle": (("method", "class", "area"), oracle),
        "main": ((), -1 if main is None else KINDS.index(main.kind)),
        "embedding": (("channel",), trace.global_embedding),
        "seed": ((), scene.seed),
    }


def segmentation_scores(measured: xr.Dataset, cams: xr.Dataset) -> dict[str, Any]:
    """Divide areas that are summed over scenes: mIoU of every method, of classes, and as a share of the ceiling."""
    value, *others = measured["candidate"].values.tolist()
    areas, oracle = np.moveaxis(measured["areas"].values, 1, 0), np.moveaxis(measured["oracle"].values, 1, 0)
    methods = {CEILING: oracle[0], value: areas[0], PRESENT: oracle[1], **dict(zip(others, areas[1:], strict=True))}
    on_all = list(methods)
    if slow := cams.sizes["image"]:
        methods |= {VALUE + FIRST: areas[0, :slow], "Grad-CAM" + FIRST: cams["areas"].values[:, 0]}
    scores = {method: segmentation.areas_iou(of.sum(0)) for method, of in methods.items()}
    miou = {method: {part: mean(iou[rows]) for part, rows in PARTS.items()} for method, iou in scores.items()}
    by_class = dict(zip(CLASSES, scores[VALUE], strict=True))
    return {
        "mIoU": {method: {**miou[method], "scenes": len(of)} for method, of in methods.items()},
        "share of the ceiling": {method: share(miou[method], miou[CEILING]) for method in on_all},
        "IoU by class": {name: mean([iou]) for name, iou in by_class.items()},
        "characters mIoU": mean(by_class[kind] for kind in FAMILIES["character"]),
    }


def share(scores: Mapping[str, float | None], of: Mapping[str, float | None]) -> dict[str, float | None]:
    """Divide scores by those of another method on the same scenes, part by part."""
    pairs = {part: (score, of[part]) for part, score in scores.items()}
    return {part: round(a / b, 4) if a is not None and b else None for part, (a, b) in pairs.items()}


def naming(main: NDArray[np.intp], embeddings: NDArray[np.floating], vectors: NDArray[np.floating]) -> dict[str, Any]:
    """Name the main thing of scenes from the global embedding: out of all kinds, and among its siblings alone.

    `main` (image) is the kind of each scene's largest thing; one without things, -1, says nothing. Embeddings are
    `(image, D)`, vectors `(class, D)`.
    """
    there = main >= 0
    unit = embeddings[there] / np.linalg.norm(embeddings[there], axis=-1, keepdims=True)
    scores, main = unit @ vectors[_KINDS].T, main[there]
    matrix = segmentation.confusion_in_groups(main, scores, _FAMILY)
    return {
        "scenes": len(main),
        "top-1": mean(scores.argmax(1) == main),
        "among siblings": {family: share_right(block(matrix, family)) for family in FAMILIES},
        "most confused": {family: most_confused(block(matrix, family), kinds) for family, kinds in FAMILIES.items()},
        "matrix": matrix.tolist(),
    }


def block(matrix: NDArray[np.int64], family: str) -> NDArray[np.int64]:
    """Cut a family out of the matrix of all kinds."""
    rows = [KINDS.index(kind) for kind in FAMILIES[family]]
    return matrix[np.ix_(rows, rows)]


def two_siblings(model: Model, scenes: Iterable[Scene], vectors: Tensor) -> dict[str, Any]:
    """Ask for two siblings in one image, against all stuff, over all scenes and family by family.

    Scenes of which only one thing is seen say nothing about two, and are left out.
    """
    shown = (scene for scene in scenes if len(scene.things) > 1)
    pairs = run(model, shown, value_path(vectors), measure_pair, {}, progress=False)
    family_of = pairs["family"].values if pairs.sizes["image"] else np.zeros(0)
    families = {family: pairs.isel(image=family_of == at) for at, family in enumerate(FAMILIES)}
    return {**summarize_pairs(pairs), "by family": {name: summarize_pairs(part) for name, part in families.items()}}


def measure_pair(maps: NDArray[np.floating], example: Example, trace: Trace) -> Numbers:
    """Measure the two nearest things of a scene."""
    things = example.image.things[:2]
    pair, masks = [CLASSES.index(thing.kind) for thing in things], [thing.mask for thing in things]
    numbers = segmentation.two_at_once(torch.from_numpy(maps[0]), pair, masks, _STUFF, trace.geometry)
    return {**numbers, "family": ((), list(FAMILIES).index(FAMILY_OF[things[0].kind]))}


def summarize_pairs(pairs: xr.Dataset) -> dict[str, Any]:
    """Average IoU alone and together, and say what share of each one's pixels goes to the other."""
    names = ("alone", "together", "given", "pixels")
    alone, together, given, pixels = (pairs[name].values if name in pairs else np.zeros(0) for name in names)
    return {
        "scenes": pairs.sizes["image"],
        "IoU alone": mean(alone.ravel()),
        "IoU together": mean(together.ravel()),
        "given to the other": round(int(given.sum()) / int(pixels.sum()), 4) if len(pixels) else None,
    }


def scene_labels(model: Model, scenes: Sequence[Scene]) -> list[tuple[Labels, Labels]]:
    """Name the pixels of scenes, all classes competing: by the value path, and by the grid's ceiling."""

    def labels(maps: NDArray[np.floating], example: Example, trace: Trace) -> Numbers:
        assert example.labels is not None
        ceiling = segmentation.grid_ceiling(example.labels, trace.geometry, len(CLASSES))
        both = [segmentation.label_pixels(scores, trace.geometry) for scores in (torch.from_numpy(maps[0]), ceiling)]
        return {"labels": (("kind", "row", "column"), both)}

    named = run(model, scenes, value_path(ensemble(class_vectors(model))), labels, {}, progress=False)
    return [(value, grid) for value, grid in named["labels"].values]


def value_path(vectors: Tensor) -> TextCandidates:
    """Make the value path of all classes the one candidate."""
    return TextCandidates("path", (VALUE,), CLASSES, (), (), vectors[None])


def _retrieval(model: Model, groups: int, size: int, embedded: Embedded) -> dict[str, Any]:
    """Measure both ways on distinct captions, beside what the truth could tell, and on captions true of one image."""

    def embed(group: retrieval.Group) -> tuple[Tensor, Tensor]:
        return _images(model, group, embedded), model.encode_text(group.captions)

    plain, truth, posed, dropped = [], [], [], 0
    one, other = tee(retrieval.endless(size, "test"))  # the two go through the same scenes side by side
    streams = zip(retrieval.distinct(one), retrieval.unambiguous(other), strict=True)
    for group, apart in islice(streams, groups):
        plain.append(retrieval.find_nearest(group, embed))
        truth.append(retrieval.oracle(group))
        posed.append(retrieval.find_nearest(apart, embed))
        dropped += apart.dropped
    return {
        RETRIEVAL: {**_shares(plain), "groups": groups},
        f"{RETRIEVAL}, oracle": _shares(truth),
        f"{RETRIEVAL}, one truth": {**_shares(posed), "groups": groups, "dropped": dropped},
    }


def _images(model: Model, group: retrieval.Group, embedded: Embedded) -> Tensor:
    """Embed the images of a group, `(image, D)`; those that were looked at before need no second look."""
    new = [k for k, seed in enumerate(group.seeds) if seed not in embedded]
    for k, trace in zip(new, model.trace_many(map(_as_drawn, group.images[new])), strict=True):
        embedded[group.seeds[k]] = trace.global_embedding
    return torch.stack([embedded[seed] for seed in group.seeds])


def _as_drawn(pixels: NDArray[np.uint8]) -> Image.Image:
    """Mark a scene's pixels as drawn, as its file is: a bundled model cautions of all others."""
    image = Image.fromarray(pixels)
    image.info["comment"] = DRAWN
    return image


def _shares(each: Sequence[retrieval.Retrieval]) -> dict[str, float]:
    return {what: round(share, 4) for what, share in asdict(retrieval.averaged(each)).items()}
