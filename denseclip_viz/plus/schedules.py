"""How students are trained, as data: DenseCLIP's published schedules, and one for the bundled world.

Source: chongzhou96/MaskCLIP at 245d31f, configs/maskclip_plus and configs/_base_/schedules. Left out of it: crops are
not drawn again where one class fills them (`cat_max_ratio`), which asks for labels, and the extra background vector
that its Context student learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from denseclip_viz.arguments import check_batch_size, choose_paths
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.errors import GeometryError, LayerError, PromptError
from denseclip_viz.maps.segment import checked
from denseclip_viz.validation import is_number, is_on, is_whole, one_of, pair, strings

OPTIMIZERS, REFINEMENTS, LABELS = ("sgd", "adamw"), ("", "guided"), ("none", "ignored", "seen")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Everything about a training but its model, its images and its words.

    Attributes:
        steps: How many there are.
        guided: Steps that learn from the teacher, the first ones; the others learn from the student itself. None: all.
        batch: Images a step, on all devices together.
        optimizer: "sgd" or "adamw".
        rate: The learning rate at the beginning; it goes down to `least` as (1 - step / steps) ** `power`.
        least: See there.
        power: See there.
        warm_up: Steps over which the rate rises in a straight line.
        momentum: Of SGD.
        decay: Weight decay.
        crop: (height, width) of what is learned from, in pixels, whole cells of the teacher.
        short: Pixels of an image's short side before it is scaled.
        long: What its long side then does not exceed.
        ratio: By which factors it is scaled, at random.
        photometric: Whether brightness, contrast, saturation and hue are changed at random.
        grid: Pixels of the input along the side of a label: 1 as published; 2 costs a quarter.
        scale: What a student's features times text vectors are multiplied by before the loss.
        labels: Which labels are read: "none"; "ignored", where nothing is to be learned, as published; or "seen", all
            but those of `unseen` classes.
        unseen: Classes without labels, by their names; the others then need no teacher.
        network: Which one, as `build` names it.
        path: The teacher's path to dense features.
        refinement: "guided" lets class scores follow the colours of the image, "" draws them bilinearly.
        radius: Cells from the middle of a guided filter's window to its edge.
        epsilon: What is added to the variance of colours.
        denoise: Threshold of prompt denoising; 0 for none.
        smooth: Normalisation of key smoothing, "cosine" or "official"; "" for none.
        confidence: Pixels whose best name has a lower probability are not learned from.
    """

    steps: int
    guided: int | None = None
    batch: int = 16
    optimizer: str = "sgd"
    rate: float = 0.01
    least: float = 1e-4
    power: float = 0.9
    warm_up: int = 0
    momentum: float = 0.9
    decay: float = 5e-4
    crop: tuple[int, int] = (512, 512)
    short: int = 512
    long: int = 2048
    ratio: tuple[float, float] = (0.5, 2.0)
    photometric: bool = True
    grid: int = 1
    scale: float = 1.0
    labels: str = "none"
    unseen: tuple[str, ...] = ()
    network: str = "deeplabv2-resnet101"
    path: str | DensePath = "value"
    refinement: str = ""
    radius: int = 1
    epsilon: float = 0.01
    denoise: float = 0.0
    smooth: str = ""
    confidence: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, np.generic):  # which JSON does not hold
                object.__setattr__(self, name, value.item())
        object.__setattr__(self, "crop", pair((self.crop,) * 2 if is_whole(self.crop) else self.crop, "crop"))
        object.__setattr__(self, "unseen", strings(self.unseen, "unseen"))
        for name, allowed in (("optimizer", OPTIMIZERS), ("refinement", REFINEMENTS), ("labels", LABELS)):
            one_of(getattr(self, name), allowed, name)
        object.__setattr__(self, "photometric", is_on(self.photometric, "photometric"))
        check_batch_size(self.batch)
        checked(self.denoise, self.smooth)
        self._check_numbers()
        self._check_parts()

    def _check_numbers(self) -> None:
        for name, least in (("steps", 1), ("warm_up", 0), ("short", 1), ("long", 1), ("grid", 1), ("radius", 1)):
            if not is_whole(getattr(self, name), least):
                raise _refused(name, getattr(self, name), f"a whole number from {least}")
        for name in ("rate", "scale", "epsilon"):
            if not is_number(getattr(self, name), 0) or not getattr(self, name):
                raise _refused(name, getattr(self, name), "a number above 0")
        for name, high in (("least", self.rate), ("power", 100), ("momentum", 1), ("decay", 1), ("confidence", 1)):
            if not is_number(getattr(self, name), 0, high):
                raise _refused(name, getattr(self, name), f"a number from 0 to {high:g}")
        low, high = self.ratio if isinstance(self.ratio, tuple | list) and len(self.ratio) == 2 else (0, 0)
        if not (is_number(low, 0.01, 100) and is_number(high, low, 100)):
            raise _refused("ratio", self.ratio, "two factors, the lower first")

    def _check_parts(self) -> None:
        if self.guided is not None and not (is_whole(self.guided, 0) and self.guided <= self.steps):
            raise _refused("guided", self.guided, f"a whole number of steps, 0 to {self.steps}")
        if any(side % self.grid for side in self.crop):
            raise _refused("grid", self.grid, f"a number of pixels that divides the crop {self.crop}")
        if bool(self.unseen) != (self.labels == "seen"):
            got = f"labels={self.labels!r} with {len(self.unseen)} unseen classes"
            fix = "Pass labels='seen' and unseen=[…] together, or neither."
            raise PromptError(got, expected="classes to leave unseen exactly where labels are read", fix=fix)
        if not isinstance(choose_paths(self.path), DensePath):
            raise LayerError(f"path={self.path!r}", expected="one path of the teacher", fix="Name one.")

    @property
    def led(self) -> int:
        """How many steps the teacher leads."""
        return self.steps if self.guided is None else self.guided

    def rate_at(self, step: int) -> float:
        """Compute the learning rate of a step, from 0.

        Source: mmcv's `PolyLrUpdaterHook`, by iteration.

        Example:
            >>> import denseclip_viz as dcv
            >>> schedule = dcv.plus.Schedule(steps=2000)
            >>> schedule.rate_at(0), round(schedule.rate_at(1000), 6)
            (0.01, 0.005405)
        """
        fallen: float = (self.rate - self.least) * (1 - step / self.steps) ** self.power + self.least
        return fallen * min(1.0, (step + 1) / self.warm_up) if self.warm_up else fallen

    def with_changes(self, given: Mapping[str, Any]) -> Schedule:
        """Take over what is not None; fewer steps have fewer of the teacher's, in the same share.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.plus.SCHEDULES["voc20-zero-shot"].with_changes({"steps": 100, "batch": None}).guided
            10
        """
        given = {name: value for name, value in given.items() if value is not None}
        if "steps" in given and "guided" not in given and self.guided is not None and is_whole(given["steps"], 1):
            given["guided"] = round(self.guided / self.steps * given["steps"])
        return replace(self, **given)

    def facts(self) -> dict[str, Any]:
        """Give all of it as what JSON holds.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.plus.Schedule(steps=5).facts()["crop"]
            [512, 512]
        """
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
        return plain | {"path": self.path if isinstance(self.path, str) else repr(self.path)}


