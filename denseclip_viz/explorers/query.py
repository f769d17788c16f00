"""What an explorer is asked, and what it is answered with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.clip.paths import PATHS
from denseclip_viz.images import ImageLike, from_bytes
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr

Paths = tuple[DensePath, ...] | None
"""Paths to dense features; None for all that the model has."""
VALUE: Paths = (PATHS["value"],)
GEOMETRIES = (("the model's own crop", "native"), ("the whole image", "whole"), ("tiles, finer cells", "tiles"))


@dataclass(frozen=True, eq=False)
class ImageSource:
    """An image to look at: something that `Model.trace` takes, or the bytes of a file with its name."""

    source: ImageLike | bytes
    name: str = ""

    def image(self) -> ImageLike:
        """Decode bytes; everything else is the model's to read."""
        return from_bytes(self.source, name=self.name) if isinstance(self.source, bytes) else self.source


@dataclass(frozen=True, eq=False)
class Query:
    """What is to be shown: prompts on an image, by one of the models, with segments refined or not."""

    image: ImageSource
    model: str
    prompts: Prompts
    geometry: str = "native"  # how the image is fitted to the model's input: or "whole", "tiles"
    smooth: bool = False
    denoise: bool = False
    layers: str = ""  # which to read too, as for `Model.compare`
    paths: Paths = VALUE
    attributions: tuple[str, ...] | None = ()  # their names; None for all that the model offers
    warned: tuple[str, ...] = ()  # what the prompts, as they are typed, are warned of

    @property
    def fit(self) -> str:
        """How the image is fitted, as the control says it."""
        return next(words for words, name in GEOMETRIES if name == self.geometry)


@dataclass(frozen=True, eq=False)
class Result:
    """What a query was answered with; `status` tells in one line what was shown to what."""

    query: Query
    comparison: xr.Dataset
    segments: xr.Dataset | None  # where refinement was chosen
    trace: Trace
    model: Model
    status: str
    warning: str = ""  # what has to be known about it
    note: str = ""  # how the prompts were read

    def sent(self, template: str, prompt: str) -> str:
        """Say which text was sent for a prompt in a template, or in the mean of all, where it is not the prompt."""
        prompts = self.query.prompts
        templates = [template] if template in prompts.templates else prompts.templates
        first, *others = (text for one in templates for text in prompts.sent(one, prompt))
        if others:
            return f"sent: “{first}” and {len(others)} more"
        return "" if first == prompt else f"sent: “{first}”"
