"""A student beside its teacher on labelled images: IoU of classes, and of those seen and unseen in training."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.paths import choose_path
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.errors import ImageError, PromptError
from denseclip_viz.features.feature_question import with_preset
from denseclip_viz.geometry import Fit
from denseclip_viz.maps.finer_choice import FinerLike, choose_finer
from denseclip_viz.maps.similarity import choose_formula
from denseclip_viz.measure.class_scores import summary
from denseclip_viz.measure.engines import Engine
from denseclip_viz.measure.evaluation import run, whole
from denseclip_viz.measure.ladder import over_classes
from denseclip_viz.measure.pixel_classes import PixelRule
from denseclip_viz.measure.protocol import NamedClasses, PixelCounts
from denseclip_viz.measure.quantities import with_quantities
from denseclip_viz.plus.student import Student
from denseclip_viz.presets import Preset
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import some

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import Model


@guarded
def evaluate(
    student: Student,
    model: Model,
    dataset: Iterable[Any],
    *,
    prompts: Prompts | None = None,
    path: str | DensePath | None = None,
    geometry: str | Fit | None = None,
    preset: str | Preset | None = None,
    finer: FinerLike | None = None,
    store: str | os.PathLike[str] | None = None,
    batch_size: int = 8,
    unreadable: Callable[[Any, ImageError], object] | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Measure a student and its teacher on the same labelled images with the same texts, in one pass of the teacher.

    Args:
        student: The student.
        model: Its teacher.
        dataset: As for `measure.evaluate_segmentation`; the student's classes are among its classes, by their names.
        prompts: Other words than the student learned, which its features can be compared with too; names of classes.
        path: The teacher's path; the preset's by default, or value.
        geometry: As for `Model.trace`; the preset's by default, or "native".
        preset: As for `measure.evaluate_segmentation`: path and geometry where they are not given, on this data set.
        finer: As for `measure.evaluate`: finer grids on which the teacher is measured too, such as "guided".
        store: As for `measure.evaluate`.
        batch_size: As for `Model.trace_many`.
        unreadable: As for `measure.evaluate`.
        engine: As for `measure.evaluate`.
        progress: Show a bar where somebody can see them.

    Returns:
        As `measure.evaluate_segmentation`, for the path, its finer grids, and "student". Where classes were unseen in
        training also `seen` and `unseen`, mIoU of each, and `hiou`, 2 · seen · unseen / (seen + unseen). Classes that
        the student was never taught have IoU 0 in `miou`, as nothing names them, and are neither seen nor unseen.

    Raises:
        PromptError: Classes that the data set does not have.
        ImageError: No image that can be read, or labels that do not fit it.

    Example:
        >>> import denseclip_viz as dcv, tempfile
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(2, size=64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     student = dcv.plus.train(model, scenes, folder, steps=1, batch=1, crop=64)
        >>> dcv.plus.evaluate(student, model, scenes, progress=False).candidate.values.tolist()
        ['value', 'student']
    """
    classes = tuple(getattr(dataset, "classes", ()))
    words, vectors = (student.prompts, student.vectors) if prompts is None else (prompts, None)
    if foreign := set(words.prompts) - set(classes):
        got, fix = f"classes {some(foreign)} that no label has", "Pass prompts= with the names of its classes."
        raise PromptError(got, expected=f"some of {some(classes, most=12)}", fix=fix)
    vectors = ensemble(model.texts.encode(words)).float() if vectors is None else vectors
    rule = PixelRule(
        owners=tuple(classes.index(name) for name in words.prompts),
        formula=choose_formula(None, model.logit_scale, model.logit_bias),
    )
    chosen, geometry = with_preset(model, dataset, preset, path, geometry)
    candidates = NamedClasses((choose_path(chosen),), words.prompts, vectors)
    options = {"geometry": geometry, "batch_size": batch_size}
    more: dict[str, Any] = {"store": store, "unreadable": unreadable, "engine": engine, "progress": progress}
    more |= {"finer": [*choose_finer(finer), student], "collect": partial(summary, classes)}
    result = whole(run(model, dataset, candidates, PixelCounts(rule, len(classes)), options, **more))
    unseen = student.training.get("settings", {}).get("schedule", {}).get("unseen", ())
    labelled = [name for name in student.prompts.prompts if name not in unseen]
    return with_quantities(result.assign(seen_and_unseen(result, unseen, labelled))) if unseen else result


def seen_and_unseen(
    measured: xr.Dataset, unseen: Collection[str], labelled: Collection[str] | None = None
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Average IoU `(candidate, class)` over classes that were seen in training, over the unseen, and over both evenly.

    Seen are those that were `labelled`, by default all that were not unseen; classes of neither kind do not count.

    Source: Xian et al., arXiv 1707.00600: the harmonic mean of generalised zero-shot learning.

    Example:
        >>> import xarray as xr
        >>> iou = xr.DataArray([[0.6, 0.3]], dims=("candidate", "class"), coords={"class": ["sky", "sheep"]})
        >>> {name: round(float(value[0]), 3) for name, (_, value) in seen_and_unseen({"iou": iou}, ["sheep"]).items()}
        {'seen': 0.6, 'unseen': 0.3, 'hiou': 0.4}
    """
    names, ious = measured["iou"]["class"].to_numpy(), measured["iou"].to_numpy()
    is_unseen = np.isin(names, list(unseen))
    is_labelled = ~is_unseen if labelled is None else np.isin(names, list(labelled))
    own, other = over_classes(ious[:, is_labelled]), over_classes(ious[:, is_unseen])
    total = own + other
    both = np.where(total > 0, 2 * own * other / np.where(total > 0, total, 1), 0.0)
    values = {"seen": own, "unseen": other, "hiou": np.where(np.isfinite(total), both, np.nan)}
    return {name: (("candidate",), value) for name, value in values.items()}