def _refused(name: str, value: object, expected: str) -> GeometryError:
    return GeometryError(f"{name}={value!r}", expected=expected, fix="Leave it out for the preset's.")


_CONTEXT: dict[str, Any] = {"crop": (480, 480), "short": 520, "long": 520}
_CITY: dict[str, Any] = {"crop": (512, 1024), "short": 1024}
_VOC_UNSEEN = ("potted plant", "sheep", "sofa", "train", "tv monitor")
_CONTEXT_UNSEEN = ("cow", "motorbike", "sofa", "cat", "boat", "fence", "bird", "tv monitor", "keyboard", "airplane")
_STUFF_UNSEEN = (
    "cow", "giraffe", "suitcase", "frisbee", "skateboard", "carrot", "scissors", "cardboard", "clouds", "grass",
    "playingfield", "river", "road", "tree", "concrete wall",
)  # fmt: skip
_LABELLED: dict[str, Any] = {"labels": "seen"}

SCHEDULES: dict[str, Schedule] = {
    "voc20": Schedule(steps=2000),
    "context59": Schedule(steps=4000, **_CONTEXT),
    "cityscapes": Schedule(steps=4000, **_CITY),
    "coco-stuff": Schedule(steps=8000),
    "ade150": Schedule(steps=8000),
    "voc20-zero-shot": Schedule(steps=20000, guided=2000, unseen=_VOC_UNSEEN, **_LABELLED),
    "context59-zero-shot": Schedule(
        steps=40000, guided=4000, unseen=_CONTEXT_UNSEEN, network="smp:DeepLabV3Plus:resnet101", rate=0.004, decay=1e-4,
        **_CONTEXT, **_LABELLED,
    ),
    "coco-stuff-zero-shot": Schedule(steps=80000, guided=8000, unseen=_STUFF_UNSEEN, **_LABELLED),
    # Features of the bundled ResNet are about 80 long: a scale of 0.6 makes its cosines count about 50 times.
    "toyworld": Schedule(
        steps=500, batch=8, optimizer="adamw", rate=5e-4, least=0.0, warm_up=20, decay=0.01, crop=(256, 256),
        short=256, ratio=(1.0, 1.0), photometric=False, grid=4, scale=0.6, network="clip-fpn", refinement="guided",
        radius=2,
    ),
}  # fmt: skip
"""By name: data sets with the published annotation-free schedules, their zero-shot ones, and the bundled world's."""


def schedule_named(preset: str | Schedule) -> Schedule:
    """Give a schedule by its name, or itself.

    Raises:
        PromptError: There is none of that name.

    Example:
        >>> schedule_named("voc20").steps
        2000
    """
    if isinstance(preset, Schedule):
        return preset
    one_of(preset, tuple(SCHEDULES), "schedule", error=PromptError)
    return SCHEDULES[preset]
