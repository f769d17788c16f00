"""What one forward pass left behind: data with names, no model inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from denseclip_viz.errors import DeviceError, LayerError
from denseclip_viz.geometry import Geometry
from denseclip_viz.html import format_shape, join_names, repr_html, thumbnail

PARTS = {
    "global": ("global_embedding",),
    "dense": ("dense",),
    "attention": ("attention",),
    "contributions": ("contributions", "rest"),
    "even": ("even", "even_rest"),
    "pixels": ("pixels",),
    "image": ("image",),
}
"""What `keep=` of a trace names, and the attributes that each holds; layers and keys have options of their own."""


class Fitted(Protocol):
    """An image at a tower's input: a trace, or one that no pass was made of yet. Attributes are those of `Trace`."""

    @property
    def geometry(self) -> Geometry: ...  # noqa: D102
    @property
    def image(self) -> np.ndarray: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def provenance(self) -> Mapping[str, str | int]: ...  # noqa: D102
    @property
    def pixels(self) -> Tensor | None: ...  # noqa: D102


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """One image, one forward pass, opened.

    All tensors are on the CPU unless another device was asked for, in fp32 (fp64 for an fp64 model). To ask for what
    was not kept is a LayerError.

    Attributes:
        global_embedding: `(D,)`, what `encode_image` returns, not normalised. For tiles: the mean over windows.
        dense: `(y, x, D)`, dense features in text space, not normalised; `(path, y, x, D)` of a list of paths.
        attention: `(head, y, x)`, the pooling weights of positions.
        contributions: `(y, x, D)`; their sum and the sum of `rest` are the global embedding.
        even: `(y, x, D)`, what contributions would be if the pool looked everywhere alike: 1/L in every head, where it
            attends to L tokens. Whatever stands behind the pool stays as it is. Equal to them where the pool is a mean.
        rest: `{"bias": (D,), …}`, the named terms that belong to no position.
        even_rest: `{"class token": (D,)}`, those of the rest that the pool attends to, under that even look.
        geometry: Where the grid lies in the image.
        image: `(row, column, rgb)` uint8, the upright image for figures, at most 1024 px long.
        name: The image's name for titles.
        provenance: Model, weights, hash, activation, preprocess, path, versions.
        keys: `(y, x, C)` if asked for.
        layers: What taps recorded, as the tower made it: `(C, y, x)` or `(token, C)`.
        pixels: `(3, H, W)`, the tower's input; `None` for tiles.
        paths: The paths to dense features, in the order of the axis if there is one.
        parts: Which of `PARTS` were kept.
        place: The image's number among those that came with it, from 0.

    Example:
        >>> import denseclip_viz as dcv
        >>> import numpy as np
        >>> import torch
        >>> from denseclip_viz.geometry import Geometry
        >>> grid = Geometry("whole", image=(64, 64), resized=(64, 64), offset=(0, 0), input=(64, 64), cell=(32, 32))
        >>> cells, bias = torch.ones(2, 2, 4), torch.ones(4)
        >>> trace = dcv.Trace(bias * 5, cells, torch.ones(1, 2, 2) / 4, cells, cells, {"bias": bias}, {}, grid,
        ...               np.zeros((64, 64, 3), np.uint8))
        >>> bool((trace.contributions.sum((0, 1)) + trace.rest["bias"] == trace.global_embedding).all())
        True
    """

    global_embedding: Tensor
    dense: Tensor
    attention: Tensor
    contributions: Tensor
    even: Tensor
    rest: Mapping[str, Tensor]
    even_rest: Mapping[str, Tensor]
    geometry: Geometry
    image: np.ndarray
    name: str = "image"
    provenance: Mapping[str, str | int] = field(default_factory=dict)
    keys: Tensor | None = None
    layers: Mapping[str, Tensor] = field(default_factory=dict)
    pixels: Tensor | None = field(default_factory=type(None))  # None, but none of the class: see `__getattr__`
    paths: tuple[str, ...] = ("value",)
    parts: frozenset[str] = frozenset(PARTS)
    place: int = 0

    def __post_init__(self) -> None:
        for part in PARTS.keys() - self.parts:
            for name in PARTS[part]:
                del vars(self)[name]  # so that asking for it is asking `__getattr__`

    def __getattr__(self, name: str) -> Any:
        part = next((part for part, names in PARTS.items() if name in names), None)
        if part is None or name in vars(self):
            raise AttributeError(f"a trace has no {name!r}")
        fix = f"Trace the image again and name it: keep=({part!r}, …), or leave keep out for all."
        raise LayerError(
            f"{name} of a trace of {self.name} that did not keep it",
            expected=f"one of what it kept: {', '.join(part for part in PARTS if part in self.parts)}",
            fix="Trace the image itself: it is not stored." if "features" in self.provenance else fix,
        )

    def _with(self, **changes: Any) -> Trace:
        return Trace(**{**dict.fromkeys(name for names in PARTS.values() for name in names), **vars(self), **changes})

    def to(self, device: str | torch.device) -> Trace:
        """Bring all tensors to a device; where they are there, give the trace itself.

        Raises:
            DeviceError: There is no such device here.

        Example:
            >>> import denseclip_viz as dcv
            >>> dcv.load().trace(dcv.toyworld.scene("a taxi", size=64)).to("cpu").dense.device.type
            'cpu'
        """
        try:
            torch.empty(0, device=device)
        except (RuntimeError, TypeError, AssertionError) as error:
            got, expected = f"There is no device {str(device)!r} here", "one that torch has"
            raise DeviceError(got, expected=expected, fix='Pass "cpu".') from error
        if all(tensor.device == torch.device(device) for tensor in self.tensors().values()):
            return self

        def moved(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: moved(one) for name, one in value.items()}
            return value.to(device) if isinstance(value, Tensor) else value

        return self._with(**{name: moved(value) for name, value in vars(self).items() if name != "provenance"})

    @property
    def has_path_axis(self) -> bool:
        """Whether dense features are those of a list of paths."""
        return "dense" in self.parts and self.dense.ndim == 4

    @property
    def names(self) -> tuple[str, ...]:
        """The recorded layers, which `trace[name]` gives."""
        return tuple(self.layers)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.layers:
            raise LayerError(
                f"layer {name!r} was not recorded",
                expected=f"one of {', '.join(self.names)}" if self.names else "a trace with layers; this one has none",
                fix=f"Ask for it: model.trace(image, layers={name!r}).",
            )
        return self.layers[name]

    def with_path(self, name: str) -> Trace:
        """Take one path: the same trace with the dense features of that path alone, `(y, x, D)`.

        Raises:
            LayerError: a path that was not traced.

        Example:
            >>> import denseclip_viz as dcv
            >>> scene = dcv.toyworld.scene("a red car on grass", size=64)
            >>> dcv.load().trace(scene, path=["value", "vanilla"]).with_path("vanilla").dense.shape
            torch.Size([8, 8, 128])
        """
        if name not in self.paths:
            fix = f"Ask for it: model.trace(image, path={name!r})."
            raise LayerError(f"path {name!r} was not traced", expected=f"one of {', '.join(self.paths)}", fix=fix)
        if not self.has_path_axis:
            return self
        one = self.dense[self.paths.index(name)].clone()
        return self._with(dense=one, paths=(name,), provenance={**self.provenance, "path": name})

    def on_grid(self, dense: Tensor, geometry: Geometry, how: str, *, path: str = "") -> Trace:
        """Take dense features of another grid, made in a way that `provenance["finer"]` says; the old grid's parts go.

        A `path` names what made features that are none of the tower's own.

        Example:
            >>> import denseclip_viz as dcv
            >>> from dataclasses import replace
            >>> trace = dcv.load().trace(dcv.toyworld.scene("a taxi", size=128))
            >>> wide = trace.dense.repeat_interleave(2, 0).repeat_interleave(2, 1)
            >>> sorted(trace.on_grid(wide, replace(trace.geometry, cell=(8, 8)), "repeated").parts)
            ['dense', 'global', 'image', 'pixels']
        """
        whole = self.parts & {"global", "dense", "pixels", "image"}
        provenance = {**self.provenance, "finer": how}
        changes: dict[str, Any] = {"dense": dense, "geometry": geometry, "parts": whole, "keys": None, "layers": {}}
        if path:
            changes["paths"], provenance["path"] = (path,), path
        return self._with(**changes, provenance=provenance)

    def with_pixels(self, pixels: Tensor | None, image: np.ndarray | None = None) -> Trace:
        """Put the tower's input, and the image where it is wanted, beside features that were kept without.

        Example:
            >>> import torch
            >>> import denseclip_viz as dcv
            >>> trace = dcv.load().trace(dcv.toyworld.scene("a taxi", size=64), keep="dense")
            >>> sorted(trace.with_pixels(torch.zeros(3, 256, 256)).parts)
            ['dense', 'global', 'pixels']
        """
        more = {"pixels"} if image is None else {"pixels", "image"}
        return self._with(pixels=pixels, image=image, parts=self.parts | more)

    def one_path(self, what: str) -> Trace:
        """Refuse several paths where `what` is due of one, and take the axis off a list of one.

        Raises:
            LayerError: several.
        """
        if len(self.paths) > 1:
            got, fix = f"{what} of {len(self.paths)} paths, {', '.join(self.paths)}", "Trace one path, or pass"
            raise LayerError(got, expected="one path", fix=f"{fix} trace.with_path({self.paths[0]!r}).")
        return self.with_path(self.paths[0])

    def tensors(self) -> dict[str, Tensor]:
        """Give all tensors by name.

        Example:
            >>> import denseclip_viz as dcv
            >>> list(dcv.load().trace(dcv.toyworld.scene("a taxi", size=64)).tensors())[:2]
            ['global_embedding', 'dense']
        """
        single = ("global_embedding", "dense", "attention", "contributions", "even")
        lean = {name: vars(self)[name] for name in single if name in vars(self)}
        rest = {f"rest: {name}": term for name, term in vars(self).get("rest", {}).items()}
        rest |= {f"even rest: {name}": term for name, term in vars(self).get("even_rest", {}).items()}
        more = {name: value for name in ("keys", "pixels") if (value := vars(self).get(name)) is not None}
        return {**lean, **rest, **more, **self.layers}

    @property
    def nbytes(self) -> int:
        """Bytes held, the image included."""
        return sum(t.element_size() * t.nelement() for t in self.tensors().values()) + (
            self.image.nbytes if "image" in self.parts else 0
        )

    def __repr__(self) -> str:
        y, x = self.geometry.grid
        layers = f", layers {', '.join(self.names)}" if self.names else ""
        heads = f", {self.attention.shape[0]} heads" if "attention" in self.parts else ""
        return (
            f"Trace({self.name}: {self.provenance.get('model', 'model')}, {self.geometry.mode}, grid {y} x {x}, "
            f"D {len(self.global_embedding)}{heads}{layers}, {self.nbytes / 1e6:.1f} MB)"
        )

    def _repr_html_(self) -> str:
        y, x = self.geometry.grid
        height, width = self.geometry.image
        sizes = {
            f"{name} ({axes})": format_shape(getattr(self, name).shape)
            for name, axes in (
                ("global_embedding", "D"),
                ("dense", "path, y, x, D" if self.has_path_axis else "y, x, D"),
                ("attention", "head, y, x"),
                ("contributions", "y, x, D"),
                ("even", "y, x, D"),
            )
            if name in vars(self)
        }
        facts = {
            "model": f"{self.provenance.get('model', '')}, {self.provenance.get('weights', '')}".strip(", "),
            "grid": f"{y} × {x} positions on {height} × {width} pixels, {self.geometry.mode}",
            **sizes,
            "rest (D each)": ", ".join(vars(self).get("rest", {})),
            "keys (y, x, C)": format_shape(self.keys.shape) if self.keys is not None else "",
            "layers": join_names(
                [f"{name} {format_shape(tensor.shape)}" for name, tensor in self.layers.items()], most=5
            ),
            "memory": f"{self.nbytes / 1e6:.1f} MB",
        }
        preview = thumbnail(self.image) if "image" in self.parts else ""
        after = f"model.{'compare' if set(PARTS) == self.parts else 'similarity'}(trace, prompts)"
        random = "random weights: only the mechanics show" if self.provenance.get("random_weights") else ""
        return repr_html(f"Trace of {self.name}", facts, image=preview, after=after, warning=random)
