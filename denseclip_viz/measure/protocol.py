"""Segmentation of a whole data set as papers report it: one confusion matrix of integers, and what is divided of it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from denseclip_viz import arguments
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.datasets.example import Example, classes_named_in, classes_of
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.features.stored_traces import Features
from denseclip_viz.fingerprint import by_texts
from denseclip_viz.geometry import Fit, fit_from
from denseclip_viz.maps.finer_choice import FinerLike, unsmoothed
from denseclip_viz.maps.refine import REMOVED, is_removed, left_by_denoising
from denseclip_viz.maps.segment import NO_CUT, Background, checked, refined
from denseclip_viz.maps.similarity import choose_formula, cosine_maps
from denseclip_viz.measure.class_scores import summary
from denseclip_viz.measure.engines import Engine
from denseclip_viz.measure.evaluation import run, whole
from denseclip_viz.measure.map_scores import Floats
from denseclip_viz.measure.pixel_classes import NO_CLASS, PixelRule
from denseclip_viz.measure.published_figures import Run, beside
from denseclip_viz.measure.segmentation import confusion, truth_of
from denseclip_viz.presets import Preset, preset_named
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import is_number, is_whole, short, strings

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import Model

TEMPLATE = "a photo of a {}."
Names = Mapping[str, str | Sequence[str]] | Sequence[str | Sequence[str]]


@guarded
def evaluate_segmentation(
    model: Model,
    dataset: Iterable[Any],
    *,
    preset: str | Preset | None = None,
    path: str | DensePath | Sequence[str | DensePath] | None = None,
    geometry: str | Fit | None = None,
    templates: str | Sequence[str] | None = None,
    articles: str | None = None,
    names: Names | None = None,
    background: float | Background | None = None,
    area: float | None = None,
    formula: str | None = None,
    scale: float | None = None,
    denoise: float | None = None,
    smooth: str | None = None,
    finer: FinerLike | None = None,
    features: Features | None = None,
    store: str | os.PathLike[str] | None = None,
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Name every pixel of every image by its best class, and count which class was taken for which.

    Maps are drawn at each image's own size. Counts are integers, kept image by image: whatever the order, the split
    or the interrupts, as long as batches begin at the same images they are the same, bit for bit. What is not given
    is the preset's, and what that is on this data set.

    Args:
        model: A loaded model; `load(preset=…)` does to it what a preset does to models.
        dataset: Examples with labels; it has `classes`, or is a list whose examples all have the same. Where it has
            them, `names` are what each class is called, `background` is the place of the class that is all the rest,
            and `name` chooses the preset's switches.
        preset: `"clip"`, `"maskclip-paper"`, `"sclip"`, `"sc-clip"` or a `Preset`.
        path: The path to dense features, or several: candidates of one forward pass.
        geometry: As for `Model.trace`.
        templates: As for `Prompts`; without a preset "a photo of a {}.".
        articles: As for `Prompts`; "right" where neither templates nor a preset are given.
        names: What classes are called, in their order or by class: texts, or several for one class, of which the
            highest counts.
        background: Pixels whose best name has a lower probability are background, or a
            `maps.Background(below=, cosine=)`. Without a class for it they are of no class, which is never right.
        area: Classes with no more than this share of the pixels that are no background are taken away.
        formula: As for `Model.classify`: of which probability `background` is.
        scale: What cosines are multiplied by before that softmax; by default the model's own.
        denoise: Threshold of prompt denoising; where it leaves no name, all pixels are of the first class, as in the
            official code.
        smooth: `"cosine"` or `"official"` key smoothing, `""` for none.
        finer: As for `evaluate`: finer grids on which every path is drawn and counted again, or a student.
        features: As for `evaluate`: a store of this data set's images, encoded with the same preset, path and geometry.
        store: As for `evaluate`: a file from which a killed run goes on.
        batch_size: As for `Model.trace_many`.
        unreadable: As for `evaluate`.
        engine: As for `evaluate`.
        progress: Show a bar where somebody can see it.

    Returns:
        `confusion` (candidate, true, given), pixels; `given` has "no class" last. `iou` (candidate, class), NaN for a
        class that is neither true nor given anywhere; `miou`, its mean; `accuracy` of pixels, and `mean_accuracy` of
        classes; `emptied`, images in which denoising left no name. `attrs` say with what, and in `published` what
        was reported with the same preset, data set and model, and where this run differs.

    Raises:
        PromptError: No classes, names of other classes, or a rule that cannot be.
        ImageError: No image that can be read, or labels that do not fit it.
        LayerError: Paths that one pass cannot give, or smoothing without keys.

    Warns:
        UserWarning: As `evaluate`.

    Source: mmseg's `intersect_and_union`; chongzhou96/MaskCLIP, decode_heads/maskclip_head.py.

    Example:
        >>> import denseclip_viz as dcv
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(2, "test", size=64)
        >>> measured = dcv.measure.evaluate_segmentation(model, scenes, path=["value", "vanilla"], progress=False)
        >>> measured.confusion.sum().item() == 2 * 2 * 64 * 64, measured.miou.dims
        (True, ('candidate',))
    """
    name = str(getattr(dataset, "name", ""))
    asked = preset_named(preset).on(name)
    fit = None if geometry is None else fit_from(geometry)
    given: dict[str, Any] = {"geometry": fit, "path": path, "denoise": denoise, "smooth": smooth}
    listed = templates if templates is None or isinstance(templates, str) else strings(templates, "templates")
    given |= {"scale": scale, "area": area, "templates": listed, "below": background}
    asked = replace(asked, **{name: value for name, value in given.items() if value is not None})
    classes, words = _classes(dataset, names)
    if articles is None:
        articles = "right" if asked.templates == "" else "as written"
    candidates = NamedClasses.of(model, words, asked, articles)
    measure = PixelCounts(_rule(model, asked, dataset, words, formula), len(classes))
    options = {"geometry": asked.fit(model.tower.family), "batch_size": batch_size}
    others: dict[str, Any] = {"store": store, "unreadable": unreadable, "engine": engine, "progress": progress}
    others |= {"finer": unsmoothed(finer, asked.smooth), "features": features}
    result = whole(run(model, dataset, candidates, measure, options, collect=partial(summary, classes), **others))
    about = {"preset": preset if isinstance(preset, str) else "", "articles": articles}
    about |= {"dataset": name, "split": str(getattr(dataset, "split", ""))}
    result.attrs |= described(asked, words, measure.rule, **about, **options)
    exact = replace(asked, below=measure.rule.below)
    this = Run(exact, model.tower.family, result.sizes["image"], words, model.provenance, **about)
    result.attrs["published"] = "\n".join(beside(this, candidates.names))
    return result


