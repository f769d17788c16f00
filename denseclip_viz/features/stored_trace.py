"""What a store keeps of one image, in the place of its trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from torch import Tensor

from denseclip_viz.errors import ImageError, LayerError
from denseclip_viz.geometry import Geometry
from denseclip_viz.images import display, read
from denseclip_viz.trace import Trace

_STORED = "global embedding and dense features"


class StoredTrace(Trace):
    """A trace of which the global embedding, the dense features, or both were kept, and nothing else.

    `similarity`, `classify`, `segment` and all that compares texts with dense features take it as any trace. What
    needs attention, contributions, keys or layers is refused: that needs the image itself.

    Attributes:
        file: The path of the image's file; empty of one that was in memory.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        *,
        geometry: Geometry,
        name: str,
        file: str,
        provenance: Mapping[str, str | int],
        paths: tuple[str, ...],
    ) -> None:
        values = {**tensors, "geometry": geometry, "name": name, "file": file, "provenance": provenance}
        vars(self).update(values, paths=paths, keys=None, layers={}, pixels=None)

    @cached_property
    def image(self) -> np.ndarray:
        """The upright image, read from its file when it is first asked for."""
        if not vars(self)["file"]:
            got, fix = f"{self.name} was in memory when it was encoded, and is not kept", "Pass the image yourself."
            raise ImageError(got, expected="an image file", fix=fix)
        return display(read(vars(self)["file"]))

    def with_path(self, name: str) -> Trace:
        """Take one path, as `Trace.with_path`."""
        if name not in self.paths or not self.has_path_axis:
            return super().with_path(name)
        tensors = {**self.tensors(), "dense": self.dense[self.paths.index(name)]}
        facts = {key: vars(self)[key] for key in ("geometry", "name", "file")}
        return StoredTrace(tensors, **facts, provenance={**self.provenance, "path": name}, paths=(name,))

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors that are kept by name."""
        return {name: vars(self)[name] for name in ("global_embedding", "dense") if name in vars(self)}

    @property
    def nbytes(self) -> int:
        """Bytes held, without the image."""
        return sum(tensor.element_size() * tensor.nelement() for tensor in self.tensors().values())

    def __getattr__(self, name: str) -> NoReturn:
        if name in _FIELDS:
            fix = "Trace the image itself: model.trace(image)."
            raise LayerError(f"{name} of {vars(self)['name']}, from a store", expected=_STORED, fix=fix)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        y, x = self.geometry.grid
        return f"StoredTrace({self.name}: {self.provenance.get('model')}, grid {y} x {x}, {', '.join(self.tensors())})"

    def _repr_html_(self) -> Any:
        return None


_FIELDS = {field.name for field in fields(Trace)}
