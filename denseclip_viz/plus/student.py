"""A student: a network, the texts that are its classifier, and where both are from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor
from torch.nn import functional as F

from denseclip_viz.clip.load.switches import text_facts
from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.surroundings import check_eval, guarded
from denseclip_viz.errors import DenseclipVizError, LayerError, WeightsError, first_line
from denseclip_viz.files import as_json, atomic_folder
from denseclip_viz.geometry import Fit
from denseclip_viz.html import join_names, repr_html
from denseclip_viz.images import ImageLike
from denseclip_viz.maps.finer import upsampled
from denseclip_viz.plus.networks import Built, rebuild
from denseclip_viz.presets import Preset
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace
from denseclip_viz.validation import readable, short_name

if TYPE_CHECKING:
    import xarray as xr

    from denseclip_viz.model import Model

FORMAT = 1
PATH = "student"
_FACTS, _WEIGHTS = "student.json", "network.safetensors"
_SAME = ("model", "weights_hash", "preprocess")  # what a trace must share with the teacher: the input and the space
_TEXTS = ("prompts", "templates", "absent", "background", "synonyms", "articles", "plural")


def whole_by_default(geometry: Any, preset: object) -> Any:
    """Fit an image whole where neither a fit nor a preset, which has one, is given: each of its pixels gets a name."""
    return "whole" if geometry is None and preset is None else geometry


def _facts(provenance: Mapping[str, str | int]) -> dict[str, str]:
    return {name: str(provenance.get(name)) for name in _SAME} | text_facts(provenance)


@guarded
@dataclass(frozen=True, eq=False, repr=False)
class Student:
    """A network that was taught by a model's dense maps; `plus.train` makes one, and `plus.load` opens it again.

    It reads the teacher's own input and answers in its text space, so that other texts can be put in the place of
    those that it was taught with.

    Attributes:
        built: Its network, in eval mode, and what that was built of.
        prompts: Its classes with their synonyms, and the templates that they were said in.
        vectors: `(class, D)`, their unit vectors: the classifier, of which nothing is learned.
        teacher: Provenance of the model whose input it reads.
        training: What is known of how it was taught; JSON.

    Example:
        >>> import denseclip_viz as dcv
        >>> from denseclip_viz.plus.networks import build
        >>> model, prompts = dcv.load(), dcv.Prompts(["grass", "sky"])
        >>> built = build("clip-fpn", 128, teacher=model.tower)
        >>> _ = built.network.eval()
        >>> student = dcv.plus.Student(built, prompts, model.texts.encode(prompts)[0], model.provenance)
        >>> trace = model.trace(dcv.toyworld.scene("a red car on grass", size=128), geometry="whole")
        >>> trace.dense.shape, student.trace(trace).dense.shape
        (torch.Size([8, 8, 128]), torch.Size([64, 64, 128]))
    """

    built: Built
    prompts: Prompts
    vectors: Tensor
    teacher: Mapping[str, str | int]
    training: Mapping[str, Any] = field(default_factory=dict)

    def trace(self, trace: Trace) -> Trace:
        """Take the network's features in the place of a trace's own: all that takes a trace takes the student's.

        Args:
            trace: One of the teacher, of one window, with its pixels.

        Returns:
            The trace with `dense` (Y, X, D) along the path "student", and without parts of the coarse grid.

        Raises:
            LayerError: A trace of another model, of tiles, or without pixels; a network in training mode.

        Teacher and student side by side, of any words, on one scale, as a page and as a figure:

            traces = [trace, student.trace(trace)]
            maps = [model.similarity(each, ["a taxi", "a whale"]) for each in traces]
            dcv.save_html(maps, "student.html", trace=traces)
            dcv.plot.grid(maps[1], like=maps[0], image=trace.image)
        """
        self.require_teacher(trace.provenance, f"a trace of {trace.name}")
        check_eval(self.built.network, fix="Call student.built.network.eval().")
        features = partial(self._features, cell=trace.geometry.cell)
        fine = upsampled(trace.with_path(trace.paths[0]), features, name=PATH)
        return fine.on_grid(fine.dense, fine.geometry, f"student, {self.built.facts['name']}", path=PATH)

    def predict(
        self,
        model: Model,
        images: Iterable[ImageLike],
        *,
        geometry: str | Fit | None = None,
        preset: str | Preset | None = None,
        batch_size: int = 8,
    ) -> Iterator[xr.Dataset]:
        """Name every pixel of images by the best of the student's own classes.

        Args:
            model: The teacher, which brings images to its input.
            images: As for `Model.trace_many`.
            geometry: As for `Model.trace`; the preset's by default, or "whole".
            preset: As for `Model.trace`.
            batch_size: As there.

        Returns:
            For each image what `Model.segment` gives, in their order, each when it is asked for.

        Raises:
            DenseclipVizError: As `Model.trace_many` and `trace`.
        """
        how: dict[str, Any] = {"geometry": whole_by_default(geometry, preset)}
        how |= {"path": "value", "preset": preset, "keep": ("dense", "pixels", "image"), "batch_size": batch_size}
        for trace in model.trace_many(images, **how):
            yield model.segment(self.trace(trace), self.prompts)

    def require_teacher(self, provenance: Mapping[str, str | int], what: str) -> None:
        """Refuse what is of another model, or brought to its input otherwise.

        Raises:
            LayerError: It is.
        """
        mine, theirs = (
            {name: str(facts.get(name)) for name in _SAME} | text_facts(facts) for facts in (self.teacher, provenance)
        )
        for name, fact in mine.items():
            if theirs[name] != fact:
                got, expected = f"{what} with {name} {theirs[name]!r}", f"{fact!r}, the teacher's"
                raise LayerError(got, expected=expected, fix=f"Load {self.teacher.get('model')} as it was taught with.")

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the student into a new folder: `student.json` and `network.safetensors`; whole, or not at all.

        Returns:
            The folder.

        Raises:
            OutputError: Something is there already, or cannot be written.
        """
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.built.network.state_dict().items()}
        content = bytes_of(
            {"vectors": self.vectors.cpu().contiguous(), **{f"network.{n}": t for n, t in state.items()}}
        )
        facts = {
            "format": FORMAT,
            "sha256": hashlib.sha256(content).hexdigest(),
            "network": dict(self.built.facts),
            "prompts": {name: getattr(self.prompts, name) for name in _TEXTS},
            "teacher": dict(self.teacher),
            "training": dict(self.training),
        }
        with atomic_folder(folder) as part:
            (part / _WEIGHTS).write_bytes(content)
            (part / _FACTS).write_text(json.dumps(as_json(facts), indent=1), encoding="utf-8")
        return Path(folder)

    def _features(self, image: Tensor, dense: Tensor, *, cell: tuple[int, int]) -> Tensor:
        """Give the network's features of an input `(1, 3, H, W)`, on a grid of whole parts of the cells of `dense`."""
        like, stride = next(self.built.network.parameters()), int(self.built.facts["stride"])
        with torch.no_grad(), memory_guard("the geometry's size"):
            fine: Tensor = self.built.network(image.to(like)).to(image)
        sides = [next((part for part in range(stride, side) if side % part == 0), side) for side in cell]
        grid = [cells * side // own for cells, side, own in zip(dense.shape[-2:], cell, sides, strict=True)]
        if sides == [stride, stride]:
            return fine[..., : grid[0], : grid[1]]
        # where the middle of each cell lies among the network's own, from -1 to 1 as torch counts
        y, x = (
            (2 * torch.arange(cells, dtype=fine.dtype) + 1) * side / (own * stride) - 1
            for cells, side, own in zip(grid, sides, fine.shape[-2:], strict=True)
        )
        places = torch.stack([x.expand(grid[0], -1), y[:, None].expand(-1, grid[1])], dim=-1)[None]
        return F.grid_sample(fine, places, padding_mode="border", align_corners=False)

    def __repr__(self) -> str:
        facts, teacher = self.built.facts, self.teacher.get("model", "a model")
        return f"Student({facts['name']}, stride {facts['stride']}, {len(self.prompts)} classes, taught by {teacher})"

    def _repr_html_(self) -> str:
        facts = {
            "network": f"{self.built.facts['name']}, a position every {self.built.facts['stride']} pixels",
            "backbone began as": str(self.built.facts.get("backbone", "")),
            "taught by": f"{self.teacher.get('model', '')}, {self.teacher.get('weights', '')}",
            "classes": join_names(list(self.prompts.prompts), most=12),
            "templates": join_names(list(self.prompts.templates), most=4),
        }
        return repr_html("Student", facts, after="student.trace(model.trace(image))")


@guarded
def load(folder: str | os.PathLike[str]) -> Student:
    """Open a student that was saved; nothing in its files is run.

    Args:
        folder: Where `Student.save` wrote it.

    Returns:
        The student, on the CPU, its network in eval mode.

    Raises:
        WeightsError: No student, one whose files were changed or damaged, or one of another version.

    Example:
        >>> import denseclip_viz as dcv
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as empty:
        ...     dcv.plus.load(empty)
        Traceback (most recent call last):
        denseclip_viz.errors.WeightsError: ... holds no student (...). Expected ...
    """
    place = Path(folder)
    try:
        facts = json.loads(readable(place / _FACTS).read_text(encoding="utf-8"))
        content = readable(place / _WEIGHTS).read_bytes()
        if facts["format"] != FORMAT:
            raise ValueError(f"of format {facts['format']!r}, not {FORMAT}")
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            raise ValueError(f"{_WEIGHTS} is not what was written: its SHA-256 is another")
        return _opened(facts, tensors_of(content))
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise _no_student(place, error) from error
    except (DenseclipVizError, RecursionError) as error:
        raise _no_student(place, error) from error


def _opened(facts: Mapping[str, Any], tensors: dict[str, Tensor]) -> Student:
    vectors = tensors.pop("vectors")
    network = rebuild(facts["network"])
    network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in tensors.items()})
    if network.stride != facts["network"]["stride"]:
        raise ValueError(f"its stride is {network.stride}, not {facts['network']['stride']}")
    prompts = _prompts(facts["prompts"])
    if tuple(vectors.shape) != (len(prompts), facts["network"]["dimension"]):
        raise ValueError(f"{tuple(vectors.shape)} vectors of {len(prompts)} classes")
    built = Built(network.eval(), facts["network"])
    return Student(built, prompts, vectors, dict(facts["teacher"]), _training(facts["training"]))


def _training(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give curves the NaN of steps without a number, for which JSON has null."""
    if "curves" not in facts:
        return dict(facts)
    curves = {name: [float("nan") if v is None else v for v in values] for name, values in facts["curves"].items()}
    return {**facts, "curves": curves}


def _prompts(texts: Mapping[str, Any]) -> Prompts:
    """Put prompts together as they were."""
    named = dict(zip(texts["prompts"], texts["synonyms"], strict=True))
    away = {name: named[name] for name, absent in zip(texts["prompts"], texts["absent"], strict=True) if absent}
    hidden = [name for name, hides in zip(texts["prompts"], texts["background"], strict=True) if hides]
    there = {name: synonyms for name, synonyms in named.items() if name not in away}
    options = {"articles": texts["articles"], "plural": texts["plural"]}
    return Prompts(there, texts["templates"], absent=away, background=hidden, **options)


def _no_student(place: Path, error: BaseException) -> WeightsError:
    got = f"{short_name(place)} holds no student ({short_name(first_line(error))})"
    return WeightsError(got, expected=f"{_FACTS} and {_WEIGHTS}, as Student.save wrote them", fix="Save it again.")