@dataclass(frozen=True)
class NamedClasses:
    """What is compared: paths, and on each the scores of every name of every class.

    Attributes:
        paths: Of one forward pass.
        prompts: `(name,)`.
        vectors: `(name, D)`, unit vectors.
        denoise: Threshold of prompt denoising; 0 for none.
        smooth: Normalisation of key smoothing; `""` for none.
        keys: Which keys that takes.
        texts: What the vectors are of (`TextBank.identity_of`).
    """

    paths: tuple[DensePath, ...]
    prompts: tuple[str, ...]
    vectors: Tensor
    denoise: float = 0.0
    smooth: str = ""
    keys: str = "key"
    texts: str = ""
    fingerprinted = by_texts

    @classmethod
    def of(cls, model: Model, words: Sequence[Sequence[str]], asked: Preset, articles: str) -> NamedClasses:
        """Encode each name once, all templates as one mean vector; a name may be that of several classes."""
        denoise = checked(asked.denoise, asked.smooth)
        texts = [name for each in words for name in each]
        templates = TEMPLATE if asked.templates == "" else asked.templates
        prompts = Prompts(list(dict.fromkeys(texts)), templates, articles=articles)
        vectors = ensemble(model.texts.encode(prompts))[[prompts.prompts.index(text) for text in texts]]
        chosen = arguments.choose_paths(asked.path)
        paths = (chosen,) if isinstance(chosen, DensePath) else chosen
        keys = asked.keys.get(model.tower.family) or "key"
        read = model.texts.identity_of(prompts)
        return cls(paths, tuple(texts), vectors, denoise, asked.smooth, keys, read)

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the paths."""
        return tuple(path.name for path in self.paths)

    @property
    def trace_options(self) -> Mapping[str, Any]:
        """Dense features of all paths of one pass, and nothing else; keys where they smooth."""
        return {"path": list(self.paths), "keep": "dense", **({"keys": self.keys} if self.smooth else {})}

    def maps(self, trace: Trace) -> Floats:
        """Score every name along every path, `(path, name, y, x)`; -100 everywhere where denoising leaves none."""
        every = trace.dense if trace.has_path_axis else trace.dense[None]
        return np.stack([self._scores(cosine_maps(dense, self.vectors[None])[0], trace) for dense in every])

    def _scores(self, cosines: Tensor, trace: Trace) -> Floats:
        if self.denoise:
            is_left = left_by_denoising(cosines, self.denoise, trace.geometry.in_sight)
            cosines = torch.where(is_left[:, None, None], cosines, torch.full_like(cosines, REMOVED))
            if not is_left.any():
                return np.asarray(cosines.numpy())
        return np.asarray(refined(trace, cosines, 0.0, self.smooth)[0].numpy())


@dataclass(frozen=True)
class PixelCounts:
    """What is measured of an image: how many pixels of each true class were given each class.

    Attributes:
        rule: How pixels get their class.
        classes: How many there are.
    """

    rule: PixelRule
    classes: int

    def __call__(self, maps: Floats, example: Example, trace: Trace) -> dict[str, tuple[tuple[str, ...], Any]]:
        """Count by maps `(candidate, name, y, x)`; `emptied` is 1 where denoising left no name."""
        truth = truth_of(example, trace.geometry.image, self.classes)
        counts = np.stack([confusion(truth, self.rule.labels(each, trace.geometry), self.classes) for each in maps])
        emptied = np.array([is_removed(each) for each in maps], dtype=np.int64)
        return {"confusion": (("candidate", "true", "given"), counts), "emptied": (("candidate",), emptied)}


def _classes(dataset: Iterable[Any], names: Names | None) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """List a data set's classes, and what each is called."""
    classes = strings(classes_of(dataset), "dataset.classes")
    if not classes and len(apart := classes_named_in(dataset)) > 1:
        got, fix = f"examples of the classes {short(apart[0])} and {short(apart[1])}", "Give all of them the same."
        raise PromptError(got, expected="one list of classes, which the places in all labels mean", fix=fix)
    if not classes:
        got, fix = "a data set that names no classes", "Give it classes: what places in labels mean, in their order."
        raise PromptError(got, expected="one with classes", fix=fix)
    named: Any = getattr(dataset, "names", classes) if names is None else names
    if isinstance(named, str) or not isinstance(named, Iterable):
        got, fix = f"names={short(names)}", 'Pass {"road": ["road", "street"]}, say: the others keep theirs.'
        raise PromptError(got, expected="names by class, or a list of them in the classes' order", fix=fix)
    if isinstance(named, Mapping):
        if unknown := [name for name in named if name not in classes]:
            got, expected = f"names of {unknown[0]!r}, which is no class", f"some of {', '.join(classes[:12])}"
            raise PromptError(got, expected=expected, fix="Name classes as the data set does.")
        named = [named.get(name, name) for name in classes]
    named = list(named)
    words = tuple(strings(each, f"names of {name!r}") for name, each in zip(classes, named, strict=False))
    if len(named) != len(classes) or not all(words):
        got = f"names of {len([each for each in words if each])} classes, {len(named)} in all"
        raise PromptError(
            got, expected=f"a name or more for each of {len(classes)}", fix="Leave names out for the data set's."
        )
    return classes, words


