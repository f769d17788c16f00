"""Teach a network by a model's maps, then by itself; killed at any moment, it goes on to the same weights."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from denseclip_viz.arguments import check_workers
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.load.checkpoints import choose_device
from denseclip_viz.clip.load.switches import tower_facts
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.prefetch import ahead, cores, threads
from denseclip_viz.clip.preparation import warn_once
from denseclip_viz.clip.surroundings import guarded
from denseclip_viz.clip.text.encode import ensemble
from denseclip_viz.errors import DeviceError, GeometryError, ImageError, PromptError, WeightsError, warn
from denseclip_viz.files import check_target, make_folder
from denseclip_viz.fingerprint import fingerprint
from denseclip_viz.images import ImageLike, describe
from denseclip_viz.measure.group_work import as_stored, digest_of
from denseclip_viz.measure.protocol import TEMPLATE
from denseclip_viz.plus.augment import Crop, Crops, example_at
from denseclip_viz.plus.networks import Built, build
from denseclip_viz.plus.pseudo_labels import IGNORED, OPEN, Teacher
from denseclip_viz.plus.schedules import Schedule, schedule_named
from denseclip_viz.plus.student import Student
from denseclip_viz.plus.training_run import COLUMNS, TrainingRun
from denseclip_viz.progress import bar
from denseclip_viz.prompts import Prompts
from denseclip_viz.prompts.prompts import Named
from denseclip_viz.train.loop import STATE, whole_steps
from denseclip_viz.validation import check_function, is_number, is_on, is_whole, one_of, some

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from denseclip_viz.model import Model

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
_LOOKED_AT = 8  # images
Unreadable = Callable[[Any, ImageError], object]


@guarded
def train(
    model: Model,
    dataset: Sequence[Any],
    folder: str | os.PathLike[str],
    *,
    preset: str | Schedule = "toyworld",
    classes: Named | None = None,
    templates: str | Sequence[str] | None = None,
    articles: str | None = None,
    labels: str | None = None,
    unseen: Sequence[str] | None = None,
    network: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    steps: int | None = None,
    guided: int | None = None,
    batch: int | None = None,
    crop: int | tuple[int, int] | None = None,
    path: str | DensePath | None = None,
    refinement: str | None = None,
    confidence: float | None = None,
    seed: int = 0,
    precision: str = "fp32",
    device: str | torch.device = "cpu",
    devices: int = 1,
    workers: int | None = None,
    resume: bool = True,
    every: float = 60.0,
    unreadable: Unreadable | None = None,
    progress: bool = True,
) -> Student:
    """Teach a segmentation network what a model's dense maps name, and then what it names itself; with no label.

    Its classifier are the vectors of texts, which nothing changes: it stays open to other words. The same call goes
    on where a stopped or killed one was, to the same bits on the same machine; after the last step it gives the
    student at once. What is not given is the preset's.

    Args:
        model: The teacher; never changed.
        dataset: Images: of the bundled world, from `datasets.read`, files, examples. Indexed; read when their turn
            comes, each again in every pass over them.
        folder: Where `state.safetensors`, the checkpoint, is kept, and replaced whole.
        preset: A name of `plus.SCHEDULES`, or a `Schedule` of your own.
        classes: Which of the data set's classes to learn, or any names where no label is read; with synonyms as for
            `Prompts`. By default all, as the data set calls them. Pixels of others are ignored where labels are read.
        templates: As for `Prompts`; "a photo of a {}." by default.
        articles: As for `Prompts`; "right" where templates are not given.
        labels: "none": no label is read. "ignored": only where nothing is to be learned, as published numbers were
            made. "seen": all but those of `unseen` classes.
        unseen: Classes whose labels are not used; they alone compete for their pixels (transductive zero-shot).
        network: "clip-fpn", "deeplabv3-resnet50", "smp:Unet:resnet18", …
        weights: A file of its backbone's weights; by default its own or random ones. Nothing is downloaded.
        steps: How many; by fewer a schedule is compressed.
        guided: How many of them, the first, learn from the teacher; the others from the student's own labels.
        batch: Images a step, on all devices together.
        crop: Pixels, a side or (height, width).
        path: The teacher's path to dense features.
        refinement: "guided" or "".
        confidence: Pixels whose best name has a lower probability are not learned from.
        seed: Of the first weights, the order of images, crops, colours.
        precision: "fp32", or "bf16": products in bfloat16, weights in fp32.
        device: "cpu", "cuda", … for the student.
        devices: How many of them, each in a process of its own that runs the whole script (lightning-fabric, DDP).
        workers: Threads that prepare images ahead; by default one beside a CPU, and one a core beside a GPU.
        resume: Go on from the folder's checkpoint; False starts over.
        every: Seconds between two checkpoints.
        unreadable: Called with an image that cannot be read, or its name where a run goes on, and the error; by default
            a warning names it. The next image that can be read is learned from in its place.
        progress: Show a bar where somebody can see it.

    Returns:
        The student; its `training` holds the settings and curves (`rate`, `loss`, `confident`, `agreement` by step).

    Raises:
        DenseclipVizError: An option that cannot be, no readable image, a folder of another training, or a rate at
            which the loss is not finite any more.
        KeyboardInterrupt: After the step at hand, which is kept.

    Source: Zhou, Loy, Dai (arXiv 2112.01071), DenseCLIP+ / MaskCLIP+.

    Example:
        >>> import denseclip_viz as dcv, tempfile
        >>> model, scenes = dcv.load(), dcv.toyworld.dataset(4, size=64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     student = dcv.plus.train(model, scenes, folder, steps=1, batch=1, crop=64, classes=["grass", "sky"])
        >>> student.training["settings"]["schedule"]["labels"]
        'none'
    """
    given: dict[str, Any] = {
        "labels": labels,
        "unseen": unseen,
        "network": network,
        "steps": steps,
        "guided": guided,
        "batch": batch,
    }
    given |= {"crop": crop, "path": path, "refinement": refinement, "confidence": confidence}
    schedule = schedule_named(preset).with_changes(given)
    leave_out = check_function(unreadable, "unreadable") or _leave_out
    resume = is_on(resume, "resume", error=WeightsError)
    _check(model, dataset, schedule, seed=seed, every=every, workers=workers)
    prompts, seed = _prompts(dataset, classes, templates, articles), int(seed)
    places = _places(dataset, prompts, schedule)
    fabric = _fabric(precision, choose_device(device), devices, schedule)
    vectors = ensemble(model.texts.encode(prompts)).float().clone()
    built = build(schedule.network, vectors.shape[1], teacher=model.tower, weights=weights, seed=seed)
    about = _settings(model, dataset, prompts, built, schedule)
    settings = {**about, "seed": seed, "precision": precision, "devices": devices}
    run = _begun(model, built, vectors, _open_classes(prompts, schedule), schedule, fabric, seed, settings)
    place = make_folder(folder)
    if resume:
        run.resume(place)
        for name in run.unread:
            fix = "Mend it and start over, or leave it out."
            leave_out(name, ImageError(f"{name} could not be read", expected="an image", fix=fix))
    crops = Crops(dataset, schedule, model.preprocess, places, seed, model.provenance)
    with memory_guard("batch or crop"), bar("steps", wanted=fabric.is_global_zero and progress) as advance:
        _go_on(run, crops, place, every, workers, leave_out, advance)
    return _student(run, built, prompts, model)


def _go_on(
    run: TrainingRun,
    crops: Crops,
    folder: Path,
    every: float,
    workers: int | None,
    unreadable: Unreadable,
    advance: Callable[[int, int], object],
) -> None:
    """Do the steps that are left, and keep them."""
    fabric, schedule, begun, written = run.fabric, run.schedule, run.step, time.monotonic()
    if begun < schedule.steps:
        check_target(folder / STATE, [".safetensors"], force=True)
    mine = range(fabric.global_rank, schedule.batch, fabric.world_size)
    places = ((step, place) for step in range(begun, schedule.steps) for place in mine)
    count = workers if workers is not None else 1 if fabric.device.type == "cpu" else cores()
    with threads(count) as pool, whole_steps() as interrupts:
        prepared = ahead(crops.at, places, pool, most=2 * len(mine))
        while run.step < schedule.steps and not interrupts:
            run.learn(list(_noted(islice(prepared, len(mine)), run, unreadable)))
            advance(run.step, schedule.steps)
            if fabric.is_global_zero and time.monotonic() - written > every:
                run.checkpoint(folder)
                written = time.monotonic()
        if fabric.is_global_zero and run.step > begun:
            run.checkpoint(folder)
    fabric.barrier()
    if interrupts:
        raise KeyboardInterrupt


def _noted(crops: Iterator[Crop], run: TrainingRun, unreadable: Unreadable) -> Iterator[Crop]:
    """Name each image once that could not be read, and say once that the teacher is not made for such images."""
    for crop in crops:
        for image, error in crop.unread:
            if (name := describe(image)) not in run.unread:
                run.unread.append(name)
                unreadable(image, error)
        warn_once({"caution": crop.caution} if crop.caution else {}, run.teacher.checked)
        yield crop


def _leave_out(_: ImageLike, error: ImageError) -> None:
    warn(f"Left out: {error}")


def _check(
    model: Model, dataset: Sequence[Any], schedule: Schedule, *, seed: object, every: object, workers: object
) -> None:
    """Refuse what cannot be learned from."""
    if isinstance(dataset, str | bytes | Mapping) or not hasattr(dataset, "__getitem__") or not len(dataset):
        got, fix = f"a {type(dataset).__name__} to learn from", "Pass a data set, or a list of images."
        raise ImageError(got, expected="images that can be counted and indexed, one or more", fix=fix)
    cell = model.tower.cell
    if any(side % of for side, of in zip(schedule.crop, cell, strict=True)):
        got, fix = f"crop={schedule.crop} for cells of {cell} pixels", f"Pass for example crop={cell[0] * 8}."
        raise GeometryError(got, expected="whole cells", fix=fix)
    check_workers(workers)
    if not is_whole(seed, 0) or seed >= 2**63 or not is_number(every, 0):
        got = f"seed={seed!r}, every={every!r}"
        raise WeightsError(got, expected="a whole number below 2**63 and seconds, from 0", fix="Leave them out.")


def _prompts(
    dataset: Sequence[Any], classes: Named | None, templates: str | Sequence[str] | None, articles: str | None
) -> Prompts:
    """Say what the student's classes are called."""
    named: Any = classes
    if classes is None:
        own = tuple(getattr(dataset, "classes", ()))
        names = getattr(dataset, "names", [(name,) for name in own])
        named = {name: list(each) for name, each in zip(own, names, strict=True)}
    if not named:
        got, fix = "images without classes", "Pass classes=['grass', 'sky', …]."
        raise PromptError(got, expected="names of what to tell apart", fix=fix)
    by_default = "right" if templates is None else "as written"
    return Prompts(named, TEMPLATE if templates is None else templates, articles=articles or by_default)


def _open_classes(prompts: Prompts, schedule: Schedule) -> tuple[int, ...]:
    """List the classes that have no labels."""
    if unknown := set(schedule.unseen) - set(prompts.prompts):
        expected = f"some of {some(prompts.prompts, most=12)}"
        raise PromptError(f"unseen {some(unknown)}, which is no class", expected=expected, fix="Name classes.")
    chosen = schedule.unseen or prompts.prompts
    return tuple(at for at, name in enumerate(prompts.prompts) if name in chosen)


def _places(dataset: Sequence[Any], prompts: Prompts, schedule: Schedule) -> tuple[int, ...]:
    """Say what each of the data set's classes is to the student."""
    if schedule.labels == "none":
        return ()
    own = tuple(getattr(dataset, "classes", ()))
    if foreign := set(prompts.prompts) - set(own):
        got, fix = f"classes {some(foreign)} that no label has", "Leave classes out for the data set's, or labels."
        raise PromptError(got, expected=f"some of {some(own, most=12)}", fix=fix)
    unlabelled = schedule.unseen or prompts.prompts
    at = {name: OPEN if name in unlabelled else place for place, name in enumerate(prompts.prompts)}
    return tuple(at.get(name, IGNORED) for name in own)


def _fabric(precision: str, device: torch.device, devices: int, schedule: Schedule) -> Fabric:
    """Choose devices and precision, and begin the other processes."""
    one_of(precision, tuple(PRECISIONS), "precision", error=DeviceError)
    if not is_whole(devices, 1) or schedule.batch % devices:
        got = f"devices={devices!r} for batches of {schedule.batch}"
        raise DeviceError(got, expected="a number that divides the batch", fix="Pass batch= too.")
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        got, fix = "Training without lightning-fabric", 'Run pip install "denseclip_viz[plus]".'
        raise DeviceError(got, expected="the extra `plus`", fix=fix) from error
    chosen: Any = devices if devices > 1 or device.index is None else [device.index]
    kinds: Any = {"accelerator": device.type, "precision": PRECISIONS[precision]}
    fabric = Fabric(devices=chosen, strategy="ddp" if devices > 1 else "auto", **kinds)
    if devices > 1:
        fabric.launch()
    return fabric


def _begun(
    model: Model,
    built: Built,
    vectors: Tensor,
    classes: tuple[int, ...],
    schedule: Schedule,
    fabric: Fabric,
    seed: int,
    settings: dict[str, Any],
) -> TrainingRun:
    network = built.network.to(memory_format=torch.channels_last)
    learned = [p for p in network.parameters() if p.requires_grad]
    optimizer: torch.optim.Optimizer
    if schedule.optimizer == "sgd":
        optimizer = torch.optim.SGD(learned, schedule.rate, schedule.momentum, weight_decay=schedule.decay)
    else:
        optimizer = torch.optim.AdamW(learned, schedule.rate, weight_decay=schedule.decay)
    wrapped, stepped = fabric.setup(network, optimizer)
    teacher = Teacher(model, vectors, classes, schedule, fabric.device)
    classifier = vectors.to(fabric.device)
    return TrainingRun(
        network, wrapped, optimizer, stepped, fabric, teacher, classifier, classes, schedule, seed, settings
    )


def _settings(
    model: Model, dataset: Sequence[Any], prompts: Prompts, built: Built, schedule: Schedule
) -> dict[str, Any]:
    """Say everything that decides the weights, as JSON holds it."""
    about: dict[str, Any] = {name: str(getattr(dataset, name, "")) for name in ("name", "split")}
    known = ("model", "weights", "weights_hash", "dtype")
    about |= {"images": len(dataset), "content": _content(dataset, schedule.labels)}
    return {
        "schedule": schedule.facts(),
        "network": dict(built.facts),
        "dataset": about,
        "classes": dict(zip(prompts.prompts, map(list, prompts.synonyms), strict=True)),
        "teacher": {name: model.provenance[name] for name in known if name in model.provenance}
        | tower_facts(model.provenance),
        "texts": model.texts.identity_of(prompts),  # behind what says more when it differs
    }


def _content(dataset: Sequence[Any], labels: str) -> str:
    """Fingerprint a few images, spread evenly, with the labels that are read: tell data sets of one size apart."""
    places = np.linspace(0, len(dataset) - 1, min(len(dataset), _LOOKED_AT)).round().astype(int)
    few = [example_at(dataset, place) for place in places.tolist()]
    return fingerprint([as_stored(each.image) if labels == "none" else digest_of(each) for each in few])


def _student(run: TrainingRun, built: Built, prompts: Prompts, model: Model) -> Student:
    """Put together what is kept of a training."""
    run.network.eval()
    curves = {name: list(values) for name, values in zip(COLUMNS, zip(*run.curves, strict=True), strict=True)}
    training = {"steps": run.step, "settings": run.settings, "curves": curves, "unread": run.unread}
    network = built.network.to("cpu")
    return Student(Built(network, built.facts), prompts, run.classifier.cpu(), model.provenance, training)