def _rule(
    model: Model, asked: Preset, dataset: Iterable[Any], words: Sequence[Sequence[str]], formula: str | None
) -> PixelRule:
    """Put together how pixels get their class."""
    for name, value, high in (("scale", asked.scale, math.inf), ("area", asked.area, 1.0)):
        if value is not None and not is_number(value, 0, high, ends=name == "area"):
            got, expected = f"{name}={value!r}", "a share from 0 to 1" if name == "area" else "a number above 0"
            raise PromptError(got, expected=expected, fix="Leave it out for the preset's.")
    background = Background.of(asked.below)
    if background.prompts:
        got, fix = (
            f"background prompts {', '.join(background.prompts)}",
            "Make them the names of a class that is background.",
        )
        raise PromptError(got, expected="a probability, or a Background with a cosine", fix=fix)
    if asked.smooth and background.cosine is not None:
        got, fix = "a cosine for the background of smoothed scores", "Leave smooth or the cosine out."
        raise PromptError(got, expected="one of the two: smoothed scores are sums of probabilities", fix=fix)
    chosen = choose_formula(
        formula or (asked.scale and "softmax") or None, asked.scale or model.logit_scale, model.logit_bias
    )
    return PixelRule(
        owners=tuple(at for at, each in enumerate(words) for _ in each),
        formula=replace(chosen, scale=1.0) if asked.smooth and chosen.name == "softmax" else chosen,
        background=_background(dataset, len(words)),
        below=background.below,
        cosine=NO_CUT if background.cosine is None else background.cosine,
        area=float(asked.area),
    )


def _background(dataset: Iterable[Any], classes: int) -> int:
    place = getattr(dataset, "background", None)
    if place is None:
        return NO_CLASS
    if is_whole(place, 0) and place < classes:
        return place
    got, fix = f"dataset.background={place!r}", "Set it to None where no class is all the rest."
    raise PromptError(got, expected=f"the place of a class, 0 to {classes - 1}", fix=fix)


def described(asked: Preset, words: Sequence[Sequence[str]], rule: PixelRule, **more: Any) -> dict[str, str | float]:
    """Say all that decides the numbers, safe for netCDF."""
    templates = asked.templates if isinstance(asked.templates, str) else json.dumps(asked.templates)
    return {
        **{name: str(value) for name, value in more.items()},
        "names": json.dumps(words, ensure_ascii=False),
        "templates": templates or TEMPLATE,
        "denoise": asked.denoise,
        "smooth": asked.smooth,
        "formula": rule.formula.name,
        "scale": rule.formula.scale,
        "below": rule.below,
        "cosine": rule.cosine,
        "area": rule.area,
        "background": rule.background,
    }
